//! Products of f32 with AVX2 and AVX-512.

use std::arch::x86_64::*;

use super::portable::{f32_at, f32_tile, rounded};
use super::tile::{Block, LANES, Multiply, Panel, Tile, Work};

/// Eight lanes, with fused multiply and add.
#[derive(Clone, Copy)]
pub(super) struct Avx2<const BF16: bool>;

/// Sixteen lanes.
#[derive(Clone, Copy)]
pub(super) struct Avx512<const BF16: bool>;

f32_tile!(Avx2, 6 x 16, 256, {
    #[inline(always)]
    unsafe fn multiply(a: Panel<f32>, b: Panel<f32>, k: usize, c: *mut f32, fresh: bool) {
        // SAFETY: the caller's.
        unsafe { multiply_8(a.at, b.at, k, c, fresh) }
    }

    #[inline(always)]
    unsafe fn with(work: impl Work) {
        // SAFETY: the caller has asked the CPU.
        unsafe { with_8(work) }
    }
} {
    #[inline(always)]
    fn fma(a: f32, b: f32, c: f32) -> f32 {
        a.mul_add(b, c)
    }
});

f32_tile!(Avx512, 6 x 64, 1024, {
    #[inline(always)]
    unsafe fn multiply(a: Panel<f32>, b: Panel<f32>, k: usize, c: *mut f32, fresh: bool) {
        // SAFETY: the caller's.
        unsafe { multiply_16(a.at, b.at, k, c, fresh) }
    }

    #[inline(always)]
    unsafe fn with(work: impl Work) {
        // SAFETY: the caller has asked the CPU.
        unsafe { with_16(work) }
    }
} {
    #[inline(always)]
    fn fma(a: f32, b: f32, c: f32) -> f32 {
        a.mul_add(b, c)
    }

    #[inline(always)]
    fn turn(block: &mut Block) {
        // SAFETY: within `with`.
        unsafe { turn_16(block) }
    }
});

/// Rows become columns: pairs of words, of pairs, and of quarters of a register change places.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn turn_16(block: &mut Block) {
    let mut rows = [_mm512_setzero_si512(); LANES];
    for (row, words) in rows.iter_mut().zip(&*block) {
        // SAFETY: a row is 64 bytes.
        *row = unsafe { _mm512_loadu_si512(words.as_ptr().cast()) };
    }
    rows = turn_quarters(rows);
    let mut next = rows;
    for i in 0..4 {
        for half in 0..2 {
            let [one, other] = [rows[8 * half + i], rows[8 * half + 4 + i]];
            next[8 * half + i] = _mm512_shuffle_i32x4::<0x88>(one, other);
            next[8 * half + 4 + i] = _mm512_shuffle_i32x4::<0xdd>(one, other);
        }
    }
    for i in 0..8 {
        rows[i] = _mm512_shuffle_i32x4::<0x88>(next[i], next[8 + i]);
        rows[8 + i] = _mm512_shuffle_i32x4::<0xdd>(next[i], next[8 + i]);
    }
    for (row, words) in rows.iter().zip(block) {
        // SAFETY: a row is 64 bytes.
        unsafe { _mm512_storeu_si512(words.as_mut_ptr().cast(), *row) };
    }
}

/// Of each four rows, four words by four change places within each quarter of a register.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn turn_quarters<const N: usize>(mut rows: [__m512i; N]) -> [__m512i; N] {
    let mut next = rows;
    for i in 0..N / 2 {
        next[2 * i] = _mm512_unpacklo_epi32(rows[2 * i], rows[2 * i + 1]);
        next[2 * i + 1] = _mm512_unpackhi_epi32(rows[2 * i], rows[2 * i + 1]);
    }
    for i in 0..N / 4 {
        for half in 0..2 {
            let [one, other] = [next[4 * i + half], next[4 * i + 2 + half]];
            rows[4 * i + 2 * half] = _mm512_unpacklo_epi64(one, other);
            rows[4 * i + 2 * half + 1] = _mm512_unpackhi_epi64(one, other);
        }
    }
    rows
}

#[target_feature(enable = "avx2,fma")]
fn with_8(work: impl Work) {
    work.run();
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
pub(super) fn with_16(work: impl Work) {
    work.run();
}

/// # Safety
/// `a` holds k times 6 values, `b` k times 16, `c` 6 x 16 that nobody else has.
#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn multiply_8(a: *const f32, b: *const f32, k: usize, c: *mut f32, fresh: bool) {
    let mut sums = [[_mm256_setzero_ps(); 2]; 6];
    // SAFETY: all places are within what the caller lends.
    unsafe {
        if !fresh {
            for (i, line) in sums.iter_mut().enumerate() {
                *line = [_mm256_loadu_ps(c.add(16 * i)), _mm256_loadu_ps(c.add(16 * i + 8))];
            }
        }
        for step in 0..k {
            let (a, b) = (a.add(6 * step), b.add(16 * step));
            let b = [_mm256_loadu_ps(b), _mm256_loadu_ps(b.add(8))];
            for (i, line) in sums.iter_mut().enumerate() {
                let a = _mm256_set1_ps(*a.add(i));
                *line = [_mm256_fmadd_ps(a, b[0], line[0]), _mm256_fmadd_ps(a, b[1], line[1])];
            }
        }
        for (i, line) in sums.iter().enumerate() {
            _mm256_storeu_ps(c.add(16 * i), line[0]);
            _mm256_storeu_ps(c.add(16 * i + 8), line[1]);
        }
    }
}

/// # Safety
/// `a` holds k times 6 values, `b` k times 64, `c` 6 x 64 that nobody else has.
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn multiply_16(a: *const f32, b: *const f32, k: usize, c: *mut f32, fresh: bool) {
    let mut sums = [[_mm512_setzero_ps(); 4]; 6];
    // SAFETY: all places are within what the caller lends.
    unsafe {
        if !fresh {
            for (i, sum) in sums.as_flattened_mut().iter_mut().enumerate() {
                *sum = _mm512_loadu_ps(c.add(LANES * i));
            }
        }
        for step in 0..k {
            let (a, b) = (a.add(6 * step), b.add(64 * step));
            let b = [0, 1, 2, 3].map(|i| _mm512_loadu_ps(b.add(LANES * i)));
            for (i, line) in sums.iter_mut().enumerate() {
                let a = _mm512_set1_ps(*a.add(i));
                for (sum, b) in line.iter_mut().zip(b) {
                    *sum = _mm512_fmadd_ps(a, b, *sum);
                }
            }
        }
        for (i, sum) in sums.as_flattened().iter().enumerate() {
            _mm512_storeu_ps(c.add(LANES * i), *sum);
        }
    }
}
