//! The model of `tests/golden/fade`: its weights follow a rule, so that none is stored.
//! `weights.py` there says it in words.

use std::path::Path;

use safetensors::Dtype;
use safetensors::tensor::TensorView;
use serde_json::Value;

use crate::recorded::fnv1a64;

/// Channels with planted outliers.
const OUTLIERS: [usize; 2] = [5, 17];

/// Writes the weights of an open_clip description as a safetensors file.
pub fn write(description: &Path, file: &Path) {
    let text = std::fs::read_to_string(description).unwrap();
    let model: Value = serde_json::from_str(&text).unwrap();
    let bytes = |(name, shape): (String, Vec<usize>)| {
        let values: Vec<u8> =
            weight(&name, &shape).into_iter().flat_map(f32::to_le_bytes).collect();
        (name, shape, values)
    };
    let made: Vec<_> = names(&model).into_iter().map(bytes).collect();
    let view = |(name, shape, values)| (name, TensorView::new(Dtype::F32, shape, values).unwrap());
    let views = made.iter().map(|(name, shape, values)| view((name, shape.clone(), values)));
    safetensors::serialize_to_file(views, None, file).unwrap();
}

/// A number in -1..1, a multiple of 2^-23.
fn draw(name: &str, element: usize) -> f64 {
    let step = (element as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let mut z = fnv1a64(name.as_bytes()).wrapping_add(step);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^= z >> 31;
    (z >> 40) as f64 / f64::from(1 << 23) - 1.0
}

fn weight(name: &str, shape: &[usize]) -> Vec<f32> {
    let is_norm = name.rsplit('.').nth(1).is_some_and(|module| module.starts_with("ln_"));
    let right = ["visual.proj", "text_projection"].contains(&name);
    let n_inputs: usize = if right { shape[0] } else { shape[1..].iter().product() };
    let gain = if name == "visual.conv1.weight" { 2.0 } else { 1.0 };
    let outlier = match name {
        "visual.ln_pre.weight" => 8.0,
        "visual.ln_post.weight" => 1.0 / 8.0,
        _ => 1.0,
    };
    let scaled = |element: usize| {
        let u = draw(name, element);
        if name.ends_with("bias") {
            u / 8.0
        } else if is_norm {
            (1.0 + u / 4.0) * if OUTLIERS.contains(&element) { outlier } else { 1.0 }
        } else if name.ends_with("embedding") || name == "token_embedding.weight" {
            u
        } else {
            u * gain * (3.0 / n_inputs as f64).sqrt()
        }
    };
    (0..shape.iter().product()).map(|element| scaled(element) as f32).collect()
}

/// Names and shapes of a CLIP in open_clip's words.
fn names(model: &Value) -> Vec<(String, Vec<usize>)> {
    let size = |tower: &str, key: &str| model[tower][key].as_u64().unwrap() as usize;
    let [width, patch] = ["width", "patch_size"].map(|key| size("vision_cfg", key));
    let [text_width, vocabulary] = ["width", "vocab_size"].map(|key| size("text_cfg", key));
    let shared = model["embed_dim"].as_u64().unwrap() as usize;
    let grid = size("vision_cfg", "image_size") / patch;
    let mut names: Vec<(String, Vec<usize>)> = [
        ("visual.class_embedding", vec![width]),
        ("visual.positional_embedding", vec![grid * grid + 1, width]),
        ("visual.conv1.weight", vec![width, 3, patch, patch]),
        ("visual.ln_pre.weight", vec![width]),
        ("visual.ln_pre.bias", vec![width]),
        ("visual.ln_post.weight", vec![width]),
        ("visual.ln_post.bias", vec![width]),
        ("visual.proj", vec![width, shared]),
        ("token_embedding.weight", vec![vocabulary, text_width]),
        ("positional_embedding", vec![size("text_cfg", "context_length"), text_width]),
        ("ln_final.weight", vec![text_width]),
        ("ln_final.bias", vec![text_width]),
        ("text_projection", vec![text_width, shared]),
    ]
    .map(|(name, shape)| (name.to_owned(), shape))
    .to_vec();
    for (tower, prefix) in [("vision_cfg", "visual."), ("text_cfg", "")] {
        let ratio = model[tower]["mlp_ratio"].as_f64().unwrap_or(4.0);
        for block in 0..size(tower, "layers") {
            let prefix = format!("{prefix}transformer.resblocks.{block}");
            names.extend(block_names(&prefix, size(tower, "width"), ratio));
        }
    }
    names
}

fn block_names(prefix: &str, width: usize, mlp_ratio: f64) -> Vec<(String, Vec<usize>)> {
    let hidden = (width as f64 * mlp_ratio) as usize;
    let shapes = [
        ("ln_1.weight", vec![width]),
        ("ln_1.bias", vec![width]),
        ("attn.in_proj_weight", vec![3 * width, width]),
        ("attn.in_proj_bias", vec![3 * width]),
        ("attn.out_proj.weight", vec![width, width]),
        ("attn.out_proj.bias", vec![width]),
        ("ln_2.weight", vec![width]),
        ("ln_2.bias", vec![width]),
        ("mlp.c_fc.weight", vec![hidden, width]),
        ("mlp.c_fc.bias", vec![hidden]),
        ("mlp.c_proj.weight", vec![width, hidden]),
        ("mlp.c_proj.bias", vec![width]),
    ];
    shapes.map(|(name, shape)| (format!("{prefix}.{name}"), shape)).to_vec()
}
