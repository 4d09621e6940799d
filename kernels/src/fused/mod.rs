//! Transformer blocks as fast as the CPU allows: weights packed once, nothing between two products but
//! what the second reads.

mod alike;
#[cfg(target_arch = "x86_64")]
mod amx;
mod attention;
#[cfg(target_arch = "x86_64")]
mod avx;
mod block;
mod buffer;
mod bytes;
mod ceiling;
mod choose;
mod isa;
mod kept;
mod layer;
mod mutual;
mod nearest;
mod operands;
mod portable;
mod product;
#[cfg(target_arch = "x86_64")]
mod rounding;
mod scratch;
#[cfg(test)]
mod tests;
mod tile;
#[cfg(target_arch = "x86_64")]
mod tiles;
mod tower;

pub(crate) use buffer::bytes_of_mut;
pub use choose::Precision;
pub use isa::{CAP, Isa};
pub use kept::{PACKED_LAYOUT, ReadAt};
pub use layer::{Layer, layer};
pub(crate) use nearest::{Largest, Rows, packed};
pub use product::Team;
pub use tower::{AlikePass, BlockShape, BlockWeights, Blocks, blocks};
