//! A tensor as it stands in a file.

use std::borrow::Cow;

/// Element types that weights have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dtype {
    F64,
    F32,
    F16,
    Bf16,
    I32,
}

impl Dtype {
    /// Bytes of an element.
    pub fn size(self) -> usize {
        match self {
            Dtype::F64 => 8,
            Dtype::F32 | Dtype::I32 => 4,
            Dtype::F16 | Dtype::Bf16 => 2,
        }
    }

    pub(crate) fn of_safetensors(dtype: safetensors::Dtype) -> Option<Self> {
        match dtype {
            safetensors::Dtype::F64 => Some(Dtype::F64),
            safetensors::Dtype::F32 => Some(Dtype::F32),
            safetensors::Dtype::F16 => Some(Dtype::F16),
            safetensors::Dtype::BF16 => Some(Dtype::Bf16),
            safetensors::Dtype::I32 => Some(Dtype::I32),
            _ => None,
        }
    }
}

/// A tensor as it stands in a file.
#[derive(Clone, Debug)]
pub struct RawTensor<'a> {
    pub shape: Vec<usize>,
    /// In elements; `None` if the data is dense and row-major.
    pub strides: Option<Vec<usize>>,
    /// `None` for a type that is not among those above.
    pub dtype: Option<Dtype>,
    /// Starts at the tensor's first element.
    pub data: &'a [u8],
}

impl<'a> RawTensor<'a> {
    /// The elements, row-major and little-endian; `None` if the type is unknown, or if one lies outside
    /// the data.
    pub fn bytes(&self) -> Option<Cow<'a, [u8]>> {
        let size = self.dtype?.size();
        let n_bytes = count(&self.shape)?.checked_mul(size)?;
        match &self.strides {
            None => self.data.get(..n_bytes).map(Cow::Borrowed),
            Some(strides) => gather(self.data, size, &self.shape, strides).map(Cow::Owned),
        }
    }
}

/// Number of elements, or `None` if it does not fit a machine word.
pub(crate) fn count(shape: &[usize]) -> Option<usize> {
    shape.iter().try_fold(1_usize, |n, dim| n.checked_mul(*dim))
}

/// The elements of a strided tensor in row-major order, or `None` if one lies outside the data.
fn gather(data: &[u8], size: usize, shape: &[usize], strides: &[usize]) -> Option<Vec<u8>> {
    let mut last = 0_usize;
    for (dim, stride) in shape.iter().zip(strides) {
        last = last.checked_add(dim.checked_sub(1)?.checked_mul(*stride)?)?;
    }
    data.get(..last.checked_add(1)?.checked_mul(size)?)?;
    let mut offsets = vec![0_usize];
    for (dim, stride) in shape.iter().zip(strides) {
        offsets = offsets.iter().flat_map(|o| (0..*dim).map(move |i| o + i * stride)).collect();
    }
    let mut bytes = Vec::with_capacity(offsets.len() * size);
    for offset in offsets {
        bytes.extend_from_slice(data.get(offset * size..(offset + 1) * size)?);
    }
    Some(bytes)
}
