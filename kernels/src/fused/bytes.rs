//! Layers of whole numbers up to 127: each column of weights and each row of tokens is rounded to 255
//! steps of its own, and sums are scaled back. An experiment: an outlier in a row makes its steps long.

use std::ops::Range;

use super::buffer::Buffer;
use super::product::{Layer, Packed, Sink, Team};
use super::tile::{LANES, Multiply, Shared, Tile, put_row};

/// The largest whole number.
const MOST: f32 = 127.0;

/// A layer's weights, rounded.
pub(super) struct ByteWeights<T: Tile> {
    pub(super) packed: Packed<T::Bytes>,
    /// What 1 stands for, one a column of the panels.
    pub(super) steps: Vec<f32>,
    /// One value a column.
    pub(super) bias: Vec<f32>,
}

/// Rows as left operand, rounded.
pub(super) struct ByteRows<T: Tile> {
    pub(super) values: Buffer<<T::Bytes as Multiply>::Elem>,
    /// What 1 stands for, one a row.
    pub(super) steps: Buffer<f32>,
}

impl<T: Tile> ByteWeights<T> {
    pub(super) fn new(layer: &Layer, team: Team) -> Self {
        let mut rounded = layer.weight.to_vec();
        let steps = rounded.chunks_exact_mut(layer.n_in).map(round).collect::<Vec<_>>();
        let n_columns = layer.outputs.len().next_multiple_of(T::Bytes::NR);
        let placed = |values: &[f32]| {
            let placed = layer.outputs.iter().map(|output| output.map_or(0.0, |i| values[i]));
            placed.chain(std::iter::repeat(0.0)).take(n_columns).collect()
        };
        let zeros = vec![0.0; layer.bias.len()];
        let (outputs, inputs) = (layer.outputs.clone(), layer.inputs.clone());
        let whole = Layer { weight: &rounded, bias: &zeros, n_in: layer.n_in, outputs, inputs };
        let packed = Packed::new(&whole, team);
        ByteWeights { packed, steps: placed(&steps), bias: placed(layer.bias) }
    }

    /// As `Packed::product`.
    ///
    /// # Safety
    /// As there.
    pub(super) unsafe fn product(
        &self,
        rows: &ByteRows<T>,
        m: usize,
        team: Team,
        sink: &impl Sink,
    ) {
        let sink = StepSink { sink, rows: &rows.steps, columns: &self.steps, bias: &self.bias };
        // SAFETY: the caller's.
        unsafe { self.packed.product(&rows.values, m, team, &sink) };
    }
}

impl<T: Tile> ByteRows<T> {
    pub(super) fn zeroed(m: usize, width: usize) -> Self {
        let k_len = width.next_multiple_of(T::Bytes::KU);
        ByteRows { values: Buffer::zeroed(m * k_len), steps: Buffer::zeroed(m) }
    }

    pub(super) fn shared(&mut self) -> SharedRows<T> {
        SharedRows { values: Shared::new(&mut self.values), steps: Shared::new(&mut self.steps) }
    }
}

/// Where tasks put rows, each its own.
pub(super) struct SharedRows<T: Tile> {
    values: Shared<<T::Bytes as Multiply>::Elem>,
    steps: Shared<f32>,
}

impl<T: Tile> SharedRows<T> {
    /// # Safety
    /// The row lies within those there are, and nobody else has its places now; within `T::with`.
    #[inline(always)]
    pub(super) unsafe fn put(&self, row: usize, values: &mut [f32]) {
        let step = round(values);
        let k_len = values.len().next_multiple_of(T::Bytes::KU);
        // SAFETY: the caller's.
        unsafe {
            *self.steps.at(row) = step;
            put_row::<T::Bytes>(self.values.at(0), row, 0, k_len, values);
        }
    }
}

/// Values become whole numbers up to `MOST`; gives what 1 stands for.
#[inline(always)]
fn round(values: &mut [f32]) -> f32 {
    /// Adding it to a value up to 2^22 rounds it, ties to even.
    const ROUNDER: f32 = 12_582_912.0;
    let mut peaks = [0.0_f32; LANES];
    let (lanes, rest) = values.as_chunks::<LANES>();
    for lanes in lanes {
        for (peak, value) in peaks.iter_mut().zip(lanes) {
            *peak = if value.abs() > *peak { value.abs() } else { *peak };
        }
    }
    let peak = peaks.iter().chain(rest).fold(0.0_f32, |peak, value| peak.max(value.abs()));
    let step = if peak > f32::MIN_POSITIVE * MOST { peak / MOST } else { 1.0 };
    let scale = 1.0 / step;
    for value in values {
        *value = (*value * scale + ROUNDER) - ROUNDER;
    }
    step
}

/// Sums of whole numbers become what they stand for.
struct StepSink<'a, S> {
    sink: &'a S,
    rows: &'a [f32],
    columns: &'a [f32],
    bias: &'a [f32],
}

impl<S: Sink> Sink for StepSink<'_, S> {
    #[inline(always)]
    fn put(&self, row: usize, column: usize, line: &mut [f32]) {
        let step = self.rows[row];
        let at = column..column + line.len();
        let steps = self.columns[at.clone()].as_chunks::<LANES>().0;
        let bias = self.bias[at].as_chunks::<LANES>().0;
        for ((lanes, steps), bias) in
            line.as_chunks_mut::<LANES>().0.iter_mut().zip(steps).zip(bias)
        {
            let (values, steps, bias) = (*lanes, *steps, *bias);
            for lane in 0..LANES {
                lanes[lane] = values[lane] * (step * steps[lane]) + bias[lane];
            }
        }
        self.sink.put(row, column, line);
    }

    #[inline(always)]
    fn expect(&self, rows: Range<usize>, columns: Range<usize>) {
        self.sink.expect(rows, columns);
    }
}
