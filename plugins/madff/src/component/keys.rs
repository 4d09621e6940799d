//! The keys of the three components, and what they mean together.

use loupe_kernels::{Isa, Precision};
use loupe_plugin::prelude::*;

use crate::madff::MadffKeys;
use crate::weights::Weights;

/// Width of the tokens that a seed draws: that of ViT-L/14's text.
const BOTTLENECK: usize = 768;

/// A set of adapters with a purpose of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Schema)]
#[serde(rename_all = "kebab-case")]
pub enum Head {
    /// Its tokens make maps.
    Seg,
    /// Its tokens make scores.
    Det,
}

impl Head {
    pub fn name(self) -> &'static str {
        match self {
            Head::Seg => "seg",
            Head::Det => "det",
        }
    }

    /// The outputs of its patches and of what stands before them.
    pub fn outputs(self) -> [&'static str; 2] {
        match self {
            Head::Seg => ["seg_tokens", "seg_prefix"],
            Head::Det => ["det_tokens", "det_prefix"],
        }
    }
}

/// What products are rounded to; their sums are f32 in all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Schema)]
#[serde(rename_all = "kebab-case")]
pub enum PrecisionKey {
    #[default]
    F32,
    Bf16,
    /// `bf16` where the CPU multiplies tiles of it, else `f32`.
    Auto,
}

/// Gated bottleneck adapters on an encoder's taps.
#[derive(Clone, Deserialize, Schema)]
#[serde(deny_unknown_fields)]
pub struct MadffConfig {
    /// The taps that the pass is stepped over; adapter j stands at the j-th.
    #[serde(default)]
    at: Vec<u32>,
    /// Heads, each with adapters of its own.
    #[schema(min_items = 1, max_items = 2)]
    #[serde(default = "both")]
    heads: Vec<Head>,
    /// Shares in the stream that flows on: of the stream itself, then of each head.
    #[schema(min_items = 2, max_items = 3)]
    #[serde(default = "mix")]
    mix: Vec<f32>,
    /// A safetensors file of trained adapters, or a checkpoint that the original wrote.
    #[schema(file)]
    state: Option<String>,
    /// Draws adapters that have learned nothing, in place of `state`.
    seed: Option<u64>,
    /// Channels of the tokens that a seed draws, 768 if left out; those of the text.
    #[schema(min = 1)]
    bottleneck: Option<usize>,
    /// Channels of the stream for each hidden one of a gate that a seed draws.
    #[schema(min = 1)]
    #[serde(default = "reduction")]
    reduction: usize,
    /// Tokens before the patches (CLS, registers): 1 for `clip` and `gem`.
    #[schema(max = 64)]
    #[serde(default = "one")]
    n_prefix: usize,
    /// What a run's products are rounded to; training computes in f32. `bf16` is several times faster
    /// where the CPU multiplies tiles of it, and `auto` is `bf16` there and `f32` elsewhere.
    #[serde(default)]
    precision: PrecisionKey,
    /// Off: the channel gate is 1.
    #[serde(default = "on")]
    channel_gate: bool,
    /// Off: the spatial gate is 1.
    #[serde(default = "on")]
    spatial_gate: bool,
    /// Off: the frequency gate is 1.
    #[serde(default = "on")]
    frequency_gate: bool,
    /// In the tokens: weights of the plain rows, then of those behind the channel, spatial and
    /// frequency gate.
    #[serde(default = "token_weights")]
    token_weights: [f32; 4],
    /// In what flows back: weights of the stretched tokens, then of the rows behind the channel,
    /// spatial and frequency gate.
    #[serde(default = "stream_weights")]
    stream_weights: [f32; 4],
}

/// Bottleneck adapters on an encoder's taps.
#[derive(Clone, Deserialize, Schema)]
#[serde(deny_unknown_fields)]
pub struct MvfaConfig {
    /// The taps that the pass is stepped over; adapter j stands at the j-th.
    #[serde(default)]
    at: Vec<u32>,
    /// Heads, each with adapters of its own.
    #[schema(min_items = 1, max_items = 2)]
    #[serde(default = "both")]
    heads: Vec<Head>,
    /// Shares in the stream that flows on: of the stream itself, then of each head.
    #[schema(min_items = 2, max_items = 3)]
    #[serde(default = "mix")]
    mix: Vec<f32>,
    /// A safetensors file of trained adapters, or a checkpoint that the original wrote.
    #[schema(file)]
    state: Option<String>,
    /// Draws adapters that have learned nothing, in place of `state`.
    seed: Option<u64>,
    /// Channels of the tokens that a seed draws, 768 if left out; those of the text.
    #[schema(min = 1)]
    bottleneck: Option<usize>,
    /// Tokens before the patches (CLS, registers): 1 for `clip` and `gem`.
    #[schema(max = 64)]
    #[serde(default = "one")]
    n_prefix: usize,
    /// What a run's products are rounded to; training computes in f32. `bf16` is several times faster
    /// where the CPU multiplies tiles of it, and `auto` is `bf16` there and `f32` elsewhere.
    #[serde(default)]
    precision: PrecisionKey,
}

/// Projections of an encoder's taps, which runs on unchanged.
#[derive(Clone, Deserialize, Schema)]
#[serde(deny_unknown_fields)]
pub struct ProjectorConfig {
    /// The taps that the pass is stepped over; projector j stands at the j-th.
    #[serde(default)]
    at: Vec<u32>,
    /// Heads, each with projectors of its own.
    #[schema(min_items = 1, max_items = 2)]
    #[serde(default = "both")]
    heads: Vec<Head>,
    /// A safetensors file of trained projectors.
    #[schema(file)]
    state: Option<String>,
    /// Draws projectors that have learned nothing, in place of `state`.
    seed: Option<u64>,
    /// Channels of the tokens that a seed draws, 768 if left out; those of the text.
    #[schema(min = 1)]
    bottleneck: Option<usize>,
    /// Tokens before the patches (CLS, registers): 1 for `clip` and `gem`.
    #[schema(max = 64)]
    #[serde(default = "one")]
    n_prefix: usize,
    /// What a run's products are rounded to; training computes in f32. `bf16` is several times faster
    /// where the CPU multiplies tiles of it, and `auto` is `bf16` there and `f32` elsewhere.
    #[serde(default)]
    precision: PrecisionKey,
}

fn both() -> Vec<Head> {
    vec![Head::Seg, Head::Det]
}

fn mix() -> Vec<f32> {
    vec![0.8, 0.1, 0.1]
}

fn reduction() -> usize {
    16
}

fn one() -> usize {
    1
}

fn on() -> bool {
    true
}

fn token_weights() -> [f32; 4] {
    [0.4, 0.2, 0.2, 0.2]
}

fn stream_weights() -> [f32; 4] {
    [0.3, 0.2, 0.2, 0.3]
}

impl MadffConfig {
    /// Errors: `Config` for keys that contradict each other.
    pub fn split(self) -> Result<(Common, MadffKeys)> {
        let keys = MadffKeys {
            channel_gate: self.channel_gate,
            spatial_gate: self.spatial_gate,
            frequency_gate: self.frequency_gate,
            token_weights: self.token_weights,
            stream_weights: self.stream_weights,
            reduction: self.reduction,
        };
        for (key, weights) in
            [("token_weights", keys.token_weights), ("stream_weights", keys.stream_weights)]
        {
            if let Some(weight) = weights.iter().find(|weight| !weight.is_finite()) {
                return Err(Error::config(format!("`{key}` wants finite numbers, got {weight}")));
            }
        }
        let MadffConfig { at, heads, mix, state, seed, bottleneck, n_prefix, precision, .. } = self;
        Ok((
            Common { at, heads, mix, state, seed, bottleneck, n_prefix, precision }.judged()?,
            keys,
        ))
    }
}

impl MvfaConfig {
    /// Errors: as `MadffConfig::split`.
    pub fn common(self) -> Result<Common> {
        let MvfaConfig { at, heads, mix, state, seed, bottleneck, n_prefix, precision } = self;
        Common { at, heads, mix, state, seed, bottleneck, n_prefix, precision }.judged()
    }
}

impl ProjectorConfig {
    /// Errors: as `MadffConfig::split`.
    pub fn common(self) -> Result<Common> {
        let ProjectorConfig { at, heads, state, seed, bottleneck, n_prefix, precision } = self;
        let mix = [1.0].into_iter().chain(heads.iter().map(|_| 0.0)).collect();
        Common { at, heads, mix, state, seed, bottleneck, n_prefix, precision }.judged()
    }
}

/// The keys of all three.
pub struct Common {
    pub at: Vec<u32>,
    pub heads: Vec<Head>,
    mix: Vec<f32>,
    state: Option<String>,
    seed: Option<u64>,
    bottleneck: Option<usize>,
    pub n_prefix: usize,
    precision: PrecisionKey,
}

impl Common {
    /// Errors: `Config` for an unknown `LOUPE_CPU`.
    pub fn precision(&self) -> Result<Precision> {
        Ok(match self.precision {
            PrecisionKey::F32 => Precision::F32,
            PrecisionKey::Bf16 => Precision::Bf16,
            PrecisionKey::Auto => Isa::best().map_err(Error::config)?.quick_precision(),
        })
    }

    fn judged(self) -> Result<Self> {
        if let [first, second] = self.heads.as_slice()
            && first == second
        {
            return Err(Error::config(format!("`heads` names `{}` twice", first.name())));
        }
        let n_shares = 1 + self.heads.len();
        if self.mix.len() != n_shares || self.mix.iter().any(|share| !share.is_finite()) {
            return Err(Error::config(format!(
                "`mix` wants {n_shares} finite shares, of the stream and of each of `heads`, got {:?}",
                self.mix
            )));
        }
        match (&self.state, self.seed) {
            (Some(_), Some(_)) => Err(Error::config(
                "`state` and `seed` both say what the adapters are; leave one out",
            )),
            (None, None) => Err(Error::config(
                "the adapters come from nowhere; name trained ones by `state = \"FILE.safetensors\"`, \
                 or draw untrained ones by `seed = 0`",
            )),
            _ => Ok(self),
        }
    }

    /// Errors: the host's, `Format`.
    pub fn weights(&self, host: &Host) -> Result<Weights<'static>> {
        match (&self.state, self.seed) {
            (Some(file), _) => Weights::open(file, host),
            (None, seed) => Ok(Weights::Seed(seed.unwrap_or_default())),
        }
    }

    pub fn drawn_bottleneck(&self) -> usize {
        self.bottleneck.unwrap_or(BOTTLENECK)
    }

    /// Errors: `Config` if the key `bottleneck` is not what a file has.
    pub fn agrees(&self, bottleneck: usize) -> Result<()> {
        match self.bottleneck {
            Some(key) if key != bottleneck => Err(Error::config(format!(
                "`bottleneck` is {key}, but the adapters of `state` have {bottleneck}; leave it out"
            ))),
            _ => Ok(()),
        }
    }

    pub fn head_names(&self) -> Vec<&'static str> {
        self.heads.iter().map(|head| head.name()).collect()
    }

    /// Shares of the stream and of each head.
    pub fn mix(&self) -> Option<(f32, &[f32])> {
        self.mix.split_first().map(|(kept, shares)| (*kept, shares))
    }

    /// Whether the stream flows on as it came, bit by bit.
    pub fn passes(&self) -> bool {
        self.mix().is_none_or(|(kept, shares)| kept == 1.0 && shares.iter().all(|s| *s == 0.0))
    }

    /// Which of `at` a stream is of. Errors: `Input` for a tap that is not among them.
    pub fn tap_idx(&self, label: Label) -> Result<usize> {
        self.at.iter().position(|tap| label.tap == Some(*tap)).ok_or_else(|| {
            let got = label.tap.map_or("no tap".to_owned(), |tap| format!("tap {tap}"));
            Error::input(format!("`stream` is of {got}, but `at` is {:?}", self.at))
        })
    }
}
