//! The three gates of MADFF, in the form of one image: each acts on every token by itself. A gate's
//! `forward` gives what it multiplies with beside what comes out, which is what a backward pass needs.
//! `reference` has the form for several images, which these are held against.

use crate::error::MadffError;
use crate::layers::{Linear, relu, sigmoid};
use crate::weights::Weights;

/// Taps of the spatial gate's convolution; the middle one alone meets a token of a single image.
const KERNEL: usize = 7;

/// Rows that went through a gate.
#[derive(Clone, Debug)]
pub struct Gated {
    /// `[t, c]`, or `[t]` for the spatial gate; in 0..=1.
    pub gate: Vec<f32>,
    /// `[t, c]`.
    pub rows: Vec<f32>,
}

/// Two layers that squeeze the width and stretch it again.
#[derive(Clone, Debug)]
struct Squeeze {
    inner: Linear,
    outer: Linear,
}

impl Squeeze {
    /// `name.fc.0.weight [hidden, width]` and `name.fc.2.weight [width, hidden]`; `hidden` is what a seed
    /// makes it.
    fn read(
        weights: &Weights,
        name: &str,
        width: usize,
        hidden: usize,
    ) -> Result<Self, MadffError> {
        let (inner, outer) = (format!("{name}.fc.0.weight"), format!("{name}.fc.2.weight"));
        let [hidden, _] = weights.sizes(&inner, [hidden, width])?;
        Ok(Squeeze {
            inner: Linear::read(weights, &inner, hidden, width)?,
            outer: Linear::read(weights, &outer, width, hidden)?,
        })
    }

    fn forward(&self, rows: &[f32]) -> Result<Vec<f32>, MadffError> {
        let mut hidden = self.inner.forward(rows)?;
        relu(&mut hidden);
        self.outer.forward(&hidden)
    }
}

/// The channel gate `SCA`: `sigmoid(2 A2 relu(A1 x)) * x`.
#[derive(Clone, Debug)]
pub struct ChannelGate(Squeeze);

impl ChannelGate {
    /// `name.channel_attention.fc.{0,2}.weight`. Errors: as `Weights::tensor`.
    pub fn read(w: &Weights, name: &str, width: usize, hidden: usize) -> Result<Self, MadffError> {
        Ok(ChannelGate(Squeeze::read(w, &format!("{name}.channel_attention"), width, hidden)?))
    }

    /// `rows [t, c]`; f32. 4 t c hidden FLOP. Mean and maximum over one image are the token itself, so
    /// that both ways through the layers are equal and add up to twice one.
    pub fn forward(&self, rows: &[f32]) -> Result<Gated, MadffError> {
        let mut gate = self.0.forward(rows)?;
        gate.iter_mut().for_each(|x| *x = sigmoid(2.0 * *x));
        let rows = gate.iter().zip(rows).map(|(gate, x)| gate * x).collect();
        Ok(Gated { gate, rows })
    }
}

/// The spatial gate `LLSPM`: one number a token from the mean and maximum of its channels.
#[derive(Clone, Debug)]
pub struct SpatialGate {
    of_mean: f32,
    of_max: f32,
    bias: f32,
}

impl SpatialGate {
    /// `name.spatial_attention.conv.weight [1, 2, 7]` and `.bias [1]`. Errors: as `Weights::tensor`.
    pub fn read(weights: &Weights, name: &str) -> Result<Self, MadffError> {
        let read = |part: &str, shape: &[usize]| {
            weights.uniform(&format!("{name}.spatial_attention.conv.{part}"), shape, 2 * KERNEL)
        };
        let (kernel, bias) = (read("weight", &[1, 2, KERNEL])?, read("bias", &[1])?);
        let at = |index: usize| kernel.get(index).copied().unwrap_or_default();
        Ok(SpatialGate {
            of_mean: at(KERNEL / 2),
            of_max: at(KERNEL + KERNEL / 2),
            bias: bias.first().copied().unwrap_or_default(),
        })
    }

    /// `rows [t, width]` that went through the channel gate -> `[t]` in 0..=1; sums in f64.
    pub fn forward(&self, rows: &[f32], width: usize) -> Vec<f32> {
        let gate = |row: &[f32]| {
            let mean = row.iter().map(|x| f64::from(*x)).sum::<f64>() / row.len() as f64;
            let max = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            sigmoid(self.of_mean * mean as f32 + self.of_max * max + self.bias)
        };
        rows.chunks_exact(width.max(1)).map(gate).collect()
    }
}

/// The frequency gate `FAB`: `sigmoid(F2 relu(F1 |FFT x|)) * x`, a frequency's number for a channel.
#[derive(Clone, Debug)]
pub struct FrequencyGate(Squeeze);

impl FrequencyGate {
    /// `name.frequency_attention.fc.{0,2}.weight`. Errors: as `Weights::tensor`.
    pub fn read(w: &Weights, name: &str, width: usize, hidden: usize) -> Result<Self, MadffError> {
        Ok(FrequencyGate(Squeeze::read(w, &format!("{name}.frequency_attention"), width, hidden)?))
    }

    /// `rows [t, c]` and their `magnitudes [t, c]` (`Spectrum`); f32. 4 t c hidden FLOP.
    pub fn forward(&self, rows: &[f32], magnitudes: &[f32]) -> Result<Gated, MadffError> {
        let mut gate = self.0.forward(magnitudes)?;
        gate.iter_mut().for_each(|x| *x = sigmoid(*x));
        let rows = gate.iter().zip(rows).map(|(gate, x)| gate * x).collect();
        Ok(Gated { gate, rows })
    }
}
