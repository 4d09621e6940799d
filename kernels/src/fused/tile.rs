//! What differs between instruction sets: how operands lie in memory, and the product of two panels.

use super::buffer::Plain;

/// Values that are computed side by side wherever values do not meet in a product.
pub(super) const LANES: usize = 16;

/// An instruction set with a precision. The left operand of a product lies in panels of `MR` rows,
/// the right one in panels of `NR` columns, so that a product reads both in order.
///
/// Functions here and those that take a `Tile` are inlined into `with`, which is what gives them its
/// instructions. Nobody names a `Tile` but `tower::blocks`, which has asked the CPU for it.
pub(super) trait Tile: Copy + Send + Sync + 'static {
    type Elem: Plain;
    const MR: usize;
    const NR: usize;
    /// Parts of a right panel: the columns of each stand together along all of k.
    const PARTS: usize = 1;
    /// Operands are padded to whole multiples of it along k.
    const KU: usize;
    /// Values along k whose part of a right panel stays in the nearest cache.
    const K_BLOCK: usize;
    /// Terms of the exponential's series: enough for what weights are rounded to.
    const EXP_TERMS: usize;

    /// Rounded to nearest even.
    fn elem(value: f32) -> Self::Elem;
    fn value(elem: Self::Elem) -> f32;
    /// `a * b + c`, in one instruction where there is one.
    fn fma(a: f32, b: f32, c: f32) -> f32;

    /// Place of a value in a left operand of `k_len` values a row.
    fn a_at(row: usize, k: usize, k_len: usize) -> usize;
    /// Place of a value in a right operand of `k_len` values a column.
    fn b_at(column: usize, k: usize, k_len: usize) -> usize;

    /// Two neighbours along k of a row of a left operand, whose place is that of the first; `k` is even.
    ///
    /// # Safety
    /// `to` is that place, and nobody else has both now.
    unsafe fn put_pair(to: *mut Self::Elem, pair: [Self::Elem; 2]);

    /// Two neighbours along k of a column of a right operand, likewise.
    ///
    /// # Safety
    /// As `put_pair`.
    unsafe fn put_pair_of_column(to: *mut Self::Elem, pair: [Self::Elem; 2]);

    /// Two neighbours along k of `LANES` columns of a right operand, from `column`; `k` is even.
    ///
    /// # Safety
    /// `to` holds a right operand with those places, and nobody else has them now.
    unsafe fn put_pairs(
        to: *mut Self::Elem,
        column: usize,
        k: usize,
        k_len: usize,
        values: [[f32; LANES]; 2],
    );

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

    /// Runs `work` with the instructions of this set.
    ///
    /// # Safety
    /// The CPU has them, and the system grants them.
    unsafe fn with(work: impl Work);
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

    /// # Safety
    /// `index` lies within the values.
    #[inline(always)]
    pub(super) unsafe fn at(&self, index: usize) -> *mut T {
        // SAFETY: the caller's.
        unsafe { self.0.add(index) }
    }
}

/// The nearest bf16, ties to even, as the upper half of an f32; NaN stays NaN.
#[inline(always)]
pub(super) fn bf16_bits(value: f32) -> u32 {
    let bits = value.to_bits();
    let rounded = bits.wrapping_add(0x7fff + ((bits >> 16) & 1));
    if value.is_nan() { 0x7fc0_0000 } else { rounded & 0xffff_0000 }
}

/// A run of values of one row of a left operand, from `k`.
///
/// # Safety
/// `to` holds a left operand with those places, and nobody else has them now.
#[inline(always)]
pub(super) unsafe fn put_row<T: Tile>(
    to: *mut T::Elem,
    row: usize,
    k: usize,
    k_len: usize,
    values: &[f32],
) {
    let n_runs = values.len().div_ceil(T::KU);
    for run in 0..n_runs {
        let first = run * T::KU;
        let values = &values[first..values.len().min(first + T::KU)];
        // SAFETY: values of one row stand together within `KU`, whose start is a place of the caller's.
        unsafe {
            let to = to.add(T::a_at(row, k + first, k_len));
            for (i, value) in values.iter().enumerate() {
                *to.add(i) = T::elem(*value);
            }
        }
    }
}
