//! The tile registers: eight of 16 rows of 64 bytes each, four of which hold sums.

use std::arch::asm;

use super::tile::{Beside, PARTS, Panel, Work};

/// A panel's first 16 rows or columns, and its second, which stand behind all of the first.
#[inline(always)]
pub(super) fn halves<E>(panel: Panel<E>) -> [*const u8; 2] {
    [panel.at, panel.at.wrapping_add(16 * panel.k_len)].map(<*const E>::cast)
}

/// # Safety
/// The CPU has tiles, and the system grants them.
#[inline(always)]
pub(super) unsafe fn with_shapes(work: impl Work) {
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
    // SAFETY: a CPU with tiles has AVX-512 and its conversions to bf16; `found` asks for both.
    unsafe { with_tiles(work) };
    // SAFETY: the registers hold nothing that is still wanted.
    unsafe { asm!("tilerelease", options(nostack, nomem)) };
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,avx2,fma")]
fn with_tiles(work: impl Work) {
    work.run();
}

/// Asks for the lines of the four tiles that are loaded two steps on: they come into the nearest cache
/// while the tiles at hand multiply, which loads of tiles by themselves do not see to.
macro_rules! ahead {
    ($($line:literal),*) => {
        concat!($(
            "prefetcht0 [{a0} + 2048 + ", $line, "]\n", "prefetcht0 [{a1} + 2048 + ", $line, "]\n",
            "prefetcht0 [{b0} + 2048 + ", $line, "]\n", "prefetcht0 [{b1} + 2048 + ", $line, "]\n",
        )*)
    };
}

/// Sums of 0.
///
/// # Safety
/// Tiles are shaped.
#[inline(always)]
pub(super) unsafe fn zero() {
    // SAFETY: the caller's.
    unsafe {
        asm!(
            "tilezero tmm0",
            "tilezero tmm1",
            "tilezero tmm2",
            "tilezero tmm3",
            options(nostack, nomem)
        );
    }
}

/// The four tiles of 32 x 32 values.
#[inline(always)]
fn quarters(c: *mut f32) -> [*mut f32; 4] {
    [0, 16, 32 * 16, 32 * 16 + 16].map(|at| c.wrapping_add(at))
}

/// # Safety
/// `c` is 32 x 32 values, and tiles are shaped.
#[inline(always)]
pub(super) unsafe fn load(c: *mut f32) {
    let c = quarters(c);
    // SAFETY: the caller's.
    unsafe {
        asm!(
            "tileloadd tmm0, [{0} + {4}]", "tileloadd tmm1, [{1} + {4}]",
            "tileloadd tmm2, [{2} + {4}]", "tileloadd tmm3, [{3} + {4}]",
            in(reg) c[0], in(reg) c[1], in(reg) c[2], in(reg) c[3], in(reg) 128_usize,
            options(nostack, readonly)
        );
    }
}

/// # Safety
/// `c` is 32 x 32 values that nobody else has, and tiles are shaped.
#[inline(always)]
pub(super) unsafe fn store(c: *mut f32) {
    let c = quarters(c);
    // SAFETY: the caller's.
    unsafe {
        asm!(
            "tilestored [{0} + {4}], tmm0", "tilestored [{1} + {4}], tmm1",
            "tilestored [{2} + {4}], tmm2", "tilestored [{3} + {4}], tmm3",
            in(reg) c[0], in(reg) c[1], in(reg) c[2], in(reg) c[3], in(reg) 128_usize,
            options(nostack)
        );
    }
}

/// Two tiles by two, `n` steps along k, added to the sums; of bytes or of bf16.
///
/// # Safety
/// `a` and `b` point at `n > 0` tiles each, and tiles are shaped.
#[inline(always)]
pub(super) unsafe fn steps<const BYTES: bool>(a: [*const u8; 2], b: [*const u8; 2], n: usize) {
    macro_rules! steps_with {
        ($product:literal) => {
            asm!(
                "2:",
                "tileloadd tmm4, [{a0} + {row}]",
                "tileloadd tmm6, [{b0} + {row}]",
                concat!($product, " tmm0, tmm4, tmm6"),
                "tileloadd tmm5, [{a1} + {row}]",
                concat!($product, " tmm2, tmm5, tmm6"),
                "tileloadd tmm7, [{b1} + {row}]",
                ahead!(0, 64, 128, 192, 256, 320, 384, 448, 512, 576, 640, 704, 768, 832, 896, 960),
                concat!($product, " tmm1, tmm4, tmm7"),
                concat!($product, " tmm3, tmm5, tmm7"),
                "add {a0}, 1024", "add {a1}, 1024", "add {b0}, 1024", "add {b1}, 1024",
                "dec {n}",
                "jnz 2b",
                a0 = inout(reg) a[0] => _, a1 = inout(reg) a[1] => _,
                b0 = inout(reg) b[0] => _, b1 = inout(reg) b[1] => _,
                n = inout(reg) n => _, row = in(reg) 64_usize,
                options(nostack, readonly)
            )
        };
    }
    // SAFETY: the caller's.
    unsafe {
        if BYTES {
            steps_with!("tdpbssd");
        } else {
            steps_with!("tdpbf16ps");
        }
    }
}

/// As `steps` on sums of 0, with the parts of `other` in between.
///
/// # Safety
/// As `steps`.
#[inline(always)]
pub(super) unsafe fn steps_beside<const BYTES: bool>(
    a: [*const u8; 2],
    b: [*const u8; 2],
    n: usize,
    other: &mut impl Beside,
) {
    // SAFETY: the caller's.
    unsafe {
        zero();
        for part in 0..PARTS {
            let (first, end) = (n * part / PARTS, n * (part + 1) / PARTS);
            if first < end {
                let from = |at: *const u8| at.add(1024 * first);
                steps::<BYTES>(a.map(from), b.map(from), end - first);
            }
            other.part(part);
        }
    }
}
