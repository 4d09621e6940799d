//! Towers out of weights: which tensor goes where, in which orientation.

use std::sync::Arc;

use loupe_kernels::{BlockShape, layer};

use crate::config::ModelConfig;
use crate::error::Result;
use crate::matrix::Matrix;
use crate::ops::{self, LayerNorm, Linear};
use crate::position::Positions;
use crate::text::TextTower;
use crate::threads::Threads;
use crate::trunk::{Layout, Packing, Trunk};
use crate::vision::{Block, VisionTower};
use crate::weights::Weights;

/// Where a tower's blocks come from.
pub enum Source<'a> {
    /// candle's blocks.
    Plain(&'a dyn Weights),
    /// Packed ones.
    Packed(&'a Arc<dyn Weights + Send + Sync>, &'a Packing),
}

impl Source<'_> {
    pub fn weights(&self) -> &dyn Weights {
        match self {
            Source::Plain(weights) => *weights,
            Source::Packed(weights, ..) => &***weights,
        }
    }

    fn threads(&self) -> Threads {
        match self {
            Source::Plain(_) => Threads::Library,
            Source::Packed(_, packing) => packing.threads,
        }
    }

    fn trunk(&self, layout: Layout) -> Result<Trunk> {
        match self {
            Source::Plain(weights) => Trunk::plain(layout, *weights),
            Source::Packed(weights, packing) => Trunk::packed(layout, Arc::clone(weights), packing),
        }
    }

    /// `weight [n_out, n_in]`, as files have it.
    fn matrix(&self, weight: &[f32], n_out: usize, n_in: usize) -> Result<Matrix> {
        let Source::Packed(_, Packing { isa, precision, threads, .. }) = self else {
            let weight = ops::transposed(weight, n_out, n_in, Threads::Library)?;
            return Ok(Matrix::Plain(ops::from_vec(weight, &[n_in, n_out])?));
        };
        let bias = vec![0.0; n_out];
        let packed =
            threads.lend(|team| layer([weight, &bias], n_in, *isa, *precision, team))??;
        Ok(Matrix::Packed(packed, *threads))
    }

    fn layer_norm(&self, name: &str, width: usize) -> Result<LayerNorm> {
        let part = |part| self.weights().take(&format!("{name}.{part}"), &[width]);
        Ok(LayerNorm { weight: part("weight")?, bias: part("bias")?, threads: self.threads() })
    }

    /// A projection, which stands as `[n_in, n_out]` in files.
    fn projection(&self, name: &str, n_in: usize, n_out: usize) -> Result<Matrix> {
        let weight = self.weights().take(name, &[n_in, n_out])?;
        match self {
            Source::Plain(_) => Ok(Matrix::Plain(ops::from_vec(weight, &[n_in, n_out])?)),
            Source::Packed(..) => {
                let weight = ops::transposed(&weight, n_in, n_out, self.threads())?;
                self.matrix(&weight, n_out, n_in)
            }
        }
    }
}

pub fn vision_tower(config: &ModelConfig, source: &Source) -> Result<VisionTower> {
    let (vision, weights) = (&config.vision, source.weights());
    let (c, p, g) = (vision.width, vision.patch_size, vision.native_grid());
    let patch_weight = weights.take("visual.conv1.weight", &[c, 3, p, p])?;
    let (n_heads, mlp_width) = (vision.n_heads, vision.mlp_width);
    let activation = config.activation;
    let shape = BlockShape { width: c, n_heads, mlp_width, activation, causal: false };
    Ok(VisionTower {
        config: vision.clone(),
        activation,
        patch_weight: source.matrix(&patch_weight, c, 3 * p * p)?,
        class_embedding: weights.take("visual.class_embedding", &[c])?,
        positions: Positions::new(
            weights.take("visual.positional_embedding", &[1 + g * g, c])?,
            c,
            g,
        ),
        ln_pre: source.layer_norm("visual.ln_pre", c)?,
        trunk: source.trunk(Layout { prefix: "visual.", n_blocks: vision.n_blocks, shape })?,
        ln_post: source.layer_norm("visual.ln_post", c)?,
        projection: source.projection("visual.proj", c, config.embed_dim)?,
    })
}

pub fn text_tower(config: &ModelConfig, source: &Source) -> Result<TextTower> {
    let (text, weights) = (&config.text, source.weights());
    let c = text.width;
    let (n_heads, mlp_width) = (text.n_heads, text.mlp_width);
    let activation = config.activation;
    let shape = BlockShape { width: c, n_heads, mlp_width, activation, causal: true };
    Ok(TextTower {
        config: text.clone(),
        activation,
        token_embedding: weights.token_table(text.vocab_size, c)?,
        positions: weights.take("positional_embedding", &[text.context_length, c])?,
        trunk: source.trunk(Layout { prefix: "", n_blocks: text.n_blocks, shape })?,
        ln_final: source.layer_norm("ln_final", c)?,
        projection: source.projection("text_projection", c, config.embed_dim)?,
    })
}

/// candle's blocks.
pub fn blocks(weights: &dyn Weights, layout: Layout) -> Result<Vec<Block>> {
    let block = |index: usize| {
        let [ln_1, qkv, out, ln_2, fc, proj] = block_parts(weights, layout, index)?;
        let threads = Threads::Library;
        let norm = |[weight, bias]: [Vec<f32>; 2]| LayerNorm { weight, bias, threads };
        Ok(Block {
            ln_1: norm(ln_1),
            qkv: linear(qkv)?,
            out: linear(out)?,
            ln_2: norm(ln_2),
            fc: linear(fc)?,
            proj: linear(proj)?,
        })
    };
    (0..layout.n_blocks).map(block).collect()
}

/// Weight and bias of a block's parts as they stand in files: normalisation, queries with keys and
/// values, projection, normalisation, and the MLP's two.
pub fn block_parts(
    weights: &dyn Weights,
    layout: Layout,
    index: usize,
) -> Result<[[Vec<f32>; 2]; 6]> {
    let BlockShape { width: c, mlp_width: h, .. } = layout.shape;
    let part = |weight: &str, bias: &str, shape: &[usize]| -> Result<[Vec<f32>; 2]> {
        let name = |part| format!("{}transformer.resblocks.{index}.{part}", layout.prefix);
        Ok([weights.take(&name(weight), shape)?, weights.take(&name(bias), &shape[..1])?])
    };
    Ok([
        part("ln_1.weight", "ln_1.bias", &[c])?,
        part("attn.in_proj_weight", "attn.in_proj_bias", &[3 * c, c])?,
        part("attn.out_proj.weight", "attn.out_proj.bias", &[c, c])?,
        part("ln_2.weight", "ln_2.bias", &[c])?,
        part("mlp.c_fc.weight", "mlp.c_fc.bias", &[h, c])?,
        part("mlp.c_proj.weight", "mlp.c_proj.bias", &[c, h])?,
    ])
}

fn linear([weight, bias]: [Vec<f32>; 2]) -> Result<Linear> {
    let n_out = bias.len();
    let n_in = weight.len() / n_out.max(1);
    let weight = ops::transposed(&weight, n_out, n_in, Threads::Library)?;
    Ok(Linear { weight: ops::from_vec(weight, &[n_in, n_out])?, bias })
}
