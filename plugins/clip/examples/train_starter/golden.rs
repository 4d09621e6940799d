//! A whole step of a tiny model against what open_clip's blocks and torch's autograd recorded.

use std::collections::HashMap;
use std::path::Path;

use candle_core::{DType, Device, Tensor};
use loupe_clip::ModelConfig;

use crate::batch::Batch;
use crate::image_tower::Crops;
use crate::loss::Known;
use crate::model::{Model, Trained};
use crate::rng::Rng;
use crate::tensors::in_place;
use crate::text_tower::Sentences;

const TINY: &str = r#"{"embed_dim": 12,
    "vision_cfg": {"image_size": 16, "layers": 2, "width": 16, "head_width": 8, "patch_size": 4},
    "text_cfg": {"context_length": 7, "vocab_size": 9, "width": 8, "heads": 2, "layers": 2}}"#;

type Golden = HashMap<String, Tensor>;

fn golden() -> Golden {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/train/step.safetensors");
    candle_core::safetensors::load(path, &Device::Cpu).unwrap()
}

fn values(x: &Tensor) -> Vec<f32> {
    x.to_dtype(DType::F32).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

/// The recorded values of a buffer's parameters, side by side.
fn recorded(golden: &Golden, prefix: &str, trained: &Trained) -> Vec<f32> {
    if trained.name == "memory" {
        return values(&golden[if prefix == "w." { "memory" } else { "g.memory" }]);
    }
    let of = |name: &String| values(&golden[&format!("{prefix}{name}")]);
    trained.layout.parameters.iter().flat_map(|parameter| of(&parameter.name)).collect()
}

fn model(golden: &Golden) -> Model {
    let config = ModelConfig::from_json("tiny", TINY).unwrap();
    let model = Model::new(&config, 9, &[1], &mut Rng::new(0)).unwrap();
    for trained in model.buffers() {
        let weights = recorded(golden, "w.", trained);
        in_place(&trained.var, |values| values.copy_from_slice(&weights)).unwrap();
    }
    model
}

/// The recorded step, its crops in stacks of `n_crops`, its sentences in stacks of `n_sentences`.
fn batch(golden: &Golden, n_crops: usize, n_sentences: usize) -> Batch {
    let patches = values(&golden["patches"]);
    let crops = patches.chunks(n_crops * 4 * 48).map(|part| Crops {
        grid: 2,
        windows: vec![(1, 2); part.len() / (4 * 48)],
        patches: part.to_vec(),
    });
    let mut tokens = values(&golden["sentences"]).into_iter().map(|token| token as u32);
    let lengths = values(&golden["lengths"]);
    let sentences: Vec<Vec<u32>> =
        lengths.iter().map(|length| tokens.by_ref().take(*length as usize).collect()).collect();
    let coverage = values(&golden["coverage"]);
    Batch {
        crops: crops.collect(),
        places: (0..sentences.len() as u32).collect(),
        sentences: sentences.chunks(n_sentences).map(|part| Sentences(part.to_vec())).collect(),
        known: Known {
            coverage: coverage.chunks(4).map(<[f32]>::to_vec).collect(),
            n_prompts: vec![1, 2],
            matches: values(&golden["matches"]),
        },
    }
}

/// Largest difference over the largest recorded value.
fn error(got: &[f32], want: &[f32]) -> f32 {
    assert_eq!(got.len(), want.len());
    let largest = want.iter().fold(1e-6_f32, |largest, v| largest.max(v.abs()));
    got.iter().zip(want).fold(0.0_f32, |worst, (a, b)| worst.max((a - b).abs())) / largest
}

#[test]
fn losses_and_gradients_of_a_step_equal_torch() {
    let golden = golden();
    let model = model(&golden);
    for (n_crops, n_sentences) in [(6, 16), (4, 5), (1, 1)] {
        let losses = model.losses(&batch(&golden, n_crops, n_sentences), 1).unwrap();
        let parts: Vec<f32> =
            losses.parts.iter().map(|(_, value)| Model::value(value).unwrap()).collect();
        let want = values(&golden["parts"]);
        assert!(error(&parts, &want) < 1e-5, "{parts:?} is not {want:?}");
        let total = Model::value(&losses.total).unwrap();
        assert!(error(&[total], &values(&golden["total"])) < 1e-5);
        let gradients = model.gradients(&losses.total).unwrap();
        for (trained, gradient) in model.buffers().into_iter().zip(&gradients) {
            let (got, want) = (values(gradient), recorded(&golden, "g.", trained));
            for parameter in &trained.layout.parameters {
                let range = parameter.range.clone();
                let error = error(&got[range.clone()], &want[range]);
                assert!(error < 2e-4, "{}: {error}", parameter.name);
            }
        }
    }
}

#[test]
fn threads_do_not_change_a_bit() {
    let golden = golden();
    let model = model(&golden);
    let batch = |n_threads| {
        let losses = model.losses(&batch(&golden, 2, 3), n_threads).unwrap();
        let gradients = model.gradients(&losses.total).unwrap();
        gradients
            .map(|gradient| values(&gradient).into_iter().map(f32::to_bits).collect::<Vec<_>>())
    };
    assert_eq!(batch(1), batch(3));
}

#[test]
fn steps_make_the_loss_fall() {
    let golden = golden();
    let mut model = model(&golden);
    let batch = batch(&golden, 6, 16);
    let mut seen = Vec::new();
    for number in 1..=30 {
        let losses = model.losses(&batch, 1).unwrap();
        seen.push(Model::value(&losses.total).unwrap());
        let gradients = model.gradients(&losses.total).unwrap();
        model.step(&gradients, number, 3e-3).unwrap();
    }
    assert!(seen[29] < 0.8 * seen[0], "{seen:?}");
}
