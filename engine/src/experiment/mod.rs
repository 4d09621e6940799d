//! A cell of a study: one pipeline with its shots and its seed, run over every class, measured and written down class by
//! class, so that a crash loses one class at most.

mod facts;
mod judge;
mod record;
mod training;

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use loupe_datasets::{Dataset, Sample};
use thiserror::Error;

pub use facts::{facts, file_facts};
pub use record::{CellFacts, ClassRecord, FileFacts, ImageRecord, PluginFacts, ReferenceRecord};
pub use training::{Standing, TrainingRecord, setting_word, standing, training_record};

use judge::ClassJudge;
pub use judge::METRIC_BYTES;

use crate::data::{self, DataError};
use crate::eval::EvalError;
use crate::image::ImageError;
use crate::metrics::{ClassMetrics, Protocol};
use crate::pipeline::model::{References, Setting};
use crate::report::{ReportError, RunFolder};
use crate::run::{self, ClassImages, ClassRun, Engine, RunError, Scored};

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

/// Runs every class of the data set and writes each into the folder when it is done. What has been scored is measured
/// and written on a thread behind the one that calls components, so that the encoder waits for neither.
/// Errors: the first failure, naming class and image; classes that were done stay in the folder.
pub fn run_cell(
    cell: &Cell<'_>,
    folder: &mut RunFolder,
    watch: &mut dyn Watch,
) -> Result<CellResult, ExperimentError> {
    let (ahead, behind) = sync_channel(cell.engine.most_waiting());
    let (scored, judged) = thread::scope(|scope| {
        let judge = scope.spawn(|| judge_all(cell, behind, folder));
        let scored = score_all(cell, ahead, watch);
        let judged = judge.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        (scored, judged)
    });
    cell.engine.flush();
    // What was judged had been scored before: its error is the first one.
    let mut result = judged?;
    match scored {
        Err(ExperimentError::Run { source: RunError::Cancelled, .. }) => result.interrupted = true,
        scored => scored?,
    }
    if result.n_images == 0 && !result.interrupted {
        return Err(ExperimentError::NothingToTest);
    }
    Ok(result)
}

/// What is handed to the thread behind.
enum Work<'c> {
    /// The scores that follow are this class's, one for each of its images.
    Class(Box<ClassJudge<'c>>),
    Image(Scored),
    /// The class is complete; without it, it was stopped.
    Done,
}

fn score_all<'c>(
    cell: &'c Cell<'c>,
    ahead: SyncSender<Work<'c>>,
    watch: &mut dyn Watch,
) -> Result<(), ExperimentError> {
    // Where nobody listens any more, the judge has failed and tells why.
    let send = |work| ahead.send(work).map_err(|_| RunError::Cancelled);
    for class in &cell.dataset.classes {
        let failed = |source| ExperimentError::Run { class: class.name.clone(), source };
        let compat = cell.engine.pipeline.compat;
        let prepared = cell.engine.within(|| data::class_images(class, &cell.references, compat));
        let (images, samples) = prepared
            .map_err(|source| ExperimentError::Data { class: class.name.clone(), source })?;
        watch.class(&class.name, samples.len());
        let mut run = ClassRun::new(cell.engine, images).map_err(failed)?;
        let judge = ClassJudge::new(cell, run.class().clone(), samples)?;
        send(Work::Class(Box::new(judge))).map_err(failed)?;
        let tests = run.class().tests.clone();
        run.walk(&tests, None, |run, image| {
            cell.engine.stop_if_cancelled()?;
            let scored = run.score(image)?;
            watch.image();
            send(Work::Image(scored))
        })
        .map_err(failed)?;
        send(Work::Done).map_err(failed)?;
        cell.engine.write_behind();
    }
    Ok(())
}

fn judge_all(
    cell: &Cell<'_>,
    behind: Receiver<Work<'_>>,
    folder: &mut RunFolder,
) -> Result<CellResult, ExperimentError> {
    let mut result =
        CellResult { rows: vec![Vec::new(); cell.protocols.len()], ..Default::default() };
    let mut class = None;
    for work in behind {
        match (work, class.take()) {
            (Work::Class(judge), _) => class = Some(judge),
            (Work::Image(scored), Some(mut judge)) => {
                cell.engine.within(|| judge.push(&scored, Some(&mut *folder)))?;
                class = Some(judge);
            }
            (Work::Done, Some(judge)) => {
                let record = cell.engine.within(|| judge.finish())?;
                result.n_images += record.images.len();
                result.n_from_cache +=
                    record.images.iter().filter(|image| image.from_cache).count();
                for (rows, row) in result.rows.iter_mut().zip(&record.metrics) {
                    rows.push(row.clone());
                }
                let reported = || cell.engine.within(|| folder.add_class(record));
                cell.engine.time(run::Work::Report, reported)?;
            }
            (Work::Image(_) | Work::Done, None) => {}
        }
    }
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
) -> Result<Vec<ClassMetrics>, ExperimentError> {
    let class = images.name.clone();
    let failed = |source| ExperimentError::Run { class: class.clone(), source };
    let mut run = ClassRun::new(cell.engine, images).map_err(failed)?;
    run.read_state(stage, state).map_err(failed)?;
    let mut judge = ClassJudge::new(cell, run.class().clone(), samples.to_vec())?;
    let tests = run.class().tests.clone();
    run.walk(&tests, None, |run, image| {
        cell.engine.stop_if_cancelled().map_err(failed)?;
        let scored = run.score(image).map_err(failed)?;
        cell.engine.within(|| judge.push(&scored, None))
    })?;
    Ok(cell.engine.within(|| judge.finish())?.metrics)
}
