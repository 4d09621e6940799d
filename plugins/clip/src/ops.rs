//! Row-wise operations that candle computes serially, or in one pass where two are more exact.

use candle_core::{CpuStorage, Device, InplaceOp1, Layout, Storage, Tensor};

use crate::config::Activation;
use crate::error::{ClipError, Result};
use crate::threads::Threads;
use loupe_kernels::approx::{exp_of_negative, max_of, sum_of};
use loupe_kernels::for_each_chunk;

/// Added to the variance; every published CLIP uses this value.
pub const LAYER_NORM_EPS: f32 = 1e-5;
/// Smallest divisor when a row is scaled to unit length, as `torch.nn.functional.normalize`.
pub const UNIT_EPS: f32 = 1e-12;

/// `y = x W + b`.
///
/// The weight stands with its inputs as rows, unlike in files: a product of few rows would else be
/// rounded by another kernel than one of many, and embeddings would depend on their batch.
#[derive(Clone)]
pub struct Linear {
    /// `[n_in, n_out]`
    pub weight: Tensor,
    /// One value per output.
    pub bias: Vec<f32>,
}

impl Linear {
    /// Shapes: `x [n, n_in]` -> `[n, n_out]`; f32.
    pub fn apply(&self, x: &Tensor) -> Result<Tensor> {
        self.apply_then(x, |_| {})
    }

    /// As `apply`, then the activation of every value, in the same walk over the output.
    pub fn apply_activated(&self, x: &Tensor, activation: Activation) -> Result<Tensor> {
        self.apply_then(x, |row| activation.apply(row))
    }

    /// The cotangent of the inputs. Shapes: `cotangent [n, n_out]` -> `[n, n_in]`; f32.
    pub fn pull_back(&self, cotangent: &Tensor) -> Result<Tensor> {
        Ok(cotangent.matmul(&self.weight.t()?)?)
    }

    fn apply_then(&self, x: &Tensor, then: impl Fn(&mut [f32]) + Sync) -> Result<Tensor> {
        let y = x.matmul(&self.weight)?;
        rows_in_place(&y, |_, row| {
            for (value, bias) in row.iter_mut().zip(&self.bias) {
                *value += bias;
            }
            then(row);
        })?;
        Ok(y)
    }
}

/// Layer normalisation over the last dimension.
#[derive(Clone)]
pub struct LayerNorm {
    pub weight: Vec<f32>,
    pub bias: Vec<f32>,
    pub threads: Threads,
}

impl LayerNorm {
    /// Shapes: `x [n,c]` -> `[n,c]`; f32. The variance is taken around the mean in a second walk:
    /// the one-walk form loses digits where a channel is far larger than the others.
    pub fn apply(&self, x: &Tensor) -> Result<Tensor> {
        let y = x.copy()?;
        rows_on(self.threads, &y, |_, row| {
            let (mean, scale) = mean_and_scale(row);
            for ((value, weight), bias) in row.iter_mut().zip(&self.weight).zip(&self.bias) {
                *value = (*value - mean) * scale * weight + bias;
            }
        })?;
        Ok(y)
    }

    /// The cotangent of `x`, in the memory of `fresh`, which holds that of the output and nobody else
    /// may hold. Shapes: `x`, `fresh [n,c]` -> `[n,c]`; f32.
    pub fn pull_back(&self, x: &Tensor, fresh: Tensor) -> Result<Tensor> {
        rows_with(self.threads, &fresh, x, |row, x| {
            let n = row.len() as f32;
            let (mean, scale) = mean_and_scale(x);
            row.iter_mut().zip(&self.weight).for_each(|(value, weight)| *value *= weight);
            let along = dot(row, x, mean) * scale;
            let (level, slope) = (sum_of(row, |v| v) / n, along * scale / n);
            for (value, x) in row.iter_mut().zip(x) {
                *value = scale * (*value - level - (*x - mean) * slope);
            }
        })?;
        Ok(fresh)
    }
}

/// Mean of a row, and the inverse of its standard deviation.
fn mean_and_scale(row: &[f32]) -> (f32, f32) {
    let n = row.len() as f32;
    let mean = sum_of(row, |v| v) / n;
    let variance = sum_of(row, |v| (v - mean) * (v - mean)) / n;
    (mean, 1.0 / (variance + LAYER_NORM_EPS).sqrt())
}

/// A copy of `x` with every value activated.
pub fn activated(x: &Tensor, activation: Activation) -> Result<Tensor> {
    let y = x.copy()?;
    rows_in_place(&y, |_, row| activation.apply(row))?;
    Ok(y)
}

/// Softmax of every row in place. With `causal`, row `i` of the last two dimensions sees columns
/// up to `first_row + i` only, the rest become 0.
pub fn softmax_in_place(scores: &Tensor, causal: bool, first_row: usize) -> Result<()> {
    let n_rows = scores.dim(candle_core::D::Minus2)?;
    rows_in_place(scores, |index, row| {
        let n_seen = if causal { first_row + index % n_rows.max(1) + 1 } else { row.len() };
        let (seen, hidden) = row.split_at_mut(n_seen.min(row.len()));
        hidden.fill(0.0);
        softmax_row(seen);
    })
}

/// A copy of `x` with every row of the last dimension at Euclidean length 1.
pub fn unit_rows(x: &Tensor) -> Result<Tensor> {
    let y = x.copy()?;
    rows_in_place(&y, |_, row| {
        let length = length(row).max(UNIT_EPS);
        row.iter_mut().for_each(|v| *v /= length);
    })?;
    Ok(y)
}

/// `fresh + other`, computed in the memory of `fresh`, which nobody else may hold.
///
/// candle's own sums and products run on a thread pool of its own, whose size no caller can set.
pub fn add(fresh: Tensor, other: &Tensor) -> Result<Tensor> {
    add_on(Threads::Library, fresh, other)
}

/// As `add`, on these threads.
pub fn add_on(threads: Threads, fresh: Tensor, other: &Tensor) -> Result<Tensor> {
    rows_with(threads, &fresh, other, |row, other| {
        row.iter_mut().zip(other).for_each(|(sum, value)| *sum += value);
    })?;
    Ok(fresh)
}

/// `f` on every row of a freshly made tensor and the same row of another of its shape.
/// Errors: `Shape`.
pub fn rows_with(
    threads: Threads,
    fresh: &Tensor,
    other: &Tensor,
    f: impl Fn(&mut [f32], &[f32]) + Sync,
) -> Result<()> {
    let width = other.dim(candle_core::D::Minus1)?;
    if fresh.dims() != other.dims() {
        return Err(ClipError::Shape {
            what: "operand",
            want: format!("{:?}", fresh.dims()),
            got: format!("{:?}", other.dims()),
        });
    }
    with_values(other, |values| {
        rows_on(threads, fresh, |index, row| {
            f(row, values.get(index * width..(index + 1) * width).unwrap_or_default());
        })
    })?
}

/// `factor * x` as a new tensor.
pub fn scaled(x: &Tensor, factor: f32) -> Result<Tensor> {
    let y = x.copy()?;
    rows_in_place(&y, |_, row| row.iter_mut().for_each(|v| *v *= factor))?;
    Ok(y)
}

/// Mean Euclidean length of the rows of `x [n,c]`.
pub fn mean_row_length(x: &Tensor) -> Result<f32> {
    let width = x.dim(candle_core::D::Minus1)?.max(1);
    with_values(x, |values| {
        let n_rows = (values.len() / width).max(1);
        let total: f64 = values.chunks_exact(width).map(|row| f64::from(length(row))).sum();
        (total / n_rows as f64) as f32
    })
}

/// `f` on every row of the last dimension of a freshly made contiguous tensor, where candle's products run.
pub fn rows_in_place(x: &Tensor, f: impl Fn(usize, &mut [f32]) + Sync) -> Result<()> {
    rows_on(Threads::Library, x, f)
}

/// As `rows_in_place`, on these threads.
pub fn rows_on(threads: Threads, x: &Tensor, f: impl Fn(usize, &mut [f32]) + Sync) -> Result<()> {
    let width = x.dim(candle_core::D::Minus1)?;
    if width > 0 {
        x.inplace_op1(&Rows { width, f, threads })?;
    }
    Ok(())
}

/// The values of a CPU f32 tensor, row-major.
pub fn to_vec(x: &Tensor) -> Result<Vec<f32>> {
    Ok(x.flatten_all()?.to_vec1::<f32>()?)
}

/// A CPU f32 tensor that owns `values`.
pub fn from_vec(values: Vec<f32>, shape: &[usize]) -> Result<Tensor> {
    Ok(Tensor::from_vec(values, shape, &Device::Cpu)?)
}

/// Rows become columns. Shapes: `[rows, cols]` -> `[cols, rows]`.
pub fn transposed(values: &[f32], rows: usize, cols: usize, threads: Threads) -> Result<Vec<f32>> {
    /// Columns that are gathered together, so that a cache line is read once.
    const STRIP: usize = 16;
    let mut out = vec![0.0_f32; values.len()];
    if rows == 0 || cols == 0 {
        return Ok(out);
    }
    let gather = |strip: usize, lines: &mut [f32]| {
        for (row, source) in values.chunks_exact(cols).enumerate() {
            let source = source.get(strip * STRIP..).unwrap_or_default();
            for (line, value) in lines.chunks_exact_mut(rows).zip(source) {
                if let Some(slot) = line.get_mut(row) {
                    *slot = *value;
                }
            }
        }
    };
    threads.lend(|team| for_each_chunk(&mut out, STRIP * rows, team.par, gather))?;
    Ok(out)
}

/// Runs `read` on the row-major values, copying only if `x` is strided.
pub fn with_values<T>(x: &Tensor, read: impl FnOnce(&[f32]) -> T) -> Result<T> {
    let x = x.contiguous()?;
    let (storage, layout) = x.storage_and_layout();
    let values = match &*storage {
        Storage::Cpu(storage) => storage.as_slice::<f32>()?,
        _ => return Err(candle_core::Error::Msg("values must be on the CPU".into()).into()),
    };
    let values = layout.contiguous_offsets().and_then(|(start, end)| values.get(start..end));
    Ok(read(values.unwrap_or_default()))
}

struct Rows<F> {
    width: usize,
    f: F,
    threads: Threads,
}

/// Values of a task's rows at least: below this a task costs more than its rows.
const MIN_TASK_VALUES: usize = 1 << 13;

impl<F: Fn(usize, &mut [f32]) + Sync> InplaceOp1 for Rows<F> {
    fn name(&self) -> &'static str {
        "rows"
    }

    fn cpu_fwd(&self, storage: &mut CpuStorage, layout: &Layout) -> candle_core::Result<()> {
        let CpuStorage::F32(values) = storage else {
            candle_core::bail!("rows wants f32 values");
        };
        let Some(values) = layout.contiguous_offsets().and_then(|(a, b)| values.get_mut(a..b))
        else {
            candle_core::bail!("rows wants a contiguous tensor");
        };
        let n_rows = MIN_TASK_VALUES.div_ceil(self.width);
        let each = |task: usize, rows: &mut [f32]| {
            for (row, values) in rows.chunks_mut(self.width).enumerate() {
                (self.f)(task * n_rows + row, values);
            }
        };
        let lent =
            self.threads.lend(|team| for_each_chunk(values, n_rows * self.width, team.par, each));
        lent.map_err(candle_core::Error::wrap)
    }
}

/// The cotangent of softmax's inputs, in the memory of that of its outputs, `fresh`.
/// Shapes: `fresh`, `probabilities [.., n]`.
pub fn softmax_pull_back(fresh: &Tensor, probabilities: &Tensor) -> Result<()> {
    rows_with(Threads::Library, fresh, probabilities, |row, probabilities| {
        let mean = dot(row, probabilities, 0.0);
        for (value, probability) in row.iter_mut().zip(probabilities) {
            *value = probability * (*value - mean);
        }
    })
}

/// Sum of `a * (b - shift)` in eight lanes.
fn dot(a: &[f32], b: &[f32], shift: f32) -> f32 {
    let mut lanes = [0.0_f32; 8];
    let ((groups, rest), (others, other_rest)) = (a.as_chunks::<8>(), b.as_chunks::<8>());
    for (group, other) in groups.iter().zip(others) {
        for ((lane, a), b) in lanes.iter_mut().zip(group).zip(other) {
            *lane += a * (b - shift);
        }
    }
    let rest = rest.iter().zip(other_rest).map(|(a, b)| a * (b - shift));
    lanes.iter().sum::<f32>() + rest.sum::<f32>()
}

fn softmax_row(row: &mut [f32]) {
    let max = max_of(row);
    row.iter_mut().for_each(|v| *v = exp_of_negative(*v - max));
    let scale = 1.0 / sum_of(row, |v| v);
    row.iter_mut().for_each(|v| *v *= scale);
}

fn length(row: &[f32]) -> f32 {
    sum_of(row, |v| v * v).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dot_product_takes_every_value() {
        let values: Vec<f32> = (1..=19).map(|i| i as f32).collect();
        assert_eq!(dot(&values, &values, 1.0), 2280.0);
        assert_eq!(dot(&[], &[], 1.0), 0.0);
    }

    #[test]
    fn a_matrix_is_transposed_whatever_its_sides() {
        for (rows, cols) in [(1, 1), (3, 17), (40, 5), (16, 16), (0, 4)] {
            let values: Vec<f32> = (0..rows * cols).map(|i| i as f32).collect();
            let got = transposed(&values, rows, cols, Threads::Library).unwrap();
            for row in 0..rows {
                for col in 0..cols {
                    assert_eq!(got[col * rows + row], values[row * cols + col]);
                }
            }
        }
    }
}
