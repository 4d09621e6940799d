//! Images: bytes to pixels, pixels to what an encoder reads, masks, and pictures for the report.
//!
//! Invariant: nothing here opens a file. Bytes and a name for messages come in, values go out.

mod decode;
mod error;
#[cfg(test)]
mod golden;
mod heatmap;
mod jpeg;
mod prepare;
mod warp;

pub use decode::{MAX_PIXELS, Mask, Rgb, decode_mask, decode_rgb, encode_png};
pub use error::ImageError;
pub use heatmap::{Colours, Overlay, colourise, overlay};
pub use loupe_kernels::Filter;
pub use prepare::{Geometry, Normalize, PrepareConfig, prepare};
pub use warp::{N_WARPS, warped};
