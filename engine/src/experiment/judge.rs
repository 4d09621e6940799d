//! One class, judged image by image: each map is brought into the spaces of the metrics, counted, and saved.

use std::path::PathBuf;

use loupe_datasets::Sample;

use super::{Cell, ClassRecord, ExperimentError, ImageRecord, ReferenceRecord, training_record};
use crate::eval::{AnomalyMap, ClassEvaluator};
use crate::image::{Mask, decode_mask};
use crate::metrics::DEFAULT_LIMITS;
use crate::plugin::Tensor;
use crate::predict::score_of;
use crate::report::RunFolder;
use crate::run::{ClassImages, Image, RunError, Scored, Work, hex};

/// Memory for sorted scores of one class; beyond it they go to temporary files. Bytes.
pub const METRIC_BYTES: usize = 512 << 20;

/// A class whose images are scored one after the other.
pub(super) struct ClassJudge<'c> {
    cell: &'c Cell<'c>,
    class: ClassImages,
    samples: Vec<Sample>,
    evaluator: ClassEvaluator,
    /// Without every anomalous mask no pixel can be judged: a missing mask is unknown, not empty.
    masked: bool,
    images: Vec<ImageRecord>,
}

impl<'c> ClassJudge<'c> {
    /// `samples` are those of the class's tests, in order. Errors: `Eval`.
    pub(super) fn new(
        cell: &'c Cell<'c>,
        class: ClassImages,
        samples: Vec<Sample>,
    ) -> Result<Self, ExperimentError> {
        let evaluator =
            ClassEvaluator::new(&class.name, &cell.protocols, &DEFAULT_LIMITS, METRIC_BYTES)?;
        let masked = samples.iter().all(|sample| !sample.anomalous || sample.mask.is_some());
        Ok(ClassJudge { cell, class, samples, evaluator, masked, images: Vec::new() })
    }

    /// Judges the next image; its map goes into the folder, if there is one.
    /// Errors: `Mask`, `MaskSize`, `ReadMask`, `Run`, `Eval`, `Report`.
    pub(super) fn push(
        &mut self,
        scored: &Scored,
        folder: Option<&mut RunFolder>,
    ) -> Result<(), ExperimentError> {
        let at = self.images.len();
        let (Some(sample), Some(image)) = (self.samples.get(at), self.class.tests.get(at)) else {
            return Ok(());
        };
        let name = &self.class.name;
        let of = Of { cell: self.cell, class: name, sample, image };
        let map = scored.anomaly_map.as_ref().map(grid).transpose();
        let map = map.map_err(|source| of.failed(source))?;
        self.cell.engine.time(Work::Metrics, || match &map {
            Some(map) if self.masked => of.measure(scored, map, &mut self.evaluator),
            _ => Ok(self.evaluator.push_score(&sample.name, score(scored), sample.anomalous)?),
        })?;
        let map = match (&map, folder) {
            (Some(map), Some(folder)) => {
                Some(self.cell.engine.time(Work::Report, || of.save(folder, map))?)
            }
            _ => None,
        };
        self.images.push(record_of(sample, scored, map));
        Ok(())
    }

    /// Errors: `Eval`.
    pub(super) fn finish(self) -> Result<ClassRecord, ExperimentError> {
        let reference = |image: &Image| ReferenceRecord {
            name: image.name.clone(),
            blake3: hex(&image.digest),
        };
        let evaluator = self.evaluator;
        let measured = self.cell.engine.time(Work::Metrics, || evaluator.finish())?;
        Ok(ClassRecord {
            training: training_record(self.cell.engine.pipeline, &self.class.name),
            references: self.class.references.iter().map(reference).collect(),
            class: self.class.name,
            display: self.class.display,
            images: self.images,
            metrics: measured.rows,
            threshold: measured.threshold,
        })
    }
}

fn record_of(sample: &Sample, scored: &Scored, map: Option<PathBuf>) -> ImageRecord {
    ImageRecord {
        name: sample.name.clone(),
        path: sample.path.clone(),
        kind: sample.kind.clone(),
        anomalous: sample.anomalous,
        mask: sample.mask.clone(),
        anomaly_score: scored.anomaly_score,
        map,
        from_cache: scored.from_cache,
        ms: scored.ms,
    }
}

/// The one map `[1, h, w]` of an image.
fn grid(map: &Tensor) -> Result<AnomalyMap, RunError> {
    match map.shape() {
        &[1, height, width] => AnomalyMap::new(map.data().to_vec(), height, width),
        _ => None,
    }
    .ok_or_else(|| RunError::Tensor {
        message: format!("`anomaly_map` wants one map `[1, h, w]` an image, got {:?}", map.shape()),
    })
}

/// An image that is judged.
struct Of<'a> {
    cell: &'a Cell<'a>,
    class: &'a str,
    sample: &'a Sample,
    image: &'a Image,
}

impl Of<'_> {
    fn failed(&self, source: RunError) -> ExperimentError {
        ExperimentError::Run { class: self.class.to_owned(), source }
    }

    fn measure(
        &self,
        scored: &Scored,
        map: &AnomalyMap,
        evaluator: &mut ClassEvaluator,
    ) -> Result<(), ExperimentError> {
        let Of { sample, image, .. } = self;
        let mask = self.mask()?;
        let native = match (&mask, image.header_size()) {
            (Some(mask), Some(image_hw)) => {
                let mask_hw = [mask.height, mask.width];
                if !same_proportions(mask_hw, image_hw) {
                    let (class, image) = (self.class.to_owned(), sample.name.clone());
                    return Err(ExperimentError::MaskSize { class, image, mask_hw, image_hw });
                }
                mask_hw
            }
            (Some(mask), None) => [mask.height, mask.width],
            (None, Some(image_hw)) => image_hw,
            (None, None) => image.size().map_err(|source| self.failed(source))?,
        };
        let prepared = evaluator.prepare(&sample.name, map, mask, native)?;
        Ok(evaluator.push(&sample.name, score(scored), sample.anomalous, prepared)?)
    }

    /// Saves a map on its grid or, if asked for, at its image's size. Gives its file in the run folder.
    fn save(&self, folder: &mut RunFolder, map: &AnomalyMap) -> Result<PathBuf, ExperimentError> {
        let Of { cell, class, sample, image } = self;
        if folder.wants_originals() {
            folder.save_originals(sample, self.mask()?.as_ref(), map)?;
        }
        let grid = [map.height, map.width];
        if !cell.full_maps {
            return Ok(folder.save_map(class, &sample.name, grid, &map.pixels)?);
        }
        let size = match image.header_size() {
            Some(size) => size,
            None => image.size().map_err(|source| self.failed(source))?,
        };
        let parallel = |n: usize, body: &(dyn Fn(usize) + Sync)| cell.engine.parallel(n, body);
        let full = loupe_kernels::bilinear(&map.pixels, [1, grid[0], grid[1]], size, &parallel)
            .map_err(|source| self.failed(RunError::Map(source.into())))?;
        Ok(folder.save_map(class, &sample.name, size, &full)?)
    }

    fn mask(&self) -> Result<Option<Mask>, ExperimentError> {
        let Some(path) = &self.sample.mask else { return Ok(None) };
        let bytes = std::fs::read(path).map_err(|source| ExperimentError::ReadMask {
            path: path.clone(),
            message: source.to_string(),
        })?;
        let mask = decode_mask(&bytes, &path.display().to_string(), self.cell.dataset.mask_above);
        Ok(Some(mask.map_err(|source| ExperimentError::Mask {
            class: self.class.to_owned(),
            image: self.sample.name.clone(),
            source,
        })?))
    }
}

/// Whether one is the other scaled, up to the rounding of a side.
fn same_proportions(a: [usize; 2], b: [usize; 2]) -> bool {
    let (left, right) = (a[0] * b[1], a[1] * b[0]);
    left.abs_diff(right) <= a.into_iter().chain(b).max().unwrap_or(0)
}

/// What has neither score nor map is refused by the metrics, with the image's name.
fn score(scored: &Scored) -> f64 {
    score_of(scored).unwrap_or(f64::NAN)
}
