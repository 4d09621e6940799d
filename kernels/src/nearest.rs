//! Similarity of each query row to its k-th nearest bank row, without a query x bank matrix.

use crate::error::{KernelError, check_finite};
use crate::fused::{Isa, Largest, Precision, Rows, Team, packed};

const OP: &str = "nearest_cosine";

/// Rows to be searched, packed for the product that searches them: the larger operand is laid out once.
pub struct Bank {
    rows: Box<dyn Rows>,
    n_rows: usize,
    width: usize,
}

impl Bank {
    /// Shapes: `rows [n,width]`, f32 **unit** rows (see `unit_rows`), kept as `precision` alone: 4 bytes
    /// a value, or 2. Errors: `Empty` (width), `Shape`, `NotFinite`.
    pub fn new(
        rows: &[f32],
        width: usize,
        isa: Isa,
        precision: Precision,
        team: Team,
    ) -> Result<Bank, KernelError> {
        let n_rows = whole_rows("rows", rows, width)?;
        Ok(Bank { rows: packed(rows, width, isa, precision, team), n_rows, width })
    }

    pub fn n_rows(&self) -> usize {
        self.n_rows
    }

    pub fn width(&self) -> usize {
        self.width
    }
}

/// The `kth` largest cosine (1 is the nearest) of each query row over the rows of all banks.
///
/// Shapes: `query [m,width]` -> `[m]`; f32 **unit** rows, so the product is the cosine. Half cosine
/// distance is `0.5 * (1 - result)`. Several banks let a query be its own reference (`kth = 2`). The
/// bytes depend neither on threads nor on how rows are spread over banks nor on the other queries: a
/// product's sum runs along the width, whatever panel it stands in.
/// Errors: `Empty` (width, banks), `Shape`, `Range` (`kth` is 0 or above the banks' rows), `NotFinite`.
/// Source: PatchCore's memory bank, arXiv:2106.08265, with cosine for L2 as in FADE.
pub fn nearest_cosine(
    query: &[f32],
    banks: &[&Bank],
    width: usize,
    kth: usize,
    team: Team,
) -> Result<Vec<f32>, KernelError> {
    let n_queries = whole_rows("query", query, width)?;
    if let Some(bank) = banks.iter().find(|bank| bank.width != width) {
        let (want, got) = (format!("width {width}"), bank.width.to_string());
        return Err(KernelError::Shape { op: OP, input: "banks", want, got });
    }
    check(kth, banks.iter().map(|bank| bank.n_rows).sum())?;
    let largest = Largest::new(n_queries, kth);
    for bank in banks {
        bank.rows.offer(query, &largest, team);
    }
    Ok(largest.least())
}

/// The same by definition: every product summed in f64, then sorted.
pub fn nearest_cosine_reference(
    query: &[f32],
    rows: &[&[f32]],
    width: usize,
    kth: usize,
) -> Result<Vec<f32>, KernelError> {
    whole_rows("query", query, width)?;
    let slabs = rows.iter().map(|slab| whole_rows("rows", slab, width));
    check(kth, slabs.sum::<Result<usize, _>>()?)?;
    let nearest_of = |query: &[f32]| {
        let mut cosines: Vec<f64> = rows
            .iter()
            .flat_map(|slab| slab.chunks_exact(width))
            .map(|row| query.iter().zip(row).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum())
            .collect();
        cosines.sort_by(|a, b| b.total_cmp(a));
        cosines[kth - 1] as f32
    };
    Ok(query.chunks_exact(width).map(nearest_of).collect())
}

fn whole_rows(input: &'static str, rows: &[f32], width: usize) -> Result<usize, KernelError> {
    if width == 0 {
        return Err(KernelError::Empty { op: OP, input: "width" });
    }
    if !rows.len().is_multiple_of(width) {
        let (want, got) = (format!("whole rows of {width} values"), rows.len().to_string());
        return Err(KernelError::Shape { op: OP, input, want, got });
    }
    check_finite(OP, input, rows)?;
    Ok(rows.len() / width)
}

fn check(kth: usize, n_rows: usize) -> Result<(), KernelError> {
    if n_rows == 0 {
        return Err(KernelError::Empty { op: OP, input: "banks" });
    }
    if kth == 0 || kth > n_rows {
        let want = "at least 1 and at most the rows of the banks";
        return Err(KernelError::Range { op: OP, key: "kth", want, got: kth as f64 });
    }
    Ok(())
}

#[cfg(test)]
mod tests;
