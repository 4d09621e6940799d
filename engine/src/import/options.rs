//! Reads command lines in click's manner: `--name value`, `--name=value`, `--flag`, `--no-flag`.

use std::collections::BTreeMap;
use std::str::FromStr;

use super::ImportError;

/// An option with its value's default; flags have `true` or `false`.
pub struct Known {
    pub name: &'static str,
    pub default: &'static str,
    pub is_flag: bool,
}

/// An option with a value.
pub const fn value(name: &'static str, default: &'static str) -> Known {
    Known { name, default, is_flag: false }
}

/// A switch with its `--no-` form.
pub const fn flag(name: &'static str, default: &'static str) -> Known {
    Known { name, default, is_flag: true }
}

/// What a command line says; the last of several wins.
pub struct Options {
    known: Vec<(&'static str, &'static str)>,
    given: BTreeMap<&'static str, String>,
}

impl Options {
    /// Words before the first option (`python scripts/run_fade.py`) are left out.
    pub fn parse(
        system: &'static str,
        known: &'static [Known],
        words: &[String],
    ) -> Result<Options, ImportError> {
        let start = words.iter().position(|word| word.starts_with('-')).unwrap_or(words.len());
        let mut given = BTreeMap::new();
        let mut words = words.iter().skip(start);
        while let Some(word) = words.next() {
            let Some(option) = word.strip_prefix("--") else {
                return Err(ImportError::NoOption { word: word.clone() });
            };
            let (name, attached) = match option.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (option, None),
            };
            let find = |name: &str| known.iter().find(|known| known.name == name);
            let (known, off) = match (find(name), name.strip_prefix("no-").and_then(find)) {
                (Some(known), _) => (known, false),
                (None, Some(known)) if known.is_flag => (known, true),
                _ => return Err(unknown(system, known, name)),
            };
            let option = format!("--{name}");
            let text = match (known.is_flag, attached) {
                (true, None) => (!off).to_string(),
                (true, Some(value)) => return Err(ImportError::FlagValue { option, value }),
                (false, Some(value)) => value,
                (false, None) => words.next().cloned().ok_or(ImportError::NoValue { option })?,
            };
            given.insert(known.name, text);
        }
        let known = known.iter().map(|known| (known.name, known.default)).collect();
        Ok(Options { known, given })
    }

    pub fn is_given(&self, name: &str) -> bool {
        self.given.contains_key(name)
    }

    /// What is given or else the default; empty for a name that is not known.
    pub fn text(&self, name: &str) -> &str {
        let default = || self.known.iter().find(|known| known.0 == name).map_or("", |it| it.1);
        self.given.get(name).map_or_else(default, String::as_str)
    }

    pub fn is_on(&self, name: &str) -> bool {
        self.text(name) == "true"
    }

    /// A number or another value with a text form. Errors: `Value`.
    pub fn parsed<T: FromStr>(&self, name: &str, wanted: &str) -> Result<T, ImportError> {
        let text = self.text(name);
        text.trim().parse().map_err(|_| wrong(name, wanted, text))
    }

    /// One of some words. Errors: `Value`.
    pub fn choice(&self, name: &str, words: &[&'static str]) -> Result<&'static str, ImportError> {
        let text = self.text(name);
        let found = words.iter().find(|word| **word == text);
        found.copied().ok_or_else(|| wrong(name, &format!("one of {}", words.join(", ")), text))
    }
}

/// A TOML string.
pub fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

/// A value that is none.
pub fn wrong(name: &str, wanted: &str, got: &str) -> ImportError {
    let (option, wanted, got) = (format!("--{name}"), wanted.to_owned(), got.to_owned());
    ImportError::Value { option, wanted, got }
}

fn unknown(system: &'static str, known: &[Known], name: &str) -> ImportError {
    let names: Vec<String> = known.iter().map(|known| format!("--{}", known.name)).collect();
    let option = format!("--{name}");
    let close = names.iter().map(|name| (strsim::damerau_levenshtein(name, &option), name)).min();
    let hint = match close {
        // What both READMEs call it.
        _ if name == "dataset-path" => "; it is called `--dataset-source`".to_owned(),
        Some((distance, name)) if distance <= 3 => format!("; did you mean `{name}`?"),
        _ => String::new(),
    };
    ImportError::UnknownOption { system, option, hint, known: names.join(", ") }
}
