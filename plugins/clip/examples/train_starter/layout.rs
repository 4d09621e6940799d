//! A tower's parameters side by side in one buffer, each under its name in open_clip's files.
//!
//! One buffer makes the optimiser one walk, and a tower one function of one variable.

use std::ops::Range;

use candle_core::Tensor;

use crate::error::{Result, TrainError};
use crate::rng::Rng;

/// How a parameter starts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Start {
    Value(f32),
    /// Normal with this standard deviation.
    Normal(f32),
}

/// One parameter: where it lies and what it is called.
#[derive(Clone, Debug)]
pub struct Parameter {
    pub name: String,
    pub shape: Vec<usize>,
    pub start: Start,
    /// Where it lies in the buffer.
    pub range: Range<usize>,
}

impl Parameter {
    /// A view of this parameter in the buffer.
    pub fn tensor(&self, params: &Params) -> Result<Tensor> {
        let part = params.flat.narrow(0, self.range.start, self.range.len())?;
        Ok(part.reshape(self.shape.as_slice())?)
    }

    /// The same as a matrix of `shape[0]` rows.
    pub fn matrix(&self, params: &Params) -> Result<Tensor> {
        let rows = self.shape.first().copied().unwrap_or(1);
        let part = params.flat.narrow(0, self.range.start, self.range.len())?;
        Ok(part.reshape((rows, self.range.len() / rows.max(1)))?)
    }

    pub fn values<'a>(&self, params: &Params<'a>) -> &'a [f32] {
        params.values.get(self.range.clone()).unwrap_or_default()
    }

    pub fn gradient<'a>(&self, gradients: &'a mut [f32]) -> &'a mut [f32] {
        gradients.get_mut(self.range.clone()).unwrap_or_default()
    }
}

/// A weight with the bias that lies behind it.
#[derive(Clone, Debug)]
pub struct Pair {
    pub weight: Parameter,
    pub bias: Parameter,
}

impl Pair {
    pub fn gradients<'a>(&self, gradients: &'a mut [f32]) -> (&'a mut [f32], &'a mut [f32]) {
        let both = self.weight.range.start..self.bias.range.end;
        let both = gradients.get_mut(both).unwrap_or_default();
        both.split_at_mut(self.weight.range.len().min(both.len()))
    }
}

/// The buffer as a tensor for products and as a slice for the rest.
#[derive(Clone, Copy)]
pub struct Params<'a> {
    pub flat: &'a Tensor,
    pub values: &'a [f32],
}

/// Hands out places in the buffer.
#[derive(Clone, Debug, Default)]
pub struct Layout {
    pub parameters: Vec<Parameter>,
}

impl Layout {
    /// Number of values in the buffer.
    pub fn len(&self) -> usize {
        self.parameters.last().map_or(0, |last| last.range.end)
    }

    pub fn add(&mut self, name: impl Into<String>, shape: &[usize], start: Start) -> Parameter {
        let first = self.len();
        let range = first..first + shape.iter().product::<usize>();
        let parameter = Parameter { name: name.into(), shape: shape.to_vec(), start, range };
        self.parameters.push(parameter.clone());
        parameter
    }

    /// Start values of all parameters, side by side.
    pub fn start(&self, rng: &mut Rng) -> Vec<f32> {
        let mut values = Vec::with_capacity(self.len());
        for parameter in &self.parameters {
            values.extend(parameter.range.clone().map(|_| match parameter.start {
                Start::Value(value) => value,
                Start::Normal(deviation) => deviation * rng.normal(),
            }));
        }
        values
    }

    /// Gain and bias of a layer norm.
    pub fn norm(&mut self, name: &str, width: usize) -> Pair {
        Pair {
            weight: self.add(format!("{name}.weight"), &[width], Start::Value(1.0)),
            bias: self.add(format!("{name}.bias"), &[width], Start::Value(0.0)),
        }
    }

    /// A linear layer; `join` stands between the name and `weight` (`.` or `_`).
    pub fn linear(
        &mut self,
        (name, join): (&str, &str),
        shape: [usize; 2],
        deviation: f32,
    ) -> Pair {
        let weight = self.add(format!("{name}{join}weight"), &shape, Start::Normal(deviation));
        let bias = self.add(format!("{name}{join}bias"), &shape[..1], Start::Value(0.0));
        Pair { weight, bias }
    }
}

/// Adds the values of `product` to a gradient.
pub fn accumulate(gradient: &mut [f32], product: &Tensor) -> Result<()> {
    crate::tensors::with_values(product, |values| {
        if values.len() != gradient.len() {
            return Err(TrainError::Internal {
                what: "a gradient has another size than its weight",
            });
        }
        gradient.iter_mut().zip(values).for_each(|(sum, value)| *sum += value);
        Ok(())
    })?
}
