//! Training of the projection: it learns, from references taken again with and without painted
//! defects, what to add to an image's tokens so that sentences tell its damaged patches from sound
//! ones, among all images. The layers before it keep their weights: they are features of the image at
//! many scales, as a random network gives them. It starts as nothing is added.

use loupe_plugin::prelude::*;

use super::network::Head;
use crate::learning::{Adam, logistic_loss, sigmoid64};
use crate::masks::DAMAGED;

/// Most patches of an image that are looked at: half of them damaged where there are as many.
const MOST_PATCHES: usize = 256;
const WEIGHT_DECAY: f64 = 1e-2;

pub(super) struct Keys {
    pub(super) strength: f64,
    /// Factor of the cosines.
    pub(super) scale: f64,
    pub(super) epochs: usize,
    pub(super) learning_rate: f64,
}

/// One image: the network's features of it, and patches with the share of each that is damaged.
pub(super) struct Example {
    features: Vec<f32>,
    patches: Vec<Vec<f32>>,
    targets: Vec<f64>,
}

impl Example {
    pub(super) fn new(features: Vec<f32>, patches: &[f32], targets: &[f32], width: usize) -> Self {
        let (damaged, sound): (Vec<usize>, Vec<usize>) =
            (0..targets.len()).partition(|i| targets[*i] >= DAMAGED);
        let mut kept = evenly(&damaged, MOST_PATCHES / 2);
        let sound: Vec<usize> = sound.into_iter().filter(|i| targets[*i] <= 0.0).collect();
        kept.extend(evenly(&sound, MOST_PATCHES - kept.len()));
        let row = |i: &usize| patches[i * width..(i + 1) * width].to_vec();
        Example {
            features,
            patches: kept.iter().map(row).collect(),
            targets: kept.iter().map(|i| if targets[*i] >= DAMAGED { 1.0 } else { 0.0 }).collect(),
        }
    }

    pub(super) fn width(&self) -> usize {
        self.patches.first().map_or(0, Vec::len)
    }
}

fn evenly(all: &[usize], most: usize) -> Vec<usize> {
    let n = all.len().min(most);
    (0..n).map(|i| all[i * all.len() / n]).collect()
}

/// Mean anomalous less mean normal sentence, each of length 1, by the sentences' weights.
/// Errors: another width than the patches', or sentences of one kind only.
pub(super) fn direction(text: &EmbeddedText, width: usize) -> Result<Vec<f64>> {
    let [_, d] = text.embeddings.dims_n("text")?;
    if d != width {
        return Err(Error::shape("text", format!("embeddings of width {width}"), d));
    }
    let rows = text.embeddings.f32s()?;
    let mean = |anomalous: bool| -> Result<Vec<f64>> {
        let mut mean = vec![0.0; width];
        for (sentence, row) in text.sentences.iter().zip(rows.chunks_exact(width)) {
            if sentence.anomalous == anomalous {
                let length = norm(row.iter().map(|x| f64::from(*x))).max(1e-12);
                let share = f64::from(sentence.weight) / length;
                mean.iter_mut().zip(row).for_each(|(sum, x)| *sum += share * f64::from(*x));
            }
        }
        let length = norm(mean.iter().copied());
        if length > 0.0 {
            return Ok(mean.into_iter().map(|x| x / length).collect());
        }
        Err(Error::input("`text` wants normal and anomalous sentences to train between"))
    };
    let (normal, anomalous) = (mean(false)?, mean(true)?);
    Ok(anomalous.iter().zip(&normal).map(|(a, b)| a - b).collect())
}

fn norm(values: impl Iterator<Item = f64>) -> f64 {
    values.map(|x| x * x).sum::<f64>().sqrt()
}

/// Parameters and gradients, in one row each: projection, its bias, the norm's weight and bias.
struct Rows {
    width: usize,
    n_in: usize,
    values: Vec<f64>,
}

impl Rows {
    fn parts(&self) -> [&[f64]; 4] {
        let (project, rest) = self.values.split_at(self.width * self.n_in);
        let (bias, rest) = rest.split_at(self.width);
        let (norm_weight, norm_bias) = rest.split_at(self.width);
        [project, bias, norm_weight, norm_bias]
    }
}

/// Trains by Adam on all examples at once. Errors: `Empty` if no patch is damaged, or none sound.
pub(super) fn fit(
    host: &Host,
    head: Head,
    examples: &[Example],
    direction: &[f64],
    keys: &Keys,
) -> Result<Head> {
    let (mean, deviation) = spread(examples);
    let standard = |example: &Example| -> Vec<f64> {
        let values = example.features.iter().zip(&mean).zip(&deviation);
        values.map(|((x, mean), deviation)| (f64::from(*x) - mean) / deviation).collect()
    };
    let features: Vec<Vec<f64>> = examples.iter().map(standard).collect();
    let (width, n_in) = (head.norm_weight.len(), head.project.n_in);
    let mut values: Vec<f64> = head.project.weights.iter().map(|x| f64::from(*x)).collect();
    values.resize(width * n_in + 3 * width, 0.0);
    let mut rows = Rows { width, n_in, values };
    let mut adam = Adam::new(rows.values.len(), keys.learning_rate, WEIGHT_DECAY);
    for _ in 0..keys.epochs {
        host.stop_if_cancelled()?;
        let (_, gradient) = loss(host, &rows, &features, examples, direction, keys)?;
        adam.step(&mut rows.values, &gradient);
    }
    Ok(folded(head, &rows, &mean, &deviation))
}

/// The trained rows as a head that takes features as they come.
fn folded(mut head: Head, rows: &Rows, mean: &[f64], deviation: &[f64]) -> Head {
    let [project, bias, norm_weight, norm_bias] = rows.parts();
    let single = |values: &[f64]| values.iter().map(|x| *x as f32).collect::<Vec<f32>>();
    let mut shifted = Vec::with_capacity(bias.len());
    head.project.weights.clear();
    for (row, bias) in project.chunks_exact(rows.n_in).zip(bias) {
        let scaled: Vec<f64> = row.iter().zip(deviation).map(|(w, s)| w / s).collect();
        shifted.push(bias - scaled.iter().zip(mean).map(|(w, m)| w * m).sum::<f64>());
        head.project.weights.extend(single(&scaled));
    }
    head.project.bias = single(&shifted);
    head.norm_weight = single(norm_weight);
    head.norm_bias = single(norm_bias);
    head
}

/// Mean and deviation of each feature over the examples; 1 where they do not differ.
fn spread(examples: &[Example]) -> (Vec<f64>, Vec<f64>) {
    let n = examples.len() as f64;
    let n_in = examples.first().map_or(0, |example| example.features.len());
    let (mut mean, mut var) = (vec![0.0; n_in], vec![0.0; n_in]);
    for example in examples {
        mean.iter_mut().zip(&example.features).for_each(|(sum, x)| *sum += f64::from(*x) / n);
    }
    for example in examples {
        for ((sum, x), mean) in var.iter_mut().zip(&example.features).zip(&mean) {
            *sum += (f64::from(*x) - mean) * (f64::from(*x) - mean) / n;
        }
    }
    (mean, var.into_iter().map(|var| if var > 1e-12 { var.sqrt() } else { 1.0 }).collect())
}

/// Mean logistic loss of the patches, damaged and sound ones weighing the same, and its gradient.
fn loss(
    host: &Host,
    rows: &Rows,
    features: &[Vec<f64>],
    examples: &[Example],
    direction: &[f64],
    keys: &Keys,
) -> Result<(f64, Vec<f64>)> {
    let targets = || examples.iter().flat_map(|example| &example.targets);
    let n_damaged = targets().filter(|target| **target > 0.5).count() as f64;
    let n_sound = targets().count() as f64 - n_damaged;
    if n_damaged == 0.0 || n_sound == 0.0 {
        return Err(Error::empty(
            "mask of examples (damaged and sound patches; `augment` with more `defects` paints them)",
        ));
    }
    let weights = [0.5 / n_sound, 0.5 / n_damaged];
    let partial = host.parallel_map(examples.len(), |i| {
        of_example(rows, &features[i], &examples[i], direction, keys, weights)
    })?;
    let (mut total, mut gradient) = (0.0, vec![0.0; rows.values.len()]);
    let (to_project, rest) = gradient.split_at_mut(rows.width * rows.n_in);
    for ((loss, by_row), features) in partial.iter().zip(features) {
        total += loss;
        let (projected, to_rest) = by_row.split_at(rows.width);
        for (line, g) in to_project.chunks_exact_mut(rows.n_in).zip(projected) {
            line.iter_mut().zip(features).for_each(|(sum, x)| *sum += g * x);
        }
        let bias = projected.iter().chain(to_rest);
        rest.iter_mut().zip(bias).for_each(|(sum, g)| *sum += g);
    }
    Ok((total, gradient))
}

/// Loss of one image; gradient by projection, norm's weight, norm's bias, in one row.
fn of_example(
    rows: &Rows,
    features: &[f64],
    example: &Example,
    direction: &[f64],
    keys: &Keys,
    weights: [f64; 2],
) -> (f64, Vec<f64>) {
    let [project, bias, norm_weight, norm_bias] = rows.parts();
    let width = rows.width as f64;
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let lines = project.chunks_exact(rows.n_in).zip(bias);
    let projected: Vec<f64> = lines.map(|(line, bias)| dot(line, features) + bias).collect();
    let mean = projected.iter().sum::<f64>() / width;
    let var = projected.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / width;
    let deviation = (var + super::layers::EPS).sqrt();
    let normed: Vec<f64> = projected.iter().map(|x| (x - mean) / deviation).collect();
    let inner: Vec<f64> =
        normed.iter().zip(norm_weight).zip(norm_bias).map(|((n, w), b)| n * w + b).collect();
    let vector: Vec<f64> = inner.iter().map(|x| keys.strength * x * sigmoid64(*x)).collect();

    let (mut loss, mut to_vector) = (0.0, vec![0.0; vector.len()]);
    for (patch, target) in example.patches.iter().zip(&example.targets) {
        let moved: Vec<f64> = patch.iter().zip(&vector).map(|(x, e)| f64::from(*x) + e).collect();
        let length = norm(moved.iter().copied()).max(1e-12);
        let cosine = dot(&moved, direction) / length;
        let logit = keys.scale * cosine;
        let weight = if *target > 0.5 { weights[1] } else { weights[0] };
        loss += weight * logistic_loss(logit, *target);
        let error = weight * (sigmoid64(logit) - target) * keys.scale / length;
        for ((g, u), x) in to_vector.iter_mut().zip(direction).zip(&moved) {
            *g += error * (u - cosine * x / length);
        }
    }
    let slope = |x: f64| {
        let s = sigmoid64(x);
        s + x * s * (1.0 - s)
    };
    let to_inner: Vec<f64> =
        to_vector.iter().zip(&inner).map(|(g, x)| keys.strength * g * slope(*x)).collect();
    let to_normed: Vec<f64> = to_inner.iter().zip(norm_weight).map(|(g, w)| g * w).collect();
    let (level, tilt) = (to_normed.iter().sum::<f64>() / width, dot(&to_normed, &normed) / width);
    let by_projected =
        to_normed.iter().zip(&normed).map(|(g, n)| (g - level - n * tilt) / deviation);
    let mut row: Vec<f64> = by_projected.collect();
    row.extend(to_inner.iter().zip(&normed).map(|(g, n)| g * n));
    row.extend(&to_inner);
    (loss, row)
}

#[cfg(test)]
mod tests;
