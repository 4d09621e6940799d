//! `loupe script`: a rhai script that drives runs.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use anyhow::anyhow;
use serde_json::Value as Json;

use super::study::{Keep, Study, StudyOptions};
use super::{Common, Exit, Outcome, print, setup, sweep};
use crate::hooks::{Asked, Ran, ScriptError, Studies, run_script};
use crate::pipeline::Change;
use crate::plugin::Loader;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The script
    script: PathBuf,
    /// Folder for the run folders [default: runs/NAME]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Words for the script, which finds them in ARGUMENTS
    #[arg(value_name = "WORD")]
    words: Vec<String>,
}

pub(super) fn run(common: &Common, arguments: &Arguments) -> Outcome {
    let name = arguments.script.file_stem().unwrap_or_default();
    let studies = Runner {
        common: common.clone(),
        loader: setup::loader(common),
        cancel: setup::interrupt_flag()?,
        out: arguments.out.clone().unwrap_or_else(|| Path::new("runs").join(name)),
        n_runs: AtomicUsize::new(0),
    };
    // A reader of the output that went away ends nothing: the runs are what counts.
    let say = Arc::new(|text: &str| drop(print(&format!("{text}\n"))));
    match run_script(&arguments.script, &arguments.words, Arc::new(studies), say) {
        Ok(()) => Ok(()),
        Err(ScriptError::Interrupted) => Err(Exit::Interrupted),
        Err(error) => Err(Exit::Failed(error.into())),
    }
}

struct Runner {
    common: Common,
    loader: Loader,
    cancel: Arc<AtomicBool>,
    out: PathBuf,
    /// Names the run folders.
    n_runs: AtomicUsize,
}

impl Studies for Runner {
    fn run(&self, asked: &Asked) -> Result<Ran, String> {
        self.ran(asked).map_err(|exit| super::study::said(&exit))
    }

    fn sweep(&self, path: &Path) -> Result<Json, String> {
        let name = path.file_stem().unwrap_or_default();
        let table = sweep::table_of(&self.common, path, &self.out.join(name), self.cancel.clone());
        table.map_err(|exit| super::study::said(&exit))
    }

    fn is_cancelled(&self) -> bool {
        self.cancel.load(Ordering::Relaxed)
    }
}

impl Runner {
    fn ran(&self, asked: &Asked) -> Result<Ran, Exit> {
        let change = |(key, value): &(String, String)| {
            let [key, value, by] = [key, value, "the script"].map(str::to_owned);
            Change { key, value, by }
        };
        let sets: Vec<Change> = asked.sets.iter().map(change).collect();
        let pipeline = setup::checked(&asked.pipeline, &sets, &self.loader)?;
        let options = StudyOptions {
            classes: &asked.classes,
            no_cache: false,
            measures: false,
            cancel: self.cancel.clone(),
        };
        let study = Study::open(&self.common, &options, &asked.pipeline, &pipeline, &self.loader)?;
        let shots = asked.shots.map(|shots| [shots as u64]);
        let seed = asked.seed.map(|seed| [seed]);
        let cells = study.cells(shots.as_ref().map(|it| &it[..]), seed.as_ref().map(|it| &it[..]));
        let Some(references) = cells.first() else {
            return Err(Exit::Failed(anyhow!("`{}` has no [data]", asked.pipeline.display())));
        };
        let nth = self.n_runs.fetch_add(1, Ordering::Relaxed) + 1;
        let stem = asked.pipeline.file_stem().unwrap_or_default().to_string_lossy();
        let name = format!("{nth:03}-{stem}-s{}-seed{}", references.shots, references.seed);
        let result = study.run(references, &name, &self.out.join(&name), Keep::default())?;
        if result.interrupted {
            return Err(Exit::Interrupted);
        }
        eprintln!("{name}: {} images, {} from cache", result.n_images, result.n_from_cache);
        Ok(Ran { name, rows: result.rows.into_iter().next().unwrap_or_default() })
    }
}
