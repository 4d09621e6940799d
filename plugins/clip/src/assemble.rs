//! Towers out of weights: which tensor goes where, in which orientation.

use candle_core::Tensor;

use crate::config::ModelConfig;
use crate::error::Result;
use crate::ops::{self, LayerNorm, Linear};
use crate::text::TextTower;
use crate::vision::{Block, VisionTower};
use crate::weights::Weights;

pub fn vision_tower(config: &ModelConfig, weights: &dyn Weights) -> Result<VisionTower> {
    let vision = &config.vision;
    let (c, p, g) = (vision.width, vision.patch_size, vision.native_grid());
    let patch_weight = weights.take("visual.conv1.weight", &[c, 3, p, p])?;
    let patch_weight = ops::transposed(&patch_weight, c, 3 * p * p);
    Ok(VisionTower {
        config: vision.clone(),
        activation: config.activation,
        patch_weight: ops::from_vec(patch_weight, &[3 * p * p, c])?,
        class_embedding: weights.take("visual.class_embedding", &[c])?,
        positions: weights.take("visual.positional_embedding", &[1 + g * g, c])?,
        ln_pre: layer_norm(weights, "visual.ln_pre", c)?,
        blocks: blocks(weights, "visual.", c, vision.mlp_width, vision.n_blocks)?,
        ln_post: layer_norm(weights, "visual.ln_post", c)?,
        projection: matrix(weights, "visual.proj", c, config.embed_dim)?,
    })
}

pub fn text_tower(config: &ModelConfig, weights: &dyn Weights) -> Result<TextTower> {
    let text = &config.text;
    let c = text.width;
    Ok(TextTower {
        config: text.clone(),
        activation: config.activation,
        token_embedding: weights.token_table(text.vocab_size, c)?,
        positions: weights.take("positional_embedding", &[text.context_length, c])?,
        blocks: blocks(weights, "", c, text.mlp_width, text.n_blocks)?,
        ln_final: layer_norm(weights, "ln_final", c)?,
        projection: matrix(weights, "text_projection", c, config.embed_dim)?,
    })
}

fn blocks(
    weights: &dyn Weights,
    tower: &str,
    width: usize,
    mlp_width: usize,
    n_blocks: usize,
) -> Result<Vec<Block>> {
    let block = |index: usize| {
        let name = |part: &str| format!("{tower}transformer.resblocks.{index}.{part}");
        let dot = |part: &str, n_out, n_in| {
            linear(
                weights,
                &name(&format!("{part}.weight")),
                &name(&format!("{part}.bias")),
                n_out,
                n_in,
            )
        };
        let (weight, bias) = (name("attn.in_proj_weight"), name("attn.in_proj_bias"));
        Ok(Block {
            ln_1: layer_norm(weights, &name("ln_1"), width)?,
            qkv: linear(weights, &weight, &bias, 3 * width, width)?,
            out: dot("attn.out_proj", width, width)?,
            ln_2: layer_norm(weights, &name("ln_2"), width)?,
            fc: dot("mlp.c_fc", mlp_width, width)?,
            proj: dot("mlp.c_proj", width, mlp_width)?,
        })
    };
    (0..n_blocks).map(block).collect()
}

fn linear(
    weights: &dyn Weights,
    weight: &str,
    bias: &str,
    n_out: usize,
    n_in: usize,
) -> Result<Linear> {
    let bias = weights.take(bias, &[n_out])?;
    let weight = ops::transposed(&weights.take(weight, &[n_out, n_in])?, n_out, n_in);
    Ok(Linear { weight: ops::from_vec(weight, &[n_in, n_out])?, bias })
}

fn matrix(weights: &dyn Weights, name: &str, rows: usize, cols: usize) -> Result<Tensor> {
    ops::from_vec(weights.take(name, &[rows, cols])?, &[rows, cols])
}

fn layer_norm(weights: &dyn Weights, name: &str, width: usize) -> Result<LayerNorm> {
    Ok(LayerNorm {
        weight: weights.take(&format!("{name}.weight"), &[width])?,
        bias: weights.take(&format!("{name}.bias"), &[width])?,
    })
}
