//! Sentences of several sources, each with a share that does not depend on how many it has: grids,
//! files, what a language model wrote, what a profession says. CLIP-LMFA appends files, so that a
//! long one outweighs a short one; `share = "sentence"` does that.

mod config;
mod shares;

use loupe_plugin::prelude::*;

use crate::cache::{self, Cache};
use crate::file::from_file;
use crate::naming::{judge_wrap, names_of, wrapped};
use crate::sets::{PromptSet, built_in};
use crate::words::{NAME, name_key};
pub use config::HybridConfig;
use config::{Mode, Origin, Source};
use shares::give_shares;

pub struct Hybrid {
    config: HybridConfig,
    /// What each source of the config draws from.
    contents: Vec<Content>,
}

enum Content {
    Set(PromptSet),
    Cache(Cache),
}

impl PromptGenerator for Hybrid {
    type Config = HybridConfig;
    const REVISION: u32 = 1;
    const ABOUT: &'static str = "sentences of several sources, each with a weight of its own";

    fn new(config: HybridConfig, host: &Host) -> Result<Self> {
        judge(&config)?;
        let contents =
            config.sources.iter().map(|source| open(source, host)).collect::<Result<_>>()?;
        Ok(Self { config, contents })
    }

    fn check(config: &HybridConfig, host: &Host) -> Result<Facts> {
        judge(config)?;
        for source in &config.sources {
            open(source, host)?;
        }
        Ok(Facts::default())
    }

    /// Source by source, its normal sentences before its anomalous ones. Those of one text from two
    /// sources both stay: each brings its source's weight.
    fn generate(&self, class_name: &str, synonyms: &[&str]) -> Result<Vec<Sentence>> {
        let mut parts = Vec::new();
        for (source, content) in self.config.sources.iter().zip(&self.contents) {
            parts.push(match source.counts_for(class_name) {
                true => self.part(source, content, class_name, synonyms)?,
                false => Vec::new(),
            });
        }
        if self.config.mode == Mode::Replace && parts.iter().skip(1).any(|part| !part.is_empty()) {
            parts[0].clear();
        }
        if parts.iter().all(Vec::is_empty) {
            return Err(Error::config(format!(
                "no source has a sentence about class `{class_name}`; leave `classes` out of one \
                 of them, or give it a weight"
            )));
        }
        let weights: Vec<f64> = self.config.sources.iter().map(|source| source.weight).collect();
        give_shares(self.config.share, &weights, &mut parts);
        Ok(parts.into_iter().flatten().collect())
    }
}

impl Tool for Hybrid {
    fn answer(question: &str) -> Result<String> {
        crate::tool::answer(question)
    }
}

impl Hybrid {
    fn part(
        &self,
        source: &Source,
        content: &Content,
        class_name: &str,
        synonyms: &[&str],
    ) -> Result<Vec<Sentence>> {
        let config = &self.config;
        let subject = source.subject.unwrap_or(config.subject);
        let names = names_of(subject, &config.names, class_name, synonyms);
        let n_written = if config.synonyms { names.len() } else { 1 };
        let written = names.get(..n_written).unwrap_or(&names);
        let (texts, origin) = match content {
            Content::Set(set) => ([&set.normal, &set.anomalous], set.source.clone()),
            Content::Cache(cache) => {
                let looked = config.looked_up(source, class_name, synonyms);
                match source.recall(config.synonyms).find(cache, &looked)? {
                    Some(entry) => ([&entry.normal, &entry.anomalous], entry.source()),
                    None => return Ok(Vec::new()),
                }
            }
        };
        let mut sentences = Vec::new();
        for (texts, anomalous) in texts.into_iter().zip([false, true]) {
            for (name_idx, name) in written.iter().enumerate() {
                // A sentence without a place for the name is the same for every name.
                let texts = texts.iter().filter(|text| name_idx == 0 || text.contains(NAME));
                sentences.extend(texts.map(|text| {
                    let text = wrapped(config.wrap.as_deref(), &text.replace(NAME, name));
                    Sentence::new(text, anomalous, &origin)
                }));
            }
        }
        Ok(sentences)
    }
}

fn open(source: &Source, host: &Host) -> Result<Content> {
    Ok(match source.origin()? {
        Origin::Set(name) => Content::Set(built_in(name)?),
        Origin::File(path) => Content::Set(from_file(path, host.open(path)?)?),
        Origin::Cache(path) => {
            source.recall(false).judge()?;
            Content::Cache(cache::read(path, host.open(path)?).map_err(Error::config)?)
        }
    })
}

/// What the schema cannot say.
fn judge(config: &HybridConfig) -> Result<()> {
    judge_wrap(config.wrap.as_deref())?;
    for source in &config.sources {
        source.origin()?;
    }
    if config.sources.iter().all(|source| source.weight == 0.0) {
        return Err(Error::config("every source has weight 0; give one of them a weight"));
    }
    if config.mode == Mode::Replace && config.sources.len() < 2 {
        return Err(Error::config(
            "`mode = \"replace\"` wants a source after the first to replace it",
        ));
    }
    let mut known = std::collections::BTreeSet::new();
    for (class, names) in &config.names {
        if names.is_empty() || names.iter().any(|name| name.trim().is_empty()) {
            return Err(Error::config(format!(
                "`names.{class}` wants at least one name, none empty"
            )));
        }
        if !known.insert(name_key(class)) {
            return Err(Error::config(format!("`names` has class `{class}` under two spellings")));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
