//! Matrix products in a fixed order of summation: each element is one running sum over the inner
//! index, whatever rows and columns are computed beside it. That costs some speed against a
//! library's kernel, whose bits depend on the processor.

use std::ops::{Add, Mul};

/// Columns and rows of the tile whose sums are held in registers.
const COLUMNS: usize = 8;
const ROWS: usize = 4;

/// The right factor `[inner, n]`, in panels of a few columns: `[n / 8, inner, 8]`, filled up with
/// zeros.
#[derive(Debug, Clone)]
pub(crate) struct Packed<T> {
    inner: usize,
    n: usize,
    panels: Vec<T>,
}

impl<T: Copy + Default + Add<Output = T> + Mul<Output = T>> Packed<T> {
    /// The factor whose columns are the `rows [n, inner]`: products with it are dot products of
    /// rows. No columns if `inner` is 0.
    pub(crate) fn of_rows(rows: &[T], inner: usize) -> Self {
        let n = rows.len().checked_div(inner).unwrap_or(0);
        let mut panels = vec![T::default(); n.div_ceil(COLUMNS) * inner * COLUMNS];
        let groups = rows.chunks(COLUMNS * inner.max(1));
        for (panel, group) in panels.chunks_exact_mut((COLUMNS * inner).max(1)).zip(groups) {
            for (column, row) in group.chunks_exact(inner).enumerate() {
                let places = panel.iter_mut().skip(column).step_by(COLUMNS);
                places.zip(row).for_each(|(place, value)| *place = *value);
            }
        }
        Packed { inner, n, panels }
    }

    /// The factor `matrix [inner, n]` as it stands.
    pub(crate) fn of_columns(matrix: &[T], n: usize) -> Self {
        let inner = matrix.len().checked_div(n).unwrap_or(0);
        let mut panels = vec![T::default(); n.div_ceil(COLUMNS) * inner * COLUMNS];
        for (p, panel) in panels.chunks_exact_mut((COLUMNS * inner).max(1)).enumerate() {
            let lines = matrix.chunks_exact(n.max(1));
            for (places, line) in panel.chunks_exact_mut(COLUMNS).zip(lines) {
                let values = line.iter().skip(p * COLUMNS);
                places.iter_mut().zip(values).for_each(|(place, value)| *place = *value);
            }
        }
        Packed { inner, n, panels }
    }

    /// Columns of a product.
    pub(crate) fn n(&self) -> usize {
        self.n
    }

    /// `out [m, n]` = `left [m, inner]` times this factor; m is what `out` holds.
    pub(crate) fn multiply(&self, left: &[T], out: &mut [T]) {
        if self.inner == 0 || self.n == 0 {
            out.fill(T::default());
            return;
        }
        for (p, panel) in self.panels.chunks_exact(self.inner * COLUMNS).enumerate() {
            let start = p * COLUMNS;
            let width = COLUMNS.min(self.n - start);
            let groups = left.chunks(ROWS * self.inner);
            for (rows, out) in groups.zip(out.chunks_mut(ROWS * self.n)) {
                let tile = self.tile(rows, panel);
                for (line, sums) in out.chunks_exact_mut(self.n).zip(&tile) {
                    line[start..start + width].copy_from_slice(&sums[..width]);
                }
            }
        }
    }

    /// Up to four rows with one panel.
    fn tile(&self, rows: &[T], panel: &[T]) -> [[T; COLUMNS]; ROWS] {
        let mut sums = [[T::default(); COLUMNS]; ROWS];
        let (columns, _) = panel.as_chunks::<COLUMNS>();
        let mut each = rows.chunks_exact(self.inner);
        if let (Some(a), Some(b), Some(c), Some(d)) =
            (each.next(), each.next(), each.next(), each.next())
        {
            for ((((line, a), b), c), d) in columns.iter().zip(a).zip(b).zip(c).zip(d) {
                for (sums, factor) in sums.iter_mut().zip([*a, *b, *c, *d]) {
                    accumulate(sums, factor, line);
                }
            }
            return sums;
        }
        for (row, sums) in rows.chunks_exact(self.inner).zip(&mut sums) {
            columns.iter().zip(row).for_each(|(line, factor)| accumulate(sums, *factor, line));
        }
        sums
    }
}

#[inline(always)]
fn accumulate<T: Copy + Add<Output = T> + Mul<Output = T>>(
    sums: &mut [T; COLUMNS],
    factor: T,
    line: &[T; COLUMNS],
) {
    for (sum, value) in sums.iter_mut().zip(line) {
        *sum = *sum + factor * *value;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_are_those_of_the_definition_at_every_size() {
        for (m, inner, n) in [(1, 1, 1), (3, 5, 7), (4, 8, 8), (9, 3, 17), (2, 0, 3), (0, 4, 4)] {
            let value = |i: usize| ((i * 37 + 11) % 19) as f64 - 9.0;
            let left: Vec<f64> = (0..m * inner).map(value).collect();
            let right: Vec<f64> = (0..inner * n).map(|i| value(i + 5)).collect();
            let rows: Vec<f64> =
                (0..n * inner).map(|i| right[(i % inner) * n + i / inner]).collect();
            let sum = |i: usize, j: usize| -> f64 {
                (0..inner).map(|k| left[i * inner + k] * right[k * n + j]).sum()
            };
            let want: Vec<f64> = (0..m * n).map(|at| sum(at / n, at % n)).collect();
            for factor in [Packed::of_columns(&right, n), Packed::of_rows(&rows, inner)] {
                let mut out = vec![f64::NAN; m * n];
                factor.multiply(&left, &mut out);
                assert_eq!(out, want, "{m} {inner} {n}");
            }
        }
    }

    #[test]
    fn a_row_has_the_same_bits_alone_and_in_company() {
        let values: Vec<f32> = (0..70).map(|i| ((i * 13) % 29) as f32 * 0.1).collect();
        let factor = Packed::of_rows(&values[..35], 7);
        let (mut all, mut one) = ([0.0; 50], [0.0; 5]);
        factor.multiply(&values, &mut all);
        factor.multiply(&values[21..28], &mut one);
        assert_eq!(all[15..20], one);
    }
}
