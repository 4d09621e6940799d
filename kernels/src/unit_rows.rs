use crate::error::{KernelError, volume};

/// Rows scaled to L2 norm 1. Shapes: `x [n,width]` -> `[n,width]`.
///
/// The norm is floored at 1e-12, so a row of zeros stays zero, as in torch's `F.normalize`. The sum
/// of squares is taken in f64: the result is within one rounding of the exact one, whatever the
/// width.
/// Errors: `Empty` if `width` is 0, `Shape` if it does not divide `x`.
pub fn unit_rows(x: &[f32], width: usize) -> Result<Vec<f32>, KernelError> {
    const OP: &str = "unit_rows";
    if width == 0 {
        return Err(KernelError::Empty { op: OP, input: "width" });
    }
    volume(OP, "x", &[x.len()])?;
    if !x.len().is_multiple_of(width) {
        let (want, got) = (format!("whole rows of {width} values"), x.len().to_string());
        return Err(KernelError::Shape { op: OP, input: "x", want, got });
    }
    let mut unit = Vec::with_capacity(x.len());
    unit.extend_from_slice(x);
    scale_rows(&mut unit, width);
    Ok(unit)
}

vectorised! {
    fn scale_rows(rows: &mut [f32], width: usize) {
        for row in rows.chunks_exact_mut(width) {
            let norm = norm(row);
            row.iter_mut().for_each(|value| *value /= norm);
        }
    }
}

/// What a row is divided by.
#[inline(always)]
pub(crate) fn norm(row: &[f32]) -> f32 {
    (square(row).sqrt() as f32).max(1e-12)
}

/// Sixteen running sums: wide enough for vectors, and a fixed order.
#[inline(always)]
fn square(row: &[f32]) -> f64 {
    let mut lanes = [0.0_f64; 16];
    let (vectors, rest) = row.as_chunks::<16>();
    for vector in vectors {
        for (lane, value) in lanes.iter_mut().zip(vector) {
            *lane += f64::from(*value) * f64::from(*value);
        }
    }
    let rest: f64 = rest.iter().map(|value| f64::from(*value) * f64::from(*value)).sum();
    lanes.iter().sum::<f64>() + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_get_length_one_and_zero_stays_zero() {
        let unit = unit_rows(&[3.0, 4.0, 0.0, 0.0, 0.0, -2.0], 2).unwrap();
        assert_eq!(unit, [0.6, 0.8, 0.0, 0.0, 0.0, -1.0]);
        assert_eq!(unit_rows(&[], 3).unwrap(), Vec::<f32>::new());
    }

    #[test]
    fn tiny_rows_are_floored_as_torch_does() {
        // torch.nn.functional.normalize(torch.tensor([[3e-13, 4e-13]]))
        let unit = unit_rows(&[3e-13, 4e-13], 2).unwrap();
        assert!((unit[0] - 0.3).abs() < 1e-6 && (unit[1] - 0.4).abs() < 1e-6, "{unit:?}");
    }

    #[test]
    fn a_width_that_does_not_fit_is_refused() {
        let message = unit_rows(&[1.0; 5], 2).unwrap_err().to_string();
        assert_eq!(message, "`unit_rows` wants `x` of whole rows of 2 values, got 5");
        assert!(matches!(unit_rows(&[], 0), Err(KernelError::Empty { .. })));
    }
}
