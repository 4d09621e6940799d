//! A run: the pipeline's stages applied to the images of each class, with everything that did not change taken from the
//! cache. This is the walk of the data in ARCHITECTURE.md, from step 3 to step 11.
//!
//! `reads` and `wiring` say, before any image, who reads what and how often a component is called; `keys` names every
//! tensor by what it is made from; `ahead` reads what the next images are made from; `class` asks for tensors and finds or
//! makes them; `batch` makes them for several images at once; `compute`, `fit` and `text` make them;
//! `guard` refuses a component whose outputs changed under an unchanged revision; `meter` keeps account of time, `holds` of memory.

mod ahead;
mod batch;
mod class;
mod compute;
mod engine;
mod fit;
mod guard;
mod holds;
mod keep;
mod keys;
mod meter;
mod reads;
mod source;
mod store;
#[cfg(test)]
mod tests;
mod text;
mod training;
mod wiring;

use std::path::PathBuf;

use thiserror::Error;

pub use class::{ClassRun, Scored, renamed};
pub use engine::{Engine, Options, load_hooks};
pub use fit::state_file;
pub use holds::Holding;
pub use keys::{file_digest, hex, numerics};
pub use meter::{Calls, Work};
pub use source::{ClassImages, Image, MaskedImage, header_size};
pub use text::{gap, sentences};
pub use training::{Pass, Start, Tokens, Trainee, Walk};

use crate::cache::CacheError;
use crate::files::WriteError;
use crate::hooks::HookError;
use crate::image::ImageError;
use crate::map::MapError;
use crate::plugin::PluginError;

#[derive(Debug, Error)]
pub enum RunError {
    #[error("cannot read the image `{}`: {message}", path.display())]
    ReadImage { path: PathBuf, message: String },
    #[error("the image `{}` changed while the run was going on; run again", path.display())]
    ImageChanged { path: PathBuf },
    #[error("cannot read `{}`: {message}", path.display())]
    ReadFile { path: PathBuf, message: String },
    #[error("stage `{stage}`: {message}")]
    Wiring { stage: String, message: String },
    #[error("stage `{stage}` fits on {fit_on}, which this version does not offer")]
    FitOn { stage: String, fit_on: String },
    #[error(
        "the {kind} `{component}` gives other outputs than the build that filled the cache, under the same revision \
         {revision}: bump its revision, or give the cache another folder"
    )]
    Fingerprint { kind: String, component: String, revision: u32 },
    #[error(
        "`{value}` of stage `{stage}` does not fit into {dtype}, in which the cache was asked to store it; use f32 \
         under `cache` of [run]"
    )]
    Overflow { stage: String, value: String, dtype: &'static str },
    #[error("stage `{stage}`: {message}; fill the gap with `{command}`")]
    Prompts { stage: String, message: String, command: String },
    #[error(
        "stage `{stage}` has learned nothing for class `{class}` yet: there is no `{}`; train it with `loupe train`",
        path.display()
    )]
    Untrained { stage: String, class: String, path: PathBuf },
    #[error("cannot start the threads: {message}")]
    Threads { message: String },
    #[error("interrupted")]
    Cancelled,
    #[error("{message}")]
    Tensor { message: String },
    #[error(transparent)]
    Plugin(PluginError),
    #[error(transparent)]
    Cache(#[from] CacheError),
    #[error(transparent)]
    Hook(#[from] HookError),
    #[error(transparent)]
    Image(#[from] ImageError),
    #[error(transparent)]
    Map(#[from] MapError),
    #[error(transparent)]
    Write(#[from] WriteError),
}

/// A component that stopped because the user wanted it to did not fail.
impl From<PluginError> for RunError {
    fn from(error: PluginError) -> RunError {
        match error {
            PluginError::Cancelled { .. } => RunError::Cancelled,
            error => RunError::Plugin(error),
        }
    }
}

impl From<String> for RunError {
    fn from(message: String) -> RunError {
        RunError::Tensor { message }
    }
}
