//! The layers of the network, over images with their channels last: each pixel is a row, so that a
//! convolution is a product of rows.

use std::sync::{Mutex, PoisonError};

use loupe_kernels::add_dense;
use loupe_plugin::prelude::*;

/// Pixels of one unit of parallel work. Work is cut by the image alone, so that the bytes of a
/// result do not depend on the number of threads.
pub(super) const TILE: usize = 256;

/// `[height * width, channels]`.
#[derive(Clone, Debug)]
pub(super) struct Map {
    pub(super) height: usize,
    pub(super) width: usize,
    pub(super) channels: usize,
    pub(super) values: Vec<f32>,
}

impl Map {
    pub(super) fn zeros([height, width]: [usize; 2], channels: usize) -> Self {
        Map { height, width, channels, values: vec![0.0; height * width * channels] }
    }

    pub(super) fn size(&self) -> [usize; 2] {
        [self.height, self.width]
    }

    pub(super) fn rows(&self) -> std::slice::ChunksExact<'_, f32> {
        self.values.chunks_exact(self.channels.max(1))
    }
}

/// `body(i, chunk)` for each chunk. Errors: that of a chunk which failed, and the host's.
pub(super) fn each_chunk(
    host: &Host,
    values: &mut [f32],
    chunk_len: usize,
    body: impl Fn(usize, &mut [f32]) -> Result<()> + Sync,
) -> Result<()> {
    let failed = Mutex::new(None);
    host.parallel_chunks(values, chunk_len, |i, chunk| {
        if let Err(error) = body(i, chunk) {
            failed.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
        }
    })?;
    failed.into_inner().unwrap_or_else(PoisonError::into_inner).map_or(Ok(()), Err)
}

/// A linear layer: `weights [n_out, n_in]`, `bias [n_out]`. A convolution of 3 x 3 is one over the
/// nine pixels around each, `n_in` = 9 x channels.
#[derive(Clone, Debug)]
pub(super) struct Dense {
    pub(super) n_in: usize,
    pub(super) weights: Vec<f32>,
    pub(super) bias: Vec<f32>,
}

impl Dense {
    /// `rows [m, n_in]` -> `out [m, n_out]`.
    pub(super) fn apply(&self, rows: &[f32], out: &mut [f32]) -> Result<()> {
        for line in out.chunks_exact_mut(self.bias.len().max(1)) {
            line.copy_from_slice(&self.bias);
        }
        add_dense(rows, &self.weights, self.n_in, out).map_err(Error::failed)
    }

    /// One row, in f64.
    pub(super) fn row(&self, row: &[f64]) -> Vec<f64> {
        let dot = |weights: &[f32]| {
            weights.iter().zip(row).map(|(weight, x)| f64::from(*weight) * x).sum::<f64>()
        };
        let outputs = self.weights.chunks_exact(self.n_in.max(1)).zip(&self.bias);
        outputs.map(|(weights, bias)| dot(weights) + f64::from(*bias)).collect()
    }

    /// Convolution of 3 x 3 with a border of zeros. Shapes: `[h*w, n_in / 9]` -> `[h*w, n_out]`.
    pub(super) fn convolve(&self, host: &Host, map: &Map) -> Result<Map> {
        let (channels, width) = (map.channels, map.width);
        let mut out = Map::zeros(map.size(), self.bias.len());
        each_chunk(host, &mut out.values, width * self.bias.len(), |y, line| {
            let mut around = vec![0.0; width * 9 * channels];
            for (x, row) in around.chunks_exact_mut(9 * channels).enumerate() {
                for (tap, to) in row.chunks_exact_mut(channels).enumerate() {
                    let Some(from) = neighbour(map.size(), [y, x], [tap / 3, tap % 3], 1) else {
                        continue;
                    };
                    to.copy_from_slice(&map.values[from * channels..][..channels]);
                }
            }
            self.apply(&around, line)
        })?;
        Ok(out)
    }
}

/// The pixel under tap `[row, column]` of a kernel with this reach around `[y, x]`, if it is inside.
fn neighbour(
    [height, width]: [usize; 2],
    [y, x]: [usize; 2],
    [row, column]: [usize; 2],
    reach: usize,
) -> Option<usize> {
    let y = (y + row).checked_sub(reach).filter(|y| *y < height)?;
    let x = (x + column).checked_sub(reach).filter(|x| *x < width)?;
    Some(y * width + x)
}

/// A convolution of each channel by itself, with a border of zeros.
#[derive(Clone, Debug)]
pub(super) struct Depthwise {
    /// Pixels on either side: 1 for 3 x 3, 2 for 5 x 5.
    pub(super) reach: usize,
    /// `[taps, channels]`.
    pub(super) weights: Vec<f32>,
    pub(super) bias: Vec<f32>,
}

impl Depthwise {
    /// Pixels `start..` of the output, as many as fill `out`.
    pub(super) fn tile(&self, map: &Map, start: usize, out: &mut [f32]) {
        let (channels, side) = (map.channels, 2 * self.reach + 1);
        for (i, row) in out.chunks_exact_mut(channels).enumerate() {
            row.copy_from_slice(&self.bias);
            let at = [(start + i) / map.width, (start + i) % map.width];
            for (tap, weights) in self.weights.chunks_exact(channels).enumerate() {
                let tap = [tap / side, tap % side];
                let Some(from) = neighbour(map.size(), at, tap, self.reach) else { continue };
                let inputs = &map.values[from * channels..][..channels];
                for ((value, x), weight) in row.iter_mut().zip(inputs).zip(weights) {
                    *value += x * weight;
                }
            }
        }
    }
}

/// Mean and biased variance of each channel.
#[derive(Clone, Debug)]
pub(super) struct Moments {
    pub(super) mean: Vec<f64>,
    pub(super) var: Vec<f64>,
}

impl Moments {
    pub(super) fn of(host: &Host, map: &Map) -> Result<Self> {
        let n_pixels = (map.height * map.width) as f64;
        let mut mean = column_sums(host, map, |_, x| x)?;
        mean.iter_mut().for_each(|value| *value /= n_pixels);
        let square = |c: usize, x: f64| (x - mean[c]) * (x - mean[c]);
        let mut var = column_sums(host, map, square)?;
        var.iter_mut().for_each(|value| *value /= n_pixels);
        Ok(Moments { mean, var })
    }
}

/// Sum of `f(channel, value)` over the pixels, for each channel; f64.
fn column_sums(host: &Host, map: &Map, f: impl Fn(usize, f64) -> f64 + Sync) -> Result<Vec<f64>> {
    let chunk_len = 16 * TILE * map.channels.max(1);
    let chunks: Vec<&[f32]> = map.values.chunks(chunk_len).collect();
    let partial = host.parallel_map(chunks.len(), |i| {
        let mut sums = vec![0.0; map.channels];
        for row in chunks[i].chunks_exact(map.channels.max(1)) {
            for (c, (sum, value)) in sums.iter_mut().zip(row).enumerate() {
                *sum += f(c, f64::from(*value));
            }
        }
        sums
    })?;
    let mut total = vec![0.0; map.channels];
    for sums in partial {
        total.iter_mut().zip(sums).for_each(|(total, sum)| *total += sum);
    }
    Ok(total)
}

/// A batch norm, which knows the statistics of its training set; without one it has mean 0 and
/// variance 1.
#[derive(Clone, Debug)]
pub(super) struct Norm {
    pub(super) weight: Vec<f32>,
    pub(super) bias: Vec<f32>,
    pub(super) mean: Vec<f32>,
    pub(super) var: Vec<f32>,
}

pub(super) const EPS: f64 = 1e-5;

impl Norm {
    /// Factor and summand of each channel, by the image's own moments or, for `None`, by those of
    /// training.
    pub(super) fn affine(&self, moments: Option<&Moments>) -> [Vec<f64>; 2] {
        let n = self.weight.len();
        let (mut scale, mut shift) = (Vec::with_capacity(n), Vec::with_capacity(n));
        for c in 0..n {
            let (mean, var) = match moments {
                Some(moments) => (moments.mean[c], moments.var[c]),
                None => (f64::from(self.mean[c]), f64::from(self.var[c])),
            };
            let factor = f64::from(self.weight[c]) / (var + EPS).sqrt();
            scale.push(factor);
            shift.push(f64::from(self.bias[c]) - mean * factor);
        }
        [scale, shift]
    }

    /// Normalises in place and applies `then` to each row. `own`: by the image's own moments.
    pub(super) fn apply(
        &self,
        host: &Host,
        map: &mut Map,
        own: bool,
        then: impl Fn(&mut [f32]) + Sync,
    ) -> Result<()> {
        let moments = if own { Some(Moments::of(host, map)?) } else { None };
        let [scale, shift] = self.affine(moments.as_ref());
        let channels = map.channels;
        each_chunk(host, &mut map.values, TILE * channels, |_, tile| {
            for row in tile.chunks_exact_mut(channels) {
                for ((value, scale), shift) in row.iter_mut().zip(&scale).zip(&shift) {
                    *value = (f64::from(*value) * scale + shift) as f32;
                }
            }
            then(tile);
            Ok(())
        })
    }
}

pub(super) fn relu(values: &mut [f32]) {
    values.iter_mut().for_each(|value| *value = value.max(0.0));
}

/// Largest of each 2 x 2 pixels; an odd last row or column is dropped.
pub(super) fn halve(map: &Map) -> Map {
    let channels = map.channels;
    let mut out = Map::zeros([map.height / 2, map.width / 2], channels);
    let (width, from) = (out.width.max(1), &map.values);
    for (pixel, row) in out.values.chunks_exact_mut(channels).enumerate() {
        let first = (pixel / width * 2 * map.width + pixel % width * 2) * channels;
        for (c, value) in row.iter_mut().enumerate() {
            let [a, b] = [first + c, first + map.width * channels + c];
            *value = from[a].max(from[a + channels]).max(from[b]).max(from[b + channels]);
        }
    }
    out
}

/// Mean over the image and over each cell of a 4 x 4 grid, whose cells overlap where the image does
/// not divide; f64. It is linear, so that sums of maps need not be made to be pooled.
#[derive(Clone, Debug)]
pub(super) struct Pooled {
    pub(super) mean: Vec<f64>,
    /// `[channels, 4, 4]`.
    pub(super) cells: Vec<f64>,
}

impl Pooled {
    pub(super) fn of(map: &Map) -> Self {
        let span = |i: usize, n: usize| i * n / 4..((i + 1) * n).div_ceil(4);
        let channels = map.channels;
        let mean_of = |rows: std::ops::Range<usize>, columns: std::ops::Range<usize>| {
            let mut sums = vec![0.0_f64; channels];
            let n = (rows.len() * columns.len()) as f64;
            for y in rows {
                let line = &map.values[(y * map.width + columns.start) * channels..]
                    [..columns.len() * channels];
                for row in line.chunks_exact(channels) {
                    sums.iter_mut().zip(row).for_each(|(sum, x)| *sum += f64::from(*x));
                }
            }
            sums.iter_mut().for_each(|sum| *sum /= n);
            sums
        };
        let mut cells = vec![0.0; channels * 16];
        for cell in 0..16 {
            let means = mean_of(span(cell / 4, map.height), span(cell % 4, map.width));
            means.iter().enumerate().for_each(|(c, mean)| cells[c * 16 + cell] = *mean);
        }
        Pooled { mean: mean_of(0..map.height, 0..map.width), cells }
    }

    /// `self += factor[c] * other` by channel.
    pub(super) fn add(&mut self, other: &Pooled, factor: impl Fn(usize) -> f64) {
        for (c, (value, x)) in self.mean.iter_mut().zip(&other.mean).enumerate() {
            *value += factor(c) * x;
        }
        for (i, (value, x)) in self.cells.iter_mut().zip(&other.cells).enumerate() {
            *value += factor(i / 16) * x;
        }
    }
}
