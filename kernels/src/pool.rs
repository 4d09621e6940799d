//! Rules that turn a map into one score.

use crate::error::{KernelError, check_finite};

/// Largest value. Shapes: `map` of any shape -> one score. Errors: `Empty`, `NotFinite`.
pub fn max(map: &[f32]) -> Result<f32, KernelError> {
    check("max", map)?;
    Ok(map.iter().copied().fold(f32::NEG_INFINITY, f32::max))
}

/// Mean, summed in f64. Errors: `Empty`, `NotFinite`.
pub fn mean(map: &[f32]) -> Result<f32, KernelError> {
    check("mean", map)?;
    Ok(mean_of(map))
}

/// Mean of the largest `fraction` of the values, at least one: `ceil(fraction * n)` of them.
/// AnomalyDINO's image score is this with 0.01. Errors: `Empty`, `NotFinite`, `Range` unless `0 <
/// fraction <= 1`.
pub fn top_fraction_mean(map: &[f32], fraction: f64) -> Result<f32, KernelError> {
    const OP: &str = "top_fraction_mean";
    check(OP, map)?;
    if !(fraction > 0.0 && fraction <= 1.0) {
        let want = "above 0 and at most 1";
        return Err(KernelError::Range { op: OP, key: "fraction", want, got: fraction });
    }
    // The small allowance keeps 0.01 * 700 (7.000000000000001 in f64) at 7 values.
    let n_top = ((fraction * map.len() as f64 - 1e-9).ceil() as usize).clamp(1, map.len());
    let mut values = map.to_vec();
    let n_below = values.len() - n_top;
    values.select_nth_unstable_by(n_below, f32::total_cmp);
    let top = &mut values[n_below..];
    // Sorted, so that the sum's order, and with it the last bit, is the same whatever the selection
    // did.
    top.sort_unstable_by(f32::total_cmp);
    Ok(mean_of(top))
}

/// Quantile with linear interpolation between neighbours, as `numpy.quantile`.
/// Errors: `Empty`, `NotFinite`, `Range` unless `0 <= q <= 1`.
pub fn quantile(map: &[f32], q: f64) -> Result<f32, KernelError> {
    const OP: &str = "quantile";
    check(OP, map)?;
    if !(0.0..=1.0).contains(&q) {
        return Err(KernelError::Range { op: OP, key: "q", want: "between 0 and 1", got: q });
    }
    let position = q * (map.len() - 1) as f64;
    let below = (position as usize).min(map.len() - 1);
    let mut values = map.to_vec();
    let (_, low, above) = values.select_nth_unstable_by(below, f32::total_cmp);
    let low = f64::from(*low);
    let high = above.iter().copied().min_by(f32::total_cmp).map_or(low, f64::from);
    Ok((low + (high - low) * (position - below as f64)) as f32)
}

fn mean_of(values: &[f32]) -> f32 {
    let sum: f64 = values.iter().map(|v| f64::from(*v)).sum();
    (sum / values.len() as f64) as f32
}

fn check(op: &'static str, map: &[f32]) -> Result<(), KernelError> {
    if map.is_empty() {
        return Err(KernelError::Empty { op, input: "map" });
    }
    check_finite(op, "map", map)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAP: [f32; 7] = [0.5, -1.0, 3.0, 2.0, 0.0, 3.0, 1.0];

    #[test]
    fn each_rule_on_one_small_map() {
        assert_eq!(max(&MAP).unwrap(), 3.0);
        assert_eq!(mean(&MAP).unwrap(), 8.5 / 7.0);
        assert_eq!(top_fraction_mean(&MAP, 0.01).unwrap(), 3.0);
        assert_eq!(top_fraction_mean(&MAP, 3.0 / 7.0).unwrap(), 8.0 / 3.0);
        assert_eq!(top_fraction_mean(&MAP, 1.0).unwrap(), 8.5 / 7.0);
    }

    #[test]
    fn quantiles_are_numpys() {
        // numpy.quantile([0.5, -1, 3, 2, 0, 3, 1], [0, 0.1, 0.5, 0.77, 1])
        let wants = [(0.0, -1.0), (0.1, -0.4), (0.5, 1.0), (0.77, 2.62), (1.0, 3.0)];
        for (q, want) in wants {
            assert_eq!(quantile(&MAP, q).unwrap(), want, "q = {q}");
        }
        assert_eq!(quantile(&[4.0], 0.3).unwrap(), 4.0);
    }

    #[test]
    fn nothing_nan_and_fractions_out_of_range_are_refused() {
        assert_eq!(
            max(&[]).unwrap_err().to_string(),
            "`max` wants at least one value in `map`, got none"
        );
        let message = mean(&[0.0, f32::NAN]).unwrap_err().to_string();
        assert_eq!(message, "`mean` wants finite values, but `map` holds `NaN` at index 1");
        for fraction in [0.0, -0.1, 1.1, f64::NAN] {
            assert!(top_fraction_mean(&MAP, fraction).is_err(), "{fraction}");
        }
        assert!(quantile(&MAP, 1.5).is_err());
    }
}
