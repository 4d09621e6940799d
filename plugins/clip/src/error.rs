//! What can go wrong between a model's name and its embeddings.

/// Every failure of this crate.
#[derive(Debug, thiserror::Error)]
pub enum ClipError {
    #[error(
        "no model is called `{name}`; known are {known}, or give the path of an open_clip JSON file"
    )]
    UnknownModel { name: String, known: String },
    #[error("model description, key `{key}`: {problem}")]
    Description { key: String, problem: String },
    #[error("model description is not JSON: {message}")]
    Json { message: String },
    #[error("weights file{file}: {problem}")]
    WeightsFile {
        /// Its name, ready to print, or empty.
        file: String,
        problem: String,
    },
    #[error(
        "weights file{file} ({dialect} names, {n_found} tensors) does not fit model `{model}`: \
         {n_missing} of {n_wanted} tensors are missing{missing}; {n_wrong} have another \
         shape{wrong}"
    )]
    Weights {
        /// Its name, ready to print, or empty.
        file: String,
        model: String,
        dialect: &'static str,
        n_found: usize,
        n_wanted: usize,
        n_missing: usize,
        /// The first missing names, ready to print, or empty.
        missing: String,
        n_wrong: usize,
        /// The first wrong shapes, ready to print, or empty.
        wrong: String,
    },
    #[error(
        "weights `starter` belong to model `starter` and do not fit `{model}`; set `model = \
         \"starter\"`, or give a weights file of `{model}` (`loupe weights ls` names public ones)"
    )]
    NotStarter { model: String },
    #[error("`{what}` wants {want}, but got {got}")]
    Shape { what: &'static str, want: String, got: String },
    #[error("tap {tap} does not exist: model `{model}` has blocks 1 to {n_blocks}")]
    Tap { tap: usize, model: String, n_blocks: usize },
    #[error("{problem}")]
    Stepping { problem: String },
    #[error("model `{model}` was loaded from an image-only weights file, so it cannot embed text")]
    NoText { model: String },
    #[error("text holds token {token}, but the vocabulary of `{model}` has {vocab_size}")]
    Token { token: u32, vocab_size: usize, model: String },
    #[error("tensor operation failed: {message}")]
    Tensor { message: String },
    #[error(transparent)]
    Host(#[from] loupe_plugin::prelude::Error),
    #[error(transparent)]
    Kernel(#[from] loupe_kernels::KernelError),
}

impl ClipError {
    /// A file whose content is wrong, before anybody has said its name.
    pub fn weights_file(problem: impl Into<String>) -> Self {
        Self::WeightsFile { file: String::new(), problem: problem.into() }
    }

    /// The same error, with the name of the weights file that it is about.
    pub fn in_file(mut self, name: &str) -> Self {
        if let Self::WeightsFile { file, .. } | Self::Weights { file, .. } = &mut self {
            *file = format!(" `{name}`");
        }
        self
    }
}

impl From<loupe_checkpoints::CheckpointError> for ClipError {
    fn from(error: loupe_checkpoints::CheckpointError) -> Self {
        Self::weights_file(error.problem)
    }
}

impl From<candle_core::Error> for ClipError {
    fn from(error: candle_core::Error) -> Self {
        // candle appends a backtrace to its messages; the first line is what a user can read.
        let message = error.to_string();
        Self::Tensor { message: message.lines().next().unwrap_or_default().to_string() }
    }
}

pub type Result<T> = std::result::Result<T, ClipError>;
