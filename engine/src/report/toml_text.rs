//! The resolved pipeline as TOML again: a line a stage where it fits, as people write it.

use serde_json::{Map, Value};

/// Longest line before a table is spread over several.
const MAX_LINE: usize = 110;

/// TOML that parses back to `value`, nulls left out (TOML has none). Anything but a table gives an
/// empty text.
pub fn as_toml(value: &Value) -> String {
    let mut text = String::new();
    if let Value::Object(table) = value {
        write_table(table, "", &mut text);
    }
    text
}

/// Plain keys first: TOML gives a key to the last header above it.
fn write_table(table: &Map<String, Value>, path: &str, text: &mut String) {
    let mut tables = Vec::new();
    // A pipeline's version comes first.
    let (first, others): (Vec<_>, Vec<_>) = table.iter().partition(|(key, _)| *key == "loupe");
    for (key, value) in first.into_iter().chain(others) {
        let name = toml_key(key);
        match value {
            Value::Null => {}
            Value::Object(below) if path.is_empty() || !fits(&name, value) => {
                tables.push((name, below));
            }
            _ => text.push_str(&format!("{name} = {}\n", inline(value))),
        }
    }
    for (name, below) in tables {
        let path = if path.is_empty() { name } else { format!("{path}.{name}") };
        let gap = if text.is_empty() { "" } else { "\n" };
        text.push_str(&format!("{gap}[{path}]\n"));
        write_table(below, &path, text);
    }
}

fn fits(name: &str, value: &Value) -> bool {
    name.len() + 3 + inline(value).chars().count() <= MAX_LINE
}

fn inline(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::Bool(value) => value.to_string(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => quoted(text),
        Value::Array(items) => {
            let items: Vec<String> =
                items.iter().filter(|item| !item.is_null()).map(inline).collect();
            format!("[{}]", items.join(", "))
        }
        Value::Object(table) if table.values().all(Value::is_null) => "{}".to_owned(),
        Value::Object(table) => {
            let pairs = table.iter().filter(|pair| !pair.1.is_null());
            let pairs: Vec<String> = pairs
                .map(|(key, value)| format!("{} = {}", toml_key(key), inline(value)))
                .collect();
            format!("{{ {} }}", pairs.join(", "))
        }
    }
}

fn toml_key(key: &str) -> String {
    let is_bare = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    match !key.is_empty() && key.chars().all(is_bare) {
        true => key.to_owned(),
        false => quoted(key),
    }
}

fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            c if c.is_control() => quoted.push_str(&format!("\\u{:04X}", u32::from(c))),
            c => quoted.push(c),
        }
    }
    quoted + "\""
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_pipeline_reads_as_it_was_written() {
        let value = json!({
            "loupe": 1,
            "stages": { "peak": { "pool": "max", "of": "vision" } },
            "run": { "threads": 0, "memory": null },
        });
        let want = "loupe = 1\n\n[run]\nthreads = 0\n\n[stages]\n\
            peak = { of = \"vision\", pool = \"max\" }\n";
        assert_eq!(as_toml(&value), want);
    }

    #[test]
    fn whatever_is_in_it_parses_back_without_its_nulls() {
        let long: Vec<f64> = (0..60).map(|i| f64::from(i) / 7.0).collect();
        let value = json!({
            "a": { "b c": { "\"quoted\"": "x\u{7f}\u{0}\u{85}\\ \r\n",
                "list": [null, 1, "two", { "three": null }] } },
            "long": { "deep": { "numbers": long, "below": { "it": { "numbers": long } } }, "x": 1 },
            "floats": [1e-6, 1e300, -0.5, 3.0],
            "gone": null,
            "": { "empty": {} },
            "tests": [{ "name": "one", "gone": null }],
        });
        let want = json!({
            "a": { "b c": { "\"quoted\"": "x\u{7f}\u{0}\u{85}\\ \r\n", "list": [1, "two", {}] } },
            "long": { "deep": { "numbers": long, "below": { "it": { "numbers": long } } }, "x": 1 },
            "floats": [1e-6, 1e300, -0.5, 3.0],
            "": { "empty": {} },
            "tests": [{ "name": "one" }],
        });
        let parsed: Value = toml::from_str(&as_toml(&value)).unwrap();
        assert_eq!(parsed, want);
    }
}
