//! Products of matrices, either of them transposed without a copy: a layer's forward pass and both
//! halves of its backward pass.

use gemm::Parallelism;

use crate::error::{KernelError, volume};

/// Row-major values seen as a matrix, or as its transpose.
#[derive(Clone, Copy, Debug)]
pub struct Matrix<'a> {
    values: &'a [f32],
    rows: usize,
    columns: usize,
    row_stride: usize,
    column_stride: usize,
}

impl<'a> Matrix<'a> {
    /// `values [rows, columns]`, row-major. Errors: `Shape`, `TooLarge`.
    pub fn new(values: &'a [f32], rows: usize, columns: usize) -> Result<Self, KernelError> {
        let want = volume("matmul", "matrix", &[rows, columns])?;
        if want != values.len() {
            let (want, got) = (format!("{rows} x {columns} values"), values.len().to_string());
            return Err(KernelError::Shape { op: "matmul", input: "matrix", want, got });
        }
        Ok(Matrix { values, rows, columns, row_stride: columns, column_stride: 1 })
    }

    /// As many whole rows of `columns` values as there are.
    pub(crate) fn of_rows(values: &'a [f32], columns: usize) -> Self {
        let rows = values.len().checked_div(columns).unwrap_or(0);
        let values = &values[..rows * columns];
        Matrix { values, rows, columns, row_stride: columns, column_stride: 1 }
    }

    /// The transpose, of the same values.
    pub fn transposed(self) -> Self {
        Matrix {
            values: self.values,
            rows: self.columns,
            columns: self.rows,
            row_stride: self.column_stride,
            column_stride: self.row_stride,
        }
    }
}

/// `out = a * b`. One thread: the caller cuts the rows.
/// Shapes: `a [n,k]`, `b [k,m]`, `out [n,m]` row-major; f32. 2nkm FLOP. The bytes of a row depend on
/// n, k and m alone. Errors: `Shape`.
pub fn matmul(a: Matrix, b: Matrix, out: &mut [f32]) -> Result<(), KernelError> {
    check(a, b, out.len())?;
    product(a, b, false, out);
    Ok(())
}

/// `out += a * b`, else as `matmul`.
pub fn add_matmul(a: Matrix, b: Matrix, out: &mut [f32]) -> Result<(), KernelError> {
    check(a, b, out.len())?;
    product(a, b, true, out);
    Ok(())
}

/// `out = a * b`, or `out += a * b` where it `adds`: every product of this crate is made here. The
/// caller has found the shapes to fit.
pub(crate) fn product(a: Matrix, b: Matrix, adds: bool, out: &mut [f32]) {
    assert!(a.columns == b.rows && out.len() == a.rows * b.columns);
    if out.is_empty() {
        return;
    }
    let stride = |stride: usize| stride as isize;
    // SAFETY: `Matrix` holds as many values as rows x columns at its strides, whichever way it is
    // turned, and `out` was found above to be `a.rows x b.columns`; it is borrowed mutably, so it
    // overlaps neither input.
    unsafe {
        gemm::gemm(
            a.rows,
            b.columns,
            a.columns,
            out.as_mut_ptr(),
            1,
            stride(b.columns),
            adds,
            a.values.as_ptr(),
            stride(a.column_stride),
            stride(a.row_stride),
            b.values.as_ptr(),
            stride(b.column_stride),
            stride(b.row_stride),
            if adds { 1.0 } else { 0.0 },
            1.0,
            false,
            false,
            false,
            Parallelism::None,
        );
    }
}

/// `a b^T` in f64, for rows of `width` values. Shapes: `a [n,width]`, `b [m,width]`, `out [n,m]`, which
/// the caller has found to fit.
pub(crate) fn product_of_rows(a: &[f64], b: &[f64], width: usize, out: &mut [f64]) {
    let [n, m] = [a, b].map(|rows| rows.len().checked_div(width).unwrap_or(0));
    assert!(a.len() == n * width && b.len() == m * width && out.len() == n * m);
    if out.is_empty() {
        return;
    }
    let (to, [a, b]) = (out.as_mut_ptr(), [a, b].map(<[f64]>::as_ptr));
    let [width_step, out_step] = [width, m].map(|step| step as isize);
    // SAFETY: the slices hold `n x width`, `m x width` and `n x m` values, as was found above, and `out` is
    // borrowed mutably, so it overlaps neither input.
    unsafe {
        gemm::gemm(
            n,
            m,
            width,
            to,
            1,
            out_step,
            false,
            a,
            1,
            width_step,
            b,
            width_step,
            1,
            0.0,
            1.0,
            false,
            false,
            false,
            Parallelism::None,
        );
    }
}

/// The same by definition, summed in f64.
pub fn matmul_reference(a: Matrix, b: Matrix, out: &mut [f32]) -> Result<(), KernelError> {
    check(a, b, out.len())?;
    let at = |matrix: &Matrix, row: usize, column: usize| {
        f64::from(matrix.values[row * matrix.row_stride + column * matrix.column_stride])
    };
    for (i, line) in out.chunks_exact_mut(b.columns.max(1)).enumerate() {
        for (j, value) in line.iter_mut().enumerate() {
            *value = (0..a.columns).map(|k| at(&a, i, k) * at(&b, k, j)).sum::<f64>() as f32;
        }
    }
    Ok(())
}

fn check(a: Matrix, b: Matrix, n_out: usize) -> Result<(), KernelError> {
    if a.columns != b.rows {
        let (want, got) = (format!("{} rows", a.columns), format!("{} rows", b.rows));
        return Err(KernelError::Shape { op: "matmul", input: "b", want, got });
    }
    if volume("matmul", "out", &[a.rows, b.columns])? != n_out {
        let (want, got) = (format!("{} x {} values", a.rows, b.columns), n_out.to_string());
        return Err(KernelError::Shape { op: "matmul", input: "out", want, got });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::golden::{max_error, noise};

    #[test]
    fn rows_meet_columns() {
        let (a, b) = ([1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0]);
        let (a, b) = (Matrix::new(&a, 2, 2).unwrap(), Matrix::new(&b, 2, 2).unwrap());
        let product = |a, b| {
            let mut out = [f32::NAN; 4];
            matmul(a, b, &mut out).unwrap();
            out
        };
        assert_eq!(product(a, b), [19.0, 22.0, 43.0, 50.0]);
        assert_eq!(product(a, b.transposed()), [17.0, 23.0, 39.0, 53.0]);
        assert_eq!(product(a.transposed(), b), [26.0, 30.0, 38.0, 44.0]);
    }

    #[test]
    fn sizes_of_all_kinds_agree_with_the_definition() {
        for [n, k, m] in [[1, 1, 1], [7, 3, 5], [73, 64, 24], [1, 97, 31], [0, 3, 2], [3, 0, 2]] {
            let (a, b) = (noise(n * k, 1), noise(k * m, 2));
            let turned = |turn: bool, values, rows, columns| match turn {
                false => Matrix::new(values, rows, columns).unwrap(),
                true => Matrix::new(values, columns, rows).unwrap().transposed(),
            };
            for [turn_a, turn_b] in [[false, false], [false, true], [true, false], [true, true]] {
                let (a, b) = (turned(turn_a, &a, n, k), turned(turn_b, &b, k, m));
                let (mut fast, mut plain) = (vec![f32::NAN; n * m], vec![f32::NAN; n * m]);
                matmul(a, b, &mut fast).unwrap();
                matmul_reference(a, b, &mut plain).unwrap();
                assert!(max_error(&fast, &plain) < 1e-5, "{n} x {k} x {m}");
                assert!(fast.iter().all(|value| value.is_finite()), "{n} x {k} x {m}");
                add_matmul(a, b, &mut fast).unwrap();
                plain.iter_mut().for_each(|value| *value *= 2.0);
                assert!(max_error(&fast, &plain) < 2e-5, "{n} x {k} x {m}, added");
            }
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let said = Matrix::new(&[1.0; 3], 2, 2).unwrap_err().to_string();
        assert!(said.contains("`matrix` of 2 x 2 values, got 3"), "{said}");
        assert!(Matrix::new(&[], usize::MAX, 2).is_err());
        let (values, mut out) = ([1.0; 4], [0.0; 4]);
        let (square, row) =
            (Matrix::new(&values, 2, 2).unwrap(), Matrix::new(&values, 1, 4).unwrap());
        let said = matmul(square, row, &mut out).unwrap_err().to_string();
        assert!(said.contains("`b` of 2 rows, got 1 rows"), "{said}");
        let said = matmul(square, square, &mut out[..3]).unwrap_err().to_string();
        assert!(said.contains("`out` of 2 x 2 values, got 3"), "{said}");
    }
}
