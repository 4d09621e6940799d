//! Attention of unit vectors among themselves. How alike two tokens are is the same from either side, so
//! each pair of blocks of tokens is compared once and serves both. No vector is more like another than
//! like itself, so the maximum of the scores is known before they are.

use super::attention::Take;
use super::buffer::Plain;
use super::operands::{Vectors, put_keys, put_queries, put_values, turn_sums};
use super::scratch::{carve, lines_of};
use super::tile::{LANES, Panel, Place, Tile};

/// Memory of one head, carved out of a thread's scratch.
pub(super) struct Mutual<'s, E> {
    /// Left operand: unit vectors.
    keys: &'s mut [E],
    /// Left operand: channels of what is weighed.
    values: &'s mut [E],
    /// Right operand: a block of unit vectors.
    queries: &'s mut [E],
    /// Right operand: how alike tokens of one block (along k) are to a panel of another.
    weights: &'s mut [E],
    /// Right operand: the same from the other side, for a whole block.
    turned_weights: &'s mut [E],
    scores: &'s mut [f32],
    /// For each panel of tokens its channels.
    sums: &'s mut [f32],
    /// Each token's sum of weights.
    totals: &'s mut [f32],
    results: &'s mut [f32],
}

/// The largest factor of a cosine: above it a rounded vector that is longer than 1 could overflow.
pub(super) const MAX_SCALE: f32 = 64.0;

/// Tokens of a block: whole panels both ways.
const fn block_of<T: Tile>() -> usize {
    let mut both = T::MR;
    while !both.is_multiple_of(T::NR) {
        both += T::MR;
    }
    if both > 128 { both } else { 128 / both * both }
}

/// Where two blocks of tokens start.
#[derive(Clone, Copy)]
struct Pair {
    queries: usize,
    keys: usize,
}

impl<'s, E: Plain> Mutual<'s, E> {
    fn lens<T: Tile>(n: usize, width: usize) -> ([usize; 5], [usize; 4]) {
        let (n_rows, block) = (n.next_multiple_of(T::MR), block_of::<T>());
        let (n_columns, channels) = (n.next_multiple_of(T::NR), width.next_multiple_of(T::MR));
        let of_elements =
            [n_rows * width, channels * n_rows, block * width, block * T::NR, block * block];
        (
            of_elements,
            [block * T::NR, channels * n_columns, n.next_multiple_of(block), T::NR * width],
        )
    }

    /// f32 values that `carve` takes from the front.
    pub(super) fn len<T: Tile<Elem = E>>(n: usize, width: usize) -> usize {
        let (of_elements, of_f32) = Self::lens::<T>(n, width);
        let elements: usize = of_elements.map(lines_of::<E>).iter().sum();
        elements + of_f32.map(lines_of::<f32>).iter().sum::<usize>()
    }

    /// Takes what it needs from the front of `free`.
    pub(super) fn carve<T: Tile<Elem = E>>(free: &'s mut [f32], n: usize, width: usize) -> Self {
        let (elements, f32s) = Self::lens::<T>(n, width);
        let (keys, free) = carve(free, elements[0]);
        let (values, free) = carve(free, elements[1]);
        let (queries, free) = carve(free, elements[2]);
        let (weights, free) = carve(free, elements[3]);
        let (turned_weights, free) = carve(free, elements[4]);
        let (scores, free) = carve(free, f32s[0]);
        let (sums, free) = carve(free, f32s[1]);
        let (totals, free) = carve(free, f32s[2]);
        let (results, _) = carve(free, f32s[3]);
        Mutual { keys, values, queries, weights, turned_weights, scores, sums, totals, results }
    }

    /// `softmax(scale u u^T) v` for unit rows `u`; results go to `taker`. `scale` is at most `MAX_SCALE`.
    ///
    /// # Safety
    /// The CPU has the instructions of `T`; within `T::with`.
    #[inline(always)]
    pub(super) unsafe fn attend<T: Tile<Elem = E>>(
        &mut self,
        unit: Vectors<E>,
        values: Vectors<E>,
        scale: f32,
        taker: &mut impl Take,
    ) {
        let (n, width) = (unit.n, unit.width);
        put_keys::<T>(self.keys, unit);
        put_values::<T>(self.values, values);
        self.sums.fill(0.0);
        self.totals.fill(0.0);
        for queries in (0..n).step_by(block_of::<T>()) {
            for (i, first) in (queries..n.min(queries + block_of::<T>())).step_by(T::NR).enumerate()
            {
                put_queries::<T>(&mut self.queries[i * T::NR * width..], unit, first);
            }
            for keys in (queries..n).step_by(block_of::<T>()) {
                // SAFETY: the caller's.
                unsafe { self.compare::<T>(n, width, Pair { queries, keys }, scale) };
            }
        }
        for first in (0..n).step_by(T::NR) {
            let mut scales = [0.0; 64];
            for (scale, total) in scales.iter_mut().zip(&self.totals[first..n]) {
                *scale = 1.0 / total;
            }
            let channels = width.next_multiple_of(T::MR);
            let sums = &self.sums[first * channels..(first + T::NR) * channels];
            turn_sums::<T>(sums, &scales[..T::NR], width, self.results);
            for (i, line) in self.results.chunks_exact(width).take(n - first).enumerate() {
                taker.take(first + i, line);
            }
        }
    }

    /// Two blocks of tokens, or one with itself: each is weighed for the other.
    ///
    /// # Safety
    /// As `attend`.
    #[inline(always)]
    unsafe fn compare<T: Tile<Elem = E>>(&mut self, n: usize, width: usize, at: Pair, scale: f32) {
        let n_rows = n.next_multiple_of(T::MR);
        let block = block_of::<T>();
        let n_keys = block.min(n_rows - at.keys);
        let both = at.queries != at.keys;
        for first in (at.queries..n.min(at.queries + block)).step_by(T::NR) {
            let place = first - at.queries;
            // SAFETY: panels of keys that there are, and all `width` channels; `scores` holds a block.
            unsafe {
                let b = Panel { at: self.queries[place * width..].as_ptr(), k_len: width };
                for key in (0..n_keys).step_by(T::MR) {
                    let a = self.keys.as_ptr().add(T::a_at(at.keys + key, 0, width));
                    let c = self.scores.as_mut_ptr().add(key * T::NR);
                    T::multiply(Panel { at: a, k_len: width }, b, width, c, true);
                }
            }
            self.hide::<T>(n, at.keys, first);
            self.weigh::<T>(scale, at.keys, n_keys, first, both.then_some(place));
            // SAFETY: `n_keys` weights of a panel, which are a multiple of `KU`.
            unsafe { self.add::<T>(n, width, first, at.keys, n_keys, None) };
        }
        if both {
            let n_queries = block.min(n_rows - at.queries);
            for first in (at.keys..n.min(at.keys + block)).step_by(T::NR) {
                let place = Some(first - at.keys);
                // SAFETY: as above, for the other side.
                unsafe { self.add::<T>(n, width, first, at.queries, n_queries, place) };
            }
        }
    }

    /// Values of `len` tokens from `from`, weighed, onto the sums of a panel of tokens from `first`: with
    /// the weights of this panel, or with those from the other side, where the panel has a place.
    ///
    /// # Safety
    /// As `attend`; `len` values along k stand behind `from`.
    #[inline(always)]
    unsafe fn add<T: Tile<Elem = E>>(
        &mut self,
        n: usize,
        width: usize,
        first: usize,
        from: usize,
        len: usize,
        place: Option<usize>,
    ) {
        let (k_len, n_rows) = (block_of::<T>(), n.next_multiple_of(T::MR));
        let channels = width.next_multiple_of(T::MR);
        let weights = match place {
            None => &self.weights[..],
            Some(place) => &self.turned_weights[T::b_at(place, 0, k_len)..],
        };
        let b = Panel { at: weights.as_ptr(), k_len };
        for channel in (0..channels).step_by(T::MR) {
            let c = &mut self.sums[first * channels + channel * T::NR..][..T::MR * T::NR];
            // SAFETY: the caller's; `c` is a panel's channels.
            unsafe {
                let at = self.values.as_ptr().add(T::a_at(channel, from, n_rows));
                T::multiply(Panel { at, k_len: n_rows }, b, len, c.as_mut_ptr(), false);
            }
        }
    }

    /// Scores of tokens that are none.
    #[inline(always)]
    fn hide<T: Tile<Elem = E>>(&mut self, n: usize, keys: usize, first: usize) {
        let n_keys = (n - keys).min(block_of::<T>());
        self.scores[n_keys * T::NR..].fill(f32::NEG_INFINITY);
        if first + T::NR > n {
            for line in self.scores[..n_keys * T::NR].chunks_exact_mut(T::NR) {
                line[n - first..].fill(f32::NEG_INFINITY);
            }
        }
    }

    /// Scores become weights of the panel of queries from `first`, and with `place`, its place in its
    /// block, those of the keys too.
    #[inline(always)]
    fn weigh<T: Tile<Elem = E>>(
        &mut self,
        scale: f32,
        keys: usize,
        n_keys: usize,
        first: usize,
        place: Option<usize>,
    ) {
        let gain = scale * std::f32::consts::LOG2_E;
        for lane in (0..T::NR).step_by(LANES) {
            let mut total = [0.0; LANES];
            for key in (0..n_keys).step_by(LANES) {
                let mut block = [[0; LANES]; LANES];
                for (i, words) in block.iter_mut().enumerate() {
                    let line = &self.scores[(key + i) * T::NR + lane..][..LANES];
                    let mut weights = [0.0; LANES];
                    for (weight, score) in weights.iter_mut().zip(line) {
                        *weight = T::fma(*score, gain, -gain);
                    }
                    weights = T::exp2(weights);
                    for lane in 0..LANES {
                        words[lane] = weights[lane].to_bits();
                    }
                }
                let k_len = block_of::<T>();
                let own = Place { to: self.weights.as_mut_ptr(), at: [lane, key], k_len };
                let totals = &mut self.totals[keys + key..].as_chunks_mut::<LANES>().0[0];
                let turned = place.map(|place| {
                    let to = self.turned_weights.as_mut_ptr();
                    (Place { to, at: [key, place + lane], k_len }, totals)
                });
                // SAFETY: both operands hold a block of tokens either way.
                unsafe { T::put_both(&mut block, (own, &mut total), turned) };
            }
            for (sum, total) in self.totals[first + lane..].iter_mut().zip(&total) {
                *sum += total;
            }
        }
    }
}
