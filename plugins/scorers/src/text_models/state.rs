//! How learned models become states. A state holds f32 arrays; what a f64 loses by that is written
//! beside it as `NAME.rest`, so that a loaded model scores as the fitted one did.

use loupe_plugin::prelude::*;
use serde::de::DeserializeOwned;

/// Raised when any layout below changes.
pub(crate) const REVISION: u32 = 1;

/// Writes `values` as two arrays that add up to them. Errors: a value beyond f32.
pub(crate) fn write_f64s(
    to: StateWriter,
    name: &str,
    shape: impl Into<Shape>,
    values: &[f64],
) -> Result<StateWriter> {
    let shape: Shape = shape.into();
    let high: Vec<f32> = values.iter().map(|value| *value as f32).collect();
    if !finite(&high) {
        return Err(Error::failed(format!("the fit did not converge: `{name}` is not finite")));
    }
    let low = values.iter().zip(&high).map(|(value, high)| (value - f64::from(*high)) as f32);
    let low: Vec<f32> = low.collect();
    to.f32s(name, shape.clone(), &high)?.f32s(&format!("{name}.rest"), shape, &low)
}

pub(crate) fn finite(values: &[f32]) -> bool {
    values.iter().all(|value| value.is_finite())
}

/// A state under one schema whose arrays are checked as they are read: states come from files.
pub(crate) struct Arrays<'a> {
    schema: &'a str,
    reader: StateReader<'a>,
}

impl<'a> Arrays<'a> {
    pub(crate) fn open(state: &'a State, schema: &'a str) -> Result<Self> {
        Ok(Arrays { schema, reader: StateReader::new(state, schema, REVISION)? })
    }

    pub(crate) fn meta<T: DeserializeOwned>(&self, key: &str) -> Result<T> {
        self.reader.meta(key)
    }

    pub(crate) fn tensor(&self, name: &str) -> Result<Tensor> {
        self.reader.tensor(name)
    }

    /// Finite values of just this shape. Errors: any other.
    pub(crate) fn f32s(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
        let tensor = self.reader.tensor(name)?;
        if tensor.dims() != shape || !finite(tensor.f32s()?) {
            return Err(self.damaged(name));
        }
        tensor.into_f32s()
    }

    /// What `write_f64s` wrote. Errors: as `f32s`.
    pub(crate) fn f64s(&self, name: &str, shape: &[usize]) -> Result<Vec<f64>> {
        let low = self.f32s(&format!("{name}.rest"), shape)?;
        let high = self.f32s(name, shape)?;
        Ok(high.iter().zip(low).map(|(high, low)| f64::from(*high) + f64::from(low)).collect())
    }

    /// The sizes of an array, for shapes that the others follow from.
    pub(crate) fn dims<const N: usize>(&self, name: &str) -> Result<[usize; N]> {
        self.reader.tensor(name)?.dims_n::<N>(name)
    }

    pub(crate) fn damaged(&self, name: &str) -> Error {
        let schema = self.schema;
        Error::input(format!("array `{name}` of the state of `{schema}` is damaged; fit it again"))
    }
}
