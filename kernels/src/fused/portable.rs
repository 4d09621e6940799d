//! Products of f32 in plain Rust, for every CPU.

use super::tile::{Multiply, Panel, Tile, Work, bf16_bits};

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

/// A tile of f32 with panels of these sizes and as much of k at a time: what all of them are, and what one
/// has of its own.
macro_rules! f32_tile {
    ($tile:ident, $rows:tt x $columns:literal, $k_block:literal, { $($product:item)* } { $($own:item)* }) => {
        impl<const BF16: bool> Multiply for $tile<BF16> {
            type Elem = f32;
            const MR: usize = $rows;
            const NR: usize = $columns;
            const KU: usize = 1;
            const K_BLOCK: usize = $k_block;

            #[inline(always)]
            fn elem(value: f32) -> f32 {
                rounded::<BF16>(value)
            }

            #[inline(always)]
            fn a_at(row: usize, k: usize, k_len: usize) -> usize {
                f32_at(Self::MR, row, k, k_len)
            }

            #[inline(always)]
            fn b_at(column: usize, k: usize, k_len: usize) -> usize {
                f32_at(Self::NR, column, k, k_len)
            }

            $($product)*
        }

        impl<const BF16: bool> Tile for $tile<BF16> {
            /// Whole numbers up to 127 are f32 and bf16 as well.
            type Bytes = Self;
            const EXP_TERMS: usize = if BF16 { 4 } else { 6 };

            #[inline(always)]
            fn value(elem: f32) -> f32 {
                elem
            }

            #[inline(always)]
            fn word(values: [f32; 2]) -> u32 {
                values[0].to_bits()
            }

            $($own)*
        }
    };
}
pub(super) use f32_tile;

f32_tile!(Portable, ROWS x 16, 256, {
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
} {
    #[inline(always)]
    fn fma(a: f32, b: f32, c: f32) -> f32 {
        a * b + c
    }
});
