//! MVFA-AD's adapter: the bottleneck alone. Source: arXiv:2403.12570.

use crate::bank::{Adapted, Adapter, Cotangents, Kept, PulledBack, Tile};
use crate::error::MadffError;
use crate::gradient::Parameter;
use crate::layers::{Linear, add_to, leaky_relu, leaky_slope};
use crate::weights::{Drawn, Weights};

/// One adapter: the weights of a tap and a head.
pub struct MvfaAdapter {
    down: Linear,
    up: Linear,
}

impl Adapter for MvfaAdapter {
    type Keys = ();
    /// What comes up, if it was asked for.
    type Tape = Option<Vec<f32>>;
    const GROUP: &'static str = "adapters";
    const FIRST: &'static str = "fc1.0.weight";

    fn read(weights: &Weights, name: &str, sizes: Drawn, (): &()) -> Result<Self, MadffError> {
        let Drawn { width, bottleneck } = sizes;
        Ok(MvfaAdapter {
            down: Linear::read(weights, name, "fc1.0.weight", [bottleneck, width])?,
            up: Linear::read(weights, name, "fc2.0.weight", [width, bottleneck])?,
        })
    }

    /// Down and up again, LeakyReLU of slope 0.01 behind both. For t rows: 4 t c d FLOP, half of them
    /// without the stream, and 8 c d bytes of weights.
    fn forward(
        &self,
        tile: &Tile,
        wants_stream: bool,
    ) -> Result<Adapted<Option<Vec<f32>>>, MadffError> {
        let mut tokens = self.down.forward(tile.rows)?;
        leaky_relu(&mut tokens);
        let up = || {
            let mut stream = self.up.forward(&tokens)?;
            leaky_relu(&mut stream);
            Ok::<_, MadffError>(stream)
        };
        let stream = wants_stream.then(up).transpose()?;
        Ok(Adapted { tokens, tape: stream.clone(), stream })
    }

    fn pull_back<'a>(
        &'a self,
        tile: &'a Tile<'a>,
        kept: &'a Kept<Option<Vec<f32>>>,
        cotangents: Cotangents<'_>,
    ) -> Result<PulledBack<'a>, MadffError> {
        let mut of_tokens = cotangents.tokens_or_zeros(&kept.tokens);
        let mut shares = Vec::new();
        if let (Some(given), Some(stream)) = (cotangents.stream, &kept.tape) {
            let of_up: Vec<f32> =
                given.iter().zip(stream).map(|(c, made)| c * leaky_slope(*made)).collect();
            add_to(&mut of_tokens, &self.up.pull_back(&of_up)?);
            shares.push(self.up.share(of_up, kept.tokens.as_slice()));
        }
        for (cotangent, made) in of_tokens.iter_mut().zip(&kept.tokens) {
            *cotangent *= leaky_slope(*made);
        }
        let rows = self.down.pull_back(&of_tokens)?;
        shares.push(self.down.share(of_tokens, tile.rows));
        Ok(PulledBack { rows, magnitudes: None, shares })
    }

    fn layers(&mut self) -> Vec<&mut Linear> {
        vec![&mut self.down, &mut self.up]
    }

    fn parameters(&self) -> Vec<Parameter<'_>> {
        vec![self.down.parameter(), self.up.parameter()]
    }
}
