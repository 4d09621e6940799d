//! `loupe run`: every class of the pipeline's data set, for each number of shots and each seed.

use std::path::{Path, PathBuf};
use std::time::Instant;

use serde_json::{Value as Json, json};

use super::study::{Keep, Study, StudyOptions};
use super::text::{columns, size};
use super::{
    Common, Exit, Format, Outcome, bench, parse_list, parse_set, print, print_json, setup,
};
use crate::bench::{Ceilings, rows};
use crate::experiment::{CellResult, METRIC_BYTES, setting_word};
use crate::files::write_whole;
use crate::metrics::{ClassMetrics, format_table, mean_over_classes};
use crate::pipeline::model::References;
use crate::pipeline::{Change, show};
use crate::report::{Originals, SummaryCell, summary_table};
use crate::run::{Holding, header_size, hex};

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
    sets: Vec<Change>,
    /// Run folder, or the folder of run folders where there are several
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// More to save: maps (at the images' size), overlays, panels (image, mask, overlay, map,
    /// thresholded map); and as FADE's own program does,
    /// fade-tables, fade-maps (8 bits, on their grid), fade-panels
    #[arg(long, value_name = "WHAT", value_delimiter = ',')]
    save: Vec<Save>,
    /// Keep nothing and reuse nothing
    #[arg(long)]
    no_cache: bool,
    /// Print every key with where it comes from, and stop
    #[arg(long)]
    show_config: bool,
    /// Print what the run will hold in memory, beside the budget of run.memory, and stop
    #[arg(long)]
    plan: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Save {
    Maps,
    Overlays,
    Panels,
    FadeTables,
    FadeMaps,
    FadePanels,
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
    let options = StudyOptions {
        classes: &arguments.classes,
        no_cache: arguments.no_cache,
        measures: common.verbose,
        cancel: setup::interrupt_flag()?,
    };
    let study = Study::open(common, &options, &arguments.pipeline, &pipeline, &loader)?;
    let command = Command { name: stem(&arguments.pipeline), study, arguments };
    if arguments.plan {
        return command.plan(common);
    }
    let list = |list: &'_ Option<List>| list.as_ref().map(|list| list.0.clone());
    let (shots, seeds) = (list(&arguments.shots), list(&arguments.seeds));
    let cells = command.study.cells(shots.as_deref(), seeds.as_deref());
    let several = cells.len() > 1;
    let mut summaries = Vec::new();
    let (mut n_failed, mut setting) = (0, pipeline.setting);
    for references in cells {
        let start = Instant::now();
        let (result, path) = match command.cell(&references, several) {
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
        setting = setting.max(result.setting);
        command.say(common, &result, &path, several)?;
        if common.verbose {
            command.say_where_time_went(start.elapsed().as_secs_f64());
        }
        if result.interrupted {
            return Err(Exit::Interrupted);
        }
        summaries.push(SummaryCell { shots: references.shots, seed: references.seed, rows });
    }
    if several {
        command.summarise(common, &summaries, &setting_word(setting))?;
    }
    if n_failed > 0 { Err(Exit::SomeFailed) } else { Ok(()) }
}

/// One command: a study, and where its cells go.
struct Command<'a> {
    name: String,
    study: Study<'a>,
    arguments: &'a Arguments,
}

impl Command<'_> {
    /// Runs a cell. What was changed on the command line gets a folder of its own.
    fn cell(&self, references: &References, several: bool) -> Result<(CellResult, PathBuf), Exit> {
        let arguments = self.arguments;
        let changed = match arguments.sets.is_empty() && arguments.classes.is_empty() {
            true => String::new(),
            false => {
                let sets: Vec<_> = arguments.sets.iter().map(|it| (&it.key, &it.value)).collect();
                let what = format!("{sets:?} {:?}", arguments.classes);
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
        let wants = |what| arguments.save.contains(&what);
        let originals = Originals {
            tables: wants(Save::FadeTables),
            maps: wants(Save::FadeMaps),
            panels: wants(Save::FadePanels),
        };
        let keep = Keep {
            full_maps: wants(Save::Maps),
            overlays: wants(Save::Overlays),
            panels: wants(Save::Panels),
            originals,
        };
        Ok((self.study.run(references, &label, &path, keep)?, path))
    }

    fn say(&self, common: &Common, result: &CellResult, path: &Path, several: bool) -> Outcome {
        // The mean over the classes that were done is another mean.
        let table = |rows: &Vec<ClassMetrics>| match result.interrupted {
            true => rows.clone(),
            false => with_mean(rows),
        };
        let tables: Vec<Vec<ClassMetrics>> = result.rows.iter().map(table).collect();
        let setting = setting_word(result.setting);
        match (common.format, several) {
            (Format::Table, false) => {
                print(&format!("setting: {setting}\n"))?;
                for rows in tables.iter().filter(|rows| !rows.is_empty()) {
                    print(&format!("{}\n", format_table(rows)))?;
                }
            }
            (Format::Json, false) => print_json(&labelled(&tables, &setting))?,
            (_, true) => {}
        }
        let (n_images, n_from_cache) = (result.n_images, result.n_from_cache);
        if n_images == 0 {
            eprintln!("stopped before a class was done");
            return Ok(());
        }
        eprintln!("wrote {} ({n_images} images, {n_from_cache} from cache)", path.display());
        if !several {
            eprintln!("report {}", path.join("report.html").display());
        }
        Ok(())
    }

    /// What the largest of the cells will hold in memory.
    fn plan(&self, common: &Common) -> Outcome {
        let study = &self.study;
        let given = self.arguments.shots.iter().flat_map(|list| list.0.iter().copied());
        let data = study.pipeline.data.as_ref();
        let shots = given.max().or(data.map(|data| data.references.shots as u64));
        let samples = study.dataset.classes.iter().flat_map(|class| class.test.iter());
        let n_images = samples.clone().count();
        let first = samples.clone().next().and_then(|sample| header_size(&sample.path));
        let n_references = usize::try_from(shots.unwrap_or_default()).unwrap_or(usize::MAX);
        let metrics = METRIC_BYTES as u64;
        let held = study.engine.holdings(n_references, first.unwrap_or([0, 0]), metrics);
        let known = held.iter().filter_map(|one| one.bytes).fold(0, u64::saturating_add);
        let memory = study.pipeline.run.memory;
        if common.format == Format::Json {
            let n_classes = study.dataset.classes.len();
            return print_json(&json!({
                "classes": n_classes, "images": n_images, "holds": held, "known_bytes": known,
                "memory_bytes": memory,
            }));
        }
        let line = |one: &Holding| {
            let bytes = one.bytes.map_or_else(|| "not known".to_owned(), size);
            vec![one.what.clone(), bytes, one.why.clone()]
        };
        let mut lines: Vec<_> = held.iter().map(line).collect();
        let verdict = if known <= memory { "of" } else { "more than" };
        let budget = format!("{verdict} the {} of `run.memory`", size(memory));
        lines.push(vec!["in all".to_owned(), size(known), budget]);
        print(&columns(&["memory", "bytes", ""], &lines, &[1]))
    }

    fn say_where_time_went(&self, seconds: f64) {
        let measured = self.study.engine.measured();
        let rows = rows(self.study.pipeline, &measured, &Ceilings::new());
        eprint!("{seconds:.2} s went into\n{}", bench::table(&rows, seconds));
    }

    /// Mean and spread over the cells, printed and written beside their folders.
    fn summarise(&self, common: &Common, cells: &[SummaryCell], setting: &str) -> Outcome {
        let summary = summary_table(setting, cells);
        let folder = self.arguments.out.clone().unwrap_or_else(|| PathBuf::from("runs"));
        let file = |end: &str| folder.join(format!("{}-summary.{end}", self.name));
        write_whole(&file("csv"), summary.csv.as_bytes())?;
        write_whole(&file("json"), format!("{:#}\n", summary.json).as_bytes())?;
        match common.format {
            Format::Table => print(&format!("setting: {setting}\n{}", summary.text))?,
            Format::Json => print_json(&summary.json)?,
        }
        eprintln!("wrote {}", file("csv").display());
        Ok(())
    }
}

fn with_mean(rows: &[ClassMetrics]) -> Vec<ClassMetrics> {
    let mut rows = rows.to_vec();
    if rows.len() > 1 {
        rows.extend(mean_over_classes(&rows));
    }
    rows
}

/// Rows as JSON, each with the setting its numbers were made in.
fn labelled(tables: &[Vec<ClassMetrics>], setting: &str) -> Vec<Vec<Json>> {
    let row = |row: &ClassMetrics| {
        let mut row = serde_json::to_value(row).unwrap_or_default();
        if let Some(row) = row.as_object_mut() {
            row.insert("setting".to_owned(), Json::from(setting));
        }
        row
    };
    tables.iter().map(|rows| rows.iter().map(row).collect()).collect()
}

fn stem(path: &Path) -> String {
    path.file_stem().map_or_else(|| "run".to_owned(), |stem| stem.to_string_lossy().into_owned())
}
