//! The sections beside `[stages]`, and the engine's own kinds of stage: their schemas, and the
//! typed values read from what passed.

use std::path::PathBuf;

use serde_json::{Map, Value as Json, json};

use super::model::{
    Compat, Component, Data, MapTo, Normalize, PAINTED_MASK, Pool, Prepare, References, Run,
};
use crate::plugin::info::{Port, Scope, ValueKind, Verb};

/// The constants of OpenAI's CLIP, arXiv:2103.00020, with the digits of its code.
#[allow(clippy::excessive_precision)]
const CLIP_MEAN: [f32; 3] = [0.481_454_66, 0.457_827_5, 0.408_210_73];
#[allow(clippy::excessive_precision)]
const CLIP_STD: [f32; 3] = [0.268_629_54, 0.261_302_58, 0.275_777_11];

/// `[data]`.
pub fn data() -> Json {
    json!({
        "type": "object", "additionalProperties": false, "required": ["dataset", "root"],
        "properties": {
            "dataset": {"type": "string", "description": "Name or path of a layout."},
            "root": {"type": "string", "description": "Folder of the data set."},
            "classes": {"type": "array", "items": {"type": "string"}, "minItems": 1,
                "description": "Classes to run; all if left out."},
            "mask_above": {"type": "integer", "minimum": 0, "maximum": 255,
                "description": "A mask's pixel is anomalous above this grey value."},
            "references": {
                "type": "object", "additionalProperties": false, "required": ["shots"],
                "default": {"shots": 0},
                "description": "The few normal images of each class.",
                "properties": {
                    "shots": {"type": "integer", "minimum": 0,
                        "description": "Number of reference images."},
                    "seed": {"type": "integer", "minimum": 0, "default": 0,
                        "description": "Seed of their choice."},
                    "select": {"type": "string", "default": "seeded",
                        "enum": ["seeded", "first", "torch", "torch-lmfa", "manifest"],
                        "description": "How they are chosen."},
                    "manifest": {"type": "string",
                        "description": "File that lists them, for select = \"manifest\"."},
                    "anomalous": {"default": 0, "anyOf": [
                        {"type": "integer", "minimum": 0}, {"type": "string", "enum": ["shots"]}],
                        "description": "Number of anomalous reference images of each kind, or `shots`."}
                }
            }
        }
    })
}

/// `[output]`.
pub fn output() -> Json {
    json!({
        "type": "object", "additionalProperties": false,
        "properties": {
            "anomaly_map": {"type": "string", "description": "The value that is the map."},
            "anomaly_score": {"type": "string", "description": "The value that is the score."}
        }
    })
}

/// `[protocol]`.
pub fn protocol() -> Json {
    json!({
        "type": "object", "additionalProperties": false,
        "properties": {
            "use": {"type": "array", "items": {"type": "string"}, "default": [],
                "description": "Names of the definitions under which metrics are computed."}
        }
    })
}

/// `[run]`.
pub fn run() -> Json {
    json!({
        "type": "object", "additionalProperties": false,
        "properties": {
            "seed": {"type": "integer", "minimum": 0, "default": 0,
                "description": "Seed of everything random that is not the choice of references."},
            "device": {"type": "string", "enum": ["auto", "cpu"], "default": "auto"},
            "threads": {"type": "integer", "minimum": 0, "maximum": 65536, "default": 0,
                "description": "Threads; 0 for all cores."},
            "memory": {"anyOf": [{"type": "string"}, {"type": "integer", "minimum": 1}],
                "default": "4 GiB", "description": "Budget, as \"4 GiB\" or in bytes."},
            "cache": {
                "type": "object", "additionalProperties": false, "default": {},
                "properties": {
                    "features": {"type": "string", "enum": ["f32", "f16", "off"], "default": "f32"},
                    "stages": {"type": "string", "enum": ["f32", "f16", "off"], "default": "f32"}
                }
            },
            "hooks": {"type": "string", "description": "A rhai file with hooks."}
        }
    })
}

/// `[compat]`.
pub fn compat() -> Json {
    json!({
        "type": "object", "additionalProperties": false,
        "properties": {
            "test_learned": {"type": "boolean", "default": false,
                "description": "Goes on testing the test images that are references: an oracle."}
        }
    })
}

/// `[compat]` that passed.
pub fn typed_compat(config: &Map<String, Json>) -> Compat {
    let is_on = |key: &str| config.get(key).and_then(Json::as_bool).unwrap_or_default();
    Compat { test_learned: is_on("test_learned") }
}

/// The schema of an engine kind's keys, and the names its kind key takes. Ports are apart.
pub fn engine_kind(kind: &str) -> (Json, &'static [&'static str]) {
    match kind {
        "prepare" => (prepare(), &["square", "shorter-side", PAINTED_MASK]),
        "map" => (map(), &["bilinear", "bilinear-align-corners", "opencv-bilinear", "nearest"]),
        _ => (pool(), &["max", "mean", "top-fraction", "quantile"]),
    }
}

fn prepare() -> Json {
    json!({
        "type": "object", "additionalProperties": false, "required": ["sizes"],
        "properties": {
            "sizes": {"type": "array", "minItems": 1,
                "items": {"type": "integer", "minimum": 1, "maximum": 8192},
                "description": "Sides in pixels; every stage after it runs at each."},
            "filter": {"type": "string", "default": "pillow-bicubic",
                "enum": ["pillow-bicubic", "pillow-bilinear", "pillow-nearest", "pillow-lanczos"]},
            "normalize": {"default": "clip", "anyOf": [
                {"type": "string", "enum": ["clip", "imagenet", "none"]},
                {"type": "array", "minItems": 6, "maxItems": 6, "items": {"type": "number"}}],
                "description": "Name, or three means and three deviations."}
        }
    })
}

fn map() -> Json {
    json!({
        "type": "object", "additionalProperties": false, "required": ["size"],
        "properties": {
            "size": {"type": "integer", "minimum": 1, "maximum": 8192,
                "description": "Side of the map in pixels."},
            "then": {"type": "string", "enum": ["sigmoid"]},
            "sigma_px": {"type": "number", "minimum": 0, "maximum": 1000, "default": 0.0,
                "description": "Gaussian smoothing after it; 0 for none."}
        }
    })
}

fn pool() -> Json {
    json!({
        "type": "object", "additionalProperties": false,
        "properties": {
            "fraction": {"type": "number", "exclusiveMinimum": 0, "maximum": 1, "default": 1.0,
                "description": "Share of `top-fraction`, level of `quantile`."}
        }
    })
}

/// The ports of an engine kind, for one of its names.
pub fn engine_ports(kind: &str, name: &str) -> Vec<Port> {
    let port = |name: &str, output: bool, value: ValueKind, shape: &str| Port {
        index: u32::from(output && kind != "prepare"),
        name: name.to_string(),
        about: String::new(),
        verb: Verb::Run,
        output,
        kinds: vec![value],
        dtypes: vec!["f32"],
        scope: Scope::Image,
        optional: false,
        many: false,
        shape: Some(shape.to_string()),
    };
    let tensor = ValueKind::Tensor;
    match kind {
        "prepare" if name == PAINTED_MASK => {
            vec![port("mask", true, ValueKind::Tensors, "b 1 h w")]
        }
        "prepare" => vec![port("image", true, ValueKind::Tensors, "b 3 h w")],
        "map" => {
            vec![port("of", false, tensor, "b gh gw"), port("anomaly_map", true, tensor, "b h w")]
        }
        _ => vec![port("of", false, tensor, "b h w"), port("anomaly_score", true, tensor, "b")],
    }
}

/// The typed form of an engine stage whose keys passed.
pub fn engine_component(kind: &str, name: &str, config: &Map<String, Json>) -> Component {
    let float = |key: &str| config.get(key).and_then(Json::as_f64).unwrap_or_default() as f32;
    match kind {
        "prepare" => Component::Prepare(Prepare {
            geometry: name.to_string(),
            sizes: sizes(config),
            filter: text(config, "filter"),
            normalize: normalize(config.get("normalize").unwrap_or(&Json::Null)),
        }),
        "map" => Component::Map(MapTo {
            mode: name.to_string(),
            size: config.get("size").and_then(Json::as_u64).unwrap_or(1) as u32,
            then: config.get("then").and_then(Json::as_str).map(str::to_string),
            sigma_px: float("sigma_px"),
        }),
        _ => Component::Pool(Pool { rule: name.to_string(), fraction: float("fraction") }),
    }
}

/// The sizes of a prepare stage.
pub fn sizes(config: &Map<String, Json>) -> Vec<u32> {
    let sizes = config.get("sizes").and_then(Json::as_array);
    sizes.into_iter().flatten().filter_map(Json::as_u64).map(|size| size as u32).collect()
}

fn normalize(value: &Json) -> Normalize {
    if let Some(numbers) = value.as_array() {
        let at = |idx: usize| numbers.get(idx).and_then(Json::as_f64).unwrap_or(1.0) as f32;
        return Normalize { mean: [at(0), at(1), at(2)], std: [at(3), at(4), at(5)] };
    }
    match value.as_str() {
        Some("clip") => Normalize { mean: CLIP_MEAN, std: CLIP_STD },
        Some("imagenet") => Normalize { mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225] },
        _ => Normalize { mean: [0.0; 3], std: [1.0; 3] },
    }
}

/// `[data]` that passed. Paths are resolved by `path`, which is told the key.
pub fn typed_data(config: &Map<String, Json>, path: &dyn Fn(&str, &str) -> PathBuf) -> Data {
    let empty = Map::new();
    let references = config.get("references").and_then(Json::as_object).unwrap_or(&empty);
    let number = |key: &str| references.get(key).and_then(Json::as_u64).unwrap_or_default();
    let classes = config.get("classes").and_then(Json::as_array);
    let paired = references.get("anomalous").and_then(Json::as_str) == Some("shots");
    Data {
        dataset: text(config, "dataset"),
        root: path("data.root", &text(config, "root")),
        classes: classes
            .map(|names| names.iter().filter_map(Json::as_str).map(str::to_string).collect()),
        mask_above: config.get("mask_above").and_then(Json::as_u64).map(|grey| grey as u8),
        references: References {
            shots: number("shots") as usize,
            anomalous: number(if paired { "shots" } else { "anomalous" }) as usize,
            paired,
            seed: number("seed"),
            select: text(references, "select"),
            manifest: references
                .get("manifest")
                .and_then(Json::as_str)
                .map(|file| path("data.references.manifest", file)),
        },
    }
}

/// `[run]` that passed. Errors: the memory is no size.
pub fn typed_run(config: &Map<String, Json>) -> Result<Run, String> {
    let number = |key: &str| config.get(key).and_then(Json::as_u64).unwrap_or_default();
    let empty = Map::new();
    let cache = config.get("cache").and_then(Json::as_object).unwrap_or(&empty);
    let memory = match config.get("memory") {
        Some(Json::String(text)) => parse_bytes(text)?,
        _ => number("memory"),
    };
    Ok(Run {
        seed: number("seed"),
        device: text(config, "device"),
        threads: number("threads") as usize,
        memory,
        cache_features: text(cache, "features"),
        cache_stages: text(cache, "stages"),
    })
}

/// `4 GiB`, `512 MB`, `1000000`. Errors: a sentence.
pub fn parse_bytes(text: &str) -> Result<u64, String> {
    let wrong = || format!("wants a size such as `4 GiB`, got `{text}`");
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: f64 = number.parse().map_err(|_| wrong())?;
    let factor: f64 = match unit.trim().to_lowercase().as_str() {
        "" | "b" => 1.0,
        "kb" => 1e3,
        "mb" => 1e6,
        "gb" => 1e9,
        "kib" => 1024.0,
        "mib" => 1024.0 * 1024.0,
        "gib" => 1024.0 * 1024.0 * 1024.0,
        _ => return Err(wrong()),
    };
    let bytes = number * factor;
    if bytes >= 1.0 && bytes < 2f64.powi(60) { Ok(bytes as u64) } else { Err(wrong()) }
}

fn text(config: &Map<String, Json>, key: &str) -> String {
    config.get(key).and_then(Json::as_str).unwrap_or_default().to_string()
}
