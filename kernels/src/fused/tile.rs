//! What differs between instruction sets: how operands lie in memory, and the product of two panels.

use std::ptr::NonNull;

use super::buffer::Plain;
use crate::gelu::Activation;

/// Values that are computed side by side wherever values do not meet in a product.
pub(super) const LANES: usize = 16;

/// Products on one set of instructions. The left operand lies in panels of `MR` rows, the right one in
/// panels of `NR` columns, so that a product reads both in order.
///
/// Functions here and those that take a `Multiply` are inlined into `with`, which is what gives them its
/// instructions. Nobody names one but `choose`, which has asked the CPU for it.
pub(super) trait Multiply: Copy + Send + Sync + 'static {
    type Elem: Plain;
    const MR: usize;
    const NR: usize;
    /// Operands are padded to whole multiples of it along k.
    const KU: usize;
    /// Values along k of a panel that are multiplied at a time; more where the sums stay in registers.
    const K_BLOCK: usize;

    /// Rounded to nearest even.
    fn elem(value: f32) -> Self::Elem;

    /// Place of a value in a left operand of `k_len` values a row.
    fn a_at(row: usize, k: usize, k_len: usize) -> usize;
    /// Place of a value in a right operand of `k_len` values a column.
    fn b_at(column: usize, k: usize, k_len: usize) -> usize;

    /// `LANES` values side by side.
    ///
    /// # Safety
    /// `to` is as many places that nobody else has now.
    #[inline(always)]
    unsafe fn put_lanes(to: *mut Self::Elem, values: &[f32; LANES]) {
        // Written at once: `to` may be where `values` are, as far as a compiler knows.
        let mut lanes = [Self::elem(0.0); LANES];
        for (lane, value) in lanes.iter_mut().zip(values) {
            *lane = Self::elem(*value);
        }
        // SAFETY: the caller's.
        unsafe { to.cast::<[Self::Elem; LANES]>().write_unaligned(lanes) };
    }

    /// `c = a b`, or `c += a b` unless `fresh`, for a left panel, a right panel and `k` values along k;
    /// `c [MR, NR]` row-major.
    ///
    /// # Safety
    /// The CPU has the instructions, `with` is around it. `a` and `b` point into operands of `a_len`
    /// and `b_len` values along k, at the start of a panel and of a multiple of `KU` along k; `k` is a
    /// multiple of `KU` and within both. `c` is `MR * NR` values that nobody else has.
    unsafe fn multiply(
        a: Panel<Self::Elem>,
        b: Panel<Self::Elem>,
        k: usize,
        c: *mut f32,
        fresh: bool,
    );

    /// As `multiply`, with the parts of `other` in between: where products have a unit of their own, it
    /// works on while others compute.
    ///
    /// # Safety
    /// As `multiply`.
    #[inline(always)]
    unsafe fn multiply_beside(
        a: Panel<Self::Elem>,
        b: Panel<Self::Elem>,
        k: usize,
        c: *mut f32,
        other: &mut impl Beside,
    ) {
        // SAFETY: the caller's.
        unsafe { Self::multiply(a, b, k, c, true) };
        (0..PARTS).for_each(|part| other.part(part));
    }

    /// Runs `work` with the instructions of this set.
    ///
    /// # Safety
    /// The CPU has them, and the system grants them.
    unsafe fn with(work: impl Work);
}

/// All that blocks need of an instruction set with a precision.
pub(super) trait Tile: Multiply {
    /// Products of whole numbers up to 127.
    type Bytes: Multiply;
    /// Values in 32 bits.
    const WORD: usize = 4 / size_of::<Self::Elem>();
    /// Terms of the exponential's series: enough for what weights are rounded to.
    const EXP_TERMS: usize;

    fn value(elem: Self::Elem) -> f32;
    /// `a * b + c`, in one instruction where there is one.
    fn fma(a: f32, b: f32, c: f32) -> f32;

    /// 32 bits of an operand: the first value alone where it fills them, else both.
    fn word(values: [Self::Elem; 2]) -> u32;

    /// Two neighbours along k of `LANES` columns of a right operand, from `column`; `k` is even.
    ///
    /// # Safety
    /// `to` holds a right operand with those places, and nobody else has them now.
    #[inline(always)]
    unsafe fn put_pairs(
        to: *mut Self::Elem,
        [column, k]: [usize; 2],
        k_len: usize,
        values: &[[f32; LANES]; 2],
    ) {
        for (i, lanes) in values.iter().enumerate() {
            // SAFETY: the caller's; the columns of a panel stand side by side.
            unsafe { Self::put_lanes(to.add(Self::b_at(column, k + i, k_len)), lanes) };
        }
    }

    /// `2^x` for `x <= 0`.
    #[inline(always)]
    fn exp2(mut x: [f32; LANES]) -> [f32; LANES] {
        // `map` would be a function of its own, compiled for every CPU.
        for lane in &mut x {
            *lane = exp2::<Self>(*lane);
        }
        x
    }

    /// Rows become columns.
    #[inline(always)]
    fn turn(block: &mut Block) {
        let rows = *block;
        for (i, words) in block.iter_mut().enumerate() {
            for (word, row) in words.iter_mut().zip(&rows) {
                *word = row[i];
            }
        }
    }

    /// Weights, `LANES` along k (rows) of as many columns, as right operand; and with `turned` those of the
    /// rows for the columns too. Each side's are added to its totals, rounded or not. `block` is f32, and lost.
    ///
    /// # Safety
    /// Both operands have their places, and nobody else has them now.
    #[inline(always)]
    unsafe fn put_both(
        block: &mut Block,
        own: (Place<Self::Elem>, &mut [f32; LANES]),
        turned: Option<(Place<Self::Elem>, &mut [f32; LANES])>,
    ) {
        // SAFETY: the caller's.
        unsafe {
            put_block::<Self>(block, own);
            if let Some(turned) = turned {
                Self::turn(block);
                put_block::<Self>(block, turned);
            }
        }
    }

    /// Activates a row on its way into an operand.
    #[inline(always)]
    fn activate(activation: Activation, row: &mut [f32]) {
        activation.apply_with(row, Self::fma);
    }
}

/// Words of 32 bits, `LANES` rows of `LANES`.
pub(super) type Block = [[u32; LANES]; LANES];

/// Where a block of `LANES` columns and as many values along k begins: column and k of a right operand.
pub(super) struct Place<E> {
    pub(super) to: *mut E,
    pub(super) at: [usize; 2],
    pub(super) k_len: usize,
}

/// Rows of f32 along k as right operand, and added up.
///
/// # Safety
/// As `Tile::put_both`.
#[inline(always)]
unsafe fn put_block<T: Tile>(block: &Block, (place, total): (Place<T::Elem>, &mut [f32; LANES])) {
    let Place { to, at: [column, k], k_len } = place;
    for (i, words) in block.as_chunks::<2>().0.iter().enumerate() {
        let mut pair = [[0.0; LANES]; 2];
        for (weights, words) in pair.iter_mut().zip(words) {
            for lane in 0..LANES {
                weights[lane] = f32::from_bits(words[lane]);
            }
            with_lanes(total, weights, |total, weight| total + weight);
        }
        // SAFETY: the caller's; two neighbours along k of `LANES` columns.
        unsafe { T::put_pairs(to, [column, k + 2 * i], k_len, &pair) };
    }
}

/// Parts of what is done beside a product.
pub(super) const PARTS: usize = 8;

/// Work that does not wait for the product it is done beside.
pub(super) trait Beside {
    /// One of the `PARTS`, in order. To be `#[inline(always)]`.
    fn part(&mut self, part: usize);
}

/// What `Tile::with` runs. A closure would do, but for that nobody can ask that it be inlined: it would
/// be compiled for every CPU, and call where an instruction does.
pub(super) trait Work {
    /// To be `#[inline(always)]`.
    fn run(self);
}

/// A place in an operand, with the operand's values along k.
#[derive(Clone, Copy)]
pub(super) struct Panel<E> {
    pub(super) at: *const E,
    pub(super) k_len: usize,
}

/// A pointer that tasks share, each for places of its own.
#[derive(Clone, Copy)]
pub(super) struct Shared<T>(*mut T);

// SAFETY: who reads or writes through it says why nobody else does.
unsafe impl<T: Send> Send for Shared<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for Shared<T> {}

impl<T> Shared<T> {
    pub(super) fn new(values: &mut [T]) -> Self {
        Shared(values.as_mut_ptr())
    }

    /// Values from here on.
    pub(super) fn of(first: NonNull<T>) -> Self {
        Shared(first.as_ptr())
    }

    /// # Safety
    /// `index` lies within the values.
    #[inline(always)]
    pub(super) unsafe fn at(&self, index: usize) -> *mut T {
        // SAFETY: the caller's.
        unsafe { self.0.add(index) }
    }

    /// Brings the line of a value into the nearest cache; of an index that is none, nothing.
    #[inline(always)]
    pub(super) fn expect(&self, index: usize) {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: every x86-64 has the instruction, and it reads nothing that a program sees.
        unsafe {
            use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
            _mm_prefetch::<_MM_HINT_T0>(self.0.wrapping_add(index).cast());
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = index;
    }
}

/// The nearest bf16, ties to even, as the upper half of an f32; NaN stays NaN.
#[inline(always)]
pub(super) fn bf16_bits(value: f32) -> u32 {
    let bits = value.to_bits();
    let rounded = bits.wrapping_add(0x7fff + ((bits >> 16) & 1));
    if value.is_nan() { 0x7fc0_0000 } else { rounded & 0xffff_0000 }
}

/// `to` becomes `f` of its lanes and those of `values`. Both are copied first: where they may overlap,
/// a compiler goes one by one.
#[inline(always)]
pub(super) fn with_lanes(
    to: &mut [f32; LANES],
    values: &[f32; LANES],
    f: impl Fn(f32, f32) -> f32,
) {
    let (mut lanes, values) = (*to, *values);
    for lane in 0..LANES {
        lanes[lane] = f(lanes[lane], values[lane]);
    }
    *to = lanes;
}

/// A run of values of one row of a left operand, from `k`.
///
/// # Safety
/// `to` holds a left operand with those places, and nobody else has them now.
#[inline(always)]
pub(super) unsafe fn put_row<T: Multiply>(
    to: *mut T::Elem,
    row: usize,
    k: usize,
    k_len: usize,
    values: &[f32],
) {
    if T::KU == 1 {
        let at = T::a_at(row, k, k_len);
        for (i, value) in values.iter().enumerate() {
            // SAFETY: neighbours along k stand a panel's rows apart.
            unsafe { *to.add(at + i * T::MR) = T::elem(*value) };
        }
        return;
    }
    for (run, values) in values.chunks(T::KU).enumerate() {
        let (lanes, rest) = values.as_chunks::<LANES>();
        // SAFETY: values of one row stand together within `KU`, whose start is a place of the caller's.
        unsafe {
            let to = to.add(T::a_at(row, k + run * T::KU, k_len));
            for (i, lanes) in lanes.iter().enumerate() {
                T::put_lanes(to.add(i * LANES), lanes);
            }
            for (i, value) in rest.iter().enumerate() {
                *to.add(lanes.len() * LANES + i) = T::elem(*value);
            }
        }
    }
}

/// `2^x` for `x <= 0`; below -126 as 2^-126. Relative error below 3e-7 with six terms of the series,
/// below 5e-5 with four.
#[inline(always)]
fn exp2<T: Tile>(x: f32) -> f32 {
    const ROUNDER: f32 = 12_582_912.0;
    let x = if x < -126.0 { -126.0 } else { x };
    let shifted = x + ROUNDER;
    let value = exp2_series::<T>(x - (shifted - ROUNDER));
    // Adding to the exponent's bits multiplies by a power of two.
    f32::from_bits(value.to_bits().wrapping_add(shifted.to_bits() << 23))
}

/// `2^x` for `x` of at most a half.
#[inline(always)]
pub(super) fn exp2_series<T: Tile>(x: f32) -> f32 {
    const TERMS: [f32; 7] = [
        1.0,
        std::f32::consts::LN_2,
        0.240_226_5,
        0.055_504_11,
        0.009_618_129,
        0.001_333_355_8,
        0.000_154_035_3,
    ];
    let mut value = TERMS[T::EXP_TERMS];
    for term in (0..T::EXP_TERMS).rev() {
        value = T::fma(value, x, TERMS[term]);
    }
    value
}
