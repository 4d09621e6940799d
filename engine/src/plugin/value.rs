//! Values as the engine holds them between two calls: plain, owned, cheap to clone.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::info::ValueKind;
use crate::pipeline::model::Label;

/// What flows between stages.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Tensor(Tensor),
    /// In the order in which they were made; labels are unique.
    Tensors(Vec<(Label, Tensor)>),
    Text(Arc<Vec<Sentence>>),
    /// `embeddings` is `[n, d]`, one row a sentence.
    EmbeddedText {
        sentences: Arc<Vec<Sentence>>,
        embeddings: Tensor,
    },
    State(State),
}

/// Row-major f32 numbers of a shape.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    shape: Vec<usize>,
    data: Arc<Vec<f32>>,
    device: Device,
}

/// Where a tensor's numbers are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Device {
    #[default]
    Cpu,
    Cuda(i32),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sentence {
    pub text: String,
    pub anomalous: bool,
    pub weight: f32,
    /// Where it comes from: the name of a set, a cache, a file.
    pub source: String,
}

/// What a fit learned, in bytes that only the component which made them reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    pub schema: String,
    pub revision: u32,
    pub bytes: Arc<Vec<u8>>,
}

impl Value {
    pub fn kind(&self) -> ValueKind {
        match self {
            Self::Tensor(_) => ValueKind::Tensor,
            Self::Tensors(_) => ValueKind::Tensors,
            Self::Text(_) => ValueKind::Text,
            Self::EmbeddedText { .. } => ValueKind::EmbeddedText,
            Self::State(_) => ValueKind::State,
        }
    }

    /// Bytes of its numbers, sentences or state.
    pub fn n_bytes(&self) -> u64 {
        let numbers =
            self.tensors().into_iter().map(|(_, tensor)| size_of_val(tensor.data()) as u64);
        let others = match self {
            Self::Text(sentences) | Self::EmbeddedText { sentences, .. } => {
                sentences.iter().map(|sentence| sentence.text.len() as u64).sum()
            }
            Self::State(state) => state.bytes.len() as u64,
            Self::Tensor(_) | Self::Tensors(_) => 0,
        };
        numbers.sum::<u64>() + others
    }

    /// Tensors in it, each with its label.
    pub fn tensors(&self) -> Vec<(Label, &Tensor)> {
        match self {
            Self::Tensor(tensor) => vec![(Label::default(), tensor)],
            Self::Tensors(list) => list.iter().map(|(label, tensor)| (*label, tensor)).collect(),
            Self::EmbeddedText { embeddings, .. } => vec![(Label::default(), embeddings)],
            Self::Text(_) | Self::State(_) => Vec::new(),
        }
    }
}

impl Tensor {
    /// Errors: `data` does not fill `shape`.
    pub fn new(shape: Vec<usize>, data: Vec<f32>) -> Result<Self, String> {
        let n = shape.iter().try_fold(1_usize, |n, dim| n.checked_mul(*dim));
        if n != Some(data.len()) {
            return Err(format!("shape {shape:?} does not hold {} numbers", data.len()));
        }
        Ok(Self { shape, data: Arc::new(data), device: Device::Cpu })
    }

    /// A tensor in the memory of a CUDA device: its shape is known, its numbers are not here. What
    /// cannot read them refuses it by the name of the device.
    pub fn on_cuda(shape: Vec<usize>, device_idx: i32) -> Self {
        Self { shape, data: Arc::default(), device: Device::Cuda(device_idx) }
    }

    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    pub fn data(&self) -> &[f32] {
        &self.data
    }

    /// Its numbers, copied only if another value shares them.
    pub fn into_data(self) -> Vec<f32> {
        Arc::try_unwrap(self.data).unwrap_or_else(|shared| shared.to_vec())
    }

    pub fn device(&self) -> Device {
        self.device
    }
}

impl fmt::Display for Device {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu => out.write_str("cpu"),
            Self::Cuda(idx) => write!(out, "cuda:{idx}"),
        }
    }
}

impl ValueKind {
    /// Its word in messages.
    pub fn word(self) -> &'static str {
        match self {
            Self::Tensor => "tensor",
            Self::Tensors => "tensors",
            Self::Text => "text",
            Self::EmbeddedText => "embedded text",
            Self::State => "state",
        }
    }
}
