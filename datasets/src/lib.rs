//! A folder tree becomes samples with roles; references are chosen; procedural surfaces are made.
//!
//! - [`Layout`]: where a kind of data set keeps images and masks, as data (`layouts/*.toml`);
//! - [`Dataset`]: a tree read under a layout, in one stable order, with everything odd noted;
//! - [`select`]: which images of the reference pool a few-shot run takes;
//! - [`surfaces`]: a generator of surfaces with defects and exact masks, in `mvtec-ad` layout.
//!
//! Nothing here decodes an image: that is `prepare`'s work, and its errors name the file.

mod check;
mod dataset;
mod error;
mod layout;
mod manifest;
mod pattern;
mod select;
mod split;
pub mod surfaces;
mod torch;
mod tree;

pub use check::{Check, ClassCheck, KindCheck};
pub use dataset::{Class, Dataset, Sample};
pub use error::DatasetError;
pub use layout::{ClassWords, Layout};
pub use manifest::write_manifest;
pub use select::{Select, select};
