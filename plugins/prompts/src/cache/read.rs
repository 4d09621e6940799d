//! From text to a cache, with bounded work and every limit said.

use std::collections::BTreeMap;

use serde::Deserialize;
use toml::Spanned;

use super::{Asked, Cache, CacheError, Entry, FORMAT, Identity, Usage};
use crate::limits::{
    MAX_ALIASES, MAX_CACHE_BYTES, MAX_ENTRIES, MAX_NAME_BYTES, MAX_SENTENCE_BYTES, MAX_SENTENCES,
};
use crate::words::{Lines, decode, line_at, shown, stray_brace, unseen};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFile {
    #[serde(rename = "loupe_prompts")]
    _format: i64,
    #[serde(default)]
    entry: Vec<Spanned<RawEntry>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawEntry {
    class: Spanned<String>,
    #[serde(default)]
    aliases: Vec<Spanned<String>>,
    model: Spanned<String>,
    template: Spanned<String>,
    request: Option<Spanned<String>>,
    asked: Option<RawAsked>,
    usage: Option<RawUsage>,
    note: Option<Spanned<String>>,
    #[serde(default)]
    normal: Vec<Spanned<String>>,
    #[serde(default)]
    anomalous: Vec<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawAsked {
    count: u32,
    temperature: Option<f64>,
    seed: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawUsage {
    requests: u64,
    prompt_tokens: u64,
    completion_tokens: u64,
}

/// A cache from a file's bytes. `file` is its name in messages.
/// Errors: `CacheError`; a file that is accepted is within every limit of `limits`, holds no
/// character that nobody sees, and no entry twice.
pub fn read(file: &str, bytes: &[u8]) -> Result<Cache, CacheError> {
    let (header, placed) = read_placed(file, bytes)?;
    let entries = placed.into_iter().map(|placed| placed.entry).collect();
    Ok(Cache { header, entries })
}

/// An entry, and where its sentences stand.
pub struct Placed {
    pub entry: Entry,
    /// Lines of the normal and of the anomalous sentences.
    pub lines: [Vec<usize>; 2],
}

/// The same with the lines of all sentences. Errors: as `read`.
pub fn read_placed(file: &str, bytes: &[u8]) -> Result<(Vec<String>, Vec<Placed>), CacheError> {
    if bytes.len() > MAX_CACHE_BYTES {
        let (file, got) = (file.to_owned(), bytes.len());
        return Err(CacheError::TooBig { file, got, limit: MAX_CACHE_BYTES });
    }
    let text = decode(bytes).map_err(|why| CacheError::Text { file: file.to_owned(), why })?;
    let header = header(file, text)?;
    let raw: RawFile = toml::from_str(text).map_err(|error| {
        let line = error.span().map_or(1, |span| line_at(text, span.start));
        CacheError::Toml { file: file.to_owned(), line, why: plain(error.message()) }
    })?;
    if raw.entry.len() > MAX_ENTRIES {
        let why =
            format!("{} entries, but {MAX_ENTRIES} are read; split the file", raw.entry.len());
        return Err(CacheError::Toml { file: file.to_owned(), line: 1, why });
    }
    let mut known: BTreeMap<Identity, usize> = BTreeMap::new();
    let lines = Lines::of(text);
    let lines_of = |texts: &[Spanned<String>]| -> Vec<usize> {
        texts.iter().map(|text| lines.at(text.span().start)).collect()
    };
    let mut placed = Vec::with_capacity(raw.entry.len());
    for raw in raw.entry {
        let RawEntry { class, normal, anomalous, .. } = raw.get_ref();
        let reader = Reader { file, text, entry: shown(class.get_ref()) };
        let lines = [lines_of(normal), lines_of(anomalous)];
        placed.push(Placed { entry: reader.entry(raw, &mut known)?, lines });
    }
    placed.sort_by_cached_key(|placed| placed.entry.identity());
    Ok((header, placed))
}

/// The comment lines at the top. Errors: the first key is not the format, or one of another loupe.
fn header(file: &str, text: &str) -> Result<Vec<String>, CacheError> {
    let mut header = Vec::new();
    for (line_idx, line) in text.lines().enumerate() {
        let (line_no, line) = (line_idx + 1, line.trim());
        if line.starts_with('#') {
            header.push(line.to_owned());
        } else if !line.is_empty() {
            let value = line.strip_prefix("loupe_prompts").map(str::trim_start);
            let Some(value) = value.and_then(|rest| rest.strip_prefix('=')) else {
                let (file, got) = (file.to_owned(), shown(line));
                return Err(CacheError::NoFormat { file, line: line_no, got });
            };
            let value = value.split('#').next().unwrap_or_default().trim();
            return match value.parse::<i64>() {
                Ok(FORMAT) => Ok(header),
                _ => {
                    let (file, got) = (file.to_owned(), shown(value));
                    Err(CacheError::Format { file, got, want: FORMAT })
                }
            };
        }
    }
    let (file, got) = (file.to_owned(), "the end".to_owned());
    Err(CacheError::NoFormat { file, line: text.lines().count(), got })
}

/// A message of the TOML reader on one line, without what would change the terminal.
fn plain(message: &str) -> String {
    let line = message.split_whitespace().collect::<Vec<_>>().join(" ");
    line.chars().filter(|c| !crate::words::is_unseen(*c)).take(200).collect()
}

/// What the messages about one entry have in common.
struct Reader<'a> {
    file: &'a str,
    text: &'a str,
    entry: String,
}

impl Reader<'_> {
    fn refuse(&self, byte: usize, why: String) -> CacheError {
        let (file, entry) = (self.file.to_owned(), self.entry.clone());
        CacheError::Entry { file, line: line_at(self.text, byte), entry, why }
    }

    fn entry(
        &self,
        raw: Spanned<RawEntry>,
        known: &mut BTreeMap<Identity, usize>,
    ) -> Result<Entry, CacheError> {
        let at = raw.span().start;
        let raw = raw.into_inner();
        if raw.normal.is_empty() && raw.anomalous.is_empty() {
            let why = "has no sentences; give `normal`, `anomalous` or both, or take it out";
            return Err(self.refuse(at, why.to_owned()));
        }
        if raw.aliases.len() > MAX_ALIASES {
            let why = format!("{} aliases, but {MAX_ALIASES} are read", raw.aliases.len());
            return Err(self.refuse(at, why));
        }
        let name = |key: &str, name: Spanned<String>| self.name(key, name);
        let entry = Entry {
            class: name("class", raw.class)?,
            aliases: raw
                .aliases
                .into_iter()
                .map(|alias| name("aliases", alias))
                .collect::<Result<_, _>>()?,
            model: name("model", raw.model)?,
            template: name("template", raw.template)?,
            request: raw.request.map(|request| self.request(request)).transpose()?,
            asked: raw.asked.map(|RawAsked { count, temperature, seed }| Asked {
                count,
                temperature,
                seed,
            }),
            usage: raw.usage.map(|usage| Usage {
                n_requests: usage.requests,
                prompt_tokens: usage.prompt_tokens,
                completion_tokens: usage.completion_tokens,
            }),
            note: raw.note.map(|note| self.text("note", note)).transpose()?,
            normal: self.sentences("normal", raw.normal)?,
            anomalous: self.sentences("anomalous", raw.anomalous)?,
        };
        for name in std::iter::once(&entry.class).chain(&entry.aliases) {
            if let Some(other) = known.insert(entry.identity_as(name), at) {
                let line = line_at(self.text, other);
                let why = format!(
                    "`{}` by model `{}`, template `{}` stands here a second time, line {line} has \
                     it already; keep one of the two",
                    shown(name),
                    shown(&entry.model),
                    shown(&entry.template)
                );
                return Err(self.refuse(at, why));
            }
        }
        Ok(entry)
    }

    fn name(&self, key: &str, name: Spanned<String>) -> Result<String, CacheError> {
        let at = name.span().start;
        let name = name.into_inner();
        let why = if name.trim().is_empty() {
            format!("`{key}` is empty")
        } else if name.len() > MAX_NAME_BYTES {
            format!("`{key}` has {} bytes, but {MAX_NAME_BYTES} are read", name.len())
        } else if let Some(c) = unseen(&name) {
            format!("`{key}` holds the character U+{:04X}, which nobody sees", c as u32)
        } else {
            return Ok(name);
        };
        Err(self.refuse(at, why))
    }

    fn request(&self, request: Spanned<String>) -> Result<String, CacheError> {
        let at = request.span().start;
        let request = request.into_inner();
        let digits = request.strip_prefix("blake3:").unwrap_or_default();
        if digits.len() == 64 && digits.bytes().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f')) {
            return Ok(request);
        }
        let why = format!(
            "`request` wants `blake3:` and 64 hexadecimal digits, got `{}`; leave it out where \
             nobody was asked",
            shown(&request)
        );
        Err(self.refuse(at, why))
    }

    fn sentences(
        &self,
        key: &str,
        sentences: Vec<Spanned<String>>,
    ) -> Result<Vec<String>, CacheError> {
        if let Some(extra) = sentences.get(MAX_SENTENCES) {
            let why = format!(
                "`{key}` has {} sentences, but {MAX_SENTENCES} are read; more do not make a \
                 better text model",
                sentences.len()
            );
            return Err(self.refuse(extra.span().start, why));
        }
        sentences.into_iter().map(|sentence| self.sentence(key, sentence)).collect()
    }

    fn sentence(&self, key: &str, sentence: Spanned<String>) -> Result<String, CacheError> {
        let at = sentence.span().start;
        let sentence = self.text(key, sentence)?;
        match stray_brace(&sentence) {
            None => Ok(sentence),
            Some(brace) => {
                let why = format!(
                    "a sentence of `{key}` holds `{brace}`; the class's name is written `{{}}`, \
                     and braces have no other meaning"
                );
                Err(self.refuse(at, why))
            }
        }
    }

    fn text(&self, key: &str, text: Spanned<String>) -> Result<String, CacheError> {
        let at = text.span().start;
        let text = text.into_inner();
        let why = if text.trim().is_empty() {
            format!("a sentence of `{key}` is empty; take it out")
        } else if text.len() > MAX_SENTENCE_BYTES {
            format!(
                "a sentence of `{key}` has {} bytes, but {MAX_SENTENCE_BYTES} are read; CLIP sees \
                 77 tokens of it: shorten it",
                text.len()
            )
        } else if let Some(c) = unseen(&text) {
            format!(
                "a sentence of `{key}` holds the character U+{:04X}, which nobody sees; take it \
                 out",
                c as u32
            )
        } else {
            return Ok(text);
        };
        Err(self.refuse(at, why))
    }
}
