//! One expert of the mixture: a point-wise branch and two behind depthwise convolutions, joined, with
//! squeeze and excitation. Four times as many channels inside as outside, tile by tile: the wide map
//! is never held. Its batch norms by the image's own statistics need them before it is made; they
//! follow from mean and covariance of what the layer reads.

use loupe_kernels::{add_dense, silu};
use loupe_plugin::prelude::*;

use super::layers::{Dense, Depthwise, Map, Moments, Norm, Pooled, TILE, each_chunk};
use super::network::{dense, norm};
use super::weights::{INNER, Weights};
use crate::learning::sigmoid64;

const WIDE: usize = 4 * INNER;

pub(super) struct Expert {
    branches: [Branch; 3],
    /// The joining layer's part for each branch, without its bias.
    joins: [Vec<f32>; 3],
    out: (Vec<f32>, Norm),
    squeeze: [Dense; 2],
}

struct Branch {
    depth: Option<Depthwise>,
    widen: Dense,
    norm: Norm,
}

/// What an expert adds to its input: `made * squeeze`, by channel.
pub(super) struct Made {
    pub(super) pooled: Pooled,
    pub(super) squeeze: Vec<f64>,
    /// `made` itself, for tests.
    #[cfg(test)]
    pub(super) map: Map,
}

impl Expert {
    pub(super) fn new(weights: &Weights, index: usize) -> Result<Self> {
        let name = |part: &str| format!("mixture.{index}.{part}");
        let branch = |part: &str, reach: usize| -> Result<Branch> {
            let depth = match reach {
                0 => None,
                reach => Some(depthwise(weights, &name(&format!("{part}.depth")), reach)?),
            };
            Ok(Branch {
                depth,
                widen: dense(weights, &name(part))?,
                norm: norm(weights, &name(part))?,
            })
        };
        let join = dense(weights, &name("out"))?;
        let part = |i: usize| -> Vec<f32> {
            let rows = join.weights.chunks_exact(3 * WIDE);
            rows.flat_map(|row| row[i * WIDE..(i + 1) * WIDE].iter().copied()).collect()
        };
        Ok(Expert {
            branches: [branch("point", 0)?, branch("near", 1)?, branch("far", 2)?],
            joins: [part(0), part(1), part(2)],
            out: (join.bias, norm(weights, &name("out"))?),
            squeeze: [dense(weights, &name("squeeze.0"))?, dense(weights, &name("squeeze.1"))?],
        })
    }

    /// `around`: the covariance of `x3` where batch norms take the image's own statistics.
    pub(super) fn run(
        &self,
        host: &Host,
        x3: &Map,
        mean: &[f64],
        around: Option<&Covariance>,
    ) -> Result<Made> {
        let mut folded = Vec::new();
        for branch in &self.branches {
            folded.push(branch.folded(host, x3, mean, around)?);
        }
        let (bias, norm) = &self.out;
        let mut map = Map::zeros(x3.size(), INNER);
        each_chunk(host, &mut map.values, TILE * INNER, |tile, out| {
            let n = out.len() / INNER;
            let (mut deep, mut wide) = (vec![0.0; n * INNER], vec![0.0; n * WIDE]);
            out.chunks_exact_mut(INNER).for_each(|row| row.copy_from_slice(bias));
            for ((branch, layer), join) in self.branches.iter().zip(&folded).zip(&self.joins) {
                let rows = branch.rows(x3, tile * TILE, &mut deep);
                layer.apply(rows, &mut wide)?;
                silu(&mut wide);
                add_dense(&wide, join, WIDE, out).map_err(Error::failed)?;
            }
            Ok(())
        })?;
        norm.apply(host, &mut map, around.is_some(), silu)?;
        let pooled = Pooled::of(&map);
        let inner: Vec<f64> =
            self.squeeze[0].row(&pooled.mean).iter().map(|x| x * sigmoid64(*x)).collect();
        let squeeze = self.squeeze[1].row(&inner).into_iter().map(sigmoid64).collect();
        Ok(Made {
            pooled,
            squeeze,
            #[cfg(test)]
            map,
        })
    }
}

impl Branch {
    /// What the widening layer reads for pixels `start..`, as many as `deep` has room for.
    fn rows<'a>(&self, x3: &'a Map, start: usize, deep: &'a mut [f32]) -> &'a [f32] {
        match &self.depth {
            None => &x3.values[start * INNER..][..deep.len()],
            Some(depth) => {
                depth.tile(x3, start, deep);
                deep
            }
        }
    }

    /// The widening layer with its batch norm folded in.
    fn folded(
        &self,
        host: &Host,
        x3: &Map,
        mean: &[f64],
        around: Option<&Covariance>,
    ) -> Result<Dense> {
        let own;
        let covariance = match (&self.depth, around) {
            (Some(depth), Some(_)) => {
                own = Covariance::of(host, x3, Some(depth), mean)?;
                Some(&own)
            }
            (_, around) => around,
        };
        let moments = covariance.map(|covariance| covariance.behind(&self.widen));
        let [scale, shift] = self.norm.affine(moments.as_ref());
        let weights = self.widen.weights.iter().enumerate();
        let weights = weights.map(|(i, weight)| (f64::from(*weight) * scale[i / INNER]) as f32);
        let bias = self.widen.bias.iter().zip(&scale).zip(&shift);
        let bias = bias.map(|((bias, scale), shift)| (f64::from(*bias) * scale + shift) as f32);
        Ok(Dense { n_in: INNER, weights: weights.collect(), bias: bias.collect() })
    }
}

/// Mean and biased covariance of rows of 64 channels.
pub(super) struct Covariance {
    mean: Vec<f64>,
    matrix: Vec<f64>,
}

impl Covariance {
    /// Of the pixels of `x3`, or of its depthwise convolution. `mean`: that of `x3`, near which the
    /// values are summed, so that f32 products lose nothing to it.
    pub(super) fn of(
        host: &Host,
        x3: &Map,
        depth: Option<&Depthwise>,
        mean: &[f64],
    ) -> Result<Self> {
        let centre = match depth {
            None => mean.to_vec(),
            Some(depth) => depth.centre(mean),
        };
        let n_pixels = x3.height * x3.width;
        let partial = host.parallel_map(n_pixels.div_ceil(TILE), |tile| {
            let start = tile * TILE;
            let n = TILE.min(n_pixels - start);
            let mut deep = vec![0.0; n * INNER];
            match depth {
                None => deep.copy_from_slice(&x3.values[start * INNER..][..n * INNER]),
                Some(depth) => depth.tile(x3, start, &mut deep),
            }
            let mut columns = vec![0.0; n * INNER];
            for (i, row) in deep.chunks_exact(INNER).enumerate() {
                for (c, value) in row.iter().enumerate() {
                    columns[c * n + i] = (f64::from(*value) - centre[c]) as f32;
                }
            }
            let mut products = vec![0.0; INNER * INNER];
            add_dense(&columns, &columns, n, &mut products).map_err(Error::failed)?;
            let sums = columns
                .chunks_exact(n)
                .map(|column| column.iter().map(|value| f64::from(*value)).sum::<f64>());
            Ok((sums.collect::<Vec<f64>>(), products))
        })?;
        let (mut sums, mut matrix) = (vec![0.0; INNER], vec![0.0; INNER * INNER]);
        for part in partial {
            let (part_sums, products): (Vec<f64>, Vec<f32>) = part?;
            sums.iter_mut().zip(part_sums).for_each(|(sum, part)| *sum += part);
            matrix.iter_mut().zip(products).for_each(|(sum, part)| *sum += f64::from(part));
        }
        let n = n_pixels as f64;
        sums.iter_mut().for_each(|sum| *sum /= n);
        for (i, value) in matrix.iter_mut().enumerate() {
            *value = *value / n - sums[i / INNER] * sums[i % INNER];
        }
        let mean = centre.iter().zip(&sums).map(|(centre, sum)| centre + sum).collect();
        Ok(Covariance { mean, matrix })
    }

    /// Moments of what a linear layer makes of such rows.
    fn behind(&self, layer: &Dense) -> Moments {
        let variance = |weights: &[f32]| {
            let mut total = 0.0;
            for (row, weight) in self.matrix.chunks_exact(INNER).zip(weights) {
                let products = row.iter().zip(weights).map(|(c, w)| c * f64::from(*w));
                total += f64::from(*weight) * products.sum::<f64>();
            }
            total.max(0.0)
        };
        let var = layer.weights.chunks_exact(INNER).map(variance).collect();
        Moments { mean: layer.row(&self.mean), var }
    }
}

/// PyTorch's `[64, 1, k, k]` with channels last.
fn depthwise(weights: &Weights, name: &str, reach: usize) -> Result<Depthwise> {
    let values = weights.get(&format!("{name}.weight"))?;
    let taps = values.len() / INNER;
    let turned = (0..values.len()).map(|i| values[i % INNER * taps + i / INNER]).collect();
    let bias = weights.get(&format!("{name}.bias"))?.to_vec();
    Ok(Depthwise { reach, weights: turned, bias })
}

impl Depthwise {
    /// About the mean of the output, by that of the input: borders are left out.
    fn centre(&self, mean: &[f64]) -> Vec<f64> {
        let total = |c: usize| -> f64 {
            self.weights.iter().skip(c).step_by(INNER).map(|weight| f64::from(*weight)).sum()
        };
        let each = mean.iter().zip(&self.bias).enumerate();
        each.map(|(c, (mean, bias))| mean * total(c) + f64::from(*bias)).collect()
    }
}
