//! The parameters of the network: their names and shapes, as PyTorch keeps such layers, drawn from a
//! seed or read from a safetensors file.

use std::collections::BTreeMap;

use loupe_plugin::prelude::*;
use safetensors::{Dtype, SafeTensors};

/// Channels inside the network.
pub(super) const INNER: usize = 64;
/// Most experts or categories, and widest vectors, that a file may ask for.
const MOST: [usize; 3] = [256, 1024, 16_384];

/// What of the network is a choice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sizes {
    pub(super) experts: usize,
    pub(super) categories: usize,
    /// Width of the vector that comes out, that of the tokens.
    pub(super) width: usize,
}

/// How a parameter starts.
#[derive(Clone, Copy)]
enum Start {
    /// Uniform within 1 / sqrt(this) of 0, as PyTorch draws linear layers and convolutions.
    FanIn(usize),
    Zero,
    One,
}

#[derive(Clone, Debug)]
pub(super) struct Weights {
    pub(super) sizes: Sizes,
    pub(super) arrays: BTreeMap<String, (Vec<usize>, Vec<f32>)>,
}

impl Weights {
    /// Each array is drawn by SplitMix64 from the seed and its own name, so that a file of a draw can
    /// be made without this program and a width more or less changes no other array.
    pub(super) fn drawn(seed: u64, sizes: Sizes) -> Self {
        let mut arrays = BTreeMap::new();
        for (name, shape, start) in layout(sizes) {
            let n = shape.iter().product();
            let values = match start {
                Start::Zero => vec![0.0; n],
                Start::One => vec![1.0; n],
                Start::FanIn(fan_in) => uniform(seed, &name, 1.0 / (fan_in as f64).sqrt(), n),
            };
            arrays.insert(name, (shape, values));
        }
        Weights { sizes, arrays }
    }

    /// Errors: no safetensors file, an array that is missing, unknown, of another shape or type, or not
    /// finite; more experts, categories or width than any network has.
    pub(super) fn read(bytes: &[u8], file: &str) -> Result<Self> {
        let bad = |what: String| Error::input(format!("the weights `{file}`: {what}"));
        let file = SafeTensors::deserialize(bytes)
            .map_err(|error| bad(format!("no safetensors file: {error}")))?;
        let rows = |name: &str, most: usize| match file
            .tensor(name)
            .map(|array| array.shape()[..].first().copied())
        {
            Ok(Some(n)) if (1..=most).contains(&n) => Ok(n),
            Ok(got) => {
                Err(bad(format!("`{name}` wants 1 to {most} rows, got {}", got.unwrap_or(0))))
            }
            Err(_) => Err(bad(format!("there is no array `{name}`"))),
        };
        let sizes = Sizes {
            experts: rows("mixture.gate.weight", MOST[0])?,
            categories: rows("category.gate.weight", MOST[1])?,
            width: rows("project.weight", MOST[2])?,
        };
        let mut arrays = BTreeMap::new();
        for (name, shape, _) in layout(sizes) {
            let array =
                file.tensor(&name).map_err(|_| bad(format!("there is no array `{name}`")))?;
            if array.shape() != shape || array.dtype() != Dtype::F32 {
                let got = format!("{:?} of {:?}", array.dtype(), array.shape());
                return Err(bad(format!("`{name}` wants F32 of {shape:?}, got {got}")));
            }
            let (values, _) = array.data().as_chunks::<4>();
            let values: Vec<f32> = values.iter().map(|value| f32::from_le_bytes(*value)).collect();
            if values.iter().any(|value| !value.is_finite()) {
                return Err(bad(format!("`{name}` holds a value that is not finite")));
            }
            if name.ends_with("running_var") && values.iter().any(|value| *value < 0.0) {
                return Err(bad(format!("`{name}` holds a negative variance")));
            }
            arrays.insert(name, (shape, values));
        }
        if let Some(unknown) = file.names().iter().find(|name| !arrays.contains_key(**name)) {
            return Err(bad(format!("nothing reads the array `{unknown}`")));
        }
        Ok(Weights { sizes, arrays })
    }

    /// The values of an array of the layout. Errors: a name that is not in it.
    pub(super) fn get(&self, name: &str) -> Result<&[f32]> {
        let found = self.arrays.get(name).map(|(_, values)| values.as_slice());
        found.ok_or_else(|| Error::failed(format!("the network has no array `{name}`")))
    }
}

/// Names, shapes and starts of all arrays. Linear: `[out, in]`; convolution: `[out, in, k, k]`.
fn layout(sizes: Sizes) -> Vec<(String, Vec<usize>, Start)> {
    let mut all = Vec::new();
    let mut layer = |name: String, shape: &[usize], bias: bool| {
        let fan_in = shape.iter().skip(1).product();
        if bias {
            all.push((format!("{name}.bias"), shape[..1].to_vec(), Start::FanIn(fan_in)));
        }
        all.push((format!("{name}.weight"), shape.to_vec(), Start::FanIn(fan_in)));
    };
    layer("conv_in".to_owned(), &[INNER, 3, 3, 3], true);
    layer("local.0".to_owned(), &[INNER / 2, INNER, 3, 3], true);
    layer("local.1".to_owned(), &[INNER, INNER / 2, 3, 3], true);
    layer("spatial.0".to_owned(), &[16, 2, 3, 3], false);
    layer("spatial.1".to_owned(), &[1, 16, 3, 3], false);
    let mut narrow = |name: String, inner: usize| {
        layer(format!("{name}.0"), &[inner, INNER], true);
        layer(format!("{name}.1"), &[INNER, inner], true);
    };
    narrow("channel.mean".to_owned(), 4);
    narrow("channel.max".to_owned(), 4);
    (0..sizes.experts).for_each(|i| narrow(format!("mixture.{i}.squeeze"), 4));
    (0..sizes.categories).for_each(|i| narrow(format!("category.{i}.value"), INNER / 2));
    let mut norms = vec![("conv_in".to_owned(), INNER), ("spatial.0".to_owned(), 16)];
    norms.push(("spatial.1".to_owned(), 1));
    for i in 0..sizes.experts {
        for (branch, side) in [("point", 0), ("near", 3), ("far", 5)] {
            layer(format!("mixture.{i}.{branch}"), &[4 * INNER, INNER], true);
            norms.push((format!("mixture.{i}.{branch}"), 4 * INNER));
            if side > 0 {
                layer(format!("mixture.{i}.{branch}.depth"), &[INNER, 1, side, side], true);
            }
        }
        layer(format!("mixture.{i}.out"), &[INNER, 12 * INNER], true);
        norms.push((format!("mixture.{i}.out"), INNER));
    }
    (0..sizes.categories).for_each(|i| layer(format!("category.{i}.mix"), &[INNER, INNER], true));
    layer("mixture.gate".to_owned(), &[sizes.experts, INNER], true);
    layer("category.gate".to_owned(), &[sizes.categories, INNER], true);
    layer("project".to_owned(), &[sizes.width, 16 * INNER], true);
    for (name, n) in norms {
        all.push((format!("{name}.norm.weight"), vec![n], Start::One));
        all.push((format!("{name}.norm.bias"), vec![n], Start::Zero));
        all.push((format!("{name}.norm.running_mean"), vec![n], Start::Zero));
        all.push((format!("{name}.norm.running_var"), vec![n], Start::One));
    }
    all.push(("project.norm.weight".to_owned(), vec![sizes.width], Start::One));
    all.push(("project.norm.bias".to_owned(), vec![sizes.width], Start::Zero));
    all
}

fn uniform(seed: u64, name: &str, bound: f64, n: usize) -> Vec<f32> {
    // FNV-1a of the name keeps the arrays apart.
    let apart = name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let mut random = Random::new(seed, apart);
    (0..n).map(|_| ((2.0 * random.unit() - 1.0) * bound) as f32).collect()
}

/// SplitMix64, whose state is a counter. Source: Steele et al., OOPSLA 2014.
pub(super) struct Random {
    counter: u64,
}

impl Random {
    pub(super) fn new(seed: u64, apart: u64) -> Self {
        Random { counter: mix(seed) ^ apart }
    }

    /// Uniform in 0..1, in steps of 2^-24.
    pub(super) fn unit(&mut self) -> f64 {
        self.counter = self.counter.wrapping_add(0x9e37_79b9_7f4a_7c15);
        (mix(self.counter) >> 40) as f64 / 16_777_216.0
    }

    /// Normal with mean 0 and variance 1. Source: Box and Muller, 1958.
    pub(super) fn normal(&mut self) -> f64 {
        let (u, v) = (1.0 - self.unit(), self.unit());
        (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()
    }
}

fn mix(x: u64) -> u64 {
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}
