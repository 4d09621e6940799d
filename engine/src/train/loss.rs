//! Losses of tokens that are told apart by two text embeddings, with their cotangents, in f64.
//!
//! Every patch gets two logits, `scale` times its cosines with the embedding of the normal and of the
//! anomalous sentences. Source: arXiv:2403.12570 and its program; the focal and the dice loss have that
//! program's constants.

use crate::pipeline::model::Loss;

/// Kept away from 0 and 1 by this in the focal loss.
const FOCAL_SMOOTH: f64 = 1e-5;
const DICE_SMOOTH: f64 = 1.0;

/// Unit vectors that stand for the normal and the anomalous sentences of a class.
#[derive(Clone, Debug)]
pub struct TextPair(pub [Vec<f64>; 2]);

/// What an image is known to be.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    pub anomalous: bool,
    /// `[size, size]`, true where it is anomalous; `None` if its data set has no masks.
    pub mask: Option<&'a [bool]>,
    pub size: usize,
}

/// One head's loss at one tap.
#[derive(Clone, Debug, Default)]
pub struct HeadLoss {
    /// By part, in the order asked for.
    pub parts: Vec<(Loss, f64)>,
    /// Of the tokens, `[gh * gw, d]`.
    pub cotangent: Vec<f32>,
}

impl TextPair {
    /// From embeddings `[n, d]` and which of them are anomalous: each of unit length, the mean of each
    /// kind, of unit length again. `None` if a kind has no sentence or a mean vanishes.
    pub fn new(embeddings: &[f32], width: usize, anomalous: &[bool]) -> Option<TextPair> {
        let mut sums = [vec![0.0; width], vec![0.0; width]];
        for (row, anomalous) in embeddings.chunks_exact(width.max(1)).zip(anomalous) {
            let row = unit(row.iter().map(|x| f64::from(*x)).collect())?;
            let sum = &mut sums[usize::from(*anomalous)];
            sum.iter_mut().zip(&row).for_each(|(sum, x)| *sum += x);
        }
        let [normal, damaged] = sums;
        Some(TextPair([unit(normal)?, unit(damaged)?]))
    }
}

fn unit(row: Vec<f64>) -> Option<Vec<f64>> {
    let length = row.iter().map(|x| x * x).sum::<f64>().sqrt();
    let scaled: Vec<f64> = row.iter().map(|x| x / length).collect();
    (length > 0.0 && length.is_finite()).then_some(scaled)
}

/// The sum of `of` over the patches of one image. Shapes: `tokens [gh * gw, d]`, row-major.
/// A loss that wants a mask is left out where there is none.
pub fn head_loss(
    tokens: &[f32],
    grid: [usize; 2],
    text: &TextPair,
    scale: f64,
    of: &[Loss],
    target: &Target<'_>,
) -> HeadLoss {
    let logits = Logits::new(tokens, text, scale);
    let mut of_logits = [vec![0.0; logits.n()], vec![0.0; logits.n()]];
    let mut parts = Vec::new();
    let mapped: Vec<Loss> =
        of.iter().copied().filter(|loss| *loss != Loss::BceOnProbability).collect();
    if of.contains(&Loss::BceOnProbability) {
        let loss = bce_on_probability(&logits, target.anomalous, &mut of_logits);
        parts.push((Loss::BceOnProbability, loss));
    }
    if let (Some(mask), false) = (target.mask, mapped.is_empty()) {
        parts.extend(of_map(&logits, grid, &mapped, mask, target.size, &mut of_logits));
    }
    HeadLoss { parts, cotangent: logits.backward(tokens, text, scale, &of_logits) }
}

/// Cosines of the tokens with both texts, times the scale.
struct Logits {
    values: [Vec<f64>; 2],
    lengths: Vec<f64>,
}

impl Logits {
    fn new(tokens: &[f32], text: &TextPair, scale: f64) -> Logits {
        let TextPair([normal, anomalous]) = text;
        let mut logits = Logits { values: [Vec::new(), Vec::new()], lengths: Vec::new() };
        for token in tokens.chunks_exact(normal.len().max(1)) {
            let dot = |text: &[f64]| -> f64 {
                token.iter().zip(text).map(|(x, t)| f64::from(*x) * t).sum()
            };
            let length = token.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt();
            // A token of no length points nowhere: it has no cosine and gets no gradient.
            let per_length = if length > 0.0 { scale / length } else { 0.0 };
            logits.values[0].push(dot(normal) * per_length);
            logits.values[1].push(dot(anomalous) * per_length);
            logits.lengths.push(length);
        }
        logits
    }

    fn n(&self) -> usize {
        self.lengths.len()
    }

    /// Of `scale * t / |t| . f`: `scale (f - t_unit (t_unit . f)) / |t|`.
    fn backward(
        &self,
        tokens: &[f32],
        TextPair([normal, anomalous]): &TextPair,
        scale: f64,
        of_logits: &[Vec<f64>; 2],
    ) -> Vec<f32> {
        let width = normal.len().max(1);
        let mut cotangent = vec![0.0; tokens.len()];
        for (i, (token, out)) in
            tokens.chunks_exact(width).zip(cotangent.chunks_exact_mut(width)).enumerate()
        {
            let (length, [of_0, of_1]) = (self.lengths[i], [of_logits[0][i], of_logits[1][i]]);
            if length == 0.0 {
                continue;
            }
            let along = (of_0 * self.values[0][i] + of_1 * self.values[1][i]) / (length * length);
            for (((out, x), n), a) in out.iter_mut().zip(token).zip(normal).zip(anomalous) {
                let towards = scale * (of_0 * n + of_1 * a) / length;
                *out = (towards - along * f64::from(*x)) as f32;
            }
        }
        cotangent
    }
}

/// Softmax of two logits, the second's share.
fn share([normal, anomalous]: [f64; 2]) -> f64 {
    1.0 / (1.0 + (normal - anomalous).exp())
}

/// The binary cross entropy of the mean probability, which is taken for a logit: as the program does.
fn bce_on_probability(logits: &Logits, anomalous: bool, out: &mut [Vec<f64>; 2]) -> f64 {
    let n = logits.n().max(1) as f64;
    let shares: Vec<f64> =
        logits.values[0].iter().zip(&logits.values[1]).map(|(a, b)| share([*a, *b])).collect();
    let mean = shares.iter().sum::<f64>() / n;
    let label = if anomalous { 1.0 } else { 0.0 };
    let of_mean = 1.0 / (1.0 + (-mean).exp()) - label;
    for (i, share) in shares.iter().enumerate() {
        let of_logit = of_mean / n * share * (1.0 - share);
        out[1][i] += of_logit;
        out[0][i] -= of_logit;
    }
    mean.max(0.0) - mean * label + (-mean.abs()).exp().ln_1p()
}

/// Losses of the map: logits stretched to the image's size with aligned corners, softmax, then pixels
/// against the mask.
fn of_map(
    logits: &Logits,
    [rows, cols]: [usize; 2],
    of: &[Loss],
    mask: &[bool],
    size: usize,
    out: &mut [Vec<f64>; 2],
) -> Vec<(Loss, f64)> {
    let (down, across) = (Stretch::new(rows, size), Stretch::new(cols, size));
    let [normal, anomalous] =
        logits.values.each_ref().map(|grid| down.columns(&across.rows(grid), size));
    let shares: Vec<f64> = normal.iter().zip(&anomalous).map(|(a, b)| share([*a, *b])).collect();
    let mut of_shares = vec![0.0; shares.len()];
    let loss = |loss: &Loss| {
        let value = match loss {
            Loss::Focal => focal(&shares, mask, &mut of_shares),
            Loss::Dice => dice(&shares, mask, &mut of_shares),
            Loss::BceOnProbability => 0.0,
        };
        (*loss, value)
    };
    let parts = of.iter().map(loss).collect();
    let of_anomalous: Vec<f64> =
        of_shares.iter().zip(&shares).map(|(of, share)| of * share * (1.0 - share)).collect();
    let of_grid = across.rows_back(&down.columns_back(&of_anomalous, size));
    for (i, of_logit) in of_grid.iter().enumerate() {
        out[1][i] += of_logit;
        out[0][i] -= of_logit;
    }
    parts
}

/// Mean over pixels of `-(1 - p)^2 ln p`, `p` being the smoothed probability of what the pixel is.
fn focal(shares: &[f64], mask: &[bool], of_shares: &mut [f64]) -> f64 {
    let n = shares.len().max(1) as f64;
    let mut sum = 0.0;
    for ((share, anomalous), of_share) in shares.iter().zip(mask).zip(of_shares) {
        let sign = if *anomalous { 1.0 } else { -1.0 };
        let right = if *anomalous { *share } else { 1.0 - share };
        let p = (1.0 - FOCAL_SMOOTH) * right + FOCAL_SMOOTH * (1.0 - right) + FOCAL_SMOOTH;
        sum -= (1.0 - p).powi(2) * p.ln();
        let of_p = 2.0 * (1.0 - p) * p.ln() - (1.0 - p).powi(2) / p;
        *of_share += sign * (1.0 - 2.0 * FOCAL_SMOOTH) * of_p / n;
    }
    sum / n
}

/// `1 - (2 sum(p m) + 1) / (sum p + sum m + 1)`.
fn dice(shares: &[f64], mask: &[bool], of_shares: &mut [f64]) -> f64 {
    let in_mask = |pair: (&f64, &bool)| if *pair.1 { *pair.0 } else { 0.0 };
    let both: f64 = shares.iter().zip(mask).map(in_mask).sum();
    let area = mask.iter().filter(|anomalous| **anomalous).count() as f64;
    let (top, bottom) = (2.0 * both + DICE_SMOOTH, shares.iter().sum::<f64>() + area + DICE_SMOOTH);
    for (of_share, anomalous) in of_shares.iter_mut().zip(mask) {
        let of_top = if *anomalous { 2.0 } else { 0.0 };
        *of_share += (top / bottom - of_top) / bottom;
    }
    1.0 - top / bottom
}

/// Linear interpolation with aligned corners along one axis: for each output, the input before it and the
/// share of the one behind.
struct Stretch {
    n_in: usize,
    at: Vec<(usize, f64)>,
}

impl Stretch {
    fn new(n_in: usize, n_out: usize) -> Stretch {
        let step = n_in.saturating_sub(1) as f64 / n_out.saturating_sub(1).max(1) as f64;
        let at = |i: usize| {
            let place = i as f64 * step;
            let before = (place.floor() as usize).min(n_in.saturating_sub(1));
            (before, place - before as f64)
        };
        Stretch { n_in, at: (0..n_out).map(at).collect() }
    }

    fn behind(&self, before: usize) -> usize {
        (before + 1).min(self.n_in.saturating_sub(1))
    }

    /// `[r, n_in]` -> `[r, n_out]`.
    fn rows(&self, grid: &[f64]) -> Vec<f64> {
        let row = |row: &[f64]| -> Vec<f64> {
            let value = |&(before, rest): &(usize, f64)| {
                row[before] * (1.0 - rest) + row[self.behind(before)] * rest
            };
            self.at.iter().map(value).collect()
        };
        grid.chunks_exact(self.n_in.max(1)).flat_map(row).collect()
    }

    /// `[n_in, width]` -> `[n_out, width]`.
    fn columns(&self, grid: &[f64], width: usize) -> Vec<f64> {
        let row = |&(before, rest): &(usize, f64)| {
            let of = |at: usize| &grid[at * width..][..width];
            let mix = of(before).iter().zip(of(self.behind(before)));
            mix.map(|(a, b)| a * (1.0 - rest) + b * rest).collect::<Vec<f64>>()
        };
        self.at.iter().flat_map(row).collect()
    }

    /// The transpose of `rows`.
    fn rows_back(&self, grid: &[f64]) -> Vec<f64> {
        let row = |row: &[f64]| {
            let mut out = vec![0.0; self.n_in];
            for (value, &(before, rest)) in row.iter().zip(&self.at) {
                out[before] += value * (1.0 - rest);
                out[self.behind(before)] += value * rest;
            }
            out
        };
        grid.chunks_exact(self.at.len().max(1)).flat_map(row).collect()
    }

    /// The transpose of `columns`.
    fn columns_back(&self, grid: &[f64], width: usize) -> Vec<f64> {
        let mut out = vec![0.0; self.n_in * width];
        for (row, &(before, rest)) in grid.chunks_exact(width.max(1)).zip(&self.at) {
            for (x, value) in row.iter().enumerate() {
                out[before * width + x] += value * (1.0 - rest);
                out[self.behind(before) * width + x] += value * rest;
            }
        }
        out
    }
}

#[cfg(test)]
#[path = "loss_tests.rs"]
mod tests;
