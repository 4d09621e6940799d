//! `loupe prompts show`: what the prompt generators of a pipeline say about its classes.

use std::sync::Arc;

use serde_json::{Value as Json, json};

use super::Asked;
use super::classes::classes;
use crate::cli::text::{columns, count, printable};
use crate::cli::{Common, Format, Outcome, print, print_json, setup};
use crate::pipeline::model::{Component, Pipeline, Stage};
use crate::plugin::info::Kind;
use crate::plugin::{Instance, Loader, Sentence, StageHost};
use crate::run::{RunError, gap, sentences};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  loupe prompts show pipelines/language-only.toml --class bottle
  loupe prompts show p.toml --set stages.words.template=\"findings@1\" --format json")]
pub(crate) struct Arguments {
    #[command(flatten)]
    asked: Asked,
}

pub(super) fn run(common: &Common, arguments: &Arguments) -> Outcome {
    let loader = setup::loader(common);
    let (pipeline, classes) = arguments.asked.read(&loader, false)?;
    let mut entries = Vec::new();
    for (stage_idx, stage) in pipeline.stages.iter().enumerate() {
        let Component::Plugin { kind: Kind::Prompts, name } = &stage.component else { continue };
        let instance = instance(&loader, &pipeline, stage, name)?;
        for class in &classes {
            let made = sentences(&instance, &class.display, &class.synonyms)
                .map_err(|error| gap(&loader, &pipeline, stage_idx, class, error))?
                .unwrap_or_default();
            match common.format {
                Format::Json => entries.push(as_json(stage, &class.class, &made)),
                Format::Table => print(&table(stage, &class.class, &made))?,
            }
        }
    }
    if common.format == Format::Json { print_json(&entries) } else { Ok(()) }
}

/// Why stages of a pipeline have no sentences about its classes, one reason a stage; a class that is not known
/// without its data is passed over.
pub(in crate::cli) fn lacking(loader: &Loader, pipeline: &Pipeline) -> Vec<String> {
    let Ok(classes) = classes(pipeline, &[]) else { return Vec::new() };
    let of_stage = |(stage_idx, stage): (usize, &Stage)| {
        let Component::Plugin { kind: Kind::Prompts, name } = &stage.component else { return None };
        let instance = match instance(loader, pipeline, stage, name) {
            Ok(instance) => instance,
            Err(error) => return Some(format!("stage `{}`: {error}", stage.name)),
        };
        classes.iter().find_map(|class| {
            let error = sentences(&instance, &class.display, &class.synonyms).err()?;
            let error = gap(loader, pipeline, stage_idx, class, error);
            Some(format!("stage `{}`, class `{}`: {error}", stage.name, class.class))
        })
    };
    pipeline.stages.iter().enumerate().filter_map(of_stage).collect()
}

fn instance(
    loader: &Loader,
    pipeline: &Pipeline,
    stage: &Stage,
    component: &str,
) -> Result<Instance, RunError> {
    let pool = loader.quiet_pool().map_err(|message| RunError::Threads { message })?;
    let (seed, files) = (pipeline.run.seed, stage.opened_files());
    let host = StageHost::new(&stage.name, seed, files, pool, Arc::default());
    let config = Json::Object(stage.config.clone());
    Ok(loader.create(Kind::Prompts, component, &config, Arc::new(host))?)
}

fn label(sentence: &Sentence) -> &'static str {
    if sentence.anomalous { "anomalous" } else { "normal" }
}

fn as_json(stage: &Stage, class: &str, made: &[Sentence]) -> Json {
    let sentence = |one: &Sentence| {
        let Sentence { weight, text, source, .. } = one;
        json!({"label": label(one), "weight": weight, "text": text, "source": source})
    };
    let sentences: Vec<Json> = made.iter().map(sentence).collect();
    json!({"stage": stage.name, "class": class, "sentences": sentences})
}

fn table(stage: &Stage, class: &str, made: &[Sentence]) -> String {
    let n_anomalous = made.iter().filter(|one| one.anomalous).count();
    let row = |one: &Sentence| {
        let weight = format!("{:.4}", one.weight);
        let weight = weight.trim_end_matches('0').trim_end_matches('.').to_owned();
        vec![label(one).to_owned(), weight, printable(&one.text), printable(&one.source)]
    };
    let rows: Vec<Vec<String>> = made.iter().map(row).collect();
    format!(
        "stage {}, class {}: {}, {n_anomalous} of them anomalous\n{}\n",
        stage.name,
        printable(class),
        count(made.len(), "sentence"),
        columns(&["label", "weight", "sentence", "source"], &rows, &[1])
    )
}
