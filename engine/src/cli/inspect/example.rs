//! A line of a pipeline that uses a component: its kind, what could feed it, and the keys it must
//! have.

use serde_json::Value as Json;

use crate::plugin::info::{ComponentInfo, Kind, Port, Scope, ValueKind, Verb};

/// The line of a stage, with values of other components on its ports where some fit.
pub(super) fn line(info: &ComponentInfo, all: &[&ComponentInfo]) -> String {
    let mut parts = vec![format!("{} = \"{}\"", info.kind.key(), info.name)];
    let wired =
        |port: &&Port| !port.output && !port.optional && matches!(port.verb, Verb::Run | Verb::Fit);
    if info.kind == Kind::Prompts {
        parts.push("embed_with = \"clip\"".to_owned());
    } else {
        for port in info.ports.iter().filter(wired) {
            // One key feeds the ports of one name: what is fitted on and what is then scored.
            let fed = feed(port, info, all);
            if !parts.contains(&fed) {
                parts.push(fed);
            }
        }
    }
    let stream = |port: &Port| port.name == "stream" && !port.output;
    // An encoder's stream is what a fusion stands on.
    if info.kind == Kind::Fusion && info.ports.iter().any(stream) {
        parts.push("taps = \"clip\"".to_owned());
        parts.push("at = [4]".to_owned());
    }
    let images =
        |port: &Port| port.verb == Verb::Fit && port.scope == Scope::Image && !port.optional;
    if info.fits && info.ports.iter().any(images) {
        parts.push("fit_on = \"references\"".to_owned());
    }
    let required = info.schema["required"].as_array().into_iter().flatten();
    for key in required.filter_map(Json::as_str) {
        parts.push(format!("{key} = {}", value(&info.schema["properties"][key])));
    }
    format!("mine = {{ {} }}", parts.join(", "))
}

/// A value of another component for a port. Of several that fit, one of the port's own rank, then one
/// of any rank; for a port of any rank the one of most dimensions: patches rather than a pooled vector.
fn feed(port: &Port, info: &ComponentInfo, all: &[&ComponentInfo]) -> String {
    // Three channels are the pixels of a prepared image.
    let dim = |idx| port.shape.as_ref().and_then(|shape| shape.split(' ').nth(idx));
    if info.kind == Kind::Encoder || dim(1) == Some("3") {
        return format!("{} = \"image\"", port.name);
    }
    if port.kinds.contains(&ValueKind::EmbeddedText) {
        let prompts = all.iter().find(|other| other.kind == Kind::Prompts);
        let name = prompts.map_or("STAGE", |prompts| prompts.name.as_str());
        return format!("{} = \"{name}\"", port.name);
    }
    let rank = |port: &Port| port.shape.as_ref().map_or(0, |shape| shape.split(' ').count());
    let open = |port: &Port| port.shape.as_ref().is_some_and(|shape| shape.contains("..."));
    // A component that makes one tensor makes a list of them where it is mapped.
    let takes = |kind: &ValueKind| {
        port.kinds.contains(kind)
            || *kind == ValueKind::Tensor && port.kinds.contains(&ValueKind::Tensors)
    };
    let fits = |other: &Port| {
        other.output
            && other.verb == Verb::Run
            && other.kinds.iter().any(takes)
            && other.scope <= port.scope
            && (open(port) || open(other) || rank(other) == rank(port))
    };
    let others = all.iter().filter(|other| other.kind < info.kind);
    let outputs = others.flat_map(|other| other.ports.iter().map(move |port| (other, port)));
    let mut sources: Vec<_> = outputs.filter(|(_, port)| fits(port)).collect();
    let wanted = port;
    // A fusion stands on scorers rather than on encoders; else the order is kept.
    sources.sort_by_key(|(other, port)| {
        let projected = port.about.starts_with("projected");
        let unlike = !open(wanted) && open(port);
        (unlike, std::cmp::Reverse(other.kind), std::cmp::Reverse((rank(port), projected)))
    });
    let source = match sources.first() {
        Some((other, output)) => format!("{}.{}", other.name, output.name),
        None => "STAGE.VALUE".to_owned(),
    };
    format!("{} = \"{source}\"", port.name)
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
