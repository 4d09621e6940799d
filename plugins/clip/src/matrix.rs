//! A product that stands alone, in the form that its tower's blocks have: patches into tokens, tokens
//! into embeddings.

use candle_core::Tensor;
use loupe_kernels::Layer;

use crate::error::Result;
use crate::ops;
use crate::threads::Threads;

/// Weights `[n_in, n_out]`.
pub enum Matrix {
    Plain(Tensor),
    Packed(Box<dyn Layer>, Threads),
}

impl Matrix {
    /// Shapes: `x [n, n_in]` -> `[n, n_out]`; f32.
    pub fn apply(&self, x: &Tensor) -> Result<Tensor> {
        match self {
            Matrix::Plain(weight) => Ok(x.matmul(weight)?),
            Matrix::Packed(layer, threads) => {
                let shape = [x.dim(0)?, layer.n_out()];
                let mut y = vec![0.0; shape[0] * shape[1]];
                ops::with_values(x, |x| threads.lend(|team| layer.apply(x, &mut y, team)))???;
                ops::from_vec(y, &shape)
            }
        }
    }

    /// As `apply`; the bytes of a row do not depend on how many others there are.
    pub fn apply_row_by_row(&self, x: &Tensor) -> Result<Tensor> {
        match self {
            // candle rounds a product of one row otherwise than one of several.
            Matrix::Plain(_) => {
                let row = |index| self.apply(&x.narrow(0, index, 1)?);
                let rows = (0..x.dim(0)?).map(row).collect::<Result<Vec<_>>>()?;
                Ok(Tensor::cat(&rows, 0)?)
            }
            Matrix::Packed(..) => self.apply(x),
        }
    }

    pub fn n_out(&self) -> Result<usize> {
        match self {
            Matrix::Plain(weight) => Ok(weight.dim(1)?),
            Matrix::Packed(layer, _) => Ok(layer.n_out()),
        }
    }
}
