//! A linear layer on packed operands: its weights are packed once, each result goes straight to where
//! the next step wants it.

use std::ops::Range;

use super::buffer::Buffer;
use super::scratch::Kept;
use super::tile::{Beside, LANES, Multiply, PARTS, Panel, Shared, Work, with_lanes};
use crate::parallel::ParallelFor;

/// Rows that are multiplied with a group of panels before the next one is read.
const M_BLOCK: usize = 640;
/// Panels of weights that a panel of rows meets while it is near.
const GROUP: usize = 4;
/// Shares of a product for each thread: cores are not equally quick at any moment, and the last share is
/// waited for.
const SHARES: usize = 8;

/// Threads that the caller lends, and how many they are: work is cut finer for more, which changes no
/// byte of the result.
#[derive(Clone, Copy)]
pub struct Team<'a> {
    pub par: ParallelFor<'a>,
    pub n_threads: usize,
}

/// A layer's weights as right operand, and its bias.
pub(super) struct Packed<T: Multiply> {
    pub(super) panels: Buffer<T::Elem>,
    /// One value a column of the panels.
    pub(super) bias: Vec<f32>,
    pub(super) k_len: usize,
}

/// Weights as they stand in files, `[n_out, n_in]`, and `[n_out]`. Where a layer's outputs or inputs
/// are not to stand in that order, `outputs` and `inputs` name for each place the one that belongs
/// there; `None` is a place of zeros.
pub(super) struct Layer<'a> {
    pub(super) weight: &'a [f32],
    pub(super) bias: &'a [f32],
    pub(super) n_in: usize,
    pub(super) outputs: Vec<Option<usize>>,
    pub(super) inputs: Vec<Option<usize>>,
}

impl<'a> Layer<'a> {
    /// Outputs and inputs in the file's order.
    pub(super) fn plain(weight: &'a [f32], bias: &'a [f32], n_in: usize) -> Self {
        let order = |n: usize| (0..n).map(Some).collect();
        Layer { weight, bias, n_in, outputs: order(bias.len()), inputs: order(n_in) }
    }
}

impl<T: Multiply> Packed<T> {
    pub(super) fn new(layer: &Layer, team: Team) -> Self {
        let k_len = layer.inputs.len().next_multiple_of(T::KU);
        let n_panels = layer.outputs.len().div_ceil(T::NR);
        let mut panels = Buffer::zeroed(n_panels * T::NR * k_len);
        let to = Shared::new(&mut panels);
        (team.par)(n_panels, &|panel| {
            for column in panel * T::NR..((panel + 1) * T::NR).min(layer.outputs.len()) {
                let Some(output) = layer.outputs[column] else { continue };
                let row = &layer.weight[output * layer.n_in..(output + 1) * layer.n_in];
                for (k, input) in layer.inputs.iter().enumerate() {
                    let value = input.map_or(0.0, |input| row[input]);
                    // SAFETY: a place of this task's panel.
                    unsafe { *to.at(T::b_at(column, k, k_len)) = T::elem(value) };
                }
            }
        });
        let bias = layer.outputs.iter().map(|output| output.map_or(0.0, |i| layer.bias[i]));
        let mut bias: Vec<f32> = bias.collect();
        bias.resize(n_panels * T::NR, 0.0);
        Packed { panels, bias, k_len }
    }

    /// Values along k, padded: what a left operand for it has.
    pub(super) fn k_len(&self) -> usize {
        self.k_len
    }

    /// `a W^T + b` for a left operand of `m` rows, each value to where `sink` puts it.
    ///
    /// # Safety
    /// The CPU has the instructions of `T`, and `a` holds as many rows, padded to whole panels.
    pub(super) unsafe fn product(&self, a: &[T::Elem], m: usize, team: Team, sink: &impl Sink) {
        let (n_panels, m_panels) = (self.bias.len() / T::NR, m.div_ceil(T::MR));
        let n_blocks = m_panels.div_ceil(M_BLOCK / T::MR);
        let n_shares = (SHARES * team.n_threads).div_ceil(n_blocks.max(1)).min(n_panels);
        let part = |n: usize, of: usize, i: usize| n * i / of..n * (i + 1) / of;
        (team.par)(n_blocks * n_shares, &|task| {
            let rows = part(m_panels, n_blocks, task / n_shares);
            let panels = part(n_panels, n_shares, task % n_shares);
            // SAFETY: the caller's.
            unsafe { T::with(Share { weights: self, a, m, rows, panels, sink }) };
        });
    }
}

/// Where a product's values go.
pub(super) trait Sink: Sync {
    /// `NR` values of a row from a column on; called once for each, in any order and on any thread. To
    /// be `#[inline(always)]`.
    fn put(&self, row: usize, column: usize, line: &mut [f32]);

    /// Says that `put` will be called for these columns of these rows soon.
    #[inline(always)]
    fn expect(&self, _rows: Range<usize>, _columns: Range<usize>) {}
}

/// The part of a product that has these panels of rows and of weights.
struct Share<'a, T: Multiply, S> {
    weights: &'a Packed<T>,
    a: &'a [T::Elem],
    m: usize,
    rows: Range<usize>,
    panels: Range<usize>,
    sink: &'a S,
}

impl<T: Multiply, S: Sink> Work for Share<'_, T, S> {
    #[inline(always)]
    fn run(self) {
        if self.weights.k_len <= T::K_BLOCK {
            return self.at_once();
        }
        let k_len = self.weights.k_len;
        // Sums that one block of k does not end wait for the next.
        let mut kept = Kept::take(self.rows.len() * GROUP * T::MR * T::NR);
        for group in self.groups() {
            for from in (0..k_len).step_by(T::K_BLOCK) {
                self.block(group.clone(), from..k_len.min(from + T::K_BLOCK), kept.values());
            }
        }
    }
}

impl<T: Multiply, S: Sink> Share<'_, T, S> {
    fn groups(&self) -> impl Iterator<Item = Range<usize>> + use<T, S> {
        let panels = self.panels.clone();
        panels.clone().step_by(GROUP).map(move |first| first..(first + GROUP).min(panels.end))
    }

    /// All of k at a time; the sums of a panel go to the sink while the next is multiplied.
    #[inline(always)]
    fn at_once(&self) {
        let (size, k_len) = (T::MR * T::NR, self.weights.k_len);
        let mut kept = Kept::take(2 * size);
        let (now, before) = kept.values().split_at_mut(size);
        let (mut now, mut before, mut at) = (now, before, None);
        for group in self.groups() {
            for row in self.rows.clone() {
                for panel in group.clone() {
                    self.expect(row, panel);
                    let [a, b] = self.operands(row, panel, 0);
                    let mut put = PutParts { share: self, at, sums: before };
                    // SAFETY: `product`'s caller vouches for instructions and whole panels; `now` is ours.
                    unsafe { T::multiply_beside(a, b, k_len, now.as_mut_ptr(), &mut put) };
                    (now, before, at) = (put.sums, now, Some((row, panel)));
                }
            }
        }
        let mut put = PutParts { share: self, at, sums: before };
        (0..PARTS).for_each(|part| put.part(part));
    }

    /// A group of panels with these rows and a block of k, added to their sums.
    #[inline(always)]
    fn block(&self, group: Range<usize>, k: Range<usize>, sums: &mut [f32]) {
        let is_last = k.end == self.weights.k_len;
        for (i, row) in self.rows.clone().enumerate() {
            for (j, panel) in group.clone().enumerate() {
                let sums = &mut sums[(i * GROUP + j) * T::MR * T::NR..];
                let [a, b] = self.operands(row, panel, k.start);
                if is_last {
                    self.expect(row, panel);
                }
                // SAFETY: `product`'s caller vouches for instructions and whole panels; `sums` is ours.
                unsafe { T::multiply(a, b, k.len(), sums.as_mut_ptr(), k.start == 0) };
                if is_last {
                    self.put(row, panel, 0..T::MR, &mut sums[..T::MR * T::NR]);
                }
            }
        }
    }

    #[inline(always)]
    fn operands(&self, row: usize, panel: usize, k: usize) -> [Panel<T::Elem>; 2] {
        let (panels, k_len) = (&self.weights.panels, self.weights.k_len);
        let a = self.a[T::a_at(row * T::MR, k, k_len)..].as_ptr();
        let b = panels[T::b_at(panel * T::NR, k, k_len)..].as_ptr();
        [a, b].map(|at| Panel { at, k_len })
    }

    #[inline(always)]
    fn expect(&self, row: usize, panel: usize) {
        let rows = row * T::MR..self.m.min((row + 1) * T::MR);
        self.sink.expect(rows, panel * T::NR..(panel + 1) * T::NR);
    }

    /// The sums of some rows of a panel and a panel of weights.
    #[inline(always)]
    fn put(&self, row: usize, panel: usize, rows: Range<usize>, sums: &mut [f32]) {
        let column = panel * T::NR;
        let bias = self.weights.bias[column..column + T::NR].as_chunks::<LANES>().0;
        let lines = sums[rows.start * T::NR..rows.end * T::NR].chunks_exact_mut(T::NR);
        for (row, line) in (row * T::MR + rows.start..self.m).zip(lines) {
            for (lanes, bias) in line.as_chunks_mut::<LANES>().0.iter_mut().zip(bias) {
                with_lanes(lanes, bias, |value, bias| value + bias);
            }
            self.sink.put(row, column, line);
        }
    }
}

/// The sums of the panel that was multiplied last; before the first there is none.
struct PutParts<'s, 'k, 'a, T: Multiply, S> {
    share: &'s Share<'a, T, S>,
    at: Option<(usize, usize)>,
    sums: &'k mut [f32],
}

impl<T: Multiply, S: Sink> Beside for PutParts<'_, '_, '_, T, S> {
    #[inline(always)]
    fn part(&mut self, part: usize) {
        if let Some((row, panel)) = self.at {
            let rows = T::MR * part / PARTS..T::MR * (part + 1) / PARTS;
            self.share.put(row, panel, rows, self.sums);
        }
    }
}
