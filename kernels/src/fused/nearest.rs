//! A bank of rows as right operand: of its products with queries only the largest of each query are
//! kept, as they come out.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};

use super::choose::{ForTile, Precision, for_tile};
use super::isa::Isa;
use super::layer::left_operand;
use super::product::{Layer, Packed, Sink, Team};
use super::tile::Tile;

/// The largest products of each row so far.
pub(crate) struct Largest {
    rows: Vec<Kept>,
}

/// Products rarely enter: whether one does is asked without the lock.
struct Kept {
    /// Bits of the least that is kept; it only rises.
    least: AtomicU32,
    /// In falling order.
    values: Mutex<Vec<f32>>,
}

impl Largest {
    pub(crate) fn new(n_rows: usize, n_kept: usize) -> Self {
        let kept = || Kept {
            least: AtomicU32::new(f32::NEG_INFINITY.to_bits()),
            values: Mutex::new(vec![f32::NEG_INFINITY; n_kept]),
        };
        Largest { rows: (0..n_rows).map(|_| kept()).collect() }
    }

    /// Of each row, the least that is kept.
    pub(crate) fn least(&self) -> Vec<f32> {
        self.rows.iter().map(|row| f32::from_bits(row.least.load(Ordering::Relaxed))).collect()
    }
}

impl Kept {
    #[inline(always)]
    fn offer(&self, line: &[f32]) {
        let least = f32::from_bits(self.least.load(Ordering::Relaxed));
        if line.iter().fold(false, |any, value| any | (*value > least)) {
            self.enter(line);
        }
    }

    #[cold]
    fn enter(&self, line: &[f32]) {
        let mut kept = self.values.lock().unwrap_or_else(PoisonError::into_inner);
        for &value in line {
            if kept.last().is_some_and(|least| value > *least) {
                let place = kept.partition_point(|kept| *kept >= value);
                kept[place..].rotate_right(1);
                kept[place] = value;
            }
        }
        if let Some(least) = kept.last() {
            self.least.store(least.to_bits(), Ordering::Relaxed);
        }
    }
}

/// Rows that others are multiplied with.
pub(crate) trait Rows: Send + Sync {
    /// Offers the products of each query row `[m, width]` with all rows.
    fn offer(&self, query: &[f32], largest: &Largest, team: Team);
}

/// Packs `rows [n, width]`, for these instructions or the most that this machine has of them.
pub(crate) fn packed(
    rows: &[f32],
    width: usize,
    isa: Isa,
    precision: Precision,
    team: Team,
) -> Box<dyn Rows> {
    for_tile(isa, precision, Make { rows, width, team })
}

struct Make<'a> {
    rows: &'a [f32],
    width: usize,
    team: Team<'a>,
}

impl ForTile for Make<'_> {
    type Made = Box<dyn Rows>;

    fn make<T: Tile>(self) -> Box<dyn Rows> {
        let Make { rows, width, team } = self;
        let n_rows = rows.len() / width.max(1);
        let bias = vec![0.0; n_rows];
        let packed = Packed::<T>::new(&Layer::plain(rows, &bias, width), team);
        Box::new(Bank { packed, n_rows, width })
    }
}

struct Bank<T: Tile> {
    packed: Packed<T>,
    n_rows: usize,
    width: usize,
}

impl<T: Tile> Rows for Bank<T> {
    fn offer(&self, query: &[f32], largest: &Largest, team: Team) {
        let n_queries = query.len() / self.width.max(1);
        let sink = LargestSink { largest, n_rows: self.n_rows };
        // SAFETY: `for_tile` chose these instructions for this machine; the operand is padded.
        unsafe {
            let left = left_operand::<T>(query, self.width, self.packed.k_len(), team);
            self.packed.product(&left, n_queries, team, &sink);
        }
    }
}

struct LargestSink<'a> {
    largest: &'a Largest,
    n_rows: usize,
}

impl Sink for LargestSink<'_> {
    #[inline(always)]
    fn put(&self, query: usize, row: usize, line: &mut [f32]) {
        // What lies behind the last row is padding.
        let n = line.len().min(self.n_rows - row);
        self.largest.rows[query].offer(&line[..n]);
    }
}
