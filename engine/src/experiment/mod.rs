//! A cell of a study: one pipeline with its shots and its seed, run over every class, measured and written down class by
//! class, so that a crash loses one class at most.

mod facts;
mod record;
mod training;

use std::path::{Path, PathBuf};

use loupe_datasets::{Dataset, Sample};
use thiserror::Error;

pub use facts::{facts, file_facts};
pub use record::{CellFacts, ClassRecord, FileFacts, ImageRecord, PluginFacts, ReferenceRecord};
pub use training::{Standing, TrainingRecord, setting_word, standing, training_record};

use crate::data::{self, DataError};
use crate::eval::{AnomalyMap, ClassEvaluator, EvalError};
use crate::image::{ImageError, Mask, decode_mask};
use crate::metrics::{ClassMetrics, DEFAULT_LIMITS, Protocol};
use crate::pipeline::model::{References, Setting};
use crate::plugin::Tensor;
use crate::predict::score_of;
use crate::report::{ReportError, RunFolder};
use crate::run::{ClassImages, ClassRun, Engine, Image, RunError, Scored, hex};

/// Memory for sorted scores of one class; beyond it they go to temporary files. Bytes.
const METRIC_BYTES: usize = 512 << 20;

#[derive(Debug, Error)]
pub enum ExperimentError {
    #[error("class `{class}`: {source}")]
    Run { class: String, source: RunError },
    #[error("class `{class}`: {source}")]
    Data { class: String, source: DataError },
    #[error("class `{class}`, image `{image}`: {source}")]
    Mask { class: String, image: String, source: ImageError },
    #[error(
        "class `{class}`, image `{image}`: its mask is {} x {} pixels, the image {} x {}; a mask \
         may be scaled, but wants the image's proportions", mask_hw[1], mask_hw[0], image_hw[1], image_hw[0]
    )]
    MaskSize { class: String, image: String, mask_hw: [usize; 2], image_hw: [usize; 2] },
    #[error("cannot read the mask `{}`: {message}", path.display())]
    ReadMask { path: PathBuf, message: String },
    #[error(
        "class `{class}`: `{}` was trained for class `{trained_for}`; train it for this class with \
         `loupe train`, or name the file itself as `state`", path.display()
    )]
    OtherClass { class: String, path: PathBuf, trained_for: String },
    #[error("the data set has no images to test")]
    NothingToTest,
    #[error(transparent)]
    Eval(#[from] EvalError),
    #[error(transparent)]
    Report(#[from] ReportError),
}

/// How one cell is run.
pub struct Cell<'a> {
    pub engine: &'a Engine<'a>,
    pub dataset: &'a Dataset,
    pub references: References,
    pub protocols: Vec<Protocol>,
    /// Saves maps at their images' size instead of on their grid.
    pub full_maps: bool,
}

/// What a cell came to.
#[derive(Debug, Default)]
pub struct CellResult {
    /// Rows of the classes, protocol by protocol.
    pub rows: Vec<Vec<ClassMetrics>>,
    pub n_images: usize,
    pub n_from_cache: usize,
    /// What its numbers are called, where the caller knows its `standing`.
    pub setting: Setting,
    /// The user stopped it; `rows` hold the classes that were done.
    pub interrupted: bool,
}

/// What the caller shows while a cell runs.
pub trait Watch {
    /// Before a class: its name and the number of its test images.
    fn class(&mut self, class: &str, n_images: usize);
    /// After each image.
    fn image(&mut self);
}

/// Runs every class of the data set and writes each into the folder when it is done.
/// Errors: the first failure, naming class and image; classes that were done stay in the folder.
pub fn run_cell(
    cell: &Cell<'_>,
    folder: &mut RunFolder,
    watch: &mut dyn Watch,
) -> Result<CellResult, ExperimentError> {
    let mut result =
        CellResult { rows: vec![Vec::new(); cell.protocols.len()], ..Default::default() };
    for class in &cell.dataset.classes {
        let compat = cell.engine.pipeline.compat;
        let prepared = data::class_images(class, &cell.references, compat);
        let (images, samples) = prepared
            .map_err(|source| ExperimentError::Data { class: class.name.clone(), source })?;
        watch.class(&class.name, samples.len());
        let run = ClassRun::new(cell.engine, images)
            .map_err(|source| ExperimentError::Run { class: class.name.clone(), source })?;
        match run_class(cell, run, &samples, Some(folder), watch) {
            Ok(record) => {
                result.n_images += record.images.len();
                result.n_from_cache +=
                    record.images.iter().filter(|image| image.from_cache).count();
                for (rows, row) in result.rows.iter_mut().zip(&record.metrics) {
                    rows.push(row.clone());
                }
                folder.add_class(record)?;
            }
            Err(ExperimentError::Run { source: RunError::Cancelled, .. }) => {
                result.interrupted = true;
                break;
            }
            Err(error) => return Err(error),
        }
        cell.engine.flush();
    }
    if result.n_images == 0 && !result.interrupted {
        return Err(ExperimentError::NothingToTest);
    }
    cell.engine.flush();
    Ok(result)
}

/// Metrics of one class, protocol by protocol, with what the trained stage learned in this file; nothing is
/// written down.
/// Errors: as `run_cell`.
pub fn measure_class(
    cell: &Cell<'_>,
    images: ClassImages,
    samples: &[Sample],
    (stage, state): (usize, &Path),
    watch: &mut dyn Watch,
) -> Result<Vec<ClassMetrics>, ExperimentError> {
    let class = images.name.clone();
    let mut run = ClassRun::new(cell.engine, images);
    let read = run.as_mut().map_or(Ok(()), |run| run.read_state(stage, state));
    let run = read.and(run).map_err(|source| ExperimentError::Run { class, source })?;
    Ok(run_class(cell, run, samples, None, watch)?.metrics)
}

fn run_class(
    cell: &Cell<'_>,
    mut run: ClassRun<'_>,
    samples: &[Sample],
    mut folder: Option<&mut RunFolder>,
    watch: &mut dyn Watch,
) -> Result<ClassRecord, ExperimentError> {
    let class = run.class().clone();
    let failed = |source| ExperimentError::Run { class: class.name.clone(), source };
    let mut evaluator =
        ClassEvaluator::new(&class.name, &cell.protocols, &DEFAULT_LIMITS, METRIC_BYTES)?;
    // Without every anomalous mask no pixel can be judged: a missing mask is unknown, not empty.
    let masked = samples.iter().all(|sample| !sample.anomalous || sample.mask.is_some());
    let mut images = Vec::with_capacity(samples.len());
    for (sample, image) in samples.iter().zip(&class.tests) {
        cell.engine.stop_if_cancelled().map_err(failed)?;
        let scored = run.score(image).map_err(failed)?;
        let map = scored.anomaly_map.as_ref().map(grid).transpose().map_err(failed)?;
        match &map {
            Some(map) if masked => {
                measure(cell, &class.name, sample, image, &scored, map, &mut evaluator)?;
            }
            _ => evaluator.push_score(&sample.name, score(&scored), sample.anomalous)?,
        }
        let map = match (&map, folder.as_deref_mut()) {
            (Some(map), Some(folder)) => Some(save(cell, folder, &class.name, sample, image, map)?),
            _ => None,
        };
        images.push(record_of(sample, &scored, map));
        watch.image();
    }
    let reference =
        |image: &Image| ReferenceRecord { name: image.name.clone(), blake3: hex(&image.digest) };
    let measured = evaluator.finish()?;
    Ok(ClassRecord {
        class: class.name.clone(),
        display: class.display.clone(),
        references: class.references.iter().map(reference).collect(),
        images,
        metrics: measured.rows,
        threshold: measured.threshold,
        training: training_record(cell.engine.pipeline, &class.name),
    })
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

fn measure(
    cell: &Cell<'_>,
    class: &str,
    sample: &Sample,
    image: &Image,
    scored: &Scored,
    map: &AnomalyMap,
    evaluator: &mut ClassEvaluator,
) -> Result<(), ExperimentError> {
    let mask = mask_of(cell, class, sample)?;
    let native = match &mask {
        Some(mask) => {
            let mask_hw = [mask.height, mask.width];
            match image.header_size() {
                Some(image_hw) if !same_proportions(mask_hw, image_hw) => {
                    let (class, image) = (class.to_owned(), sample.name.clone());
                    return Err(ExperimentError::MaskSize { class, image, mask_hw, image_hw });
                }
                _ => mask_hw,
            }
        }
        None => {
            let run = |source| ExperimentError::Run { class: class.to_owned(), source };
            image.size().map_err(run)?
        }
    };
    let prepared = evaluator.prepare(&sample.name, map, mask, native)?;
    Ok(evaluator.push(&sample.name, score(scored), sample.anomalous, prepared)?)
}

/// Whether one is the other scaled, up to the rounding of a side.
fn same_proportions(a: [usize; 2], b: [usize; 2]) -> bool {
    let (left, right) = (a[0] * b[1], a[1] * b[0]);
    left.abs_diff(right) <= a.into_iter().chain(b).max().unwrap_or(0)
}

/// Saves a map on its grid or, if asked for, at its image's size. Gives its file in the run folder.
fn save(
    cell: &Cell<'_>,
    folder: &mut RunFolder,
    class: &str,
    sample: &Sample,
    image: &Image,
    map: &AnomalyMap,
) -> Result<PathBuf, ExperimentError> {
    let failed = |source| ExperimentError::Run { class: class.to_owned(), source };
    if folder.wants_originals() {
        let mask = mask_of(cell, class, sample)?;
        folder.save_originals(sample, mask.as_ref(), map)?;
    }
    let grid = [map.height, map.width];
    if !cell.full_maps {
        return Ok(folder.save_map(class, &sample.name, grid, &map.pixels)?);
    }
    let size = image.size().map_err(failed)?;
    let parallel = |n: usize, body: &(dyn Fn(usize) + Sync)| cell.engine.parallel(n, body);
    let full = loupe_kernels::bilinear(&map.pixels, [1, grid[0], grid[1]], size, &parallel)
        .map_err(|source| failed(RunError::Map(source.into())))?;
    Ok(folder.save_map(class, &sample.name, size, &full)?)
}

/// What has neither score nor map is refused by the metrics, with the image's name.
fn score(scored: &Scored) -> f64 {
    score_of(scored).unwrap_or(f64::NAN)
}

fn mask_of(cell: &Cell<'_>, class: &str, sample: &Sample) -> Result<Option<Mask>, ExperimentError> {
    let Some(path) = &sample.mask else { return Ok(None) };
    let bytes = std::fs::read(path).map_err(|source| ExperimentError::ReadMask {
        path: path.clone(),
        message: source.to_string(),
    })?;
    let mask = decode_mask(&bytes, &path.display().to_string(), cell.dataset.mask_above);
    Ok(Some(mask.map_err(|source| ExperimentError::Mask {
        class: class.to_owned(),
        image: sample.name.clone(),
        source,
    })?))
}
