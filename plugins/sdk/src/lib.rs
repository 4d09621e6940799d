//! What an author of a loupe plugin reads. A plugin is a pure function on tensors with a name:
//! implement one of `Encoder`, `PromptGenerator`, `Scorer` or `Fusion`, name it in `export!`, and
//! build a `cdylib`.
//!
//! ```
//! use loupe_plugin::prelude::*;
//!
//! /// Mean of the parts.
//! #[derive(Deserialize, Schema)]
//! #[serde(deny_unknown_fields)]
//! struct Mean {}
//!
//! impl Fusion for Mean {
//!     type Config = Self;
//!
//!     fn new(config: Self, _host: &Host) -> Result<Self> {
//!         Ok(config)
//!     }
//!
//!     fn fuse(&self, parts: &[Tensor]) -> Result<Tensor> {
//!         let mut sums = vec![0.0; same_shape(parts)?.len()];
//!         for part in parts {
//!             for (sum, score) in sums.iter_mut().zip(part.f32s()?) {
//!                 *sum += score / parts.len() as f32;
//!             }
//!         }
//!         Tensor::new(same_shape(parts)?, sums)
//!     }
//! }
//!
//! export!(fusion "mean" = Mean);
//! # fn main() { loupe_plugin::testing::fusion::<Mean>("").check() }
//! ```
//!
//! A fusion that learns between an encoder's taps is an `Adapter`; `dense` has the products that one is
//! made of, and `testing::training` holds its way back against finite differences.
//!
//! Nothing here names the engine: `abi` is the boundary in plain C, `glue` its shims, the rest what
//! they serve.

pub mod abi;
mod adapter;
mod buf;
pub mod dense;
mod error;
#[doc(hidden)]
pub mod export;
mod glue;
mod grid;
mod host;
mod inputs;
mod keep;
mod outputs;
mod port;
#[doc(hidden)]
pub mod schema;
mod shape;
mod state;
mod tensor;
pub mod testing;
mod traits;
mod values;

/// All that a plugin's file imports.
pub mod prelude {
    pub use crate::adapter::{Adapter, Flow, Parameters, Stand, Stream};
    pub use crate::dense;
    pub use crate::error::{Error, Result};
    pub use crate::export;
    pub use crate::grid::patch_grid;
    pub use crate::host::{Host, Level};
    pub use crate::inputs::Inputs;
    pub use crate::keep::Kept;
    pub use crate::outputs::{Outputs, Wanted};
    pub use crate::port::{Port, Scope, Verb};
    pub use crate::schema::{NoConfig, Schema};
    pub use crate::shape::Shape;
    pub use crate::state::{StateReader, StateWriter};
    pub use crate::tensor::{Tensor, same_shape};
    pub use crate::traits::{
        Backward, Encoder, Fit, Fusion, PromptGenerator, Purity, Scorer, Taps, Tool, Train,
    };
    pub use crate::values::{EmbeddedText, Facts, Label, Sentence, State};
    pub use loupe_plugin_derive::Schema;
    pub use serde::Deserialize;
}

#[doc(hidden)]
pub use serde_json;
