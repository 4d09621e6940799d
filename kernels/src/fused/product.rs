//! A linear layer on packed operands: its weights are packed once, each result goes straight to where
//! the next step wants it.

use std::ops::Range;

use super::buffer::Buffer;
use super::scratch::Kept;
use super::tile::{LANES, Panel, Shared, Tile, Work, with_lanes};
use crate::parallel::ParallelFor;

/// Rows that are multiplied with a group of panels before the next one is read.
const M_BLOCK: usize = 640;
/// Panels of weights that a panel of rows meets while it is near.
const GROUP: usize = 4;

/// Threads that the caller lends, and how many they are: work is cut finer for more, which changes no
/// byte of the result.
#[derive(Clone, Copy)]
pub struct Team<'a> {
    pub par: ParallelFor<'a>,
    pub n_threads: usize,
}

/// A layer's weights as right operand, and its bias.
pub(super) struct Packed<T: Tile> {
    panels: Buffer<T::Elem>,
    /// One value a column of the panels.
    bias: Vec<f32>,
    k_len: usize,
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

impl<T: Tile> Packed<T> {
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
        let n_shares = (2 * team.n_threads).div_ceil(n_blocks.max(1)).min(n_panels);
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
struct Share<'a, T: Tile, S> {
    weights: &'a Packed<T>,
    a: &'a [T::Elem],
    m: usize,
    rows: Range<usize>,
    panels: Range<usize>,
    sink: &'a S,
}

impl<T: Tile, S: Sink> Work for Share<'_, T, S> {
    #[inline(always)]
    fn run(self) {
        let k_len = self.weights.k_len;
        // Sums that one block of k does not end wait for the next.
        let n_waiting = if k_len > T::K_BLOCK { self.rows.len() * GROUP } else { 1 };
        let mut kept = Kept::take(n_waiting * T::MR * T::NR);
        for first in self.panels.clone().step_by(GROUP) {
            let group = first..(first + GROUP).min(self.panels.end);
            for from in (0..k_len).step_by(T::K_BLOCK) {
                let k = from..k_len.min(from.saturating_add(T::K_BLOCK));
                self.block(group.clone(), k, n_waiting > 1, kept.values());
            }
        }
    }
}

impl<T: Tile, S: Sink> Share<'_, T, S> {
    /// A group of panels with these rows and a block of k, added to their sums.
    #[inline(always)]
    fn block(&self, group: Range<usize>, k: Range<usize>, waits: bool, sums: &mut [f32]) {
        let (panels, k_len) = (&self.weights.panels, self.weights.k_len);
        for (i, row) in self.rows.clone().enumerate() {
            let a = self.a[T::a_at(row * T::MR, k.start, k_len)..].as_ptr();
            for (j, panel) in group.clone().enumerate() {
                let b = panels[T::b_at(panel * T::NR, k.start, k_len)..].as_ptr();
                let sums = &mut sums[if waits { (i * GROUP + j) * T::MR * T::NR } else { 0 }..];
                if k.end == k_len {
                    let columns = panel * T::NR..(panel + 1) * T::NR;
                    self.sink.expect(row * T::MR..self.m.min((row + 1) * T::MR), columns);
                }
                let [a, b] = [a, b].map(|at| Panel { at, k_len });
                // SAFETY: `product`'s caller vouches for instructions and whole panels; `sums` is ours.
                unsafe { T::multiply(a, b, k.len(), sums.as_mut_ptr(), k.start == 0) };
                if k.end == k_len {
                    self.put(row, panel, &mut sums[..T::MR * T::NR]);
                }
            }
        }
    }

    /// The sums of a panel of rows and one of weights.
    #[inline(always)]
    fn put(&self, row: usize, panel: usize, sums: &mut [f32]) {
        let column = panel * T::NR;
        let bias = self.weights.bias[column..column + T::NR].as_chunks::<LANES>().0;
        for (row, line) in (row * T::MR..self.m).zip(sums.chunks_exact_mut(T::NR)) {
            for (lanes, bias) in line.as_chunks_mut::<LANES>().0.iter_mut().zip(bias) {
                with_lanes(lanes, bias, |value, bias| value + bias);
            }
            self.sink.put(row, column, line);
        }
    }
}
