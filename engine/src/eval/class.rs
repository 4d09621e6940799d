//! One class under several protocols at once: each image's map is brought to every space that a
//! protocol asks for, and counted there.

use loupe_kernels::{bilinear, opencv_bilinear_u8};
use rayon::prelude::*;

use super::{AnomalyMap, EvalError};
use crate::image::Mask;
use crate::metrics::{
    AuproDefinition, ClassMetrics, Digest, ImageScores, PixelAccumulator, PixelOptions, Protocol,
    Space,
};

/// A map and a mask in one space.
struct Placed {
    map: Vec<f32>,
    mask: Option<Vec<bool>>,
    height: usize,
    width: usize,
}

/// What a class came to.
pub struct Measured {
    /// One row for each protocol, in the order they were given.
    pub rows: Vec<ClassMetrics>,
    /// The score of a map from which on pixels reach the first protocol's highest F1; `None` without masks. It is
    /// an oracle's: it knows the test's masks.
    pub threshold: Option<f32>,
}

/// One image in every space of its evaluator; made by [`ClassEvaluator::prepare`].
pub struct Prepared {
    digests: Vec<Digest>,
    has_mask: bool,
}

/// Pixel and image metrics in one space.
struct Seat {
    space: Space,
    images: ImageScores,
    pixels: PixelAccumulator,
}

impl Seat {
    /// FADE clips image scores as it clips maps.
    fn push_score(&mut self, name: &str, score: f64, anomalous: bool) -> Result<(), EvalError> {
        let score = match self.space {
            Space::FadeU8 { .. } if score.is_finite() => score.clamp(0.0, 1.0),
            _ => score,
        };
        Ok(self.images.push(name, score, anomalous)?)
    }
}

/// Streaming metrics of one class. `prepare` is pure and may run on any thread; `push` counts.
pub struct ClassEvaluator {
    class: String,
    protocols: Vec<Protocol>,
    limits: Vec<f64>,
    seats: Vec<Seat>,
    has_masks: bool,
}

impl ClassEvaluator {
    /// `budget_bytes` is shared among the spaces. Errors: `Metric` (a limit outside 0..=1).
    pub fn new(
        class: &str,
        protocols: &[Protocol],
        limits: &[f64],
        budget_bytes: usize,
    ) -> Result<Self, EvalError> {
        let mut spaces: Vec<Space> = Vec::new();
        for protocol in protocols {
            if !spaces.contains(&protocol.space) {
                spaces.push(protocol.space);
            }
        }
        let seat = |&space: &Space| {
            let wanted = protocols.iter().filter(|protocol| protocol.space == space);
            let mut definitions: Vec<AuproDefinition> = wanted.map(|entry| entry.aupro).collect();
            definitions.sort_unstable();
            definitions.dedup();
            definitions.retain(|&definition| definition != AuproDefinition::Exact);
            let pixels = PixelAccumulator::new(PixelOptions {
                limits: limits.to_vec(),
                definitions,
                budget_bytes: budget_bytes / spaces.len(),
            })?;
            Ok(Seat { space, images: ImageScores::new(), pixels })
        };
        let seats = spaces.iter().map(seat).collect::<Result<_, EvalError>>()?;
        Ok(ClassEvaluator {
            class: class.to_string(),
            protocols: protocols.to_vec(),
            limits: limits.to_vec(),
            seats,
            has_masks: false,
        })
    }

    /// Brings a map and its mask to each space. `native_hw` is the size of the mask, or of the
    /// image where there is no mask. Errors: `Resize`, `Mask`, `Metric` naming the image.
    pub fn prepare(
        &self,
        name: &str,
        map: &AnomalyMap,
        mask: Option<Mask>,
        native_hw: [usize; 2],
    ) -> Result<Prepared, EvalError> {
        let digest = |seat: &Seat| {
            let Placed { map, mask, height, width } = match seat.space {
                Space::Native => native(name, map, mask.as_ref(), native_hw)?,
                Space::FadeU8 { side } => fade(name, map, mask.as_ref(), [side, side])?,
            };
            Ok(seat.pixels.digest(name, &map, mask.as_deref(), [height, width])?)
        };
        let digests = self.seats.iter().map(digest).collect::<Result<_, EvalError>>()?;
        Ok(Prepared { digests, has_mask: mask.is_some() })
    }

    /// Counts one image. Errors: `Metric` naming the image.
    pub fn push(
        &mut self,
        name: &str,
        score: f64,
        anomalous: bool,
        prepared: Prepared,
    ) -> Result<(), EvalError> {
        self.has_masks |= prepared.has_mask;
        for (seat, digest) in self.seats.iter_mut().zip(prepared.digests) {
            seat.push_score(name, score, anomalous)?;
            seat.pixels.push(digest)?;
        }
        Ok(())
    }

    /// Counts an image of a method that gives scores and no maps. Errors: `Metric` naming the
    /// image.
    pub fn push_score(&mut self, name: &str, score: f64, anomalous: bool) -> Result<(), EvalError> {
        self.seats.iter_mut().try_for_each(|seat| seat.push_score(name, score, anomalous))
    }

    /// A class that never had a mask has no pixel metrics. Errors: `Metric`.
    pub fn finish(self) -> Result<Measured, EvalError> {
        let mut spaces = Vec::new();
        for seat in self.seats {
            spaces.push((seat.space, seat.images.metrics(), seat.pixels.finish()?));
        }
        let row = |protocol: &Protocol| {
            let space = spaces.iter().find(|space| space.0 == protocol.space)?;
            let pixels = self.has_masks.then_some(&space.2);
            Some(ClassMetrics::new(&self.class, protocol, &self.limits, &space.1, pixels))
        };
        let first = spaces.first().filter(|_| self.has_masks);
        let threshold = first.and_then(|(space, _, pixels)| match space {
            Space::Native => pixels.f1max_threshold,
            Space::FadeU8 { .. } => pixels.f1max_threshold.map(|level| level / 255.0),
        });
        Ok(Measured { rows: self.protocols.iter().filter_map(row).collect(), threshold })
    }
}

fn parallel(n: usize, f: &(dyn Fn(usize) + Sync)) {
    (0..n).into_par_iter().for_each(f);
}

fn native(
    name: &str,
    map: &AnomalyMap,
    mask: Option<&Mask>,
    hw: [usize; 2],
) -> Result<Placed, EvalError> {
    let map = bilinear(&map.pixels, [1, map.height, map.width], hw, &parallel)
        .map_err(|source| EvalError::Resize { name: name.to_string(), source })?;
    let mask = mask.map(|mask| mask.pixels.clone());
    Ok(Placed { map, mask, height: hw[0], width: hw[1] })
}

/// Source: FADE's evaluation; 8 bits by truncation on the map's own grid, then resized.
fn fade(
    name: &str,
    map: &AnomalyMap,
    mask: Option<&Mask>,
    hw: [usize; 2],
) -> Result<Placed, EvalError> {
    let levels: Vec<u8> = map.pixels.iter().map(|&score| map.level(score)).collect();
    let levels = opencv_bilinear_u8(&levels, [1, map.height, map.width], hw, &parallel)
        .map_err(|source| EvalError::Resize { name: name.to_string(), source })?;
    let mask = mask.map(|mask| mask.resize(hw, &parallel)).transpose()?;
    Ok(Placed {
        map: levels.into_iter().map(f32::from).collect(),
        mask: mask.map(|mask| mask.pixels),
        height: hw[0],
        width: hw[1],
    })
}
