//! `loupe check`, `loupe graph`, `loupe schema`: a pipeline looked at without running it. A sweep is
//! checked as the pipelines of its cells.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::text::count;
use super::{
    AnyFormat, Common, Exit, Format, Outcome, parse_set, print, print_json, prompts, setup,
};
use crate::pipeline::diagnostics::Severity;
use crate::pipeline::model::Setting;
use crate::pipeline::{Change, Checked, graph, json_schema};
use crate::sweep::{self, Setup, SweepError, SweepFile};

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Pipelines and sweeps, TOML files
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Change a key of each pipeline before it is checked
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = parse_set)]
    sets: Vec<Change>,
    /// Let warnings count as mistakes
    #[arg(long)]
    deny_warnings: bool,
}

/// One file's outcome, for `--format json`.
#[derive(Serialize)]
struct Entry {
    file: PathBuf,
    /// Which pipeline of a sweep.
    variant: Option<String>,
    ok: bool,
    n_errors: usize,
    n_warnings: usize,
    n_stages: Option<usize>,
    setting: Option<Setting>,
    diagnostics: Vec<Found>,
}

#[derive(Serialize)]
struct Found {
    severity: &'static str,
    message: String,
    /// `fade.toml:12`
    place: Option<String>,
    label: String,
    hint: Option<String>,
    notes: Vec<String>,
}

pub(super) fn run(common: &Common, arguments: &Arguments) -> Outcome {
    let loader = setup::loader(common);
    let mut entries = Vec::new();
    let mut verdict: Option<Exit> = None;
    for file in &arguments.files {
        for Wanted { file, pipeline, variant, mut sets } in pipelines(file)? {
            sets.extend(arguments.sets.iter().cloned());
            let checked = setup::Checker::thorough().check(&pipeline, &sets, &loader);
            let lacking = checked.pipeline.as_ref().map(|it| prompts::lacking(&loader, it));
            let mut lacking = lacking.unwrap_or_default();
            lacking.extend(
                checked
                    .pipeline
                    .as_ref()
                    .and_then(|it| it.lacks_references(it.data.as_ref()?.references.shots)),
            );
            lacking.iter().for_each(|why| eprintln!("error: {why}\n"));
            let entry = entry(file, variant, &checked, &lacking, arguments.deny_warnings);
            if common.format == Format::Table {
                print(&entry.line())?;
            }
            if !entry.ok {
                // A mistake in one file weighs more than a plugin that another one misses.
                verdict = match (verdict, setup::verdict(&checked, &loader)) {
                    (None, found) | (Some(Exit::Plugin(_)), found) => Some(found),
                    (before, _) => before,
                };
            }
            entries.push(entry);
        }
    }
    if common.format == Format::Json {
        print_json(&entries)?;
    }
    verdict.map_or(Ok(()), Err)
}

/// A pipeline to check, of a file or of one variant of a sweep.
struct Wanted<'a> {
    file: &'a Path,
    pipeline: PathBuf,
    variant: Option<String>,
    sets: Vec<Change>,
}

/// The pipelines of a sweep, or the file itself. Errors: the sweep is none that can be planned.
fn pipelines(file: &Path) -> Result<Vec<Wanted<'_>>, SweepError> {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    if !text.parse::<toml::Table>().is_ok_and(|table| table.contains_key("sweep")) {
        let pipeline = file.to_owned();
        return Ok(vec![Wanted { file, pipeline, variant: None, sets: Vec::new() }]);
    }
    let setups = sweep::plan(file, &SweepFile::read(file)?)?;
    let wanted = |setup: Setup| {
        let variant = Some(setup.title());
        Wanted { file, pipeline: setup.pipeline, variant, sets: setup.sets }
    };
    Ok(setups.into_iter().map(wanted).collect())
}

fn entry(
    file: &Path,
    variant: Option<String>,
    checked: &Checked,
    lacking: &[String],
    deny_warnings: bool,
) -> Entry {
    let report = &checked.report;
    let n_warnings = report.count(Severity::Warning);
    let found = report.list.iter().map(|found| Found {
        severity: match found.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        },
        message: found.message.clone(),
        place: found.at.map(|at| report.place(at)),
        label: found.label.clone(),
        hint: found.hint.clone(),
        notes: found.notes.clone(),
    });
    let lacks = lacking.iter().map(|why| Found {
        severity: "error",
        message: why.clone(),
        place: None,
        label: String::new(),
        hint: None,
        notes: Vec::new(),
    });
    let is_whole = checked.pipeline.is_some() && lacking.is_empty();
    Entry {
        file: file.to_owned(),
        variant,
        ok: is_whole && !(deny_warnings && n_warnings > 0),
        n_errors: report.count(Severity::Error) + lacking.len(),
        n_warnings,
        n_stages: checked.pipeline.as_ref().map(|pipeline| pipeline.stages.len()),
        setting: checked.pipeline.as_ref().map(|pipeline| pipeline.setting),
        diagnostics: found.chain(lacks).collect(),
    }
}

impl Entry {
    fn line(&self) -> String {
        match (self.ok, self.n_stages, self.setting) {
            (true, Some(n_stages), Some(setting)) => {
                let (file, stages) = (self.file.display(), count(n_stages, "stage"));
                let variant = self.variant.as_ref().map(|variant| format!(", {variant}"));
                let variant = variant.unwrap_or_default();
                format!("{file}{variant}: ok ({stages}, {})\n", word(setting))
            }
            _ => String::new(),
        }
    }
}

/// A setting as tables write it: `few-shot-with-anomalies`.
pub(super) fn word(setting: Setting) -> String {
    let word = serde_json::to_value(setting).unwrap_or_default();
    word.as_str().unwrap_or_default().to_owned()
}

#[derive(Debug, clap::Args)]
pub(crate) struct GraphArguments {
    /// The pipeline, a TOML file
    pipeline: PathBuf,
    /// Change a key of the pipeline
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = parse_set)]
    sets: Vec<Change>,
}

pub(super) fn graph(
    common: &Common,
    arguments: &GraphArguments,
    format: Option<AnyFormat>,
) -> Outcome {
    let loader = setup::loader(common);
    // A picture shows no data and no weights, so that neither has to be there.
    let checked =
        setup::Checker::without_data().check(&arguments.pipeline, &arguments.sets, &loader);
    match (&checked.pipeline, format) {
        (Some(pipeline), Some(AnyFormat::Dot)) => print(&graph::dot(pipeline)),
        (Some(pipeline), _) => print(&graph::mermaid(pipeline)),
        (None, _) => Err(setup::verdict(&checked, &loader)),
    }
}

pub(super) fn schema(common: &Common) -> Outcome {
    print_json(&json_schema::json_schema(&setup::loader(common)))
}
