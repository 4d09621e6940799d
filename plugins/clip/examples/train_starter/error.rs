//! What can go wrong, said so that the reader knows what to do.

use std::path::PathBuf;

pub type Result<T, E = TrainError> = std::result::Result<T, E>;

#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    #[error("{message}\n{}", crate::arguments::USAGE)]
    Usage { message: String },
    #[error("`{}`: {source}", path.display())]
    File { path: PathBuf, source: std::io::Error },
    #[error("`{}` {message}", path.display())]
    Bad { path: PathBuf, message: String },
    #[error("this is a fault of the trainer: {what}")]
    Internal { what: &'static str },
    #[error("step {step}: the loss is {loss}; start again with another `--seed`")]
    Diverged { step: usize, loss: f32 },
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
    #[error(transparent)]
    Clip(#[from] loupe_clip::ClipError),
}

impl TrainError {
    pub fn bad(path: impl Into<PathBuf>, message: impl Into<String>) -> Self {
        Self::Bad { path: path.into(), message: message.into() }
    }

    /// For `map_err`: an error of the file system with the path that it is about.
    pub fn file(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { path, source }
    }
}
