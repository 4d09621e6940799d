//! Row-wise operations forward and backward, each in one walk over the memory.

use loupe_kernels::approx::{erfc_of_positive, exp_of_negative, max_of, sum_of};

/// Added to the variance, as every published CLIP does.
const LAYER_NORM_EPS: f32 = 1e-5;
/// 1 / sqrt(2 pi)
const NORMAL_PEAK: f32 = 0.398_942_3;
const LANES: usize = 8;

/// What the backward of a layer norm needs to know about each row.
pub struct RowStatistics {
    mean: Vec<f32>,
    /// One over the standard deviation.
    scale: Vec<f32>,
}

/// Layer norm over rows. Shapes: `x [n,c]`, `weight [c]`, `bias [c]` -> `[n,c]`.
pub fn layer_norm(x: &[f32], weight: &[f32], bias: &[f32]) -> (Vec<f32>, RowStatistics) {
    let width = weight.len().max(1);
    let mut y = Vec::with_capacity(x.len());
    let n_rows = x.len() / width;
    let (mut means, mut scales) = (Vec::with_capacity(n_rows), Vec::with_capacity(n_rows));
    for row in x.chunks_exact(width) {
        let mean = sum_of(row, |v| v) / width as f32;
        let variance = sum_of(row, |v| (v - mean) * (v - mean)) / width as f32;
        let scale = 1.0 / (variance + LAYER_NORM_EPS).sqrt();
        let affine = row.iter().zip(weight).zip(bias);
        y.extend(affine.map(|((v, w), b)| (v - mean) * scale * w + b));
        means.push(mean);
        scales.push(scale);
    }
    (y, RowStatistics { mean: means, scale: scales })
}

/// Backward of [`layer_norm`]: adds the input's gradient to `dx`, the parameters' to the rest.
/// Shapes: `x`, `dy`, `dx [n,c]`, `weight`, `dweight`, `dbias [c]`.
pub fn layer_norm_backward(
    (x, statistics, weight): (&[f32], &RowStatistics, &[f32]),
    dy: &[f32],
    dx: &mut [f32],
    (dweight, dbias): (&mut [f32], &mut [f32]),
) {
    let width = weight.len().max(1);
    let rows = x.chunks_exact(width).zip(dy.chunks_exact(width)).zip(dx.chunks_exact_mut(width));
    let of_rows = statistics.mean.iter().zip(&statistics.scale);
    for (((x, dy), dx), (mean, scale)) in rows.zip(of_rows) {
        let unit = |v: f32| (v - mean) * scale;
        let (sum, along) = weighted_sums(x, dy, weight, unit);
        let (sum, along) = (sum / width as f32, along / width as f32);
        for ((((dx, x), dy), weight), (dw, db)) in
            dx.iter_mut().zip(x).zip(dy).zip(weight).zip(dweight.iter_mut().zip(dbias.iter_mut()))
        {
            let unit = unit(*x);
            *dx += scale * (dy * weight - sum - unit * along);
            *dw += dy * unit;
            *db += dy;
        }
    }
}

/// Sums over a row of `dy w` and of `dy w unit(x)`, in lanes.
fn weighted_sums(x: &[f32], dy: &[f32], weight: &[f32], unit: impl Fn(f32) -> f32) -> (f32, f32) {
    let (mut sums, mut alongs) = ([0.0_f32; LANES], [0.0_f32; LANES]);
    let (x, x_rest) = x.as_chunks::<LANES>();
    let (dy, dy_rest) = dy.as_chunks::<LANES>();
    let (weight, weight_rest) = weight.as_chunks::<LANES>();
    for ((x, dy), weight) in x.iter().zip(dy).zip(weight) {
        for lane in 0..LANES {
            let g = dy[lane] * weight[lane];
            sums[lane] += g;
            alongs[lane] += g * unit(x[lane]);
        }
    }
    let (mut sum, mut along) = (sums.iter().sum::<f32>(), alongs.iter().sum::<f32>());
    for ((x, dy), weight) in x_rest.iter().zip(dy_rest).zip(weight_rest) {
        sum += dy * weight;
        along += dy * weight * unit(*x);
    }
    (sum, along)
}

/// Bias and exact GELU in one walk. `x [n,c]` becomes the GELU's slope there, which is all that
/// the backward needs; the activations are returned.
pub fn biased_gelu(x: &mut [f32], bias: &[f32]) -> Vec<f32> {
    let mut y = vec![0.0_f32; x.len()];
    let width = bias.len().max(1);
    for (x, y) in x.chunks_exact_mut(width).zip(y.chunks_exact_mut(width)) {
        for ((x, y), bias) in x.iter_mut().zip(y).zip(bias) {
            let value = *x + bias;
            let z = (value.abs() * std::f32::consts::FRAC_1_SQRT_2).min(6.5);
            let half = 0.5 * erfc_of_positive(z);
            let below = if value < 0.0 { half } else { 1.0 - half };
            *y = value * below;
            *x = below + value * NORMAL_PEAK * exp_of_negative(-z * z);
        }
    }
    y
}

/// `x += bias` on every row.
pub fn add_bias(x: &mut [f32], bias: &[f32]) {
    for row in x.chunks_exact_mut(bias.len().max(1)) {
        row.iter_mut().zip(bias).for_each(|(x, b)| *x += b);
    }
}

/// `x += bias + other` on every row: the end of a residual branch.
pub fn add_bias_and(x: &mut [f32], bias: &[f32], other: &[f32]) {
    let width = bias.len().max(1);
    for (row, other) in x.chunks_exact_mut(width).zip(other.chunks_exact(width)) {
        row.iter_mut().zip(other).zip(bias).for_each(|((x, o), b)| *x += o + b);
    }
}

/// `sum += rows of x`. Shapes: `x [n,c]`, `sum [c]`.
pub fn add_column_sums(x: &[f32], sum: &mut [f32]) {
    for row in x.chunks_exact(sum.len().max(1)) {
        sum.iter_mut().zip(row).for_each(|(s, x)| *s += x);
    }
}

/// `x *= slope`, and the rows' sum is added to `sum`: the backward of bias and GELU.
pub fn times_slope(x: &mut [f32], slope: &[f32], sum: &mut [f32]) {
    let width = sum.len().max(1);
    for (row, slope) in x.chunks_exact_mut(width).zip(slope.chunks_exact(width)) {
        for ((x, slope), sum) in row.iter_mut().zip(slope).zip(sum.iter_mut()) {
            *x *= slope;
            *sum += *x;
        }
    }
}

/// `softmax(factor x)` of rows of `width` in place. With `causal`, row `i` of each `width` rows
/// sees columns up to `i` only.
pub fn softmax(x: &mut [f32], width: usize, factor: f32, causal: bool) {
    for (index, row) in x.chunks_exact_mut(width.max(1)).enumerate() {
        let n_seen = if causal { index % width + 1 } else { width };
        let (seen, hidden) = row.split_at_mut(n_seen);
        hidden.fill(0.0);
        let max = max_of(seen);
        seen.iter_mut().for_each(|v| *v = exp_of_negative((*v - max) * factor));
        let scale = 1.0 / sum_of(seen, |v| v);
        seen.iter_mut().for_each(|v| *v *= scale);
    }
}

/// Backward of [`softmax`]: `dy` becomes the gradient of `x`. Shapes: `y`, `dy [n,width]`.
pub fn softmax_backward(y: &[f32], dy: &mut [f32], width: usize, factor: f32) {
    for (y, dy) in y.chunks_exact(width.max(1)).zip(dy.chunks_exact_mut(width.max(1))) {
        dy.iter_mut().zip(y).for_each(|(dy, y)| *dy *= y);
        let sum = sum_of(dy, |v| v);
        dy.iter_mut().zip(y).for_each(|(dy, y)| *dy = (*dy - y * sum) * factor);
    }
}

#[cfg(test)]
mod tests;
