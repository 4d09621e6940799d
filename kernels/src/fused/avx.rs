//! Products of f32 with AVX2 and AVX-512.

use std::arch::x86_64::*;

use super::portable::{f32_at, put_f32_pairs, rounded};
use super::tile::{LANES, Panel, Tile, Work};

/// Eight lanes, with fused multiply and add.
#[derive(Clone, Copy)]
pub(super) struct Avx2<const BF16: bool>;

/// Sixteen lanes.
#[derive(Clone, Copy)]
pub(super) struct Avx512<const BF16: bool>;

/// What both are but for their panels.
macro_rules! f32_tile {
    ($tile:ident, $rows:literal x $columns:literal, $multiply:ident, $with:ident) => {
        impl<const BF16: bool> Tile for $tile<BF16> {
            type Elem = f32;
            const MR: usize = $rows;
            const NR: usize = $columns;
            const KU: usize = 1;
            const K_BLOCK: usize = 256;
            const EXP_TERMS: usize = if BF16 { 4 } else { 6 };

            #[inline(always)]
            fn elem(value: f32) -> f32 {
                rounded::<BF16>(value)
            }

            #[inline(always)]
            fn value(elem: f32) -> f32 {
                elem
            }

            #[inline(always)]
            fn fma(a: f32, b: f32, c: f32) -> f32 {
                a.mul_add(b, c)
            }

            #[inline(always)]
            fn a_at(row: usize, k: usize, k_len: usize) -> usize {
                f32_at(Self::MR, row, k, k_len)
            }

            #[inline(always)]
            fn b_at(column: usize, k: usize, k_len: usize) -> usize {
                f32_at(Self::NR, column, k, k_len)
            }

            #[inline(always)]
            unsafe fn put_pair(to: *mut f32, [even, odd]: [f32; 2]) {
                // SAFETY: the caller's; the panel's rows stand side by side.
                unsafe {
                    *to = even;
                    *to.add(Self::MR) = odd;
                }
            }

            #[inline(always)]
            unsafe fn put_pair_of_column(to: *mut f32, [even, odd]: [f32; 2]) {
                // SAFETY: the caller's; the panel's columns stand side by side.
                unsafe {
                    *to = even;
                    *to.add(Self::NR) = odd;
                }
            }

            #[inline(always)]
            unsafe fn put_pairs(
                to: *mut f32,
                column: usize,
                k: usize,
                k_len: usize,
                values: [[f32; LANES]; 2],
            ) {
                // SAFETY: the caller's.
                unsafe { put_f32_pairs::<Self>(to, column, k, k_len, values) }
            }

            #[inline(always)]
            unsafe fn multiply(a: Panel<f32>, b: Panel<f32>, k: usize, c: *mut f32, fresh: bool) {
                // SAFETY: the caller's.
                unsafe { $multiply(a.at, b.at, k, c, fresh) }
            }

            #[inline(always)]
            unsafe fn with(work: impl Work) {
                // SAFETY: the caller has asked the CPU.
                unsafe { $with(work) }
            }
        }
    };
}

f32_tile!(Avx2, 6 x 16, multiply_8, with_8);
f32_tile!(Avx512, 8 x 32, multiply_16, with_16);

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
/// `a` holds k times 8 values, `b` k times 32, `c` 8 x 32 that nobody else has.
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn multiply_16(a: *const f32, b: *const f32, k: usize, c: *mut f32, fresh: bool) {
    let mut sums = [[_mm512_setzero_ps(); 2]; 8];
    // SAFETY: all places are within what the caller lends.
    unsafe {
        if !fresh {
            for (i, line) in sums.iter_mut().enumerate() {
                *line = [_mm512_loadu_ps(c.add(32 * i)), _mm512_loadu_ps(c.add(32 * i + 16))];
            }
        }
        for step in 0..k {
            let (a, b) = (a.add(8 * step), b.add(32 * step));
            let b = [_mm512_loadu_ps(b), _mm512_loadu_ps(b.add(16))];
            for (i, line) in sums.iter_mut().enumerate() {
                let a = _mm512_set1_ps(*a.add(i));
                *line = [_mm512_fmadd_ps(a, b[0], line[0]), _mm512_fmadd_ps(a, b[1], line[1])];
            }
        }
        for (i, line) in sums.iter().enumerate() {
            _mm512_storeu_ps(c.add(32 * i), line[0]);
            _mm512_storeu_ps(c.add(32 * i + 16), line[1]);
        }
    }
}
