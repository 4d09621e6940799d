//! Weights from any published file: which container it is and whose names it uses is read from the
//! content, never from the file's name.
//!
//! The bytes are only borrowed and every tensor is converted when a tower asks for it, so a mapped
//! file is never copied as a whole. Nothing in a file is executed.

mod names;
mod random;

use std::collections::BTreeMap;

use candle_core::{DType, Device, Tensor};
use loupe_checkpoints::{Dtype, RawTensor};

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
        let tensors = loupe_checkpoints::read(bytes)?.tensors;
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
        let ids = to_ids(tensor, vocabulary::IDS)?;
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
        to_f32(tensor, name)
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

/// The values of a floating type, as f32.
fn to_f32(tensor: &RawTensor, name: &str) -> Result<Tensor> {
    let dtype = tensor.dtype.filter(|dtype| *dtype != Dtype::I32).ok_or_else(|| {
        bad_file(&format!("tensor `{name}` is not of a floating type (f32, f16, bf16, f64)"))
    })?;
    Ok(to_candle(tensor, name, dtype)?.to_dtype(DType::F32)?)
}

fn to_ids(tensor: &RawTensor, name: &str) -> Result<Vec<u32>> {
    let wrong = |what: &str| bad_file(&format!("tensor `{name}` wants {what}"));
    let dtype = tensor.dtype.filter(|dtype| *dtype == Dtype::I32);
    let dtype = dtype.ok_or_else(|| wrong("whole numbers of 32 bits (i32)"))?;
    let ids = to_candle(tensor, name, dtype)?;
    if ids.rank() != 1 {
        return Err(wrong(&format!("one dimension, got {:?}", ids.dims())));
    }
    let negative = |_| wrong("ids of 0 or more");
    ids.to_vec1::<i32>()?.into_iter().map(|id| u32::try_from(id).map_err(negative)).collect()
}

fn to_candle(tensor: &RawTensor, name: &str, dtype: Dtype) -> Result<Tensor> {
    let beyond = || bad_file(&format!("tensor `{name}` reaches beyond its data"));
    let bytes = tensor.bytes().ok_or_else(beyond)?;
    let dtype = match dtype {
        Dtype::F64 => DType::F64,
        Dtype::F32 => DType::F32,
        Dtype::F16 => DType::F16,
        Dtype::Bf16 => DType::BF16,
        Dtype::I32 => DType::I32,
    };
    Ok(Tensor::from_raw_buffer(&bytes, dtype, &tensor.shape, &Device::Cpu)?)
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
