//! Expectation maximisation of spherical Gaussians, with the rules of scikit-learn's
//! `GaussianMixture`.

use std::f64::consts::PI;

use super::super::numerics::{add_scaled, exp, ln};
use super::log_sum;

/// Added to every variance.
const FLOOR: f64 = 1e-6;
/// The mean log-likelihood's gain that ends the rounds.
const TOLERANCE: f64 = 1e-3;
const MAX_ROUNDS: usize = 100;

pub(crate) struct Gaussians {
    /// Size of a point.
    pub(crate) q: usize,
    /// `[k]`, sum 1.
    pub(crate) shares: Vec<f64>,
    /// `[k,q]`.
    pub(crate) means: Vec<f64>,
    /// `[k]`.
    pub(crate) variances: Vec<f64>,
    /// ln(share density) at the mean: `[k]`.
    peaks: Vec<f64>,
}

impl Gaussians {
    /// Shares and variances are positive.
    pub(crate) fn new(q: usize, shares: Vec<f64>, means: Vec<f64>, variances: Vec<f64>) -> Self {
        let peak =
            |(share, variance): (&f64, &f64)| ln(*share) - 0.5 * q as f64 * ln(2.0 * PI * variance);
        let peaks = shares.iter().zip(&variances).map(peak).collect();
        Gaussians { q, shares, means, variances, peaks }
    }

    /// ln(share density) of each Gaussian at a point.
    pub(crate) fn log_terms(&self, point: &[f64], terms: &mut Vec<f64>) {
        let each = self.means.chunks_exact(self.q).zip(&self.peaks).zip(&self.variances);
        terms.clear();
        terms.extend(each.map(|((mean, peak), variance)| {
            let square: f64 = point.iter().zip(mean).map(|(x, m)| (x - m) * (x - m)).sum();
            peak - 0.5 * square / variance
        }));
    }
}

/// Shapes: `points [n,q]`, `weights [n]`, `groups [n]` (each below `k`), which are the first
/// responsibilities.
pub(crate) fn fit(
    points: &[f64],
    q: usize,
    weights: &[f64],
    groups: &[usize],
    k: usize,
) -> Gaussians {
    let mut shares = vec![0.0; groups.len() * k];
    for (row, (group, weight)) in shares.chunks_exact_mut(k).zip(groups.iter().zip(weights)) {
        row[*group] = *weight;
    }
    let total: f64 = weights.iter().sum();
    let mut gaussians = maximise(points, q, &shares, k);
    let (mut bound, mut terms) = (f64::NEG_INFINITY, Vec::with_capacity(k));
    for _ in 0..MAX_ROUNDS {
        let mut likelihood = 0.0;
        let rows = shares.chunks_exact_mut(k).zip(points.chunks_exact(q)).zip(weights);
        for ((row, point), weight) in rows {
            gaussians.log_terms(point, &mut terms);
            let all = log_sum(&terms);
            likelihood += weight * all;
            row.iter_mut().zip(&terms).for_each(|(share, term)| *share = weight * exp(term - all));
        }
        gaussians = maximise(points, q, &shares, k);
        let next = likelihood / total;
        let settled = (next - bound).abs() < TOLERANCE;
        bound = next;
        if settled {
            break;
        }
    }
    gaussians
}

/// The Gaussians that fit the weighted responsibilities `[n,k]` best.
fn maximise(points: &[f64], q: usize, responsibilities: &[f64], k: usize) -> Gaussians {
    let mut totals = vec![10.0 * f64::EPSILON; k];
    let mut means = vec![0.0; k * q];
    for (row, point) in responsibilities.chunks_exact(k).zip(points.chunks_exact(q)) {
        for ((total, mean), share) in totals.iter_mut().zip(means.chunks_exact_mut(q)).zip(row) {
            *total += share;
            add_scaled(mean, *share, point);
        }
    }
    for (mean, total) in means.chunks_exact_mut(q).zip(&totals) {
        mean.iter_mut().for_each(|value| *value /= total);
    }
    let mut variances = vec![0.0; k];
    for (row, point) in responsibilities.chunks_exact(k).zip(points.chunks_exact(q)) {
        for ((sum, mean), share) in variances.iter_mut().zip(means.chunks_exact(q)).zip(row) {
            let square: f64 = point.iter().zip(mean).map(|(x, m)| (x - m) * (x - m)).sum();
            *sum += share * square;
        }
    }
    let spread = variances.iter().zip(&totals).map(|(sum, total)| sum / (total * q as f64) + FLOOR);
    let variances = spread.collect::<Vec<f64>>();
    let all: f64 = totals.iter().sum();
    let shares = totals.iter().map(|total| total / all).collect();
    Gaussians::new(q, shares, means, variances)
}
