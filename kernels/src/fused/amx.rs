//! Products of bf16 with f32 sums on AMX tiles: 16 rows of 64 bytes each, eight of them.

use std::arch::asm;

use super::avx::with_16;
use super::tile::{LANES, Panel, Tile, Work, bf16_bits};

/// Operands lie in tiles of 16 x 32 values, those of a panel's 16 rows or columns one after the other
/// along k. A right tile holds, for two values of k at a time, those of its 16 columns in turn.
#[derive(Clone, Copy)]
pub(super) struct Amx;

/// Values of a tile of bf16.
const TILE: usize = 512;

impl Tile for Amx {
    type Elem = u16;
    const MR: usize = 32;
    const NR: usize = 32;
    const PARTS: usize = 2;
    const KU: usize = 32;
    const K_BLOCK: usize = 256;
    const EXP_TERMS: usize = 4;

    #[inline(always)]
    fn elem(value: f32) -> u16 {
        (bf16_bits(value) >> 16) as u16
    }

    #[inline(always)]
    fn value(elem: u16) -> f32 {
        f32::from_bits(u32::from(elem) << 16)
    }

    #[inline(always)]
    fn fma(a: f32, b: f32, c: f32) -> f32 {
        a.mul_add(b, c)
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
    unsafe fn put_pair(to: *mut u16, [even, odd]: [u16; 2]) {
        // SAFETY: the caller's; neighbours along k stand side by side.
        unsafe { to.cast::<u32>().write_unaligned(u32::from(even) | u32::from(odd) << 16) };
    }

    #[inline(always)]
    unsafe fn put_pair_of_column(to: *mut u16, pair: [u16; 2]) {
        // SAFETY: the caller's; a right tile holds pairs too.
        unsafe { Self::put_pair(to, pair) };
    }

    #[inline(always)]
    unsafe fn put_pairs(
        to: *mut u16,
        column: usize,
        k: usize,
        k_len: usize,
        values: [[f32; LANES]; 2],
    ) {
        let [low, high] = values;
        let mut pairs = [0_u32; LANES];
        for lane in 0..LANES {
            pairs[lane] = (bf16_bits(low[lane]) >> 16) | bf16_bits(high[lane]);
        }
        // SAFETY: the pairs of 16 columns stand side by side, and these are places of the caller's.
        unsafe {
            to.add(Self::b_at(column, k, k_len)).cast::<[u32; LANES]>().write_unaligned(pairs);
        }
    }

    #[inline(always)]
    unsafe fn multiply(a: Panel<u16>, b: Panel<u16>, k: usize, c: *mut f32, fresh: bool) {
        // SAFETY: the caller's; a panel's second 16 rows or columns stand behind all of its first.
        unsafe {
            let [a_1, b_1] = [a.at.add(16 * a.k_len), b.at.add(16 * b.k_len)];
            multiply([a.at, a_1], [b.at, b_1], k / 32, c, fresh);
        }
    }

    #[inline(always)]
    unsafe fn with(work: impl Work) {
        /// Palette, and for each tile its rows and the bytes of a row.
        #[repr(align(64))]
        struct Shapes([u8; 64]);
        let mut shapes = Shapes([0; 64]);
        shapes.0[0] = 1;
        for tile in 0..8 {
            shapes.0[16 + 2 * tile] = 64;
            shapes.0[48 + tile] = 16;
        }
        // SAFETY: the caller has asked the CPU; the shapes are 64 bytes.
        unsafe { asm!("ldtilecfg [{}]", in(reg) &raw const shapes.0, options(nostack, readonly)) };
        // SAFETY: a CPU with tiles has AVX-512.
        unsafe { with_16(work) };
        // SAFETY: the registers hold nothing that is still wanted.
        unsafe { asm!("tilerelease", options(nostack, nomem)) };
    }
}

/// Two tiles by two, `n` steps along k.
///
/// # Safety
/// `a` and `b` point at `n` tiles each, `c` at 32 x 32 values that nobody else has, and tiles are shaped.
#[inline(always)]
unsafe fn multiply(a: [*const u16; 2], b: [*const u16; 2], n: usize, c: *mut f32, fresh: bool) {
    // SAFETY: the caller's.
    unsafe {
        let c = [c, c.add(16), c.add(32 * 16), c.add(32 * 16 + 16)];
        if fresh {
            asm!(
                "tilezero tmm0",
                "tilezero tmm1",
                "tilezero tmm2",
                "tilezero tmm3",
                options(nostack, nomem)
            );
        } else {
            asm!(
                "tileloadd tmm0, [{0} + {4}]", "tileloadd tmm1, [{1} + {4}]",
                "tileloadd tmm2, [{2} + {4}]", "tileloadd tmm3, [{3} + {4}]",
                in(reg) c[0], in(reg) c[1], in(reg) c[2], in(reg) c[3], in(reg) 128_usize,
                options(nostack, readonly)
            );
        }
        asm!(
            "2:",
            "tileloadd tmm4, [{a0} + {row}]",
            "tileloadd tmm6, [{b0} + {row}]",
            "tdpbf16ps tmm0, tmm4, tmm6",
            "tileloadd tmm5, [{a1} + {row}]",
            "tdpbf16ps tmm2, tmm5, tmm6",
            "tileloadd tmm7, [{b1} + {row}]",
            "tdpbf16ps tmm1, tmm4, tmm7",
            "tdpbf16ps tmm3, tmm5, tmm7",
            "add {a0}, 1024", "add {a1}, 1024", "add {b0}, 1024", "add {b1}, 1024",
            "dec {n}",
            "jnz 2b",
            a0 = inout(reg) a[0] => _, a1 = inout(reg) a[1] => _,
            b0 = inout(reg) b[0] => _, b1 = inout(reg) b[1] => _,
            n = inout(reg) n => _, row = in(reg) 64_usize,
            options(nostack, readonly)
        );
        asm!(
            "tilestored [{0} + {4}], tmm0", "tilestored [{1} + {4}], tmm1",
            "tilestored [{2} + {4}], tmm2", "tilestored [{3} + {4}], tmm3",
            in(reg) c[0], in(reg) c[1], in(reg) c[2], in(reg) c[3], in(reg) 128_usize,
            options(nostack)
        );
    }
}
