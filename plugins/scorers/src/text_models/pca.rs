//! Principal components that keep a share of the variance, as scikit-learn's PCA with a fractional
//! `n_components`.

use super::eigen::Eigen;
use super::matrix::Packed;
use super::numerics::{add_scaled, dot};

pub(crate) struct Pca {
    /// `[width]`.
    pub(crate) mean: Vec<f64>,
    /// `[q,width]`, orthonormal rows; the largest entry of each is positive.
    pub(crate) components: Vec<f64>,
}

/// `rows [n,width]`, each counting `weights [n]` times. As few components as hold more than `share`
/// of the variance; `None` if there is no variance.
pub(crate) fn fit(rows: &[f64], width: usize, weights: &[f64], share: f64) -> Option<Pca> {
    let total: f64 = weights.iter().sum();
    let mut mean = vec![0.0; width];
    for (row, weight) in rows.chunks_exact(width).zip(weights) {
        add_scaled(&mut mean, weight / total, row);
    }
    let mut centred = rows.to_vec();
    for (row, weight) in centred.chunks_exact_mut(width).zip(weights) {
        let root = (weight / total).sqrt();
        row.iter_mut().zip(&mean).for_each(|(value, mean)| *value = root * (*value - mean));
    }
    let n = weights.len();
    // Of the n x n and the width x width products the smaller has all the variance.
    let by_rows = n <= width;
    let side = if by_rows { n } else { width };
    let mut product = vec![0.0; side * side];
    if by_rows {
        Packed::of_rows(&centred, width).multiply(&centred, &mut product);
    } else {
        let turned = transposed(&centred, width);
        Packed::of_columns(&centred, width).multiply(&turned, &mut product);
    }
    let eigen = Eigen::new(product, side);
    let variance: f64 = eigen.values.iter().map(|value| value.max(0.0)).sum();
    // Less than this is what rounding unit rows to f32 leaves of none.
    if variance <= 1e-13 {
        return None;
    }
    let mut held = 0.0;
    let mut components = Vec::new();
    for (i, value) in eigen.values.iter().enumerate() {
        if held > share * variance || *value <= 1e-12 * variance {
            break;
        }
        held += value;
        let vector = eigen.vector(i);
        components.extend(direction(if by_rows { back(&centred, width, &vector) } else { vector }));
    }
    Some(Pca { mean, components })
}

/// The combination of the rows.
fn back(rows: &[f64], width: usize, factors: &[f64]) -> Vec<f64> {
    let mut sum = vec![0.0; width];
    for (row, factor) in rows.chunks_exact(width).zip(factors) {
        add_scaled(&mut sum, *factor, row);
    }
    sum
}

/// Length 1, and the sign that makes the largest entry positive.
fn direction(mut vector: Vec<f64>) -> Vec<f64> {
    let largest =
        vector.iter().copied().fold(0.0_f64, |m, v| if v.abs() > m.abs() { v } else { m });
    let length = dot(&vector, &vector).sqrt().copysign(largest);
    vector.iter_mut().for_each(|value| *value /= length);
    vector
}

fn transposed(rows: &[f64], width: usize) -> Vec<f64> {
    let n = rows.len() / width;
    let mut turned = vec![0.0; rows.len()];
    for (i, row) in rows.chunks_exact(width).enumerate() {
        row.iter().enumerate().for_each(|(j, value)| turned[j * n + i] = *value);
    }
    turned
}
