//! Which words stand for the thing under test, and in what a sentence is wrapped.

use std::collections::BTreeMap;

use loupe_plugin::prelude::*;

use crate::cache::GENERIC;
use crate::words::{NAME, name_key};

/// Which word stands for the thing under test.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize, Schema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Subject {
    /// The class's name.
    #[default]
    Class,
    /// The word "object", so that all classes share their sentences.
    Object,
}

/// The names of a class, the one to write first, its synonyms after it.
pub(crate) fn names_of<'a>(
    subject: Subject,
    own: &'a BTreeMap<String, Vec<String>>,
    class_name: &'a str,
    synonyms: &[&'a str],
) -> Vec<&'a str> {
    if subject == Subject::Object {
        return vec![GENERIC];
    }
    let wanted = name_key(class_name);
    let own = own.iter().find(|(class, _)| name_key(class) == wanted);
    let mut names: Vec<&str> =
        own.map_or(vec![], |(_, names)| names.iter().map(|n| &**n).collect());
    if names.is_empty() {
        names.push(class_name);
    }
    for synonym in synonyms {
        if !names.contains(synonym) {
            names.push(synonym);
        }
    }
    names
}

/// A sentence in its wrapping, if there is one.
pub(crate) fn wrapped(wrap: Option<&str>, sentence: &str) -> String {
    wrap.map_or_else(|| sentence.to_owned(), |wrap| wrap.replace(NAME, sentence))
}

/// Errors: `config`, if the wrapping has no place for the sentence.
pub(crate) fn judge_wrap(wrap: Option<&str>) -> Result<()> {
    match wrap {
        Some(wrap) if !wrap.contains(NAME) => {
            Err(Error::config(format!("`wrap` wants a `{{}}` for the sentence, got `{wrap}`")))
        }
        _ => Ok(()),
    }
}
