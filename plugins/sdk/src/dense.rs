//! Products and sums of matrices in plain slices, row by row: what a layer and its way back are made of.
//! Plain loops that the compiler turns into vector code; a large model brings a library of its own.

use crate::error::{Error, Result};

/// `a [n, inner]` times `b [inner, m]` -> `[n, m]`.
/// Errors: `Shape` if a matrix has no whole number of rows or columns.
pub fn matmul(a: &[f32], b: &[f32], inner: usize) -> Result<Vec<f32>> {
    let (n, m) = (quotient("a", a, inner)?, quotient("b", b, inner)?);
    let mut out = vec![0.0; n * m];
    for (out, row) in out.chunks_exact_mut(m.max(1)).zip(a.chunks_exact(inner)) {
        for (x, other) in row.iter().zip(b.chunks_exact(m.max(1))) {
            add_scaled(out, *x, other);
        }
    }
    Ok(out)
}

/// `a [n, inner]` times the transpose of `b [m, inner]` -> `[n, m]`: rows through a linear layer with
/// weights `b`. Errors: as `matmul`.
pub fn matmul_t(a: &[f32], b: &[f32], inner: usize) -> Result<Vec<f32>> {
    let m = quotient("b", b, inner)?;
    let mut turned = vec![0.0; b.len()];
    for (column, row) in b.chunks_exact(inner).enumerate() {
        for (place, x) in turned.iter_mut().skip(column).step_by(m).zip(row) {
            *place = *x;
        }
    }
    matmul(a, &turned, inner)
}

/// The transpose of `a [inner, n]` times `b [inner, m]` -> `[n, m]`: from cotangents `a` of a linear
/// layer's outputs and its inputs `b`, the gradient of its weights. Errors: as `matmul`.
pub fn t_matmul(a: &[f32], b: &[f32], inner: usize) -> Result<Vec<f32>> {
    let (n, m) = (quotient("a", a, inner)?, quotient("b", b, inner)?);
    let mut out = vec![0.0; n * m];
    for (row, other) in a.chunks_exact(n.max(1)).zip(b.chunks_exact(m.max(1))) {
        for (x, out) in row.iter().zip(out.chunks_exact_mut(m.max(1))) {
            add_scaled(out, *x, other);
        }
    }
    Ok(out)
}

/// The sum of `rows [n, width]` -> `[width]`. Errors: as `matmul`.
pub fn sum_rows(rows: &[f32], width: usize) -> Result<Vec<f32>> {
    quotient("rows", rows, width)?;
    let mut sums = vec![0.0; width];
    rows.chunks_exact(width).for_each(|row| add_scaled(&mut sums, 1.0, row));
    Ok(sums)
}

/// Each of `rows [n, c]` times `factors [c]`, number by number -> `[n, c]`. With as many factors as
/// numbers it is the product of two matrices' elements. Errors: as `matmul`.
pub fn scale_rows(rows: &[f32], factors: &[f32]) -> Result<Vec<f32>> {
    quotient("rows", rows, factors.len())?;
    Ok(rows.iter().zip(factors.iter().cycle()).map(|(x, factor)| x * factor).collect())
}

/// Adds `part` to `sum`, number by number. Errors: `Shape` if they are not as long.
pub fn add(sum: &mut [f32], part: &[f32]) -> Result<()> {
    if sum.len() != part.len() {
        return Err(Error::shape("part", format!("{} numbers", sum.len()), part.len()));
    }
    add_scaled(sum, 1.0, part);
    Ok(())
}

fn add_scaled(sum: &mut [f32], factor: f32, row: &[f32]) {
    sum.iter_mut().zip(row).for_each(|(sum, x)| *sum += factor * x);
}

/// The other side of a matrix of which one is `side`.
fn quotient(what: &str, values: &[f32], side: usize) -> Result<usize> {
    match values.len().checked_div(side) {
        Some(other) if other * side == values.len() => Ok(other),
        _ => Err(Error::shape(what, format!("a multiple of {side} numbers"), values.len())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: [f32; 6] = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
    const B: [f32; 12] = [1.0, 0.0, 2.0, -1.0, 0.5, 1.0, 0.0, 2.0, -2.0, 1.0, 1.0, 3.0];

    #[test]
    fn three_forms_of_one_product() {
        // [[1, 2, 3], [4, 5, 6]] times three rows of four.
        let want = [-4.0, 5.0, 5.0, 12.0, -5.5, 11.0, 14.0, 24.0];
        assert_eq!(matmul(&A, &B, 3).unwrap(), want);
        let turned = |values: &[f32], width: usize| -> Vec<f32> {
            let columns = 0..width;
            columns.flat_map(|at| values.iter().skip(at).step_by(width).copied()).collect()
        };
        assert_eq!(matmul_t(&A, &turned(&B, 4), 3).unwrap(), want);
        assert_eq!(t_matmul(&turned(&A, 3), &B, 3).unwrap(), want);
    }

    #[test]
    fn sums_and_factors_of_rows() {
        assert_eq!(sum_rows(&A, 3).unwrap(), [5.0, 7.0, 9.0]);
        assert_eq!(scale_rows(&A, &[1.0, 0.0, -1.0]).unwrap(), [1.0, 0.0, -3.0, 4.0, 0.0, -6.0]);
        assert_eq!(scale_rows(&A, &A).unwrap(), [1.0, 4.0, 9.0, 16.0, 25.0, 36.0]);
        let mut sum = A;
        add(&mut sum, &[1.0; 6]).unwrap();
        assert_eq!(sum, [2.0, 3.0, 4.0, 5.0, 6.0, 7.0]);
    }

    #[test]
    fn of_nothing_comes_nothing() {
        assert!(matmul(&[], &B, 3).unwrap().is_empty());
        assert!(matmul(&A, &[], 3).unwrap().is_empty());
        assert!(matmul_t(&[], &B, 3).unwrap().is_empty());
        assert!(t_matmul(&[], &B, 3).unwrap().is_empty());
        assert_eq!(sum_rows(&[], 2).unwrap(), [0.0, 0.0]);
    }

    #[test]
    fn sizes_that_do_not_fit_are_refused() {
        let said = |made: Result<Vec<f32>>| made.unwrap_err().to_string();
        let want = "`a` wants a multiple of 4 numbers, but got 6";
        assert_eq!(said(matmul(&A, &B, 4)), want);
        assert_eq!(said(matmul_t(&A, &B, 4)), want);
        assert_eq!(said(t_matmul(&A, &B, 4)), want);
        assert_eq!(said(matmul(&A, &B, 0)), "`a` wants a multiple of 0 numbers, but got 6");
        assert_eq!(said(sum_rows(&A, 0)), "`rows` wants a multiple of 0 numbers, but got 6");
        assert_eq!(said(scale_rows(&A, &[])), "`rows` wants a multiple of 0 numbers, but got 6");
        let short = add(&mut [0.0; 2], &A).unwrap_err().to_string();
        assert_eq!(short, "`part` wants 2 numbers, but got 6");
    }
}
