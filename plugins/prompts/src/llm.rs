//! Sentences that a language model wrote, replayed from a prompt cache. Nothing here sends
//! anything: what would be asked is made in `ask`, and sent by the engine when the user says so.

use loupe_plugin::prelude::*;

use crate::ask::Brief;
use crate::cache::{self, Cache, HAND_WRITTEN};
use crate::naming::{Subject, judge_wrap, names_of, wrapped};
use crate::recall::{Missing, Recall};
use crate::words::NAME;

/// Sentences about the class from a prompt cache, a file that is committed beside the pipeline.
#[derive(Clone, Deserialize, Schema)]
#[serde(deny_unknown_fields)]
pub struct LlmConfig {
    /// The prompt cache. A class that it lacks is an error that names the command to fill it.
    #[schema(file)]
    cache: String,
    /// Who wrote: a model's name at its endpoint, or `hand-written`.
    #[serde(default = "hand_written")]
    model: String,
    /// What was asked, with its version: `faults@1` for products, `findings@1` for medical images.
    #[serde(default = "faults")]
    template: String,
    /// Sampling temperature of the request; without it the endpoint's own.
    #[schema(min = 0.0, max = 2.0)]
    temperature: Option<f64>,
    /// Seed of the request, for endpoints that take one.
    seed: Option<u64>,
    /// Sentences to ask for, of each label.
    #[serde(default = "sixteen")]
    #[schema(min = 1, max = 500)]
    count: u32,
    #[serde(default)]
    subject: Subject,
    /// A sentence with a `{}` into which every sentence is put: `a photo of a {}.` in FADE.
    wrap: Option<String>,
    /// Names the synonyms in the request.
    #[serde(default)]
    synonyms: bool,
    #[serde(default)]
    missing: Missing,
}

pub(crate) fn hand_written() -> String {
    HAND_WRITTEN.to_owned()
}

pub(crate) fn faults() -> String {
    "faults@1".to_owned()
}

pub(crate) fn sixteen() -> u32 {
    16
}

impl LlmConfig {
    pub(crate) fn recall(&self) -> Recall {
        let brief = Brief {
            model: self.model.clone(),
            template: self.template.clone(),
            temperature: self.temperature,
            seed: self.seed,
            count: self.count,
        };
        let (file, missing) = (self.cache.clone(), self.missing);
        Recall { file, brief, synonyms: self.synonyms, missing }
    }

    /// The names under which a class is asked for and looked up.
    pub(crate) fn names<'a>(&self, class_name: &'a str, synonyms: &[&'a str]) -> Vec<&'a str> {
        static NONE: std::collections::BTreeMap<String, Vec<String>> =
            std::collections::BTreeMap::new();
        names_of(self.subject, &NONE, class_name, synonyms)
    }
}

pub struct Llm {
    config: LlmConfig,
    cache: Cache,
}

impl PromptGenerator for Llm {
    type Config = LlmConfig;
    const REVISION: u32 = 1;
    const ABOUT: &'static str = "sentences of a language model, from a prompt cache";

    fn new(config: LlmConfig, host: &Host) -> Result<Self> {
        let cache = judge(&config, host)?;
        Ok(Self { config, cache })
    }

    fn check(config: &LlmConfig, host: &Host) -> Result<Facts> {
        judge(config, host)?;
        Ok(Facts::default())
    }

    /// The entry's normal sentences, then its anomalous ones.
    fn generate(&self, class_name: &str, synonyms: &[&str]) -> Result<Vec<Sentence>> {
        let names = self.config.names(class_name, synonyms);
        let Some(entry) = self.config.recall().find(&self.cache, &names)? else {
            return Ok(Vec::new());
        };
        let name = names.first().copied().unwrap_or(class_name);
        let mut sentences = Vec::new();
        for (texts, anomalous) in [(&entry.normal, false), (&entry.anomalous, true)] {
            sentences.extend(texts.iter().map(|text| {
                let text = wrapped(self.config.wrap.as_deref(), &text.replace(NAME, name));
                Sentence::new(text, anomalous, entry.source())
            }));
        }
        Ok(sentences)
    }
}

impl Tool for Llm {
    fn answer(question: &str) -> Result<String> {
        crate::tool::answer(question)
    }
}

fn judge(config: &LlmConfig, host: &Host) -> Result<Cache> {
    judge_wrap(config.wrap.as_deref())?;
    config.recall().judge()?;
    if config.missing == Missing::Skip {
        return Err(Error::config(
            "`missing = \"skip\"` would leave a class without sentences; `hybrid` can do that",
        ));
    }
    cache::read(&config.cache, host.open(&config.cache)?).map_err(Error::config)
}

#[cfg(test)]
mod tests;
