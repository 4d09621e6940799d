//! Every instruction set against the definition in f64.

mod definition;
mod kept;

use definition::{block, dense};

use super::*;
use crate::gelu::Activation;
use crate::golden::noise;
use crate::parallel::serial;
use crate::parallel::tests::backwards_on_two_threads;

const ONE: Team = Team { par: &serial, n_threads: 1 };

/// Parameters of one block, as in files.
struct Parameters {
    shape: BlockShape,
    ln_1: [Vec<f32>; 2],
    qkv: [Vec<f32>; 2],
    out: [Vec<f32>; 2],
    ln_2: [Vec<f32>; 2],
    fc: [Vec<f32>; 2],
    proj: [Vec<f32>; 2],
}

impl Parameters {
    fn new(shape: BlockShape, seed: u64) -> Self {
        let BlockShape { width: c, mlp_width: h, .. } = shape;
        let scaled = |n: usize, seed, by: f32| {
            noise(n, seed).into_iter().map(|value| value * by).collect::<Vec<_>>()
        };
        let linear = |n_out: usize, n_in: usize, seed| {
            [scaled(n_out * n_in, seed, (3.0 / n_in as f32).sqrt()), scaled(n_out, seed + 1, 0.1)]
        };
        let norm = |seed| {
            let weight = scaled(c, seed, 0.3).into_iter().map(|value| 1.0 + value).collect();
            [weight, scaled(c, seed + 1, 0.2)]
        };
        Parameters {
            shape,
            ln_1: norm(seed + 10),
            qkv: linear(3 * c, c, seed + 20),
            out: linear(c, c, seed + 30),
            ln_2: norm(seed + 40),
            fc: linear(h, c, seed + 50),
            proj: linear(c, h, seed + 60),
        }
    }

    fn weights(&self) -> BlockWeights<'_> {
        BlockWeights {
            ln_1: lend(&self.ln_1),
            qkv: lend(&self.qkv),
            out: lend(&self.out),
            ln_2: lend(&self.ln_2),
            fc: lend(&self.fc),
            proj: lend(&self.proj),
        }
    }
}

fn lend(parts: &[Vec<f32>; 2]) -> [&[f32]; 2] {
    [&parts[0], &parts[1]]
}

fn shape(width: usize, n_heads: usize, mlp_width: usize) -> BlockShape {
    BlockShape { width, n_heads, mlp_width, activation: Activation::Gelu, causal: false }
}

/// The tower of these blocks on every set of instructions that this machine has.
fn towers(parts: &[Parameters], precision: Precision) -> Vec<(Isa, Box<dyn Blocks>)> {
    let all = Isa::ALL.into_iter().filter(|isa| *isa <= Isa::of_this_machine());
    all.map(|isa| {
        let mut tower = blocks(parts[0].shape, isa, precision);
        for part in parts {
            tower.push(&part.weights(), ONE).unwrap();
        }
        (isa, tower)
    })
    .collect()
}

/// The largest error, relative to the root mean square of what is wanted.
fn error(got: &[f32], want: &[f64]) -> f64 {
    assert_eq!(got.len(), want.len());
    let rms = (want.iter().map(|v| v * v).sum::<f64>() / want.len() as f64).sqrt();
    let errors = got.iter().zip(want).map(|(got, want)| (f64::from(*got) - want).abs());
    errors.fold(0.0, |worst: f64, error| if error > worst { error } else { worst }) / rms
}

/// f32 sums of a few hundred terms, and operands of 8 bits.
const TOLERANCE: [(Precision, f64); 3] =
    [(Precision::F32, 2e-5), (Precision::Bf16, 0.06), (Precision::Int8, 0.08)];

fn check(shape: BlockShape, batch: usize, n: usize) {
    let parts = [Parameters::new(shape, 1), Parameters::new(shape, 1000)];
    check_blocks(&parts, batch, n, TOLERANCE);
}

fn check_blocks(
    parts: &[Parameters],
    batch: usize,
    n: usize,
    tolerances: impl IntoIterator<Item = (Precision, f64)>,
) {
    let shape = parts[0].shape;
    let x = noise(batch * n * shape.width, 7);
    let mut want = Vec::new();
    for image in x.chunks_exact(n * shape.width) {
        let image: Vec<f64> = image.iter().map(|value| f64::from(*value)).collect();
        want.extend(parts.iter().fold(image, |x, part| block(&x, part, 0, None).0));
    }
    for (precision, tolerance) in tolerances {
        for (isa, tower) in towers(parts, precision) {
            let mut got = x.clone();
            tower.run(0..parts.len(), &mut got, batch, None, ONE).unwrap();
            let error = error(&got, &want);
            assert!(error < tolerance, "{isa:?} {precision:?} {shape:?} {n} tokens: {error:e}");
        }
    }
}

#[test]
fn every_instruction_set_agrees_with_the_definition() {
    check(shape(64, 2, 128), 1, 17);
    check(shape(64, 1, 96), 3, 5);
    check(shape(48, 2, 100), 2, 1);
    check(shape(72, 3, 40), 1, 33);
    check(shape(160, 2, 64), 1, 300);
    check(shape(20, 4, 8), 2, 2);
}

#[test]
fn a_causal_token_sees_what_stands_before_it() {
    check(BlockShape { causal: true, ..shape(64, 2, 128) }, 2, 9);
    check(BlockShape { causal: true, ..shape(32, 1, 32) }, 1, 77);
    check(BlockShape { causal: true, ..shape(32, 1, 32) }, 1, 290);
}

#[test]
fn blocks_of_long_rows_add_up() {
    check(shape(32, 1, 2200), 1, 40);
}

/// Grids of the published sizes: 240, 336, 448 and 896 pixels.
#[test]
fn images_of_many_tokens_agree_with_the_definition() {
    for n in [226, 577, 785, 3137] {
        check_blocks(&[Parameters::new(shape(32, 2, 32), 1)], 1, n, TOLERANCE);
    }
}

/// Scores that differ by hundreds, so that later keys outdo what was summed before.
#[test]
fn sums_are_rescaled_where_the_maximum_grows() {
    let mut part = Parameters::new(shape(32, 1, 32), 23);
    part.qkv[0].iter_mut().for_each(|weight| *weight *= 12.0);
    check_blocks(&[part], 1, 700, [(Precision::F32, 1e-3)]);
}

#[test]
fn a_layer_agrees_with_the_definition() {
    let (m, n_in, n_out) = (37, 75, 45);
    let (x, weight, bias) = (noise(m * n_in, 1), noise(n_out * n_in, 2), noise(n_out, 3));
    let wide: Vec<f64> = x.iter().map(|value| f64::from(*value)).collect();
    let want = dense(&wide, &[weight.clone(), bias.clone()]);
    for (precision, tolerance) in TOLERANCE {
        for isa in Isa::ALL.into_iter().filter(|isa| *isa <= Isa::of_this_machine()) {
            let layer = layer([&weight, &bias], n_in, isa, precision, ONE).unwrap();
            let mut got = vec![f32::NAN; m * n_out];
            layer.apply(&x, &mut got, ONE).unwrap();
            let error = error(&got, &want);
            assert!(error < tolerance, "{isa:?} {precision:?}: {error:e}");
            let mut alone = vec![0.0; n_out];
            layer.apply(&x[5 * n_in..6 * n_in], &mut alone, ONE).unwrap();
            assert_eq!(alone, got[5 * n_out..6 * n_out], "{isa:?} {precision:?}");
        }
    }
    let said = layer([&weight, &bias], n_in + 1, Isa::Portable, Precision::F32, ONE);
    let said = said.err().unwrap().to_string();
    assert!(said.contains("`weight` of 3420 values, got 3375"), "{said}");
}

#[test]
fn gems_stream_agrees_with_the_definition() {
    for n_iterations in [0, 1, 2] {
        check_gem(shape(96, 3, 64), 290, None, n_iterations, TOLERANCE);
    }
}

#[test]
fn gems_stream_of_many_tokens_agrees_with_the_definition() {
    for n in [1, 17, 226, 577, 785, 3137] {
        check_gem(shape(32, 1, 32), n, None, 1, TOLERANCE);
    }
}

/// Tokens in blocks where a block weighs next to nothing, and factors where only a token itself counts.
#[test]
fn gems_stream_agrees_at_every_temperature() {
    for temperature in [1.0, 50.0, 500.0] {
        check_gem(shape(96, 3, 64), 290, Some(temperature), 1, [(Precision::F32, 2e-4)]);
    }
}

fn check_gem(
    shape: BlockShape,
    n: usize,
    temperature: Option<f32>,
    n_iterations: usize,
    tolerances: impl IntoIterator<Item = (Precision, f64)>,
) {
    let parts = [Parameters::new(shape, 3)];
    let batch = if n > 1000 { 1 } else { 2 };
    let x = noise(batch * n * shape.width, 9);
    let mut want = Vec::new();
    for image in x.chunks_exact(n * shape.width) {
        let image: Vec<f64> = image.iter().map(|value| f64::from(*value)).collect();
        want.extend(block(&image, &parts[0], n_iterations, temperature).1);
    }
    for (precision, tolerance) in tolerances {
        for (isa, tower) in towers(&parts, precision) {
            let (mut tokens, mut stream) = (x.clone(), vec![0.0; x.len()]);
            let alike = AlikePass { stream: &mut stream, temperature, n_iterations };
            tower.run(0..1, &mut tokens, batch, Some(alike), ONE).unwrap();
            let error = error(&stream, &want);
            assert!(error < tolerance, "{isa:?} {precision:?} {n_iterations} {n}: {error:e}");
        }
    }
}

#[test]
fn neither_threads_nor_neighbours_change_a_byte() {
    let shape = shape(64, 2, 128);
    let parts = [Parameters::new(shape, 5)];
    let n = 577;
    let x = noise(2 * n * shape.width, 11);
    for precision in [Precision::F32, Precision::Bf16, Precision::Int8] {
        for (isa, tower) in towers(&parts, precision) {
            // Tokens and GEM's stream, image by image.
            let run = |x: &[f32], batch, team| {
                let (mut x, mut stream) = (x.to_vec(), vec![0.0; x.len()]);
                let temperature = None;
                let alike = AlikePass { stream: &mut stream, temperature, n_iterations: 1 };
                tower.run(0..1, &mut x, batch, Some(alike), team).unwrap();
                let images = x.chunks(n * shape.width).zip(stream.chunks(n * shape.width));
                images.map(|image| <[_; 2]>::from(image).concat()).collect::<Vec<_>>()
            };
            let one = run(&x, 2, ONE);
            for n_threads in [1, 2, 4] {
                let team = Team { par: &backwards_on_two_threads, n_threads };
                assert_eq!(one, run(&x, 2, team), "{isa:?}, cut for {n_threads} threads");
            }
            let (first, second) = x.split_at(n * shape.width);
            assert_eq!(one, [run(first, 1, ONE), run(second, 1, ONE)].concat(), "{isa:?}");
        }
    }
}

/// Channels a thousand times larger than the rest, as trained models have them.
#[test]
fn outlier_channels_do_not_spoil_the_others() {
    let shape = shape(64, 2, 128);
    let parts = [Parameters::new(shape, 13)];
    let mut x = noise(20 * shape.width, 15);
    x.chunks_exact_mut(shape.width).for_each(|row| row[5] += 1e3);
    let wide: Vec<f64> = x.iter().map(|value| f64::from(*value)).collect();
    let want = block(&wide, &parts[0], 0, None).0;
    let small = |values: &[f64]| -> Vec<f64> {
        values.iter().enumerate().filter(|(i, _)| i % shape.width != 5).map(|(_, v)| *v).collect()
    };
    for (precision, tolerance) in TOLERANCE {
        for (isa, tower) in towers(&parts, precision) {
            let mut got = x.clone();
            tower.run(0..1, &mut got, 1, None, ONE).unwrap();
            let wide: Vec<f64> = got.iter().map(|value| f64::from(*value)).collect();
            let got: Vec<f32> = small(&wide).into_iter().map(|value| value as f32).collect();
            let error = error(&got, &small(&want));
            assert!(error < 2.0 * tolerance, "{isa:?} {precision:?}: {error:e}");
        }
    }
}

#[test]
fn nan_stays_in_its_image() {
    let shape = shape(64, 2, 128);
    let parts = [Parameters::new(shape, 17)];
    let mut x = noise(2 * 9 * shape.width, 19);
    x[3] = f32::NAN;
    for precision in [Precision::F32, Precision::Bf16] {
        for (isa, tower) in towers(&parts, precision) {
            let mut got = x.clone();
            tower.run(0..1, &mut got, 2, None, ONE).unwrap();
            let (first, second) = got.split_at(9 * shape.width);
            assert!(first.iter().all(|value| value.is_nan()), "{isa:?} {precision:?}");
            assert!(second.iter().all(|value| value.is_finite()), "{isa:?} {precision:?}");
        }
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let shape = shape(64, 2, 128);
    let mut part = Parameters::new(shape, 21);
    let mut tower = blocks(shape, Isa::Portable, Precision::F32);
    tower.push(&part.weights(), ONE).unwrap();
    let said = tower.run(0..1, &mut [0.0; 65], 1, None, ONE).unwrap_err().to_string();
    assert!(said.contains("`tokens` of 64 values, got 65"), "{said}");
    part.fc[0].pop();
    let said = tower.push(&part.weights(), ONE).unwrap_err().to_string();
    assert!(said.contains("`fc` of 8192 values, got 8191"), "{said}");
    assert_eq!(tower.len(), 1);
    tower.run(0..1, &mut [], 0, None, ONE).unwrap();
}
