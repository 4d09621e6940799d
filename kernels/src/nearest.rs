//! Similarity of each query row to its k-th nearest bank row, without a query x bank matrix.

use crate::error::{KernelError, check_finite};
use crate::matmul::{Matrix, product};
use crate::parallel::{ParallelFor, for_each_chunk};

/// Query rows of a tile: one unit of parallel work. A short last tile is filled up with zero rows,
/// so that a row's bytes do not depend on how many others came with it.
const QUERY_TILE: usize = 96;
/// Bank rows of a tile; `QUERY_TILE x BANK_TILE` similarities are all that is ever held per thread.
const BANK_TILE: usize = 512;

/// The `kth` largest cosine (1 is the nearest) of each query row over all bank rows.
///
/// Shapes: `query [m,width]`, `rows` a bank in slabs, each `[n_i,width]` -> `[m]`; f32 **unit**
/// rows (see `unit_rows`), so the product is the cosine. Half cosine distance is `0.5 * (1 -
/// result)`. Several slabs let a query be its own reference (`kth = 2`) without a copy. Tiles are
/// cut over the joined bank: the bytes depend neither on threads nor on how the bank is split nor
/// on the other queries.
/// Errors: `Empty` (width, bank), `Shape`, `Range` (`kth` is 0 or above the bank's rows),
/// `NotFinite`.
/// Source: PatchCore's memory bank, arXiv:2106.08265, with cosine for L2 as in FADE.
pub fn nearest_cosine(
    query: &[f32],
    rows: &[&[f32]],
    width: usize,
    kth: usize,
    par: ParallelFor,
) -> Result<Vec<f32>, KernelError> {
    let n_rows = check(query, rows, width, kth)?;
    let mut nearest = vec![0.0_f32; query.len() / width];
    for_each_chunk(&mut nearest, QUERY_TILE, par, |tile, out| {
        let part = &query[tile * QUERY_TILE * width..][..out.len() * width];
        let mut padded = Vec::new();
        let part = if out.len() == QUERY_TILE {
            part
        } else {
            padded.extend_from_slice(part);
            padded.resize(QUERY_TILE * width, 0.0);
            &padded
        };
        let mut best = vec![f32::NEG_INFINITY; out.len() * kth];
        let (mut products, mut joined) = (vec![0.0_f32; QUERY_TILE * BANK_TILE], Vec::new());
        for start in (0..n_rows).step_by(BANK_TILE) {
            let n_tile = BANK_TILE.min(n_rows - start);
            let bank = bank_tile(rows, start * width, n_tile * width, &mut joined);
            let products = &mut products[..QUERY_TILE * n_tile];
            let bank = Matrix::of_rows(bank, width).transposed();
            product(Matrix::of_rows(part, width), bank, false, products);
            for (best, line) in best.chunks_exact_mut(kth).zip(products.chunks_exact(n_tile)) {
                keep_largest(best, line);
            }
        }
        for (value, best) in out.iter_mut().zip(best.chunks_exact(kth)) {
            *value = best[kth - 1];
        }
    });
    Ok(nearest)
}

/// The same by definition: every product summed in f64, then sorted.
pub fn nearest_cosine_reference(
    query: &[f32],
    rows: &[&[f32]],
    width: usize,
    kth: usize,
) -> Result<Vec<f32>, KernelError> {
    check(query, rows, width, kth)?;
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

fn check(query: &[f32], rows: &[&[f32]], width: usize, kth: usize) -> Result<usize, KernelError> {
    const OP: &str = "nearest_cosine";
    if width == 0 {
        return Err(KernelError::Empty { op: OP, input: "width" });
    }
    let mut n_rows = 0;
    for (input, slab) in std::iter::once(("query", query)).chain(rows.iter().map(|s| ("rows", *s)))
    {
        if !slab.len().is_multiple_of(width) {
            let (want, got) = (format!("whole rows of {width} values"), slab.len().to_string());
            return Err(KernelError::Shape { op: OP, input, want, got });
        }
        check_finite(OP, input, slab)?;
        n_rows += if input == "rows" { slab.len() / width } else { 0 };
    }
    if n_rows == 0 {
        return Err(KernelError::Empty { op: OP, input: "rows" });
    }
    if kth == 0 || kth > n_rows {
        let want = "at least 1 and at most the rows of the bank";
        return Err(KernelError::Range { op: OP, key: "kth", want, got: kth as f64 });
    }
    Ok(n_rows)
}

/// Values `start..start + len` of the joined slabs: borrowed where they lie in one slab, else
/// copied.
fn bank_tile<'a>(
    rows: &[&'a [f32]],
    start: usize,
    len: usize,
    joined: &'a mut Vec<f32>,
) -> &'a [f32] {
    joined.clear();
    let mut offset = 0;
    for slab in rows {
        let from = start.saturating_sub(offset).min(slab.len());
        let to = (start + len).saturating_sub(offset).min(slab.len());
        offset += slab.len();
        if to - from == len {
            return &slab[from..to];
        }
        joined.extend_from_slice(&slab[from..to]);
    }
    joined
}

/// `best` holds the largest values so far in falling order; `line` brings more.
fn keep_largest(best: &mut [f32], line: &[f32]) {
    let last = best.len() - 1;
    if last == 0 {
        let mut lanes = [best[0]; 16];
        let (vectors, rest) = line.as_chunks::<16>();
        for vector in vectors {
            for (lane, value) in lanes.iter_mut().zip(vector) {
                *lane = lane.max(*value);
            }
        }
        best[0] = lanes.iter().chain(rest).copied().fold(best[0], f32::max);
        return;
    }
    for value in line.iter().copied().filter(|v| !v.is_nan()) {
        if value > best[last] {
            let place = best.partition_point(|kept| *kept >= value);
            best[place..].rotate_right(1);
            best[place] = value;
        }
    }
}

#[cfg(test)]
mod tests;
