//! GEM's self-self attention of one head: the values weighed by how alike the tokens' values, keys and
//! queries are among themselves, and the three results averaged. Source: GEM, arXiv:2312.00878, with
//! the order of operations of gem-torch 1.0.1.

use super::attention::{Rule, Scratch, Take};
use super::block::{HeadTaker, sum_of_powers};
use super::mutual::{MAX_SCALE, Mutual};
use super::operands::Vectors;
use super::scratch::{Kept, carve, lines_of};
use super::tile::{Tile, Work};

pub(super) struct AlikeHead<'a, T: Tile> {
    /// Queries, keys, values.
    pub(super) vectors: [Vectors<'a, T::Elem>; 3],
    /// Its scale multiplies the cosine of two tokens.
    pub(super) rule: Rule,
    /// Each replaces the vectors by their own weighted means before the weights are taken.
    pub(super) n_iterations: usize,
    pub(super) taker: HeadTaker<T>,
}

impl<T: Tile> Work for AlikeHead<'_, T> {
    #[inline(always)]
    fn run(mut self) {
        let Vectors { n, width, .. } = self.vectors[0];
        let n_more = 2 * lines_of::<T::Elem>(n * width) + lines_of::<f32>(n * width);
        let n_free = Scratch::len::<T>(n, width).max(Mutual::len::<T>(n, width));
        let mut kept = Kept::take(n_free + n_more);
        let (unit, free) = carve::<T::Elem>(kept.values(), n * width);
        let (next, free) = carve::<T::Elem>(free, n * width);
        let (means, free) = carve::<f32>(free, n * width);
        means.fill(0.0);
        for which in [2, 1, 0] {
            for (token, to) in unit.chunks_exact_mut(width).enumerate() {
                put_unit::<T>(to, self.vectors[which].row(token));
            }
            for _ in 0..self.n_iterations {
                let now = Vectors { values: &*unit, n, width };
                // SAFETY: within `T::with`.
                unsafe { self.attend(free, now, now, &mut UnitTaker::<T> { to: next }) };
                unit.copy_from_slice(next);
            }
            let now = Vectors { values: &*unit, n, width };
            // SAFETY: within `T::with`.
            unsafe { self.attend(free, now, self.vectors[2], &mut SumTaker { to: means }) };
        }
        for (token, line) in means.chunks_exact_mut(width).enumerate() {
            for value in line.iter_mut() {
                *value *= 1.0 / 3.0;
            }
            self.taker.take(token, line);
        }
    }
}

impl<T: Tile> AlikeHead<'_, T> {
    /// # Safety
    /// Within `T::with`.
    #[inline(always)]
    unsafe fn attend(
        &self,
        free: &mut [f32],
        unit: Vectors<T::Elem>,
        values: Vectors<T::Elem>,
        taker: &mut impl Take,
    ) {
        let Vectors { n, width, .. } = unit;
        if self.rule.scale <= MAX_SCALE {
            let mut mutual = Mutual::carve::<T>(free, n, width);
            // SAFETY: the caller's.
            return unsafe { mutual.attend::<T>(unit, values, self.rule.scale, taker) };
        }
        let mut scratch = Scratch::carve::<T>(free, n, width);
        scratch.put::<T>(unit, values);
        // SAFETY: the caller's.
        unsafe { scratch.attend::<T>(unit, self.rule, taker) };
    }
}

/// `x` at Euclidean length 1.
#[inline(always)]
fn put_unit<T: Tile>(to: &mut [T::Elem], x: &[T::Elem]) {
    let mut sum = 0.0;
    for value in x {
        let value = T::value(*value);
        sum += value * value;
    }
    let scale = 1.0 / sum.sqrt().max(1e-12);
    for (to, value) in to.iter_mut().zip(x) {
        *to = T::elem(T::value(*value) * scale);
    }
}

struct UnitTaker<'a, T: Tile> {
    to: &'a mut [T::Elem],
}

impl<T: Tile> Take for UnitTaker<'_, T> {
    #[inline(always)]
    fn take(&mut self, query: usize, values: &[f32]) {
        let scale = 1.0 / sum_of_powers(values, 0.0, 2).sqrt().max(1e-12);
        let to = &mut self.to[query * values.len()..(query + 1) * values.len()];
        for (to, value) in to.iter_mut().zip(values) {
            *to = T::elem(value * scale);
        }
    }
}

struct SumTaker<'a> {
    to: &'a mut [f32],
}

impl Take for SumTaker<'_> {
    #[inline(always)]
    fn take(&mut self, query: usize, values: &[f32]) {
        let to = &mut self.to[query * values.len()..(query + 1) * values.len()];
        for (sum, value) in to.iter_mut().zip(values) {
            *sum += value;
        }
    }
}
