//! Attention of one head in blocks of keys, with a running maximum: no matrix of n x n weights is ever
//! in memory.
//!
//! Scores are computed with keys as rows and queries as columns. A query's maximum and sum then run
//! down a column, so nothing is added across lanes, and the weights stand as the next product's right
//! operand does.

use super::buffer::Plain;
use super::operands::{Vectors, put_keys, put_queries, put_values, turn_sums};
use super::scratch::{carve, lines_of};
use super::tile::{LANES, Panel, Tile, with_lanes};

/// Keys whose scores are held at a time.
const KEY_BLOCK: usize = 128;

/// Powers of two that a score may be above the maximum that weights are relative to: a weight of 256
/// is as exact as one of 1, and the sums stay as they are.
const LEEWAY: f32 = 8.0;

/// Where results go.
pub(super) trait Take {
    /// A query's index and its result, `width` values; each once. To be `#[inline(always)]`.
    fn take(&mut self, query: usize, values: &[f32]);
}

/// How scores become weights.
#[derive(Clone, Copy)]
pub(super) struct Rule {
    /// Multiplies a score; above 0.
    pub(super) scale: f32,
    /// A token sees itself and what stands before it.
    pub(super) causal: bool,
}

/// Memory of one head's attention, carved out of a thread's scratch.
pub(super) struct Scratch<'s, E> {
    keys: &'s mut [E],
    values: &'s mut [E],
    queries: &'s mut [E],
    weights: &'s mut [E],
    scores: &'s mut [f32],
    sums: &'s mut [f32],
    turned: &'s mut [f32],
}

/// Sizes for `n` tokens of `width`.
#[derive(Clone, Copy)]
struct Sizes {
    /// Tokens, padded to whole panels.
    n: usize,
    block: usize,
    /// Channels, padded to whole panels of rows.
    channels: usize,
}

fn sizes<T: Tile>(n: usize, width: usize) -> Sizes {
    let n = n.next_multiple_of(T::MR);
    Sizes { n, block: n.min(KEY_BLOCK / T::MR * T::MR), channels: width.next_multiple_of(T::MR) }
}

impl<'s, E: Plain> Scratch<'s, E> {
    /// f32 values that `carve` takes from the front.
    pub(super) fn len<T: Tile<Elem = E>>(n: usize, width: usize) -> usize {
        let Sizes { n, block, channels } = sizes::<T>(n, width);
        let of_elements = [n * width, channels * n, T::NR * width, block * T::NR];
        let of_f32 = [block * T::NR, channels * T::NR, T::NR * width];
        of_elements.map(lines_of::<E>).iter().chain(&of_f32.map(lines_of::<f32>)).sum()
    }

    /// Takes what it needs from the front of `free`.
    pub(super) fn carve<T: Tile<Elem = E>>(free: &'s mut [f32], n: usize, width: usize) -> Self {
        let Sizes { n, block, channels } = sizes::<T>(n, width);
        let (keys, free) = carve(free, n * width);
        let (values, free) = carve(free, channels * n);
        let (queries, free) = carve(free, T::NR * width);
        let (weights, free) = carve(free, block * T::NR);
        let (scores, free) = carve(free, block * T::NR);
        let (sums, free) = carve(free, channels * T::NR);
        let (turned, _) = carve(free, T::NR * width);
        Scratch { keys, values, queries, weights, scores, sums, turned }
    }

    /// Keys and values of the queries to come.
    #[inline(always)]
    pub(super) fn put<T: Tile<Elem = E>>(&mut self, keys: Vectors<E>, values: Vectors<E>) {
        put_keys::<T>(self.keys, keys);
        put_values::<T>(self.values, values);
    }

    /// Softmax of scores, times values, for what `put` put here; results go to `taker`.
    ///
    /// # Safety
    /// The CPU has the instructions of `T`; within `T::with`.
    #[inline(always)]
    pub(super) unsafe fn attend<T: Tile<Elem = E>>(
        &mut self,
        queries: Vectors<E>,
        rule: Rule,
        taker: &mut impl Take,
    ) {
        let (n, width) = (queries.n, queries.width);
        for first in (0..n).step_by(T::NR) {
            // SAFETY: the caller's.
            unsafe { self.columns::<T>(queries, first, rule) };
            let n_columns = T::NR.min(n - first);
            for column in 0..n_columns {
                let line = &self.turned[column * width..(column + 1) * width];
                taker.take(first + column, line);
            }
        }
    }

    /// Results of `NR` queries from `first`, query by query, in `turned`.
    ///
    /// # Safety
    /// As `attend`.
    #[inline(always)]
    unsafe fn columns<T: Tile<Elem = E>>(&mut self, queries: Vectors<E>, first: usize, rule: Rule) {
        let (n, width) = (queries.n, queries.width);
        let Sizes { n: n_padded, block, channels } = sizes::<T>(n, width);
        put_queries::<T>(self.queries, queries, first);
        let (mut peaks, mut totals) = ([f32::NEG_INFINITY; 64], [0.0_f32; 64]);
        let n_seen = if rule.causal { n_padded.min(first + T::NR) } else { n_padded };
        let n_seen = n_seen.next_multiple_of(T::MR).min(n_padded);
        for from in (0..n_seen).step_by(block) {
            let len = block.min(n_seen - from);
            // SAFETY: panels of `len` keys from `from`, all `width` channels; `scores` holds them.
            unsafe {
                let b = Panel { at: self.queries.as_ptr(), k_len: width };
                for key in (0..len).step_by(T::MR) {
                    let at = self.keys.as_ptr().add(T::a_at(from + key, 0, width));
                    let c = self.scores.as_mut_ptr().add(key * T::NR);
                    T::multiply(Panel { at, k_len: width }, b, width, c, true);
                }
            }
            self.hide::<T>(n, first, from, len, rule.causal);
            // Columns behind the last query are weighed by nobody.
            let n_columns = T::NR.min(n - first).next_multiple_of(LANES);
            let (peaks, totals) = (&mut peaks[..n_columns], &mut totals[..n_columns]);
            self.weigh::<T>(len, rule.scale, from == 0, peaks, totals);
            // SAFETY: as many weights as were just written, and values of the same tokens.
            unsafe {
                let b = Panel { at: self.weights.as_ptr(), k_len: len };
                for channel in (0..channels).step_by(T::MR) {
                    let at = self.values.as_ptr().add(T::a_at(channel, from, n_padded));
                    let c = self.sums.as_mut_ptr().add(channel * T::NR);
                    T::multiply(Panel { at, k_len: n_padded }, b, len, c, from == 0);
                }
            }
        }
        for total in &mut totals[..T::NR] {
            *total = 1.0 / *total;
        }
        turn_sums::<T>(self.sums, &totals[..T::NR], width, self.turned);
    }

    /// Scores of keys that are none, or that a query does not see.
    #[inline(always)]
    fn hide<T: Tile<Elem = E>>(
        &mut self,
        n: usize,
        first: usize,
        from: usize,
        len: usize,
        causal: bool,
    ) {
        let n_plain = if causal { first.min(n) } else { n };
        for key in n_plain.saturating_sub(from)..len {
            let line = &mut self.scores[key * T::NR..(key + 1) * T::NR];
            let n_hidden = match (from + key >= n, causal) {
                (true, _) => T::NR,
                (_, true) => (from + key).saturating_sub(first).min(T::NR),
                _ => 0,
            };
            line[..n_hidden].fill(f32::NEG_INFINITY);
        }
    }

    /// Scores become weights relative to the running maximum; what was summed before is rescaled to it
    /// where the maximum has grown by more than `LEEWAY`.
    #[inline(always)]
    fn weigh<T: Tile<Elem = E>>(
        &mut self,
        len: usize,
        scale: f32,
        is_first: bool,
        peaks: &mut [f32],
        totals: &mut [f32],
    ) {
        let gain = scale * std::f32::consts::LOG2_E;
        for lane in (0..peaks.len()).step_by(LANES) {
            let mut peak = [f32::NEG_INFINITY; LANES];
            for line in self.scores[..len * T::NR].chunks_exact(T::NR) {
                for (peak, score) in peak.iter_mut().zip(&line[lane..lane + LANES]) {
                    *peak = if *score > *peak { *score } else { *peak };
                }
            }
            let (mut shift, mut fade, mut total) = ([0.0; LANES], [0.0; LANES], [0.0; LANES]);
            let mut is_moved = false;
            for i in 0..LANES {
                let (before, now) = (peaks[lane + i], peak[i] * gain);
                shift[i] = if now > before + LEEWAY { now } else { before };
                fade[i] = before - shift[i];
                is_moved |= !is_first && shift[i] != before;
            }
            if !is_first {
                total.copy_from_slice(&totals[lane..lane + LANES]);
            }
            if is_moved {
                let fade = T::exp2(fade);
                with_lanes(&mut total, &fade, |total, fade| total * fade);
                for line in self.sums.chunks_exact_mut(T::NR) {
                    let sums = &mut line[lane..].as_chunks_mut::<LANES>().0[0];
                    with_lanes(sums, &fade, |sum, fade| sum * fade);
                }
            }
            for key in (0..len).step_by(2) {
                let mut pair = [[0.0; LANES]; 2];
                for (half, weights) in pair.iter_mut().enumerate() {
                    let line = &self.scores[(key + half) * T::NR + lane..][..LANES];
                    for i in 0..LANES {
                        weights[i] = T::fma(line[i], gain, -shift[i]);
                    }
                    *weights = T::exp2(*weights);
                    for i in 0..LANES {
                        total[i] += weights[i];
                    }
                }
                // SAFETY: a pair of keys of this block, and `LANES` of its columns.
                unsafe { T::put_pairs(self.weights.as_mut_ptr(), [lane, key], len, &pair) };
            }
            peaks[lane..lane + LANES].copy_from_slice(&shift);
            totals[lane..lane + LANES].copy_from_slice(&total);
        }
    }
}
