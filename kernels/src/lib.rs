//! Numeric kernels of loupe, one file per operation.
//!
//! Every operation is a pure function on row-major slices. The plain form that a reader can check
//! stands beside the fast form, and tests hold the two together and against values recorded from
//! the programs that the methods were published with.
//!
//! Kernels own no threads: the caller passes a [`ParallelFor`]. Work is cut by the shape of the
//! data alone, never by the number of threads, so the bytes of a result do not depend on it.

#[macro_use]
mod vectorised;

mod activation;
pub mod approx;
mod bytes;
mod dense;
mod error;
mod fused;
mod gelu;
#[cfg(test)]
mod golden;
mod matmul;
mod nearest;
mod parallel;
mod pool;
mod resize_f32;
mod resize_u8;
mod smooth;
mod taps;
mod text_model;
mod unit_rows;

pub use activation::{sigmoid, sigmoids, silu};
pub use bytes::bytes_of;
pub use dense::{add_dense, add_dense_reference};
pub use error::KernelError;
pub use fused::{
    AlikePass, BlockShape, BlockWeights, Blocks, CAP, Isa, Layer, PACKED_LAYOUT, Precision, ReadAt,
    Team, blocks, layer,
};
pub use gelu::Activation;
pub use matmul::{Matrix, add_matmul, matmul, matmul_reference};
pub use nearest::{Bank, nearest_cosine, nearest_cosine_reference};
pub use parallel::{ParallelFor, for_each_chunk, serial};
pub use pool::{max, mean, quantile, top_fraction_mean};
pub use resize_f32::{
    antialias_bicubic, antialias_bilinear, bilinear, bilinear_align_corners, opencv_bilinear,
    opencv_bilinear_u8,
};
pub use resize_u8::{Filter, resize_u8, resize_u8_reference};
pub use smooth::gaussian_blur;
pub use text_model::{TextModel, TextRule};
pub use unit_rows::unit_rows;
