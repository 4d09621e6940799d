//! What the tests share: the pictures of `testdata` and what `record.py` there noted about them.

use serde_json::Value;

pub(super) fn read(name: &str) -> Vec<u8> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/image/testdata/");
    std::fs::read(format!("{folder}{name}")).unwrap()
}

pub(super) fn golden() -> Value {
    serde_json::from_slice(&read("golden.json")).unwrap()
}

/// CRC-32 as zlib's, which stands for what is too large to store.
pub(super) fn crc32(bytes: &[u8]) -> u64 {
    let step = |crc: u32| (crc >> 1) ^ if crc & 1 == 1 { 0xEDB8_8320 } else { 0 };
    let add = |crc: u32, byte: &u8| (0..8).fold(crc ^ u32::from(*byte), |crc, _| step(crc));
    u64::from(!bytes.iter().fold(u32::MAX, add))
}
