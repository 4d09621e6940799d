//! MADFF: three gates around a bottleneck. Source: ClipMPCAD's `mdecoder.py`; its paper's figure shows
//! plain sums, the weights below are what runs.

use crate::bank::{Adapted, Adapter, Cotangents, Kept, PulledBack, Tile};
use crate::error::MadffError;
use crate::gates::{ChannelGate, FrequencyGate, Gated, SpatialGate};
use crate::gradient::{Parameter, Share};
use crate::layers::{Linear, add_to, add_weighed, leaky_relu, leaky_slope, sum_of_products};
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
pub struct MadffAdapter {
    down: Linear,
    up: Linear,
    channel: Option<ChannelGate>,
    spatial: Option<SpatialGate>,
    frequency: Option<FrequencyGate>,
    token_weights: [f32; 4],
    stream_weights: [f32; 4],
}

/// What the way back needs of the way forth.
pub struct MadffTape {
    channel: Option<Gated>,
    /// `[t]`; ones if the gate is off.
    spatial: Vec<f32>,
    frequency: Option<Gated>,
    /// The branches that are in the tokens, one behind the other, `[t, bottleneck]` each, behind
    /// LeakyReLU.
    down: Vec<f32>,
    /// `[t, width]`, behind LeakyReLU, if the stream was asked for.
    up: Option<Vec<f32>>,
}

/// Rows on their way into the bottleneck, with the weight of each row in the tokens and in the stream.
struct Branch<'a> {
    rows: &'a [f32],
    /// Whether the spatial gate is in the weights.
    is_gated: bool,
    in_tokens: Vec<f32>,
    in_stream: Vec<f32>,
}

impl Branch<'_> {
    fn is_in_tokens(&self) -> bool {
        self.in_tokens.iter().any(|weight| *weight != 0.0)
    }
}

impl Adapter for MadffAdapter {
    type Keys = MadffKeys;
    type Tape = MadffTape;
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
        let channel = || ChannelGate::read(weights, name, [width, hidden]);
        let frequency = || FrequencyGate::read(weights, name, [width, hidden]);
        Ok(MadffAdapter {
            down: Linear::read(weights, name, "fc1.0.weight", [bottleneck, width])?,
            up: Linear::read(weights, name, "fc2.0.weight", [width, bottleneck])?,
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
    /// no product. The other three ways down are one product, which reads the weights once. For t rows:
    /// 2 t c (4 d + 4 hidden) FLOP, d of them less without the stream, and 4 c (2 d + 4 hidden) bytes of
    /// weights.
    fn forward(&self, tile: &Tile, wants_stream: bool) -> Result<Adapted<MadffTape>, MadffError> {
        let n_rows = tile.n_rows();
        let channel = self.channel.as_ref().map(|gate| gate.forward(tile.rows)).transpose()?;
        let frequency = self.frequency.as_ref();
        let frequency =
            frequency.map(|gate| gate.forward(tile.rows, &tile.magnitudes)).transpose()?;
        let spatial = match &self.spatial {
            Some(gate) => gate.forward(rows_of(channel.as_ref(), tile), tile.width),
            None => vec![1.0; n_rows],
        };
        let mut tape = MadffTape { channel, spatial, frequency, down: Vec::new(), up: None };
        let branches = self.branches(tile, &tape);
        let mut down = self.down.forward(&stacked(&branches))?;
        leaky_relu(&mut down);
        let n_tokens = n_rows * self.down.n_out();
        let mut tokens = vec![0.0; n_tokens];
        let lowered = down.chunks_exact(n_tokens.max(1));
        for (branch, down) in branches.iter().filter(|b| b.is_in_tokens()).zip(lowered) {
            add_rows(&mut tokens, down, &branch.in_tokens, self.down.n_out());
        }
        let up = || {
            let mut up = self.up.forward(&tokens)?;
            leaky_relu(&mut up);
            Ok::<_, MadffError>(up)
        };
        let up = wants_stream.then(up).transpose()?;
        let stream = up.as_ref().map(|up| {
            let mut stream: Vec<f32> = up.iter().map(|x| self.stream_weights[0] * x).collect();
            for branch in &branches {
                add_rows(&mut stream, branch.rows, &branch.in_stream, tile.width);
            }
            stream
        });
        (tape.down, tape.up) = (down, up);
        Ok(Adapted { tokens, stream, tape })
    }

    fn pull_back<'a>(
        &'a self,
        tile: &'a Tile<'a>,
        kept: &'a Kept<MadffTape>,
        cotangents: Cotangents<'_>,
    ) -> Result<PulledBack<'a>, MadffError> {
        let tape = &kept.tape;
        let branches = self.branches(tile, tape);
        let mut shares = Vec::new();
        let mut of = Way {
            tokens: cotangents.tokens_or_zeros(&kept.tokens),
            spatial: vec![0.0; tile.n_rows()],
            branches: [(); 3].map(|()| vec![0.0; tile.rows.len()]),
        };
        if let (Some(given), Some(up)) = (cotangents.stream, &tape.up) {
            let weight = self.stream_weights[0];
            let lines = given.iter().zip(up);
            let of_up: Vec<f32> = lines.map(|(c, up)| weight * c * leaky_slope(*up)).collect();
            add_to(&mut of.tokens, &self.up.pull_back(&of_up)?);
            shares.push(self.up.share(of_up, kept.tokens.as_slice()));
            of.take_stream(given, &branches, self.stream_weights[2], tile.width);
        }
        shares.push(self.lift(&mut of, &branches, &tape.down)?);
        let Way { spatial, branches: [mut rows, mut of_ca, of_fa], .. } = of;
        if let Some(gate) = &self.spatial {
            let [_, ca, _] = &branches;
            shares.extend(gate.pull_back(&tape.spatial, ca.rows, &spatial, &mut of_ca));
        }
        match (&self.channel, &tape.channel) {
            (Some(gate), Some(gated)) => {
                let ungated = gate.pull_back(gated, tile.rows, &of_ca)?;
                add_to(&mut rows, &ungated.rows);
                add_to(&mut rows, &ungated.read);
                shares.extend(ungated.shares);
            }
            _ => add_to(&mut rows, &of_ca),
        }
        let (Some(gate), Some(gated)) = (&self.frequency, &tape.frequency) else {
            add_to(&mut rows, &of_fa);
            return Ok(PulledBack { rows, magnitudes: None, shares });
        };
        let ungated = gate.pull_back(gated, tile.rows, &tile.magnitudes, &of_fa)?;
        add_to(&mut rows, &ungated.rows);
        shares.extend(ungated.shares);
        Ok(PulledBack { rows, magnitudes: Some(ungated.read), shares })
    }

    fn layers(&mut self) -> Vec<&mut Linear> {
        let gates = self.channel.iter_mut().flat_map(ChannelGate::layers);
        let gates = gates.chain(self.frequency.iter_mut().flat_map(FrequencyGate::layers));
        [&mut self.down, &mut self.up].into_iter().chain(gates).collect()
    }

    fn parameters(&self) -> Vec<Parameter<'_>> {
        let layers = [self.down.parameter(), self.up.parameter()].into_iter();
        let channel = self.channel.iter().flat_map(ChannelGate::parameters);
        let spatial = self.spatial.iter().flat_map(SpatialGate::parameters);
        let frequency = self.frequency.iter().flat_map(FrequencyGate::parameters);
        layers.chain(channel).chain(spatial).chain(frequency).collect()
    }
}

impl MadffAdapter {
    /// The plain rows, those behind the channel gate with those behind the spatial one, and those behind
    /// the frequency gate.
    fn branches<'a>(&self, tile: &'a Tile<'_>, tape: &'a MadffTape) -> [Branch<'a>; 3] {
        let [of_x, of_ca, of_sa, of_fa] = self.token_weights;
        let [_, up_ca, up_sa, up_fa] = self.stream_weights;
        let scaled =
            |once: f32, gated: f32| tape.spatial.iter().map(|s| once + gated * s).collect();
        let even = |weight: f32| vec![weight; tile.n_rows()];
        [
            Branch {
                rows: tile.rows,
                is_gated: false,
                in_tokens: even(of_x),
                in_stream: even(0.0),
            },
            Branch {
                rows: rows_of(tape.channel.as_ref(), tile),
                is_gated: true,
                in_tokens: scaled(of_ca, of_sa),
                in_stream: scaled(up_ca, up_sa),
            },
            Branch {
                rows: rows_of(tape.frequency.as_ref(), tile),
                is_gated: false,
                in_tokens: even(of_fa),
                in_stream: even(up_fa),
            },
        ]
    }

    /// From the cotangents of the tokens back up the way down, by branch.
    fn lift(
        &self,
        of: &mut Way,
        branches: &[Branch<'_>; 3],
        down: &[f32],
    ) -> Result<Share<'static>, MadffError> {
        let width = self.down.n_out().max(1);
        let mut of_down = Vec::with_capacity(down.len());
        let lowered = down.chunks_exact(of.tokens.len().max(1));
        for (branch, down) in branches.iter().filter(|b| b.is_in_tokens()).zip(lowered) {
            let lines = of.tokens.chunks_exact(width).zip(down.chunks_exact(width));
            for ((cotangents, made), weight) in lines.zip(&branch.in_tokens) {
                let line = cotangents.iter().zip(made);
                of_down.extend(line.map(|(c, made)| weight * c * leaky_slope(*made)));
            }
            if branch.is_gated {
                meet(&mut of.spatial, self.token_weights[2], [&of.tokens, down], width);
            }
        }
        let of_stacked = self.down.pull_back(&of_down)?;
        let n_rows = of.branches[0].len().max(1);
        let used = of.branches.iter_mut().zip(branches).filter(|(_, b)| b.is_in_tokens());
        for ((of_branch, _), lifted) in used.zip(of_stacked.chunks_exact(n_rows)) {
            add_to(of_branch, lifted);
        }
        Ok(self.down.share(of_down, stacked(branches)))
    }
}

/// Cotangents on their way back.
struct Way {
    /// `[t, bottleneck]`.
    tokens: Vec<f32>,
    /// `[t]`, of the spatial gate.
    spatial: Vec<f32>,
    /// `[t, width]`, of each branch's rows.
    branches: [Vec<f32>; 3],
}

impl Way {
    /// Adds what a stream's cotangents say of the branches in it; `weight` is the spatial gate's.
    fn take_stream(
        &mut self,
        given: &[f32],
        branches: &[Branch<'_>; 3],
        weight: f32,
        width: usize,
    ) {
        for (of_branch, branch) in self.branches.iter_mut().zip(branches) {
            add_rows(of_branch, given, &branch.in_stream, width);
            if branch.is_gated {
                meet(&mut self.spatial, weight, [given, branch.rows], width);
            }
        }
    }
}

/// `sums += weight * (cotangents . rows)`, token by token.
fn meet(sums: &mut [f32], weight: f32, [cotangents, rows]: [&[f32]; 2], width: usize) {
    let width = width.max(1);
    let lines = cotangents.chunks_exact(width).zip(rows.chunks_exact(width));
    for (sum, (cotangents, row)) in sums.iter_mut().zip(lines) {
        *sum += weight * sum_of_products(cotangents, row) as f32;
    }
}

/// The rows of the branches that are in the tokens, one behind the other.
fn stacked(branches: &[Branch<'_>; 3]) -> Vec<f32> {
    let used = branches.iter().filter(|branch| branch.is_in_tokens());
    used.map(|branch| branch.rows).collect::<Vec<_>>().concat()
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
            add_weighed(sums, *weight, row);
        }
    }
}
