//! Two encoders without any learning, to hold learned ones against: `gabor`, the answers of a fixed
//! bank of filters to the texture of each patch, and `patch-statistics`, the mean and deviation of
//! its colours. Both want `normalize = "none"`, and distances between their vectors are euclidean:
//!
//! ```toml
//! [stages]
//! image   = { prepare = "square", sizes = [240], normalize = "none" }
//! patches = { encoder = "gabor", image = "image" }
//! [stages.differs]
//! scorer   = "nearest"
//! query    = "patches.patch_embeddings"
//! rows     = "patches.patch_embeddings"
//! fit_on   = "references"
//! distance = "euclidean"
//! ```
//!
//! `loupe run PIPELINE.toml --plugin-path target/release/libfilter_bank.so` after `make build`.

use std::f32::consts::PI;

use loupe_plugin::prelude::*;
use serde::Deserialize;

/// Directions in which brightness changes: 0, 30, .. 150 degrees from the x axis.
const N_ORIENTATIONS: usize = 6;
/// Each octave sees the image at half the size of the one before: 4, 8 and 16 pixels a wave.
const N_OCTAVES: usize = 3;
const N_FILTERS: usize = N_ORIENTATIONS * N_OCTAVES;
/// Length of a wave, and deviation of the window around it, in pixels of the octave's image.
const WAVELENGTH_PX: f32 = 4.0;
const SIGMA_PX: f32 = 2.0;
/// A window ends at three deviations.
const RADIUS: usize = 6;

/// Mean answers of 18 Gabor filters, 6 directions at 3 octaves, to the texture of each patch.
#[derive(Deserialize, Schema)]
#[serde(deny_unknown_fields)]
struct GaborConfig {
    /// Side of a patch in pixels; at least one pixel of the smallest octave.
    #[serde(default = "eight")]
    #[schema(min = 4)]
    patch: usize,
}

fn eight() -> usize {
    8
}

struct Gabor {
    patch: usize,
    host: Host,
    window: Vec<f32>,
    filters: Vec<Filter>,
}

/// Even and odd parts of one direction's wave along each axis, under the window.
struct Filter {
    x: [Vec<f32>; 2],
    y: [Vec<f32>; 2],
}

impl Encoder for Gabor {
    type Config = GaborConfig;
    const REVISION: u32 = 1;

    fn new(config: GaborConfig, host: &Host) -> Result<Self> {
        let window = window();
        let filters = (0..N_ORIENTATIONS).map(|nth| Filter::new(nth, &window)).collect();
        Ok(Gabor { patch: config.patch, host: *host, window, filters })
    }

    fn check(_config: &GaborConfig, _host: &Host) -> Result<Facts> {
        Ok(Facts::new().dim("d", N_FILTERS))
    }

    fn ports() -> Vec<Port> {
        vec![Port::image(), Port::output("patch_embeddings").tensor("b gh gw d")]
    }

    /// `image [b, 3, h, w]`, 0..=1 -> `patch_embeddings [b, h / patch, w / patch, 18]`: mean
    /// magnitudes, octave by octave from the finest, in each the directions in which brightness
    /// changes, from the x axis towards the y axis. Errors: sides that `patch` does not divide.
    fn encode_images(&self, images: &Tensor, _wanted: &Wanted) -> Result<Outputs> {
        let [b, c, h, w] = images.dims_n::<4>("image")?;
        let grid = grid_of(h, w, self.patch)?;
        let mut embeddings = Vec::with_capacity(b * grid[0] * grid[1] * N_FILTERS);
        for image in images.f32s()?.chunks_exact((c * h * w).max(1)) {
            embeddings.extend(self.answers(image, h, w, grid)?);
        }
        Ok(Outputs::one("patch_embeddings", embedded(b, grid, N_FILTERS, embeddings)?))
    }
}

impl Gabor {
    fn answers(&self, image: &[f32], h: usize, w: usize, grid: [usize; 2]) -> Result<Vec<f32>> {
        let mut octaves = vec![grey(image, h, w)];
        while octaves.len() < N_OCTAVES {
            octaves.extend(octaves.last().map(Plane::half));
        }
        // Without its local mean, a bright image answers no more than a dark one.
        let flat: Vec<Plane> =
            octaves.iter().map(|octave| octave.less_mean(&self.window)).collect();
        let means = self.host.parallel_map(N_FILTERS, |nth| {
            let magnitude =
                self.filters[nth % N_ORIENTATIONS].magnitude(&flat[nth / N_ORIENTATIONS]);
            let mut means = Vec::with_capacity(grid[0] * grid[1]);
            magnitude.cells(grid, |cell| means.push(mean(cell)));
            means
        })?;
        let of_cell = |cell: usize| means.iter().map(move |of_filter| of_filter[cell]);
        Ok((0..grid[0] * grid[1]).flat_map(of_cell).collect())
    }
}

impl Filter {
    fn new(nth: usize, window: &[f32]) -> Self {
        let (sin, cos) = (PI * nth as f32 / N_ORIENTATIONS as f32).sin_cos();
        let wave = |slope: f32| {
            let angle = |i: usize| 2.0 * PI / WAVELENGTH_PX * slope * (i as f32 - RADIUS as f32);
            let part = |of: fn(f32) -> f32| {
                window.iter().enumerate().map(|(i, weight)| weight * of(angle(i))).collect()
            };
            [part(f32::cos), part(f32::sin)]
        };
        Filter { x: wave(cos), y: wave(sin) }
    }

    /// Magnitude of the complex answer: the same wherever in the wave a pixel lies. The window is
    /// round, so the filter is a product of one along x and one along y.
    fn magnitude(&self, plane: &Plane) -> Plane {
        let [even, odd] = [0, 1].map(|part| plane.along_rows(&self.x[part]));
        let [even_even, even_odd] = [0, 1].map(|part| even.along_columns(&self.y[part]));
        let [odd_even, odd_odd] = [0, 1].map(|part| odd.along_columns(&self.y[part]));
        let real = even_even.values.iter().zip(&odd_odd.values).map(|(a, b)| a - b);
        let imaginary = even_odd.values.iter().zip(&odd_even.values).map(|(a, b)| a + b);
        let values = real.zip(imaginary).map(|(re, im)| (re * re + im * im).sqrt()).collect();
        Plane { values, ..*plane }
    }
}

/// Mean and standard deviation of each colour in each patch.
#[derive(Deserialize, Schema)]
#[serde(deny_unknown_fields)]
struct StatisticsConfig {
    /// Side of a patch in pixels. This or `grid`.
    #[serde(default)]
    #[schema(min = 1)]
    patch: Option<usize>,
    /// Patches a side, whatever the image's size. This or `patch`.
    #[serde(default)]
    #[schema(min = 1)]
    grid: Option<usize>,
}

enum PatchStatistics {
    Patch(usize),
    Grid(usize),
}

impl Encoder for PatchStatistics {
    type Config = StatisticsConfig;
    const REVISION: u32 = 1;

    fn new(config: StatisticsConfig, _host: &Host) -> Result<Self> {
        match (config.patch, config.grid) {
            (Some(patch), None) => Ok(PatchStatistics::Patch(patch)),
            (None, Some(grid)) => Ok(PatchStatistics::Grid(grid)),
            (None, None) => Err(Error::config("wants `patch` or `grid`, got neither")),
            (Some(_), Some(_)) => Err(Error::config("wants one of `patch` and `grid`, got both")),
        }
    }

    fn check(config: &StatisticsConfig, host: &Host) -> Result<Facts> {
        Self::new(StatisticsConfig { ..*config }, host)?;
        Ok(Facts::new().dim("d", 6))
    }

    fn ports() -> Vec<Port> {
        vec![Port::image(), Port::output("patch_embeddings").tensor("b gh gw d")]
    }

    /// `image [b, 3, h, w]` -> `patch_embeddings [b, gh, gw, 6]`: three means, then three standard
    /// deviations (over all pixels of the patch, not one less). Where a `grid` does not divide the
    /// image, its patches differ by a pixel. Errors: sides that `patch` does not divide, or fewer
    /// pixels than `grid`.
    fn encode_images(&self, images: &Tensor, _wanted: &Wanted) -> Result<Outputs> {
        let [b, c, h, w] = images.dims_n::<4>("image")?;
        let grid = match *self {
            PatchStatistics::Patch(patch) => grid_of(h, w, patch)?,
            PatchStatistics::Grid(n) if n <= h.min(w) => [n, n],
            PatchStatistics::Grid(n) => {
                let want = format!("at least {n} pixels a side for a grid of {n}");
                return Err(Error::shape("image", want, format!("{h} x {w}")));
            }
        };
        let mut embeddings = vec![0.0; b * grid[0] * grid[1] * 2 * c];
        let per_image = (grid[0] * grid[1] * 2 * c).max(1);
        let images = images.f32s()?.chunks_exact((c * h * w).max(1));
        for (image, embeddings) in images.zip(embeddings.chunks_exact_mut(per_image)) {
            for (channel, values) in image.chunks_exact((h * w).max(1)).enumerate() {
                let plane = Plane { values: values.to_vec(), h, w };
                let mut of_cell = embeddings.chunks_exact_mut(2 * c);
                plane.cells(grid, |cell| {
                    if let Some(embedding) = of_cell.next() {
                        embedding[channel] = mean(cell);
                        embedding[c + channel] = deviation(cell);
                    }
                });
            }
        }
        Ok(Outputs::one("patch_embeddings", embedded(b, grid, 2 * c, embeddings)?))
    }
}

/// Rows and columns of square patches. Errors: `Shape` if they leave a rest.
fn grid_of(h: usize, w: usize, patch: usize) -> Result<[usize; 2]> {
    match h.is_multiple_of(patch) && w.is_multiple_of(patch) {
        true => Ok([h / patch, w / patch]),
        false => {
            let want = format!("sides that are multiples of `patch`, {patch}");
            Err(Error::shape("image", want, format!("{h} x {w}")))
        }
    }
}

fn embedded(b: usize, [gh, gw]: [usize; 2], d: usize, values: Vec<f32>) -> Result<Tensor> {
    Tensor::new([b, gh, gw, d], values)
}

/// One channel of an image, row by row.
struct Plane {
    values: Vec<f32>,
    h: usize,
    w: usize,
}

/// Brightness as the eye weighs the colours (ITU-R BT.601).
fn grey(image: &[f32], h: usize, w: usize) -> Plane {
    let mut values = vec![0.0; h * w];
    for (channel, weight) in image.chunks_exact((h * w).max(1)).zip([0.299, 0.587, 0.114]) {
        values.iter_mut().zip(channel).for_each(|(grey, value)| *grey += weight * value);
    }
    Plane { values, h, w }
}

impl Plane {
    /// The mean of every 2 x 2 pixels; an odd last line is left out, of a single line it is kept.
    fn half(&self) -> Plane {
        let (h, w) = ((self.h / 2).max(1), (self.w / 2).max(1));
        let at = |y: usize, x: usize| self.values[y.min(self.h - 1) * self.w + x.min(self.w - 1)];
        let mean =
            |y: usize, x: usize| (at(y, x) + at(y, x + 1) + at(y + 1, x) + at(y + 1, x + 1)) / 4.0;
        let values = (0..h * w).map(|i| mean(i / w * 2, i % w * 2)).collect();
        Plane { values, h, w }
    }

    fn less_mean(&self, window: &[f32]) -> Plane {
        let means = self.along_rows(window).along_columns(window);
        let values = self.values.iter().zip(&means.values).map(|(value, mean)| value - mean);
        Plane { values: values.collect(), ..*self }
    }

    fn along_rows(&self, kernel: &[f32]) -> Plane {
        let mut values = vec![0.0; self.values.len()];
        let mut padded = vec![0.0; self.w + 2 * RADIUS];
        let rows = self.values.chunks_exact(self.w).zip(values.chunks_exact_mut(self.w));
        for (row, out) in rows {
            for (i, value) in padded.iter_mut().enumerate() {
                *value = row[mirrored(i, self.w)];
            }
            for (weight, shifted) in kernel.iter().zip(padded.windows(self.w)) {
                add(out, *weight, shifted);
            }
        }
        Plane { values, ..*self }
    }

    fn along_columns(&self, kernel: &[f32]) -> Plane {
        let mut values = vec![0.0; self.values.len()];
        for (y, out) in values.chunks_exact_mut(self.w).enumerate() {
            for (i, weight) in kernel.iter().enumerate() {
                let row = mirrored(y + i, self.h) * self.w;
                add(out, *weight, &self.values[row..row + self.w]);
            }
        }
        Plane { values, ..*self }
    }

    /// Shows `each` the pixels of every cell of a grid, row by row.
    fn cells(&self, [gh, gw]: [usize; 2], mut each: impl FnMut(&[f32])) {
        let mut cell = Vec::new();
        for i in 0..gh * gw {
            let (row, column) = (i / gw, i % gw);
            cell.clear();
            for y in row * self.h / gh..(row + 1) * self.h / gh {
                let line = &self.values[y * self.w..][..self.w];
                cell.extend(&line[column * self.w / gw..(column + 1) * self.w / gw]);
            }
            each(&cell);
        }
    }
}

fn add(out: &mut [f32], weight: f32, values: &[f32]) {
    out.iter_mut().zip(values).for_each(|(out, value)| *out += weight * value);
}

/// Where pixel `i - RADIUS` of a line of `n` lies when the line is mirrored at its ends.
fn mirrored(i: usize, n: usize) -> usize {
    let at = (i + (RADIUS / n + 1) * 2 * n - RADIUS) % (2 * n);
    at.min(2 * n - 1 - at)
}

/// A Gaussian of sum 1.
fn window() -> Vec<f32> {
    let distance = |i: usize| (i as f32 - RADIUS as f32) / SIGMA_PX;
    let bell: Vec<f32> =
        (0..=2 * RADIUS).map(|i| (-0.5 * distance(i) * distance(i)).exp()).collect();
    let total: f32 = bell.iter().sum();
    bell.iter().map(|value| value / total).collect()
}

/// In f64: the deviation of a flat patch is 0, not what rounding left.
fn mean(values: &[f32]) -> f32 {
    (values.iter().map(|value| f64::from(*value)).sum::<f64>() / values.len().max(1) as f64) as f32
}

fn deviation(values: &[f32]) -> f32 {
    let n = values.len().max(1) as f64;
    let mean = values.iter().map(|value| f64::from(*value)).sum::<f64>() / n;
    let squares = values.iter().map(|value| (f64::from(*value) - mean).powi(2));
    (squares.sum::<f64>() / n).sqrt() as f32
}

export!(encoder "gabor" = Gabor, encoder "patch-statistics" = PatchStatistics);

#[cfg(test)]
mod tests;
