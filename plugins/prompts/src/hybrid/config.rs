//! The keys of `hybrid`.

use std::collections::BTreeMap;

use loupe_plugin::prelude::*;

use crate::ask::Brief;
use crate::llm::{faults, hand_written, sixteen};
use crate::naming::{Subject, names_of};
use crate::recall::{Missing, Recall};
use crate::words::name_key;

/// What the sources after the first are to it.
#[derive(Clone, Copy, Default, PartialEq, Deserialize, Schema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Mode {
    /// All sources count.
    #[default]
    Append,
    /// The first counts only for classes of which no other source has a sentence.
    Replace,
}

/// What a source's weight is divided among.
#[derive(Clone, Copy, Default, PartialEq, Deserialize, Schema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Share {
    /// The source as a whole: its share does not depend on its number of sentences.
    #[default]
    Source,
    /// Every sentence has it, so that a long source outweighs a short one, as in CLIP-LMFA.
    Sentence,
}

/// Merges sentences of several sources.
#[derive(Deserialize, Schema)]
#[serde(deny_unknown_fields)]
pub struct HybridConfig {
    /// Where sentences come from; the first is the base that `mode` speaks of.
    #[schema(min_items = 1, max_items = 32)]
    pub(crate) sources: Vec<Source>,
    #[serde(default)]
    pub(crate) mode: Mode,
    #[serde(default)]
    pub(crate) share: Share,
    #[serde(default)]
    pub(crate) subject: Subject,
    /// A sentence with a `{}` into which every sentence is put: `a photo of a {}.` in FADE.
    pub(crate) wrap: Option<String>,
    /// Repeats sentences that name the class for each of its names and synonyms.
    #[serde(default)]
    pub(crate) synonyms: bool,
    /// What classes are called instead, the name to write first: `names = { pcb1 = ["circuit
    /// board"] }`.
    #[serde(default)]
    pub(crate) names: BTreeMap<String, Vec<String>>,
}

/// One of `set`, `file` and `cache`, with its weight.
#[derive(Clone, Deserialize, Schema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Source {
    /// A set that loupe ships, as under `sets` of `ensemble`.
    pub(crate) set: Option<String>,
    /// A prompt file in FADE's JSON schema.
    #[schema(file)]
    pub(crate) file: Option<String>,
    /// A prompt cache; `model`, `template`, `temperature`, `seed`, `count` choose in it as for
    /// `llm`.
    #[schema(file)]
    pub(crate) cache: Option<String>,
    /// Share of this source among those that have sentences; 0 turns it off.
    #[serde(default = "one")]
    #[schema(min = 0.0, max = 1e6)]
    pub(crate) weight: f64,
    /// The classes it is for; without it all.
    #[serde(default)]
    pub(crate) classes: Vec<String>,
    pub(crate) subject: Option<Subject>,
    #[serde(default = "hand_written")]
    pub(crate) model: String,
    #[serde(default = "faults")]
    pub(crate) template: String,
    #[schema(min = 0.0, max = 2.0)]
    pub(crate) temperature: Option<f64>,
    pub(crate) seed: Option<u64>,
    #[serde(default = "sixteen")]
    #[schema(min = 1, max = 500)]
    pub(crate) count: u32,
    #[serde(default)]
    pub(crate) missing: Missing,
}

impl HybridConfig {
    /// The names under which a source's cache is asked about a class, in order.
    pub(crate) fn looked_up<'a>(
        &'a self,
        source: &Source,
        class_name: &'a str,
        synonyms: &[&'a str],
    ) -> Vec<&'a str> {
        let subject = source.subject.unwrap_or(self.subject);
        let mut names = names_of(subject, &self.names, class_name, synonyms);
        if subject == Subject::Class && !names.contains(&class_name) {
            names.push(class_name);
        }
        names
    }

    /// What the caches among the sources are asked about a class.
    pub(crate) fn recalls<'a>(
        &'a self,
        class_name: &'a str,
        synonyms: &[&'a str],
    ) -> Vec<(Recall, Vec<&'a str>)> {
        let cached = |source: &&Source| source.cache.is_some() && source.counts_for(class_name);
        let recall = |source: &'a Source| {
            (source.recall(self.synonyms), self.looked_up(source, class_name, synonyms))
        };
        self.sources.iter().filter(cached).map(recall).collect()
    }
}

/// Beyond it the other sources' shares are lost in rounding.
const MAX_WEIGHT: f64 = 1e6;

fn one() -> f64 {
    1.0
}

/// What a source names.
pub(crate) enum Origin<'a> {
    Set(&'a str),
    File(&'a str),
    Cache(&'a str),
}

impl Source {
    /// Errors: `config`, if it names none, or two.
    pub(crate) fn origin(&self) -> Result<Origin<'_>> {
        if !(0.0..=MAX_WEIGHT).contains(&self.weight) {
            let weight = self.weight;
            return Err(Error::config(format!("`weight` wants 0 to {MAX_WEIGHT}, got {weight}")));
        }
        match (&self.set, &self.file, &self.cache) {
            (Some(name), None, None) => Ok(Origin::Set(name)),
            (None, Some(path), None) => Ok(Origin::File(path)),
            (None, None, Some(path)) => Ok(Origin::Cache(path)),
            _ => Err(Error::config("a source names exactly one of `set`, `file` and `cache`")),
        }
    }

    /// Whether it has a weight, and is for a class.
    pub(crate) fn counts_for(&self, class_name: &str) -> bool {
        let wanted = name_key(class_name);
        let named = || self.classes.iter().any(|class| name_key(class) == wanted);
        self.weight > 0.0 && (self.classes.is_empty() || named())
    }

    /// How a cache of this source is looked into.
    pub(crate) fn recall(&self, synonyms: bool) -> Recall {
        let brief = Brief {
            model: self.model.clone(),
            template: self.template.clone(),
            temperature: self.temperature,
            seed: self.seed,
            count: self.count,
        };
        let file = self.cache.clone().unwrap_or_default();
        Recall { file, brief, synonyms, missing: self.missing }
    }
}
