//! What a state file, or a stream that does not fit it, can get wrong.

use loupe_kernels::KernelError;
use loupe_plugin::prelude::Error;

#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum MadffError {
    #[error(
        "state `{file}` wants to be a safetensors file or a checkpoint of PyTorch, but it {why}; name \
         a file that `loupe train` or the original wrote"
    )]
    Format { file: String, why: String },
    #[error(
        "state `{file}` wants tensor `{tensor}`, but holds {n_tensors} others ({first}); take a \
         state of this component with one adapter for each tap of `at` and each of `heads`"
    )]
    Missing { file: String, tensor: String, n_tensors: usize, first: String },
    #[error(
        "tensor `{tensor}` of state `{file}` wants f32 numbers of shape {want:?}, but got {got}; \
         take a state of this component, trained on this encoder"
    )]
    Tensor { file: String, tensor: String, want: Vec<usize>, got: String },
    #[error(
        "tensor `{tensor}` of state `{file}` wants finite numbers, but number {index} is `{got}`; \
         train it again with a smaller learning rate"
    )]
    NotFinite { file: String, tensor: String, index: usize, got: f32 },
    #[error(
        "state `{file}` is for the taps {got}, but `at` is {want:?}; write `at` as it was trained"
    )]
    Taps { file: String, want: Vec<u32>, got: String },
    #[error(
        "`{tensor}` of seed {seed} would hold {want:?} numbers; lower `bottleneck` or raise \
         `reduction`"
    )]
    TooLarge { tensor: String, seed: u64, want: Vec<usize> },
    #[error("{source}")]
    Kernel { source: KernelError },
}

impl From<KernelError> for MadffError {
    fn from(source: KernelError) -> Self {
        MadffError::Kernel { source }
    }
}

impl From<MadffError> for Error {
    fn from(error: MadffError) -> Self {
        match error {
            MadffError::Kernel { .. } => Error::failed(error),
            _ => Error::config(error),
        }
    }
}
