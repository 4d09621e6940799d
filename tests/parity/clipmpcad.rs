//! ClipMPCAD and MVFA as the built plugins and the engine run them, against tensors that were recorded from
//! the originals' modules with synthetic weights: `tests/golden/clipmpcad`. The recorded images hold
//! numbers that no image file can, so values are handed to the components, not to a pipeline; `program` holds the
//! program against the components, bit by bit, on images that files can hold.

mod maps;
mod ops;
mod program;
mod tokens;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use loupe_engine::pipeline::model::{Adam, HeadLosses, Keep, Loss, MaskFilter, Train};
use loupe_engine::plugin::info::{Catalog, Kind};
use loupe_engine::plugin::{Instance, Loader, Options, StageHost, State, Tensor, Value};
use loupe_engine::run::{Start, Walk};
use loupe_engine::train::{Learned, StepLosses, Target, TextPair, gradients, step};
use loupe_tests::{World, built};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde_json::{Value as Json, json};

use crate::recorded::folder;

const TAPS: [u32; 4] = [2, 4, 6, 8];
const SIZE: usize = 20;
/// METRICS: f32 tensors, largest difference over the root mean square of the recorded values.
const TOKENS: f64 = 2e-5;
/// Gradients and losses, as the record's own f32 differs from f64 by 8e-6 of 12.9.
const GRADIENTS: f64 = 2e-5;
/// Trained weights: 5e-5 a step, where the recorded gradient is not noise.
const WEIGHTS_A_STEP: f64 = 5e-5;
/// METRICS: gradients below it are rounding.
const NOISE: f32 = 1e-6;

struct Recorded {
    tensors: HashMap<String, (Vec<usize>, Vec<f32>)>,
    json: Json,
}

impl Recorded {
    fn read() -> Recorded {
        let mut tensors = HashMap::new();
        for file in ["tiny_tensors.safetensors", "tiny_weights.safetensors"] {
            let bytes = std::fs::read(folder("clipmpcad").join(file)).unwrap();
            for (name, view) in SafeTensors::deserialize(&bytes).unwrap().iter() {
                if view.dtype() == Dtype::F32 {
                    let (numbers, _) = view.data().as_chunks::<4>();
                    let numbers = numbers.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
                    tensors.insert(name.to_owned(), (view.shape().to_vec(), numbers));
                }
            }
        }
        let json = std::fs::read(folder("clipmpcad").join("tiny.json")).unwrap();
        Recorded { tensors, json: serde_json::from_slice(&json).unwrap() }
    }

    fn numbers(&self, name: &str) -> &[f32] {
        &self.tensors.get(name).unwrap_or_else(|| panic!("nothing recorded as {name}")).1
    }

    /// Image `index` of a stack, as a batch of one.
    fn image(&self, name: &str, index: usize) -> Tensor {
        let n = 3 * SIZE * SIZE;
        let numbers = self.numbers(name)[index * n..][..n].to_vec();
        Tensor::new(vec![1, 3, SIZE, SIZE], numbers).unwrap()
    }

    /// What begins with `prefix`, without it, as a safetensors file.
    fn file(&self, prefix: &str, skip: &str) -> Vec<u8> {
        let bytes: Vec<(String, Vec<usize>, Vec<u8>)> = self
            .tensors
            .iter()
            .filter(|(name, _)| {
                name.starts_with(prefix) && (skip.is_empty() || !name.contains(skip))
            })
            .map(|(name, (shape, numbers))| {
                let bytes = numbers.iter().flat_map(|x| x.to_le_bytes()).collect();
                (name[prefix.len()..].to_owned(), shape.clone(), bytes)
            })
            .collect();
        let views = bytes.iter().map(|(name, shape, bytes)| {
            (name.as_str(), TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap())
        });
        safetensors::serialize(views, None).unwrap()
    }

    fn text(&self) -> TextPair {
        let numbers = self.numbers("text_features");
        let column =
            |at: usize| numbers.iter().skip(at).step_by(2).map(|x| f64::from(*x)).collect();
        TextPair([column(0), column(1)])
    }
}

/// The recorded model in the built plugins.
struct Model {
    recorded: Recorded,
    encoder: Arc<Instance>,
    world: World,
    loader: Loader,
}

impl Model {
    fn new() -> Model {
        Model::with("gelu")
    }

    fn with(activation: &str) -> Model {
        let (recorded, world) = (Recorded::read(), World::new());
        let vision =
            json!({"image_size": 20, "layers": 8, "width": 32, "patch_size": 4, "head_width": 8});
        let text =
            json!({"context_length": 12, "vocab_size": 50, "width": 24, "heads": 3, "layers": 2});
        let description = json!({"embed_dim": 24, "vision_cfg": vision, "text_cfg": text});
        let description = world.write("tiny.json", description.to_string());
        let weights = recorded.file("clip.", "positional_embedding.pretrained");
        let weights = world.write("tiny.safetensors", weights);
        let options = Options { paths: vec![built()], search: false, prober: None };
        let loader = Loader::new(&options);
        let config = json!({"model": description, "weights": weights, "activation": activation});
        let encoder = create(&loader, Kind::Encoder, "clip", &config, &[description, weights]);
        Model { recorded, encoder, world, loader }
    }

    /// A fusion with the adapters that were recorded as `adapters`.
    fn fusion(&self, name: &str, adapters: &str) -> Arc<Instance> {
        let file = format!("{adapters}safetensors");
        let state = self.world.write(&file, self.recorded.file(adapters, ""));
        let config = json!({"at": TAPS, "state": state, "heads": ["seg", "det"]});
        create(&self.loader, Kind::Fusion, name, &config, &[state])
    }

    fn walk(&self, fusion: &str, adapters: &str) -> Walk {
        let fusion = self.fusion(fusion, adapters);
        Walk::new(Arc::clone(&self.encoder), fusion, &TAPS, Some(SIZE as u32), &["seg", "det"])
            .unwrap()
    }

    /// A walk over an image, at the first tap.
    fn start(&self, walk: &Walk, image: &Tensor) -> Start {
        let images = [(port(&self.encoder, "image"), Value::Tensor(image.clone()))];
        let (session, stream) = walk.open(&images, None).unwrap();
        let fusion = self.loader.component(Kind::Fusion, "madff").unwrap();
        let rest = fusion.ports.iter().find(|port| port.name == "image" && !port.output).unwrap();
        Start { session, stream, rest: vec![(rest.index, Value::Tensor(image.clone()))] }
    }
}

fn create(
    loader: &Loader,
    kind: Kind,
    name: &str,
    config: &Json,
    files: &[PathBuf],
) -> Arc<Instance> {
    let pool = Arc::new(rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap());
    let cancel = Arc::new(AtomicBool::new(false));
    let host = StageHost::new(name, 0, files.to_vec(), pool, cancel);
    Arc::new(loader.create(kind, name, config, Arc::new(host)).unwrap())
}

fn port(instance: &Instance, name: &str) -> u32 {
    instance.info().ports.iter().find(|port| port.name == name && !port.output).unwrap().index
}

fn train(losses: &[(&str, &[Loss])], lr: f64) -> Train {
    let head =
        |(head, of): &(&str, &[Loss])| HeadLosses { head: (*head).to_owned(), of: of.to_vec() };
    Train {
        stage: 0,
        text: 0,
        augment: None,
        auxiliary: Vec::new(),
        losses: losses.iter().map(head).collect(),
        optimizer: Adam { lr, betas: [0.5, 0.999], eps: 1e-8 },
        scale: 100.0,
        masks: MaskFilter::Nearest,
        epochs: 1,
        keep: Keep::Last,
        held_out: None,
        patience: None,
    }
}

fn both_heads() -> Train {
    let seg = [Loss::Focal, Loss::Dice];
    train(&[("det", &[Loss::BceOnProbability]), ("seg", &seg)], 1e-3)
}

/// The recorded samples, in order: a set of images, an index, whether it is anomalous.
const SAMPLES: [(&str, usize, bool); 3] =
    [("aug_abnormal", 0, true), ("aug_normal", 0, false), ("aug_abnormal", 3, true)];

impl Model {
    fn mask(&self, (set, index, anomalous): (&str, usize, bool)) -> Vec<bool> {
        let n = SIZE * SIZE;
        if !anomalous {
            return vec![false; n];
        }
        let masks = self.recorded.numbers(&format!("{set}_mask"));
        masks[index * n..][..n].iter().map(|value| *value > 0.5).collect()
    }

    /// Losses and gradients of a recorded sample.
    fn sample(
        &self,
        walk: &Walk,
        learned: &Learned,
        train: &Train,
        sample: (&str, usize, bool),
    ) -> (StepLosses, Vec<State>) {
        let mask = self.mask(sample);
        let target = Target { anomalous: sample.2, mask: Some(&mask), size: SIZE };
        let start = self.start(walk, &self.recorded.image(sample.0, sample.1));
        gradients(walk, start, &learned.state, train, &self.recorded.text(), &target).unwrap()
    }

    fn learned(&self, walk: &Walk) -> Learned {
        let image = self.recorded.image(SAMPLES[0].0, SAMPLES[0].1);
        Learned::new(walk.parameters(&self.start(walk, &image)).unwrap()).unwrap()
    }
}

/// Largest difference over the root mean square of what was recorded.
fn error(got: &[f32], want: &[f32]) -> f64 {
    assert_eq!(got.len(), want.len());
    let square: f64 = want.iter().map(|x| f64::from(*x).powi(2)).sum();
    let difference = got.iter().zip(want).map(|(a, b)| (f64::from(*a) - f64::from(*b)).abs());
    difference.fold(0.0, f64::max) / (square / want.len() as f64).sqrt().max(1e-9)
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
}

/// By head and part, summed over taps as the engine does.
fn recorded_losses(step: &Json) -> Vec<(String, f64)> {
    let sum =
        |part: &str| step[part].as_array().map(|taps| taps.iter().filter_map(Json::as_f64).sum());
    let named = [("det bce-on-probability", "bce"), ("seg focal", "focal"), ("seg dice", "dice")];
    named.iter().filter_map(|(name, part)| Some(((*name).to_owned(), sum(part)?))).collect()
}

fn assert_losses(got: &StepLosses, want: &Json) {
    let want = recorded_losses(want);
    assert_eq!(got.len(), want.len());
    for (name, want) in want {
        let got = got.iter().find(|part| part.0 == name).unwrap().1;
        assert!((got - want).abs() <= 1e-5 * want.abs().max(1.0), "{name}: {got} is not {want}");
    }
}

#[test]
fn gradients_of_the_first_step() {
    let model = Model::new();
    let walk = model.walk("madff", "init.");
    let (losses, found) = model.sample(&walk, &model.learned(&walk), &both_heads(), SAMPLES[0]);
    assert_losses(&losses, &model.recorded.json["train"][0]);
    let mut compared = 0;
    for state in &found {
        for (name, view) in SafeTensors::deserialize(&state.bytes).unwrap().iter() {
            let want = model.recorded.numbers(&format!("grad0.{name}"));
            let got = floats(view.data());
            // Scores near 0 and 1 leave little of a gradient, and less of it above the record's own rounding.
            let far = got.iter().zip(want).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            let found = error(&got, want);
            assert!(found <= GRADIENTS || far <= NOISE, "{name}: {found:.2e}, {far:.2e}");
            compared += 1;
        }
    }
    let recorded = model.recorded.tensors.keys().filter(|name| name.starts_with("grad0.")).count();
    assert_eq!(compared, recorded);
}

#[test]
fn three_steps_of_training() {
    let model = Model::new();
    let walk = model.walk("madff", "init.");
    let (train, mut learned) = (both_heads(), model.learned(&walk));
    for (idx, sample) in SAMPLES.into_iter().enumerate() {
        let (losses, found) = model.sample(&walk, &learned, &train, sample);
        let want = &model.recorded.json["train"][idx];
        assert_losses(&losses, want);
        let total: f64 = losses.iter().map(|part| part.1).sum();
        assert!((total - want["loss"].as_f64().unwrap()).abs() < 1e-4, "{total}");
        step(&walk, &mut learned, &train, &losses, &found).unwrap();
        match idx {
            0 => assert_weights(&model, &learned, "after1", 1.0),
            2 => assert_weights(&model, &learned, "after3", 3.0),
            _ => {}
        }
    }
}

/// Where the recorded gradient is larger than noise: Adam's first steps are signs.
fn assert_weights(model: &Model, learned: &Learned, record: &str, steps: f32) {
    let (mut compared, mut left_out) = (0, 0);
    for tensor in &learned.tensors {
        let want = model.recorded.numbers(&format!("{record}.{}", tensor.name));
        let gradient = model.recorded.tensors.get(&format!("grad0.{}", tensor.name));
        let got = floats(learned.bytes_of(tensor));
        for (idx, (got, want)) in got.iter().zip(want).enumerate() {
            if gradient.is_some_and(|gradient| gradient.1[idx].abs() < NOISE) {
                left_out += 1;
                continue;
            }
            let limit = WEIGHTS_A_STEP * f64::from(steps);
            let found = f64::from((got - want).abs());
            assert!(found <= limit, "{record} {}[{idx}]: {got} is not {want}", tensor.name);
            compared += 1;
        }
    }
    assert!(compared > 10_000 && left_out < 1_000, "{compared} compared, {left_out} left out");
}

/// Without masks the scores' adapters learn alone; the others stay, and still shape the stream.
#[test]
fn a_step_without_masks() {
    let model = Model::new();
    let walk = model.walk("madff", "init.");
    let (train, mut learned) = (both_heads(), model.learned(&walk));
    let before = learned.clone();
    let target = Target { anomalous: true, mask: None, size: SIZE };
    let start = model.start(&walk, &model.recorded.image("aug_abnormal", 0));
    let text = model.recorded.text();
    let (losses, found) = gradients(&walk, start, &learned.state, &train, &text, &target).unwrap();
    assert_losses(&losses, &model.recorded.json["det_only_step"]);
    step(&walk, &mut learned, &train, &losses, &found).unwrap();
    for (tensor, was) in learned.tensors.iter().zip(&before.tensors) {
        let moved = learned.bytes_of(tensor) != before.bytes_of(was);
        assert!(!(tensor.name.starts_with("seg_") && moved), "{} moved", tensor.name);
    }
    let name = "det_adapters.0.fc1.0.weight";
    let tensor = learned.tensors.iter().find(|tensor| tensor.name == name).unwrap();
    let want = model.recorded.numbers(&format!("det_only_after1.{name}"));
    let got = floats(learned.bytes_of(tensor));
    let far = got.iter().zip(want).filter(|(a, b)| (*a - *b).abs() > WEIGHTS_A_STEP as f32).count();
    assert!(far <= want.len() / 100, "{far} of {} differ", want.len());
}

#[test]
fn a_step_of_mvfa() {
    let model = Model::new();
    let walk = model.walk("mvfa", "init.");
    let (losses, _) = model.sample(&walk, &model.learned(&walk), &both_heads(), SAMPLES[0]);
    assert_losses(&losses, &model.recorded.json["mvfa_step"]);
}
