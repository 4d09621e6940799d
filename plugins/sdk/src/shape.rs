//! The size of a tensor in each dimension.

use std::fmt;

/// Dimensions, outermost first. `len` counts elements, `rank` dimensions; a shape of rank 0 has one
/// element.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Shape {
    dims: Vec<usize>,
}

impl Shape {
    /// Number of elements; `usize::MAX` where it does not fit, which no memory can hold.
    pub fn len(&self) -> usize {
        if self.dims.contains(&0) {
            return 0;
        }
        self.dims.iter().fold(1, |product: usize, dim| product.saturating_mul(*dim))
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn rank(&self) -> usize {
        self.dims.len()
    }

    pub fn dims(&self) -> &[usize] {
        &self.dims
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let dims: Vec<String> = self.dims.iter().map(usize::to_string).collect();
        write!(out, "[{}]", dims.join(", "))
    }
}

impl From<Vec<usize>> for Shape {
    fn from(dims: Vec<usize>) -> Self {
        Shape { dims }
    }
}

impl From<&[usize]> for Shape {
    fn from(dims: &[usize]) -> Self {
        Shape { dims: dims.to_vec() }
    }
}

impl<const N: usize> From<[usize; N]> for Shape {
    fn from(dims: [usize; N]) -> Self {
        Shape { dims: dims.to_vec() }
    }
}

impl From<&Shape> for Shape {
    fn from(shape: &Shape) -> Self {
        shape.clone()
    }
}
