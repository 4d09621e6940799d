//! Tensors out of files that other programs wrote: safetensors, and PyTorch's zip archives (checkpoints,
//! state dictionaries, TorchScript). A pickle is read as data: nothing in a file is executed, a name that no
//! weights need refuses the file, and bytes are borrowed.

mod globals;
mod pickle;
mod tensor;
mod torch;

use std::collections::BTreeMap;

use safetensors::SafeTensors;

pub use tensor::{Dtype, RawTensor};

/// A file whose content is wrong; the sentence lacks its subject, the file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{problem}")]
pub struct CheckpointError {
    pub problem: String,
}

pub type Result<T> = std::result::Result<T, CheckpointError>;

/// What a file holds.
pub struct Checkpoint<'a> {
    /// By their dotted path.
    pub tensors: BTreeMap<String, RawTensor<'a>>,
    /// Safetensors' own; empty for PyTorch's files.
    pub metadata: BTreeMap<String, String>,
}

/// Lists a file's tensors; which container it is tells the content. Errors: an unknown container, or a
/// damaged one.
pub fn read(bytes: &[u8]) -> Result<Checkpoint<'_>> {
    if bytes.starts_with(b"PK\x03\x04") {
        return Ok(Checkpoint { tensors: torch::read(bytes)?, metadata: BTreeMap::new() });
    }
    if bytes.get(8) == Some(&b'{') {
        return safetensors(bytes);
    }
    Err(bad_file(match bytes.starts_with(b"\x80") {
        true => {
            "is a PyTorch file from before torch 1.6 (a bare pickle); save it again with a newer \
             torch: `torch.save(torch.load(path), new_path)`"
        }
        false => "is neither safetensors nor a PyTorch zip archive (is the download complete?)",
    }))
}

fn safetensors(bytes: &[u8]) -> Result<Checkpoint<'_>> {
    let damaged = |error: safetensors::SafeTensorError| {
        bad_file(&format!("is a damaged safetensors file: {error}"))
    };
    let (_, header) = SafeTensors::read_metadata(bytes).map_err(damaged)?;
    let metadata = header.metadata().clone().unwrap_or_default().into_iter().collect();
    let file = SafeTensors::deserialize(bytes).map_err(damaged)?;
    let mut tensors = BTreeMap::new();
    for (name, view) in file.tensors() {
        let shape = view.shape().to_vec();
        let dtype = Dtype::of_safetensors(view.dtype());
        let data = file
            .tensor(&name)
            .map_err(|error| bad_file(&format!("tensor `{name}`: {error}")))?
            .data();
        tensors.insert(name, RawTensor { shape, strides: None, dtype, data });
    }
    Ok(Checkpoint { tensors, metadata })
}

fn bad_file(problem: &str) -> CheckpointError {
    CheckpointError { problem: problem.to_owned() }
}
