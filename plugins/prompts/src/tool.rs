//! What a host may ask about prompt caches besides running a generator: one question in JSON, one
//! answer in JSON. The host opens, sends and writes; what stands in the files and in the requests
//! is known here alone.
//!
//! `loupe prompts generate` is: `jobs` of a stage for each class; for each job whose entry is not
//! `found`, send its requests, `judge` every reply (sending again what is passing), `accept` them,
//! and write the text that comes back.

use loupe_plugin::prelude::*;
use serde::Serialize;
use serde_json::{Value, json};

use crate::ask::{Brief, Dropped, Reply, accept, digest, parse, requests};
use crate::cache::{self, Cache, Entry, HAND_WRITTEN, Usage};
use crate::hybrid::HybridConfig;
use crate::lint::Rules;
use crate::llm::LlmConfig;
use findings::findings;
use import::{List, imported};

mod findings;
mod import;

/// A question. `file` is a file's name in messages, `text` what stands in it; empty is a new cache.
#[derive(Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case", deny_unknown_fields)]
enum Question {
    /// The caches that a stage names.
    Caches { component: String, config: Value },
    /// What a stage wants of caches, for one class; of `model` in the place of its own, if given.
    Jobs {
        component: String,
        config: Value,
        class: String,
        synonyms: Vec<String>,
        model: Option<String>,
    },
    /// Whether a cache has a job's entry.
    Found { file: String, text: String, job: Job },
    /// Whether a reply holds sentences, and if not, whether to send the request again; what it
    /// was charged for in either case.
    Judge { reply: Reply },
    /// The cache with the entry that a job's replies make.
    Accept { file: String, text: String, job: Job, replies: Vec<Reply> },
    /// The entries; with `class` only those about it, with their sentences.
    List { file: String, text: String, class: Option<String> },
    /// Findings about a cache, or about a prompt file if `file` ends in `.json`.
    Lint { file: String, text: String, context: Option<usize>, wrap: Option<String> },
    /// The cache with the sentences of other files as the entry of a class.
    Import {
        file: String,
        text: String,
        lists: Vec<List>,
        class: String,
        model: String,
        template: String,
    },
}

/// Sentences to ask for: a cache's name, a class, and how to ask.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Job {
    cache: String,
    class: String,
    synonyms: Vec<String>,
    model: String,
    template: String,
    temperature: Option<f64>,
    seed: Option<u64>,
    count: u32,
}

/// The answer to a question. Errors: `input` for a question that is none, `config` for everything
/// that the user can put right, each a sentence with the file, the entry and what to do.
pub fn answer(question: &str) -> Result<String> {
    let question: Question = serde_json::from_str(question).map_err(Error::input)?;
    let answer = match question {
        Question::Caches { component, config } => {
            let caches = caches(&component, config)?;
            let paths = |caches: &[(String, String)]| -> Vec<String> {
                caches.iter().map(|(path, _)| path.clone()).collect()
            };
            let (by_hand, _): (Vec<_>, Vec<_>) =
                caches.iter().cloned().partition(|(_, model)| model == HAND_WRITTEN);
            json!({"caches": paths(&caches), "by_hand": paths(&by_hand)})
        }
        Question::Jobs { component, config, class, synonyms, model } => {
            let synonyms: Vec<&str> = synonyms.iter().map(String::as_str).collect();
            json!({"jobs": jobs(&component, config, &class, &synonyms, model.as_deref())?})
        }
        Question::Found { file, text, job } => {
            let cache = read(&file, &text)?;
            let wanted = Some(digest(&job.requests()?));
            let found = cache
                .about(&[&job.class], &job.model, &job.template)
                .iter()
                .any(|entry| entry.request.is_none() || entry.request == wanted);
            json!({"found": found})
        }
        Question::Judge { reply } => {
            let usage = usage(crate::ask::usage(&reply));
            match parse(&reply) {
                Ok(_) => json!({"good": true, "usage": usage}),
                Err(error) => {
                    let (again, why) = (error.is_passing(), error.to_string());
                    json!({"good": false, "again": again, "why": why, "usage": usage})
                }
            }
        }
        Question::Accept { file, text, job, replies } => {
            let mut cache = read(&file, &text)?;
            let accepted = accept(&job.brief(), &job.class, &job.synonyms(), &replies)
                .map_err(Error::config)?;
            let dropped: Vec<Value> = accepted.dropped.iter().map(drop_shape).collect();
            let entry = accepted.entry;
            let kept = json!({"normal": entry.normal.len(), "anomalous": entry.anomalous.len()});
            let usage = entry.usage.map(usage);
            cache.put(entry);
            json!({"text": write(&file, &cache)?, "kept": kept, "dropped": dropped, "usage": usage})
        }
        Question::List { file, text, class } => {
            let cache = read(&file, &text)?;
            let about = |entry: &&Entry| class.as_deref().is_none_or(|class| entry.is_about(class));
            let entries = cache.entries.iter().filter(about);
            let shapes: Vec<Value> = entries.map(|entry| shape(entry, class.is_some())).collect();
            json!({"entries": shapes})
        }
        Question::Lint { file, text, context, wrap } => {
            let rules = Rules { context: context.unwrap_or(77), wrap: wrap.as_deref(), names: &[] };
            json!({"findings": findings(&file, &text, &rules)?})
        }
        Question::Import { file, text, lists, class, model, template } => {
            let mut cache = read(&file, &text)?;
            let entry = imported(&lists, class, model, template)?;
            let kept = json!({"normal": entry.normal.len(), "anomalous": entry.anomalous.len()});
            let replaced = cache.entries.iter().any(|one| one.identity() == entry.identity());
            cache.put(entry);
            json!({"text": write(&file, &cache)?, "kept": kept, "replaced": replaced})
        }
    };
    Ok(answer.to_string())
}

impl Job {
    fn new(cache: String, brief: Brief, names: &[&str], with_synonyms: bool) -> Self {
        let (class, synonyms) = names.split_first().unwrap_or((&"", &[]));
        let synonyms = if with_synonyms { synonyms } else { &[] };
        let Brief { model, template, temperature, seed, count } = brief;
        let synonyms = synonyms.iter().map(|name| (*name).to_owned()).collect();
        Job {
            cache,
            class: (*class).to_owned(),
            synonyms,
            model,
            template,
            temperature,
            seed,
            count,
        }
    }

    fn brief(&self) -> Brief {
        Brief {
            model: self.model.clone(),
            template: self.template.clone(),
            temperature: self.temperature,
            seed: self.seed,
            count: self.count,
        }
    }

    fn synonyms(&self) -> Vec<&str> {
        self.synonyms.iter().map(String::as_str).collect()
    }

    fn requests(&self) -> Result<Vec<crate::ask::Request>> {
        requests(&self.brief(), &self.class, &self.synonyms()).map_err(Error::config)
    }
}

/// The caches of a config, each with the model whose sentences are read.
fn caches(component: &str, config: Value) -> Result<Vec<(String, String)>> {
    Ok(match component {
        "llm" => {
            let config: LlmConfig = serde_json::from_value(config).map_err(Error::config)?;
            let recall = config.recall();
            vec![(recall.file, recall.brief.model)]
        }
        "hybrid" => {
            let config: HybridConfig = serde_json::from_value(config).map_err(Error::config)?;
            let sources = config.sources.into_iter();
            sources.filter_map(|source| Some((source.cache?, source.model))).collect()
        }
        _ => Vec::new(),
    })
}

/// The jobs of a stage, each with its requests; none of sentences that people write. `model` takes
/// the place of an `llm` stage's model, and of those that a `hybrid` stage asks.
fn jobs(
    component: &str,
    config: Value,
    class: &str,
    synonyms: &[&str],
    model: Option<&str>,
) -> Result<Vec<Value>> {
    let other = |brief: Brief| match model {
        Some(model) => Brief { model: model.to_owned(), ..brief },
        None => brief,
    };
    let jobs: Vec<Job> = match component {
        "llm" => {
            let config: LlmConfig = serde_json::from_value(config).map_err(Error::config)?;
            let recall = config.recall();
            let names = config.names(class, synonyms);
            vec![Job::new(recall.file, other(recall.brief), &names, recall.synonyms)]
        }
        "hybrid" => {
            let config: HybridConfig = serde_json::from_value(config).map_err(Error::config)?;
            let job = |(recall, names): (crate::recall::Recall, Vec<&str>)| {
                let brief = match recall.brief.model == HAND_WRITTEN {
                    true => recall.brief,
                    false => other(recall.brief),
                };
                Job::new(recall.file, brief, &names, recall.synonyms)
            };
            config.recalls(class, synonyms).into_iter().map(job).collect()
        }
        _ => Vec::new(),
    };
    let asked = jobs.into_iter().filter(|job| job.model != HAND_WRITTEN);
    let with_requests = |job: Job| {
        let requests = job.requests()?;
        let digest = digest(&requests);
        let requests: Vec<Value> = requests
            .into_iter()
            .map(|request| json!({"path": request.path, "body": request.body}))
            .collect();
        Ok(json!({"job": job, "requests": requests, "digest": digest}))
    };
    asked.map(with_requests).collect()
}

fn read(file: &str, text: &str) -> Result<Cache> {
    if text.trim().is_empty() {
        return Ok(Cache::default());
    }
    cache::read(file, text.as_bytes()).map_err(Error::config)
}

/// A cache's text, which is as good as what may be read: names and limits are checked by reading.
fn write(file: &str, cache: &Cache) -> Result<String> {
    let text = cache::write(cache);
    cache::read(file, text.as_bytes()).map_err(Error::config)?;
    Ok(text)
}

fn label(anomalous: bool) -> &'static str {
    if anomalous { "anomalous" } else { "normal" }
}

fn drop_shape(drop: &Dropped) -> Value {
    json!({"text": drop.text, "label": label(drop.anomalous), "why": drop.why})
}

fn usage(usage: Usage) -> Value {
    json!({
        "requests": usage.n_requests,
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
    })
}

fn shape(entry: &Entry, with_sentences: bool) -> Value {
    let asked = entry.asked.map_or(
        Value::Null,
        |asked| json!({"count": asked.count, "temperature": asked.temperature, "seed": asked.seed}),
    );
    let mut shape = json!({
        "class": entry.class,
        "aliases": entry.aliases,
        "model": entry.model,
        "template": entry.template,
        "request": entry.request,
        "asked": asked,
        "usage": entry.usage.map(usage),
        "note": entry.note,
        "n_normal": entry.normal.len(),
        "n_anomalous": entry.anomalous.len(),
    });
    if with_sentences {
        shape["normal"] = entry.normal.clone().into();
        shape["anomalous"] = entry.anomalous.clone().into();
    }
    shape
}

#[cfg(test)]
mod tests;
