//! The backward pass of the frozen image tower between two taps: products of cotangents with the
//! blocks' Jacobians, for their inputs only. Weights are constants here and get no gradient.
//!
//! A forward pass keeps of each block what is dear to compute again; normalisations and attention
//! weights are made anew. Images are computed one by one, as forward.

use candle_core::Tensor;

use crate::activation;
use crate::attention::Heads;
use crate::error::{ClipError, Result};
use crate::model::{Clip, Session};
use crate::ops;
use crate::threads::Threads;
use crate::vision::{Block, BlockRun};

/// What a block's backward pass needs of its forward pass, of one image: 11 MB for 290 tokens of
/// 1,024 channels.
pub struct Kept {
    /// `[n, c]`
    pub input: Tensor,
    /// Queries, keys and values, `[n, 3c]`.
    pub qkv: Tensor,
    /// The stream between attention and MLP, `[n, c]`.
    pub attended: Tensor,
    /// What the MLP's activation is applied to, `[n, m]`.
    pub inner: Tensor,
}

/// What a session that trains holds: for each segment its first block and, until it is taken, what
/// its blocks kept by image and block.
#[derive(Default)]
pub struct Tape(Vec<(usize, Option<Vec<Vec<Kept>>>)>);

impl Tape {
    pub fn push(&mut self, first_block: usize, by_image: Vec<Vec<Kept>>) {
        self.0.push((first_block, Some(by_image)));
    }

    /// Errors: `Stepping`.
    fn take(&mut self, segment: usize) -> Result<(usize, Vec<Vec<Kept>>)> {
        let n_segments = self.0.len();
        let Some((first_block, kept)) = self.0.get_mut(segment) else {
            let problem = format!(
                "segment {segment} was not run: {n_segments} were, counted from 0; resume first"
            );
            return Err(ClipError::Stepping { problem });
        };
        let kept = kept.take().ok_or_else(|| {
            let problem = format!(
                "segment {segment} was walked back already, which frees it; run forward again"
            );
            ClipError::Stepping { problem }
        })?;
        Ok((*first_block, kept))
    }
}

impl Clip {
    /// The cotangent of the stream that the `segment`-th `resume` of a session (from 0) took, from
    /// that of the stream it gave, both `[b, 1 + gh*gw, c]`. Each segment once: what it kept is freed.
    /// GEM's own stream gets no cotangent. Errors: `Stepping` for a session without `train` and for a
    /// segment that is not there any more or not yet, `Shape`.
    pub fn backward(
        &self,
        session: &mut Session,
        segment: usize,
        cotangent: &Tensor,
    ) -> Result<Tensor> {
        let cotangents = self.check_stream(session, cotangent)?;
        let tape = session.tape.as_mut().ok_or_else(|| ClipError::Stepping {
            problem: "this pass was opened without `train`, so that it cannot be walked back"
                .to_string(),
        })?;
        let (first_block, kept) = tape.take(segment)?;
        let blocks = self.vision.trunk.blocks()?.get(first_block..).unwrap_or_default();
        let run = self.vision.block_run();
        let mut made = Vec::with_capacity(cotangents.len());
        for (mut cotangent, kept) in cotangents.into_iter().zip(kept) {
            let blocks = blocks.get(..kept.len()).unwrap_or_default();
            for (block, kept) in blocks.iter().zip(kept).rev() {
                cotangent = block.pull_back(&kept, &cotangent, run)?;
            }
            made.push(cotangent);
        }
        match made.as_slice() {
            [] => Ok(cotangent.clone()),
            made => Ok(Tensor::stack(made, 0)?),
        }
    }
}

impl Block {
    /// Shapes: `cotangent [n,c]` of the block's output -> `[n,c]` of its input.
    /// For n tokens of c channels: 24 n c^2 + 10 n^2 c FLOP.
    fn pull_back(&self, kept: &Kept, cotangent: &Tensor, run: BlockRun) -> Result<Tensor> {
        let inner = self.proj.pull_back(cotangent)?;
        ops::rows_with(Threads::Library, &inner, &kept.inner, |row, x| {
            activation::pull_back(run.activation, row, x);
        })?;
        let normed = self.fc.pull_back(&inner)?;
        let attended = ops::add(self.ln_2.pull_back(&kept.attended, normed)?, cotangent)?;
        let heads = Heads::split(&kept.qkv, 1, run.n_heads)?;
        let qkv = heads.pull_back(&self.out.pull_back(&attended)?)?;
        let normed = self.qkv.pull_back(&qkv)?;
        ops::add(self.ln_1.pull_back(&kept.input, normed)?, &attended)
    }
}
