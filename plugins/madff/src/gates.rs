//! The three gates of MADFF, in the form of one image: each acts on every token by itself. A gate's
//! `forward` gives what it multiplies with beside what comes out, which is what `pull_back` needs.
//! `reference` has the form for several images, which these are held against.

use loupe_kernels::{sigmoid, sigmoids, vectorised};

use crate::error::MadffError;
use crate::gradient::{Parameter, Share};
use crate::layers::{Linear, multiply, relu};
use crate::weights::Weights;

/// Taps of the spatial gate's convolution; the middle one alone meets a token of a single image.
const KERNEL: usize = 7;

/// Rows that went through a gate.
#[derive(Clone, Debug)]
pub struct Gated {
    /// `[t, c]`; in 0..=1.
    pub gate: Vec<f32>,
    /// `[t, c]`.
    pub rows: Vec<f32>,
    /// `[t, hidden]`, between the gate's two layers.
    pub hidden: Vec<f32>,
}

/// The way back through a gate.
pub struct Ungated<'a> {
    /// `[t, c]`, the cotangents of the rows it multiplied.
    pub rows: Vec<f32>,
    /// `[t, c]`, the cotangents of what its layers read.
    pub read: Vec<f32>,
    pub shares: [Share<'a>; 2],
}

/// Two layers that squeeze the width and stretch it again.
struct Squeeze {
    inner: Linear,
    outer: Linear,
}

impl Squeeze {
    /// The tensors `names [hidden, width]` and `[width, hidden]`; `hidden` is what a seed makes it.
    fn read(
        weights: &Weights,
        adapter: &str,
        [inner, outer]: [&'static str; 2],
        [width, hidden]: [usize; 2],
    ) -> Result<Self, MadffError> {
        let [hidden, _] = weights.sizes(&format!("{adapter}.{inner}"), [hidden, width])?;
        Ok(Squeeze {
            inner: Linear::read(weights, adapter, inner, [hidden, width])?,
            outer: Linear::read(weights, adapter, outer, [width, hidden])?,
        })
    }

    /// Rows times `sigmoid(gain * outer relu(inner read))`.
    fn gate(&self, rows: &[f32], read: &[f32], gain: f32) -> Result<Gated, MadffError> {
        let mut hidden = self.inner.forward(read)?;
        relu(&mut hidden);
        let mut gate = self.outer.forward(&hidden)?;
        sigmoids(&mut gate, gain);
        let mut rows = rows.to_vec();
        multiply(&mut rows, &gate);
        Ok(Gated { gate, rows, hidden })
    }

    fn pull_back<'a>(
        &self,
        gated: &'a Gated,
        [rows, read]: [&'a [f32]; 2],
        gain: f32,
        cotangents: &[f32],
    ) -> Result<Ungated<'a>, MadffError> {
        let given = cotangents.iter().zip(&gated.gate);
        let stretched: Vec<f32> =
            given.clone().zip(rows).map(|((c, g), x)| gain * c * x * g * (1.0 - g)).collect();
        let mut hidden = self.outer.pull_back(&stretched)?;
        for (cotangent, hidden) in hidden.iter_mut().zip(&gated.hidden) {
            *cotangent = if *hidden > 0.0 { *cotangent } else { 0.0 };
        }
        Ok(Ungated {
            rows: given.map(|(c, g)| c * g).collect(),
            read: self.inner.pull_back(&hidden)?,
            shares: [
                self.inner.share(hidden, read),
                self.outer.share(stretched, gated.hidden.as_slice()),
            ],
        })
    }
}

/// The channel gate `SCA`: `sigmoid(2 A2 relu(A1 x)) * x`.
pub struct ChannelGate(Squeeze);

impl ChannelGate {
    const NAMES: [&'static str; 2] =
        ["channel_attention.fc.0.weight", "channel_attention.fc.2.weight"];
    /// Mean and maximum over one image are the token itself, so that both ways through the layers are
    /// equal and add up to twice one.
    const GAIN: f32 = 2.0;

    /// `adapter.channel_attention.fc.{0,2}.weight`. Errors: as `Weights::tensor`.
    pub fn read(w: &Weights, adapter: &str, sizes: [usize; 2]) -> Result<Self, MadffError> {
        Ok(ChannelGate(Squeeze::read(w, adapter, Self::NAMES, sizes)?))
    }

    /// `rows [t, c]`; f32. 4 t c hidden FLOP.
    pub fn forward(&self, rows: &[f32]) -> Result<Gated, MadffError> {
        self.0.gate(rows, rows, Self::GAIN)
    }

    /// From the cotangents `[t, c]` of the gated rows. Errors: `Kernel`.
    pub fn pull_back<'a>(
        &self,
        gated: &'a Gated,
        rows: &'a [f32],
        cotangents: &[f32],
    ) -> Result<Ungated<'a>, MadffError> {
        self.0.pull_back(gated, [rows, rows], Self::GAIN, cotangents)
    }

    pub fn layers(&mut self) -> [&mut Linear; 2] {
        [&mut self.0.inner, &mut self.0.outer]
    }

    pub fn parameters(&self) -> [Parameter<'_>; 2] {
        [self.0.inner.parameter(), self.0.outer.parameter()]
    }
}

/// The spatial gate `LLSPM`: one number a token from the mean and maximum of its channels.
#[derive(Clone, Debug)]
pub struct SpatialGate {
    /// `[1, 2, 7]`: of the mean, then of the maximum.
    kernel: Vec<f32>,
    /// `[1]`
    bias: Vec<f32>,
}

impl SpatialGate {
    const NAMES: [&'static str; 2] =
        ["spatial_attention.conv.weight", "spatial_attention.conv.bias"];
    const SHAPE: [usize; 3] = [1, 2, KERNEL];

    /// `adapter.spatial_attention.conv.weight [1, 2, 7]` and `.bias [1]`. Errors: as `Weights::tensor`.
    pub fn read(weights: &Weights, adapter: &str) -> Result<Self, MadffError> {
        let read = |name: &str, shape: &[usize]| {
            weights.uniform(&format!("{adapter}.{name}"), shape, 2 * KERNEL)
        };
        let [weight, bias] = Self::NAMES;
        Ok(SpatialGate { kernel: read(weight, &Self::SHAPE)?, bias: read(bias, &[1])? })
    }

    /// `rows [t, width]` that went through the channel gate -> `[t]` in 0..=1; sums in f64.
    pub fn forward(&self, rows: &[f32], width: usize) -> Vec<f32> {
        let [of_mean, of_max] = self.weights();
        let bias = self.bias.first().copied().unwrap_or_default();
        let gate = |row: &[f32]| {
            let (mean, max) = pooled(row);
            sigmoid(of_mean * mean + of_max * max + bias)
        };
        rows.chunks_exact(width.max(1)).map(gate).collect()
    }

    /// From the cotangents `[t]` of the gate: adds those of the `rows`, and gives the shares. The maximum's
    /// goes to the first channel that has it; taps that meet no token get 0.
    pub fn pull_back(
        &self,
        gate: &[f32],
        rows: &[f32],
        cotangents: &[f32],
        of_rows: &mut [f32],
    ) -> [Share<'static>; 2] {
        let width = rows.len().checked_div(gate.len()).unwrap_or(0).max(1);
        let [of_mean, of_max] = self.weights();
        let given: Vec<f32> =
            cotangents.iter().zip(gate).map(|(c, gate)| c * gate * (1.0 - gate)).collect();
        let mut met = Vec::with_capacity(gate.len() * 2 * KERNEL);
        for ((row, of_row), given) in
            rows.chunks_exact(width).zip(of_rows.chunks_exact_mut(width)).zip(&given)
        {
            let (mean, max) = pooled(row);
            let level = given * of_mean / width as f32;
            of_row.iter_mut().for_each(|x| *x += level);
            let peak = row.iter().position(|x| *x == max);
            if let Some(x) = peak.and_then(|peak| of_row.get_mut(peak)) {
                *x += given * of_max;
            }
            let mut line = [0.0; 2 * KERNEL];
            (line[KERNEL / 2], line[KERNEL + KERNEL / 2]) = (mean, max);
            met.extend(line);
        }
        let [weight, bias] = Self::NAMES;
        let (shape, ones) = (Self::SHAPE.to_vec(), vec![1.0; gate.len()]);
        [
            Share { name: weight, shape, cotangents: given.clone(), rows: met.into() },
            Share { name: bias, shape: vec![1], cotangents: given, rows: ones.into() },
        ]
    }

    pub fn parameters(&self) -> [Parameter<'_>; 2] {
        let [weight, bias] = Self::NAMES;
        [
            Parameter { name: weight, shape: Self::SHAPE.to_vec(), values: &self.kernel },
            Parameter { name: bias, shape: vec![1], values: &self.bias },
        ]
    }

    /// Of the mean and of the maximum.
    fn weights(&self) -> [f32; 2] {
        let at = |index: usize| self.kernel.get(index).copied().unwrap_or_default();
        [at(KERNEL / 2), at(KERNEL + KERNEL / 2)]
    }
}

/// The frequency gate `FAB`: `sigmoid(F2 relu(F1 |FFT x|)) * x`, a frequency's number for a channel.
pub struct FrequencyGate(Squeeze);

impl FrequencyGate {
    const NAMES: [&'static str; 2] =
        ["frequency_attention.fc.0.weight", "frequency_attention.fc.2.weight"];

    /// `adapter.frequency_attention.fc.{0,2}.weight`. Errors: as `Weights::tensor`.
    pub fn read(w: &Weights, adapter: &str, sizes: [usize; 2]) -> Result<Self, MadffError> {
        Ok(FrequencyGate(Squeeze::read(w, adapter, Self::NAMES, sizes)?))
    }

    /// `rows [t, c]` and their `magnitudes [t, c]` (`Spectrum`); f32. 4 t c hidden FLOP.
    pub fn forward(&self, rows: &[f32], magnitudes: &[f32]) -> Result<Gated, MadffError> {
        self.0.gate(rows, magnitudes, 1.0)
    }

    /// From the cotangents `[t, c]` of the gated rows; `read` is of the magnitudes. Errors: `Kernel`.
    pub fn pull_back<'a>(
        &self,
        gated: &'a Gated,
        rows: &'a [f32],
        magnitudes: &'a [f32],
        cotangents: &[f32],
    ) -> Result<Ungated<'a>, MadffError> {
        self.0.pull_back(gated, [rows, magnitudes], 1.0, cotangents)
    }

    pub fn layers(&mut self) -> [&mut Linear; 2] {
        [&mut self.0.inner, &mut self.0.outer]
    }

    pub fn parameters(&self) -> [Parameter<'_>; 2] {
        [self.0.inner.parameter(), self.0.outer.parameter()]
    }
}

vectorised! {
    /// Mean and maximum. Sums of every eighth number run side by side.
    fn pooled(row: &[f32]) -> (f32, f32) {
        const LANES: usize = 8;
        let (mut sums, mut highest) = ([0.0_f64; LANES], [f32::NEG_INFINITY; LANES]);
        let (chunks, rest) = row.as_chunks::<LANES>();
        for chunk in chunks {
            for lane in 0..LANES {
                sums[lane] += f64::from(chunk[lane]);
                highest[lane] = if chunk[lane] > highest[lane] { chunk[lane] } else { highest[lane] };
            }
        }
        for (lane, x) in rest.iter().enumerate() {
            sums[lane] += f64::from(*x);
            highest[lane] = if *x > highest[lane] { *x } else { highest[lane] };
        }
        let mean = sums.iter().sum::<f64>() / row.len() as f64;
        (mean as f32, highest.into_iter().fold(f32::NEG_INFINITY, f32::max))
    }
}
