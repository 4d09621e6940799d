//! The backward pass between taps against finite differences of a forward pass in f64, which is
//! written here from the blocks' formulas and shares nothing with the crate but the weights.

mod common;

use candle_core::{Device, Tensor};
use common::values;
use loupe_clip::weights::Weights;
use loupe_clip::{Activation, Clip, Gem, ModelConfig, Result, Session, Wanted};

const WIDTH: usize = 16;
const N_HEADS: usize = 2;
/// CLS and 2 x 3 patches.
const N_TOKENS: usize = 7;
const TAPS: [usize; 3] = [1, 3, 4];
/// Largest difference over the root mean square of the exact gradient.
const TOLERANCE: f64 = 1e-5;

/// Weights large enough that attention and activation leave their linear parts.
struct Noise;

impl Weights for Noise {
    fn take(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
        let step = |seed: u64, byte: u8| seed.wrapping_mul(31).wrapping_add(u64::from(byte));
        let seed = name.bytes().fold(7, step);
        let around = if name.contains("ln_") && name.ends_with("weight") { 1.0 } else { 0.0 };
        let gain = if name.contains("in_proj_weight") { 0.6 } else { 0.3 };
        Ok(noise(shape.iter().product(), seed).iter().map(|x| around + gain * x).collect())
    }

    fn has_text(&self) -> bool {
        false
    }
}

/// Values between -1.7 and 1.7 of variance 1.
fn noise(n: usize, seed: u64) -> Vec<f32> {
    let mut state = seed;
    let mut next = || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((state >> 40) as f32 / (1_u32 << 24) as f32 - 0.5) * 12.0_f32.sqrt()
    };
    (0..n).map(|_| next()).collect()
}

fn clip(activation: Activation) -> Clip {
    let json = r#"{"embed_dim": 8,
        "vision_cfg": {"image_size": 8, "patch_size": 4, "layers": 4, "width": 16,
                       "head_width": 8, "mlp_ratio": 2.0},
        "text_cfg": {"width": 8, "heads": 2, "layers": 1}}"#;
    let config = ModelConfig { activation, ..ModelConfig::from_json("small", json).unwrap() };
    Clip::new(config, &Noise).unwrap()
}

fn tensor(values: &[f32], n_images: usize) -> Tensor {
    Tensor::from_slice(values, (n_images, N_TOKENS, WIDTH), &Device::Cpu).unwrap()
}

/// A stream of unequal tokens.
fn stream(n_images: usize, seed: u64) -> Tensor {
    tensor(&noise(n_images * N_TOKENS * WIDTH, seed), n_images)
}

fn open(clip: &Clip, given: &Tensor, gem: Option<Gem>, train: bool) -> Session {
    let [first, rest @ ..] = &TAPS;
    clip.open_at(*first, (2, 3), given, rest.to_vec(), gem, train).unwrap()
}

// ---- the forward pass in f64 ----

fn take(block: usize, part: &str, shape: &[usize]) -> Vec<f64> {
    let name = format!("visual.transformer.resblocks.{block}.{part}");
    Noise.take(&name, shape).unwrap().iter().map(|x| f64::from(*x)).collect()
}

/// `[n, n_in]` -> `[n, n_out]`
fn linear(
    x: &[f64],
    block: usize,
    [weight, bias]: [&str; 2],
    [n_in, n_out]: [usize; 2],
) -> Vec<f64> {
    let (weight, bias) = (take(block, weight, &[n_out, n_in]), take(block, bias, &[n_out]));
    let line = |row: &[f64]| -> Vec<f64> {
        let dot = |w: &[f64]| w.iter().zip(row).map(|(w, x)| w * x).sum::<f64>();
        weight.chunks(n_in).zip(&bias).map(|(w, bias)| dot(w) + bias).collect()
    };
    x.chunks(n_in).flat_map(line).collect()
}

fn layer_norm(x: &[f64], block: usize, name: &str) -> Vec<f64> {
    let part = |part: &str| take(block, &format!("{name}.{part}"), &[WIDTH]);
    let (weight, bias) = (part("weight"), part("bias"));
    let line = |row: &[f64]| -> Vec<f64> {
        let mean = row.iter().sum::<f64>() / WIDTH as f64;
        let variance = row.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / WIDTH as f64;
        let scale = 1.0 / (variance + 1e-5).sqrt();
        let normed = row.iter().zip(weight.iter().zip(&bias));
        normed.map(|(x, (w, b))| (x - mean) * scale * w + b).collect()
    };
    x.chunks(WIDTH).flat_map(line).collect()
}

fn attention(qkv: &[f64]) -> Vec<f64> {
    let d = WIDTH / N_HEADS;
    let part = |token: usize, part: usize, head: usize| {
        &qkv[token * 3 * WIDTH + part * WIDTH + head * d..][..d]
    };
    let mut out = vec![0.0; N_TOKENS * WIDTH];
    for head in 0..N_HEADS {
        for i in 0..N_TOKENS {
            let dot = |j: usize| -> f64 {
                part(i, 0, head).iter().zip(part(j, 1, head)).map(|(q, k)| q * k).sum()
            };
            let weights: Vec<f64> =
                (0..N_TOKENS).map(|j| (dot(j) / (d as f64).sqrt()).exp()).collect();
            let sum: f64 = weights.iter().sum();
            for (j, weight) in weights.iter().enumerate() {
                for (c, v) in part(j, 2, head).iter().enumerate() {
                    out[i * WIDTH + head * d + c] += weight / sum * v;
                }
            }
        }
    }
    out
}

fn activated(x: f64, activation: Activation) -> f64 {
    match activation {
        Activation::Gelu => 0.5 * x * candle_core::cpu::erf::erfc_f64(-x / 2.0_f64.sqrt()),
        Activation::QuickGelu => x / (1.0 + (-1.702 * x).exp()),
        Activation::GeluTanh => {
            let inner = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044_715 * x.powi(3));
            0.5 * x * (1.0 + inner.tanh())
        }
    }
}

/// Blocks `from..to` over one image's stream.
fn exact(x: &[f64], [from, to]: [usize; 2], activation: Activation) -> Vec<f64> {
    let add =
        |a: Vec<f64>, b: &[f64]| -> Vec<f64> { a.iter().zip(b).map(|(a, b)| a + b).collect() };
    let mut x = x.to_vec();
    for block in from..to {
        let names = ["attn.in_proj_weight", "attn.in_proj_bias"];
        let qkv = linear(&layer_norm(&x, block, "ln_1"), block, names, [WIDTH, 3 * WIDTH]);
        let names = ["attn.out_proj.weight", "attn.out_proj.bias"];
        x = add(linear(&attention(&qkv), block, names, [WIDTH, WIDTH]), &x);
        let names = ["mlp.c_fc.weight", "mlp.c_fc.bias"];
        let inner = linear(&layer_norm(&x, block, "ln_2"), block, names, [WIDTH, 2 * WIDTH]);
        let hidden: Vec<f64> = inner.iter().map(|x| activated(*x, activation)).collect();
        let names = ["mlp.c_proj.weight", "mlp.c_proj.bias"];
        x = add(linear(&hidden, block, names, [2 * WIDTH, WIDTH]), &x);
    }
    x
}

/// The gradient of `sum(cotangent * exact(x))`, by central differences.
fn slope(x: &[f32], cotangent: &[f32], blocks: [usize; 2], activation: Activation) -> Vec<f64> {
    const STEP: f64 = 1e-5;
    let wide: Vec<f64> = x.iter().map(|x| f64::from(*x)).collect();
    let at = |index: usize, step: f64| -> f64 {
        let mut moved = wide.clone();
        moved[index] += step;
        let made = exact(&moved, blocks, activation);
        made.iter().zip(cotangent).map(|(y, c)| y * f64::from(*c)).sum()
    };
    (0..x.len()).map(|i| (at(i, STEP) - at(i, -STEP)) / (2.0 * STEP)).collect()
}

fn assert_near(stage: &str, got: &[f32], want: &[f64]) {
    assert_eq!(got.len(), want.len());
    let rms = (want.iter().map(|x| x * x).sum::<f64>() / want.len() as f64).sqrt();
    let difference = got.iter().zip(want).map(|(a, b)| (f64::from(*a) - b).abs());
    let error = difference.fold(0.0, f64::max) / rms;
    assert!(error < TOLERANCE, "{stage}: {error:.1e}");
}

#[test]
fn gradients_equal_finite_differences_for_every_activation() {
    for activation in [Activation::Gelu, Activation::GeluTanh, Activation::QuickGelu] {
        let clip = clip(activation);
        let given = stream(2, 1);
        let mut session = open(&clip, &given, None, true);
        let behind = clip.resume(&mut session, &given).unwrap();
        // What the next segment takes is not what this one gave, as with adapters between.
        let rewritten = stream(2, 2);
        clip.resume(&mut session, &rewritten).unwrap();
        let cotangent = stream(2, 3);
        for (segment, x, blocks) in [(1, &rewritten, [3, 4]), (0, &given, [1, 3])] {
            let got = clip.backward(&mut session, segment, &cotangent).unwrap();
            assert_eq!(got.dims(), given.dims());
            let image = N_TOKENS * WIDTH;
            let (got, x, c) = (values(&got), values(x), values(&cotangent));
            for ((got, x), c) in got.chunks(image).zip(x.chunks(image)).zip(c.chunks(image)) {
                let want = slope(x, c, blocks, activation);
                assert_near(&format!("{activation:?}, segment {segment}"), got, &want);
            }
        }
        assert_near("the forward pass", &values(&behind)[..N_TOKENS * WIDTH], &{
            let wide: Vec<f64> =
                values(&given)[..N_TOKENS * WIDTH].iter().map(|x| f64::from(*x)).collect();
            exact(&wide, [1, 3], activation)
        });
    }
}

/// GEM's stream walks beside and gets no cotangent; the trunk's bytes are those of a plain pass.
#[test]
fn keeping_and_gem_change_no_byte_of_the_trunk() {
    let clip = clip(Activation::Gelu);
    let (given, cotangent) = (stream(2, 4), stream(2, 5));
    let gem = Some(Gem { n_blocks: 3, ..Gem::default() });
    let wanted = Wanted { image_embedding: true, patch_tokens: true, ..Wanted::default() };
    let run = |gem: Option<Gem>, train: bool| {
        let mut session = open(&clip, &given, gem, train);
        let at_3 = clip.resume(&mut session, &given).unwrap();
        let at_4 = clip.resume(&mut session, &at_3).unwrap();
        let back = train.then(|| values(&clip.backward(&mut session, 0, &cotangent).unwrap()));
        let wanted = Wanted { gem_patch_tokens: gem.is_some(), ..wanted };
        let (outputs, of_gem) = clip.finish(session, &at_4, wanted).unwrap();
        let tokens = [outputs.patch_tokens, of_gem.patch_tokens].map(|t| t.map(|t| values(&t)));
        (values(&at_3), values(&at_4), tokens, back)
    };
    let (plain, trained) = (run(None, false), run(None, true));
    assert_eq!((&plain.0, &plain.1, &plain.2), (&trained.0, &trained.1, &trained.2));
    let (plain, with_gem) = (run(gem, false), run(gem, true));
    assert_eq!((&plain.0, &plain.1, &plain.2), (&with_gem.0, &with_gem.1, &with_gem.2));
    assert!(trained.3.is_some() && trained.3 == with_gem.3);
}

/// The first segment is what the first `resume` runs, also where the pass began with images.
#[test]
fn a_pass_from_images_keeps_what_lies_between_taps_only() {
    let clip = clip(Activation::Gelu);
    let pixels = noise(2 * 3 * 8 * 12, 6);
    let images = Tensor::from_vec(pixels, (2, 3, 8, 12), &Device::Cpu).unwrap();
    let (mut session, at_1) = clip.open(&images, TAPS.to_vec(), None, true).unwrap();
    clip.resume(&mut session, &at_1).unwrap();
    let cotangent = stream(2, 7);
    let got = clip.backward(&mut session, 0, &cotangent).unwrap();
    let image = N_TOKENS * WIDTH;
    let (x, c) = (values(&at_1), values(&cotangent));
    let want = slope(&x[image..], &c[image..], [1, 3], Activation::Gelu);
    assert_near("the second image", &values(&got)[image..], &want);
}

#[test]
fn what_cannot_be_walked_back_is_said() {
    let clip = clip(Activation::Gelu);
    let given = stream(1, 8);
    let mut session = open(&clip, &given, None, true);
    let said = |session: &mut Session, segment: usize, cotangent: &Tensor| {
        clip.backward(session, segment, cotangent).unwrap_err().to_string()
    };
    assert!(said(&mut session, 0, &given).contains("segment 0 was not run: 0 were"));
    clip.resume(&mut session, &given).unwrap();
    assert!(said(&mut session, 1, &given).contains("segment 1 was not run: 1 were"));
    let short = given.narrow(1, 0, 3).unwrap();
    assert!(said(&mut session, 0, &short).contains("wants [1, 7, 16], but got [1, 3, 16]"));
    assert!(clip.backward(&mut session, 0, &given).is_ok());
    assert!(said(&mut session, 0, &given).contains("segment 0 was walked back already"));
    let mut plain = open(&clip, &given, None, false);
    clip.resume(&mut plain, &given).unwrap();
    assert!(said(&mut plain, 0, &given).contains("opened without `train`"));
    let none = given.narrow(0, 0, 0).unwrap();
    let mut empty = open(&clip, &none, None, true);
    clip.resume(&mut empty, &none).unwrap();
    assert_eq!(clip.backward(&mut empty, 0, &none).unwrap().dims(), [0, 7, 16]);
}
