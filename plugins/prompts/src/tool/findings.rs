//! Findings of `lint` about the sentences of a file, each with its line.

use loupe_plugin::prelude::*;
use serde_json::{Value, json};

use super::label;
use crate::cache;
use crate::file::{from_file, sentence_lines};
use crate::lint::{Rules, lint};
use crate::words::shown;

/// About each entry of a cache, or about a prompt file if `file` ends in `.json`.
/// Errors: `config`, a file that is neither.
pub(super) fn findings(file: &str, text: &str, rules: &Rules) -> Result<Vec<Value>> {
    let mut all = Vec::new();
    if file.to_lowercase().ends_with(".json") {
        let set = from_file(file, text.as_bytes())?;
        add(&mut all, &Value::Null, [&set.normal, &set.anomalous], &sentence_lines(text), rules);
        return Ok(all);
    }
    let (_, placed) = cache::read_placed(file, text.as_bytes()).map_err(Error::config)?;
    for cache::Placed { entry, lines } in placed {
        let mut names: Vec<&str> = vec![&entry.class];
        names.extend(entry.aliases.iter().map(String::as_str));
        let what = json!({"class": entry.class, "model": entry.model, "template": entry.template});
        let rules = Rules { names: &names, ..*rules };
        add(&mut all, &what, [&entry.normal, &entry.anomalous], &lines, &rules);
    }
    Ok(all)
}

fn add(
    all: &mut Vec<Value>,
    entry: &Value,
    texts: [&Vec<String>; 2],
    lines: &[Vec<usize>; 2],
    rules: &Rules,
) {
    for finding in lint(texts[0], texts[1], rules) {
        let (of_label, idx) = (usize::from(finding.anomalous), finding.sentence_idx);
        all.push(json!({
            "entry": entry,
            "label": label(finding.anomalous),
            "sentence": idx + 1,
            "line": lines[of_label].get(idx),
            "text": texts[of_label].get(idx).map(|text| shown(text)),
            "kind": finding.kind.name(),
            "error": finding.kind.is_error(),
            "why": finding.why,
        }));
    }
}
