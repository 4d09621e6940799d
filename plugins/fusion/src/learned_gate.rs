//! A sum of branches whose weights follow from the image: a small gate reads how each branch's map
//! looks and says how much it counts. It learns that from references taken again with and without
//! painted defects, or reads it from a file. Source: mixtures of experts, Jacobs et al. 1991, with
//! statistics of maps for features.

use loupe_plugin::prelude::*;
use serde::Deserialize;

use crate::learning::{Adam, logistic_loss, sigmoid64, softmax};
use crate::masks::{DAMAGED, onto_grid};

/// Branches weighed by a gate that saw defects.
#[derive(Clone, Deserialize, Schema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// A safetensors file: the state of a training.
    #[schema(file)]
    weights: Option<String>,
    /// Of the training: passes over all examples.
    #[schema(min = 1, max = 100000)]
    #[serde(default = "epochs")]
    epochs: usize,
    /// Of the training.
    #[schema(above = 0.0)]
    #[serde(default = "learning_rate")]
    learning_rate: f64,
    /// Of the training: pulls the gate to weights that are the same for all images.
    #[schema(min = 0.0)]
    #[serde(default = "decay")]
    decay: f64,
}

fn epochs() -> usize {
    300
}
fn learning_rate() -> f64 {
    0.02
}
fn decay() -> f64 {
    1e-3
}

const SCHEMA: &str = "loupe.learned-gate";
const INSTEAD: &str = "name a file as `weights`";
/// Mean, deviation and maximum of a branch's map.
const N_STATISTICS: usize = 3;
/// A branch's row in the gate: a bias, then a weight for each statistic.
const ROW: usize = 1 + N_STATISTICS;

pub struct LearnedGate {
    config: Config,
    gate: Option<Gate>,
}

/// What is learned.
#[derive(Clone, Debug, PartialEq)]
struct Gate {
    /// Mean and deviation of each branch's scores where nothing is damaged.
    ranges: Vec<[f64; 2]>,
    /// A row for each branch, then factor and summand of the sum.
    values: Vec<f64>,
}

impl Fusion for LearnedGate {
    type Config = Config;
    const REVISION: u32 = 1;
    const ABOUT: &'static str = "branches summed by weights that a learned gate gives each image";

    fn ports() -> Vec<Port> {
        let learns = |name: &str| Port::input(name).verb(Verb::Fit).optional();
        vec![
            Port::input("parts").tensor("...").many().about("scores, a branch each"),
            learns("examples").tensor("b gh gw").many().about("the same branches, to learn from"),
            learns("mask").tensor("b 1 h w").about("1 where a defect is painted"),
            Port::output("fused").tensor("...").about("log-odds that a place is damaged"),
        ]
    }

    fn check(config: &Config, _host: &Host) -> Result<Facts> {
        Ok(match config.weights {
            Some(_) => Facts::new(),
            None => Facts::new().learns(&["examples", "mask"], INSTEAD),
        })
    }

    fn new(config: Config, host: &Host) -> Result<Self> {
        let gate = match &config.weights {
            Some(file) => {
                let state = State::new(SCHEMA, 1, host.open(file)?.to_vec());
                let in_file = |error| Error::input(format!("the weights `{file}`: {error}"));
                Some(Gate::read(&state).map_err(in_file)?)
            }
            None => None,
        };
        Ok(Self { config, gate })
    }

    /// `parts`: n >= 1 tensors of one shape `[b, ..]` -> that shape. Errors: `Empty`, `Shape`, another
    /// number of parts than was learned, nothing learned.
    fn fuse(&self, parts: &[Tensor]) -> Result<Tensor> {
        let shape = same_shape(parts)?.clone();
        let Some(gate) = &self.gate else {
            return Err(Error::failed(format!("the gate has learned nothing: {INSTEAD}")));
        };
        if gate.ranges.len() != parts.len() {
            let want = format!("{} parts, as the gate learned", gate.ranges.len());
            return Err(Error::shape("parts", want, parts.len()));
        }
        let batch = shape.dims().first().copied().unwrap_or(1);
        let per_image = shape.len() / batch.max(1);
        let mut fused = Vec::with_capacity(shape.len());
        for index in 0..batch {
            let mut rows = Vec::with_capacity(parts.len());
            for part in parts {
                rows.push(&part.f32s()?[index * per_image..][..per_image]);
            }
            let image = Image::new(&gate.ranges, &rows);
            fused.extend(image.sums(&gate.values).into_iter().map(|sum| sum as f32));
        }
        Tensor::new(shape, fused)
    }
}

/// One image as the gate sees it.
#[derive(Clone)]
struct Image {
    /// Branch by branch, scores in deviations from what is normal.
    scores: Vec<Vec<f64>>,
    /// The same: its statistics behind a 1 for the bias.
    rows: Vec<[f64; ROW]>,
}

impl Image {
    fn new(ranges: &[[f64; 2]], parts: &[&[f32]]) -> Self {
        let standard = |([mean, deviation], part): (&[f64; 2], &&[f32])| -> Vec<f64> {
            part.iter().map(|score| (f64::from(*score) - mean) / deviation).collect()
        };
        let scores: Vec<Vec<f64>> = ranges.iter().zip(parts).map(standard).collect();
        let rows = scores.iter().map(|scores| {
            let (mean, deviation) = moments(scores.iter().copied());
            let most = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            // A defect may lie many deviations off: its order of magnitude counts.
            [1.0, mean.asinh(), deviation.asinh(), most.asinh()]
        });
        Image { rows: rows.collect(), scores }
    }

    fn shares(&self, values: &[f64]) -> Vec<f64> {
        let dot = |(row, weights): (&[f64; ROW], &[f64])| -> f64 {
            row.iter().zip(weights).map(|(x, weight)| x * weight).sum()
        };
        let logits: Vec<f64> = self.rows.iter().zip(values.chunks_exact(ROW)).map(dot).collect();
        softmax(&logits)
    }

    fn weighed(&self, shares: &[f64]) -> Vec<f64> {
        let n = self.scores.first().map_or(0, Vec::len);
        let mut sums = vec![0.0; n];
        for (scores, share) in self.scores.iter().zip(shares) {
            sums.iter_mut().zip(scores).for_each(|(sum, score)| *sum += share * score);
        }
        sums
    }

    fn sums(&self, values: &[f64]) -> Vec<f64> {
        let [factor, summand] = ends(values);
        let sums = self.weighed(&self.shares(values)).into_iter();
        sums.map(|sum| factor * sum + summand).collect()
    }
}

/// Factor and summand of the sum: the last two values.
fn ends(values: &[f64]) -> [f64; 2] {
    values.last_chunk().copied().unwrap_or([1.0, 0.0])
}

/// Mean and deviation; (0, 0) of nothing.
fn moments(values: impl Iterator<Item = f64> + Clone) -> (f64, f64) {
    let n = values.clone().count().max(1) as f64;
    let mean = values.clone().sum::<f64>() / n;
    (mean, (values.map(|x| (x - mean) * (x - mean)).sum::<f64>() / n).sqrt())
}

/// Images pushed: the scores of each branch, and the share of each place that is damaged.
type Pushed = (Vec<Vec<f32>>, Vec<f32>);

impl Fit for LearnedGate {
    type Session = Vec<Pushed>;

    fn fit_open(&self) -> Result<Self::Session> {
        Ok(Vec::new())
    }

    fn fit_push(&self, session: &mut Self::Session, inputs: &Inputs) -> Result<()> {
        if self.gate.is_some() {
            return Ok(());
        }
        let parts = inputs.tensors("examples")?;
        let [batch, rows, columns] =
            parts.first().map_or(Ok([0; 3]), |part| part.dims_n("examples"))?;
        let n = same_shape(parts)?.len() / batch.max(1);
        let targets = onto_grid(inputs.tensor("mask")?, batch, [rows, columns])?;
        for index in 0..batch {
            let mut scores = Vec::with_capacity(parts.len());
            for part in parts {
                scores.push(part.f32s()?[index * n..][..n].to_vec());
            }
            if session.first().is_some_and(|(first, _)| first.len() != scores.len()) {
                return Err(Error::shape("examples", "as many parts each time", scores.len()));
            }
            session.push((scores, targets[index * n..][..n].to_vec()));
        }
        Ok(())
    }

    fn fit_close(&self, session: Self::Session) -> Result<State> {
        let gate = match &self.gate {
            Some(gate) => gate.clone(),
            None => learn(&session, &self.config)?,
        };
        gate.state()
    }

    fn load(&self, state: &State) -> Result<Self> {
        Ok(Self { config: self.config.clone(), gate: Some(Gate::read(state)?) })
    }
}

/// Adam on all examples at once. Errors: `Empty` without examples, or without both kinds of places.
fn learn(session: &[Pushed], config: &Config) -> Result<Gate> {
    let n_parts = session.first().map_or(0, |(scores, _)| scores.len());
    let sound = |part: usize| {
        session.iter().flat_map(move |(scores, targets)| {
            let places = scores.get(part).into_iter().flatten().zip(targets);
            places.filter(|(_, target)| **target <= 0.0).map(|(score, _)| f64::from(*score))
        })
    };
    let range = |part| {
        let (mean, deviation) = moments(sound(part));
        [mean, if deviation > 1e-12 { deviation } else { 1.0 }]
    };
    let ranges: Vec<[f64; 2]> = (0..n_parts).map(range).collect();
    let images: Vec<(Image, &[f32])> = session
        .iter()
        .map(|(scores, targets)| {
            let rows: Vec<&[f32]> = scores.iter().map(Vec::as_slice).collect();
            (Image::new(&ranges, &rows), targets.as_slice())
        })
        .collect();
    let mut values = vec![0.0; n_parts * ROW];
    values.extend([1.0, -2.0]);
    let mut adam = Adam::new(values.len(), config.learning_rate, 0.0);
    for _ in 0..config.epochs {
        let (_, gradient) = loss(&values, &images, config.decay)?;
        adam.step(&mut values, &gradient);
    }
    Ok(Gate { ranges, values })
}

/// Mean logistic loss of the places, damaged and sound ones weighing the same, plus `decay` / 2 times
/// the squared weights of statistics; and its gradient.
fn loss(values: &[f64], images: &[(Image, &[f32])], decay: f64) -> Result<(f64, Vec<f64>)> {
    let places = || images.iter().flat_map(|(_, targets)| targets.iter());
    let n_damaged = places().filter(|target| **target >= DAMAGED).count() as f64;
    let n_sound = places().filter(|target| **target <= 0.0).count() as f64;
    if n_damaged == 0.0 || n_sound == 0.0 {
        return Err(Error::empty(
            "mask of examples (damaged and sound places; `augment` with more `defects` paints them)",
        ));
    }
    let [factor, summand] = ends(values);
    let (mut total, mut gradient) = (0.0, vec![0.0; values.len()]);
    let n_rows = values.len().saturating_sub(2);
    for (image, targets) in images {
        let shares = image.shares(values);
        let sums = image.weighed(&shares);
        let mut by_share = vec![0.0; shares.len()];
        for (place, (sum, target)) in sums.iter().zip(*targets).enumerate() {
            let (weight, label) = match *target {
                target if target >= DAMAGED => (0.5 / n_damaged, 1.0),
                target if target <= 0.0 => (0.5 / n_sound, 0.0),
                _ => continue,
            };
            let logit = factor * sum + summand;
            total += weight * logistic_loss(logit, label);
            let error = weight * (sigmoid64(logit) - label);
            gradient[n_rows] += error * sum;
            gradient[n_rows + 1] += error;
            for (g, scores) in by_share.iter_mut().zip(&image.scores) {
                *g += error * factor * scores[place];
            }
        }
        let mean: f64 = shares.iter().zip(&by_share).map(|(share, g)| share * g).sum();
        let parts = shares.iter().zip(&by_share).zip(&image.rows);
        for (line, ((share, g), row)) in gradient.chunks_exact_mut(ROW).zip(parts) {
            line.iter_mut().zip(row).for_each(|(sum, x)| *sum += share * (g - mean) * x);
        }
    }
    for (i, value) in values.iter().take(n_rows).enumerate().filter(|(i, _)| i % ROW > 0) {
        total += decay / 2.0 * value * value;
        gradient[i] += decay * value;
    }
    Ok((total, gradient))
}

impl Gate {
    fn state(&self) -> Result<State> {
        let single = |values: &[f64]| values.iter().map(|x| *x as f32).collect::<Vec<f32>>();
        let n = self.ranges.len();
        let (rows, ends) = self.values.split_at(n * ROW);
        StateWriter::new(SCHEMA, 1)
            .f32s("ranges", [n, 2], &single(self.ranges.as_flattened()))?
            .f32s("gate", [n, ROW], &single(rows))?
            .f32s("ends", [2], &single(ends))?
            .finish()
    }

    /// Errors: an array that is missing, of another shape, or not finite; a deviation that is not
    /// above 0.
    fn read(state: &State) -> Result<Self> {
        let reader = StateReader::new(state, SCHEMA, 1)?;
        let read = |name: &str, width: usize| -> Result<Vec<f64>> {
            let array = reader.tensor(name)?;
            let values: Vec<f64> = array.f32s()?.iter().map(|x| f64::from(*x)).collect();
            if array.dims().last() != Some(&width) || values.is_empty() {
                return Err(Error::shape(name, format!("[.., {width}]"), array.shape()));
            }
            match values.iter().find(|value| !value.is_finite()) {
                Some(value) => Err(Error::input(format!("array `{name}` holds {value}"))),
                None => Ok(values),
            }
        };
        let (ranges, mut values, ends) = (read("ranges", 2)?, read("gate", ROW)?, read("ends", 2)?);
        let (ranges, _) = ranges.as_chunks::<2>();
        if ranges.len() * ROW != values.len() || ends.len() != 2 {
            let want = format!("a row for each of {} branches", ranges.len());
            return Err(Error::shape("gate", want, format!("{} values", values.len())));
        }
        if ranges.iter().any(|[_, deviation]| *deviation <= 0.0) {
            return Err(Error::input("array `ranges` holds a deviation that is not above 0"));
        }
        values.extend(ends);
        Ok(Gate { ranges: ranges.to_vec(), values })
    }
}

#[cfg(test)]
mod tests;
