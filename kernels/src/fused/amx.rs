//! Products of bf16 with f32 sums on AMX tiles: 16 rows of 64 bytes each, eight of them.

use super::avx::turn_16;
use super::rounding::{exp2, put_both, put_byte_lanes, put_lanes, put_pairs};
use super::tile::{Beside, Block, LANES, Multiply, Panel, Place, Tile, Work, bf16_bits};
use super::tiles::{halves, load, steps, steps_beside, store, with_shapes, zero};
use crate::gelu::{Activation, gelu_for_bf16};

/// Operands lie in tiles of 16 x 32 values, those of a panel's 16 rows or columns one after the other
/// along k. A right tile holds, for two values of k at a time, those of its 16 columns in turn.
#[derive(Clone, Copy)]
pub(super) struct Amx;

/// Values of a tile of bf16.
const TILE: usize = 512;

impl Multiply for Amx {
    type Elem = u16;
    const MR: usize = 32;
    const NR: usize = 32;
    const KU: usize = 32;
    const K_BLOCK: usize = usize::MAX;

    #[inline(always)]
    fn elem(value: f32) -> u16 {
        (bf16_bits(value) >> 16) as u16
    }

    #[inline(always)]
    fn a_at(row: usize, k: usize, k_len: usize) -> usize {
        (row / 16) * 16 * k_len + (k / 32) * TILE + (row % 16) * 32 + k % 32
    }

    #[inline(always)]
    fn b_at(column: usize, k: usize, k_len: usize) -> usize {
        (column / 16) * 16 * k_len + (k / 32) * TILE + (k % 32 / 2) * 32 + (column % 16) * 2 + k % 2
    }

    #[inline(always)]
    unsafe fn put_lanes(to: *mut u16, values: &[f32; LANES]) {
        // SAFETY: the caller's, and within `with`.
        unsafe { put_lanes(to, values) }
    }

    #[inline(always)]
    unsafe fn multiply(a: Panel<u16>, b: Panel<u16>, k: usize, c: *mut f32, fresh: bool) {
        // SAFETY: the caller's.
        unsafe {
            if fresh {
                zero();
            } else {
                load(c);
            }
            steps::<false>(halves(a), halves(b), k / 32);
            store(c);
        }
    }

    #[inline(always)]
    unsafe fn multiply_beside(
        a: Panel<u16>,
        b: Panel<u16>,
        k: usize,
        c: *mut f32,
        other: &mut impl Beside,
    ) {
        // SAFETY: the caller's.
        unsafe {
            steps_beside::<false>(halves(a), halves(b), k / 32, other);
            store(c);
        }
    }

    #[inline(always)]
    unsafe fn with(work: impl Work) {
        // SAFETY: the caller's.
        unsafe { with_shapes(work) }
    }
}

impl Tile for Amx {
    type Bytes = AmxBytes;
    const EXP_TERMS: usize = 4;

    #[inline(always)]
    fn value(elem: u16) -> f32 {
        f32::from_bits(u32::from(elem) << 16)
    }

    #[inline(always)]
    fn fma(a: f32, b: f32, c: f32) -> f32 {
        a.mul_add(b, c)
    }

    #[inline(always)]
    fn word([low, high]: [u16; 2]) -> u32 {
        u32::from(low) | u32::from(high) << 16
    }

    #[inline(always)]
    unsafe fn put_pairs(
        to: *mut u16,
        [column, k]: [usize; 2],
        k_len: usize,
        values: &[[f32; LANES]; 2],
    ) {
        // SAFETY: the caller's, and within `with`; pairs of 16 columns stand side by side.
        unsafe { put_pairs(to.add(Self::b_at(column, k, k_len)), values) }
    }

    #[inline(always)]
    fn exp2(x: [f32; LANES]) -> [f32; LANES] {
        // SAFETY: within `with`.
        unsafe { exp2(x) }
    }

    #[inline(always)]
    fn turn(block: &mut Block) {
        // SAFETY: within `with`.
        unsafe { turn_16(block) }
    }

    #[inline(always)]
    unsafe fn put_both(
        block: &mut Block,
        own: (Place<u16>, &mut [f32; LANES]),
        turned: Option<(Place<u16>, &mut [f32; LANES])>,
    ) {
        let first = |Place { to, at: [column, k], k_len }: Place<u16>| {
            to.wrapping_add(Self::b_at(column, k, k_len))
        };
        let turned = turned.map(|(place, total)| (first(place), total));
        // SAFETY: the caller's, and within `with`.
        unsafe { put_both(block, (first(own.0), own.1), turned) }
    }

    #[inline(always)]
    fn activate(activation: Activation, row: &mut [f32]) {
        match activation {
            Activation::Gelu => gelu_for_bf16(row, Self::fma),
            other => other.apply_with(row, Self::fma),
        }
    }
}

/// Products of whole numbers up to 127 on the same tiles, 16 rows of 64 of them, with whole sums.
#[derive(Clone, Copy)]
pub(super) struct AmxBytes;

impl Multiply for AmxBytes {
    type Elem = i8;
    const MR: usize = 32;
    const NR: usize = 32;
    const KU: usize = 64;
    const K_BLOCK: usize = usize::MAX;

    #[inline(always)]
    fn elem(value: f32) -> i8 {
        value.round_ties_even() as i8
    }

    #[inline(always)]
    fn a_at(row: usize, k: usize, k_len: usize) -> usize {
        (row / 16) * 16 * k_len + (k / 64) * 2 * TILE + (row % 16) * 64 + k % 64
    }

    #[inline(always)]
    fn b_at(column: usize, k: usize, k_len: usize) -> usize {
        let in_tile = (k % 64 / 4) * 64 + (column % 16) * 4 + k % 4;
        (column / 16) * 16 * k_len + (k / 64) * 2 * TILE + in_tile
    }

    #[inline(always)]
    unsafe fn put_lanes(to: *mut i8, values: &[f32; LANES]) {
        // SAFETY: the caller's, and within `with`.
        unsafe { put_byte_lanes(to, values) }
    }

    #[inline(always)]
    unsafe fn multiply(a: Panel<i8>, b: Panel<i8>, k: usize, c: *mut f32, fresh: bool) {
        // SAFETY: the caller's; sums of an earlier call are whole numbers.
        unsafe {
            if fresh {
                zero();
            } else {
                to_whole(c);
                load(c);
            }
            steps::<true>(halves(a), halves(b), k / 64);
            store(c);
            from_whole(c);
        }
    }

    #[inline(always)]
    unsafe fn multiply_beside(
        a: Panel<i8>,
        b: Panel<i8>,
        k: usize,
        c: *mut f32,
        other: &mut impl Beside,
    ) {
        // SAFETY: the caller's.
        unsafe {
            steps_beside::<true>(halves(a), halves(b), k / 64, other);
            store(c);
            from_whole(c);
        }
    }

    #[inline(always)]
    unsafe fn with(work: impl Work) {
        // SAFETY: the caller's.
        unsafe { with_shapes(work) }
    }
}

/// Whole numbers where f32 stand.
///
/// # Safety
/// `c` is 32 x 32 values that nobody else has; within `with`.
#[inline(always)]
unsafe fn to_whole(c: *mut f32) {
    for i in 0..32 * 32 {
        // SAFETY: the caller's.
        unsafe { *c.add(i).cast::<i32>() = *c.add(i) as i32 };
    }
}

/// f32 where whole numbers stand.
///
/// # Safety
/// As `to_whole`.
#[inline(always)]
unsafe fn from_whole(c: *mut f32) {
    for i in 0..32 * 32 {
        // SAFETY: the caller's.
        unsafe { *c.add(i) = *c.add(i).cast::<i32>() as f32 };
    }
}
