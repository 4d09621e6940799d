//! The run folder and what is made from it: files that programs read, and a page that people read.
//!
//! Invariants: a file is whole or not there; a class is written when it is done, so that a crash
//! loses one class at most; no time and no order of threads enters `results.json`; a name from a
//! data set becomes a path or HTML only through `names` and `html::escape`.

mod contour;
mod folder;
mod html;
pub(crate) mod names;
mod original;
mod panels;
mod pictures;
pub mod spread;
mod summary;
mod tables;
#[cfg(test)]
mod tests;
mod toml_text;

use std::io;
use std::path::PathBuf;

use thiserror::Error;

pub use folder::{PictureOptions, RunFolder};
pub use original::Originals;
pub use summary::{Summary, SummaryCell, summary_table};
pub use tables::metric_title;
pub use toml_text::as_toml;

use crate::files::WriteError;

#[derive(Debug, Error)]
pub enum ReportError {
    #[error(
        "`{}` exists and is not a run folder of loupe (it has no `run.json` of ours, but holds \
         `{holds}`); \
         name another folder, or move it away",
        path.display()
    )]
    NotOurs { path: PathBuf, holds: String },
    #[error("another run is filling `{}`; wait until it has ended, or name another folder", path.display())]
    Busy { path: PathBuf },
    #[error("the run folder `{}` is a file; name another folder, or move it away", path.display())]
    NotAFolder { path: PathBuf },
    #[error("cannot {action} `{}`: {source}", path.display())]
    Folder { action: &'static str, path: PathBuf, source: io::Error },
    #[error("`{file}` cannot be written as JSON: {source}")]
    Json { file: String, source: serde_json::Error },
    #[error(
        "the map of image `{image}` has {got} values, but {height} x {width} wants {}",
        height.saturating_mul(*width)
    )]
    MapSize { image: String, height: usize, width: usize, got: usize },
    #[error("image `{image}` cannot be drawn: {message}")]
    Draw { image: String, message: String },
    #[error(transparent)]
    Write(#[from] WriteError),
}
