//! Gradients that cross the boundary twice, through an encoder in C and a fusion of a third party, against
//! finite differences.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use loupe_engine::pipeline::model::{Adam, HeadLosses, Keep, Loss, MaskFilter, Train};
use loupe_engine::plugin::info::Kind;
use loupe_engine::plugin::{Instance, Loader, Options, StageHost, State, Tensor, Value};
use loupe_engine::run::{Start, Walk};
use loupe_engine::train::{Learned, Target, TextPair, gradients};
use loupe_tests::World;
use safetensors::SafeTensors;
use serde_json::{Value as Json, json};

use crate::plugins::{build_rust, compile, source};

const SIZE: usize = 48;

fn create(loader: &Loader, kind: Kind, name: &str, config: &Json) -> Arc<Instance> {
    let pool = Arc::new(rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap());
    let host = StageHost::new(name, 0, Vec::new(), pool, Arc::new(AtomicBool::new(false)));
    Arc::new(loader.create(kind, name, config, Arc::new(host)).unwrap())
}

struct Bench {
    walk: Walk,
    image: Tensor,
    train: Train,
    text: TextPair,
    mask: Vec<bool>,
}

impl Bench {
    fn start(&self) -> Start {
        let images = [(0, Value::Tensor(self.image.clone()))];
        let (session, stream) = self.walk.open(&images, None).unwrap();
        Start { session, stream, rest: Vec::new() }
    }

    fn found(&self, parameters: &State) -> (f64, Vec<State>) {
        let target = Target { anomalous: true, mask: Some(&self.mask), size: SIZE };
        let (losses, found) =
            gradients(&self.walk, self.start(), parameters, &self.train, &self.text, &target)
                .unwrap();
        (losses.iter().map(|part| part.1).sum(), found)
    }
}

fn bench(world: &World) -> Bench {
    compile(world, "seven", &source("plugins/examples/c-encoder/encoder.c"), &[]);
    build_rust(world, "rust-gate", "gate");
    let options = Options { paths: vec![world.path("plugins")], search: false, prober: None };
    let loader = Loader::new(&options);
    let encoder = create(&loader, Kind::Encoder, "seven", &json!({}));
    let gate = create(&loader, Kind::Fusion, "gate", &json!({"at": [1, 2], "width": 4}));
    let walk = Walk::new(encoder, gate, &[1, 2], Some(SIZE as u32), &["seg"]).unwrap();
    let pixel = |i: usize| (0.37 * i as f32).sin().abs();
    let image = Tensor::new(vec![1, 3, SIZE, SIZE], (0..3 * SIZE * SIZE).map(pixel).collect());
    let of = vec![Loss::BceOnProbability, Loss::Focal, Loss::Dice];
    let train = Train {
        stage: 0,
        text: 0,
        augment: None,
        auxiliary: Vec::new(),
        losses: vec![HeadLosses { head: "seg".to_owned(), of }],
        optimizer: Adam { lr: 0.1, betas: [0.5, 0.999], eps: 1e-8 },
        scale: 3.0,
        masks: MaskFilter::Nearest,
        epochs: 1,
        keep: Keep::Last,
        held_out: None,
        patience: None,
    };
    let text = TextPair::new(&[1.0, 0.2, -0.4, 0.1, -0.3, 0.9, 0.5, -0.7], 4, &[false, true]);
    let mask = (0..SIZE * SIZE).map(|i| i % SIZE > 20).collect();
    Bench { walk, image: image.unwrap(), train, text: text.unwrap(), mask }
}

#[test]
fn gradients_are_the_slopes_of_the_loss() {
    let world = World::new();
    let bench = bench(&world);
    let mut learned = Learned::new(bench.walk.parameters(&bench.start()).unwrap()).unwrap();
    let (_, found) = bench.found(&learned.state);
    let (mut compared, mut largest) = (0, 0.0_f64);
    for state in &found {
        for (name, view) in SafeTensors::deserialize(&state.bytes).unwrap().iter() {
            let tensor = learned.tensors.iter().find(|tensor| tensor.name == name).unwrap();
            let numbers = learned.bytes_of(tensor).to_vec();
            for (idx, gradient) in view.data().as_chunks::<4>().0.iter().enumerate() {
                let gradient = f64::from(f32::from_le_bytes(*gradient));
                let mut at = |step: f32| {
                    let mut moved = numbers.clone();
                    let place = &mut moved[4 * idx..4 * idx + 4];
                    let value = f32::from_le_bytes(place.try_into().unwrap()) + step;
                    place.copy_from_slice(&value.to_le_bytes());
                    learned.replace(name, &moved).unwrap();
                    (bench.found(&learned.state).0, f64::from(value))
                };
                let ((above, high), (below, low)) = (at(2e-3), at(-2e-3));
                learned.replace(name, &numbers).unwrap();
                let slope = (above - below) / (high - low);
                let far = (slope - gradient).abs();
                assert!(far < 2e-3 * slope.abs().max(0.05), "{name}[{idx}]: {gradient}, {slope}");
                largest = largest.max(gradient.abs());
                compared += 1;
            }
        }
    }
    // Gates of 7 channels and projections of 4 x 7, at two taps.
    assert_eq!(compared, 2 * (7 + 28));
    assert!(largest > 0.05, "there is nothing to see: {largest}");
}
