//! A linear layer that stands alone: patches into tokens, tokens into embeddings.

use super::buffer::Buffer;
use super::choose::{ForTile, Precision, for_tile};
use super::isa::Isa;
use super::product::{self, Packed, Sink, Team};
use super::tile::{Multiply, Shared, Tile, Work, put_row};
use super::tower::sized;
use crate::error::KernelError;

/// A linear layer with packed weights.
pub trait Layer: Send + Sync {
    /// `x W^T + b`. Shapes: `x [m, n_in]` -> `to [m, n_out]`, row-major; f32. The bytes of a row depend on
    /// no other. Errors: `Shape`.
    fn apply(&self, x: &[f32], to: &mut [f32], team: Team) -> Result<(), KernelError>;

    fn n_out(&self) -> usize;
}

/// Packs `weight [n_out, n_in]`, row-major, and `bias [n_out]`, for these instructions or the most that
/// this machine has of them. Errors: `Shape`.
pub fn layer(
    [weight, bias]: [&[f32]; 2],
    n_in: usize,
    isa: Isa,
    precision: Precision,
    team: Team,
) -> Result<Box<dyn Layer>, KernelError> {
    sized("weight", weight, n_in * bias.len())?;
    let layer = product::Layer::plain(weight, bias, n_in);
    Ok(for_tile(isa, precision, Make { layer, team }))
}

struct Make<'a> {
    layer: product::Layer<'a>,
    team: Team<'a>,
}

impl ForTile for Make<'_> {
    type Made = Box<dyn Layer>;

    fn make<T: Tile>(self) -> Box<dyn Layer> {
        let (n_in, n_out) = (self.layer.n_in, self.layer.bias.len());
        Box::new(Alone { packed: Packed::<T>::new(&self.layer, self.team), n_in, n_out })
    }
}

struct Alone<T: Tile> {
    packed: Packed<T>,
    n_in: usize,
    n_out: usize,
}

/// Rows that a task packs.
const ROWS: usize = 64;

impl<T: Tile> Layer for Alone<T> {
    fn apply(&self, x: &[f32], to: &mut [f32], team: Team) -> Result<(), KernelError> {
        let m = x.len() / self.n_in.max(1);
        sized("x", x, m * self.n_in)?;
        sized("to", to, m * self.n_out)?;
        let sink = PutSink { to: Shared::new(to), width: self.n_out };
        // SAFETY: `for_tile` chose these instructions for this machine; `left` is padded to whole panels.
        unsafe {
            let left = left_operand::<T>(x, self.n_in, self.packed.k_len(), team);
            self.packed.product(&left, m, team, &sink);
        }
        Ok(())
    }

    fn n_out(&self) -> usize {
        self.n_out
    }
}

/// Rows `[m, n_in]` as left operand, padded to whole panels.
///
/// # Safety
/// The CPU has the instructions of `T`.
pub(super) unsafe fn left_operand<T: Multiply>(
    x: &[f32],
    n_in: usize,
    k_len: usize,
    team: Team,
) -> Buffer<T::Elem> {
    let m = x.len() / n_in.max(1);
    let mut left = Buffer::zeroed(m.next_multiple_of(T::MR) * k_len);
    let to = Shared::new(&mut left);
    (team.par)(m.div_ceil(ROWS), &|task| {
        let first = task * ROWS;
        let rows = &x[first * n_in..(first + ROWS).min(m) * n_in];
        // SAFETY: the caller's.
        unsafe { T::with(PackRows::<T> { rows, n_in, first, k_len, to }) };
    });
    left
}

/// Rows as left operand, from row `first` on.
struct PackRows<'a, T: Multiply> {
    rows: &'a [f32],
    n_in: usize,
    first: usize,
    k_len: usize,
    to: Shared<T::Elem>,
}

impl<T: Multiply> Work for PackRows<'_, T> {
    #[inline(always)]
    fn run(self) {
        for (i, row) in self.rows.chunks_exact(self.n_in).enumerate() {
            // SAFETY: this row's places, which are this task's.
            unsafe { put_row::<T>(self.to.at(0), self.first + i, 0, self.k_len, row) };
        }
    }
}

/// Row-major.
struct PutSink {
    to: Shared<f32>,
    width: usize,
}

impl Sink for PutSink {
    #[inline(always)]
    fn put(&self, row: usize, column: usize, line: &mut [f32]) {
        let n = line.len().min(self.width - column);
        // SAFETY: columns of this row, which are this call's.
        unsafe {
            self.to.at(row * self.width + column).copy_from_nonoverlapping(line.as_ptr(), n);
        }
    }
}
