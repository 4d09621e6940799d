//! The network that reads an image and makes one vector of it: a convolution, local context, spatial
//! and channel attention, a mixture of experts with three receptive fields each, a mixture of
//! category adapters, a projection. Source: CLIP-LMFA's released code, as its behaviour is described;
//! dropout is off.
//!
//! Only means of the last maps are needed, and means are linear, so those maps are never made: what
//! is held at once is two maps of 64 channels and what the local context takes, at most 620 bytes a
//! pixel of the image (0.5 GB at 896 x 896), whatever the number of experts.

use loupe_kernels::{sigmoid, silu};
use loupe_plugin::prelude::*;

use super::experts::{Covariance, Expert};
use super::layers::{Dense, EPS, Map, Norm, Pooled, TILE, each_chunk, halve, relu};
use super::weights::{INNER, Weights};
use crate::learning::{sigmoid64, softmax};

pub(super) struct Network {
    /// Batch norms by the image's own statistics, as the original runs them; else by those of
    /// training.
    pub(super) own_statistics: bool,
    conv_in: (Dense, Norm),
    local: [Dense; 2],
    spatial: [(Dense, Norm); 2],
    /// Of the means and of the maxima of the channels, two layers each.
    channel: [[Dense; 2]; 2],
    mixture_gate: Dense,
    experts: Vec<Expert>,
    category_gate: Dense,
    categories: Vec<Category>,
    pub(super) head: Head,
}

/// One adapter: `mix * y + (1 - mix) * value`, both of the channels' means.
struct Category {
    value: [Dense; 2],
    mix: Dense,
}

/// The projection of pooled features, a layer norm, SiLU.
#[derive(Clone)]
pub(super) struct Head {
    pub(super) project: Dense,
    pub(super) norm_weight: Vec<f32>,
    pub(super) norm_bias: Vec<f32>,
}

impl Network {
    /// Errors: an array that the weights lack.
    pub(super) fn new(weights: &Weights, own_statistics: bool) -> Result<Self> {
        let two = |name: &str| -> Result<[Dense; 2]> {
            Ok([dense(weights, &format!("{name}.0"))?, dense(weights, &format!("{name}.1"))?])
        };
        let normed = |name: &str| -> Result<(Dense, Norm)> {
            Ok((convolution(weights, name)?, norm(weights, name)?))
        };
        let sizes = weights.sizes;
        let category = |i: usize| -> Result<Category> {
            let mix = dense(weights, &format!("category.{i}.mix"))?;
            Ok(Category { value: two(&format!("category.{i}.value"))?, mix })
        };
        Ok(Network {
            own_statistics,
            conv_in: normed("conv_in")?,
            local: [convolution(weights, "local.0")?, convolution(weights, "local.1")?],
            spatial: [normed("spatial.0")?, normed("spatial.1")?],
            channel: [two("channel.mean")?, two("channel.max")?],
            mixture_gate: dense(weights, "mixture.gate")?,
            experts: (0..sizes.experts)
                .map(|i| Expert::new(weights, i))
                .collect::<Result<Vec<_>>>()?,
            category_gate: dense(weights, "category.gate")?,
            categories: (0..sizes.categories).map(category).collect::<Result<Vec<_>>>()?,
            head: Head {
                project: dense(weights, "project")?,
                norm_weight: weights.get("project.norm.weight")?.to_vec(),
                norm_bias: weights.get("project.norm.bias")?.to_vec(),
            },
        })
    }

    /// `image [3, h, w]`, normalised -> pooled features `[1024]`, which `Head` projects.
    /// Errors: an image of less than 2 x 2 pixels.
    pub(super) fn features(
        &self,
        host: &Host,
        image: &[f32],
        size: [usize; 2],
    ) -> Result<Vec<f32>> {
        let (x3, rest) = self.trunk(host, image, size)?;
        let pooled_x3 = Pooled::of(&x3);
        let x4 = self.mixture(host, &x3, &pooled_x3)?;
        host.stop_if_cancelled()?;
        Ok(self.adapt(&x4, &pooled_x3, &rest))
    }

    /// The map `x3` that experts read, and the means of `x1 + x2 + xl`.
    pub(super) fn trunk(
        &self,
        host: &Host,
        image: &[f32],
        size: [usize; 2],
    ) -> Result<(Map, Pooled)> {
        let mut x1 = self.stem(host, image, size)?;
        let xl = self.context(host, &x1)?;
        let attention = self.spatial(host, &xl)?;
        let mut x2 = xl;
        let chunk_len = TILE * INNER;
        // From here on `x1` holds x1 + xl, and the map that was `xl` becomes x2 = xl * a + x1 + xl.
        let sums = x1.values.iter_mut().zip(&mut x2.values);
        for (i, (one, local)) in sums.enumerate() {
            *one += *local;
            *local = *local * attention[i / INNER] + *one;
        }
        let gate = self.channel_gate(&x2);
        let mut rest = Pooled::of(&x2);
        rest.add(&Pooled::of(&x1), |_| 1.0);
        // x3 = x2 * gate + x2 + x1 + xl.
        each_chunk(host, &mut x2.values, chunk_len, |tile, values| {
            for (i, value) in values.iter_mut().enumerate() {
                *value += *value * gate[i % INNER] + x1.values[tile * chunk_len + i];
            }
            Ok(())
        })?;
        Ok((x2, rest))
    }

    pub(super) fn stem(
        &self,
        host: &Host,
        image: &[f32],
        [height, width]: [usize; 2],
    ) -> Result<Map> {
        if height < 2 || width < 2 {
            return Err(Error::shape(
                "image",
                "at least 2 x 2 pixels",
                format!("{height} x {width}"),
            ));
        }
        let plane = height * width;
        let mut pixels = Map::zeros([height, width], 3);
        for (pixel, row) in pixels.values.chunks_exact_mut(3).enumerate() {
            row.iter_mut().enumerate().for_each(|(c, value)| *value = image[c * plane + pixel]);
        }
        let (conv, norm) = &self.conv_in;
        let mut x1 = conv.convolve(host, &pixels)?;
        norm.apply(host, &mut x1, self.own_statistics, silu)?;
        Ok(x1)
    }

    /// Two convolutions at half the size, brought back by bilinear interpolation.
    pub(super) fn context(&self, host: &Host, x1: &Map) -> Result<Map> {
        let mut wide = self.local[0].convolve(host, x1)?;
        relu(&mut wide.values);
        let half = halve(&wide);
        drop(wide);
        let mut inner = self.local[1].convolve(host, &half)?;
        relu(&mut inner.values);
        upsample(host, &inner, x1.size())
    }

    /// Attention of each pixel, by mean and maximum over its channels.
    pub(super) fn spatial(&self, host: &Host, xl: &Map) -> Result<Vec<f32>> {
        let mut both = Map::zeros(xl.size(), 2);
        for (to, row) in both.values.chunks_exact_mut(2).zip(xl.rows()) {
            to[0] = row.iter().sum::<f32>() / INNER as f32;
            to[1] = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        }
        let [(first, first_norm), (second, second_norm)] = &self.spatial;
        let mut inner = first.convolve(host, &both)?;
        first_norm.apply(host, &mut inner, self.own_statistics, relu)?;
        let mut attention = second.convolve(host, &inner)?;
        let squash = |row: &mut [f32]| row.iter_mut().for_each(|value| *value = sigmoid(*value));
        second_norm.apply(host, &mut attention, self.own_statistics, squash)?;
        Ok(attention.values)
    }

    /// A factor for each channel, by its mean and its maximum.
    pub(super) fn channel_gate(&self, x2: &Map) -> Vec<f32> {
        let mut largest = vec![f64::NEG_INFINITY; INNER];
        for row in x2.rows() {
            largest.iter_mut().zip(row).for_each(|(most, x)| *most = most.max(f64::from(*x)));
        }
        let mean = Pooled::of(x2).mean;
        let part = |layers: &[Dense; 2], row: &[f64]| {
            let inner: Vec<f64> = layers[0].row(row).iter().map(|x| x.max(0.0)).collect();
            layers[1].row(&inner)
        };
        let (by_mean, by_max) = (part(&self.channel[0], &mean), part(&self.channel[1], &largest));
        by_mean.iter().zip(&by_max).map(|(a, b)| sigmoid64(a + b) as f32).collect()
    }

    /// Means of `x4`, the experts' maps by their shares.
    pub(super) fn mixture(&self, host: &Host, x3: &Map, pooled_x3: &Pooled) -> Result<Pooled> {
        let shares = softmax(&self.mixture_gate.row(&pooled_x3.mean));
        let around = match self.own_statistics {
            true => Some(Covariance::of(host, x3, None, &pooled_x3.mean)?),
            false => None,
        };
        let mut x4 = pooled_x3.clone();
        for (expert, share) in self.experts.iter().zip(&shares) {
            host.stop_if_cancelled()?;
            let made = expert.run(host, x3, &pooled_x3.mean, around.as_ref())?;
            x4.add(&made.pooled, |c| share * made.squeeze[c]);
        }
        Ok(x4)
    }

    /// Each expert's map, with its input: what `mixture` never makes.
    #[cfg(test)]
    pub(super) fn expert_maps(&self, host: &Host, x3: &Map) -> Result<Vec<Map>> {
        let mean = Pooled::of(x3).mean;
        let around = Covariance::of(host, x3, None, &mean)?;
        let mut maps = Vec::new();
        for expert in &self.experts {
            let made = expert.run(host, x3, &mean, self.own_statistics.then_some(&around))?;
            let mut map = made.map;
            for (i, (value, x)) in map.values.iter_mut().zip(&x3.values).enumerate() {
                *value = *value * made.squeeze[i % INNER] as f32 + x;
            }
            maps.push(map);
        }
        Ok(maps)
    }

    /// `rest` are the means of x1 + x2 + xl. `[1024]`, channel by channel.
    pub(super) fn adapt(&self, x4: &Pooled, x3: &Pooled, rest: &Pooled) -> Vec<f32> {
        let mut y = rest.clone();
        y.add(x4, |_| 1.0);
        y.add(x3, |_| 1.0);
        let shares = softmax(&self.category_gate.row(&y.mean));
        let (mut factors, mut summands) = (vec![0.0; INNER], vec![0.0; INNER]);
        for (category, share) in self.categories.iter().zip(&shares) {
            let inner: Vec<f64> =
                category.value[0].row(&y.mean).iter().map(|x| x.max(0.0)).collect();
            let values = category.value[1].row(&inner);
            for (c, mix) in category.mix.row(&y.mean).into_iter().enumerate() {
                let mix = sigmoid64(mix);
                factors[c] += share * mix;
                summands[c] += share * (1.0 - mix) * sigmoid64(values[c]);
            }
        }
        let cells = y.cells.iter().zip(&x3.cells).zip(&x4.cells).enumerate();
        let adapted = |(i, ((y, x3), x4)): (usize, ((&f64, &f64), &f64))| {
            (y * factors[i / 16] + summands[i / 16] + x3 + x4) as f32
        };
        cells.map(adapted).collect()
    }
}

impl Head {
    /// Features `[1024]` -> the fusion's vector `[width]`.
    pub(super) fn vector(&self, features: &[f32]) -> Vec<f32> {
        let (normed, _) = self.normed(features);
        let scaled = normed.iter().zip(&self.norm_weight).zip(&self.norm_bias);
        let silu = |x: f64| x * sigmoid64(x);
        scaled.map(|((x, w), b)| silu(x * f64::from(*w) + f64::from(*b)) as f32).collect()
    }

    /// The projection with mean 0 and variance 1, and what it was divided by.
    pub(super) fn normed(&self, features: &[f32]) -> (Vec<f64>, f64) {
        let row: Vec<f64> = features.iter().map(|x| f64::from(*x)).collect();
        let projected = self.project.row(&row);
        let n = projected.len() as f64;
        let mean = projected.iter().sum::<f64>() / n;
        let var = projected.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / n;
        let deviation = (var + EPS).sqrt();
        (projected.iter().map(|x| (x - mean) / deviation).collect(), deviation)
    }
}

/// Bilinear with half-pixel centres, all channels at once.
fn upsample(host: &Host, map: &Map, [height, width]: [usize; 2]) -> Result<Map> {
    let axis = |i: usize, n_in: usize, n_out: usize| {
        let at = ((i as f64 + 0.5) * n_in as f64 / n_out as f64 - 0.5).max(0.0);
        let low = (at as usize).min(n_in - 1);
        (low, (low + 1).min(n_in - 1), (at - low as f64) as f32)
    };
    let channels = map.channels;
    let columns: Vec<_> = (0..width).map(|x| axis(x, map.width, width)).collect();
    let mut out = Map::zeros([height, width], channels);
    each_chunk(host, &mut out.values, width * channels, |y, line| {
        let (top, bottom, v) = axis(y, map.height, height);
        for (row, (left, right, u)) in line.chunks_exact_mut(channels).zip(&columns) {
            let at = |y: usize, x: usize| &map.values[(y * map.width + x) * channels..][..channels];
            let corners = [at(top, *left), at(top, *right), at(bottom, *left), at(bottom, *right)];
            for (c, value) in row.iter_mut().enumerate() {
                let mix = |a: f32, b: f32| a + (b - a) * u;
                let (top, bottom) =
                    (mix(corners[0][c], corners[1][c]), mix(corners[2][c], corners[3][c]));
                *value = top + (bottom - top) * v;
            }
        }
        Ok(())
    })?;
    Ok(out)
}

pub(super) fn dense(weights: &Weights, name: &str) -> Result<Dense> {
    let values = weights.get(&format!("{name}.weight"))?.to_vec();
    let bias = weights.get(&format!("{name}.bias"))?.to_vec();
    Ok(Dense { n_in: values.len() / bias.len().max(1), weights: values, bias })
}

/// PyTorch's `[out, in, 3, 3]` as rows over the nine pixels, channels last; no bias becomes 0.
fn convolution(weights: &Weights, name: &str) -> Result<Dense> {
    let (shape, values) = weights
        .arrays
        .get(&format!("{name}.weight"))
        .ok_or_else(|| Error::failed(format!("the network has no layer `{name}`")))?;
    let (n_out, n_in) = (shape[0], shape[1]);
    let bias = weights.get(&format!("{name}.bias")).map_or(vec![0.0; n_out], <[f32]>::to_vec);
    let mut turned = vec![0.0; values.len()];
    for (i, value) in values.iter().enumerate() {
        let (out, channel, tap) = (i / (9 * n_in), i / 9 % n_in, i % 9);
        turned[(out * 9 + tap) * n_in + channel] = *value;
    }
    Ok(Dense { n_in: 9 * n_in, weights: turned, bias })
}

pub(super) fn norm(weights: &Weights, name: &str) -> Result<Norm> {
    let get = |part: &str| Ok(weights.get(&format!("{name}.norm.{part}"))?.to_vec());
    Ok(Norm {
        weight: get("weight")?,
        bias: get("bias")?,
        mean: get("running_mean")?,
        var: get("running_var")?,
    })
}
