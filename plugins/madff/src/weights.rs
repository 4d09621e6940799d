//! Where an adapter's numbers come from: a safetensors file, a checkpoint that the original wrote by PyTorch,
//! or a seed.

use std::collections::BTreeMap;

use loupe_checkpoints::{Dtype, RawTensor};
use loupe_plugin::prelude::Host;

use crate::error::MadffError;

/// Numbers of one drawn tensor at most; more is a slip in a key.
const MAX_DRAWN: usize = 1 << 28;

/// Tensors by name.
pub enum Weights<'a> {
    File { file: String, tensors: BTreeMap<String, RawTensor<'a>>, taps: Option<String> },
    Seed(u64),
}

/// What a seed's adapters are sized by, as no file says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drawn {
    /// Channels of the stream.
    pub width: usize,
    /// Channels of the tokens.
    pub bottleneck: usize,
}

impl<'a> Weights<'a> {
    /// Opens a file through the host. Errors: the host's, `Format`.
    pub fn open(file: &str, host: &Host) -> loupe_plugin::prelude::Result<Self> {
        Ok(Weights::from_bytes(file, host.open(file)?)?)
    }

    /// `file` is what messages call the bytes. Errors: `Format`.
    pub fn from_bytes(file: &str, bytes: &'a [u8]) -> Result<Self, MadffError> {
        let mut found = loupe_checkpoints::read(bytes)
            .map_err(|error| MadffError::Format { file: file.to_owned(), why: error.problem })?;
        // The SDK writes facts as JSON texts, other writers plain.
        let taps = found.metadata.remove("taps").map(|taps| taps.replace([' ', '"'], ""));
        Ok(Weights::File { file: file.to_owned(), tensors: found.tensors, taps })
    }

    /// Rows and columns of the matrix `name`, or what a seed would make them. Errors: `Missing`,
    /// `Tensor` for another rank.
    pub fn sizes(&self, name: &str, drawn: [usize; 2]) -> Result<[usize; 2], MadffError> {
        let Weights::File { file, tensors, .. } = self else { return Ok(drawn) };
        let tensor = tensors.get(name).ok_or_else(|| self.missing(name))?;
        <[usize; 2]>::try_from(tensor.shape.as_slice()).map_err(|_| MadffError::Tensor {
            file: file.clone(),
            tensor: name.to_owned(),
            want: drawn.to_vec(),
            got: format!("shape {:?}", tensor.shape),
        })
    }

    /// The tensor `name`, row-major; `draw` makes number i of it from a seed's unit random number.
    /// Errors: `Missing`, `Tensor`, `NotFinite`, `TooLarge`.
    pub fn tensor(
        &self,
        name: &str,
        shape: &[usize],
        draw: &mut dyn FnMut(f64) -> f32,
    ) -> Result<Vec<f32>, MadffError> {
        let (file, tensors) = match self {
            Weights::File { file, tensors, .. } => (file, tensors),
            Weights::Seed(seed) => {
                let n = shape.iter().try_fold(1_usize, |n, side| n.checked_mul(*side));
                let Some(n) = n.filter(|n| *n <= MAX_DRAWN) else {
                    let (tensor, want) = (name.to_owned(), shape.to_vec());
                    return Err(MadffError::TooLarge { tensor, seed: *seed, want });
                };
                return Ok(units(*seed, name).take(n).map(draw).collect());
            }
        };
        let tensor = tensors.get(name).ok_or_else(|| self.missing(name))?;
        let bytes = tensor.bytes().filter(|_| tensor.shape == shape);
        let (Some(bytes), Some(Dtype::F32)) = (bytes, tensor.dtype) else {
            let dtype =
                tensor.dtype.map_or("another type".to_owned(), |dtype| format!("{dtype:?}"));
            return Err(MadffError::Tensor {
                file: file.clone(),
                tensor: name.to_owned(),
                want: shape.to_vec(),
                got: format!("{dtype} of shape {:?}", tensor.shape),
            });
        };
        let (numbers, _) = bytes.as_chunks::<4>();
        let numbers: Vec<f32> = numbers.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
        match numbers.iter().position(|number| !number.is_finite()) {
            None => Ok(numbers),
            Some(index) => Err(MadffError::NotFinite {
                file: file.clone(),
                tensor: name.to_owned(),
                index,
                got: numbers[index],
            }),
        }
    }

    /// As `tensor`; a seed draws from the uniform distribution that PyTorch's linear and convolution
    /// layers begin with, up to `1 / sqrt(fan_in)` to either side, by a generator of our own.
    pub fn uniform(
        &self,
        name: &str,
        shape: &[usize],
        fan_in: usize,
    ) -> Result<Vec<f32>, MadffError> {
        let bound = 1.0 / (fan_in.max(1) as f64).sqrt();
        self.tensor(name, shape, &mut |unit| ((2.0 * unit - 1.0) * bound) as f32)
    }

    /// Holds a file against the taps it is to stand on: as many adapters in `group`, and the taps it was
    /// trained on if it tells them. Errors: `Taps`.
    pub fn check_taps(&self, group: &str, at: &[u32]) -> Result<(), MadffError> {
        let Weights::File { file, tensors, taps } = self else { return Ok(()) };
        let has = |tap: &usize| {
            let prefix = format!("{group}.{tap}.");
            tensors.keys().any(|name| name.starts_with(&prefix))
        };
        let n_taps = (0..).take_while(has).count();
        let listed = at.iter().map(u32::to_string).collect::<Vec<_>>().join(",");
        let got = match taps {
            Some(taps) if *taps != listed => format!("`{taps}`"),
            _ if n_taps != at.len() && n_taps > 0 => format!("1 to {n_taps} of a list"),
            _ => return Ok(()),
        };
        Err(MadffError::Taps { file: file.clone(), want: at.to_vec(), got })
    }

    fn missing(&self, name: &str) -> MadffError {
        let (file, n_tensors, first) = match self {
            Weights::File { file, tensors, .. } => {
                (file.clone(), tensors.len(), tensors.keys().next())
            }
            Weights::Seed(seed) => (format!("seed {seed}"), 0, None),
        };
        let first = first.map_or("none".to_owned(), |first| format!("`{first}`, .."));
        MadffError::Missing { file, tensor: name.to_owned(), n_tensors, first }
    }
}

/// Random numbers in 0..1 that a seed and a name decide: SplitMix64 from their FNV-1a digest, so that
/// a tensor's numbers do not depend on what else is drawn.
fn units(seed: u64, name: &str) -> impl Iterator<Item = f64> {
    let bytes = seed.to_le_bytes().into_iter().chain(name.bytes());
    let mut state = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |digest, byte| {
        (digest ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    std::iter::repeat_with(move || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    })
}
