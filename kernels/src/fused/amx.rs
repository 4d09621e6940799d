//! Products of bf16 with f32 sums on AMX tiles: 16 rows of 64 bytes each, eight of them.

use std::arch::x86_64::*;

use super::avx::turn_16;
use super::tile::{
    Beside, Block, LANES, Multiply, Panel, Place, Tile, Work, bf16_bits, exp2_series,
};
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

/// Rounds to nearest even; values below the least normal one become 0.
///
/// # Safety
/// `to` is 16 places that nobody else has.
#[inline]
#[target_feature(enable = "avx512f,avx512vl,avx512bf16")]
unsafe fn put_lanes(to: *mut u16, values: &[f32; LANES]) {
    // SAFETY: 64 bytes are read and 32 written, as the caller lends.
    unsafe {
        let rounded = _mm512_cvtneps_pbh(_mm512_loadu_ps(values.as_ptr()));
        to.cast::<__m256bh>().write_unaligned(rounded);
    }
}

/// Rounds to nearest even.
///
/// # Safety
/// `to` is 16 places that nobody else has.
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn put_byte_lanes(to: *mut i8, values: &[f32; LANES]) {
    // SAFETY: 64 bytes are read and 16 written, as the caller lends.
    unsafe {
        let whole = _mm512_cvtps_epi32(_mm512_loadu_ps(values.as_ptr()));
        _mm_storeu_si128(to.cast(), _mm512_cvtsepi32_epi8(whole));
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

/// The first values of each pair in one register, the second in the other: they are shuffled together.
///
/// # Safety
/// `to` is 32 places that nobody else has.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
unsafe fn put_pairs(to: *mut u16, [low, high]: &[[f32; LANES]; 2]) {
    // SAFETY: 128 bytes are read and 64 written, as the caller lends.
    unsafe {
        let [low, high] = [low, high].map(|lanes| _mm512_loadu_ps(lanes.as_ptr()));
        let low = _mm512_cvtepu16_epi32(std::mem::transmute::<__m256bh, __m256i>(
            _mm512_cvtneps_pbh(low),
        ));
        let high = _mm512_cvtepu16_epi32(std::mem::transmute::<__m256bh, __m256i>(
            _mm512_cvtneps_pbh(high),
        ));
        let pairs = _mm512_or_si512(low, _mm512_slli_epi32::<16>(high));
        _mm512_storeu_si512(to.cast(), pairs);
    }
}

/// Weights of a block of f32 as pairs of rows, and turned as pairs of columns; the totals are sums of what
/// was rounded.
///
/// # Safety
/// Behind each pointer are eight rows of 32 places that nobody else has.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
unsafe fn put_both(
    block: &Block,
    own: (*mut u16, &mut [f32; LANES]),
    turned: Option<(*mut u16, &mut [f32; LANES])>,
) {
    /// The rows of a pair, one behind the other, word by word.
    const PAIRED: [u16; 32] = {
        let mut from = [0; 32];
        let mut i = 0;
        while i < 32 {
            from[i] = (i / 2 + i % 2 * 16) as u16;
            i += 1;
        }
        from
    };
    let mut rows = [_mm512_setzero_si512(); 8];
    for (row, [one, other]) in rows.iter_mut().zip(block.as_chunks::<2>().0) {
        // SAFETY: a row is 64 bytes, and so are two of them in half the bits.
        *row = unsafe {
            let [one, other] = [one, other].map(|row| _mm512_loadu_ps(row.as_ptr().cast()));
            std::mem::transmute::<__m512bh, __m512i>(_mm512_cvtne2ps_pbh(other, one))
        };
    }
    // SAFETY: 64 bytes are read.
    let paired = unsafe { _mm512_loadu_si512(PAIRED.as_ptr().cast()) };
    let pairs = rows.map(|row| _mm512_permutexvar_epi16(paired, row));
    // SAFETY: the caller's.
    unsafe {
        put_rows(own, pairs);
        if let Some(turned) = turned {
            put_rows(turned, turn_pairs(rows));
        }
    }
}

/// Eight rows of pairs, one behind the other, and added to the totals of their columns.
///
/// # Safety
/// As `put_both`.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
unsafe fn put_rows((to, total): (*mut u16, &mut [f32; LANES]), rows: [__m512i; 8]) {
    /// Two of bf16.
    const ONES: i32 = 0x3f80_3f80;
    let ones = _mm512_set1_epi32(ONES);
    // SAFETY: the caller's; a row is 64 bytes, as the totals are.
    unsafe {
        let mut sums = _mm512_loadu_ps(total.as_ptr());
        for (i, row) in rows.into_iter().enumerate() {
            _mm512_storeu_si512(to.add(32 * i).cast(), row);
            let [row, ones] = [row, ones].map(|x| std::mem::transmute::<__m512i, __m512bh>(x));
            sums = _mm512_dpbf16_ps(sums, row, ones);
        }
        _mm512_storeu_ps(total.as_mut_ptr(), sums);
    }
}

/// Sixteen rows of bf16, two to a register, become eight of pairs of columns: words, pairs of words, and
/// quarters of a register change places, as in `turn_16`, and then the rows of a register.
#[inline]
#[target_feature(enable = "avx512f")]
fn turn_pairs(mut rows: [__m512i; 8]) -> [__m512i; 8] {
    let mut next = rows;
    for i in 0..4 {
        next[2 * i] = _mm512_unpacklo_epi32(rows[2 * i], rows[2 * i + 1]);
        next[2 * i + 1] = _mm512_unpackhi_epi32(rows[2 * i], rows[2 * i + 1]);
    }
    for i in 0..2 {
        for half in 0..2 {
            let [one, other] = [next[4 * i + half], next[4 * i + 2 + half]];
            rows[4 * i + 2 * half] = _mm512_unpacklo_epi64(one, other);
            rows[4 * i + 2 * half + 1] = _mm512_unpackhi_epi64(one, other);
        }
    }
    // Of four rows the even ones are in one quarter of a register, the odd ones in the next.
    let order = _mm512_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7, 8, 12, 9, 13, 10, 14, 11, 15);
    for i in 0..4 {
        let [one, other] = [rows[i], rows[4 + i]];
        let halves =
            [_mm512_shuffle_i32x4::<0x88>(one, other), _mm512_shuffle_i32x4::<0xdd>(one, other)];
        [next[i], next[4 + i]] = halves.map(|half| _mm512_permutexvar_epi32(order, half));
    }
    next
}

/// Relative error below 5e-5; 0 below the least normal number.
#[inline]
#[target_feature(enable = "avx512f,avx512dq")]
fn exp2(x: [f32; LANES]) -> [f32; LANES] {
    // SAFETY: a row is 64 bytes.
    let x = unsafe { _mm512_loadu_ps(x.as_ptr()) };
    let rest = _mm512_reduce_ps::<0>(x);
    let mut lanes = [0.0; LANES];
    // SAFETY: as above.
    unsafe { _mm512_storeu_ps(lanes.as_mut_ptr(), rest) };
    for lane in &mut lanes {
        *lane = exp2_series::<Amx>(*lane);
    }
    // SAFETY: as above.
    unsafe {
        let power = _mm512_scalef_ps(_mm512_loadu_ps(lanes.as_ptr()), _mm512_sub_ps(x, rest));
        _mm512_storeu_ps(lanes.as_mut_ptr(), power);
    }
    lanes
}
