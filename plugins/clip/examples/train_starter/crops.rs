//! Training triples: crops of a reference, an undamaged and a damaged picture of one product.

use loupe_kernels::{Filter, resize_u8, serial};

use crate::data::{Data, Picture};
use crate::error::{Result, TrainError};
use crate::light::relit;
use crate::rng::Rng;
use crate::tower::on_threads;

/// CLIP's mean and deviation of each channel.
const MEAN: [f32; 3] = [0.481_454_66, 0.457_827_5, 0.408_210_73];
const DEVIATION: [f32; 3] = [0.268_629_54, 0.261_302_6, 0.275_777_1];
/// How often a crop of a damaged picture is put where the damage is.
const AT_DAMAGE: f32 = 0.85;

/// What all crops of a step share.
#[derive(Clone, Copy, Debug)]
pub struct CropShape {
    /// Tokens along a side.
    pub grid: usize,
    /// Pixels along a patch.
    pub patch: usize,
    /// Side of what is cut out of a picture, in its pixels, before it is resized.
    pub source: usize,
}

/// One product's three crops.
pub struct Triple {
    pub product: usize,
    /// Of reference, undamaged and damaged: the first two in `good`, the last in `bad`.
    pub pictures: [usize; 3],
    /// Patches of each: `[grid*grid, 3*p*p]`, normalised as CLIP's images.
    pub patches: [Vec<f32>; 3],
    /// Damaged part of each patch of the damaged crop.
    pub coverage: Vec<f32>,
}

/// Draws `n` triples. All three crops are turned and mirrored alike, for a product may have a
/// direction; places and lights differ.
pub fn draw(
    data: &Data,
    n: usize,
    shape: CropShape,
    rng: &mut Rng,
    n_threads: usize,
) -> Result<Vec<Triple>> {
    let rngs: Vec<Rng> = (0..n).map(|_| rng.fork()).collect();
    on_threads(n, n_threads, |i| {
        let rng = rngs.get(i).ok_or(TrainError::Internal { what: "no such triple" })?;
        triple(data, shape, rng.clone())
    })
}

fn triple(data: &Data, shape: CropShape, mut rng: Rng) -> Result<Triple> {
    const NONE: TrainError = TrainError::Internal { what: "a product lacks pictures" };
    let index = rng.below(data.products.len());
    let product = data.products.get(index).ok_or(NONE)?;
    let reference = rng.below(product.good.len());
    let other = rng.below(product.good.len().saturating_sub(1));
    let query = if other < reference { other } else { other + 1 };
    let damaged = rng.below(product.bad.len());
    let turn = Turn { quarters: rng.below(4), mirrored: rng.chance(0.5) };
    let chosen = [(&product.good, reference), (&product.good, query), (&product.bad, damaged)];
    let mut patches = [const { Vec::new() }; 3];
    let mut coverage = Vec::new();
    for ((pictures, index), patches) in chosen.into_iter().zip(&mut patches) {
        let picture = pictures.get(index).ok_or(NONE)?;
        let corner = corner(picture, data.side, shape.source, &mut rng);
        let cut = Cut { side: data.side, corner, source: shape.source, turn };
        let side = shape.grid * shape.patch;
        let crop = cut.of(&picture.pixels, 3);
        let crop = resize_u8(&crop, [shape.source; 2], 3, [side; 2], Filter::Bicubic, &serial)
            .map_err(|_| TrainError::Internal { what: "a crop could not be resized" })?;
        let mut planes = planes(&crop, side * side);
        relit(&mut planes, side, &mut rng);
        *patches = unfolded(&planes, shape);
        if let Some(mask) = &picture.mask {
            coverage = pooled(&cut.of(mask, 1), shape.source, shape.grid);
        }
    }
    Ok(Triple { product: index, pictures: [reference, query, damaged], patches, coverage })
}

/// Top left corner of a crop.
fn corner(picture: &Picture, side: usize, source: usize, rng: &mut Rng) -> (usize, usize) {
    let room = side - source;
    let anywhere = (rng.below(room + 1), rng.below(room + 1));
    match rng.choice(&picture.places) {
        Some(&(y, x)) if rng.chance(AT_DAMAGE) => {
            let mut near = |at: usize| at.saturating_sub(rng.below(source)).min(room);
            (near(y), near(x))
        }
        _ => anywhere,
    }
}

#[derive(Clone, Copy, Debug)]
struct Turn {
    quarters: usize,
    mirrored: bool,
}

#[derive(Clone, Copy, Debug)]
struct Cut {
    /// Side of the picture.
    side: usize,
    corner: (usize, usize),
    source: usize,
    turn: Turn,
}

impl Cut {
    /// Shapes: `pixels [side,side,channels]` -> `[source,source,channels]`, turned against the
    /// clock, then mirrored.
    fn of(&self, pixels: &[u8], channels: usize) -> Vec<u8> {
        let last = self.source - 1;
        let mut cut = Vec::with_capacity(self.source * self.source * channels);
        for y in 0..self.source {
            for x in 0..self.source {
                let mut from = (y, if self.turn.mirrored { last - x } else { x });
                for _ in 0..self.turn.quarters {
                    from = (from.1, last - from.0);
                }
                let at = (self.corner.0 + from.0) * self.side + self.corner.1 + from.1;
                let pixel = pixels.get(at * channels..(at + 1) * channels);
                cut.extend_from_slice(pixel.unwrap_or_default());
            }
        }
        cut
    }
}

/// Interleaved bytes as planes with values in `0..=1`.
fn planes(pixels: &[u8], area: usize) -> Vec<f32> {
    let mut planes = Vec::with_capacity(3 * area);
    for channel in 0..3 {
        let values = pixels.iter().skip(channel).step_by(3);
        planes.extend(values.map(|v| f32::from(*v) / 255.0));
    }
    planes
}

/// Normalised patches as rows, in the order of the convolution's weight: channel, row, column.
fn unfolded(planes: &[f32], shape: CropShape) -> Vec<f32> {
    let CropShape { grid, patch, .. } = shape;
    let side = grid * patch;
    let mut patches = Vec::with_capacity(planes.len());
    for i in 0..grid * grid {
        let (top, left) = (i / grid * patch, i % grid * patch);
        let of_channels = planes.chunks_exact((side * side).max(1)).zip(MEAN.iter().zip(DEVIATION));
        for (plane, (mean, deviation)) in of_channels {
            for y in top..top + patch {
                let row = plane.get(y * side + left..y * side + left + patch).unwrap_or_default();
                patches.extend(row.iter().map(|v| (v - mean) / deviation));
            }
        }
    }
    patches
}

/// Mean of a mask over each cell of a grid; cells may share a row or column of pixels, as in
/// torch's adaptive average pooling.
fn pooled(mask: &[u8], side: usize, grid: usize) -> Vec<f32> {
    let cell = |i: usize| (i * side / grid, ((i + 1) * side).div_ceil(grid));
    let mut means = Vec::with_capacity(grid * grid);
    for (top, bottom) in (0..grid).map(cell) {
        for (left, right) in (0..grid).map(cell) {
            let rows = mask.chunks_exact(side).skip(top).take(bottom - top);
            let values = rows.flat_map(|row| row.get(left..right).unwrap_or_default());
            let sum: usize = values.map(|v| usize::from(*v)).sum();
            means.push(sum as f32 / ((bottom - top) * (right - left)) as f32);
        }
    }
    means
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(quarters: usize, mirrored: bool) -> Vec<u8> {
        let pixels: Vec<u8> = (0..9).collect();
        let turn = Turn { quarters, mirrored };
        Cut { side: 3, corner: (1, 0), source: 2, turn }.of(&pixels, 1)
    }

    #[test]
    fn a_cut_is_turned_against_the_clock_and_mirrored() {
        assert_eq!(cut(0, false), [3, 4, 6, 7]);
        assert_eq!(cut(0, true), [4, 3, 7, 6]);
        assert_eq!(cut(1, false), [4, 7, 3, 6]);
        assert_eq!(cut(1, true), [7, 4, 6, 3]);
        assert_eq!(cut(2, false), [7, 6, 4, 3]);
    }

    #[test]
    fn a_mask_is_pooled_as_torch_does() {
        // torch.nn.functional.adaptive_avg_pool2d of this mask to 2 x 2.
        let mask = [1, 0, 0, 0, 1, 0, 0, 0, 0];
        assert_eq!(pooled(&mask, 3, 2), [0.5, 0.25, 0.25, 0.25]);
    }

    #[test]
    fn patches_stand_in_the_order_of_the_convolution() {
        let planes: Vec<f32> = (0..48).map(|i| i as f32).collect();
        let rows = unfolded(&planes, CropShape { grid: 2, patch: 2, source: 4 });
        let row: Vec<f32> = rows[12..24].to_vec();
        let back = |i: usize| row[i] * DEVIATION[i / 4] + MEAN[i / 4];
        let pixels: Vec<f32> = (0..12).map(|i| back(i).round()).collect();
        assert_eq!(pixels, [2., 3., 6., 7., 18., 19., 22., 23., 34., 35., 38., 39.]);
    }
}
