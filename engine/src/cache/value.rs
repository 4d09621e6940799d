//! What can be stored, and how a value becomes the bytes of a row and comes back.

use std::sync::OnceLock;

use half::f16;
use serde::{Deserialize, Serialize};

use super::{CacheError, Key};

/// A value as stages exchange it.
#[derive(Clone, Debug, PartialEq)]
pub enum Stored {
    Arrays(Vec<Array>),
    Bytes { schema: String, revision: u32, bytes: Vec<u8> },
    Text(Vec<Sentence>),
}

impl Stored {
    /// Of its numbers, bytes or sentences in memory.
    pub fn n_bytes(&self) -> u64 {
        match self {
            Stored::Arrays(arrays) => {
                arrays.iter().map(|array| size_of_val(array.data.as_slice()) as u64).sum()
            }
            Stored::Bytes { bytes, .. } => bytes.len() as u64,
            Stored::Text(sentences) => sentences.iter().map(|one| one.text.len() as u64).sum(),
        }
    }
}

/// One tensor with the label it carries in a list: an image size, a tap, both or neither.
#[derive(Clone, Debug, PartialEq)]
pub struct Array {
    pub name: String,
    pub size: Option<u32>,
    pub tap: Option<u32>,
    pub shape: Vec<usize>,
    /// Row-major, `shape`'s product many.
    pub data: Vec<f32>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sentence {
    pub text: String,
    pub anomalous: bool,
    pub weight: f32,
    pub source: String,
}

/// How array elements lie on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Dtype {
    F32,
    F16,
}

/// Where a value comes from: kept beside it for people and for `cache ls`; it is no part of the
/// key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Meta {
    pub stage: String,
    pub component: String,
    pub value: String,
    pub class: String,
    pub image: String,
}

/// Gives `stored` the exact content that a reader would get back, so that a miss and a hit agree
/// bit for bit.
pub fn quantise(stored: &mut Stored, dtype: Dtype) {
    if let (Stored::Arrays(arrays), Dtype::F16) = (stored, dtype) {
        for element in arrays.iter_mut().flat_map(|array| array.data.iter_mut()) {
            *element = f16::from_f32(*element).to_f32();
        }
    }
}

impl Dtype {
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
        }
    }

    pub(super) fn parse(name: &str) -> Option<Self> {
        [Self::F32, Self::F16].into_iter().find(|dtype| dtype.name() == name)
    }

    pub(super) fn n_bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 => 2,
        }
    }

    fn encode(self, numbers: &[f32]) -> Vec<u8> {
        let mut bytes = vec![0; numbers.len() * self.n_bytes()];
        match self {
            Self::F32 => {
                for (to, number) in bytes.as_chunks_mut().0.iter_mut().zip(numbers) {
                    *to = number.to_le_bytes();
                }
            }
            Self::F16 => {
                for (to, number) in bytes.as_chunks_mut().0.iter_mut().zip(numbers) {
                    *to = f16::from_f32(*number).to_le_bytes();
                }
            }
        }
        bytes
    }

    /// Appends the numbers in `bytes`; what is left over at the end is no number.
    pub(super) fn decode(self, bytes: &[u8], numbers: &mut Vec<f32>) {
        match self {
            Self::F32 => {
                numbers.extend(bytes.as_chunks().0.iter().map(|four| f32::from_le_bytes(*four)));
            }
            Self::F16 => {
                let one = |two: &[u8; 2]| f16::from_le_bytes(*two).to_f32();
                numbers.extend(bytes.as_chunks().0.iter().map(one));
            }
        }
    }
}

/// What an array is called and how it is shaped, without its numbers.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Label {
    pub name: String,
    pub size: Option<u32>,
    pub tap: Option<u32>,
    pub shape: Vec<usize>,
}

impl Label {
    /// Bytes of one row, `None` when the product overflows.
    pub fn row_bytes(&self, dtype: Dtype) -> Option<usize> {
        self.shape.iter().try_fold(dtype.n_bytes(), |bytes, dim| bytes.checked_mul(*dim))
    }

    pub fn array(&self, data: Vec<f32>) -> Array {
        Array {
            name: self.name.clone(),
            size: self.size,
            tap: self.tap,
            shape: self.shape.clone(),
            data,
        }
    }
}

/// What all rows of one group of a shard have in common.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Layout {
    Arrays(Vec<Label>),
    Bytes { schema: String, revision: u32 },
    Text,
}

impl Layout {
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Arrays(_) => "arrays",
            Self::Bytes { .. } => "bytes",
            Self::Text => "text",
        }
    }

    pub fn n_parts(&self) -> usize {
        match self {
            Self::Arrays(labels) => labels.len(),
            Self::Bytes { .. } | Self::Text => 1,
        }
    }
}

/// A value ready for the disk: its layout and the little-endian bytes of each part.
#[derive(Debug)]
pub(super) struct Entry {
    pub meta: Meta,
    pub key: Key,
    pub dtype: Dtype,
    pub layout: Layout,
    pub parts: Vec<Vec<u8>>,
    sums: OnceLock<Vec<[u8; 16]>>,
}

impl Entry {
    /// Errors: `Value` if an array's data does not fill its shape, or a weight is not finite.
    pub fn encode(
        meta: &Meta,
        key: Key,
        stored: &Stored,
        dtype: Dtype,
    ) -> Result<Self, CacheError> {
        let (layout, parts) = match stored {
            Stored::Arrays(arrays) => {
                let parts: Result<Vec<_>, _> =
                    arrays.iter().map(|array| encode_array(array, dtype)).collect();
                (Layout::Arrays(arrays.iter().map(label).collect()), parts?)
            }
            Stored::Bytes { schema, revision, bytes } => {
                (Layout::Bytes { schema: schema.clone(), revision: *revision }, vec![bytes.clone()])
            }
            Stored::Text(sentences) => (Layout::Text, vec![encode_text(sentences, &meta.value)?]),
        };
        Ok(Self { meta: meta.clone(), key, dtype, layout, parts, sums: OnceLock::new() })
    }

    pub fn n_bytes(&self) -> usize {
        self.parts.iter().map(Vec::len).sum()
    }

    /// A checksum for each part, computed when it is asked for first: by who writes.
    pub fn sums(&self) -> &[[u8; 16]] {
        let sum = |part: &Vec<u8>| first_half(&blake3::hash(part));
        self.sums.get_or_init(|| self.parts.iter().map(sum).collect())
    }
}

/// The inverse of `encode`; `None` if the bytes do not fit the layout.
pub(super) fn decode(layout: &Layout, dtype: Dtype, parts: &[Vec<u8>]) -> Option<Stored> {
    if parts.len() != layout.n_parts() {
        return None;
    }
    match layout {
        Layout::Arrays(labels) => labels
            .iter()
            .zip(parts)
            .map(|(label, bytes)| decode_array(label, dtype, bytes))
            .collect::<Option<Vec<_>>>()
            .map(Stored::Arrays),
        Layout::Bytes { schema, revision } => Some(Stored::Bytes {
            schema: schema.clone(),
            revision: *revision,
            bytes: parts.first()?.clone(),
        }),
        Layout::Text => serde_json::from_slice(parts.first()?).ok().map(Stored::Text),
    }
}

/// The first 16 bytes of a BLAKE3 digest: a checksum per row and part.
pub(super) fn first_half(digest: &blake3::Hash) -> [u8; 16] {
    let mut sum = [0; 16];
    sum.copy_from_slice(&digest.as_bytes()[..16]);
    sum
}

fn label(array: &Array) -> Label {
    Label { name: array.name.clone(), size: array.size, tap: array.tap, shape: array.shape.clone() }
}

fn encode_array(array: &Array, dtype: Dtype) -> Result<Vec<u8>, CacheError> {
    let n_elements = array.shape.iter().try_fold(1_usize, |n, dim| n.checked_mul(*dim));
    if n_elements != Some(array.data.len()) || array.shape.len() > 31 {
        return Err(CacheError::Value {
            value: array.name.clone(),
            want: format!("data for the shape {:?} of at most 31 axes", array.shape),
            got: format!("{} elements", array.data.len()),
        });
    }
    Ok(dtype.encode(&array.data))
}

fn decode_array(label: &Label, dtype: Dtype, bytes: &[u8]) -> Option<Array> {
    if label.row_bytes(dtype)? != bytes.len() {
        return None;
    }
    let mut numbers = Vec::with_capacity(bytes.len() / dtype.n_bytes());
    dtype.decode(bytes, &mut numbers);
    Some(label.array(numbers))
}

/// JSON, so that other tools can read it. An f32 survives JSON's f64 exactly.
fn encode_text(sentences: &[Sentence], value: &str) -> Result<Vec<u8>, CacheError> {
    let bad = |got: String| CacheError::Value {
        value: value.to_owned(),
        want: "sentences with finite weights".to_owned(),
        got,
    };
    if let Some(sentence) = sentences.iter().find(|sentence| !sentence.weight.is_finite()) {
        return Err(bad(format!("weight {} of `{}`", sentence.weight, sentence.text)));
    }
    serde_json::to_vec(sentences).map_err(|error| bad(error.to_string()))
}
