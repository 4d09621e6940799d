//! Gradients of parameters as products that wait: each is `cotangents^T rows`, summed over an image's
//! tiles in order, so that no tile has a copy of its own to be added up.

use std::borrow::Cow;

use loupe_kernels::{Matrix, add_matmul};

use crate::error::MadffError;

/// A tile's part in the gradient of a parameter.
#[derive(Clone, Debug)]
pub struct Share<'a> {
    /// The parameter's name within its adapter.
    pub name: &'static str,
    pub shape: Vec<usize>,
    /// `[t, shape[0]]`.
    pub cotangents: Vec<f32>,
    /// `[t, ..]`, the other dimensions of the shape.
    pub rows: Cow<'a, [f32]>,
}

/// Numbers that training may change.
#[derive(Clone, Debug)]
pub struct Parameter<'a> {
    /// Within its adapter.
    pub name: &'static str,
    pub shape: Vec<usize>,
    pub values: &'a [f32],
}

/// The sum of the shares that tiles have in one parameter, in their order. 2 t n FLOP for n numbers.
/// Errors: `Kernel` for shares of unequal sizes.
pub fn summed(shares: &[&Share<'_>]) -> Result<Vec<f32>, MadffError> {
    let Some(first) = shares.first() else { return Ok(Vec::new()) };
    let n_out = first.shape.first().copied().unwrap_or(1);
    let n_in = first.shape.iter().skip(1).product::<usize>();
    let mut sum = vec![0.0; n_out * n_in];
    for share in shares {
        let n_rows = share.cotangents.len().checked_div(n_out).unwrap_or(0);
        let cotangents = Matrix::new(&share.cotangents, n_rows, n_out)?;
        add_matmul(cotangents.transposed(), Matrix::new(&share.rows, n_rows, n_in)?, &mut sum)?;
    }
    Ok(sum)
}
