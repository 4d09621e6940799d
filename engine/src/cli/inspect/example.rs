//! A line of a pipeline that uses a component: its kind, what could feed it, and the keys it must
//! have.

use serde_json::Value as Json;

use crate::plugin::info::{ComponentInfo, Kind, Port, Verb};

/// The line of a stage, with values of other components on its ports where some fit.
pub(super) fn line(info: &ComponentInfo, all: &[&ComponentInfo]) -> String {
    let mut parts = vec![format!("{} = \"{}\"", info.kind.key(), info.name)];
    let wired =
        |port: &&Port| !port.output && !port.optional && matches!(port.verb, Verb::Run | Verb::Fit);
    if info.kind == Kind::Prompts {
        parts.push("embed_with = \"clip\"".to_owned());
    } else {
        for port in info.ports.iter().filter(wired) {
            parts.push(feed(port, info, all));
        }
    }
    let images =
        |port: &Port| port.verb == Verb::Fit && port.scope == crate::plugin::info::Scope::Image;
    if info.fits && info.ports.iter().any(images) {
        parts.push("fit_on = \"references\"".to_owned());
    }
    let required = info.schema["required"].as_array().into_iter().flatten();
    for key in required.filter_map(Json::as_str) {
        parts.push(format!("{key} = {}", value(&info.schema["properties"][key])));
    }
    format!("mine = {{ {} }}", parts.join(", "))
}

fn feed(port: &Port, info: &ComponentInfo, all: &[&ComponentInfo]) -> String {
    let rank = |shape: &Option<String>| shape.as_ref().map_or(0, |shape| shape.split(' ').count());
    let fits = |other: &Port| {
        other.output
            && other.verb == Verb::Run
            && other.kinds.iter().any(|kind| port.kinds.contains(kind))
            && rank(&other.shape) == rank(&port.shape)
            && other.scope <= port.scope
    };
    if info.kind == Kind::Encoder {
        return format!("{} = \"image\"", port.name);
    }
    let others = all.iter().filter(|other| other.name != info.name);
    let mut sources = others.flat_map(|other| other.ports.iter().map(move |port| (other, port)));
    let source = match sources.find(|(_, other)| fits(other)) {
        Some((other, _)) if other.kind == Kind::Prompts => other.name.clone(),
        Some((other, output)) => format!("{}.{}", other.name, output.name),
        None => "STAGE.VALUE".to_owned(),
    };
    match port.many {
        true => format!("{} = [\"{source}\"]", port.name),
        false => format!("{} = \"{source}\"", port.name),
    }
}

/// Some value that a schema takes, as TOML.
fn value(schema: &Json) -> String {
    let named = |key: &str| schema[key].as_array().and_then(|values| values.first()).cloned();
    if let Some(value) = named("x-names").or_else(|| named("enum")) {
        return value.to_string();
    }
    if let Some(options) = schema["anyOf"].as_array() {
        return options.first().map_or_else(|| "...".to_owned(), value);
    }
    let kind = match &schema["type"] {
        Json::Array(names) => names.first().and_then(Json::as_str),
        name => name.as_str(),
    };
    let least = schema.get("minimum").map(ToString::to_string);
    match kind {
        Some("integer") => least.unwrap_or_else(|| "1".to_owned()),
        Some("number") => least.unwrap_or_else(|| "1.0".to_owned()),
        Some("boolean") => "true".to_owned(),
        Some("array") => format!("[{}]", schema.get("items").map_or_else(String::new, value)),
        Some("object") => "{}".to_owned(),
        _ => "\"...\"".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_required_key_gets_a_value_of_its_type() {
        let cases = [
            (json!({"type": "integer", "minimum": 3}), "3"),
            (json!({"type": "number"}), "1.0"),
            (json!({"type": "array", "items": {"enum": ["winclip", "x"]}}), "[\"winclip\"]"),
            (json!({"type": "string", "x-names": ["random"]}), "\"random\""),
            (json!({"type": "string"}), "\"...\""),
        ];
        for (schema, want) in cases {
            assert_eq!(value(&schema), want);
        }
    }
}
