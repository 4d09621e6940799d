//! `loupe train`: what `[train]` describes, class by class.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use indicatif::ProgressBar;

use super::study::{Keep as Kept, Study, StudyOptions, bar};
use super::text::columns;
use super::{Common, Exit, Format, Outcome, parse_set, print, print_json, setup};
use crate::data;
use crate::experiment::measure_class;
use crate::files::write_whole;
use crate::metrics::ClassMetrics;
use crate::pipeline::Change;
use crate::pipeline::model::{Keep, References, Train};
use crate::run::{ClassImages, RunError, state_file};
use crate::train::{
    Epoch, Lesson, TrainError, TrainOptions, Trained, Watch, train_class, write_curve,
};
use loupe_datasets::Sample;

/// Steps between two checkpoints.
const SAVE_EVERY: usize = 50;
/// Letters of a curve in the terminal, low to high.
const LEVELS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The pipeline, a TOML file with [train]
    pipeline: PathBuf,
    /// Only these classes
    #[arg(long = "class", value_name = "NAME")]
    classes: Vec<String>,
    /// Change a key of the pipeline, such as train.epochs=10
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = parse_set)]
    sets: Vec<Change>,
    /// Forget what an earlier call has done
    #[arg(long)]
    fresh: bool,
    /// Keep nothing in the feature cache and reuse nothing from it
    #[arg(long)]
    no_cache: bool,
}

pub(super) fn run(common: &Common, arguments: &Arguments) -> Outcome {
    let loader = setup::loader(common);
    let pipeline = setup::checked(&arguments.pipeline, &arguments.sets, &loader)?;
    let Some(train) = &pipeline.train else {
        let path = arguments.pipeline.display();
        return Err(anyhow::anyhow!("`{path}` has no [train]: nothing in it learns").into());
    };
    let learns = &pipeline.stages[train.stage];
    let Some(folder) = learns.state.clone() else {
        let name = &learns.name;
        return Err(anyhow::anyhow!(
            "stage `{name}` has no place for what it learns: its `state` is a file, which is read; \
             set `state = \"FOLDER\"` in `stages.{name}` to train"
        )
        .into());
    };
    let options = StudyOptions {
        classes: &arguments.classes,
        no_cache: arguments.no_cache,
        measures: false,
        cancel: setup::interrupt_flag()?,
    };
    let study = Study::open(common, &options, &arguments.pipeline, &pipeline, &loader)?;
    let references = &study.cells(None, None)[0];
    let rows = all_classes(&study, train, references, arguments.fresh)?;
    for warning in study.engine.warnings() {
        eprintln!("warning: {warning}");
    }
    report(common, train, &rows)?;
    eprintln!("wrote {}", folder.display());
    Ok(())
}

/// Trains every class of a study with these references. Errors: the first failure, naming its class.
pub(super) fn all_classes(
    study: &Study<'_>,
    train: &Train,
    references: &References,
    fresh: bool,
) -> Result<Vec<(String, Trained)>, Exit> {
    let folder = study.pipeline.stages[train.stage].state.clone().unwrap_or_default();
    let mut rows: Vec<(String, Trained)> = Vec::new();
    let auxiliary = auxiliary(train)?;
    for class in &study.dataset.classes {
        // What is learned from other data sets alone is the same for every class.
        if let (Some((_, first)), 0, 0) = (rows.first(), references.shots, references.anomalous) {
            let file = state_file(&folder, &class.name);
            write_whole(&file, &fs::read(&first.file)?)?;
            write_curve(&file, &first.epochs)?;
            let trained = Trained { file, ..first.clone() };
            rows.push((class.name.clone(), trained));
            continue;
        }
        let (images, samples) = data::class_images(class, references, study.pipeline.compat)?;
        let options = TrainOptions { fresh, save_every: SAVE_EVERY };
        let mut shown = Shown::new(study, train, references, &images, &samples);
        let (mask_above, auxiliary) = (study.dataset.mask_above, auxiliary.clone());
        let lesson = Lesson { images: images.clone(), mask_above, auxiliary };
        let trained = train_class(&study.engine, train, lesson, options, &mut shown);
        shown.bar.finish_and_clear();
        let trained = match trained {
            Ok(trained) => trained,
            Err(TrainError::Run(RunError::Cancelled)) => {
                eprintln!("class {}: stopped; the same command goes on from here", class.name);
                return Err(Exit::Interrupted);
            }
            Err(error) => return Err(anyhow::anyhow!("class `{}`: {error}", class.name).into()),
        };
        if trained.is_old() {
            eprintln!("class {}: has learned all of this before; --fresh begins anew", class.name);
        }
        rows.push((class.name.clone(), trained));
    }
    Ok(rows)
}

/// The classes of the other data sets, each with its grey value of masks.
fn auxiliary(train: &Train) -> Result<Vec<(ClassImages, u8)>, Exit> {
    let mut classes = Vec::new();
    for described in &train.auxiliary {
        let dataset = data::open(described)?;
        for class in &dataset.classes {
            classes.push((data::as_references(class)?, dataset.mask_above));
        }
    }
    Ok(classes)
}

fn report(common: &Common, train: &Train, rows: &[(String, Trained)]) -> Outcome {
    if common.format == Format::Json {
        let row = |(class, trained): &(String, Trained)| {
            let oracle = trained.kept.figure.filter(|_| train.keep == Keep::BestTest);
            serde_json::json!({
                "class": class, "file": trained.file, "kept_epoch": trained.kept.epoch,
                "oracle": oracle, "resumed_at": trained.resumed_at, "epochs": trained.epochs,
            })
        };
        return print_json(&rows.iter().map(row).collect::<Vec<_>>());
    }
    let mut heads = vec!["class", "samples", "first loss", "last loss", "curve"];
    if train.held_out.is_some() {
        heads.extend(["first held-out", "last held-out", "curve held-out"]);
    }
    heads.push("kept epoch");
    let row = |(class, trained): &(String, Trained)| {
        let n_samples = trained.epochs.last().map_or(0, |epoch| epoch.n_samples);
        let mut row = vec![class.clone(), n_samples.to_string()];
        row.extend(ends_and_curve(trained.epochs.iter().map(|epoch| epoch.loss)));
        if train.held_out.is_some() {
            row.extend(ends_and_curve(trained.epochs.iter().filter_map(|epoch| epoch.held_out)));
        }
        row.push(match train.keep {
            Keep::BestTest => format!("{} (oracle)", trained.kept.epoch),
            Keep::BestHeldOut | Keep::Last => trained.kept.epoch.to_string(),
        });
        row
    };
    let table: Vec<Vec<String>> = rows.iter().map(row).collect();
    print(&columns(&heads, &table, &[1, 2, 3, 5, 6]))?;
    if train.keep == Keep::BestTest {
        eprintln!(
            "note: epochs were chosen by the test set: figures of such a run are an oracle's"
        );
    }
    Ok(())
}

/// First and last loss, and how it went between them.
fn ends_and_curve(losses: impl Iterator<Item = f64>) -> [String; 3] {
    let losses: Vec<f64> = losses.collect();
    let loss = |loss: Option<&f64>| loss.map_or("-".to_owned(), |loss| format!("{loss:.4}"));
    [loss(losses.first()), loss(losses.last()), curve(&losses, 32)]
}

/// Losses as letters, at most so many.
fn curve(losses: &[f64], n: usize) -> String {
    let (low, high) = losses
        .iter()
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), x| (low.min(*x), high.max(*x)));
    let shown = losses.len().min(n);
    let letter = |i: usize| {
        let at = i * losses.len() / shown.max(1);
        let share = if high > low { (losses[at] - low) / (high - low) } else { 0.0 };
        LEVELS[((share * 7.0).round() as usize).min(7)]
    };
    (0..shown).map(letter).collect()
}

/// The bar of a class.
struct Shown<'a> {
    study: &'a Study<'a>,
    train: &'a Train,
    references: &'a References,
    images: &'a ClassImages,
    samples: &'a [Sample],
    bar: ProgressBar,
    started: Instant,
    /// When the last step or epoch ended.
    since: Instant,
}

impl<'a> Shown<'a> {
    fn new(
        study: &'a Study<'a>,
        train: &'a Train,
        references: &'a References,
        images: &'a ClassImages,
        samples: &'a [Sample],
    ) -> Self {
        let bar = bar("{prefix} [{bar:30}] {pos}/{len} {eta} {msg}");
        let now = Instant::now();
        Shown { study, train, references, images, samples, bar, started: now, since: now }
    }

    /// Image AUROC and, where there are masks, pixel AUROC on the test set.
    fn oracle(&self, file: &Path) -> Result<f64, RunError> {
        let failed = |error: String| RunError::Tensor { message: error };
        let cell = self.study.cell(self.references, Kept::default());
        let (images, state) = (self.images.clone(), (self.train.stage, file));
        let found = measure_class(&cell, images, self.samples, state);
        let metrics = found.map_err(|error| failed(error.to_string()))?;
        let of = |row: &ClassMetrics, name: &str| {
            let value = row.values.iter().find(|value| value.0 == name);
            value.and_then(|value| value.1.get())
        };
        let row = metrics.first().ok_or_else(|| failed("no protocol".to_owned()))?;
        let parts = ["image.auroc", "pixel.auroc"].map(|name| of(row, name).unwrap_or_default());
        Ok(parts.iter().sum())
    }
}

impl Watch for Shown<'_> {
    fn warn(&mut self, text: &str) {
        let class = &self.images.name;
        self.bar.suspend(|| eprintln!("warning: class `{class}`: {text}"));
    }

    fn begin(&mut self, class: &str, n_steps: usize) {
        self.bar.set_prefix(class.to_owned());
        self.bar.set_length(n_steps as u64);
        self.since = Instant::now();
    }

    fn step(&mut self, step: usize, loss: f64) {
        let seconds = self.since.elapsed().as_secs_f64();
        if self.study.verbose {
            self.bar.suspend(|| eprintln!("step {step}, loss {loss:.4}, {seconds:.3} s"));
        }
        self.since = Instant::now();
        self.bar.set_position(step as u64);
        self.bar.set_message(format!("loss {loss:.4}"));
    }

    fn epoch(&mut self, epoch: usize, done: &Epoch, file: &Path) -> Result<Option<f64>, RunError> {
        let seconds = self.started.elapsed().as_secs_f64();
        let mut said = format!("{}: epoch {epoch}, loss {:.4}", self.images.name, done.loss);
        if let Some(loss) = done.held_out {
            said += &format!(", held-out {loss:.4}");
        }
        let figure = match self.train.keep {
            Keep::BestTest => Some(self.oracle(file)?),
            Keep::Last | Keep::BestHeldOut => None,
        };
        if let Some(figure) = figure {
            said += &format!(", test set {figure:.4} (oracle)");
        }
        self.bar.suspend(|| eprintln!("{said}, {seconds:.0} s"));
        self.since = Instant::now();
        Ok(figure)
    }
}
