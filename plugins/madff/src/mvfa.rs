//! MVFA-AD's adapter: the bottleneck alone. Source: arXiv:2403.12570.

use crate::bank::{Adapted, Adapter, Tile};
use crate::error::MadffError;
use crate::layers::{Linear, leaky_relu};
use crate::weights::{Drawn, Weights};

/// One adapter: the weights of a tap and a head.
#[derive(Clone, Debug)]
pub struct MvfaAdapter {
    down: Linear,
    up: Linear,
}

impl Adapter for MvfaAdapter {
    type Keys = ();
    const GROUP: &'static str = "adapters";
    const FIRST: &'static str = "fc1.0.weight";

    fn read(weights: &Weights, name: &str, sizes: Drawn, (): &()) -> Result<Self, MadffError> {
        let Drawn { width, bottleneck } = sizes;
        let layer = |part: &str, n_out, n_in| {
            Linear::read(weights, &format!("{name}.{part}.0.weight"), n_out, n_in)
        };
        Ok(MvfaAdapter {
            down: layer("fc1", bottleneck, width)?,
            up: layer("fc2", width, bottleneck)?,
        })
    }

    /// Down and up again, LeakyReLU of slope 0.01 behind both. For t rows: 4 t c d FLOP, half of them
    /// without the stream, and 8 c d bytes of weights.
    fn forward(&self, tile: &Tile, wants_stream: bool) -> Result<Adapted, MadffError> {
        let mut tokens = self.down.forward(tile.rows)?;
        leaky_relu(&mut tokens);
        let up = || {
            let mut stream = self.up.forward(&tokens)?;
            leaky_relu(&mut stream);
            Ok::<_, MadffError>(stream)
        };
        let stream = wants_stream.then(up).transpose()?;
        Ok(Adapted { tokens, stream })
    }
}
