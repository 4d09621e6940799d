//! Short token tables: the rule by which they are read, on files made by hand.

mod common;

use std::collections::BTreeMap;

use common::values;
use loupe_clip::weights::{Random, Weights, WeightsFile, expected};
use loupe_clip::{Clip, ClipEncoder, ModelConfig, Result};
use loupe_plugin::testing;
use safetensors::tensor::{Dtype, TensorView};

const IDS: &str = "token_embedding.ids";
const WEIGHT: &str = "token_embedding.weight";
const WIDTH: usize = 8;
const DESCRIPTION: &str = r#"{"embed_dim": 4,
    "vision_cfg": {"image_size": 8, "patch_size": 4, "layers": 1, "width": 8, "head_width": 4,
                   "mlp_ratio": 2.0},
    "text_cfg": {"context_length": 6, "vocab_size": 49408, "width": 8, "heads": 2, "layers": 1}}"#;

/// `a`, `photo`, `of`, and the two markers.
const LISTED: [i32; 5] = [320, 539, 1_125, 49_406, 49_407];

fn config() -> ModelConfig {
    ModelConfig::from_json("short", DESCRIPTION).unwrap()
}

type Named = BTreeMap<String, (Dtype, Vec<usize>, Vec<u8>)>;

/// All tensors of the model but the token table, with the values of random weights.
fn without_table() -> Named {
    let config = config();
    let random = Random::new(5, &config);
    let tensors = expected(&config).into_iter().filter(|(name, _)| name != WEIGHT);
    tensors
        .map(|(name, shape)| {
            let bytes = f32_bytes(&random.take(&name, &shape).unwrap());
            (name, (Dtype::F32, shape, bytes))
        })
        .collect()
}

fn f32_bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

/// Row `i` of a table by a rule that makes all rows differ.
fn row(i: usize) -> impl Iterator<Item = f32> {
    (0..WIDTH).map(move |c| ((i * 29 + c * 17 + 3) % 101) as f32 / 50.0 - 1.0)
}

fn table(n_rows: usize) -> (Dtype, Vec<usize>, Vec<u8>) {
    let rows: Vec<f32> = (0..n_rows).flat_map(row).collect();
    (Dtype::F32, vec![n_rows, WIDTH], f32_bytes(&rows))
}

fn ids(ids: &[i32]) -> (Dtype, Vec<usize>, Vec<u8>) {
    let bytes = ids.iter().flat_map(|id| id.to_le_bytes()).collect();
    (Dtype::I32, vec![ids.len()], bytes)
}

fn short(listed: &[i32], n_rows: usize) -> Named {
    let mut tensors = without_table();
    tensors.insert(WEIGHT.to_string(), table(n_rows));
    tensors.insert(IDS.to_string(), ids(listed));
    tensors
}

fn file(tensors: &Named) -> Vec<u8> {
    let mut views: Vec<(&str, TensorView<'_>)> = Vec::new();
    for (name, (dtype, shape, bytes)) in tensors {
        views.push((name, TensorView::new(*dtype, shape.clone(), bytes).unwrap()));
    }
    safetensors::serialize(views, None).unwrap()
}

fn open(tensors: &Named) -> Result<Clip> {
    let bytes = file(tensors);
    let mut weights = WeightsFile::open(&bytes)?;
    assert_eq!(weights.check(&config())?, 0, "every tensor is one that the model wants");
    Clip::new(config(), &weights)
}

const SENTENCES: [&str; 5] =
    ["a photo of a photo", "a photo of rust", "a photo of moss", "rust", "of of of of of of of of"];

#[test]
fn a_short_table_gives_the_bits_of_the_expanded_one() {
    let mut whole = without_table();
    let mut rows: Vec<f32> = Vec::new();
    for id in 0..49_408 {
        let listed = LISTED.iter().position(|listed| *listed == id);
        rows.extend(row(listed.unwrap_or(LISTED.len())));
    }
    whole.insert(WEIGHT.to_string(), (Dtype::F32, vec![49_408, WIDTH], f32_bytes(&rows)));
    let whole = open(&whole).unwrap().encode_text(&SENTENCES).unwrap();
    let short = open(&short(&LISTED, 6)).unwrap().encode_text(&SENTENCES).unwrap();
    assert_eq!(values(&short), values(&whole));
}

#[test]
fn words_that_are_not_listed_are_one_word() {
    let clip = open(&short(&LISTED, 6)).unwrap();
    let embedded = clip.encode_text(&SENTENCES).unwrap();
    let sentence = |index: usize| values(&embedded.get(index).unwrap());
    assert_eq!(sentence(1), sentence(2), "rust and moss are unknown");
    assert_ne!(sentence(0), sentence(1));
    assert_ne!(sentence(1), sentence(3));
}

/// What `clip` says of a file with these tensors.
fn refused(tensors: &Named) -> String {
    let folder = tempfile::tempdir().unwrap();
    let (model, weights) = (folder.path().join("short.json"), folder.path().join("w.safetensors"));
    std::fs::write(&model, DESCRIPTION).unwrap();
    std::fs::write(&weights, file(tensors)).unwrap();
    let config = format!("model = '{}'\nweights = '{}'", model.display(), weights.display());
    let message = testing::encoder::<ClipEncoder>(&config).run().err().expect("must be refused");
    message.replace(&folder.path().display().to_string(), "FOLDER")
}

#[test]
fn a_table_that_breaks_the_rule_is_refused_by_tensor_and_file() {
    let cases = [
        (
            short(&LISTED, 5),
            "`token_embedding.weight` has 5 rows, but `token_embedding.ids` lists 5 tokens; it \
             wants 6 rows, one for each listed token and a last one for all others",
        ),
        (
            short(&[539, 320, 1_125, 49_406, 49_407], 6),
            "`token_embedding.ids` wants ids that ascend, but 320 stands behind 539",
        ),
        (
            short(&[320, 539, 49_406, 49_407, 49_408], 6),
            "`token_embedding.ids` wants ids below 49408, the model's vocab_size, but lists 49408",
        ),
        (short(&[-1, 49_406, 49_407], 4), "tensor `token_embedding.ids` wants ids of 0 or more"),
        (
            short(&[320, 539, 1_125, 2_000, 49_407], 6),
            "`token_embedding.ids` does not list 49406, the start marker of every sentence; it \
             wants both markers, 49406 and 49407",
        ),
        (
            short(&[320, 539, 1_125, 2_000, 49_406], 6),
            "`token_embedding.ids` does not list 49407, the end marker of every sentence; it wants \
             both markers, 49406 and 49407",
        ),
    ];
    for (tensors, want) in cases {
        assert_eq!(refused(&tensors), format!("weights file `FOLDER/w.safetensors`: {want}"));
    }
}

#[test]
fn ids_and_table_come_together() {
    let mut alone = without_table();
    alone.insert(IDS.to_string(), ids(&LISTED));
    let message = refused(&alone);
    assert!(
        message.contains("holds `token_embedding.ids`, but no `token_embedding.weight`"),
        "{message}"
    );
    let mut without_ids = short(&LISTED, 6);
    without_ids.remove(IDS);
    let message = refused(&without_ids);
    assert!(message.contains("`token_embedding.weight` is [6, 8], not [49408, 8]"), "{message}");
    let mut floats = short(&LISTED, 6);
    floats.insert(IDS.to_string(), (Dtype::F32, vec![5], f32_bytes(&[0.0; 5])));
    let message = refused(&floats);
    assert!(message.contains("wants whole numbers of 32 bits (i32)"), "{message}");
    let mut square = short(&LISTED, 6);
    square.insert(IDS.to_string(), (Dtype::I32, vec![1, 5], ids(&LISTED).2));
    assert!(refused(&square).contains("wants one dimension, got [1, 5]"));
}
