//! What the stages of a pipeline want of prompt caches.

use std::path::PathBuf;

use serde_json::{Value as Json, json};

use super::{PromptsError, Tool, read_cache};
use crate::pipeline::model::{Component, Pipeline, Stage};
use crate::plugin::Loader;
use crate::plugin::info::Kind;

/// How a class is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names {
    /// As the data set calls it.
    pub class: String,
    /// In a sentence.
    pub display: String,
    pub synonyms: Vec<String>,
}

/// Sentences about one class that a stage wants in a cache.
#[derive(Clone, Debug)]
pub struct Job {
    pub stage: String,
    /// The prompt generator that knows what `wish` means.
    pub component: String,
    pub class: String,
    pub cache: PathBuf,
    pub model: String,
    pub requests: Vec<Request>,
    /// The tool's own description.
    pub(super) wish: Json,
    digest: String,
}

/// A POST of `body` to `path` below the endpoint's address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    pub path: String,
    pub body: String,
}

impl Job {
    /// What the tool says of the job: `template`, `count`, and so on.
    pub fn wish(&self) -> &Json {
        &self.wish
    }
}

/// The jobs of a pipeline for these classes, each once: classes that share their sentences share
/// the job. `model` is asked in the place of the pipeline's.
/// Errors: `Refused`, `Plugin`, `Answer`.
pub fn jobs(
    loader: &Loader,
    pipeline: &Pipeline,
    classes: &[Names],
    model: Option<&str>,
) -> Result<Vec<Job>, PromptsError> {
    let mut all: Vec<Job> = Vec::new();
    for names in classes {
        for stage in &pipeline.stages {
            for job in of_stage(loader, stage, names, model)? {
                let same = |old: &Job| (&old.cache, &old.digest) == (&job.cache, &job.digest);
                if !all.iter().any(same) {
                    all.push(job);
                }
            }
        }
    }
    Ok(all)
}

/// Whether a job's entry stands in its cache, whose text is given. Errors: `Refused`, `Plugin`.
pub fn is_found(tool: &Tool<'_>, job: &Job, text: &str) -> Result<bool, PromptsError> {
    let file = job.cache.display().to_string();
    let question = json!({"do": "found", "file": file, "text": text, "job": job.wish});
    Ok(tool.ask(&question)?["found"] == true)
}

/// Whether a stage wants something about a class that its caches do not have, and that can be asked
/// for.
pub fn gaps(loader: &Loader, stage: &Stage, names: &Names) -> bool {
    let is_gap = |job: &Job| {
        let tool = Tool::of(loader, &job.component)?;
        Some(!is_found(&tool, job, &read_cache(&job.cache).ok()?).ok()?)
    };
    let jobs = of_stage(loader, stage, names, None).unwrap_or_default();
    jobs.iter().any(|job| is_gap(job).unwrap_or(false))
}

fn of_stage(
    loader: &Loader,
    stage: &Stage,
    names: &Names,
    model: Option<&str>,
) -> Result<Vec<Job>, PromptsError> {
    let Component::Plugin { kind: Kind::Prompts, name } = &stage.component else {
        return Ok(Vec::new());
    };
    let Some(tool) = Tool::of(loader, name) else { return Ok(Vec::new()) };
    let answer = tool.ask(&json!({
        "do": "jobs", "component": name, "config": stage.config, "class": names.display,
        "synonyms": names.synonyms, "model": model,
    }))?;
    let job = |answer: &Json| {
        let wish = answer["job"].clone();
        let request = |request: &Json| -> Result<Request, PromptsError> {
            let (path, body) = (tool.text(request, "path")?, tool.text(request, "body")?);
            Ok(Request { path: path.to_owned(), body: body.to_owned() })
        };
        Ok(Job {
            stage: stage.name.clone(),
            component: name.clone(),
            class: names.class.clone(),
            cache: PathBuf::from(tool.text(&wish, "cache")?),
            model: tool.text(&wish, "model")?.to_owned(),
            requests: tool
                .list(answer, "requests")?
                .iter()
                .map(request)
                .collect::<Result<_, PromptsError>>()?,
            digest: tool.text(answer, "digest")?.to_owned(),
            wish,
        })
    };
    tool.list(&answer, "jobs")?.iter().map(job).collect()
}
