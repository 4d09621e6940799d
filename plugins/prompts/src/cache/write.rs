//! From a cache to text: one form, so that a difference between two files is one between caches.

use std::fmt::Write;

use super::{Asked, Cache, Entry, FORMAT, Usage};

/// The file of a cache: header, format, entries in order, one sentence a line.
/// What `read` accepts comes back from `read(write(..))` unchanged.
pub fn write(cache: &Cache) -> String {
    let mut cache = cache.clone();
    cache.sort();
    let mut out = String::new();
    for line in &cache.header {
        push(&mut out, format_args!("{line}"));
    }
    push(&mut out, format_args!("loupe_prompts = {FORMAT}"));
    for entry in &cache.entries {
        write_entry(&mut out, entry);
    }
    out
}

fn write_entry(out: &mut String, entry: &Entry) {
    push(out, format_args!("\n[[entry]]"));
    push(out, format_args!("class = {}", quoted(&entry.class)));
    if !entry.aliases.is_empty() {
        let aliases: Vec<String> = entry.aliases.iter().map(|name| quoted(name)).collect();
        push(out, format_args!("aliases = [{}]", aliases.join(", ")));
    }
    push(out, format_args!("model = {}", quoted(&entry.model)));
    push(out, format_args!("template = {}", quoted(&entry.template)));
    if let Some(request) = &entry.request {
        push(out, format_args!("request = {}", quoted(request)));
    }
    if let Some(Asked { count, temperature, seed }) = entry.asked {
        let temperature = temperature.map_or(String::new(), |t| format!(", temperature = {t:?}"));
        let seed = seed.map_or(String::new(), |seed| format!(", seed = {seed}"));
        push(out, format_args!("asked = {{ count = {count}{temperature}{seed} }}"));
    }
    if let Some(Usage { n_requests, prompt_tokens, completion_tokens }) = entry.usage {
        push(
            out,
            format_args!(
                "usage = {{ requests = {n_requests}, prompt_tokens = {prompt_tokens}, \
                 completion_tokens = {completion_tokens} }}"
            ),
        );
    }
    if let Some(note) = &entry.note {
        push(out, format_args!("note = {}", quoted(note)));
    }
    for (key, sentences) in [("normal", &entry.normal), ("anomalous", &entry.anomalous)] {
        if !sentences.is_empty() {
            push(out, format_args!("{key} = ["));
            for sentence in sentences {
                push(out, format_args!("    {},", quoted(sentence)));
            }
            push(out, format_args!("]"));
        }
    }
}

fn push(out: &mut String, line: std::fmt::Arguments) {
    // Writing to a string does not fail.
    let _ = out.write_fmt(line);
    out.push('\n');
}

/// A basic string of TOML.
fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            c if c.is_control() => {
                let _ = write!(quoted, "\\u{:04X}", c as u32);
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}
