//! Weights from any published file: which container it is and whose names it uses is read from the
//! content, never from the file's name.
//!
//! The bytes are only borrowed and every tensor is converted when a tower asks for it, so a mapped
//! file is never copied as a whole. Nothing in a file is executed.

mod names;
mod pickle;
mod random;
mod torch;

use std::collections::BTreeMap;

use candle_core::{DType, Device, Tensor};
use safetensors::{Dtype, SafeTensors};

pub use names::{Dialect, expected};
pub use random::Random;

use crate::config::ModelConfig;
use crate::error::{ClipError, Result};
use crate::vocabulary::{self, TokenTable};
use names::Source;

/// How many names an error message lists.
const N_LISTED: usize = 3;

/// Gives the tensors of a model by their open_clip names.
pub trait Weights {
    /// f32 values, row-major, of exactly `shape`.
    fn take(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>>;

    /// Whether the text tower is there.
    fn has_text(&self) -> bool;

    /// The token table. A source that knows no short tables has a whole one.
    fn token_table(&self, vocab_size: usize, width: usize) -> Result<TokenTable> {
        Ok(TokenTable::whole(self.take(vocabulary::WEIGHT, &[vocab_size, width])?, width))
    }
}

/// A tensor as it stands in a file.
#[derive(Clone, Debug)]
pub struct RawTensor<'a> {
    pub shape: Vec<usize>,
    /// In elements; `None` if the data is dense and row-major.
    pub strides: Option<Vec<usize>>,
    /// `None` for a type that nothing here has (booleans, other whole numbers than i32).
    pub dtype: Option<DType>,
    /// Starts at the tensor's first element.
    pub data: &'a [u8],
}

/// A weights file whose tensors have been listed.
pub struct WeightsFile<'a> {
    tensors: BTreeMap<String, RawTensor<'a>>,
    dialect: Dialect,
    has_text: bool,
}

impl<'a> WeightsFile<'a> {
    /// Lists a file's tensors. Errors: `WeightsFile` if the container is unknown, damaged or empty,
    /// or if the names are of no known dialect.
    pub fn open(bytes: &'a [u8]) -> Result<Self> {
        let tensors = if bytes.starts_with(b"PK\x03\x04") {
            torch::read(bytes)?
        } else if looks_like_safetensors(bytes) {
            read_safetensors(bytes)?
        } else if bytes.starts_with(b"\x80") {
            return Err(bad_file(
                "is a PyTorch file from before torch 1.6 (a bare pickle); save it again with a \
                 newer torch: `torch.save(torch.load(path), new_path)`",
            ));
        } else {
            return Err(bad_file(
                "is neither safetensors nor a PyTorch zip archive (is the download complete?)",
            ));
        };
        let tensors = strip_wrappers(tensors);
        if tensors.is_empty() {
            return Err(bad_file("holds no tensors"));
        }
        let dialect = Dialect::of(tensors.keys()).ok_or_else(|| {
            let first: Vec<&str> = tensors.keys().take(N_LISTED).map(String::as_str).collect();
            bad_file(&format!(
                "has names of no known CLIP dialect (open_clip, OpenAI, Hugging Face): {} ...",
                first.join(", ")
            ))
        })?;
        Ok(Self { tensors, dialect, has_text: false })
    }

    /// Holds the file against a model: every tensor must be there in the right shape; further ones
    /// do no harm and are counted. A file without any tensor of the text tower is an image-only
    /// model. Errors: `Weights` with counts and the first names.
    pub fn check(&mut self, config: &ModelConfig) -> Result<usize> {
        let mut wanted = expected(config);
        let ids = self.ids(config.text.vocab_size)?;
        if let Some(ids) = &ids {
            self.expect_short_table(&mut wanted, ids.len())?;
        }
        let is_text = |name: &str| !name.starts_with("visual.");
        self.has_text = wanted.iter().any(|(name, _)| is_text(name) && self.shape(name).is_some());
        if !self.has_text {
            wanted.retain(|(name, _)| !is_text(name));
        }
        let (mut missing, mut wrong) = (Vec::new(), Vec::new());
        for (name, shape) in &wanted {
            match self.shape(name) {
                None => missing.push(self.dialect.source(name).to_string()),
                Some(found) if found != *shape => {
                    let file_name = self.dialect.source(name);
                    wrong.push(format!("`{file_name}` is {found:?}, not {shape:?}"));
                }
                Some(_) => {}
            }
        }
        if missing.is_empty() && wrong.is_empty() {
            let n_used: usize =
                wanted.iter().map(|(name, _)| self.dialect.source(name).len()).sum();
            let n_used = n_used + usize::from(ids.is_some());
            return Ok(self.tensors.len().saturating_sub(n_used));
        }
        Err(ClipError::Weights {
            file: String::new(),
            model: config.name.clone(),
            dialect: self.dialect.name(),
            n_found: self.tensors.len(),
            n_wanted: wanted.len(),
            n_missing: missing.len(),
            missing: listed(&missing),
            n_wrong: wrong.len(),
            wrong: listed(&wrong),
        })
    }

    /// Whose names the file uses.
    pub fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// Whether this is an archive as OpenAI published it, with its sizes stored as tensors. Those
    /// models were trained with QuickGELU, and nothing else in the file says so.
    pub fn is_openai(&self) -> bool {
        let sizes = ["input_resolution", "context_length", "vocab_size"];
        sizes.iter().all(|name| self.tensors.contains_key(*name))
    }

    /// The tokens that a short table lists, or `None` if the table is whole.
    /// Errors: `WeightsFile` if they are not as the rule of `vocabulary` says.
    fn ids(&self, vocab_size: usize) -> Result<Option<Vec<u32>>> {
        let Some(tensor) = self.tensors.get(vocabulary::IDS) else { return Ok(None) };
        let ids = tensor.to_ids(vocabulary::IDS)?;
        vocabulary::check_ids(&ids, vocab_size)?;
        Ok(Some(ids))
    }

    /// The table wants as many rows as there are ids, and one more.
    fn expect_short_table(&self, wanted: &mut [(String, Vec<usize>)], n_ids: usize) -> Result<()> {
        let found = self.shape(vocabulary::WEIGHT).ok_or_else(|| {
            let (ids, weight) = (vocabulary::IDS, vocabulary::WEIGHT);
            bad_file(&format!("holds `{ids}`, but no `{weight}` whose rows it would name"))
        })?;
        if found.first().is_some_and(|n_rows| *n_rows != n_ids + 1) {
            return Err(vocabulary::wrong_length(found.first().copied().unwrap_or(0), n_ids));
        }
        for (_, shape) in wanted.iter_mut().filter(|(name, _)| name == vocabulary::WEIGHT) {
            shape.splice(..1, [n_ids + 1]);
        }
        Ok(())
    }

    /// The shape that a model's tensor would have, or `None` if a part of it is missing.
    fn shape(&self, name: &str) -> Option<Vec<usize>> {
        let shape_of = |name: &String| self.tensors.get(name).map(|tensor| tensor.shape.clone());
        match self.dialect.source(name) {
            Source::Same(name) => shape_of(&name),
            Source::Transposed(name) => shape_of(&name).map(|s| s.into_iter().rev().collect()),
            Source::Stacked(names) => {
                let mut parts = names.iter().map(shape_of);
                let mut first = parts.next()??;
                for part in parts {
                    let part = part?;
                    if part.get(1..) != first.get(1..) {
                        return Some(part);
                    }
                    *first.first_mut()? += part.first()?;
                }
                Some(first)
            }
        }
    }

    fn values(&self, name: &str) -> Result<Tensor> {
        let tensor =
            self.tensors.get(name).ok_or_else(|| bad_file(&format!("holds no tensor `{name}`")))?;
        tensor.to_f32(name)
    }
}

impl Weights for WeightsFile<'_> {
    fn take(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
        let tensor = match self.dialect.source(name) {
            Source::Same(name) => self.values(&name)?,
            Source::Transposed(name) => self.values(&name)?.t()?.contiguous()?,
            Source::Stacked(names) => {
                let parts =
                    names.iter().map(|name| self.values(name)).collect::<Result<Vec<_>>>()?;
                Tensor::cat(&parts, 0)?
            }
        };
        if tensor.dims() != shape {
            let problem = format!("`{name}` is {:?}, not {shape:?}", tensor.dims());
            return Err(ClipError::weights_file(problem));
        }
        let values = crate::ops::to_vec(&tensor)?;
        match values.iter().find(|value| !value.is_finite()) {
            Some(value) => Err(bad_file(&format!("tensor `{name}` holds {value}"))),
            None => Ok(values),
        }
    }

    fn has_text(&self) -> bool {
        self.has_text
    }

    fn token_table(&self, vocab_size: usize, width: usize) -> Result<TokenTable> {
        match self.ids(vocab_size)? {
            None => {
                Ok(TokenTable::whole(self.take(vocabulary::WEIGHT, &[vocab_size, width])?, width))
            }
            Some(ids) => {
                let rows = self.take(vocabulary::WEIGHT, &[ids.len() + 1, width])?;
                TokenTable::short(rows, width, ids, vocab_size)
            }
        }
    }
}

impl RawTensor<'_> {
    fn to_f32(&self, name: &str) -> Result<Tensor> {
        let dtype = self.dtype.filter(DType::is_float).ok_or_else(|| {
            bad_file(&format!("tensor `{name}` is not of a floating type (f32, f16, bf16, f64)"))
        })?;
        Ok(self.read(name, dtype)?.to_dtype(DType::F32)?)
    }

    fn to_ids(&self, name: &str) -> Result<Vec<u32>> {
        let wrong = |what: &str| bad_file(&format!("tensor `{name}` wants {what}"));
        let dtype = self.dtype.filter(|dtype| *dtype == DType::I32);
        let ids = self.read(name, dtype.ok_or_else(|| wrong("whole numbers of 32 bits (i32)"))?)?;
        if ids.rank() != 1 {
            return Err(wrong(&format!("one dimension, got {:?}", ids.dims())));
        }
        let negative = |_| wrong("ids of 0 or more");
        ids.to_vec1::<i32>()?.into_iter().map(|id| u32::try_from(id).map_err(negative)).collect()
    }

    fn read(&self, name: &str, dtype: DType) -> Result<Tensor> {
        let size = dtype.size_in_bytes();
        let damaged = || bad_file(&format!("tensor `{name}` reaches beyond its data"));
        let n_values = count(&self.shape).ok_or_else(damaged)?;
        let n_bytes = n_values.checked_mul(size).ok_or_else(damaged)?;
        let tensor = match &self.strides {
            None => {
                let bytes = self.data.get(..n_bytes).ok_or_else(damaged)?;
                Tensor::from_raw_buffer(bytes, dtype, &self.shape, &Device::Cpu)?
            }
            Some(strides) => {
                let bytes = gather(self.data, size, &self.shape, strides).ok_or_else(damaged)?;
                Tensor::from_raw_buffer(&bytes, dtype, &self.shape, &Device::Cpu)?
            }
        };
        Ok(tensor)
    }
}

fn looks_like_safetensors(bytes: &[u8]) -> bool {
    bytes.get(8) == Some(&b'{')
}

fn read_safetensors(bytes: &[u8]) -> Result<BTreeMap<String, RawTensor<'_>>> {
    let file = SafeTensors::deserialize(bytes)
        .map_err(|error| bad_file(&format!("is a damaged safetensors file: {error}")))?;
    let raw = |(name, view): (String, safetensors::tensor::TensorView<'_>)| {
        let dtype = match view.dtype() {
            Dtype::F32 => Some(DType::F32),
            Dtype::F16 => Some(DType::F16),
            Dtype::BF16 => Some(DType::BF16),
            Dtype::F64 => Some(DType::F64),
            Dtype::I32 => Some(DType::I32),
            _ => None,
        };
        (name, (dtype, view.shape().to_vec()))
    };
    let listed: Vec<_> = file.tensors().into_iter().map(raw).collect();
    let mut tensors = BTreeMap::new();
    for (name, (dtype, shape)) in listed {
        let data = file
            .tensor(&name)
            .map_err(|error| bad_file(&format!("tensor `{name}`: {error}")))?
            .data();
        tensors.insert(name, RawTensor { shape, strides: None, dtype, data });
    }
    Ok(tensors)
}

/// Checkpoints wrap the model's own names: `state_dict.` beside an optimiser's state, `module.`
/// from data-parallel training.
fn strip_wrappers(mut tensors: BTreeMap<String, RawTensor<'_>>) -> BTreeMap<String, RawTensor<'_>> {
    for wrapper in ["state_dict.", "model_state_dict.", "model.", "module."] {
        if tensors.keys().any(|name| name.starts_with(wrapper)) {
            tensors = tensors
                .into_iter()
                .filter_map(|(name, tensor)| {
                    Some((name.strip_prefix(wrapper)?.to_string(), tensor))
                })
                .collect();
        }
    }
    tensors
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

/// Number of elements, or `None` if it does not fit a machine word.
fn count(shape: &[usize]) -> Option<usize> {
    shape.iter().try_fold(1_usize, |n, dim| n.checked_mul(*dim))
}

fn listed(lines: &[String]) -> String {
    if lines.is_empty() {
        return String::new();
    }
    let rest = lines.len().saturating_sub(N_LISTED);
    let more = if rest == 0 { String::new() } else { format!(" and {rest} more") };
    let first: Vec<&str> = lines.iter().take(N_LISTED).map(String::as_str).collect();
    format!(" ({}{more})", first.join("; "))
}

fn bad_file(problem: &str) -> ClipError {
    ClipError::weights_file(problem)
}
