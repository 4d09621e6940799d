//! What the tests share: recorded values (`golden/record.py`) and the rule that made their inputs.

use serde_json::Value;

pub(crate) fn recorded() -> Value {
    serde_json::from_str(include_str!("../golden/kernels.json")).unwrap()
}

pub(crate) fn rule_u8(n: usize) -> Vec<u8> {
    (0..n).map(|i| ((i * 37 + i / 7 * 11) % 256) as u8).collect()
}

pub(crate) fn rule_f32(n: usize) -> Vec<f32> {
    rule_u8(n).into_iter().map(|v| f32::from(v) / 256.0).collect()
}

/// Values of no simple pattern in -1..1, for inputs of any length.
pub(crate) fn noise(n: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1_u64 << 23) as f32 - 1.0
    };
    (0..n).map(|_| next()).collect()
}

/// CRC-32 as zlib's: recorded outputs too large to store are compared by it.
pub(crate) fn crc32(bytes: &[u8]) -> u64 {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ if crc & 1 == 1 { 0xEDB8_8320 } else { 0 };
        }
    }
    u64::from(!crc)
}

pub(crate) fn sides<const N: usize>(value: &Value) -> [usize; N] {
    std::array::from_fn(|i| value[i].as_u64().unwrap() as usize)
}

pub(crate) fn floats(value: &Value) -> Vec<f32> {
    value.as_array().unwrap().iter().map(|v| v.as_f64().unwrap() as f32).collect()
}

/// Largest absolute difference; lengths must agree.
pub(crate) fn max_error(got: &[f32], want: &[f32]) -> f32 {
    assert_eq!(got.len(), want.len());
    got.iter().zip(want).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}
