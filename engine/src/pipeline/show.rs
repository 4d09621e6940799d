//! `--show-config`: every key of the resolved pipeline, its value, and where it comes from.

use serde_json::Value as Json;

use super::diagnostics::Report;
use super::model::Pipeline;
use super::tree::{Table, Value, join};

/// One line a key: `run.threads = 0    default`.
pub fn show_config(pipeline: &Pipeline) -> String {
    let mut lines = Vec::new();
    for (path, origin) in &pipeline.origins {
        let value = at(&pipeline.resolved, path).map_or_else(String::new, as_toml);
        lines.push((format!("{path} = {value}"), origin.as_str()));
    }
    let is_short = |line: &&(String, &str)| line.0.chars().count() <= 72;
    let width = lines.iter().filter(is_short).map(|line| line.0.chars().count()).max().unwrap_or(0);
    let mut text = String::new();
    for (line, origin) in &lines {
        let padding = width.saturating_sub(line.chars().count());
        text.push_str(&format!("{line}{:padding$}  # {origin}\n", ""));
    }
    text
}

/// Where each leaf of `resolved` comes from, sorted by path. What stands in no file is a default.
pub fn origins(root: &Table, resolved: &Json, report: &Report) -> Vec<(String, String)> {
    let mut written = Vec::new();
    places(root, "", report, &mut written);
    let mut leaves = Vec::new();
    flatten(resolved, "", &mut leaves);
    leaves.sort_unstable();
    let origin = |path: &String| {
        let found = written.iter().find(|(other, _)| other == path);
        found.map_or_else(|| "default".to_string(), |(_, place)| place.clone())
    };
    leaves.iter().map(|path| (path.clone(), origin(path))).collect()
}

fn places(table: &Table, path: &str, report: &Report, written: &mut Vec<(String, String)>) {
    for entry in &table.entries {
        let path = join(path, &entry.key);
        match &entry.node.value {
            Value::Table(below) => places(below, &path, report, written),
            _ => written.push((path, report.place(entry.key_at))),
        }
    }
}

fn flatten(value: &Json, path: &str, leaves: &mut Vec<String>) {
    match value {
        Json::Object(map) => {
            map.iter().for_each(|(key, value)| flatten(value, &join(path, key), leaves));
        }
        _ => leaves.push(path.to_string()),
    }
}

fn at<'a>(root: &'a Json, path: &str) -> Option<&'a Json> {
    path.split('.').try_fold(root, |value, key| value.get(key))
}

fn as_toml(value: &Json) -> String {
    match value {
        Json::Array(items) => {
            let items: Vec<String> = items.iter().map(as_toml).collect();
            format!("[{}]", items.join(", "))
        }
        Json::Object(map) => {
            let items: Vec<String> =
                map.iter().map(|(key, value)| format!("{key} = {}", as_toml(value))).collect();
            format!("{{ {} }}", items.join(", "))
        }
        other => other.to_string(),
    }
}
