//! Groups of points by k-means, from which a mixture starts.

use super::numerics::add_scaled;
use super::random::Random;

const MAX_ROUNDS: usize = 300;

/// The group of each point. Shapes: `points [n,width]`, `weights [n]` -> `[n]`, each below `k`.
/// Starts are drawn by k-means++ with a few candidates each. Source: Arthur & Vassilvitskii, SODA
/// 2007.
pub(crate) fn groups(
    points: &[f64],
    width: usize,
    weights: &[f64],
    k: usize,
    random: &mut Random,
) -> Vec<usize> {
    let mut centres = starts(points, width, weights, k, random);
    let mut groups = vec![usize::MAX; weights.len()];
    for _ in 0..MAX_ROUNDS {
        let nearest: Vec<(usize, f64)> =
            points.chunks_exact(width).map(|point| nearest(point, &centres, width)).collect();
        let moved = nearest.iter().zip(&groups).any(|((group, _), old)| group != old);
        groups = nearest.iter().map(|(group, _)| *group).collect();
        fill_empty(&mut groups, nearest, k);
        if !moved {
            break;
        }
        centres = means(points, width, weights, &groups, k);
    }
    groups
}

/// Each start is the best of a few points drawn by their weighted squared distance to the starts
/// before it.
fn starts(
    points: &[f64],
    width: usize,
    weights: &[f64],
    k: usize,
    random: &mut Random,
) -> Vec<f64> {
    let n = weights.len();
    let n_candidates = 2 + k.ilog2() as usize;
    let point = |i: usize| &points[i * width..][..width];
    let mut centres = point(draw(weights, random)).to_vec();
    let mut squares: Vec<f64> = (0..n).map(|i| square(point(i), &centres)).collect();
    for _ in 1..k {
        let chances: Vec<f64> = squares.iter().zip(weights).map(|(s, w)| s * w).collect();
        let mut best: Option<(f64, usize, Vec<f64>)> = None;
        for _ in 0..n_candidates {
            let candidate = draw(&chances, random);
            let after: Vec<f64> = squares
                .iter()
                .enumerate()
                .map(|(i, old)| old.min(square(point(i), point(candidate))))
                .collect();
            let left: f64 = after.iter().zip(weights).map(|(s, w)| s * w).sum();
            if best.as_ref().is_none_or(|best| left < best.0) {
                best = Some((left, candidate, after));
            }
        }
        if let Some((_, candidate, after)) = best {
            centres.extend_from_slice(point(candidate));
            squares = after;
        }
    }
    centres
}

/// An index with a chance in proportion to its weight; any index if there is no weight.
fn draw(weights: &[f64], random: &mut Random) -> usize {
    let total: f64 = weights.iter().sum();
    let mut at = random.unit() * total;
    if total <= 0.0 {
        return random.below(weights.len());
    }
    for (i, weight) in weights.iter().enumerate() {
        at -= weight;
        if at < 0.0 {
            return i;
        }
    }
    weights.iter().rposition(|weight| *weight > 0.0).unwrap_or(0)
}

fn nearest(point: &[f64], centres: &[f64], width: usize) -> (usize, f64) {
    let squares = centres.chunks_exact(width).map(|centre| square(point, centre)).enumerate();
    squares.fold((0, f64::INFINITY), |best, other| if other.1 < best.1 { other } else { best })
}

/// A group that nobody is in takes the point farthest from its own centre.
fn fill_empty(groups: &mut [usize], mut nearest: Vec<(usize, f64)>, k: usize) {
    for empty in 0..k {
        if groups.contains(&empty) {
            continue;
        }
        let distances = nearest.iter().map(|(_, square)| *square).enumerate();
        let (farthest, square) =
            distances.fold((0, 0.0), |best, other| if other.1 > best.1 { other } else { best });
        if square > 0.0 {
            groups[farthest] = empty;
            nearest[farthest].1 = 0.0;
        }
    }
}

fn means(points: &[f64], width: usize, weights: &[f64], groups: &[usize], k: usize) -> Vec<f64> {
    let (mut sums, mut totals) = (vec![0.0; k * width], vec![0.0; k]);
    for ((point, weight), group) in points.chunks_exact(width).zip(weights).zip(groups) {
        add_scaled(&mut sums[group * width..][..width], *weight, point);
        totals[*group] += weight;
    }
    for (sum, total) in sums.chunks_exact_mut(width).zip(&totals) {
        let total = if *total > 0.0 { *total } else { 1.0 };
        sum.iter_mut().for_each(|value| *value /= total);
    }
    sums
}

fn square(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clouds_apart_become_groups_whatever_the_seed() {
        let points: Vec<f64> =
            (0..40).flat_map(|i| [f64::from(i % 4) * 10.0, f64::from(i) * 0.01]).collect();
        for seed in 0..20 {
            let groups = groups(&points, 2, &[1.0; 40], 4, &mut Random::new(seed, 0));
            assert!((4..40).all(|i| groups[i] == groups[i - 4]), "{groups:?}");
            let first: std::collections::BTreeSet<usize> = groups[..4].iter().copied().collect();
            assert_eq!(first.len(), 4);
        }
    }

    #[test]
    fn fewer_distinct_points_than_groups_leave_groups_empty() {
        let groups = groups(&[1.0, 1.0, 2.0, 2.0], 1, &[1.0; 4], 4, &mut Random::new(42, 0));
        assert!(groups.iter().all(|group| *group < 4));
        assert!(groups[0] == groups[1] && groups[0] != groups[2]);
    }
}
