//! The ablation without feedback: each tap's rows, projected and normalised. Source: ClipMPCAD's
//! `projectors.py`.

use crate::bank::{Adapted, Adapter, Tile};
use crate::error::MadffError;
use crate::layers::{LayerNorm, Linear};
use crate::weights::{Drawn, Weights};

/// A linear layer and a layer normalisation.
#[derive(Clone, Debug)]
pub struct ProjectorAdapter {
    linear: Linear,
    norm: LayerNorm,
}

impl Adapter for ProjectorAdapter {
    type Keys = ();
    const GROUP: &'static str = "projectors";
    const FIRST: &'static str = "proj.0.weight";

    fn read(weights: &Weights, name: &str, sizes: Drawn, (): &()) -> Result<Self, MadffError> {
        let Drawn { width, bottleneck } = sizes;
        Ok(ProjectorAdapter {
            linear: Linear::read(weights, &format!("{name}.proj.0.weight"), bottleneck, width)?,
            norm: LayerNorm::read(weights, &format!("{name}.proj.1"), bottleneck)?,
        })
    }

    /// For t rows: 2 t c d FLOP and 4 c d bytes of weights. Nothing flows back.
    fn forward(&self, tile: &Tile, _wants_stream: bool) -> Result<Adapted, MadffError> {
        let mut tokens = self.linear.forward(tile.rows)?;
        self.norm.apply(&mut tokens);
        Ok(Adapted { tokens, stream: None })
    }
}

impl ProjectorAdapter {
    /// Channels of the rows it takes.
    pub fn width(&self) -> usize {
        self.linear.n_in()
    }
}
