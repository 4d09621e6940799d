//! MADFF's general form, for a stream of several images, written for reading: what the original computes
//! when images are batched, since its modules take tokens for a batch and images for a sequence. The gates
//! then mix each token with the same token of the other images. The components never do that, as an
//! image's outputs must not depend on its neighbours; their form for one image is held against this one.

use crate::layers::LEAK;

/// The numbers of one adapter, all f64; names as in a state file.
pub struct ReferenceAdapter {
    /// `fc1 [d, c]`.
    pub down: Vec<f64>,
    /// `fc2 [c, d]`.
    pub up: Vec<f64>,
    /// `channel_attention.fc.0 [hidden, c]` and `.2 [c, hidden]`.
    pub channel: [Vec<f64>; 2],
    /// `spatial_attention.conv.weight [2, 7]` and its bias.
    pub kernel: Vec<f64>,
    pub bias: f64,
    /// `frequency_attention.fc.0 [hidden, c]` and `.2 [c, hidden]`.
    pub frequency: [Vec<f64>; 2],
}

impl ReferenceAdapter {
    /// `x [l, b, c]`: l tokens of b images -> tokens `[l, b, d]` and what flows back `[l, b, c]`. f64 throughout.
    /// Wants numbers of these shapes; it is for tests and readers, and no speed is lost on checks.
    pub fn forward(&self, x: &[f64], [n_images, width]: [usize; 2]) -> [Vec<f64>; 2] {
        let mut tokens = Vec::new();
        let mut back = Vec::new();
        for token in x.chunks_exact(n_images * width) {
            let ca = self.channel_gated(token, width);
            let sa = self.spatially_gated(&ca, width);
            let fa = self.frequency_gated(token, width);
            for image in 0..n_images {
                let of = |rows: &[f64]| rows[image * width..][..width].to_vec();
                let down = |rows: &[f64]| leaky(product(&self.down, &of(rows)));
                let (fx, fca, fsa, ffa) = (down(token), down(&ca), down(&sa), down(&fa));
                let token: Vec<f64> = (0..fx.len())
                    .map(|i| 0.4 * fx[i] + 0.2 * fca[i] + 0.2 * fsa[i] + 0.2 * ffa[i])
                    .collect();
                let up = leaky(product(&self.up, &token));
                let (ca, sa, fa) = (of(&ca), of(&sa), of(&fa));
                back.extend(
                    (0..width).map(|c| 0.3 * up[c] + 0.2 * ca[c] + 0.2 * sa[c] + 0.3 * fa[c]),
                );
                tokens.extend(token);
            }
        }
        [tokens, back]
    }

    /// Mean and maximum over the images, through the same two layers.
    fn channel_gated(&self, token: &[f64], width: usize) -> Vec<f64> {
        let squeeze = |pooled: Vec<f64>| squeezed(&self.channel, &pooled);
        let (mean, max) = (squeeze(mean_of(token, width)), squeeze(max_of(token, width)));
        let gate = |c: usize| sigmoid(mean[c] + max[c]);
        token.iter().enumerate().map(|(i, x)| gate(i % width) * x).collect()
    }

    /// A convolution over the images, of the mean and the maximum of each one's channels.
    fn spatially_gated(&self, ca: &[f64], width: usize) -> Vec<f64> {
        let images: Vec<&[f64]> = ca.chunks_exact(width).collect();
        let mean: Vec<f64> =
            images.iter().map(|row| row.iter().sum::<f64>() / width as f64).collect();
        let max: Vec<f64> = images
            .iter()
            .map(|row| row.iter().copied().fold(f64::NEG_INFINITY, f64::max))
            .collect();
        let gate = |image: usize| {
            let near = |(tap, weights): (usize, [f64; 2])| {
                let at = (image + tap).checked_sub(3).filter(|at| *at < images.len());
                at.map_or(0.0, |at| weights[0] * mean[at] + weights[1] * max[at])
            };
            let taps = (0..7).map(|tap| (tap, [self.kernel[tap], self.kernel[7 + tap]]));
            sigmoid(self.bias + taps.map(near).sum::<f64>())
        };
        ca.iter().enumerate().map(|(i, x)| gate(i / width) * x).collect()
    }

    /// Magnitudes of the transform over channels and images, then half mean and half maximum over the
    /// images' axis.
    fn frequency_gated(&self, token: &[f64], width: usize) -> Vec<f64> {
        let n_images = token.len() / width;
        let mut magnitudes = Vec::new();
        for v in 0..n_images {
            for k in 0..width {
                let mut sum = [0.0, 0.0];
                for (i, x) in token.iter().enumerate() {
                    let (image, c) = (i / width, i % width);
                    let turns = ((k * c) % width) as f64 / width as f64
                        + ((v * image) % n_images) as f64 / n_images as f64;
                    let (sin, cos) = (-std::f64::consts::TAU * turns).sin_cos();
                    sum = [sum[0] + x * cos, sum[1] + x * sin];
                }
                magnitudes.push(sum[0].hypot(sum[1]));
            }
        }
        let (mean, max) = (mean_of(&magnitudes, width), max_of(&magnitudes, width));
        let pooled: Vec<f64> =
            mean.iter().zip(&max).map(|(mean, max)| (mean + max) / 2.0).collect();
        let gate = squeezed(&self.frequency, &pooled);
        token.iter().enumerate().map(|(i, x)| sigmoid(gate[i % width]) * x).collect()
    }
}

/// Rows of a weight matrix times a vector.
fn product(weights: &[f64], x: &[f64]) -> Vec<f64> {
    weights.chunks_exact(x.len()).map(|row| row.iter().zip(x).map(|(w, x)| w * x).sum()).collect()
}

fn squeezed([inner, outer]: &[Vec<f64>; 2], x: &[f64]) -> Vec<f64> {
    let hidden: Vec<f64> = product(inner, x).iter().map(|x| x.max(0.0)).collect();
    product(outer, &hidden)
}

fn mean_of(rows: &[f64], width: usize) -> Vec<f64> {
    let n = (rows.len() / width) as f64;
    (0..width).map(|c| rows.iter().skip(c).step_by(width).sum::<f64>() / n).collect()
}

fn max_of(rows: &[f64], width: usize) -> Vec<f64> {
    let max =
        |c: usize| rows.iter().skip(c).step_by(width).copied().fold(f64::NEG_INFINITY, f64::max);
    (0..width).map(max).collect()
}

fn leaky(values: Vec<f64>) -> Vec<f64> {
    values.into_iter().map(|x| if x > 0.0 { x } else { f64::from(LEAK) * x }).collect()
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}
