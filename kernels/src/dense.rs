//! Rows times the transpose of a weight matrix, added to what is there: a linear layer, or a
//! convolution over rows that were gathered before.

use crate::error::KernelError;
use crate::matmul::{Matrix, product};

/// `out += rows * weights^T`; start `out` with the bias. One thread: the caller cuts `rows`.
/// Shapes: `rows [m,width]`, `weights [n,width]` (as PyTorch keeps a linear layer), `out [m,n]`; f32,
/// row-major. Errors: `Empty` (width, weights), `Shape`.
pub fn add_dense(
    rows: &[f32],
    weights: &[f32],
    width: usize,
    out: &mut [f32],
) -> Result<(), KernelError> {
    sizes(rows, weights, width, out.len())?;
    let weights = Matrix::of_rows(weights, width).transposed();
    product(Matrix::of_rows(rows, width), weights, true, out);
    Ok(())
}

/// The same by definition, summed in f64.
pub fn add_dense_reference(
    rows: &[f32],
    weights: &[f32],
    width: usize,
    out: &mut [f32],
) -> Result<(), KernelError> {
    let [_, n_out] = sizes(rows, weights, width, out.len())?;
    for (row, line) in rows.chunks_exact(width).zip(out.chunks_exact_mut(n_out)) {
        for (value, weights) in line.iter_mut().zip(weights.chunks_exact(width)) {
            let products = row.iter().zip(weights).map(|(x, w)| f64::from(*x) * f64::from(*w));
            *value = (f64::from(*value) + products.sum::<f64>()) as f32;
        }
    }
    Ok(())
}

/// Rows and outputs a row.
fn sizes(
    rows: &[f32],
    weights: &[f32],
    width: usize,
    n_values: usize,
) -> Result<[usize; 2], KernelError> {
    const OP: &str = "add_dense";
    if width == 0 || weights.is_empty() {
        return Err(KernelError::Empty { op: OP, input: "weights" });
    }
    for (input, values) in [("rows", rows), ("weights", weights)] {
        if !values.len().is_multiple_of(width) {
            let (want, got) = (format!("whole rows of {width} values"), values.len().to_string());
            return Err(KernelError::Shape { op: OP, input, want, got });
        }
    }
    let [n_rows, n_out] = [rows.len() / width, weights.len() / width];
    if n_rows.checked_mul(n_out) != Some(n_values) {
        let want = format!("{n_rows} x {n_out} values");
        return Err(KernelError::Shape { op: OP, input: "out", want, got: n_values.to_string() });
    }
    Ok([n_rows, n_out])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::golden::{max_error, noise};

    #[test]
    fn rows_meet_every_row_of_weights() {
        let mut out = [100.0, 200.0, 300.0, 400.0];
        add_dense(&[1.0, 2.0, 3.0, 4.0], &[1.0, 0.0, 1.0, 1.0], 2, &mut out).unwrap();
        assert_eq!(out, [101.0, 203.0, 303.0, 407.0]);
    }

    #[test]
    fn sizes_of_all_kinds_agree_with_the_definition() {
        for [m, n, width] in [[1, 1, 1], [7, 5, 3], [256, 64, 27], [97, 256, 64], [0, 3, 2]] {
            let (rows, weights) = (noise(m * width, 1), noise(n * width, 2));
            let (mut fast, mut plain) = (noise(m * n, 3), noise(m * n, 3));
            add_dense(&rows, &weights, width, &mut fast).unwrap();
            add_dense_reference(&rows, &weights, width, &mut plain).unwrap();
            assert!(max_error(&fast, &plain) < 1e-5, "{m} x {n} x {width}");
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let refused = |rows: &[f32], weights: &[f32], width, n: usize| {
            add_dense(rows, weights, width, &mut vec![0.0; n]).unwrap_err().to_string()
        };
        assert!(refused(&[1.0; 3], &[1.0; 2], 2, 2).contains("`rows` of whole rows of 2"));
        assert!(refused(&[1.0; 4], &[1.0; 2], 2, 3).contains("`out` of 2 x 1 values"));
        assert!(refused(&[1.0; 4], &[1.0; 2], 0, 3).contains("got none"));
        assert!(refused(&[1.0; 4], &[], 2, 0).contains("got none"));
    }
}
