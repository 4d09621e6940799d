//! The ablation without feedback: each tap's rows, projected and normalised. Source: ClipMPCAD's
//! `projectors.py`.

use crate::bank::{Adapted, Adapter, Cotangents, Kept, PulledBack, Tile};
use crate::error::MadffError;
use crate::gradient::Parameter;
use crate::layers::{LayerNorm, Linear};
use crate::weights::{Drawn, Weights};

/// A linear layer and a layer normalisation.
pub struct ProjectorAdapter {
    linear: Linear,
    norm: LayerNorm,
}

impl Adapter for ProjectorAdapter {
    type Keys = ();
    /// What the normalisation takes.
    type Tape = Vec<f32>;
    const GROUP: &'static str = "projectors";
    const FIRST: &'static str = "proj.0.weight";

    fn read(weights: &Weights, name: &str, sizes: Drawn, (): &()) -> Result<Self, MadffError> {
        let Drawn { width, bottleneck } = sizes;
        Ok(ProjectorAdapter {
            linear: Linear::read(weights, name, "proj.0.weight", [bottleneck, width])?,
            norm: LayerNorm::read(weights, name, bottleneck)?,
        })
    }

    /// For t rows: 2 t c d FLOP and 4 c d bytes of weights. Nothing flows back into the stream.
    fn forward(&self, tile: &Tile, _wants_stream: bool) -> Result<Adapted<Vec<f32>>, MadffError> {
        let projected = self.linear.forward(tile.rows)?;
        Ok(Adapted { tokens: self.norm.forward(&projected), stream: None, tape: projected })
    }

    fn pull_back<'a>(
        &'a self,
        tile: &'a Tile<'a>,
        kept: &'a Kept<Vec<f32>>,
        cotangents: Cotangents<'_>,
    ) -> Result<PulledBack<'a>, MadffError> {
        let given = cotangents.tokens_or_zeros(&kept.tokens);
        let (of_projected, [weight, bias]) = self.norm.pull_back(&kept.tape, &given);
        let rows = self.linear.pull_back(&of_projected)?;
        let shares = vec![self.linear.share(of_projected, tile.rows), weight, bias];
        Ok(PulledBack { rows, magnitudes: None, shares })
    }

    fn layers(&mut self) -> Vec<&mut Linear> {
        vec![&mut self.linear]
    }

    fn parameters(&self) -> Vec<Parameter<'_>> {
        let [weight, bias] = self.norm.parameters();
        vec![self.linear.parameter(), weight, bias]
    }
}

impl ProjectorAdapter {
    /// Channels of the rows it takes.
    pub fn width(&self) -> usize {
        self.linear.n_in()
    }
}
