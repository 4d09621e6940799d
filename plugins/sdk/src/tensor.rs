//! Tensors as an author sees them: f32, row-major, with a shape and a label.

use crate::buf::Buf;
use crate::error::{Error, Result};
use crate::shape::Shape;
use crate::values::Label;

/// An f32 tensor in row-major order. Inputs of other element types, strides or alignment are copied
/// into this form; those already in it are read in place.
#[derive(Clone)]
pub struct Tensor {
    pub(crate) shape: Shape,
    pub(crate) label: Label,
    pub(crate) data: Data,
}

#[derive(Clone)]
pub(crate) enum Data {
    Cpu(Buf<f32>),
    /// The name of a device whose memory cannot be read here.
    Elsewhere(String),
}

impl Tensor {
    /// A tensor of the values in row-major order; a `Vec` is taken without a copy.
    /// Errors: `Shape` if their number is not that of the shape.
    pub fn new(shape: impl Into<Shape>, values: impl IntoIterator<Item = f32>) -> Result<Self> {
        let shape = shape.into();
        let values: Vec<f32> = values.into_iter().collect();
        if values.len() != shape.len() {
            let want = format!("{} values for shape {shape}", shape.len());
            return Err(Error::shape("tensor", want, values.len()));
        }
        Ok(Tensor { shape, label: Label::NONE, data: Data::Cpu(Buf::Owned(values)) })
    }

    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    pub fn dims(&self) -> &[usize] {
        self.shape.dims()
    }

    /// The dimensions of a tensor of rank N. Errors: `Shape`, which calls the tensor `what`.
    pub fn dims_n<const N: usize>(&self, what: &str) -> Result<[usize; N]> {
        let dims = self.dims();
        <[usize; N]>::try_from(dims).map_err(|_| {
            Error::shape(what, format!("{N} dimensions"), format!("shape {}", self.shape))
        })
    }

    /// `[..., d]` as `(rows, d)`: how a component sees vectors of any arrangement.
    /// Errors: `Shape` for rank 0, which calls the tensor `what`.
    pub fn rows(&self, what: &str) -> Result<(usize, usize)> {
        let Some((width, outer)) = self.dims().split_last() else {
            return Err(Error::shape(what, "at least 1 dimension", "a scalar"));
        };
        Ok((Shape::from(outer).len(), *width))
    }

    /// The elements, row-major. Errors: `Device` if they are not in the CPU's memory.
    pub fn f32s(&self) -> Result<&[f32]> {
        match &self.data {
            Data::Cpu(values) => Ok(values),
            Data::Elsewhere(device) => Err(Error::Device { device: device.clone() }),
        }
    }

    /// The elements, without a copy where the tensor owns them. Errors: as `f32s`.
    pub fn into_f32s(self) -> Result<Vec<f32>> {
        match self.data {
            Data::Cpu(values) => Ok(values.into_vec()),
            Data::Elsewhere(device) => Err(Error::Device { device }),
        }
    }

    pub fn label(&self) -> Label {
        self.label
    }

    pub fn with_label(mut self, label: Label) -> Self {
        self.label = label;
        self
    }
}

impl std::fmt::Debug for Tensor {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Tensor{}{}", self.shape, self.label)
    }
}

/// The shape that all tensors share. Errors: `Empty` if there are none, `Shape` naming the first
/// that differs.
pub fn same_shape(tensors: &[Tensor]) -> Result<&Shape> {
    let Some(first) = tensors.first() else {
        return Err(Error::empty("parts"));
    };
    match tensors.iter().position(|tensor| tensor.shape != first.shape) {
        None => Ok(&first.shape),
        Some(index) => {
            let want = format!("the shape {} of the first", first.shape);
            Err(Error::shape(format!("part {index}"), want, &tensors[index].shape))
        }
    }
}
