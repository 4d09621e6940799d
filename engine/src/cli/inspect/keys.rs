//! The config keys of a component, from its JSON Schema.

use serde_json::Value as Json;

use super::super::text::columns;

/// A table of keys: type and range, default, description. Empty for a component without keys.
pub(super) fn table(schema: &Json) -> String {
    let empty = serde_json::Map::new();
    let keys = schema["properties"].as_object().unwrap_or(&empty);
    if keys.is_empty() {
        return "\nIt takes no keys.\n".to_owned();
    }
    let required: Vec<&str> =
        schema["required"].as_array().into_iter().flatten().filter_map(Json::as_str).collect();
    let row = |(name, key): (&String, &Json)| {
        let default = match key.get("default") {
            Some(value) => value.to_string(),
            None if required.contains(&name.as_str()) => "required".to_owned(),
            None => "-".to_owned(),
        };
        let about = key["description"].as_str().unwrap_or_default();
        let about: Vec<&str> = about.split_whitespace().collect();
        vec![name.clone(), wants(key), default, about.join(" ")]
    };
    let rows: Vec<_> = keys.iter().map(row).collect();
    format!("\n{}", columns(&["key", "wants", "default", "about"], &rows, &[]))
}

/// A key's type with its range, short: `integer 1..=100`.
pub(super) fn wants(key: &Json) -> String {
    if let Some(options) = key["anyOf"].as_array() {
        let words: Vec<String> =
            options.iter().map(wants).filter(|word| !word.is_empty()).collect();
        return words.join(" or ");
    }
    if let Some(values) = key["enum"].as_array() {
        let words: Vec<String> = values.iter().map(plain).collect();
        return words.join(" | ");
    }
    if let Some(value) = key.get("const") {
        return plain(value);
    }
    let types: Vec<&str> = match &key["type"] {
        Json::String(name) => vec![name],
        Json::Array(names) => names.iter().filter_map(Json::as_str).collect(),
        _ => Vec::new(),
    };
    let word = |name: &&str| match *name {
        "null" => String::new(),
        "string" if key["format"] == "loupe-file" => file(key),
        "array" => {
            let items = key.get("items").map_or_else(|| "anything".to_owned(), wants);
            format!("list of {items}{}", range(key, "minItems", "maxItems"))
        }
        name => format!("{name}{}", range(key, "minimum", "maximum")),
    };
    let words: Vec<String> = types.iter().map(word).filter(|word| !word.is_empty()).collect();
    words.join(" or ")
}

fn file(key: &Json) -> String {
    let names = key["x-names"].as_array().map_or(0, Vec::len);
    if names > 0 { "name or file".to_owned() } else { "file".to_owned() }
}

fn plain(value: &Json) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn range(key: &Json, least: &str, most: &str) -> String {
    let number = |name: &str| key.get(name).filter(|value| value.is_number());
    let low = number(least).map(|value| format!("at least {value}"));
    let low = low.or_else(|| number("exclusiveMinimum").map(|value| format!("above {value}")));
    let high = number(most).map(|value| format!("at most {value}"));
    let high = high.or_else(|| number("exclusiveMaximum").map(|value| format!("below {value}")));
    let words: Vec<String> = low.into_iter().chain(high).collect();
    if words.is_empty() { String::new() } else { format!(", {}", words.join(", ")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_key_is_said_with_its_range() {
        let cases = [
            (
                json!({"type": "integer", "minimum": 1, "maximum": 9}),
                "integer, at least 1, at most 9",
            ),
            (json!({"type": ["number", "null"], "exclusiveMinimum": 0.0}), "number, above 0.0"),
            (json!({"enum": ["a", "b"]}), "a | b"),
            (json!({"type": "array", "items": {"type": "number"}}), "list of number"),
            (json!({"anyOf": [{"const": "auto"}, {"type": "integer"}]}), "auto or integer"),
            (json!({"type": "string", "format": "loupe-file", "x-names": ["r"]}), "name or file"),
        ];
        for (key, want) in cases {
            assert_eq!(wants(&key), want);
        }
    }
}
