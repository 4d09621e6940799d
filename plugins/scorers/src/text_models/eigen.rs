//! Eigenvalues and eigenvectors of a symmetric matrix: Householder's reduction to a tridiagonal
//! one, then the QL method with implicit shifts. Source: Golub & Van Loan, Matrix Computations,
//! 8.3.

use super::numerics::{add_scaled, dot};

/// In falling order of the eigenvalues; vectors are rows `[n,n]` of length 1.
pub(crate) struct Eigen {
    pub(crate) values: Vec<f64>,
    /// Eigenvectors of the tridiagonal matrix, in the order of `values`.
    inner: Vec<f64>,
    /// The reflection that each column took, and 2 / |it|^2; from the first column on.
    reflections: Vec<(Vec<f64>, f64)>,
}

/// Rounds of QL for one eigenvalue; two or three are usual.
const MAX_ROUNDS: usize = 60;

impl Eigen {
    /// `matrix [n,n]` is symmetric and finite; it is used up. Eigenvalues are exact to about 1e-15
    /// of the largest.
    pub(crate) fn new(mut matrix: Vec<f64>, n: usize) -> Self {
        let (mut diagonal, mut beside, reflections) = tridiagonal(&mut matrix, n);
        let mut vectors = matrix;
        vectors.fill(0.0);
        vectors.iter_mut().step_by(n + 1).for_each(|value| *value = 1.0);
        ql(&mut diagonal, &mut beside, &mut vectors);
        let mut order: Vec<usize> = (0..n).collect();
        order.sort_by(|a, b| diagonal[*b].total_cmp(&diagonal[*a]).then(a.cmp(b)));
        let values = order.iter().map(|i| diagonal[*i]).collect();
        let inner = order.iter().flat_map(|i| vectors[i * n..][..n].iter().copied()).collect();
        Eigen { values, inner, reflections }
    }

    /// Eigenvector `i`.
    pub(crate) fn vector(&self, i: usize) -> Vec<f64> {
        let n = self.values.len();
        let mut vector = self.inner[i * n..][..n].to_vec();
        for (k, (reflection, factor)) in self.reflections.iter().enumerate().rev() {
            let part = &mut vector[k + 1..];
            let along = factor * dot(reflection, part);
            add_scaled(part, -along, reflection);
        }
        vector
    }
}

type Tridiagonal = (Vec<f64>, Vec<f64>, Vec<(Vec<f64>, f64)>);

fn tridiagonal(matrix: &mut [f64], n: usize) -> Tridiagonal {
    let (mut diagonal, mut beside) = (vec![0.0; n], vec![0.0; n]);
    let mut reflections = Vec::with_capacity(n);
    for k in 0..n {
        diagonal[k] = matrix[k * n + k];
        let mut reflection = matrix[k * n + k + 1..(k + 1) * n].to_vec();
        let Some(first) = reflection.first().copied() else { break };
        let length = dot(&reflection, &reflection).sqrt();
        beside[k] = if first > 0.0 { -length } else { length };
        reflection[0] -= beside[k];
        let square = dot(&reflection, &reflection);
        let factor = if square > 0.0 { 2.0 / square } else { 0.0 };
        // The rest becomes R A R with R = 1 - factor v v'.
        let below = || (k + 1..n).map(|row| row * n + k + 1..(row + 1) * n);
        let mut image: Vec<f64> =
            below().map(|row| factor * dot(&matrix[row], &reflection)).collect();
        let half = 0.5 * factor * dot(&image, &reflection);
        add_scaled(&mut image, -half, &reflection);
        for (row, (v, w)) in below().zip(reflection.iter().zip(&image)) {
            for (value, (rv, rw)) in matrix[row].iter_mut().zip(reflection.iter().zip(&image)) {
                *value -= v * rw + w * rv;
            }
        }
        reflections.push((reflection, factor));
    }
    (diagonal, beside, reflections)
}

/// `beside[i]` couples i and i + 1. Rows of `vectors` are rotated along.
fn ql(diagonal: &mut [f64], beside: &mut [f64], vectors: &mut [f64]) {
    let n = diagonal.len();
    let size = diagonal.iter().chain(beside.iter()).fold(0.0_f64, |most, v| most.max(v.abs()));
    for first in 0..n {
        for _ in 0..MAX_ROUNDS {
            let parted = |i: &usize| *i + 1 == n || beside[*i].abs() <= f64::EPSILON * size;
            let last = (first..n).find(parted).unwrap_or(n - 1);
            if last == first {
                break;
            }
            round(diagonal, beside, vectors, first, last);
        }
    }
}

/// One implicit QL step on the block `first..=last`.
fn round(diagonal: &mut [f64], beside: &mut [f64], vectors: &mut [f64], first: usize, last: usize) {
    let n = diagonal.len();
    let slope = (diagonal[first + 1] - diagonal[first]) / (2.0 * beside[first]);
    let root = (slope * slope + 1.0).sqrt().copysign(slope);
    let mut chase = diagonal[last] - diagonal[first] + beside[first] / (slope + root);
    let (mut sine, mut cosine, mut shift) = (1.0, 1.0, 0.0);
    for i in (first..last).rev() {
        let (across, along) = (sine * beside[i], cosine * beside[i]);
        let length = (across * across + chase * chase).sqrt();
        beside[i + 1] = length;
        if length == 0.0 {
            diagonal[i + 1] -= shift;
            beside[last] = 0.0;
            return;
        }
        (sine, cosine) = (across / length, chase / length);
        let lowered = diagonal[i + 1] - shift;
        let turn = (diagonal[i] - lowered) * sine + 2.0 * cosine * along;
        shift = sine * turn;
        diagonal[i + 1] = lowered + shift;
        chase = cosine * turn - along;
        let (head, tail) = vectors.split_at_mut((i + 1) * n);
        for (a, b) in head[i * n..].iter_mut().zip(&mut tail[..n]) {
            (*a, *b) = (cosine * *a - sine * *b, sine * *a + cosine * *b);
        }
    }
    diagonal[first] -= shift;
    beside[first] = chase;
    beside[last] = 0.0;
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A = sum of value_i v_i v_i' for every size, and vectors are orthonormal.
    #[test]
    fn the_matrix_is_the_sum_of_its_parts() {
        for n in [1, 2, 3, 7, 20, 61] {
            let entry = |i: usize, j: usize| (((i * j + i + j) * 31 % 17) as f64) - 8.0;
            let matrix: Vec<f64> = (0..n * n).map(|at| entry(at / n, at % n)).collect();
            let eigen = Eigen::new(matrix.clone(), n);
            let vectors: Vec<Vec<f64>> = (0..n).map(|i| eigen.vector(i)).collect();
            let mut sum = vec![0.0; n * n];
            for (i, v) in vectors.iter().enumerate() {
                for (j, w) in vectors.iter().enumerate() {
                    let want = f64::from(u8::from(i == j));
                    assert!((dot(v, w) - want).abs() < 1e-12, "{n}: {i} {j}");
                }
                for (row, factor) in sum.chunks_exact_mut(n).zip(v) {
                    add_scaled(row, eigen.values[i] * factor, v);
                }
            }
            let worst = sum.iter().zip(&matrix).fold(0.0_f64, |m, (a, b)| m.max((a - b).abs()));
            assert!(worst < 1e-11, "{n}: {worst}");
            assert!(eigen.values.is_sorted_by(|a, b| a >= b));
        }
    }

    #[test]
    fn known_eigenvalues() {
        let close = |got: &[f64], want: &[f64]| {
            got.iter().zip(want).all(|(got, want)| (got - want).abs() < 1e-14)
        };
        assert!(close(&Eigen::new(vec![2.0, 1.0, 1.0, 2.0], 2).values, &[3.0, 1.0]));
        assert_eq!(Eigen::new(vec![0.0; 9], 3).values, [0.0; 3]);
        let diagonal = Eigen::new(vec![1.0, 0.0, 0.0, 0.0, 5.0, 0.0, 0.0, 0.0, -2.0], 3);
        assert!(close(&diagonal.values, &[5.0, 1.0, -2.0]));
        let ones = Eigen::new(vec![1.0; 16], 4);
        assert!(close(&ones.values, &[4.0, 0.0, 0.0, 0.0]));
        assert!(ones.vector(0).iter().all(|value| (value.abs() - 0.5).abs() < 1e-14));
    }
}
