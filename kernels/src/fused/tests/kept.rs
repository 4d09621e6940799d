//! Packed blocks, kept as bytes and taken up again.

use super::*;

const PRECISIONS: [Precision; 3] = [Precision::F32, Precision::Bf16, Precision::Int8];

fn kept(tower: &dyn Blocks) -> Vec<u8> {
    tower.bytes().concat()
}

fn read(bytes: &[u8], at: u64, to: &mut [u8]) -> Result<(), String> {
    let from = bytes.get(at as usize..).and_then(|rest| rest.get(..to.len()));
    to.copy_from_slice(from.ok_or("beyond the end")?);
    Ok(())
}

fn pass(tower: &dyn Blocks, width: usize) -> Vec<f32> {
    let mut tokens = noise(9 * width, 5);
    tower.run(0..2, &mut tokens, 1, None, ONE).unwrap();
    tokens
}

#[test]
fn blocks_taken_up_give_the_bytes_of_those_that_were_packed() {
    let shape = shape(40, 2, 72);
    let parts = [Parameters::new(shape, 1), Parameters::new(shape, 2)];
    for precision in PRECISIONS {
        for (isa, tower) in towers(&parts, precision) {
            let bytes = kept(&*tower);
            let mut again = blocks(shape, isa, precision);
            let team = Team { par: &backwards_on_two_threads, n_threads: 2 };
            let read = |at: u64, to: &mut [u8]| read(&bytes, at, to);
            again.take_up(2, bytes.len() as u64, &read, team).unwrap();
            assert_eq!(again.len(), 2);
            assert_eq!(pass(&*again, 40), pass(&*tower, 40), "{isa:?} {precision:?}");
            assert_eq!(kept(&*again), bytes);
        }
    }
}

/// Where this fails, kept files of before would be read wrongly: raise `PACKED_LAYOUT` with it.
#[test]
fn the_layout_is_that_of_its_version() {
    let shape = shape(24, 2, 40);
    let parts = [Parameters::new(shape, 3)];
    let digest = |bytes: &[u8]| {
        let step = |sum: u64, byte: &u8| (sum ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3);
        bytes.iter().fold(0xcbf2_9ce4_8422_2325, step)
    };
    let digests =
        |precision| towers(&parts, precision).into_iter().map(|(_, tower)| digest(&kept(&*tower)));
    let of_f32: Vec<u64> = digests(Precision::F32).collect();
    let of_bf16: Vec<u64> = digests(Precision::Bf16).collect();
    // Portable, AVX2, AVX-512, AMX; as many as this machine has.
    let want_f32 = [
        0x4819_bbae_68a8_d9de,
        0x4819_bbae_68a8_d9de,
        0x9304_b22c_db9c_06be,
        0x9304_b22c_db9c_06be,
    ];
    let want_bf16 = [
        0x20e7_bf13_48ca_5505,
        0x20e7_bf13_48ca_5505,
        0xf1a8_b690_4414_f7cd,
        0x88fd_e0eb_0e43_b961,
    ];
    let n = of_f32.len();
    assert_eq!((&of_f32[..], &of_bf16[..]), (&want_f32[..n], &want_bf16[..n]));
    assert_eq!(PACKED_LAYOUT, 2);
}

#[test]
fn what_is_no_tower_of_this_shape_is_refused() {
    let shape = shape(24, 2, 40);
    let parts = [Parameters::new(shape, 3)];
    for (isa, tower) in towers(&parts, Precision::F32) {
        let bytes = kept(&*tower);
        let len = bytes.len() as u64;
        let take_up = |n_blocks, len, bytes: &[u8]| {
            let mut again = blocks(shape, isa, Precision::F32);
            let read = |at: u64, to: &mut [u8]| read(bytes, at, to);
            again.take_up(n_blocks, len, &read, ONE).map_err(|error| error.to_string())
        };
        assert!(take_up(1, len, &bytes).is_ok());
        for (n_blocks, len) in [(1, len - 1), (1, len + 64), (2, len), (0, len), (usize::MAX, len)]
        {
            let error = take_up(n_blocks, len, &bytes).unwrap_err();
            assert!(error.starts_with("`blocks` wants `packed weights` of "), "{error}");
        }
        let error = take_up(1, len, &bytes[..bytes.len() / 2]).unwrap_err();
        assert_eq!(error, "packed weights cannot be read: beyond the end");
    }
}
