//! Euclidean distance to the k-th nearest bank row, by differences: no cancellation, so a row that
//! is in the bank is at 0. Widths here are small (colours, filter answers); no matrix product.

use loupe_kernels::{ParallelFor, for_each_chunk};

/// Query rows of one unit of parallel work.
const TILE: usize = 64;

/// Shapes: `query [m, width]`, `rows` a bank in slabs, each `[n_i, width]` -> `[m]`; row-major f32.
/// Units: those of the vectors. `kth` counts from 1; infinite where the bank has fewer rows.
pub(super) fn nearest_euclidean(
    query: &[f32],
    rows: &[&[f32]],
    width: usize,
    kth: usize,
    par: ParallelFor,
) -> Vec<f32> {
    let width = width.max(1);
    let mut distances = vec![f32::INFINITY; query.len() / width];
    for_each_chunk(&mut distances, TILE, par, |tile, out| {
        let queries = query[tile * TILE * width..].chunks_exact(width);
        for (distance, query) in out.iter_mut().zip(queries) {
            let bank = rows.iter().flat_map(|slab| slab.chunks_exact(width));
            *distance = kth_smallest(bank.map(|row| squares(query, row)), kth).sqrt();
        }
    });
    distances
}

/// Sum of squared differences, in eight running sums that a processor adds side by side.
fn squares(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0_f32; 8];
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<8>(), b.as_chunks::<8>());
    for (a, b) in a.iter().zip(b) {
        for ((sum, a), b) in sums.iter_mut().zip(a).zip(b) {
            *sum += (a - b) * (a - b);
        }
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(a, b)| (a - b) * (a - b)).sum();
    sums.iter().sum::<f32>() + rest
}

fn kth_smallest(values: impl Iterator<Item = f32>, kth: usize) -> f32 {
    if kth <= 1 {
        return values.fold(f32::INFINITY, f32::min);
    }
    let mut best = Vec::with_capacity(kth + 1);
    for value in values {
        if best.len() < kth || best.last().is_some_and(|last| value < *last) {
            best.insert(best.partition_point(|kept| *kept <= value), value);
            best.truncate(kth);
        }
    }
    best.get(kth - 1).copied().unwrap_or(f32::INFINITY)
}

#[cfg(test)]
mod tests {
    use super::*;
    use loupe_kernels::serial;

    /// Numbers in -1..1 of a fixed sequence.
    fn numbers(n: usize, seed: u64) -> Vec<f32> {
        let bits = |i: usize| (i as u64 + seed).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
        (0..n).map(|i| bits(i) as f32 / (1_u32 << 23) as f32 - 1.0).collect()
    }

    #[test]
    fn the_kth_of_all_distances_sorted() {
        for width in [1, 6, 8, 18, 27] {
            let (query, bank) = (numbers(70 * width, 1), numbers(40 * width, 5000));
            let slabs = [&bank[..13 * width], &bank[13 * width..]];
            for kth in [1, 2, 40] {
                let got = nearest_euclidean(&query, &slabs, width, kth, &serial);
                for (query, got) in query.chunks(width).zip(got) {
                    let distance = |row: &[f32]| -> f64 {
                        let pairs = query.iter().zip(row);
                        pairs.map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>().sqrt()
                    };
                    let mut all: Vec<f64> = bank.chunks(width).map(distance).collect();
                    all.sort_by(f64::total_cmp);
                    let error = (f64::from(got) - all[kth - 1]).abs();
                    assert!(error < 1e-6 * width as f64, "{width} {kth}: {error}");
                }
            }
        }
    }
}
