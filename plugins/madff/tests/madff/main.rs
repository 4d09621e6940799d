//! The adapters against tensors recorded from the original's modules, and the components against
//! their promises.

use std::collections::HashMap;

use loupe_kernels::Isa;
use loupe_madff::reference::ReferenceAdapter;
use loupe_madff::{Adapter, Madff, MadffAdapter, MadffKeys, Mvfa, MvfaAdapter, Projector, Tile};
use loupe_madff::{Drawn, Spectrum, Weights};
use loupe_plugin::prelude::*;
use loupe_plugin::testing::{self, Ran, Subject};
use safetensors::SafeTensors;

mod gradients;
mod spectrum;
mod states;

/// Tokens in f32, per stage: largest difference over the root mean square of the recorded values.
const TOLERANCE: f64 = 2e-5;
const TAPS: [u32; 4] = [2, 4, 6, 8];

const MADFF_FILE: &[u8] = include_bytes!("../../golden/madff.safetensors");
const TOKENS_FILE: &[u8] = include_bytes!("../../golden/tokens.safetensors");

type Recorded = HashMap<String, Tensor>;

fn read(bytes: &[u8]) -> Recorded {
    let floats = |data: &[u8]| -> Vec<f32> {
        data.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
    };
    let tensors = SafeTensors::deserialize(bytes).unwrap();
    let tensor = |view: &safetensors::tensor::TensorView<'_>| {
        Tensor::new(view.shape(), floats(view.data())).unwrap()
    };
    tensors.iter().map(|(name, view)| (name.to_owned(), tensor(&view))).collect()
}

fn golden(file: &str) -> String {
    format!("{}/golden/{file}.safetensors", env!("CARGO_MANIFEST_DIR"))
}

fn config(file: &str, more: &str) -> String {
    format!("at = [2, 4, 6, 8]\nstate = {:?}\n{more}", golden(file))
}

fn error(got: &[f32], want: &[f32]) -> f64 {
    assert_eq!(got.len(), want.len());
    let square: f64 = want.iter().map(|v| f64::from(*v).powi(2)).sum();
    let difference = got.iter().zip(want).map(|(a, b)| (f64::from(*a) - f64::from(*b)).abs());
    difference.fold(0.0, f64::max) / (square / want.len() as f64).sqrt()
}

/// Holds values against recorded ones; these, moved by ten tolerances, must not pass.
fn check(stage: &str, got: &[f32], want: &Tensor) {
    let mut want = want.f32s().unwrap().to_vec();
    let found = error(got, &want);
    assert!(found <= TOLERANCE, "{stage}: {found:.2e}");
    let square: f32 = want.iter().map(|v| v * v).sum();
    want[0] += 10.0 * TOLERANCE as f32 * (square / want.len() as f32).sqrt();
    assert!(error(got, &want) > TOLERANCE, "{stage}: the test sees nothing");
}

/// One step of a component at a tap.
fn step(subject: Subject, stream: &Tensor, tap: u32, image: [usize; 2]) -> Result<Ran, String> {
    let batch = stream.dims()[0];
    let n_pixels = batch * 3 * image[0] * image[1];
    let image = Tensor::new([batch, 3, image[0], image[1]], vec![0.0; n_pixels]).unwrap();
    let stream = stream.clone().with_label(Label::tap(tap));
    subject.inputs("stream", vec![stream]).input("image", image).run()
}

/// The tokens of a head, prefix and patches, of one image.
fn tokens(ran: &Ran, head: &str) -> Vec<f32> {
    let (prefix, patches) =
        (ran.tensor(&format!("{head}_prefix")), ran.tensor(&format!("{head}_tokens")));
    assert_eq!((prefix.dims(), patches.dims()), (&[1, 1, 24][..], &[1, 5, 5, 24][..]));
    [prefix.f32s().unwrap(), patches.f32s().unwrap()].concat()
}

/// Every recorded tap of a variant through the component; how many tensors were compared.
fn walk(variant: &str, component: impl Fn() -> Subject) -> usize {
    let recorded = read(TOKENS_FILE);
    let mut n_compared = 0;
    for (j, tap) in TAPS.iter().enumerate() {
        let Some(stream) = recorded.get(&format!("{variant}.stream.{j}")) else { continue };
        let ran = step(component(), stream, *tap, [20, 20]).unwrap();
        for head in ["seg", "det"] {
            let name = format!("{variant}.{head}.{j}");
            if let Some(want) = recorded.get(&name) {
                check(&name, &tokens(&ran, head), want);
                n_compared += 1;
            }
        }
        let name = format!("{variant}.next.{j}");
        if let Some(want) = recorded.get(&name) {
            check(&name, ran.tensor("stream").f32s().unwrap(), want);
            n_compared += 1;
        }
    }
    n_compared
}

#[test]
fn madff_makes_the_recorded_tokens_and_streams() {
    let component = || testing::fusion::<Madff>(&config("madff", ""));
    assert_eq!(walk("fwd", component), 12);
    assert_eq!(walk("fwd_quickgelu", component), 2);
}

/// The first image of each token: `[6, 3, 32]` -> `[6, 32]`.
fn first_images(three: &Tensor) -> Vec<f32> {
    three.f32s().unwrap().chunks_exact(3 * 32).flat_map(|token| token[..32].to_vec()).collect()
}

#[test]
fn mvfa_of_one_adapter_is_the_recorded_one() {
    let recorded = read(TOKENS_FILE);
    let weights = Weights::from_bytes("madff", MADFF_FILE).unwrap();
    let sizes = Drawn { width: 32, bottleneck: 24 };
    let adapter = MvfaAdapter::read(&weights, "seg_adapters.0", sizes, &()).unwrap();
    let rows = first_images(&recorded["adapter.B3.x"]);
    let made = adapter.forward(&Tile::new(&rows, 32, None), true).unwrap();
    check("adapter.mvfa.med", &made.tokens, &recorded["adapter.mvfa.med"]);
    check("adapter.mvfa.out", &made.stream.unwrap(), &recorded["adapter.mvfa.out"]);
}

#[test]
fn mvfa_makes_the_recorded_tokens_and_streams() {
    assert_eq!(walk("fwd_mvfa", || testing::fusion::<Mvfa>(&config("madff", ""))), 3);
}

#[test]
fn projectors_make_the_recorded_tokens_and_image_embedding() {
    let recorded = read(TOKENS_FILE);
    let component = || {
        let embedding = recorded["fwd_projector.embedding"].clone();
        testing::fusion::<Projector>(&config("projector", "")).input("image_embedding", embedding)
    };
    assert_eq!(walk("fwd_projector", component), 2);
    let stream = &recorded["fwd_projector.stream.0"];
    let ran = step(component(), stream, 2, [20, 20]).unwrap();
    let pooled = &recorded["fwd_projector.pooled"];
    check("pooled", ran.tensor("image_embedding").f32s().unwrap(), pooled);
}

fn keys() -> MadffKeys {
    MadffKeys {
        channel_gate: true,
        spatial_gate: true,
        frequency_gate: true,
        token_weights: [0.4, 0.2, 0.2, 0.2],
        stream_weights: [0.3, 0.2, 0.2, 0.3],
        reduction: 16,
    }
}

/// The adapter of head `seg` at the first tap, in the general form.
fn general() -> ReferenceAdapter {
    let state = read(MADFF_FILE);
    let of = |name: &str| -> Vec<f64> {
        let tensor = &state[&format!("seg_adapters.0.{name}")];
        tensor.f32s().unwrap().iter().map(|x| f64::from(*x)).collect()
    };
    let pair =
        |name: &str| [of(&format!("{name}.fc.0.weight")), of(&format!("{name}.fc.2.weight"))];
    ReferenceAdapter {
        down: of("fc1.0.weight"),
        up: of("fc2.0.weight"),
        channel: pair("channel_attention"),
        kernel: of("spatial_attention.conv.weight"),
        bias: of("spatial_attention.conv.bias")[0],
        frequency: pair("frequency_attention"),
    }
}

fn adapter() -> MadffAdapter {
    let weights = Weights::from_bytes("madff", MADFF_FILE).unwrap();
    let sizes = Drawn { width: 32, bottleneck: 24 };
    MadffAdapter::read(&weights, "seg_adapters.0", sizes, &keys()).unwrap()
}

#[test]
fn the_general_form_mixes_images_as_the_original() {
    let recorded = read(TOKENS_FILE);
    let x: Vec<f64> =
        recorded["adapter.B3.x"].f32s().unwrap().iter().map(|x| f64::from(*x)).collect();
    let made = general().forward(&x, [3, 32]);
    let [med, out] = made.map(|all| all.iter().map(|x| *x as f32).collect::<Vec<f32>>());
    check("adapter.B3.med", &med, &recorded["adapter.B3.med"]);
    check("adapter.B3.out", &out, &recorded["adapter.B3.out"]);
}

#[test]
fn the_form_for_one_image_is_the_general_one() {
    let recorded = read(TOKENS_FILE);
    let rows = first_images(&recorded["adapter.B3.x"]);
    let spectrum = Spectrum::new(32);
    let made = adapter().forward(&Tile::new(&rows, 32, Some(&spectrum)), true).unwrap();
    check("adapter.B1.med", &made.tokens, &recorded["adapter.B1.med"]);
    check("adapter.B1.out", &made.stream.unwrap(), &recorded["adapter.B1.out"]);
    let wide: Vec<f64> = rows.iter().map(|x| f64::from(*x)).collect();
    let [med, _] = general().forward(&wide, [1, 32]);
    let med: Vec<f32> = med.iter().map(|x| *x as f32).collect();
    check("the general form", &med, &recorded["adapter.B1.med"]);
}

/// A stream of no simple pattern `[b, t, c]`.
fn stream(batch: usize, n_tokens: usize, width: usize) -> Tensor {
    let value = |i: usize| ((i * i * 31 + i * 37 + 11) % 257) as f32 / 64.0 - 2.0;
    Tensor::new([batch, n_tokens, width], (0..batch * n_tokens * width).map(value)).unwrap()
}

#[test]
fn mixing_nothing_in_hands_the_stream_on_bit_by_bit() {
    let mut values = stream(1, 26, 32).into_f32s().unwrap();
    values[..3].copy_from_slice(&[-0.0, f32::MIN_POSITIVE / 4.0, -1e30]);
    let given = Tensor::new([1, 26, 32], values).unwrap();
    let bits = |tensor: &Tensor| -> Vec<u32> {
        tensor.f32s().unwrap().iter().map(|x| x.to_bits()).collect()
    };
    for component in [
        testing::fusion::<Madff>(&config("madff", "mix = [1.0, 0.0, 0.0]")),
        testing::fusion::<Mvfa>(&config("madff", "mix = [1.0, 0.0, 0.0]")),
    ] {
        let ran = step(component, &given, 4, [20, 20]).unwrap();
        assert_eq!(bits(ran.tensor("stream")), bits(&given));
    }
}

#[test]
fn auto_is_what_this_cpu_is_quick_with() {
    let run = |precision: &str| {
        let component = config("madff", &format!("precision = \"{precision}\""));
        let component = testing::fusion::<Madff>(&component);
        tokens(&step(component, &stream(1, 26, 32), 2, [20, 20]).unwrap(), "seg")
    };
    assert_eq!(run("auto"), run(Isa::best().unwrap().quick_precision().name()));
    assert_ne!(run("bf16"), run("f32"));
}

#[test]
fn every_gate_and_weight_of_the_ablation_has_its_effect() {
    let given = stream(1, 26, 32);
    let run = |more: &str| {
        let component = testing::fusion::<Madff>(&config("madff", more));
        let ran = step(component, &given, 2, [20, 20]).unwrap();
        (tokens(&ran, "seg"), ran.tensor("stream").f32s().unwrap().to_vec())
    };
    let whole = run("");
    for more in [
        "channel_gate = false",
        "spatial_gate = false",
        "frequency_gate = false",
        "token_weights = [1.0, 0.2, 0.2, 0.2]",
        "token_weights = [0.4, 0.0, 0.2, 0.2]",
        "token_weights = [0.4, 0.2, 0.0, 0.2]",
        "token_weights = [0.4, 0.2, 0.2, 0.0]",
    ] {
        let made = run(more);
        assert!(made.0 != whole.0 && made.1 != whole.1, "{more}");
    }
    for more in [
        "stream_weights = [0.0, 0.2, 0.2, 0.3]",
        "stream_weights = [0.3, 0.0, 0.2, 0.3]",
        "stream_weights = [0.3, 0.2, 0.0, 0.3]",
        "stream_weights = [0.3, 0.2, 0.2, 0.0]",
        "mix = [1.0, 0.1, 0.1]",
        "mix = [0.8, 0.0, 0.1]",
        "mix = [0.8, 0.1, 0.0]",
    ] {
        let made = run(more);
        assert!(made.0 == whole.0 && made.1 != whole.1, "{more}");
    }
    // Nothing but the plain rows: MVFA's adapter.
    let plain = "token_weights = [1.0, 0.0, 0.0, 0.0]\nstream_weights = [1.0, 0.0, 0.0, 0.0]";
    let mvfa = testing::fusion::<Mvfa>(&config("madff", ""));
    let mvfa = step(mvfa, &given, 2, [20, 20]).unwrap();
    assert_eq!(run(plain), (tokens(&mvfa, "seg"), mvfa.tensor("stream").f32s().unwrap().to_vec()));
    // Gates that are all off let the rows through.
    let off = "channel_gate = false\nspatial_gate = false\nfrequency_gate = false\n\
               token_weights = [0.0, 0.5, 0.25, 0.25]";
    assert!(error(&run(off).0, &tokens(&mvfa, "seg")) < 1e-6);
}

#[test]
fn a_head_that_is_not_there_makes_nothing_and_mixes_nothing() {
    let recorded = read(TOKENS_FILE);
    let given = &recorded["fwd.stream.1"];
    let one = testing::fusion::<Madff>(&config("madff", "heads = [\"det\"]\nmix = [0.9, 0.1]"));
    let ran = step(one, given, 4, [20, 20]).unwrap();
    check("det", &tokens(&ran, "det"), &recorded["fwd.det.1"]);
    assert!(ran.tensors("seg_tokens").is_empty() && ran.tensors("seg_prefix").is_empty());
}

#[test]
fn a_seed_draws_the_same_adapters_for_any_width() {
    let run = |seed: u64, width: usize| {
        let keys = format!("at = [6]\nseed = {seed}\nbottleneck = 24");
        let ran =
            step(testing::fusion::<Madff>(&keys), &stream(1, 26, width), 6, [20, 20]).unwrap();
        tokens(&ran, "seg")
    };
    assert_eq!(run(7, 32), run(7, 32));
    assert_ne!(run(7, 32), run(8, 32));
    assert!(run(7, 45).iter().all(|x| x.is_finite()));
}

#[test]
fn large_images_are_cut_into_tiles_that_change_no_bit_of_a_neighbour() {
    // 17 x 17 patches and CLS: four tiles an image.
    let (two, config) = (stream(2, 290, 32), config("madff", ""));
    let both = step(testing::fusion::<Madff>(&config), &two, 8, [238, 238]).unwrap();
    let second = two.f32s().unwrap()[290 * 32..].to_vec();
    let second = Tensor::new([1, 290, 32], second).unwrap();
    let alone = step(testing::fusion::<Madff>(&config), &second, 8, [238, 238]).unwrap();
    assert_eq!(both.tensor("seg_tokens").dims(), [2, 17, 17, 24]);
    for port in ["seg_tokens", "det_prefix", "stream"] {
        let (both, alone) = (both.tensor(port).f32s().unwrap(), alone.tensor(port).f32s().unwrap());
        assert_eq!(both[alone.len()..], *alone, "{port}");
    }
}

#[test]
fn the_components_go_back_as_finite_differences() {
    let drawn = "at = [6, 12]\nseed = 1\nbottleneck = 5\nn_prefix = 1";
    testing::training::<Madff>(&format!("{drawn}\nreduction = 2"), 12);
    testing::training::<Mvfa>(&format!("{drawn}\nmix = [0.5, 0.3, -0.4]"), 7);
    testing::training::<Projector>(drawn, 7);
}

#[test]
fn the_components_conform() {
    let at = |subject: Subject| {
        let image = Tensor::new([2, 3, 20, 20], vec![0.5; 2 * 3 * 400]).unwrap();
        let stream = stream(2, 26, 32).with_label(Label::tap(6));
        subject.inputs("stream", vec![stream]).input("image", image)
    };
    at(testing::fusion::<Madff>(&config("madff", ""))).check();
    at(testing::fusion::<Mvfa>(&config("madff", ""))).check();
    let embedding = Tensor::new([2, 24], vec![0.25; 48]).unwrap();
    at(testing::fusion::<Projector>(&config("projector", "")))
        .input("image_embedding", embedding)
        .check();
}
