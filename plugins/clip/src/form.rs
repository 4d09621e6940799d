//! From the keys `backend` and `precision` to a model.

use std::sync::Arc;

use loupe_kernels::{Isa, Precision};
use loupe_plugin::prelude::*;

use crate::config::ModelConfig;
use crate::error::ClipError;
use crate::kept::Keeper;
use crate::keys::{BackendKey, PrecisionKey};
use crate::model::Clip;
use crate::threads::Threads;
use crate::trunk::Packing;
use crate::weights::Weights;

/// What the towers' blocks are computed with.
#[derive(Clone, Copy)]
pub enum Form {
    Candle,
    Packed(Isa, Precision),
}

impl Form {
    /// Errors: `Config` for a precision that the backend has not, and for an unknown `LOUPE_CPU`.
    pub fn new(backend: BackendKey, precision: PrecisionKey) -> Result<Self> {
        match backend {
            BackendKey::Candle => match precision {
                PrecisionKey::F32 | PrecisionKey::Auto => Ok(Form::Candle),
                PrecisionKey::Bf16 | PrecisionKey::Int8 => Err(Error::config(
                    "`precision` wants `f32` with `backend = \"candle\"`; leave out one of the two keys",
                )),
            },
            BackendKey::Fused => {
                let isa = Isa::best().map_err(ClipError::from)?;
                let precision = match precision {
                    PrecisionKey::F32 => Precision::F32,
                    PrecisionKey::Bf16 => Precision::Bf16,
                    PrecisionKey::Int8 => Precision::Int8,
                    PrecisionKey::Auto => isa.quick_precision(),
                };
                Ok(Form::Packed(isa, precision))
            }
        }
    }

    /// What products are rounded to, as the key names it.
    pub fn precision(self) -> &'static str {
        match self {
            Form::Candle => Precision::F32.name(),
            Form::Packed(_, precision) => precision.name(),
        }
    }

    /// What the blocks' `n` numbers take: where there are no tiles, all are f32, whatever they are rounded to.
    pub fn packed_bytes(self, n: usize) -> usize {
        match self {
            Form::Packed(Isa::Amx, Precision::Bf16) => 2 * n,
            // The layers behind a normalisation have seven twelfths of a block's numbers.
            Form::Packed(Isa::Amx, Precision::Int8) => 2 * n - n * 7 / 12,
            Form::Candle | Form::Packed(..) => 4 * n,
        }
    }

    /// A model in this form, on the host's threads, whose packed weights the host keeps.
    pub fn clip(
        self,
        config: ModelConfig,
        weights: impl Weights + Send + Sync + 'static,
        keeper: Keeper,
    ) -> crate::error::Result<Clip> {
        let threads = Threads::Host(keeper.host);
        match self {
            Form::Candle => {
                threads.ready_library();
                Clip::new(config, &weights)
            }
            Form::Packed(isa, precision) => {
                let weights: Arc<dyn Weights + Send + Sync> = Arc::new(weights);
                let packing = Packing { isa, precision, threads, keeper: Some(keeper) };
                Clip::packed(config, &weights, &packing)
            }
        }
    }
}
