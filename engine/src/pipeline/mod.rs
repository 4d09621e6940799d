//! From a TOML file to a checked pipeline: every mistake is found before a weight loads.
//!
//! `source` reads files into one spanned tree, `stages` reads each stage, `order` sorts them,
//! `ports` types them, and `check` puts the pipeline together. No image or weight is opened here.

// A diagnostic is made once per mistake: its size on the way up does not matter.
#![allow(clippy::result_large_err)]

pub mod check;
pub mod diagnostics;
mod draft;
pub mod graph;
pub mod json_schema;
pub mod model;
pub mod show;

mod build;
mod data_names;
mod files;
pub mod fill;
mod fits;
mod grid;
mod mapping;
mod order;
mod ports;
mod reference;
mod schema;
mod sections;
mod shapes;
mod source;
mod stages;
mod train;
mod tree;
mod values;

#[cfg(test)]
mod tests;

pub use check::{CheckOptions, Checked, check, check_text};
pub use files::NamedFile;
pub use source::{Change, shots_and_seed};
pub use train::TOKENS;
