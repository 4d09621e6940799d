//! Pixel-level metrics of one class, fed image by image and exact over f32 scores.
//!
//! What is kept per pixel is its score's rank key, the upper half once for all that share it, and for
//! an anomalous pixel the size of its region beside it: one sorted walk then yields every metric, and
//! nothing depends on the order of the images.

use rayon::prelude::*;

use super::anomalib_old::anomalib_old;
use super::digest::{Digest, score_of};
use super::legacy::{self, Scores};
use super::levels::Levels;
use super::protocol::AuproDefinition;
use super::sweep::{NO_ANOMALOUS, NO_NORMAL};
use super::walk::{Stores, walk};
use super::{DEFAULT_LIMITS, MetricError, Value};

/// What an accumulator collects, and how much memory its sorted scores may take.
#[derive(Clone, Debug, PartialEq)]
pub struct PixelOptions {
    /// Limits L of `pixel.aupro@L`, each in 0..=1 without 0.
    pub limits: Vec<f64>,
    /// Definitions beside the exact one; each collects only what it needs.
    pub definitions: Vec<AuproDefinition>,
    /// Beyond this, sorted scores go to unnamed temporary files. Bytes.
    pub budget_bytes: usize,
}

impl Default for PixelOptions {
    fn default() -> Self {
        let limits = DEFAULT_LIMITS.to_vec();
        PixelOptions { limits, definitions: Vec::new(), budget_bytes: 384 << 20 }
    }
}

/// Fractions in 0..=1; all pixels of all images of the class, normal images included. The names
/// with `anomalous_only` take the images whose mask is not empty.
#[derive(Clone, Debug, PartialEq)]
pub struct PixelMetrics {
    pub n_images: usize,
    pub n_masked_images: usize,
    pub n_pixels: u64,
    pub n_anomalous_pixels: u64,
    pub n_regions: u64,
    pub auroc: Value,
    pub ap: Value,
    pub f1max: Value,
    /// The highest threshold that reaches `f1max`; anomalous if the score is at least this.
    pub f1max_threshold: Option<f32>,
    pub auroc_anomalous_only: Value,
    pub f1max_anomalous_only: Value,
    /// One value for each of the options' limits.
    pub aupro: Vec<Value>,
    /// One row for each of the options' definitions, one value for each limit.
    pub legacy: Vec<(AuproDefinition, Vec<Value>)>,
}

/// Streaming pixel metrics of one class.
pub struct PixelAccumulator {
    options: PixelOptions,
    n_images: usize,
    n_masked_images: usize,
    n_regions: u64,
    n_regions_four: u64,
    score_range: Option<(f32, f32)>,
    /// Normal pixels of images without an anomalous pixel, and of the others.
    normal: Levels<u16>,
    beside: Levels<u16>,
    /// Anomalous pixels with the size of their region, 8- and 4-connected.
    anomalous: Levels<u64>,
    anomalous_four: Levels<u64>,
    /// Pixels inside the holes of regions, with the region's size.
    holes: Levels<u64>,
    /// Rank keys of each region, ascending.
    regions: Vec<Vec<u32>>,
}

impl PixelAccumulator {
    /// Errors: `Limit` if a limit is not in 0 < L <= 1.
    pub fn new(options: PixelOptions) -> Result<Self, MetricError> {
        if let Some(&limit) = options.limits.iter().find(|&&limit| !(limit > 0.0 && limit <= 1.0)) {
            return Err(MetricError::Limit { limit });
        }
        let eighth = options.budget_bytes / 8;
        Ok(PixelAccumulator {
            options,
            n_images: 0,
            n_masked_images: 0,
            n_regions: 0,
            n_regions_four: 0,
            score_range: None,
            normal: Levels::new(eighth * 2),
            beside: Levels::new(eighth * 3),
            anomalous: Levels::new(eighth),
            anomalous_four: Levels::new(eighth),
            holes: Levels::new(eighth),
            regions: Vec::new(),
        })
    }

    /// What is counted of one image; pure, so that images can be looked at on several threads. Shapes:
    /// `map [h * w]` and `mask [h * w]`, row-major, of one size; a set mask pixel is anomalous, no mask
    /// means a normal image. Errors: `NonFinitePixel` naming image and pixel, `Size`, `TooLarge`.
    pub fn digest(
        &self,
        image: &str,
        map: &[f32],
        mask: Option<&[bool]>,
        hw: [usize; 2],
    ) -> Result<Digest, MetricError> {
        Digest::new(image, map, mask, hw, |definition| self.wants(definition))
    }

    /// Counts one image, whose digest this accumulator made. Errors: `Spill`.
    pub fn push(&mut self, image: Digest) -> Result<(), MetricError> {
        self.n_images += 1;
        self.score_range = match (self.score_range, image.range) {
            (Some(one), Some(other)) => Some((one.0.min(other.0), one.1.max(other.1))),
            (one, other) => one.or(other),
        };
        if image.n_regions == 0 {
            return image.normal.add_to(&mut self.normal);
        }
        self.n_masked_images += 1;
        self.n_regions += image.n_regions;
        self.n_regions_four += image.n_regions_four;
        self.regions.extend(image.regions);
        image.normal.add_to(&mut self.beside)?;
        image.anomalous.add_to(&mut self.anomalous)?;
        image.four.add_to(&mut self.anomalous_four)?;
        image.holes.add_to(&mut self.holes)
    }

    /// Evaluates all that was pushed. Errors: `Spill`.
    pub fn finish(mut self) -> Result<PixelMetrics, MetricError> {
        // Regions in an order of their own, so that sums over them do not depend on the images'.
        self.regions.sort_unstable_by(|one, other| {
            one.len().cmp(&other.len()).then_with(|| one.cmp(other))
        });
        let stores = Stores {
            normal: &self.normal,
            beside: &self.beside,
            anomalous: &self.anomalous,
            n_regions: self.n_regions,
        };
        let (all, only, areas) = walk(&stores, &self.options.limits)?;
        let missing = self.missing();
        let value = |area: f64| match missing {
            Some(reason) => Value::undefined(reason),
            None => Value::Number(area),
        };
        Ok(PixelMetrics {
            n_images: self.n_images,
            n_masked_images: self.n_masked_images,
            n_pixels: self.n_normal() + self.anomalous.len(),
            n_anomalous_pixels: self.anomalous.len(),
            n_regions: self.n_regions,
            auroc: all.auroc,
            ap: all.ap,
            f1max: all.f1max,
            f1max_threshold: all.threshold.map(score_of),
            auroc_anomalous_only: only.auroc,
            f1max_anomalous_only: only.f1max,
            aupro: areas.into_iter().map(value).collect(),
            legacy: self.legacy(missing)?,
        })
    }

    fn n_normal(&self) -> u64 {
        self.normal.len() + self.beside.len()
    }

    fn wants(&self, definition: AuproDefinition) -> bool {
        self.options.definitions.contains(&definition)
    }

    fn missing(&self) -> Option<&'static str> {
        match (self.anomalous.len(), self.n_normal()) {
            (0, _) => Some(NO_ANOMALOUS),
            (_, 0) => Some(NO_NORMAL),
            _ => None,
        }
    }

    fn legacy(
        &self,
        missing: Option<&'static str>,
    ) -> Result<Vec<(AuproDefinition, Vec<Value>)>, MetricError> {
        let scores = Scores {
            normal: &self.normal,
            beside: &self.beside,
            anomalous: &self.anomalous,
            n_normal: self.n_normal(),
            n_regions: self.n_regions,
            range: self.score_range.unwrap_or_default(),
        };
        let evaluate = |definition: AuproDefinition, limit: f64| match definition {
            AuproDefinition::Cflow200 => legacy::cflow_200(&scores, limit),
            AuproDefinition::SpadeFilled200 => {
                legacy::spade_filled_200(&scores, &self.holes, limit)
            }
            AuproDefinition::Quantile500FourConn => legacy::quantile_500_four_conn(
                &scores,
                (&self.anomalous_four, self.n_regions_four),
                limit,
            ),
            AuproDefinition::Quantile200 => legacy::quantile_200(&scores, limit),
            AuproDefinition::AnomalibOld => anomalib_old(&scores, &self.regions, limit),
            AuproDefinition::Exact => Ok(Value::undefined("the exact value is `aupro`")),
        };
        let row = |definition: AuproDefinition| {
            let limits = self.options.limits.iter();
            let values = limits.map(|&limit| match missing {
                Some(reason) => Ok(Value::undefined(reason)),
                None => evaluate(definition, limit),
            });
            Ok((definition, values.collect::<Result<_, _>>()?))
        };
        self.options.definitions.par_iter().copied().map(row).collect()
    }
}
