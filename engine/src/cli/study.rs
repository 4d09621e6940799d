//! A pipeline that is ready to run cell by cell: what `run` and `sweep` share.

use std::io::IsTerminal;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::anyhow;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use loupe_datasets::Dataset;

use super::{Common, Exit, setup};
use crate::data;
use crate::experiment::{
    Cell, CellFacts, CellResult, FileFacts, Watch, facts, file_facts, run_cell, standing,
};
use crate::metrics::{Columns, Protocol};
use crate::pipeline::model::{Pipeline, References, Setting};
use crate::plugin::Loader;
use crate::report::{Originals, PictureOptions, RunFolder};
use crate::run::{Engine, Options};

/// How a study is opened.
pub(super) struct StudyOptions<'a> {
    /// In the place of the pipeline's, unless empty.
    pub(super) classes: &'a [String],
    pub(super) no_cache: bool,
    /// Keeps account of what is done, call by call.
    pub(super) measures: bool,
    /// Raised by the user's interrupt.
    pub(super) cancel: Arc<AtomicBool>,
}

/// More to keep in a run folder.
#[derive(Clone, Copy, Default)]
pub(super) struct Keep {
    /// Maps at their images' size.
    pub(super) full_maps: bool,
    pub(super) overlays: bool,
    pub(super) panels: bool,
    /// What the original program leaves behind.
    pub(super) originals: Originals,
}

/// What the cells of one pipeline share.
pub(super) struct Study<'a> {
    pub(super) pipeline: &'a Pipeline,
    pub(super) dataset: Dataset,
    loader: &'a Loader,
    pub(super) engine: Engine<'a>,
    files: Vec<FileFacts>,
    protocols: Vec<Protocol>,
    pub(super) verbose: bool,
}

impl<'a> Study<'a> {
    /// `path` names the pipeline in messages. Errors: it has no data set, or one that cannot be
    /// read; a component refuses its config.
    pub(super) fn open(
        common: &Common,
        options: &StudyOptions<'_>,
        path: &Path,
        pipeline: &'a Pipeline,
        loader: &'a Loader,
    ) -> Result<Study<'a>, Exit> {
        let Some(described) = &pipeline.data else {
            return Err(Exit::Failed(anyhow!(
                "`{}` has no [data]: `run` needs a data set; `loupe predict` scores images without one",
                path.display()
            )));
        };
        let mut described = described.clone();
        if !options.classes.is_empty() {
            described.classes = Some(options.classes.to_vec());
        }
        let dataset = data::open(&described)?;
        for warning in &dataset.warnings {
            eprintln!("warning: {warning}");
        }
        let names: Vec<&str> = match pipeline.protocols.is_empty() {
            true => vec!["native"],
            false => pipeline.protocols.iter().map(String::as_str).collect(),
        };
        let cache_dir = (!options.no_cache).then(|| setup::cache_dir(common)).transpose()?;
        let cancel = options.cancel.clone();
        let verbose = common.verbose;
        let engine = Options { cache_dir, cancel, verbose, measures: options.measures };
        Ok(Study {
            engine: Engine::new(pipeline, loader, engine)?,
            files: file_facts(pipeline)?,
            pipeline,
            loader,
            dataset,
            protocols: names.into_iter().filter_map(Protocol::find).collect(),
            verbose: common.verbose,
        })
    }

    /// Shots times seeds; what is not given is the pipeline's.
    pub(super) fn cells(&self, shots: Option<&[u64]>, seeds: Option<&[u64]>) -> Vec<References> {
        let base = match &self.pipeline.data {
            Some(data) => data.references.clone(),
            None => return Vec::new(),
        };
        let list = |list: Option<&[u64]>, one: u64| list.map_or(vec![one], <[u64]>::to_vec);
        let mut seeds = list(seeds, base.seed);
        if matches!(base.select.as_str(), "first" | "manifest") && seeds.len() > 1 {
            eprintln!(
                "note: `select = \"{}\"` takes the same references whatever the seed; one seed is run",
                base.select
            );
            seeds.truncate(1);
        }
        let mut cells = Vec::new();
        for shots in list(shots, base.shots as u64) {
            cells.extend(seeds.iter().map(|seed| base.with(shots as usize, *seed)));
        }
        cells
    }

    /// What the numbers of a cell depend on. The setting is what the pipeline promises, or what became of it.
    pub(super) fn facts(
        &self,
        label: &str,
        references: &References,
        setting: Setting,
    ) -> CellFacts {
        let cell = self.cell(references, Keep::default());
        facts(label, &cell, self.loader, &self.files, setting)
    }

    /// Runs a cell into a run folder.
    pub(super) fn run(
        &self,
        references: &References,
        label: &str,
        path: &Path,
        keep: Keep,
    ) -> Result<CellResult, Exit> {
        if let Some(why) = self.pipeline.lacks_references(references.shots) {
            return Err(Exit::Failed(anyhow!("{why}")));
        }
        let has_fade = self.protocols.iter().any(|protocol| protocol.columns == Columns::Fade);
        if keep.originals.tables && !has_fade {
            let names = self.pipeline.protocols.join(", ");
            return Err(Exit::Failed(anyhow!(
                "`--save fade-tables` wants FADE's columns, but `protocol.use` has only [{names}]; \
                 add `fade-448-u8`, or another size in its place"
            )));
        }
        let standing = standing(&self.cell(references, keep))?;
        for warning in &standing.warnings {
            eprintln!("warning: {warning}");
        }
        let facts = self.facts(label, references, standing.setting);
        let mut folder = RunFolder::create(path, &facts, &self.pipeline.resolved)?;
        folder.set_pictures(PictureOptions {
            mask_above: self.dataset.mask_above,
            all_overlays: keep.overlays,
            panels: keep.panels,
            originals: keep.originals,
        });
        let mut bar = Bar::new();
        let mut result = run_cell(&self.cell(references, keep), &mut folder, &mut bar)?;
        result.setting = standing.setting;
        bar.0.finish_and_clear();
        folder.finish(!result.interrupted)?;
        for warning in self.engine.warnings() {
            eprintln!("warning: {warning}");
        }
        Ok(result)
    }

    pub(super) fn cell(&self, references: &References, keep: Keep) -> Cell<'_> {
        Cell {
            engine: &self.engine,
            dataset: &self.dataset,
            references: references.clone(),
            protocols: self.protocols.clone(),
            full_maps: keep.full_maps,
        }
    }
}

/// A failure in the words of a record.
pub(super) fn said(exit: &Exit) -> String {
    match exit {
        Exit::Failed(error) | Exit::Plugin(error) => super::chain(error),
        Exit::Check { mistakes } => mistakes.clone(),
        Exit::SomeFailed | Exit::Mismatch => "it failed".to_owned(),
        Exit::Interrupted => "interrupted".to_owned(),
    }
}

/// A bar on a terminal, silence elsewhere.
struct Bar(ProgressBar);

impl Bar {
    fn new() -> Bar {
        Bar(bar("{msg} [{bar:30}] {pos}/{len} {eta}"))
    }
}

/// A bar of this form on a terminal, nothing elsewhere.
pub(super) fn bar(template: &str) -> ProgressBar {
    let bar = ProgressBar::new(0);
    if !std::io::stderr().is_terminal() {
        bar.set_draw_target(ProgressDrawTarget::hidden());
    }
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar
}

impl Watch for Bar {
    fn class(&mut self, class: &str, n_images: usize) {
        self.0.set_message(class.to_owned());
        self.0.set_length(n_images as u64);
        self.0.set_position(0);
    }

    fn image(&mut self) {
        self.0.inc(1);
    }
}
