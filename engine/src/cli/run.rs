//! `loupe run`: every class of the pipeline's data set, for each number of shots and each seed.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use anyhow::anyhow;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use loupe_datasets::Dataset;

use super::{Common, Exit, Format, Outcome, parse_list, parse_set, print, print_json, setup};
use crate::data;
use crate::experiment::{Cell, CellResult, Watch, facts, run_cell};
use crate::files::write_whole;
use crate::metrics::{ClassMetrics, Protocol, format_table, mean_over_classes};
use crate::pipeline::model::{Pipeline, References};
use crate::pipeline::show;
use crate::plugin::Loader;
use crate::report::{PictureOptions, RunFolder, SummaryCell, summary_table};
use crate::run::{Engine, Options, hex};

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The pipeline, a TOML file
    pipeline: PathBuf,
    /// Only these classes
    #[arg(long = "class", value_name = "NAME")]
    classes: Vec<String>,
    /// Numbers of reference images, such as 1,2,4
    #[arg(long, value_name = "LIST", value_parser = shots_list)]
    shots: Option<List>,
    /// Seeds of their choice, such as 0..4
    #[arg(long, value_name = "LIST", value_parser = shots_list)]
    seeds: Option<List>,
    /// Change a key of the pipeline, such as stages.both.weights=[0.5,0.5]
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = parse_set)]
    sets: Vec<(String, String)>,
    /// Run folder, or the folder of run folders where there are several
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// More to save: maps (at the images' size), overlays
    #[arg(long, value_name = "WHAT", value_delimiter = ',')]
    save: Vec<Save>,
    /// Keep nothing and reuse nothing
    #[arg(long)]
    no_cache: bool,
    /// Print every key with where it comes from, and stop
    #[arg(long)]
    show_config: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Save {
    Maps,
    Overlays,
}

/// Numbers of one `--shots` or `--seeds`.
#[derive(Clone, Debug)]
pub(crate) struct List(Vec<u64>);

fn shots_list(text: &str) -> Result<List, String> {
    parse_list(text).map(List)
}

pub(super) fn run(common: &Common, arguments: &Arguments) -> Outcome {
    let loader = setup::loader(common);
    let pipeline = setup::checked(&arguments.pipeline, &arguments.sets, &loader)?;
    if arguments.show_config {
        return print(&show::show_config(&pipeline));
    }
    let study = Study::open(common, arguments, &pipeline, &loader)?;
    let cells = study.cells(arguments);
    let several = cells.len() > 1;
    let mut summaries = Vec::new();
    let mut n_failed = 0;
    for references in cells {
        let (result, path) = match study.cell(&references, arguments, several) {
            Ok(done) => done,
            // One cell that fails does not lose the others.
            Err(Exit::Failed(error)) if several => {
                let References { shots, seed, .. } = references;
                eprintln!("error: {shots} shots, seed {seed}: {error:#}");
                n_failed += 1;
                continue;
            }
            Err(exit) => return Err(exit),
        };
        let rows = result.rows.clone();
        study.say(common, &result, &path, several)?;
        if result.interrupted {
            return Err(Exit::Interrupted);
        }
        summaries.push(SummaryCell { shots: references.shots, seed: references.seed, rows });
    }
    if several {
        study.summarise(common, arguments, &summaries)?;
    }
    if n_failed > 0 { Err(Exit::SomeFailed) } else { Ok(()) }
}

/// What the cells of one command share.
struct Study<'a> {
    name: String,
    pipeline: &'a Pipeline,
    loader: &'a Loader,
    engine: Engine<'a>,
    dataset: Dataset,
    protocols: Vec<&'static Protocol>,
}

impl<'a> Study<'a> {
    fn open(
        common: &Common,
        arguments: &Arguments,
        pipeline: &'a Pipeline,
        loader: &'a Loader,
    ) -> Result<Study<'a>, Exit> {
        let Some(described) = &pipeline.data else {
            return Err(Exit::Failed(anyhow!(
                "`{}` has no [data]: `run` needs a data set; `loupe predict` scores images without one",
                arguments.pipeline.display()
            )));
        };
        let mut described = described.clone();
        if !arguments.classes.is_empty() {
            described.classes = Some(arguments.classes.clone());
        }
        let dataset = data::open(&described)?;
        for warning in &dataset.warnings {
            eprintln!("warning: {warning}");
        }
        let names: Vec<&str> = match pipeline.protocols.is_empty() {
            true => vec!["native"],
            false => pipeline.protocols.iter().map(String::as_str).collect(),
        };
        let cache_dir = (!arguments.no_cache).then(|| setup::cache_dir(common)).transpose()?;
        let options =
            Options { cache_dir, cancel: setup::interrupt_flag()?, verbose: common.verbose };
        Ok(Study {
            name: stem(&arguments.pipeline),
            engine: Engine::new(pipeline, loader, options)?,
            pipeline,
            loader,
            dataset,
            protocols: names.into_iter().filter_map(Protocol::find).collect(),
        })
    }

    /// Shots times seeds; what is not given is the pipeline's.
    fn cells(&self, arguments: &Arguments) -> Vec<References> {
        let base = match &self.pipeline.data {
            Some(data) => data.references.clone(),
            None => return Vec::new(),
        };
        let list =
            |list: &Option<List>, one: u64| list.as_ref().map_or(vec![one], |list| list.0.clone());
        let mut seeds = list(&arguments.seeds, base.seed);
        if matches!(base.select.as_str(), "first" | "manifest") && seeds.len() > 1 {
            eprintln!(
                "note: `select = \"{}\"` takes the same references whatever the seed; one seed is run",
                base.select
            );
            seeds.truncate(1);
        }
        let mut cells = Vec::new();
        for shots in list(&arguments.shots, base.shots as u64) {
            let with =
                |seed: &u64| References { shots: shots as usize, seed: *seed, ..base.clone() };
            cells.extend(seeds.iter().map(with));
        }
        cells
    }

    fn cell(
        &self,
        references: &References,
        arguments: &Arguments,
        several: bool,
    ) -> Result<(CellResult, PathBuf), Exit> {
        // What was changed on the command line gets a folder of its own.
        let changed = match arguments.sets.is_empty() && arguments.classes.is_empty() {
            true => String::new(),
            false => {
                let what = format!("{:?} {:?}", arguments.sets, arguments.classes);
                format!("-{}", &hex(blake3::hash(what.as_bytes()).as_bytes())[..8])
            }
        };
        let (shots, seed) = (references.shots, references.seed);
        let label = format!("{}-s{shots}-seed{seed}{changed}", self.name);
        let path = match (&arguments.out, several) {
            (Some(out), false) => out.clone(),
            (Some(out), true) => out.join(&label),
            (None, _) => Path::new("runs").join(&label),
        };
        let cell = Cell {
            engine: &self.engine,
            dataset: &self.dataset,
            references: references.clone(),
            protocols: self.protocols.clone(),
            full_maps: arguments.save.contains(&Save::Maps),
        };
        let facts = facts(&label, &cell, self.loader)?;
        let mut folder = RunFolder::create(&path, &facts, &self.pipeline.resolved)?;
        folder.set_pictures(PictureOptions {
            mask_above: self.dataset.mask_above,
            all_overlays: arguments.save.contains(&Save::Overlays),
        });
        let mut bar = Bar::new();
        let result = run_cell(&cell, &mut folder, &mut bar)?;
        bar.0.finish_and_clear();
        folder.finish(!result.interrupted)?;
        for warning in self.engine.warnings() {
            eprintln!("warning: {warning}");
        }
        Ok((result, path))
    }

    fn say(&self, common: &Common, result: &CellResult, path: &Path, several: bool) -> Outcome {
        // The mean over the classes that were done is another mean.
        let table = |rows: &Vec<ClassMetrics>| match result.interrupted {
            true => rows.clone(),
            false => with_mean(rows),
        };
        let tables: Vec<Vec<ClassMetrics>> = result.rows.iter().map(table).collect();
        match (common.format, several) {
            (Format::Table, false) => {
                print(&format!("setting: {}\n", self.setting()))?;
                for rows in tables.iter().filter(|rows| !rows.is_empty()) {
                    print(&format!("{}\n", format_table(rows)))?;
                }
            }
            (Format::Json, false) => print_json(&tables)?,
            (_, true) => {}
        }
        let (n_images, n_from_cache) = (result.n_images, result.n_from_cache);
        eprintln!("wrote {} ({n_images} images, {n_from_cache} from cache)", path.display());
        if !several {
            eprintln!("report {}", path.join("report.html").display());
        }
        Ok(())
    }

    /// Mean and spread over the cells, printed and written beside their folders.
    fn summarise(&self, common: &Common, arguments: &Arguments, cells: &[SummaryCell]) -> Outcome {
        let summary = summary_table(cells);
        let folder = arguments.out.clone().unwrap_or_else(|| PathBuf::from("runs"));
        let file = |end: &str| folder.join(format!("{}-summary.{end}", self.name));
        write_whole(&file("csv"), summary.csv.as_bytes())?;
        write_whole(&file("json"), format!("{:#}\n", summary.json).as_bytes())?;
        match common.format {
            Format::Table => print(&format!("setting: {}\n{}", self.setting(), summary.text))?,
            Format::Json => print_json(&summary.json)?,
        }
        eprintln!("wrote {}", file("csv").display());
        Ok(())
    }

    fn setting(&self) -> String {
        let word = serde_json::to_value(self.pipeline.setting);
        word.ok().and_then(|word| word.as_str().map(str::to_owned)).unwrap_or_default()
    }
}

fn with_mean(rows: &[ClassMetrics]) -> Vec<ClassMetrics> {
    let mut rows = rows.to_vec();
    if rows.len() > 1 {
        rows.extend(mean_over_classes(&rows));
    }
    rows
}

fn stem(path: &Path) -> String {
    path.file_stem().map_or_else(|| "run".to_owned(), |stem| stem.to_string_lossy().into_owned())
}

/// A bar on a terminal, silence elsewhere.
struct Bar(ProgressBar);

impl Bar {
    fn new() -> Bar {
        let bar = ProgressBar::new(0);
        if !std::io::stderr().is_terminal() {
            bar.set_draw_target(ProgressDrawTarget::hidden());
        }
        if let Ok(style) = ProgressStyle::with_template("{msg} [{bar:30}] {pos}/{len} {eta}") {
            bar.set_style(style);
        }
        Bar(bar)
    }
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
