//! MADFF: three gates around a bottleneck. Source: ClipMPCAD's `mdecoder.py`; its paper's figure shows
//! plain sums, the weights below are what runs.

use crate::bank::{Adapted, Adapter, Tile};
use crate::error::MadffError;
use crate::gates::{ChannelGate, FrequencyGate, Gated, SpatialGate};
use crate::layers::{Linear, leaky_relu};
use crate::weights::{Drawn, Weights};

/// What of MADFF is switched on, and how its branches are weighed.
#[derive(Clone, Debug, PartialEq)]
pub struct MadffKeys {
    pub channel_gate: bool,
    pub spatial_gate: bool,
    pub frequency_gate: bool,
    /// Of the rows and the three gated ones, in the tokens.
    pub token_weights: [f32; 4],
    /// Of the stretched tokens and the three gated ones, in what flows back.
    pub stream_weights: [f32; 4],
    /// Channels for each hidden one of a gate that a seed draws.
    pub reduction: usize,
}

/// One adapter: the weights of a tap and a head.
#[derive(Clone, Debug)]
pub struct MadffAdapter {
    down: Linear,
    up: Linear,
    channel: Option<ChannelGate>,
    spatial: Option<SpatialGate>,
    frequency: Option<FrequencyGate>,
    token_weights: [f32; 4],
    stream_weights: [f32; 4],
}

/// Rows on their way into the bottleneck, with the weight of each row in the tokens and in the stream.
struct Branch<'a> {
    rows: &'a [f32],
    in_tokens: Vec<f32>,
    in_stream: Vec<f32>,
}

impl Adapter for MadffAdapter {
    type Keys = MadffKeys;
    const GROUP: &'static str = "adapters";
    const FIRST: &'static str = "fc1.0.weight";

    fn read(
        weights: &Weights,
        name: &str,
        sizes: Drawn,
        keys: &MadffKeys,
    ) -> Result<Self, MadffError> {
        let Drawn { width, bottleneck } = sizes;
        let hidden = (width / keys.reduction.max(1)).max(1);
        let layer = |part: &str, n_out, n_in| {
            Linear::read(weights, &format!("{name}.{part}.0.weight"), n_out, n_in)
        };
        let channel = || ChannelGate::read(weights, name, width, hidden);
        let frequency = || FrequencyGate::read(weights, name, width, hidden);
        Ok(MadffAdapter {
            down: layer("fc1", bottleneck, width)?,
            up: layer("fc2", width, bottleneck)?,
            channel: keys.channel_gate.then(channel).transpose()?,
            spatial: keys.spatial_gate.then(|| SpatialGate::read(weights, name)).transpose()?,
            frequency: keys.frequency_gate.then(frequency).transpose()?,
            token_weights: keys.token_weights,
            stream_weights: keys.stream_weights,
        })
    }

    fn reads_spectrum(keys: &MadffKeys) -> bool {
        keys.frequency_gate
    }

    /// With `f` the way down, `ca`, `sa` and `fa` the gated rows and the default weights:
    /// `tokens = 0.4 f(x) + 0.2 f(ca) + 0.2 f(sa) + 0.2 f(fa)` and
    /// `stream = 0.3 up(tokens) + 0.2 ca + 0.2 sa + 0.3 fa`. A gate that is off is 1.
    ///
    /// `sa` is `ca` times one positive number a token, and LeakyReLU commutes with that: `f(sa)` costs
    /// no product. For t rows: 2 t c (4 d + 4 hidden) FLOP, d of them less without the stream, and
    /// 4 c (2 d + 4 hidden) bytes of weights.
    fn forward(&self, tile: &Tile, wants_stream: bool) -> Result<Adapted, MadffError> {
        let (width, n_rows) = (tile.width, tile.n_rows());
        let channel = self.channel.as_ref().map(|gate| gate.forward(tile.rows)).transpose()?;
        let frequency = self.frequency.as_ref();
        let frequency =
            frequency.map(|gate| gate.forward(tile.rows, &tile.magnitudes)).transpose()?;
        let ca = rows_of(channel.as_ref(), tile);
        let spatial = match &self.spatial {
            Some(gate) => gate.forward(ca, width),
            None => vec![1.0; n_rows],
        };
        let [of_x, of_ca, of_sa, of_fa] = self.token_weights;
        let [of_up, up_ca, up_sa, up_fa] = self.stream_weights;
        let scaled = |once: f32, gated: f32| spatial.iter().map(|s| once + gated * s).collect();
        let (even, none) = (|weight: f32| vec![weight; n_rows], vec![0.0; n_rows]);
        let branches = [
            Branch { rows: tile.rows, in_tokens: even(of_x), in_stream: none },
            Branch { rows: ca, in_tokens: scaled(of_ca, of_sa), in_stream: scaled(up_ca, up_sa) },
            Branch {
                rows: rows_of(frequency.as_ref(), tile),
                in_tokens: even(of_fa),
                in_stream: even(up_fa),
            },
        ];
        let mut tokens = vec![0.0; n_rows * self.down.n_out()];
        for branch in branches.iter().filter(|branch| branch.in_tokens.iter().any(|w| *w != 0.0)) {
            let mut down = self.down.forward(branch.rows)?;
            leaky_relu(&mut down);
            add_rows(&mut tokens, &down, &branch.in_tokens, self.down.n_out());
        }
        if !wants_stream {
            return Ok(Adapted { tokens, stream: None });
        }
        let mut stream = self.up.forward(&tokens)?;
        leaky_relu(&mut stream);
        stream.iter_mut().for_each(|x| *x *= of_up);
        for branch in &branches {
            add_rows(&mut stream, branch.rows, &branch.in_stream, width);
        }
        Ok(Adapted { tokens, stream: Some(stream) })
    }
}

/// A gate that is off lets the rows through.
fn rows_of<'a>(gated: Option<&'a Gated>, tile: &'a Tile<'_>) -> &'a [f32] {
    gated.map_or(tile.rows, |gated| &gated.rows)
}

/// `sums += rows`, each row times its own weight. A weight of 0 adds nothing, whatever the row holds.
fn add_rows(sums: &mut [f32], rows: &[f32], weights: &[f32], width: usize) {
    let width = width.max(1);
    for ((sums, row), weight) in
        sums.chunks_exact_mut(width).zip(rows.chunks_exact(width)).zip(weights)
    {
        if *weight != 0.0 {
            sums.iter_mut().zip(row).for_each(|(sum, x)| *sum += weight * x);
        }
    }
}
