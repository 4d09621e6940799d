//! Attention of many short sequences, forward and backward. One sequence at a time: its scores
//! then stay in the nearest cache, and nothing is transposed or copied on the way in.

use candle_core::Tensor;

use crate::error::Result;
use crate::rows;
use crate::tensors::{in_place, own, with_values};

/// Sizes of a stack of sequences.
#[derive(Clone, Copy, Debug)]
pub struct Sequences {
    pub n_sequences: usize,
    /// Tokens of each.
    pub length: usize,
    pub n_heads: usize,
    pub width: usize,
    pub causal: bool,
}

impl Sequences {
    fn head_width(self) -> usize {
        self.width / self.n_heads.max(1)
    }

    fn factor(self) -> f32 {
        1.0 / (self.head_width() as f32).sqrt()
    }

    /// One part (0 query, 1 key, 2 value) of one sequence as a view `[heads, length, d]`.
    fn part(self, qkv: &Tensor, sequence: usize, part: usize) -> Result<Tensor> {
        let n_parts = qkv.dim(1)? / self.width.max(1);
        let shape = (self.n_sequences, self.length, n_parts, self.n_heads, self.head_width());
        let view = qkv.reshape(shape)?.get(sequence)?.narrow(1, part, 1)?.squeeze(1)?;
        Ok(view.transpose(0, 1)?)
    }

    /// Copies `heads [heads, length, d]` into columns from `column` on of `rows [length, row]`.
    fn merge(self, heads: &[f32], rows: &mut [f32], row: usize, column: usize) {
        let d = self.head_width();
        for (head, lines) in heads.chunks_exact((self.length * d).max(1)).enumerate() {
            let first = column + head * d;
            for (line, row) in lines.chunks_exact(d).zip(rows.chunks_exact_mut(row)) {
                if let Some(slot) = row.get_mut(first..first + d) {
                    slot.copy_from_slice(line);
                }
            }
        }
    }
}

/// Shapes: `qkv [sequences*length, 3c]` -> `[sequences*length, c]`, and the weights
/// `[heads, length, length]` of every sequence, which the backward needs.
pub fn attend(qkv: &Tensor, shape: Sequences) -> Result<(Tensor, Vec<Tensor>)> {
    let Sequences { n_sequences, length, width, .. } = shape;
    let mut out = vec![0.0_f32; n_sequences * length * width];
    let mut all_weights = Vec::with_capacity(n_sequences);
    for (sequence, out) in out.chunks_exact_mut((length * width).max(1)).enumerate() {
        let (q, k) = (shape.part(qkv, sequence, 0)?, shape.part(qkv, sequence, 1)?);
        let weights = q.matmul(&k.t()?)?;
        in_place(&weights, |x| rows::softmax(x, length, shape.factor(), shape.causal))?;
        let mixed = weights.matmul(&shape.part(qkv, sequence, 2)?)?;
        with_values(&mixed, |heads| shape.merge(heads, out, width, 0))?;
        all_weights.push(weights);
    }
    Ok((own(out, &[n_sequences * length, width])?, all_weights))
}

/// Gradient of `qkv` from the gradient `dy [sequences*length, c]` of [`attend`]'s output.
pub fn attend_backward(
    qkv: &Tensor,
    all_weights: &[Tensor],
    dy: &Tensor,
    shape: Sequences,
) -> Result<Tensor> {
    let Sequences { n_sequences, length, width, .. } = shape;
    let row = 3 * width;
    let mut dqkv = vec![0.0_f32; n_sequences * length * row];
    let sequences = dqkv.chunks_exact_mut((length * row).max(1)).zip(all_weights);
    for (sequence, (dqkv, weights)) in sequences.enumerate() {
        let part = |index| shape.part(qkv, sequence, index);
        let dy = shape.part(dy, sequence, 0)?;
        let dv = weights.t()?.matmul(&dy)?;
        let dscores = dy.matmul(&part(2)?.t()?)?;
        with_values(weights, |y| {
            in_place(&dscores, |dy| rows::softmax_backward(y, dy, length, shape.factor()))
        })??;
        let dq = dscores.matmul(&part(1)?)?;
        let dk = dscores.t()?.matmul(&part(0)?)?;
        for (index, gradient) in [dq, dk, dv].iter().enumerate() {
            with_values(gradient, |heads| shape.merge(heads, dqkv, row, index * width))?;
        }
    }
    own(dqkv, &[n_sequences * length, row])
}
