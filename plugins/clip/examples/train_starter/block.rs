//! A pre-norm transformer block, forward and backward, with everything between the products fused.

use candle_core::Tensor;

use crate::attention::{Sequences, attend, attend_backward};
use crate::error::Result;
use crate::layout::{Layout, Pair, Params, accumulate};
use crate::rows::{self, RowStatistics};
use crate::tensors::{in_place, own, with_values};

/// The places of a block's parameters.
#[derive(Clone, Debug)]
pub struct Block {
    ln_1: Pair,
    qkv: Pair,
    out: Pair,
    ln_2: Pair,
    fc: Pair,
    proj: Pair,
}

/// What the backward needs of the forward.
pub struct BlockTape {
    x: Tensor,
    ln_1: RowStatistics,
    normed_1: Tensor,
    qkv: Tensor,
    weights: Vec<Tensor>,
    mixed: Tensor,
    middle: Tensor,
    ln_2: RowStatistics,
    normed_2: Tensor,
    /// Slope of the activation.
    slope: Tensor,
    hidden: Tensor,
}

impl Block {
    /// Adds the parameters of block `index` of a tower of `n_blocks`, with CLIP's start values.
    pub fn new(layout: &mut Layout, prefix: &str, sizes: BlockSizes, index: usize) -> Self {
        let BlockSizes { width, mlp_width, n_blocks } = sizes;
        let name = |part: &str| format!("{prefix}transformer.resblocks.{index}.{part}");
        let inner = (width as f32).powf(-0.5);
        let residual = inner * (2.0 * n_blocks as f32).powf(-0.5);
        let wide = (2.0 * width as f32).powf(-0.5);
        Self {
            ln_1: layout.norm(&name("ln_1"), width),
            qkv: layout.linear((&name("attn.in_proj"), "_"), [3 * width, width], inner),
            out: layout.linear((&name("attn.out_proj"), "."), [width, width], residual),
            ln_2: layout.norm(&name("ln_2"), width),
            fc: layout.linear((&name("mlp.c_fc"), "."), [mlp_width, width], wide),
            proj: layout.linear((&name("mlp.c_proj"), "."), [width, mlp_width], residual),
        }
    }

    /// Shapes: `x [sequences*length, c]` -> the same.
    pub fn forward(
        &self,
        params: &Params,
        x: Tensor,
        shape: Sequences,
    ) -> Result<(Tensor, BlockTape)> {
        let (normed_1, ln_1) = norm(&self.ln_1, params, &x)?;
        let qkv = product(&self.qkv, params, &normed_1)?;
        in_place(&qkv, |x| rows::add_bias(x, self.qkv.bias.values(params)))?;
        let (mixed, weights) = attend(&qkv, shape)?;
        let middle = product(&self.out, params, &mixed)?;
        add_residual(&middle, &self.out, params, &x)?;
        let (normed_2, ln_2) = norm(&self.ln_2, params, &middle)?;
        let slope = product(&self.fc, params, &normed_2)?;
        let mut hidden = Vec::new();
        in_place(&slope, |x| hidden = rows::biased_gelu(x, self.fc.bias.values(params)))?;
        let hidden = own(hidden, slope.dims())?;
        let y = product(&self.proj, params, &hidden)?;
        add_residual(&y, &self.proj, params, &middle)?;
        let tape = BlockTape {
            x,
            ln_1,
            normed_1,
            qkv,
            weights,
            mixed,
            middle,
            ln_2,
            normed_2,
            slope,
            hidden,
        };
        Ok((y, tape))
    }

    /// The gradient `dy` of the output becomes that of the input; the parameters' are added to
    /// `gradients`.
    pub fn backward(
        &self,
        params: &Params,
        tape: BlockTape,
        dy: &Tensor,
        shape: Sequences,
        gradients: &mut [f32],
    ) -> Result<()> {
        let dhidden = product_backward(&self.proj, params, &tape.hidden, dy, gradients)?;
        with_values(&tape.slope, |slope| {
            let sum = self.fc.bias.gradient(gradients);
            in_place(&dhidden, |dx| rows::times_slope(dx, slope, sum))
        })??;
        let (weight, _) = self.fc.gradients(gradients);
        accumulate(weight, &dhidden.t()?.matmul(&tape.normed_2)?)?;
        let dnormed = dhidden.matmul(&self.fc.weight.tensor(params)?)?;
        norm_backward(&self.ln_2, params, (&tape.middle, &tape.ln_2), &dnormed, dy, gradients)?;
        let dmixed = product_backward(&self.out, params, &tape.mixed, dy, gradients)?;
        let dqkv = attend_backward(&tape.qkv, &tape.weights, &dmixed, shape)?;
        let dnormed = product_backward(&self.qkv, params, &tape.normed_1, &dqkv, gradients)?;
        norm_backward(&self.ln_1, params, (&tape.x, &tape.ln_1), &dnormed, dy, gradients)
    }
}

/// Sizes that all blocks of a tower share.
#[derive(Clone, Copy, Debug)]
pub struct BlockSizes {
    pub width: usize,
    pub mlp_width: usize,
    pub n_blocks: usize,
}

/// Layer norm of the rows of `x`.
pub fn norm(pair: &Pair, params: &Params, x: &Tensor) -> Result<(Tensor, RowStatistics)> {
    let (weight, bias) = (pair.weight.values(params), pair.bias.values(params));
    let (y, statistics) = with_values(x, |x| rows::layer_norm(x, weight, bias))?;
    Ok((own(y, x.dims())?, statistics))
}

/// Adds the gradient of `x` to `dx`, the parameters' to `gradients`.
pub fn norm_backward(
    pair: &Pair,
    params: &Params,
    (x, statistics): (&Tensor, &RowStatistics),
    dy: &Tensor,
    dx: &Tensor,
    gradients: &mut [f32],
) -> Result<()> {
    let weight = pair.weight.values(params);
    with_values(x, |x| {
        with_values(dy, |dy| {
            let (dw, db) = pair.gradients(gradients);
            in_place(dx, |dx| {
                rows::layer_norm_backward((x, statistics, weight), dy, dx, (&mut *dw, &mut *db));
            })
        })
    })??
}

/// `x W^T`, without the bias. Shapes: `x [n, in]` -> `[n, out]`.
fn product(linear: &Pair, params: &Params, x: &Tensor) -> Result<Tensor> {
    Ok(x.matmul(&linear.weight.tensor(params)?.t()?)?)
}

/// Gradient of a linear layer's input; the parameters' are added to `gradients`.
fn product_backward(
    linear: &Pair,
    params: &Params,
    x: &Tensor,
    dy: &Tensor,
    gradients: &mut [f32],
) -> Result<Tensor> {
    let (weight, bias) = linear.gradients(gradients);
    with_values(dy, |dy| rows::add_column_sums(dy, bias))?;
    accumulate(weight, &dy.t()?.matmul(x)?)?;
    Ok(dy.matmul(&linear.weight.tensor(params)?)?)
}

fn add_residual(y: &Tensor, linear: &Pair, params: &Params, x: &Tensor) -> Result<()> {
    with_values(x, |x| in_place(y, |y| rows::add_bias_and(y, linear.bias.values(params), x)))?
}
