//! A linear layer on packed operands: its weights are packed once, each result goes straight to where
//! the next step wants it.

use std::ops::Range;

use super::buffer::Buffer;
use super::scratch::Kept;
use super::tile::{Panel, Shared, Tile, Work};
use crate::parallel::ParallelFor;

/// Rows that are multiplied with a panel of weights before the next one is read: their part of k
/// stays in the second cache.
const M_BLOCK: usize = 320;
/// Bytes of a row's part of k that stay there.
const SLAB_BYTES: usize = 2048;

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
        let slab = (SLAB_BYTES / size_of::<T::Elem>()).next_multiple_of(T::K_BLOCK);
        let k_len = self.weights.k_len;
        let is_slabbed = k_len > slab;
        let n_sums = self.rows.len() * T::MR * T::NR;
        let mut kept = Kept::take(n_sums * if is_slabbed { self.panels.len() } else { 1 });
        for from in (0..k_len).step_by(slab) {
            let k = from..(from + slab).min(k_len);
            for (i, panel) in self.panels.clone().enumerate() {
                let sums = &mut kept.values()[if is_slabbed { i * n_sums } else { 0 }..];
                self.slab(panel, k.clone(), sums);
            }
        }
    }
}

impl<T: Tile, S: Sink> Share<'_, T, S> {
    /// One panel of weights with a block of rows and a slab of k, added to its sums.
    #[inline(always)]
    fn slab(&self, panel: usize, k: Range<usize>, sums: &mut [f32]) {
        let Packed { panels, bias, k_len } = self.weights;
        let (column, k_len) = (panel * T::NR, *k_len);
        let bias = &bias[column..column + T::NR];
        // Weights come from memory: while this panel multiplies, the next one's slab comes nearer.
        let next = if panel + 1 < self.panels.end { column + T::NR } else { column };
        let n_calls = self.rows.len() * k.len().div_ceil(T::K_BLOCK);
        let mut ahead = Ahead::new::<T>(panels, next, &k, k_len, n_calls);
        for from in k.clone().step_by(T::K_BLOCK) {
            let n = T::K_BLOCK.min(k.end - from);
            let b = Panel { at: panels[T::b_at(column, from, k_len)..].as_ptr(), k_len };
            for (row, sums) in self.rows.clone().zip(sums.chunks_exact_mut(T::MR * T::NR)) {
                ahead.step();
                let first = row * T::MR;
                let a = Panel { at: self.a[T::a_at(first, from, k_len)..].as_ptr(), k_len };
                // SAFETY: `product`'s caller vouches for instructions and whole panels; `sums` is ours.
                unsafe { T::multiply(a, b, n, sums.as_mut_ptr(), from == 0) };
                if from + n < k_len {
                    continue;
                }
                for (row, line) in (first..self.m).zip(sums.chunks_exact_mut(T::NR)) {
                    line.iter_mut().zip(bias).for_each(|(value, bias)| *value += bias);
                    self.sink.put(row, column, line);
                }
            }
        }
    }
}

/// Bytes that are asked for before somebody needs them, a share at each step.
struct Ahead {
    /// Runs that lie apart: the slabs of a panel's parts.
    runs: [*const u8; 2],
    run_bytes: usize,
    done: usize,
    step_bytes: usize,
}

const LINE: usize = 64;

impl Ahead {
    #[inline(always)]
    fn new<T: Tile>(
        panels: &[T::Elem],
        column: usize,
        k: &Range<usize>,
        k_len: usize,
        n_steps: usize,
    ) -> Self {
        let part = T::NR / T::PARTS;
        let at = |column| panels[T::b_at(column, k.start, k_len)..].as_ptr().cast::<u8>();
        let run_bytes = k.len() * part * size_of::<T::Elem>();
        let step_bytes = (run_bytes * T::PARTS / n_steps.max(1)).next_multiple_of(LINE);
        let runs = [at(column), at(column + T::NR - part)];
        Ahead { runs, run_bytes, done: 0, step_bytes }
    }

    #[inline(always)]
    fn step(&mut self) {
        for byte in (self.done..self.done + self.step_bytes).step_by(LINE) {
            let (run, byte) = (byte / self.run_bytes, byte % self.run_bytes);
            if let Some(run) = self.runs.get(run) {
                prefetch(run.wrapping_add(byte));
            }
        }
        self.done += self.step_bytes;
    }
}

/// Brings a line into the second cache; of an address that is none, nothing.
#[inline(always)]
fn prefetch(at: *const u8) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: every x86-64 has the instruction, and it reads nothing that a program sees.
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T1 }>(at.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = at;
}
