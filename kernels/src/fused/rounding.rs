//! f32 become bf16 or bytes on their way into operands of tiles.

use std::arch::x86_64::*;

use super::amx::Amx;
use super::avx::turn_quarters;
use super::tile::{Block, LANES, exp2_series};

/// Rounds to nearest even; values below the least normal one become 0.
///
/// # Safety
/// `to` is 16 places that nobody else has.
#[inline]
#[target_feature(enable = "avx512f,avx512vl,avx512bf16")]
pub(super) unsafe fn put_lanes(to: *mut u16, values: &[f32; LANES]) {
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
pub(super) unsafe fn put_byte_lanes(to: *mut i8, values: &[f32; LANES]) {
    // SAFETY: 64 bytes are read and 16 written, as the caller lends.
    unsafe {
        let whole = _mm512_cvtps_epi32(_mm512_loadu_ps(values.as_ptr()));
        _mm_storeu_si128(to.cast(), _mm512_cvtsepi32_epi8(whole));
    }
}

/// # Safety
/// `to` is 32 places that nobody else has.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
pub(super) unsafe fn put_pairs(to: *mut u16, [low, high]: &[[f32; LANES]; 2]) {
    // SAFETY: 64 bytes are written, as the caller lends.
    unsafe { _mm512_storeu_si512(to.cast(), paired(rounded(low.as_ptr(), high.as_ptr()))) };
}

/// `LANES` values of each, rounded to nearest even, one behind the other.
///
/// # Safety
/// There are as many.
#[inline]
#[target_feature(enable = "avx512f,avx512bf16")]
unsafe fn rounded(low: *const f32, high: *const f32) -> __m512i {
    // SAFETY: the caller's; both types are the same 64 bytes.
    unsafe {
        let [low, high] = [low, high].map(|row| _mm512_loadu_ps(row));
        std::mem::transmute::<__m512bh, __m512i>(_mm512_cvtne2ps_pbh(high, low))
    }
}

/// Two rows, one behind the other, become pairs.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn paired(rows: __m512i) -> __m512i {
    const FROM: [u16; 32] = {
        let mut from = [0; 32];
        let mut i = 0;
        while i < 32 {
            from[i] = (i / 2 + i % 2 * 16) as u16;
            i += 1;
        }
        from
    };
    // SAFETY: 64 bytes are read.
    let from = unsafe { _mm512_loadu_si512(FROM.as_ptr().cast()) };
    _mm512_permutexvar_epi16(from, rows)
}

/// Weights of a block of f32 as pairs of rows, and turned as pairs of columns; the totals are sums of what
/// was rounded.
///
/// # Safety
/// Behind each pointer are eight rows of 32 places that nobody else has.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
pub(super) unsafe fn put_both(
    block: &Block,
    own: (*mut u16, &mut [f32; LANES]),
    turned: Option<(*mut u16, &mut [f32; LANES])>,
) {
    let mut rows = [_mm512_setzero_si512(); 8];
    for (row, [one, other]) in rows.iter_mut().zip(block.as_chunks::<2>().0) {
        // SAFETY: a row is `LANES` words.
        *row = unsafe { rounded(one.as_ptr().cast(), other.as_ptr().cast()) };
    }
    let pairs = rows.map(|row| paired(row));
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
fn turn_pairs(rows: [__m512i; 8]) -> [__m512i; 8] {
    let rows = turn_quarters(rows);
    let mut next = rows;
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
pub(super) fn exp2(x: [f32; LANES]) -> [f32; LANES] {
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
