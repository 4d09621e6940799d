//! The layers that adapters are made of, on rows of tokens, with their backward passes.

use std::borrow::Cow;

use loupe_kernels::{Isa, Layer, Matrix, Precision, Team, layer, matmul, serial, vectorised};

use crate::error::MadffError;
use crate::gradient::{Parameter, Share};
use crate::weights::Weights;

/// Slope of every LeakyReLU below zero.
pub const LEAK: f32 = 0.01;
/// What PyTorch adds to a variance.
const EPSILON: f32 = 1e-5;

/// A linear layer without bias.
pub struct Linear {
    /// Within its adapter.
    name: &'static str,
    /// `[n_out, n_in]`, as PyTorch keeps it.
    weight: Vec<f32>,
    n_in: usize,
    n_out: usize,
    packed: Option<Box<dyn Layer>>,
}

impl Linear {
    /// The tensor `adapter.name [n_out, n_in]`. Errors: as `Weights::tensor`.
    pub fn read(
        weights: &Weights,
        adapter: &str,
        name: &'static str,
        [n_out, n_in]: [usize; 2],
    ) -> Result<Self, MadffError> {
        let weight = weights.uniform(&format!("{adapter}.{name}"), &[n_out, n_in], n_in)?;
        Ok(Linear { name, weight, n_in, n_out, packed: None })
    }

    /// From now on `forward` runs on packed weights, rounded to this precision; `pull_back` does not.
    /// Errors: `Kernel`.
    pub fn pack(&mut self, isa: Isa, precision: Precision, team: Team) -> Result<(), MadffError> {
        let bias = vec![0.0; self.n_out];
        self.packed = Some(layer([&self.weight, &bias], self.n_in, isa, precision, team)?);
        Ok(())
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
        if let Some(packed) = &self.packed {
            packed.apply(rows, &mut out, Team { par: &serial, n_threads: 1 })?;
            return Ok(out);
        }
        let weight = Matrix::new(&self.weight, self.n_out, self.n_in)?;
        matmul(Matrix::new(rows, n_rows, self.n_in)?, weight.transposed(), &mut out)?;
        Ok(out)
    }

    /// The cotangents of the rows: `cotangents [t, n_out]` -> `[t, n_in]`; as dear as `forward`.
    /// Errors: as `forward`.
    pub fn pull_back(&self, cotangents: &[f32]) -> Result<Vec<f32>, MadffError> {
        let n_rows = cotangents.len().checked_div(self.n_out).unwrap_or(0);
        let mut out = vec![0.0; n_rows * self.n_in];
        let weight = Matrix::new(&self.weight, self.n_out, self.n_in)?;
        matmul(Matrix::new(cotangents, n_rows, self.n_out)?, weight, &mut out)?;
        Ok(out)
    }

    /// The weight's gradient, of `cotangents [t, n_out]` and the rows that `forward` took.
    pub fn share<'a>(&self, cotangents: Vec<f32>, rows: impl Into<Cow<'a, [f32]>>) -> Share<'a> {
        Share { name: self.name, shape: vec![self.n_out, self.n_in], cotangents, rows: rows.into() }
    }

    pub fn parameter(&self) -> Parameter<'_> {
        Parameter { name: self.name, shape: vec![self.n_out, self.n_in], values: &self.weight }
    }
}

/// Layer normalisation over the width, with PyTorch's epsilon of 1e-5.
#[derive(Clone, Debug)]
pub struct LayerNorm {
    weight: Vec<f32>,
    bias: Vec<f32>,
}

impl LayerNorm {
    const WEIGHT: &'static str = "proj.1.weight";
    const BIAS: &'static str = "proj.1.bias";

    /// `adapter.proj.1.weight` and `.bias [width]`; drawn ones are 1 and 0. Errors: as `Weights::tensor`.
    pub fn read(weights: &Weights, adapter: &str, width: usize) -> Result<Self, MadffError> {
        let constant = |name: &str, value: f32| {
            weights.tensor(&format!("{adapter}.{name}"), &[width], &mut |_| value)
        };
        Ok(LayerNorm { weight: constant(Self::WEIGHT, 1.0)?, bias: constant(Self::BIAS, 0.0)? })
    }

    /// Each of `rows [t, width]`, normalised; sums in f64.
    pub fn forward(&self, rows: &[f32]) -> Vec<f32> {
        let mut out = Vec::with_capacity(rows.len());
        for row in rows.chunks_exact(self.weight.len().max(1)) {
            let [mean, scale] = mean_and_scale(row);
            let affine = self.weight.iter().zip(&self.bias);
            out.extend(row.iter().zip(affine).map(|(x, (w, b))| (x - mean) * scale * w + b));
        }
        out
    }

    /// The cotangents of the rows that `forward` took, of those of what it made, and the shares of weight
    /// and bias.
    pub fn pull_back(&self, rows: &[f32], cotangents: &[f32]) -> (Vec<f32>, [Share<'static>; 2]) {
        let width = self.weight.len().max(1);
        let (mut of_rows, mut of_weight) = (Vec::with_capacity(rows.len()), Vec::new());
        for (row, cotangents) in rows.chunks_exact(width).zip(cotangents.chunks_exact(width)) {
            let [mean, scale] = mean_and_scale(row);
            let normed: Vec<f32> = row.iter().map(|x| (x - mean) * scale).collect();
            of_weight.extend(cotangents.iter().zip(&normed).map(|(c, x)| c * x));
            let given: Vec<f32> = cotangents.iter().zip(&self.weight).map(|(c, w)| c * w).collect();
            let level = given.iter().map(|c| f64::from(*c)).sum::<f64>() / width as f64;
            let slope = sum_of_products(&given, &normed) / width as f64;
            let (level, slope) = (level as f32, slope as f32);
            let lines = given.iter().zip(&normed);
            of_rows.extend(lines.map(|(c, x)| scale * (c - level - x * slope)));
        }
        let share = |name, cotangents: Vec<f32>| {
            let rows = vec![1.0; cotangents.len() / width];
            Share { name, shape: vec![width], cotangents, rows: rows.into() }
        };
        let shares = [share(Self::WEIGHT, of_weight), share(Self::BIAS, cotangents.to_vec())];
        (of_rows, shares)
    }

    pub fn parameters(&self) -> [Parameter<'_>; 2] {
        [(Self::WEIGHT, &self.weight), (Self::BIAS, &self.bias)].map(|(name, values)| Parameter {
            name,
            shape: vec![values.len()],
            values,
        })
    }
}

/// Mean of a row, and the inverse of its standard deviation; sums in f64.
fn mean_and_scale(row: &[f32]) -> [f32; 2] {
    let width = row.len() as f64;
    let mean = row.iter().map(|x| f64::from(*x)).sum::<f64>() / width;
    let square = |x: &f32| (f64::from(*x) - mean) * (f64::from(*x) - mean);
    let variance = row.iter().map(square).sum::<f64>() / width;
    [mean as f32, (1.0 / (variance + f64::from(EPSILON)).sqrt()) as f32]
}

pub fn sum_of_products(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
}

vectorised! {
    /// `sums += weight * values`.
    pub fn add_weighed(sums: &mut [f32], weight: f32, values: &[f32]) {
        sums.iter_mut().zip(values).for_each(|(sum, x)| *sum += weight * x);
    }
}

vectorised! {
    pub fn multiply(values: &mut [f32], factors: &[f32]) {
        values.iter_mut().zip(factors).for_each(|(value, factor)| *value *= factor);
    }
}

vectorised! {
    pub fn add_to(sums: &mut [f32], values: &[f32]) {
        sums.iter_mut().zip(values).for_each(|(sum, x)| *sum += x);
    }
}

vectorised! {
    pub fn leaky_relu(values: &mut [f32]) {
        values.iter_mut().for_each(|x| *x = if *x > 0.0 { *x } else { LEAK * *x });
    }
}

/// LeakyReLU's slope, from what it made, which has the sign of what it took.
pub fn leaky_slope(made: f32) -> f32 {
    if made > 0.0 { 1.0 } else { LEAK }
}

vectorised! {
    pub fn relu(values: &mut [f32]) {
        values.iter_mut().for_each(|x| *x = x.max(0.0));
    }
}
