//! The prompt cache: sentences about classes in a TOML file that is read, compared and committed
//! like source. A run only reads it; `llm` and `hybrid` replay what stands there.
//!
//! ```toml
//! loupe_prompts = 1
//!
//! [[entry]]
//! class = "bottle"
//! aliases = ["glass bottle"]
//! model = "hand-written"
//! template = "faults@1"
//! normal = [
//!     "a round bottle mouth with an even rim",
//! ]
//! anomalous = [
//!     "a chip broken out of the bottle's rim",
//! ]
//! ```
//!
//! An entry that a model wrote has `request`, the digest of what it was asked, and, to be read,
//! `asked` and `usage`. `note` is for whoever keeps the file. No date and no path stand in it: the
//! same replies make the same file.

mod error;
mod read;
mod write;

pub use error::CacheError;
pub use read::{Placed, read, read_placed};
pub use write::write;

use crate::words::name_key;

/// The format that is read and written here.
pub const FORMAT: i64 = 1;

/// The `model` of entries that people wrote.
pub const HAND_WRITTEN: &str = "hand-written";

/// The name of the entry about things in general.
pub const GENERIC: &str = "object";

/// A file. `header` are the comment lines at its top; other comments do not survive a rewrite.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Cache {
    pub header: Vec<String>,
    pub entries: Vec<Entry>,
}

/// Sentences about one class from one author, in one manner. A `{}` in them is the class's name.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Entry {
    pub class: String,
    /// Other names that find this entry.
    pub aliases: Vec<String>,
    /// Who wrote: `hand-written`, or the model's name at its endpoint.
    pub model: String,
    /// What the sentences answer: a request template with its version.
    pub template: String,
    /// Digest of the exact requests, `blake3:` and 64 hexadecimal digits.
    pub request: Option<String>,
    pub asked: Option<Asked>,
    pub usage: Option<Usage>,
    pub note: Option<String>,
    pub normal: Vec<String>,
    pub anomalous: Vec<String>,
}

/// The settings of the request, for the reader: `request` alone decides.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Asked {
    pub count: u32,
    pub temperature: Option<f64>,
    pub seed: Option<u64>,
}

/// Tokens that the endpoint counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    pub n_requests: u64,
    pub prompt_tokens: u64,
    pub completion_tokens: u64,
}

/// What makes an entry one and the same: class, model, template, request.
pub type Identity = (String, String, String, Option<String>);

impl Entry {
    pub fn identity(&self) -> Identity {
        self.identity_as(&self.class)
    }

    fn identity_as(&self, name: &str) -> Identity {
        (name_key(name), self.model.clone(), self.template.clone(), self.request.clone())
    }

    /// Where a replayed sentence says it comes from.
    pub fn source(&self) -> String {
        format!("{} {}", self.model, self.template)
    }

    /// Whether a name is this class's or one of its aliases.
    pub fn is_about(&self, name: &str) -> bool {
        let wanted = name_key(name);
        name_key(&self.class) == wanted || self.aliases.iter().any(|one| name_key(one) == wanted)
    }
}

impl Cache {
    /// Entries of a model and a template about the first of `names` that has any.
    pub fn about(&self, names: &[&str], model: &str, template: &str) -> Vec<&Entry> {
        let of_name = |name: &&str| -> Vec<&Entry> {
            let by = |entry: &&Entry| entry.model == model && entry.template == template;
            self.entries.iter().filter(by).filter(|entry| entry.is_about(name)).collect()
        };
        names.iter().map(of_name).find(|found| !found.is_empty()).unwrap_or_default()
    }

    /// Puts an entry into its place; one of the same identity goes, but leaves its aliases and
    /// note.
    pub fn put(&mut self, mut entry: Entry) {
        let identity = entry.identity();
        if let Some(at) = self.entries.iter().position(|one| one.identity() == identity) {
            let old = self.entries.remove(at);
            let new = |name: &String| !entry.is_about(name);
            let aliases: Vec<String> = old.aliases.into_iter().filter(new).collect();
            entry.aliases.extend(aliases);
            entry.note = entry.note.or(old.note);
        }
        self.entries.push(entry);
        self.sort();
    }

    /// By class, then author, manner and request: a new entry moves no other.
    pub fn sort(&mut self) {
        self.entries.sort_by_cached_key(Entry::identity);
    }

    /// Names of the classes, each once, in order.
    pub fn classes(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.entries.iter().map(|entry| entry.class.as_str()).collect();
        names.dedup();
        names
    }
}

#[cfg(test)]
mod tests;
