//! Products of f32 in plain Rust, for every CPU.

use super::tile::{LANES, Panel, Tile, Work, bf16_bits};

/// With `BF16`, operands are rounded to bf16 first: what tiles of bf16 compute, on a CPU without.
#[derive(Clone, Copy)]
pub(super) struct Portable<const BF16: bool>;

/// Rows of a panel: as many as the registers hold sums of.
const ROWS: usize = if cfg!(target_arch = "aarch64") { 4 } else { 2 };

/// `value`, rounded if operands are bf16.
#[inline(always)]
pub(super) fn rounded<const BF16: bool>(value: f32) -> f32 {
    if BF16 { f32::from_bits(bf16_bits(value)) } else { value }
}

/// Values of the panels of f32 tiles: k after k, `rows` values each.
#[inline(always)]
pub(super) fn f32_at(rows: usize, row: usize, k: usize, k_len: usize) -> usize {
    (row / rows) * rows * k_len + k * rows + row % rows
}

/// # Safety
/// As `Tile::put_pairs`, for panels of `NR` f32 columns.
#[inline(always)]
pub(super) unsafe fn put_f32_pairs<T: Tile<Elem = f32>>(
    to: *mut f32,
    column: usize,
    k: usize,
    k_len: usize,
    values: [[f32; LANES]; 2],
) {
    for (i, line) in values.iter().enumerate() {
        let mut rounded = [0.0; LANES];
        for lane in 0..LANES {
            rounded[lane] = T::elem(line[lane]);
        }
        // SAFETY: the columns of a panel stand side by side, and these are places of the caller's.
        unsafe {
            to.add(T::b_at(column, k + i, k_len)).cast::<[f32; LANES]>().write_unaligned(rounded);
        }
    }
}

impl<const BF16: bool> Tile for Portable<BF16> {
    type Elem = f32;
    const MR: usize = ROWS;
    const NR: usize = 16;
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
        a * b + c
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
        // SAFETY: the caller lends `c` alone, and k values of both panels stand at `a` and `b`.
        let (a, b, c) = unsafe {
            (
                std::slice::from_raw_parts(a.at.cast::<[f32; ROWS]>(), k),
                std::slice::from_raw_parts(b.at.cast::<[f32; 16]>(), k),
                &mut *c.cast::<[[f32; 16]; ROWS]>(),
            )
        };
        let mut sums = if fresh { [[0.0; 16]; ROWS] } else { *c };
        for (a, b) in a.iter().zip(b) {
            for (line, a) in sums.iter_mut().zip(a) {
                line.iter_mut().zip(b).for_each(|(sum, b)| *sum += a * b);
            }
        }
        *c = sums;
    }

    #[inline(always)]
    unsafe fn with(work: impl Work) {
        work.run();
    }
}
