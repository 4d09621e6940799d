//! Encoders `clip` and `gem`: CLIP's image and text towers from any published weights file.

mod activation;
mod assemble;
pub mod attention;
mod backward;
mod clean;
mod component;
pub mod config;
pub mod error;
mod form;
mod kept;
mod keys;
pub mod matrix;
pub mod model;
pub mod ops;
pub mod position;
pub mod starter;
pub mod text;
pub mod threads;
pub mod tokenizer;
pub mod trunk;
pub mod vision;
pub mod vocabulary;
pub mod weights;

pub use component::{ClipEncoder, GemEncoder};
pub use config::{Activation, ModelConfig};
pub use error::{ClipError, Result};
pub use kept::Keeper;
pub use keys::{ClipConfig, GemConfig};
pub use model::{Clip, Encoded, Outputs, Request, Session, Wanted};
pub use threads::Threads;
pub use trunk::Packing;
pub use vision::Gem;
pub use vocabulary::TokenTable;

/// Sets the size of this library's thread pool, once; later calls change nothing. candle computes on it, packed
/// towers where there is no engine.
///
/// Every plugin has its own statics and so its own pool: the caller divides the cores.
pub fn init_threads(n_threads: usize) {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(n_threads);
    // An error says that the pool exists already, which is what later calls mean.
    let _ = pool.thread_name(|index| format!("loupe-clip-{index}")).build_global();
}
