//! Finding in a cache the sentences that a pipeline asks for.

use loupe_plugin::prelude::*;

use crate::ask::{Brief, Template, digest, requests};
use crate::cache::{Asked, Cache, Entry, GENERIC, HAND_WRITTEN};
use crate::words::shown;

/// Classes that a message lists.
const LISTED: usize = 8;

/// What to do about a class of which a cache has no sentences.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize, Schema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Missing {
    /// Stop, and say how to fill the gap.
    #[default]
    Error,
    /// Take the cache's sentences about an `object` in general.
    Object,
    /// Go without.
    Skip,
}

/// Which entries of a cache count.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Recall {
    /// The file's name in messages.
    pub(crate) file: String,
    pub(crate) brief: Brief,
    /// Whether a request names the synonyms.
    pub(crate) synonyms: bool,
    pub(crate) missing: Missing,
}

impl Recall {
    /// Errors: `config` (unknown template, settings out of range).
    pub(crate) fn judge(&self) -> Result<()> {
        Template::named(&self.brief.template).map_err(Error::config)?;
        self.brief.judge().map_err(Error::config)
    }

    /// The entry about a class, whose names come in order of preference.
    /// An entry with a request counts if it is exactly the one that these settings make; one
    /// without (written by hand, imported) whatever they are.
    /// Errors: `config`, naming the class and the command that fills the gap.
    pub(crate) fn find<'a>(&self, cache: &'a Cache, names: &[&str]) -> Result<Option<&'a Entry>> {
        let candidates = cache.about(names, &self.brief.model, &self.brief.template);
        let wanted = self.digest(names)?;
        let exact = candidates.iter().find(|entry| entry.request == wanted);
        let free = || candidates.iter().find(|entry| entry.request.is_none());
        if let Some(entry) = exact.or_else(free) {
            return Ok(Some(entry));
        }
        match self.missing {
            // Sentences that were asked for otherwise are a gap, whatever is to be done about none.
            _ if !candidates.is_empty() => Err(Error::config(self.gap(cache, names, &candidates))),
            Missing::Skip => Ok(None),
            Missing::Object if !names.contains(&GENERIC) => self.find(cache, &[GENERIC]),
            _ => Err(Error::config(self.gap(cache, names, &candidates))),
        }
    }

    fn digest(&self, names: &[&str]) -> Result<Option<String>> {
        let Some((class, synonyms)) = names.split_first() else { return Ok(None) };
        if self.brief.model == HAND_WRITTEN {
            return Ok(None);
        }
        let synonyms = if self.synonyms { synonyms } else { &[] };
        let requests = requests(&self.brief, class, synonyms).map_err(Error::config)?;
        Ok(Some(digest(&requests)))
    }

    fn gap(&self, cache: &Cache, names: &[&str], candidates: &[&Entry]) -> String {
        let (file, Brief { model, template, .. }) = (&self.file, &self.brief);
        let class = names.first().copied().unwrap_or(GENERIC);
        let has = match candidates.first() {
            Some(entry) if entry.asked == Some(self.brief.asked()) => {
                "it has some that were asked for with these settings in other words: under another \
                 spelling, or with other synonyms"
                    .to_owned()
            }
            Some(entry) => format!(
                "it has some that were asked for otherwise ({}), and this pipeline asks with {}",
                entry.asked.map_or_else(|| "settings unknown".to_owned(), asked),
                asked(self.brief.asked())
            ),
            None => format!("it has {}", self.classes(cache)),
        };
        let fill = match model.as_str() {
            HAND_WRITTEN => "; write an entry, or set `missing = \"object\"` for its general ones",
            // The host knows the command that asks for them.
            _ => "",
        };
        format!(
            "`{file}` has no sentences about class `{}` by model `{}`, template `{template}`; \
             {has}{fill}",
            shown(class),
            shown(model)
        )
    }

    /// The classes that the cache does have by this model and template.
    fn classes(&self, cache: &Cache) -> String {
        let by = |entry: &&Entry| {
            entry.model == self.brief.model && entry.template == self.brief.template
        };
        let classes: Vec<String> =
            cache.entries.iter().filter(by).map(|entry| shown(&entry.class)).collect();
        match classes.len() {
            0 => {
                let mut pairs: Vec<String> = Vec::new();
                for entry in &cache.entries {
                    let pair =
                        format!("`{}` with `{}`", shown(&entry.model), shown(&entry.template));
                    if !pairs.contains(&pair) && pairs.len() < LISTED {
                        pairs.push(pair);
                    }
                }
                match pairs.is_empty() {
                    true => "no entries at all".to_owned(),
                    false => format!("entries by {} only", pairs.join(", ")),
                }
            }
            n if n > LISTED => format!("{}, and {} more", classes[..LISTED].join(", "), n - LISTED),
            _ => classes.join(", "),
        }
    }
}

fn asked(asked: Asked) -> String {
    let temperature = asked.temperature.map_or(String::new(), |t| format!(", temperature {t}"));
    let seed = asked.seed.map_or(String::new(), |seed| format!(", seed {seed}"));
    format!("count {}{temperature}{seed}", asked.count)
}
