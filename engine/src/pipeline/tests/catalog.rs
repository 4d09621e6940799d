//! Components as the plugins describe them, without the plugins.

use std::path::PathBuf;

use serde_json::{Value as Json, json};

use crate::plugin::info::{Catalog, ComponentInfo, Facts, Kind, Port, Scope, ValueKind, Verb};

pub struct Fake(Vec<ComponentInfo>);

pub fn catalog() -> Fake {
    Fake(vec![
        encoder("clip", &[]),
        encoder("gem", &["gem_image_embedding", "gem_patch_tokens", "gem_patch_embeddings"]),
        ensemble(),
        language(),
        nearest(),
        fusion("weighted", weighted_keys(), parts(true, false), false),
        fusion("sum", json!({}), parts(true, false), false),
        fusion("min-max", json!({}), fitted_parts(), true),
        fusion("resolution-mean", resolution_keys(), parts(false, true), false),
        fusion("calibrated", json!({}), calibrated_ports(), true),
        fusion("stepped", json!({}), stepped_ports(), false),
    ])
}

impl Catalog for Fake {
    fn component(&self, kind: Kind, name: &str) -> Option<&ComponentInfo> {
        self.0.iter().find(|info| info.kind == kind && info.name == name)
    }

    fn names(&self, kind: Kind) -> Vec<&str> {
        let mut names: Vec<&str> =
            self.0.iter().filter(|info| info.kind == kind).map(|info| info.name.as_str()).collect();
        names.sort_unstable();
        names
    }

    fn facts(&self, kind: Kind, _name: &str, config: &Json) -> Result<Facts, String> {
        if kind != Kind::Encoder {
            return Ok(Facts::default());
        }
        let (d, c, patch, n_blocks) = match config["model"].as_str() {
            Some("ViT-B-16-plus-240") => (640, 896, 16, 12),
            Some("ViT-L-14-336") => (768, 1024, 14, 24),
            Some("ViT-B-32") => (512, 768, 32, 12),
            Some(file) if file.ends_with("tiny-vit.json") => (32, 64, 16, 4),
            other => return Err(format!("unknown model {other:?}")),
        };
        let dims = [("d", d), ("c", c), ("patch", patch)];
        Ok(Facts {
            dims: dims.map(|(name, number)| (name.to_string(), number)).into(),
            taps: (1..=n_blocks).collect(),
            all: Json::Null,
        })
    }

    fn rejected(&self) -> Vec<(PathBuf, String)> {
        Vec::new()
    }
}

fn info(kind: Kind, name: &str, keys: Json, required: &[&str], ports: Vec<Port>) -> ComponentInfo {
    ComponentInfo {
        kind,
        name: name.to_string(),
        about: format!("the {kind} `{name}`"),
        revision: 1,
        deterministic: true,
        batch_invariant: true,
        thread_safe: true,
        goes_back: false,
        trains: false,
        devices: vec!["cpu"],
        schema: json!({"type": "object", "additionalProperties": false,
            "required": required, "properties": keys}),
        fits: ports.iter().any(|port| port.verb == Verb::Fit),
        ports: ports
            .into_iter()
            .enumerate()
            .map(|(index, port)| Port { index: index as u32, ..port })
            .collect(),
        taps: kind == Kind::Encoder,
        encodes_text: kind == Kind::Encoder,
        plugin: "fake".to_string(),
        plugin_version: "0.1.0".to_string(),
        path: PathBuf::from("fake.so"),
        binary: [0; 32],
    }
}

fn port(name: &str, verb: Verb, output: bool, kind: ValueKind, shape: &str) -> Port {
    let is_text = matches!(kind, ValueKind::Text | ValueKind::EmbeddedText);
    Port {
        index: 0,
        name: name.to_string(),
        about: String::new(),
        verb,
        output,
        kinds: vec![kind],
        dtypes: if is_text { Vec::new() } else { vec!["f32"] },
        scope: if is_text { Scope::Class } else { Scope::Image },
        optional: false,
        many: false,
        shape: (!shape.is_empty()).then(|| shape.to_string()),
    }
}

fn input(name: &str, shape: &str) -> Port {
    port(name, Verb::Run, false, ValueKind::Tensor, shape)
}

fn output(name: &str, shape: &str) -> Port {
    port(name, Verb::Run, true, ValueKind::Tensor, shape)
}

fn encoder(name: &str, extra: &[&str]) -> ComponentInfo {
    let mut keys = json!({
        "model": {"type": "string", "format": "loupe-file",
            "x-names": ["ViT-B-16-plus-240", "ViT-L-14-336", "ViT-B-32"]},
        "weights": {"type": "string", "format": "loupe-file", "x-names": ["random"]},
        "seed": {"type": "integer", "minimum": 0, "default": 0},
        "activation": {"type": "string", "enum": ["auto", "gelu", "quick-gelu"], "default": "auto"},
        "position": {"type": "string", "enum": ["antialias-bicubic"], "default": "antialias-bicubic"}
    });
    if name == "gem" {
        keys["blocks"] = json!({"type": "integer", "minimum": 1, "default": 7});
        keys["iterations"] = json!({"type": "integer", "minimum": 0, "default": 1});
        keys["temperature"] = json!({"type": "number", "exclusiveMinimum": 0});
    }
    let mut ports = vec![input("image", "b 3 h w")];
    let names = ["image_embedding", "patch_tokens", "patch_embeddings"];
    for name in names.iter().chain(extra) {
        let mut port = match name {
            name if name.ends_with("image_embedding") => output(name, "b d"),
            name if name.ends_with("patch_tokens") => output(name, "b gh gw c"),
            name => output(name, "b gh gw d"),
        };
        if name.ends_with("patch_tokens") {
            port.about = "the last block's patches, before the projection".to_string();
        }
        ports.push(port);
    }
    ports.push(port("stream", Verb::Tap, true, ValueKind::Tensor, "b t c"));
    info(Kind::Encoder, name, keys, &["model", "weights"], ports)
}

fn ensemble() -> ComponentInfo {
    let keys = json!({
        "sets": {"type": "array", "items": {"type": "string"}, "default": []},
        "files": {"type": "array", "default": [],
            "items": {"type": "string", "format": "loupe-file"}},
        "subject": {"type": "string", "enum": ["class", "object"], "default": "class"},
        "wrap": {"type": "string"},
        "synonyms": {"type": "boolean", "default": false}
    });
    let ports = vec![
        port("class", Verb::Run, false, ValueKind::Text, ""),
        port("text", Verb::Run, true, ValueKind::Text, ""),
    ];
    info(Kind::Prompts, "ensemble", keys, &[], ports)
}

fn language() -> ComponentInfo {
    let keys = json!({
        "model": {"type": "string", "enum": ["average", "softmax", "max"], "default": "average"},
        "scale": {"type": "number", "exclusiveMinimum": 0, "default": 100.0},
        "renormalize": {"type": "boolean", "default": false},
        "emit": {"type": "string", "enum": ["probability", "margin"], "default": "probability"}
    });
    let ports = vec![
        port("text", Verb::Fit, false, ValueKind::EmbeddedText, "n d"),
        input("query", "... d"),
        output("patch_scores", "..."),
    ];
    info(Kind::Scorer, "language", keys, &[], ports)
}

fn nearest() -> ComponentInfo {
    let keys = json!({
        "distance": {"type": "string", "enum": ["half-cosine", "cosine", "euclidean"], "default": "half-cosine"},
        "k": {"type": "integer", "minimum": 1, "default": 1},
        "self_reference": {"type": "boolean", "default": false}
    });
    let mut rows = port("rows", Verb::Fit, false, ValueKind::Tensor, "... d");
    rows.many = true;
    let ports = vec![input("query", "... d"), rows, output("patch_scores", "...")];
    info(Kind::Scorer, "nearest", keys, &[], ports)
}

fn fusion(name: &str, keys: Json, ports: Vec<Port>, fits: bool) -> ComponentInfo {
    let required: &[&str] = if name == "weighted" { &["weights"] } else { &[] };
    ComponentInfo { fits, ..info(Kind::Fusion, name, keys, required, ports) }
}

fn weighted_keys() -> Json {
    json!({
        "weights": {"type": "array", "items": {"type": "number", "minimum": 0}, "minItems": 1},
        "clamp": {"type": "array", "items": {"type": "number"}, "minItems": 2, "maxItems": 2}
    })
}

fn resolution_keys() -> Json {
    json!({
        "interpolation": {"type": "string", "enum": ["opencv-bilinear", "bilinear"], "default": "opencv-bilinear"},
        "gain": {"type": "number", "default": 1.0},
        "to": {"type": "integer", "minimum": 1}
    })
}

fn parts(many: bool, list: bool) -> Vec<Port> {
    let shape = if list { "b gh gw" } else { "..." };
    let mut parts = input("parts", shape);
    parts.many = many;
    if list {
        parts.kinds = vec![ValueKind::Tensors, ValueKind::Tensor];
    }
    vec![parts, output("fused", shape)]
}

fn fitted_parts() -> Vec<Port> {
    vec![
        input("parts", "..."),
        port("parts", Verb::Fit, false, ValueKind::Tensor, "..."),
        output("fused", "..."),
    ]
}

fn stepped_ports() -> Vec<Port> {
    vec![
        port("stream", Verb::Tap, false, ValueKind::Tensor, "b t c"),
        port("tokens", Verb::Tap, true, ValueKind::Tensor, "b gh gw d"),
    ]
}

/// A fit of numbers that a class has, and a run port for what a class has.
fn calibrated_ports() -> Vec<Port> {
    let mut level = port("level", Verb::Fit, false, ValueKind::Tensor, "...");
    level.scope = Scope::Class;
    let mut offset = input("offset", "...");
    (offset.scope, offset.optional) = (Scope::Class, true);
    vec![input("parts", "..."), level, offset, output("fused", "...")]
}
