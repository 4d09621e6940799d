//! `loupe sweep`: variants and axes of a pipeline from one file, cell by cell, and one table.

mod plan;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::anyhow;
use serde_json::Value as Json;

use super::study::{Keep, Study, StudyOptions, said};
use super::{Common, Exit, Format, Outcome, parse_set, print, print_json, setup, train};
use crate::experiment::setting_word;
use crate::files::write_whole;
use crate::pipeline::model::{Pipeline, References};
use crate::pipeline::{Change, shots_and_seed};
use crate::plugin::Loader;
use crate::report::as_toml;
use crate::sweep::{
    self, CellPlan, CellRecord, Ended, RowRecord, Setup, Store, SweepFile, SweepTable, sweep_table,
};

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The sweep, a TOML file
    sweep: PathBuf,
    /// Folder for the cells' run folders, their records and the table [default: runs/NAME]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Show the cells and which are done already, and stop
    #[arg(long)]
    plan: bool,
    /// Only cells whose name contains this
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
    /// Change a key of each pipeline, after its variant and axes
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
    let file = SweepFile::read(&arguments.sweep)?;
    let mut setups = sweep::plan(&arguments.sweep, &file)?;
    setups.iter_mut().for_each(|setup| setup.sets.extend(arguments.sets.iter().cloned()));
    let name = file.name.clone().unwrap_or_default();
    let command = Command {
        common,
        file: &file,
        loader: setup::loader(common),
        cancel: setup::interrupt_flag()?,
        out: arguments.out.clone().unwrap_or_else(|| Path::new("runs").join(&name)),
        only: arguments.only.as_deref().unwrap_or_default(),
        no_cache: arguments.no_cache,
    };
    let mut store = Store::open(&command.out, arguments.fresh && !arguments.plan)?;
    if arguments.plan {
        return command.show(&setups, &store);
    }
    let (table, tally) = command.run(&setups, &mut store)?;
    match common.format {
        Format::Table => print(&table.text)?,
        Format::Json => print_json(&table.json)?,
    }
    eprintln!("{} run, {} done before, {} failed", tally.n_run, tally.n_kept, tally.n_failed);
    eprintln!("wrote {} and sweep.md beside it", command.out.join("sweep.csv").display());
    match (tally.interrupted, tally.n_failed) {
        (true, _) => Err(Exit::Interrupted),
        (false, 0) => Ok(()),
        _ => Err(Exit::SomeFailed),
    }
}

/// Runs a sweep for a script and gives its table as JSON. A cell that failed stands in the table's counts.
pub(super) fn table_of(
    common: &Common,
    path: &Path,
    out: &Path,
    cancel: Arc<AtomicBool>,
) -> Result<Json, Exit> {
    let file = SweepFile::read(path)?;
    let setups = sweep::plan(path, &file)?;
    let loader = setup::loader(common);
    let (out, only) = (out.to_owned(), "");
    let command = Command { common, file: &file, loader, cancel, out, only, no_cache: false };
    let mut store = Store::open(&command.out, false)?;
    let (table, tally) = command.run(&setups, &mut store)?;
    if tally.interrupted { Err(Exit::Interrupted) } else { Ok(table.json) }
}

struct Command<'a> {
    common: &'a Common,
    file: &'a SweepFile,
    loader: Loader,
    cancel: Arc<AtomicBool>,
    out: PathBuf,
    /// Cells whose name does not contain it are left out.
    only: &'a str,
    no_cache: bool,
}

/// How the cells of a sweep went.
#[derive(Default)]
struct Tally {
    n_kept: usize,
    n_run: usize,
    n_failed: usize,
    interrupted: bool,
}

impl Command<'_> {
    /// Runs all cells and writes the table beside their folders.
    fn run(&self, setups: &[Setup], store: &mut Store) -> Result<(SweepTable, Tally), Exit> {
        let mut ended: Vec<(&Setup, CellPlan, CellRecord)> = Vec::new();
        let mut tally = Tally::default();
        for setup in setups {
            let mut each = |cell: &CellPlan, record: CellRecord| {
                ended.push((setup, cell.clone(), record));
            };
            self.setup(setup, store, &mut tally, &mut each)?;
            if tally.interrupted {
                break;
            }
        }
        if ended.is_empty() && !tally.interrupted {
            let only = self.only;
            return Err(Exit::Failed(anyhow!(
                "no cell's name contains `{only}`; --plan lists them"
            )));
        }
        let ended: Vec<Ended<'_>> =
            ended.iter().map(|(setup, cell, record)| (*setup, cell, record)).collect();
        let table = sweep_table(self.file, &ended);
        for (name, text) in [("sweep.csv", &table.csv), ("sweep.md", &table.markdown)] {
            write_whole(&self.out.join(name), text.as_bytes())?;
        }
        Ok((table, tally))
    }

    /// Runs the cells of one setup. What fails is recorded and does not end the sweep.
    fn setup(
        &self,
        setup: &Setup,
        store: &mut Store,
        tally: &mut Tally,
        each: &mut dyn FnMut(&CellPlan, CellRecord),
    ) -> Outcome {
        if self.wanted(setup, None).is_empty() {
            return Ok(());
        }
        let pipeline = self.pipeline(setup);
        let study = pipeline.as_ref().map_err(said);
        let study =
            study.and_then(|pipeline| self.open(setup, pipeline).map_err(|exit| said(&exit)));
        for cell in self.wanted(setup, pipeline.as_ref().ok()) {
            if self.cancel.load(Ordering::Relaxed) {
                tally.interrupted = true;
                break;
            }
            let ended = match (&pipeline, &study) {
                // What learns has a folder of its own in each cell, and an engine that reads it.
                (Ok(learns), Ok(_)) if learns.learns().is_some() => {
                    match self.trained(setup, &cell) {
                        Ok(pipeline) => match self.open(setup, &pipeline) {
                            Ok(study) => self.cell(&study, &cell, store, tally)?,
                            Err(exit) => Some(self.said(store, &cell, "", &exit, tally)?),
                        },
                        Err(exit) => Some(self.said(store, &cell, "", &exit, tally)?),
                    }
                }
                (_, Ok(study)) => self.cell(study, &cell, store, tally)?,
                (_, Err(error)) => {
                    // Mistakes in a pipeline are shown once, when it is read.
                    match pipeline {
                        Ok(_) => eprintln!("error: {}: {error}", cell.name),
                        Err(_) => eprintln!("error: {}: its pipeline cannot run", cell.name),
                    }
                    Some(self.failed(store, &cell, "", error.clone(), tally)?)
                }
            };
            let Some(record) = ended else { break };
            each(&cell, record);
        }
        Ok(())
    }

    /// Runs one cell, having trained what learns in it; `None`: the user stopped it.
    fn cell(
        &self,
        study: &Study<'_>,
        cell: &CellPlan,
        store: &mut Store,
        tally: &mut Tally,
    ) -> Result<Option<CellRecord>, Exit> {
        let references = references(study, cell);
        let identity = match self.identity(study, &references) {
            Ok(identity) => identity,
            Err(exit) => return Ok(Some(self.said(store, cell, "", &exit, tally)?)),
        };
        if let Some(record) = store.get(&cell.name, &identity).filter(|it| it.is_done()) {
            tally.n_kept += 1;
            return Ok(Some(record.clone()));
        }
        let path = self.out.join("cells").join(&cell.name);
        let ran = match study.pipeline.learns() {
            Some(train) => train::all_classes(study, train, &references, false).map(|_| ()),
            None => Ok(()),
        };
        let ran = ran.and_then(|()| study.run(&references, &cell.name, &path, Keep::default()));
        Ok(match ran {
            Ok(result) if result.interrupted => {
                tally.interrupted = true;
                None
            }
            Ok(result) => {
                let (n, cached) = (result.n_images, result.n_from_cache);
                eprintln!("{}: {n} images, {cached} from cache", cell.name);
                tally.n_run += 1;
                let rows = result.rows.iter().flatten().map(RowRecord::from).collect();
                let done = sweep::Outcome::Done;
                Some(store.add(&cell.name, &identity, done, rows, setting_word(result.setting))?)
            }
            Err(Exit::Interrupted) => {
                tally.interrupted = true;
                None
            }
            Err(exit) => Some(self.said(store, cell, &identity, &exit, tally)?),
        })
    }

    /// The pipeline of a cell that learns: its states lie beside its run folder.
    fn trained(&self, setup: &Setup, cell: &CellPlan) -> Result<Pipeline, Exit> {
        let pipeline = self.pipeline(setup)?;
        let Some(train) = pipeline.learns() else { return Ok(pipeline) };
        let stage = &pipeline.stages[train.stage].name;
        let folder = std::path::absolute(self.out.join("states").join(&cell.name))?;
        let value = toml::Value::String(folder.display().to_string());
        let mut setup = setup.clone();
        let (key, value) = (format!("stages.{stage}.state"), value.to_string());
        setup.sets.push(Change { key, value, by: "the sweep".to_owned() });
        self.pipeline(&setup)
    }

    /// As `failed`, told at once.
    fn said(
        &self,
        store: &mut Store,
        cell: &CellPlan,
        identity: &str,
        exit: &Exit,
        tally: &mut Tally,
    ) -> Result<CellRecord, Exit> {
        eprintln!("error: {}: {}", cell.name, said(exit));
        self.failed(store, cell, identity, said(exit), tally)
    }

    fn failed(
        &self,
        store: &mut Store,
        cell: &CellPlan,
        identity: &str,
        error: String,
        tally: &mut Tally,
    ) -> Result<CellRecord, Exit> {
        tally.n_failed += 1;
        let outcome = sweep::Outcome::Failed { error };
        Ok(store.add(&cell.name, identity, outcome, Vec::new(), String::new())?)
    }

    /// The pipeline of a setup; why there is none is said.
    fn pipeline(&self, setup: &Setup) -> Result<Pipeline, Exit> {
        let pipeline = setup::checked(&setup.pipeline, &setup.sets, &self.loader);
        if let Err(exit @ (Exit::Failed(_) | Exit::Plugin(_))) = &pipeline {
            eprintln!("error: {}: {}", setup.title(), said(exit));
        }
        pipeline
    }

    fn open<'p>(&'p self, setup: &Setup, pipeline: &'p Pipeline) -> Result<Study<'p>, Exit> {
        let options = StudyOptions {
            classes: self.file.classes.as_deref().unwrap_or_default(),
            no_cache: self.no_cache,
            measures: false,
            cancel: self.cancel.clone(),
        };
        Study::open(self.common, &options, &setup.pipeline, pipeline, &self.loader)
    }

    /// The cells that are asked for. What the sweep leaves to a pipeline with mistakes is read from
    /// it all the same, so that the cell has its name.
    fn wanted(&self, setup: &Setup, pipeline: Option<&Pipeline>) -> Vec<CellPlan> {
        let data = pipeline.and_then(|pipeline| pipeline.data.as_ref());
        let one = match data.map(|data| &data.references) {
            Some(references) => (references.shots, references.seed),
            None => shots_and_seed(&setup.pipeline, &setup.sets),
        };
        setup.cells(one).into_iter().filter(|cell| cell.name.contains(self.only)).collect()
    }

    /// Digest of what a cell's numbers depend on: the pipeline, the components' revisions, the
    /// contents of files, the names and sizes of images and masks, the program's version.
    fn identity(&self, study: &Study<'_>, references: &References) -> Result<String, Exit> {
        let facts = study.facts("", references, study.pipeline.setting);
        let mut hasher = blake3::Hasher::new();
        hasher.update(&serde_json::to_vec(&facts)?);
        hasher.update(as_toml(&study.pipeline.resolved).as_bytes());
        for class in &study.dataset.classes {
            for sample in class.train.iter().chain(&class.test) {
                for path in [Some(&sample.path), sample.mask.as_ref()].into_iter().flatten() {
                    let size = std::fs::metadata(path).map_or(0, |facts| facts.len());
                    hasher.update(format!("{}\0{size}\0", path.display()).as_bytes());
                }
            }
        }
        Ok(hasher.finalize().to_hex()[..32].to_owned())
    }
}

fn references(study: &Study<'_>, cell: &CellPlan) -> References {
    let (shots, seed) = (cell.shots, cell.seed);
    let base = study.pipeline.data.as_ref().map(|data| data.references.clone());
    match base {
        Some(base) => base.with(shots, seed),
        None => References { shots, seed, ..References::default() },
    }
}
