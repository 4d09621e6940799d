//! Adapters on an encoder's taps: `madff` (ClipMPCAD), `mvfa` (MVFA-AD) and `projector`, their
//! ablation without feedback. They read the trunk's stream, emit tokens that are compared with text,
//! and `madff` and `mvfa` feed a share of what they make back into the stream. No encoder is linked:
//! whatever offers taps can carry them.

mod bank;
mod component;
mod error;
mod gates;
mod gradient;
mod layers;
mod madff;
mod mvfa;
mod projector;
pub mod reference;
mod spectrum;
mod weights;

use loupe_plugin::prelude::*;

pub use bank::{Adapted, Adapter, Ask, Bank, Cotangents, Kept, Made, PulledBack, Tile, TileTape};
pub use component::{Madff, Mvfa, Projector};
pub use error::MadffError;
pub use gates::{ChannelGate, FrequencyGate, Gated, SpatialGate, Ungated};
pub use gradient::{Parameter, Share, summed};
pub use layers::{LayerNorm, Linear};
pub use madff::{MadffAdapter, MadffKeys};
pub use mvfa::MvfaAdapter;
pub use projector::ProjectorAdapter;
pub use spectrum::Spectrum;
pub use weights::{Drawn, Weights};

export!(fusion "madff" = Madff, fusion "mvfa" = Mvfa, fusion "projector" = Projector);
