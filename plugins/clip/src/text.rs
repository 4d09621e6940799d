//! The text tower: causal, so only the tokens up to the end marker are computed.

use candle_core::Tensor;

use crate::config::{Activation, TextConfig};
use crate::error::{ClipError, Result};
use crate::matrix::Matrix;
use crate::ops::{self, LayerNorm};
use crate::trunk::Trunk;
use crate::vision::BlockRun;
use crate::vocabulary::TokenTable;

/// Tokens that one pass over the blocks takes together.
const MAX_BATCH_TOKENS: usize = 1_024;

/// The text tower.
pub struct TextTower {
    pub config: TextConfig,
    pub activation: Activation,
    pub token_embedding: TokenTable,
    /// `[context, c]`
    pub positions: Vec<f32>,
    pub trunk: Trunk,
    pub ln_final: LayerNorm,
    /// `[c, d]`
    pub projection: Matrix,
}

impl TextTower {
    /// Raw embeddings of token sequences, in the order given: `[n, d]`.
    ///
    /// A sequence's embedding is read at its first largest token (the end marker has the largest
    /// id of all); what follows cannot reach it and is not computed. Sequences of equal length
    /// run together. Errors: `Token`, and `Shape` for an empty or too long sequence.
    pub fn encode(&self, sequences: &[Vec<u32>], model: &str) -> Result<Tensor> {
        let lengths = sequences
            .iter()
            .map(|sequence| self.used_length(sequence, model))
            .collect::<Result<Vec<_>>>()?;
        let mut order: Vec<usize> = (0..sequences.len()).collect();
        order.sort_by_key(|index| lengths.get(*index).copied());
        let mut batches = Vec::new();
        for group in order.chunk_by(|a, b| lengths.get(*a) == lengths.get(*b)) {
            let length = group.first().and_then(|index| lengths.get(*index)).copied().unwrap_or(1);
            for batch in group.chunks((MAX_BATCH_TOKENS / length).max(1)) {
                let rows: Vec<&[u32]> = batch
                    .iter()
                    .filter_map(|index| sequences.get(*index).and_then(|s| s.get(..length)))
                    .collect();
                batches.push(self.encode_equal(&rows, length)?);
            }
        }
        if batches.is_empty() {
            return ops::from_vec(Vec::new(), &[0, self.projection.n_out()?]);
        }
        let mut position = vec![0_u32; order.len()];
        for (sorted, original) in order.iter().enumerate() {
            if let Some(slot) = position.get_mut(*original) {
                *slot = sorted as u32;
            }
        }
        let position = Tensor::new(position, &candle_core::Device::Cpu)?;
        Ok(Tensor::cat(&batches, 0)?.index_select(&position, 0)?)
    }

    fn used_length(&self, sequence: &[u32], model: &str) -> Result<usize> {
        let config = &self.config;
        if sequence.is_empty() || sequence.len() > config.context_length {
            return Err(ClipError::Shape {
                what: "text",
                want: format!("1 to {} tokens", config.context_length),
                got: format!("{} tokens", sequence.len()),
            });
        }
        let largest = sequence.iter().copied().max().unwrap_or_default();
        if largest as usize >= config.vocab_size {
            let (vocab_size, model) = (config.vocab_size, model.to_string());
            return Err(ClipError::Token { token: largest, vocab_size, model });
        }
        Ok(1 + sequence.iter().position(|token| *token == largest).unwrap_or_default())
    }

    /// Shapes: sequences of one `length` -> `[b, d]`.
    fn encode_equal(&self, rows: &[&[u32]], length: usize) -> Result<Tensor> {
        let width = self.config.width;
        let mut values = Vec::with_capacity(rows.len() * length * width);
        for row in rows {
            for (token, position) in row.iter().zip(self.positions.chunks_exact(width)) {
                let embedding = self.token_embedding.row(*token);
                values.extend(embedding.iter().zip(position).map(|(a, b)| a + b));
            }
        }
        let batch = rows.len();
        let mut x = ops::from_vec(values, &[batch * length, width])?;
        if self.trunk.is_packed() {
            (x, _) = self.trunk.run(&x, batch, (0, self.trunk.len()), None)?;
        } else {
            let TextConfig { n_heads, .. } = self.config;
            let run = BlockRun { n_heads, activation: self.activation, causal: true };
            for block in self.trunk.blocks()? {
                x = block.apply(&x, batch, run)?;
            }
        }
        let last = x.reshape((batch, length, width))?.narrow(1, length - 1, 1)?;
        let last = self.ln_final.apply(&last.contiguous()?.reshape((batch, width))?)?;
        self.projection.apply_row_by_row(&last)
    }
}
