//! A folder tree becomes samples with roles; references are chosen; procedural surfaces are made.
//!
//! - [`Layout`]: where a kind of data set keeps images and masks, as data (`layouts/*.toml`);
//! - [`Layout::detect`]: which of the built-in layouts a tree may have;
//! - [`Dataset`]: a tree read under a layout, in one stable order, with everything odd noted;
//! - [`Class::references`], [`select`]: which images a few-shot run takes as references;
//! - [`surfaces`]: a generator of surfaces with defects and exact masks, in `mvtec-ad` layout.
//!
//! Nothing here decodes an image: that is `prepare`'s work, and its errors name the file.

mod check;
mod dataset;
mod detect;
mod error;
mod files;
mod layout;
mod manifest;
mod missing;
mod pattern;
mod references;
mod roles;
mod seed_file;
mod select;
mod split;
pub mod surfaces;
mod torch;
mod tree;

pub use check::{Check, ClassCheck, KindCheck};
pub use dataset::{Class, Dataset, Sample};
pub use detect::Fit;
pub use error::DatasetError;
pub use layout::{ClassFacts, Layout};
pub use manifest::write_manifest;
pub use references::References;
pub use seed_file::SeedFile;
pub use select::{Select, select};
