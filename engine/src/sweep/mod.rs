//! Sweeps: one file names a base pipeline, variants and axes; every cell of them is a run of its own,
//! written down when it is done, so that a sweep that was stopped goes on where it was.

mod file;
mod means;
mod plan;
mod store;
mod table;
#[cfg(test)]
mod tests;

use std::path::PathBuf;

use thiserror::Error;

pub use file::{Axis, Design, Mean, SweepFile, Variant};
pub use plan::{CellPlan, Setup, plan};
pub use store::{CellRecord, Outcome, RowRecord, Store};
pub use table::{Ended, SweepTable, sweep_table};

use crate::files::WriteError;

/// Most cells that one file may ask for.
pub const MOST_CELLS: usize = 10_000;

#[derive(Debug, Error)]
pub enum SweepError {
    #[error("cannot read `{}`: {source}", path.display())]
    Read { path: PathBuf, source: std::io::Error },
    #[error("`{}` is no sweep file: {message}", path.display())]
    Syntax { path: PathBuf, message: String },
    #[error("`{}`: {message}", path.display())]
    Content { path: PathBuf, message: String },
    #[error(
        "`{}` line {line} is no record of a cell: {message}; remove the line, or start anew with \
         --fresh", path.display()
    )]
    Store { path: PathBuf, line: usize, message: String },
    #[error("another sweep is filling `{}`; wait until it has ended, or name another folder with --out", path.display())]
    Busy { path: PathBuf },
    #[error(transparent)]
    Write(#[from] WriteError),
}
