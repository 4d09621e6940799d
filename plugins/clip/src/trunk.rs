//! A tower's blocks in the form that a pass wants: packed for speed, or candle's, which can be walked
//! back.

use std::sync::{Arc, OnceLock};

use candle_core::Tensor;
use loupe_kernels::{AlikePass, BlockShape, BlockWeights, Blocks, Isa, Precision, blocks};

use crate::assemble;
use crate::error::Result;
use crate::kept::Keeper;
use crate::ops;
use crate::threads::Threads;
use crate::vision::{Block, Gem};
use crate::weights::Weights;

/// Which tower of a file, and its sizes.
#[derive(Clone, Copy, Debug)]
pub struct Layout {
    /// Stands before the blocks' names.
    pub prefix: &'static str,
    pub n_blocks: usize,
    pub shape: BlockShape,
}

impl Layout {
    pub fn name(&self) -> &'static str {
        if self.prefix.is_empty() { "text tower" } else { "image tower" }
    }
}

/// What weights are packed for.
#[derive(Clone, Debug)]
pub struct Packing {
    pub isa: Isa,
    pub precision: Precision,
    pub threads: Threads,
    /// `None`: packed at every start.
    pub keeper: Option<Keeper>,
}

/// The blocks of a tower.
pub struct Trunk {
    layout: Layout,
    packed: Option<Box<dyn Blocks>>,
    threads: Threads,
    plain: OnceLock<Vec<Block>>,
    /// What `plain` is made of when somebody asks for it.
    weights: Option<Arc<dyn Weights + Send + Sync>>,
}

impl Trunk {
    /// candle's blocks, in f32.
    pub fn plain(layout: Layout, weights: &dyn Weights) -> Result<Self> {
        let plain = OnceLock::from(assemble::blocks(weights, layout)?);
        Ok(Trunk { layout, packed: None, threads: Threads::Library, plain, weights: None })
    }

    /// Packed blocks, from what was kept of them or else from `weights`; and `weights` for the day that
    /// a pass is walked back.
    pub fn packed(
        layout: Layout,
        weights: Arc<dyn Weights + Send + Sync>,
        packing: &Packing,
    ) -> Result<Self> {
        let mut packed = blocks(layout.shape, packing.isa, packing.precision);
        let keeper = packing.keeper.as_ref();
        let taken = keeper.map(|keeper| keeper.take_up(&mut *packed, layout, packing));
        if !taken.transpose()?.unwrap_or(false) {
            pack(&mut *packed, layout, &*weights, packing.threads)?;
            if let Some(keeper) = keeper {
                keeper.keep(&*packed, layout, packing);
            }
        }
        let threads = packing.threads;
        let plain = OnceLock::new();
        Ok(Trunk { layout, packed: Some(packed), threads, plain, weights: Some(weights) })
    }

    pub fn len(&self) -> usize {
        self.layout.n_blocks
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether `run` can be called.
    pub fn is_packed(&self) -> bool {
        self.packed.is_some()
    }

    /// candle's blocks; made now if the trunk was packed.
    pub fn blocks(&self) -> Result<&[Block]> {
        if let (None, Some(weights)) = (self.plain.get(), &self.weights) {
            self.threads.ready_library();
            // Two threads may make them; one is kept.
            let _ = self.plain.set(assemble::blocks(&**weights, self.layout)?);
        }
        Ok(self.plain.get().map(Vec::as_slice).unwrap_or_default())
    }

    /// `tokens [batch * n, c]` behind the blocks `from..to`, on packed weights; with GEM's settings,
    /// its stream beside from its first block on, which starts as the tokens there.
    pub fn run(
        &self,
        tokens: &Tensor,
        batch: usize,
        (from, to): (usize, usize),
        gem: Option<(&Gem, usize, Option<Tensor>)>,
    ) -> Result<(Tensor, Option<Tensor>)> {
        let Some(packed) = &self.packed else { return Ok((tokens.clone(), None)) };
        let dims = tokens.dims().to_vec();
        let mut values = ops::to_vec(tokens)?;
        let turn = gem.as_ref().map_or(to, |(_, first, _)| (*first).clamp(from, to));
        self.threads.lend(|team| packed.run(from..turn, &mut values, batch, None, team))??;
        let stream = match gem {
            Some((gem, _, stream)) if turn < to => {
                let mut stream = match stream {
                    Some(stream) => ops::to_vec(&stream)?,
                    None => values.clone(),
                };
                let Gem { n_iterations, temperature, .. } = *gem;
                let alike = AlikePass { stream: &mut stream, temperature, n_iterations };
                let alike = Some(alike);
                self.threads
                    .lend(|team| packed.run(turn..to, &mut values, batch, alike, team))??;
                Some(ops::from_vec(stream, &dims)?)
            }
            Some((.., stream)) => stream,
            None => None,
        };
        Ok((ops::from_vec(values, &dims)?, stream))
    }
}

/// Packs all blocks behind those there are.
fn pack(
    packed: &mut dyn Blocks,
    layout: Layout,
    weights: &dyn Weights,
    threads: Threads,
) -> Result<()> {
    for index in 0..layout.n_blocks {
        let parts = assemble::block_parts(weights, layout, index)?;
        let [ln_1, qkv, out, ln_2, fc, proj] = &parts;
        let weights = BlockWeights {
            ln_1: lent(ln_1),
            qkv: lent(qkv),
            out: lent(out),
            ln_2: lent(ln_2),
            fc: lent(fc),
            proj: lent(proj),
        };
        threads.lend(|team| packed.push(&weights, team))??;
    }
    Ok(())
}

fn lent([weight, bias]: &[Vec<f32>; 2]) -> [&[f32]; 2] {
    [weight, bias]
}
