//! Pixel-level metrics of one class, fed image by image and exact over f32 scores.
//!
//! What is kept per pixel is its score's rank key (4 bytes), and for an anomalous pixel the size
//! of its region beside it: one sorted walk then yields every metric, and nothing depends on the
//! order of the images or on how they were split among accumulators.

use rayon::prelude::*;

use super::anomalib_old::anomalib_old;
use super::components::{Connectivity, Span, holes, label};
use super::legacy::{self, Scores};
use super::protocol::AuproDefinition;
use super::runs::{Runs, rank_key, score_of};
use super::sweep::{NO_ANOMALOUS, NO_NORMAL, ProSweep, RankSweep, Step};
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
    normal: Runs<u32>,
    beside: Runs<u32>,
    /// Anomalous pixels with the size of their region, 8- and 4-connected.
    anomalous: Runs<u64>,
    anomalous_four: Runs<u64>,
    /// Pixels inside the holes of regions, with the region's size.
    holes: Runs<u64>,
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
            normal: Runs::new(eighth * 2),
            beside: Runs::new(eighth * 3),
            anomalous: Runs::new(eighth),
            anomalous_four: Runs::new(eighth),
            holes: Runs::new(eighth),
            regions: Vec::new(),
        })
    }

    /// Adds one image. Shapes: `map [h * w]` and `mask [h * w]`, row-major, of one size; a set
    /// mask pixel is anomalous, no mask means a normal image.
    /// Errors: `NonFinitePixel` naming image and pixel, `Size`, `TooLarge`, `Spill`.
    pub fn push(
        &mut self,
        image: &str,
        map: &[f32],
        mask: Option<&[bool]>,
        height: usize,
        width: usize,
    ) -> Result<(), MetricError> {
        let range = check(image, map, mask, height, width)?;
        self.n_images += 1;
        self.score_range = widen(self.score_range, range);
        let regions = mask.map(|mask| label(mask, width, Connectivity::Eight)).unwrap_or_default();
        let Some(mask) = mask.filter(|_| !regions.spans.is_empty()) else {
            return self.normal.extend(map, rank_key);
        };
        self.n_masked_images += 1;
        self.n_regions += regions.sizes.len() as u64;
        let mut at = 0;
        for span in &regions.spans {
            let pixels = flat(span, width);
            self.beside.extend(map.get(at..pixels.start).unwrap_or_default(), rank_key)?;
            at = pixels.end;
        }
        self.beside.extend(map.get(at..).unwrap_or_default(), rank_key)?;
        extend(&mut self.anomalous, map, width, &regions.spans, &regions.sizes)?;
        if self.wants(AuproDefinition::SpadeFilled200) {
            extend(&mut self.holes, map, width, &holes(&regions), &regions.sizes)?;
        }
        if self.wants(AuproDefinition::Quantile500FourConn) {
            let four = label(mask, width, Connectivity::Four);
            self.n_regions_four += four.sizes.len() as u64;
            extend(&mut self.anomalous_four, map, width, &four.spans, &four.sizes)?;
        }
        if self.wants(AuproDefinition::AnomalibOld) {
            let first = self.regions.len();
            self.regions.resize(first + regions.sizes.len(), Vec::new());
            for span in &regions.spans {
                let scores = map.get(flat(span, width)).unwrap_or_default();
                let keys = scores.iter().map(|&score| rank_key(score));
                self.regions[first + span.region as usize].extend(keys);
            }
            self.regions[first..].iter_mut().for_each(|keys| keys.sort_unstable());
        }
        Ok(())
    }

    /// Adds what another accumulator of the same options has seen; the result is the same as if
    /// one had seen all. Errors: `Merge`, `Spill`.
    pub fn merge(&mut self, other: Self) -> Result<(), MetricError> {
        if self.options != other.options {
            return Err(MetricError::Merge);
        }
        self.n_images += other.n_images;
        self.n_masked_images += other.n_masked_images;
        self.n_regions += other.n_regions;
        self.n_regions_four += other.n_regions_four;
        self.score_range = widen(self.score_range, other.score_range);
        self.normal.merge(other.normal)?;
        self.beside.merge(other.beside)?;
        self.anomalous.merge(other.anomalous)?;
        self.anomalous_four.merge(other.anomalous_four)?;
        self.holes.merge(other.holes)?;
        self.regions.extend(other.regions);
        Ok(())
    }

    /// Evaluates all that was pushed. Errors: `Spill`.
    pub fn finish(mut self) -> Result<PixelMetrics, MetricError> {
        self.normal.seal()?;
        self.beside.seal()?;
        self.anomalous.seal()?;
        self.anomalous_four.seal()?;
        self.holes.seal()?;
        // Regions in an order of their own, so that sums over them do not depend on the images'.
        self.regions.sort_unstable_by(|one, other| {
            one.len().cmp(&other.len()).then_with(|| one.cmp(other))
        });
        let (all, only, areas) = self.walk()?;
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

    fn walk(&self) -> Result<Walked, MetricError> {
        let n_anomalous = self.anomalous.len();
        let mut all = RankSweep::new(n_anomalous, self.n_normal());
        let mut only = RankSweep::new(n_anomalous, self.beside.len());
        let mut pro = ProSweep::new(&self.options.limits, self.n_normal(), self.n_regions);
        let (mut normal, mut beside) = (self.normal.cursor(), self.beside.cursor());
        let mut anomalous = self.anomalous.cursor();
        let (mut n_normal, mut n_beside) = (0, 0);
        let mut sizes = Vec::new();
        while let Some(key) = anomalous.peek()? {
            sizes.clear();
            anomalous.visit(key, true, |records| {
                sizes.extend(records.iter().map(|&record| record as u32));
            })?;
            sizes.sort_unstable();
            let anomalous = sizes.len() as u64;
            n_normal += normal.count(key, false)?;
            n_beside += beside.count(key, false)?;
            let (above, above_beside) = (n_normal + n_beside, n_beside);
            n_normal += normal.count(key, true)?;
            n_beside += beside.count(key, true)?;
            let step = Step { above, upto: n_normal + n_beside, anomalous };
            all.step(key, step);
            only.step(key, Step { above: above_beside, upto: n_beside, anomalous });
            pro.step(step, &sizes);
        }
        Ok((all.finish(), only.finish(), pro.finish()))
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

type Walked = (super::sweep::RankMetrics<u32>, super::sweep::RankMetrics<u32>, Vec<f64>);

/// The lowest and the highest score, if any.
fn check(
    image: &str,
    map: &[f32],
    mask: Option<&[bool]>,
    height: usize,
    width: usize,
) -> Result<Option<(f32, f32)>, MetricError> {
    let limit = u64::from(u32::MAX);
    let want = match height.checked_mul(width) {
        Some(want) if want as u64 <= limit => want,
        _ => return Err(MetricError::TooLarge { image: image.to_string(), height, width, limit }),
    };
    let lengths = [("map", Some(map.len())), ("mask", mask.map(<[bool]>::len))];
    for (what, got) in lengths {
        if let Some(got) = got.filter(|&got| got != want) {
            let image = image.to_string();
            return Err(MetricError::Size { image, what, height, width, want, got });
        }
    }
    if let Some(at) = map.iter().position(|score| !score.is_finite()) {
        let (row, column) = (at / width, at % width);
        let image = image.to_string();
        return Err(MetricError::NonFinitePixel { image, row, column, value: map[at] });
    }
    let fold = |pick: fn(f32, f32) -> f32| map.iter().copied().reduce(pick);
    Ok(fold(f32::min).zip(fold(f32::max)))
}

fn widen(one: Option<(f32, f32)>, other: Option<(f32, f32)>) -> Option<(f32, f32)> {
    match (one, other) {
        (Some(one), Some(other)) => Some((one.0.min(other.0), one.1.max(other.1))),
        (one, other) => one.or(other),
    }
}

fn flat(span: &Span, width: usize) -> std::ops::Range<usize> {
    let row = span.row as usize * width;
    row + span.start as usize..row + span.end as usize
}

fn extend(
    runs: &mut Runs<u64>,
    map: &[f32],
    width: usize,
    spans: &[Span],
    sizes: &[u32],
) -> Result<(), MetricError> {
    for span in spans {
        let size = u64::from(sizes[span.region as usize]);
        let scores = map.get(flat(span, width)).unwrap_or_default();
        runs.extend(scores, |score| u64::from(rank_key(score)) << 32 | size)?;
    }
    Ok(())
}
