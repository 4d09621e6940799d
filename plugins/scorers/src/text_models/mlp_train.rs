//! Training of the perceptron: Adam on the logistic loss with early stopping, by the rules of
//! scikit-learn's `MLPClassifier`. Source: Kingma & Ba, arXiv:1412.6980; start as Glorot & Bengio,
//! AISTATS 2010.

use loupe_plugin::prelude::*;

use super::Examples;
use super::matrix::Packed;
use super::mlp::{Mlp, MlpKeys, Parts, Weights};
use super::numerics::sigmoid;
use super::random::Random;

const DECAY: f32 = 0.9;
const SQUARE_DECAY: f32 = 0.999;
const FLOOR: f32 = 1e-8;
/// Accuracy that an epoch must gain to count as better.
const GAIN: f64 = 1e-4;
/// Rows, or hidden units, of one unit of parallel work.
const UNIT: usize = 32;

/// A weight multiplies a sentence's loss, and its say in the accuracy.
pub(super) fn fit(keys: &MlpKeys, examples: &Examples, seed: u64, host: &Host) -> Result<Mlp> {
    let mut random = Random::new(seed, 0);
    let (held_back, mut order) = split(examples, keys.validation, &mut random);
    let mut trainer = Trainer::new(start(examples.width, keys.hidden, &mut random), keys, host);
    let (mut best, mut most, mut idle) = (None, f64::NEG_INFINITY, 0);
    for _ in 0..keys.epochs {
        host.stop_if_cancelled()?;
        random.shuffle(&mut order);
        for batch in order.chunks(keys.batch.min(order.len()).max(1)) {
            trainer.step(&Batch::new(examples, batch))?;
        }
        if held_back.is_empty() {
            continue;
        }
        let accuracy = trainer.accuracy(&Batch::new(examples, &held_back))?;
        idle = if accuracy < most + GAIN { idle + 1 } else { 0 };
        if accuracy > most {
            (best, most) = (Some(trainer.weights.clone()), accuracy);
        }
        if idle > keys.patience {
            break;
        }
    }
    Ok(Mlp::new(best.unwrap_or(trainer.weights)))
}

/// What is held back of each label, and the rest. A label of one sentence keeps it.
fn split(examples: &Examples, share: f64, random: &mut Random) -> (Vec<usize>, Vec<usize>) {
    let (mut held_back, mut rest) = (Vec::new(), Vec::new());
    for label in [false, true] {
        let mut own: Vec<usize> =
            (0..examples.len()).filter(|i| examples.anomalous[*i] == label).collect();
        random.shuffle(&mut own);
        let wanted = (own.len() as f64 * share).round() as usize;
        let n = if share > 0.0 { wanted.max(1) } else { 0 }.min(own.len().saturating_sub(1));
        rest.extend(own.split_off(n));
        held_back.extend(own);
    }
    (held_back, rest)
}

fn start(width: usize, hidden: usize, random: &mut Random) -> Weights {
    let mut values = Vec::with_capacity(width * hidden + 2 * hidden + 1);
    let mut draw = |n: usize, fan: usize, factor: f64| {
        let bound = (factor / fan as f64).sqrt();
        values.extend((0..n).map(|_| (bound * (2.0 * random.unit() - 1.0)) as f32));
    };
    draw(width * hidden + hidden, width + hidden, 6.0);
    draw(hidden + 1, hidden + 1, 6.0);
    Weights { width, hidden, values }
}

/// Sentences of one step.
pub(super) struct Batch {
    rows: Vec<f32>,
    targets: Vec<f64>,
    weights: Vec<f64>,
}

impl Batch {
    pub(super) fn new(examples: &Examples, members: &[usize]) -> Self {
        Batch {
            rows: members.iter().flat_map(|i| examples.row(*i).iter().copied()).collect(),
            targets: members.iter().map(|i| examples.target(*i)).collect(),
            weights: members.iter().map(|i| examples.weights[*i]).collect(),
        }
    }
}

/// Weights under training, with Adam's running means.
pub(super) struct Trainer<'a> {
    pub(super) weights: Weights,
    keys: &'a MlpKeys,
    host: &'a Host,
    means: Vec<f32>,
    squares: Vec<f32>,
    /// The decays to the power of the steps taken.
    powers: [f64; 2],
}

impl<'a> Trainer<'a> {
    pub(super) fn new(weights: Weights, keys: &'a MlpKeys, host: &'a Host) -> Self {
        let n = weights.values.len();
        let (means, squares) = (vec![0.0; n], vec![0.0; n]);
        Trainer { weights, keys, host, means, squares, powers: [1.0; 2] }
    }

    pub(super) fn step(&mut self, batch: &Batch) -> Result<()> {
        let gradient = self.gradient(batch)?;
        self.powers[0] *= f64::from(DECAY);
        self.powers[1] *= f64::from(SQUARE_DECAY);
        let correction = (1.0 - self.powers[1]).sqrt() / (1.0 - self.powers[0]);
        let rate = self.keys.learning_rate * correction as f32;
        let moments = self.means.iter_mut().zip(&mut self.squares);
        for ((weight, g), (mean, square)) in
            self.weights.values.iter_mut().zip(gradient).zip(moments)
        {
            *mean = DECAY * *mean + (1.0 - DECAY) * g;
            *square = SQUARE_DECAY * *square + (1.0 - SQUARE_DECAY) * g * g;
            *weight -= rate * *mean / (square.sqrt() + FLOOR);
        }
        Ok(())
    }

    fn accuracy(&self, batch: &Batch) -> Result<f64> {
        let (network, hidden) = self.forward(batch)?;
        let right = network.margins(&hidden).zip(&batch.targets).zip(&batch.weights);
        let right = right.filter(|((margin, target), _)| (*margin > 0.0) == (**target > 0.5));
        Ok(right.map(|(_, weight)| weight).sum::<f64>() / batch.weights.iter().sum::<f64>())
    }

    /// The hidden layer of every row.
    fn forward(&self, batch: &Batch) -> Result<(Mlp, Vec<f32>)> {
        let network = Mlp::new(self.weights.clone());
        let Weights { width, hidden, .. } = self.weights;
        let mut units = vec![0.0; batch.targets.len() * hidden];
        self.host.parallel_chunks(&mut units, UNIT * hidden, |i, out| {
            let rows = &batch.rows[i * UNIT * width..][..out.len() / hidden * width];
            network.hidden(rows, out);
        })?;
        Ok((network, units))
    }

    /// Of the mean loss plus `alpha / 2` times the squared connections over the batch's weight, as
    /// scikit-learn has it.
    fn gradient(&self, batch: &Batch) -> Result<Vec<f32>> {
        let (network, units) = self.forward(batch)?;
        let Weights { width, hidden, .. } = self.weights;
        let total: f64 = batch.weights.iter().sum();
        let each = network.margins(&units).zip(&batch.targets).zip(&batch.weights);
        let errors: Vec<f32> = each
            .map(|((margin, target), weight)| (weight * (sigmoid(margin) - target) / total) as f32)
            .collect();
        let decay = (f64::from(self.keys.alpha) / total) as f32;
        let Parts { into_hidden, out_of_hidden, .. } = self.weights.parts();

        let mut gradient = vec![0.0; self.weights.values.len()];
        let (to_inner, rest) = gradient.split_at_mut(width * hidden);
        let (to_biases, to_outer) = rest.split_at_mut(hidden);
        for (units, error) in units.chunks_exact(hidden).zip(&errors) {
            for (i, unit) in units.iter().enumerate() {
                to_outer[i] += error * unit;
                to_biases[i] += if *unit > 0.0 { error * out_of_hidden[i] } else { 0.0 };
            }
        }
        to_outer.iter_mut().zip(out_of_hidden).for_each(|(g, weight)| *g += decay * weight);
        to_outer[hidden] = errors.iter().sum();

        let rows = Packed::of_columns(&batch.rows, width);
        self.host.parallel_chunks(to_inner, UNIT * width, |chunk, out| {
            let first = chunk * UNIT;
            let own = first..first + out.len() / width;
            let errors_of = |unit: usize| {
                let values = units.iter().skip(unit).step_by(hidden).zip(&errors);
                values.map(move |(value, error)| match *value > 0.0 {
                    true => error * out_of_hidden[unit],
                    false => 0.0,
                })
            };
            let left: Vec<f32> = own.flat_map(errors_of).collect();
            rows.multiply(&left, out);
            let own = &into_hidden[first * width..][..out.len()];
            out.iter_mut().zip(own).for_each(|(g, weight)| *g += decay * weight);
        })?;
        Ok(gradient)
    }
}
