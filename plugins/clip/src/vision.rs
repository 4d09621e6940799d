//! The image tower: one walk over the blocks yields CLIP's tokens, GEM's tokens and every tap.
//!
//! What an image yields does not depend on its neighbours in a batch: candle computes images one at a
//! time, and packed blocks round no row by another. A stream is the trunk's residual stream `[n, c]` of
//! one image, CLS first.

use candle_core::Tensor;

use crate::attention::Heads;
use crate::backward::Kept;
use crate::config::{Activation, VisionConfig};
use crate::error::{ClipError, Result};
use crate::matrix::Matrix;
use crate::ops::{self, LayerNorm, Linear};
use crate::position::Positions;
use crate::trunk::Trunk;

/// CLS stands before the patches.
pub const N_PREFIX: usize = 1;

/// One pre-norm transformer block.
pub struct Block {
    pub ln_1: LayerNorm,
    pub qkv: Linear,
    pub out: Linear,
    pub ln_2: LayerNorm,
    pub fc: Linear,
    pub proj: Linear,
}

impl Block {
    /// Shapes: `x [b*n, c]` -> `[b*n, c]`.
    pub fn apply(&self, x: &Tensor, batch: usize, run: BlockRun) -> Result<Tensor> {
        let heads = Heads::split(&self.qkv.apply(&self.ln_1.apply(x)?)?, batch, run.n_heads)?;
        let attended = ops::add(self.out.apply(&heads.attend(run.causal)?)?, x)?;
        let hidden = self.fc.apply_activated(&self.ln_2.apply(&attended)?, run.activation)?;
        ops::add(self.proj.apply(&hidden)?, &attended)
    }

    /// As `apply` for one image; besides, what GEM adds to its own stream in this block:
    /// the attention of tokens to tokens that are alike, through the same projections, with no MLP.
    /// With `tape`, what a backward pass needs is kept there and changes no byte of the rest.
    pub fn pass(
        &self,
        x: &Tensor,
        run: BlockRun,
        gem: Option<&Gem>,
        tape: Option<&mut Vec<Kept>>,
    ) -> Result<(Tensor, Option<Tensor>)> {
        let normed = self.ln_1.apply(x)?;
        let qkv = self.qkv.apply(&normed)?;
        let heads = Heads::split(&qkv, 1, run.n_heads)?;
        let added = gem.map(|gem| self.added_by(gem, &normed, &heads)).transpose()?;
        let attended = ops::add(self.out.apply(&heads.attend(run.causal)?)?, x)?;
        let normed = self.ln_2.apply(&attended)?;
        let hidden = match tape {
            None => self.fc.apply_activated(&normed, run.activation)?,
            Some(tape) => {
                let inner = self.fc.apply(&normed)?;
                let (input, attended) = (x.clone(), attended.clone());
                tape.push(Kept { input, qkv, attended, inner: inner.clone() });
                ops::activated(&inner, run.activation)?
            }
        };
        Ok((ops::add(self.proj.apply(&hidden)?, &attended)?, added))
    }

    fn added_by(&self, gem: &Gem, normed: &Tensor, heads: &Heads) -> Result<Tensor> {
        let tau = match gem.temperature {
            Some(inverse) => inverse,
            None => ops::mean_row_length(normed)? / (heads.q.dim(2)? as f32).sqrt(),
        };
        self.out.apply(&heads.attend_alike(tau, gem.n_iterations)?)
    }
}

/// What is the same in every block of a tower.
#[derive(Clone, Copy)]
pub struct BlockRun {
    pub n_heads: usize,
    pub activation: Activation,
    pub causal: bool,
}

/// GEM's settings. Source: arXiv:2312.00878 and gem-torch 1.0.1, whose `depth = 7` changes six
/// blocks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Gem {
    /// How many blocks from the end take part.
    pub n_blocks: usize,
    pub n_iterations: usize,
    /// Replaces the factor that GEM takes from the tokens' mean length; as in gem-torch it is the
    /// inverse of a temperature.
    pub temperature: Option<f32>,
}

impl Default for Gem {
    fn default() -> Self {
        Self { n_blocks: 6, n_iterations: 1, temperature: None }
    }
}

/// Tokens of one image on their way through the blocks.
#[derive(Clone)]
pub struct Stream {
    /// `[1 + rows*cols, c]`
    pub tokens: Tensor,
    /// GEM's own stream, once its first block has been reached.
    pub gem: Option<Tensor>,
}

/// The image tower.
pub struct VisionTower {
    pub config: VisionConfig,
    pub activation: Activation,
    /// `[3 p p, c]`, no bias.
    pub patch_weight: Matrix,
    pub class_embedding: Vec<f32>,
    pub positions: Positions,
    pub ln_pre: LayerNorm,
    pub trunk: Trunk,
    pub ln_post: LayerNorm,
    /// `[c, d]`
    pub projection: Matrix,
}

impl VisionTower {
    /// Rows and columns of patches of an image; pixels beyond the last whole patch are not read.
    /// Errors: `Shape` if the image is smaller than a patch.
    pub fn grid(&self, height: usize, width: usize) -> Result<(usize, usize)> {
        let patch = self.config.patch_size;
        match (height / patch, width / patch) {
            (rows @ 1.., cols @ 1..) => Ok((rows, cols)),
            _ => Err(ClipError::Shape {
                what: "image",
                want: format!("{patch} x {patch} pixels or more (one patch)"),
                got: format!("{height} x {width}"),
            }),
        }
    }

    /// Tokens before the first block. Shapes: `pixels [3,h,w]`, normalised -> `[1 + rows*cols, c]`.
    pub fn stem(&self, pixels: &[f32], height: usize, width: usize) -> Result<Tensor> {
        let (rows, cols) = self.grid(height, width)?;
        if pixels.len() != 3 * height * width {
            return Err(ClipError::Shape {
                what: "image",
                want: format!("3 x {height} x {width} values"),
                got: format!("{} values", pixels.len()),
            });
        }
        let patch = self.config.patch_size;
        let columns = unfold(pixels, height, width, patch, rows, cols);
        let columns = ops::from_vec(columns, &[rows * cols, 3 * patch * patch])?;
        let patches = self.patch_weight.apply(&columns)?;
        let channels = self.config.width;
        let class = ops::from_vec(self.class_embedding.clone(), &[N_PREFIX, channels])?;
        let tokens = Tensor::cat(&[class, patches], 0)?;
        let positions = self.positions.on(rows, cols)?;
        self.ln_pre.apply(&ops::add_on(self.ln_pre.threads, tokens, &positions)?)
    }

    /// Blocks `from..to` (counted from 0), with GEM's stream beside where `gem` is given; what a
    /// backward pass needs of each is put on the `tape`, which candle's blocks alone can do.
    pub fn walk(
        &self,
        stream: Stream,
        from: usize,
        to: usize,
        gem: Option<&Gem>,
        mut tape: Option<&mut Vec<Kept>>,
    ) -> Result<Stream> {
        if tape.is_none() && self.trunk.is_packed() {
            return self.walk_packed(stream, 1, (from, to), gem);
        }
        let first_gem = gem.map_or(usize::MAX, |gem| self.first_gem_block(gem));
        let run = self.block_run();
        let mut stream = stream;
        for (index, block) in self.trunk.blocks()?.iter().enumerate().take(to).skip(from) {
            let gem = gem.filter(|_| index >= first_gem);
            let (tokens, added) = block.pass(&stream.tokens, run, gem, tape.as_deref_mut())?;
            let before = stream.gem.unwrap_or(stream.tokens);
            let gem = added.map(|added| ops::add(added, &before)).transpose()?;
            stream = Stream { tokens, gem };
        }
        Ok(stream)
    }

    /// As `walk` on packed weights, for a stream of `n_images` of one size, one behind the other.
    pub fn walk_packed(
        &self,
        stream: Stream,
        n_images: usize,
        range: (usize, usize),
        gem: Option<&Gem>,
    ) -> Result<Stream> {
        let gem = gem.map(|gem| (gem, self.first_gem_block(gem), stream.gem));
        let (tokens, gem) = self.trunk.run(&stream.tokens, n_images, range, gem)?;
        Ok(Stream { tokens, gem })
    }

    /// The first block (from 0) in which GEM takes part.
    pub fn first_gem_block(&self, gem: &Gem) -> usize {
        self.trunk.len().saturating_sub(gem.n_blocks)
    }

    /// The trunk's output. Shapes: `tokens [n,c]` -> `[n,c]`.
    pub fn normed(&self, tokens: &Tensor) -> Result<Tensor> {
        self.ln_post.apply(tokens)
    }

    /// Shapes: `normed [n,c]` -> `[n,d]`, raw (not of unit length).
    pub fn project(&self, normed: &Tensor) -> Result<Tensor> {
        self.projection.apply(normed)
    }

    pub(crate) fn block_run(&self) -> BlockRun {
        let VisionConfig { n_heads, .. } = self.config;
        BlockRun { n_heads, activation: self.activation, causal: false }
    }
}

/// Patches as rows, in the order of the convolution's weight: channel, row, column.
fn unfold(
    pixels: &[f32],
    height: usize,
    width: usize,
    patch: usize,
    rows: usize,
    cols: usize,
) -> Vec<f32> {
    let mut columns = Vec::with_capacity(rows * cols * 3 * patch * patch);
    for row in 0..rows {
        for col in 0..cols {
            for channel in pixels.chunks_exact(height * width) {
                for line in channel.chunks_exact(width).skip(row * patch).take(patch) {
                    columns.extend(line.iter().skip(col * patch).take(patch));
                }
            }
        }
    }
    columns
}
