//! `loupe schema`: a JSON Schema of pipeline files for editors, from the components at hand.

use serde_json::{Map, Value as Json, json};

use super::sections;
use crate::plugin::info::{Catalog, ComponentInfo, Kind, Verb};

/// The schema of a whole file. Each component of the catalog is one alternative of a stage.
pub fn json_schema(catalog: &dyn Catalog) -> Json {
    let mut stages = Vec::new();
    for kind in Kind::ALL {
        let infos =
            catalog.names(kind).into_iter().filter_map(|name| catalog.component(kind, name));
        stages.extend(infos.map(component));
    }
    stages.extend(["prepare", "map", "pool"].map(engine_kind));
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "loupe pipeline",
        "type": "object",
        "additionalProperties": false,
        "required": ["loupe"],
        "properties": {
            "loupe": {"const": 1, "description": "The language's version; comes first."},
            "extends": {"type": "string", "description": "A pipeline file that this one changes."},
            "data": relaxed(sections::data()),
            "stages": {"type": "object", "additionalProperties": {"anyOf": stages}},
            "output": sections::output(),
            "protocol": sections::protocol(),
            "run": sections::run(),
            "hooks": {"type": "string", "description": "A rhai file with hooks."},
            "test": {"type": "array", "items": {"type": "object"}},
            "train": relaxed(super::train::schema()),
            "compat": sections::compat()
        }
    })
}

/// A file that extends another may leave out what is required.
fn relaxed(mut schema: Json) -> Json {
    if let Some(map) = schema.as_object_mut() {
        map.remove("required");
    }
    schema
}

fn wiring() -> Json {
    json!({
        "description": "`stage`, `stage.value` or `stage.value@240`, or a list of them",
        "anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]
    })
}

fn augment() -> Json {
    json!({"anyOf": [{"enum": ["mvfa-11"]}, {
        "type": "object", "additionalProperties": false, "required": ["defects"],
        "properties": {
            "defects": {"type": "integer", "minimum": 1, "maximum": 1024},
            "seed": {"type": "integer", "minimum": 0, "default": 0}
        }
    }]})
}

fn component(info: &ComponentInfo) -> Json {
    let mut properties = info.schema["properties"].as_object().cloned().unwrap_or_default();
    for port in info.ports.iter().filter(|port| !port.output) {
        if matches!(port.verb, Verb::Run | Verb::Fit) && info.kind != Kind::Prompts {
            properties.insert(port.name.clone(), wiring());
        }
    }
    let sources = ["references", "anomalous-references", "auxiliary", "test-set", "test-labels"];
    if info.fits {
        properties.insert("fit_on".to_string(), json!({"enum": sources}));
        properties.insert("augment".to_string(), augment());
        properties.insert("state".to_string(), json!({"type": "string"}));
    }
    if info.kind == Kind::Prompts {
        properties.insert("embed_with".to_string(), json!({"type": "string"}));
    }
    if info.kind == Kind::Fusion {
        properties.insert("taps".to_string(), json!({"type": "string"}));
        let at = json!({"type": "array", "items": {"type": "integer", "minimum": 0}});
        properties.insert("at".to_string(), at);
    }
    let required = info.schema["required"].as_array().cloned().unwrap_or_default();
    stage(info.kind.key(), json!({"const": info.name}), &info.about, properties, required)
}

fn engine_kind(kind: &str) -> Json {
    let (schema, names) = sections::engine_kind(kind);
    let mut properties = schema["properties"].as_object().cloned().unwrap_or_default();
    for port in sections::engine_ports(kind, "").iter().filter(|port| !port.output) {
        properties.insert(port.name.clone(), wiring());
    }
    let required = schema["required"].as_array().cloned().unwrap_or_default();
    stage(kind, json!({"enum": names}), "", properties, required)
}

fn stage(
    kind: &str,
    name: Json,
    about: &str,
    mut properties: Map<String, Json>,
    mut required: Vec<Json>,
) -> Json {
    properties.insert(kind.to_string(), name);
    required.push(Json::from(kind));
    json!({
        "type": "object",
        "description": about,
        "additionalProperties": false,
        "required": required,
        "properties": properties
    })
}
