//! Inputs for ports whose author gave none: small, of odd sizes, the same every time.

use std::collections::BTreeMap;

use crate::abi;
use crate::port::Port;
use crate::shape::Shape;
use crate::tensor::Tensor;
use crate::testing::drive::Given;
use crate::values::Sentence;

/// Sizes of named dimensions; a component's facts override the ones below.
pub(crate) type Dims = BTreeMap<String, usize>;

/// The values of one port: two if it takes many.
pub(crate) fn values(port: &Port, dims: &Dims) -> Vec<Given> {
    let n = if port.flags & abi::LOUPE_PORT_MANY != 0 { 2 } else { 1 };
    (0..n).map(|nth| value(port, dims, nth)).collect()
}

fn value(port: &Port, dims: &Dims, nth: usize) -> Given {
    let shape = || sizes(port.shape.as_deref().unwrap_or_default(), dims);
    if port.kind & abi::LOUPE_EMBEDDED_TEXT != 0 {
        let shape = shape();
        let n = shape.dims().first().copied().unwrap_or(1);
        return Given::Embedded(sentences(n), tensor(shape, nth));
    }
    if port.kind & abi::LOUPE_TEXT != 0 {
        return Given::Text(sentences(4));
    }
    match port.kind & abi::LOUPE_TENSOR != 0 {
        true => Given::Tensor(tensor(shape(), nth)),
        false => Given::Tensors(vec![tensor(shape(), nth), tensor(shape(), nth + 1)]),
    }
}

pub(crate) fn sentences(n: usize) -> Vec<Sentence> {
    let text = |i: usize| match i % 2 {
        0 => Sentence::new(format!("metal nut {i}"), false, "sample"),
        _ => Sentence::new(format!("scratched nut {i}"), true, "sample"),
    };
    (0..n).map(text).collect()
}

fn sizes(shape: &str, dims: &Dims) -> Shape {
    let mut sizes = Vec::new();
    for word in shape.split_whitespace() {
        match (word, word.parse::<usize>()) {
            (_, Ok(fixed)) => sizes.push(fixed),
            ("...", _) => sizes.extend([3, 4, 5]),
            (name, _) => sizes.push(dims.get(name).copied().unwrap_or(match name {
                "b" => 3,
                "gh" => 4,
                "gw" => 5,
                "n" | "m" => 6,
                "h" | "w" => 32,
                _ => 8,
            })),
        }
    }
    Shape::from(sizes)
}

/// Values in 0..1 of a fixed sequence.
fn tensor(shape: Shape, nth: usize) -> Tensor {
    filled(shape, |i| {
        let bits = ((i + 7919 * nth + 1) as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (bits >> 40) as f32 / (1_u32 << 24) as f32
    })
}

/// Values in -1..1 that have nothing to do with one another.
pub(crate) fn noise(shape: impl Into<Shape>, nth: usize) -> Tensor {
    filled(shape.into(), |i| {
        let bits = mixed(((nth as u64) << 32) + i as u64);
        (bits >> 40) as f32 / (1_u32 << 23) as f32 - 1.0
    })
}

/// Number `index` of SplitMix64 (Steele, Lea and Flood, 2014).
pub(crate) fn mixed(index: u64) -> u64 {
    let mut bits = index.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

fn filled(shape: Shape, value: impl FnMut(usize) -> f32) -> Tensor {
    let values: Vec<f32> = (0..shape.len()).map(value).collect();
    match Tensor::new(shape, values) {
        Ok(tensor) => tensor,
        Err(error) => panic!("a sample does not fit its own shape: {error}"),
    }
}
