//! The layers that adapters are made of, on rows of tokens.

use loupe_kernels::{Matrix, matmul};

use crate::error::MadffError;
use crate::weights::Weights;

/// Slope of every LeakyReLU below zero.
pub const LEAK: f32 = 0.01;
/// What PyTorch adds to a variance.
const EPSILON: f32 = 1e-5;

/// A linear layer without bias.
#[derive(Clone, Debug)]
pub struct Linear {
    /// `[n_in, n_out]`, so that products read it in order.
    turned: Vec<f32>,
    n_in: usize,
    n_out: usize,
}

impl Linear {
    /// The tensor `name [n_out, n_in]`, as PyTorch keeps it. Errors: as `Weights::tensor`.
    pub fn read(
        weights: &Weights,
        name: &str,
        n_out: usize,
        n_in: usize,
    ) -> Result<Self, MadffError> {
        let rows = weights.uniform(name, &[n_out, n_in], n_in)?;
        let mut turned = vec![0.0; rows.len()];
        for (column, row) in rows.chunks_exact(n_in.max(1)).enumerate() {
            for (line, value) in turned.chunks_exact_mut(n_out.max(1)).zip(row) {
                line[column] = *value;
            }
        }
        Ok(Linear { turned, n_in, n_out })
    }

    pub fn n_in(&self) -> usize {
        self.n_in
    }

    pub fn n_out(&self) -> usize {
        self.n_out
    }

    /// `rows [t, n_in]` -> `[t, n_out]`; f32. 2 t n_in n_out FLOP; reads 4 n_in n_out bytes of weights.
    /// Errors: `Kernel` if the rows are of another width.
    pub fn forward(&self, rows: &[f32]) -> Result<Vec<f32>, MadffError> {
        let n_rows = rows.len().checked_div(self.n_in).unwrap_or(0);
        let mut out = vec![0.0; n_rows * self.n_out];
        let rows = Matrix::new(rows, n_rows, self.n_in)?;
        matmul(rows, Matrix::new(&self.turned, self.n_in, self.n_out)?, &mut out)?;
        Ok(out)
    }
}

/// Layer normalisation over the width, with PyTorch's epsilon of 1e-5.
#[derive(Clone, Debug)]
pub struct LayerNorm {
    weight: Vec<f32>,
    bias: Vec<f32>,
}

impl LayerNorm {
    /// `name.weight` and `name.bias [width]`; drawn ones are 1 and 0. Errors: as `Weights::tensor`.
    pub fn read(weights: &Weights, name: &str, width: usize) -> Result<Self, MadffError> {
        let constant = |part: &str, value: f32| {
            weights.tensor(&format!("{name}.{part}"), &[width], &mut |_| value)
        };
        Ok(LayerNorm { weight: constant("weight", 1.0)?, bias: constant("bias", 0.0)? })
    }

    /// Normalises each of `rows [t, width]` in place; sums in f64.
    pub fn apply(&self, rows: &mut [f32]) {
        let width = self.weight.len().max(1);
        for row in rows.chunks_exact_mut(width) {
            let mean = row.iter().map(|x| f64::from(*x)).sum::<f64>() / width as f64;
            let square = |x: &f32| (f64::from(*x) - mean) * (f64::from(*x) - mean);
            let variance = row.iter().map(square).sum::<f64>() / width as f64;
            let scale = (1.0 / (variance + f64::from(EPSILON)).sqrt()) as f32;
            for ((x, weight), bias) in row.iter_mut().zip(&self.weight).zip(&self.bias) {
                *x = (*x - mean as f32) * scale * weight + bias;
            }
        }
    }
}

pub fn leaky_relu(values: &mut [f32]) {
    values.iter_mut().for_each(|x| *x = if *x > 0.0 { *x } else { LEAK * *x });
}

pub fn relu(values: &mut [f32]) {
    values.iter_mut().for_each(|x| *x = x.max(0.0));
}

pub fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + (-x).exp())
}
