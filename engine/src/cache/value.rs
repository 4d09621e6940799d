//! What can be stored, and how a value becomes the bytes of a row and comes back.

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
        Ok(Self { meta: meta.clone(), key, dtype, layout, parts })
    }

    pub fn n_bytes(&self) -> usize {
        self.parts.iter().map(Vec::len).sum()
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

/// The first 16 bytes of the BLAKE3 digest: a checksum per row and part.
pub(super) fn checksum(bytes: &[u8]) -> [u8; 16] {
    let mut sum = [0; 16];
    sum.copy_from_slice(&blake3::hash(bytes).as_bytes()[..16]);
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
    Ok(match dtype {
        Dtype::F32 => array.data.iter().flat_map(|x| x.to_le_bytes()).collect(),
        Dtype::F16 => array.data.iter().flat_map(|x| f16::from_f32(*x).to_le_bytes()).collect(),
    })
}

fn decode_array(label: &Label, dtype: Dtype, bytes: &[u8]) -> Option<Array> {
    if label.row_bytes(dtype)? != bytes.len() {
        return None;
    }
    let data = match dtype {
        Dtype::F32 => {
            bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
        }
        Dtype::F16 => {
            bytes.chunks_exact(2).map(|b| f16::from_le_bytes([b[0], b[1]]).to_f32()).collect()
        }
    };
    Some(Array {
        name: label.name.clone(),
        size: label.size,
        tap: label.tap,
        shape: label.shape.clone(),
        data,
    })
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
