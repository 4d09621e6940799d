//! The logistic function without branches or calls, so that loops over it become vector code.

/// Adding it pushes a float's fraction out: what remains is a whole number in its lowest bits.
const ROUNDER: f32 = 12_582_912.0;
/// ln 2 in two parts; the first has so few digits that its multiples are exact.
const LN_2: [f32; 2] = [0.693_359_4, -2.121_944_4e-4];
/// 1 / 7!, .., 1 / 0!: Taylor's series, off by 6e-9 at half of ln 2.
const SERIES: [f32; 8] =
    [1.0 / 5040.0, 1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0];

/// `1 / (1 + e^-x)`, relative error below 4e-7 above -87; NaN stays NaN.
#[inline(always)]
pub fn sigmoid(x: f32) -> f32 {
    let x = if x < -87.0 { -87.0 } else { x };
    let x = if x > 87.0 { 87.0 } else { x };
    let shifted = x * -std::f32::consts::LOG2_E + ROUNDER;
    let whole = shifted - ROUNDER;
    let rest = (-x - whole * LN_2[0]) - whole * LN_2[1];
    let series = SERIES.iter().fold(0.0, |value, coefficient| value * rest + coefficient);
    // Adding to the exponent's bits multiplies by a power of two.
    let power = f32::from_bits(series.to_bits().wrapping_add(shifted.to_bits() << 23));
    1.0 / (1.0 + power)
}

vectorised! {
    /// `sigmoid(gain * x)` of every value, in place.
    pub fn sigmoids(values: &mut [f32], gain: f32) {
        values.iter_mut().for_each(|value| *value = sigmoid(gain * *value));
    }
}

vectorised! {
    /// `x * sigmoid(x)` of every value, in place. Source: SiLU, arXiv:1702.03118.
    pub fn silu(values: &mut [f32]) {
        values.iter_mut().for_each(|value| *value *= sigmoid(*value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sigmoid_is_near_the_exact_value() {
        for step in -8_700..=8_700 {
            let x = step as f32 / 100.0;
            let exact = 1.0 / (1.0 + (-f64::from(x)).exp());
            let error = (f64::from(sigmoid(x)) - exact).abs() / exact;
            assert!(error < 4e-7, "{x}: {error:e}");
        }
        assert_eq!(sigmoid(0.0), 0.5);
        assert_eq!(sigmoid(f32::INFINITY), 1.0);
        assert!(sigmoid(f32::NEG_INFINITY) < 2e-38);
        assert!(sigmoid(f32::NAN).is_nan());
    }

    #[test]
    fn silu_is_the_value_times_its_sigmoid() {
        let mut values = [-1.0, 0.0, 2.0];
        silu(&mut values);
        let close = |a: f32, b: f32| (a - b).abs() < 1e-6;
        assert!(close(values[0], -0.268_941_43) && close(values[2], 1.761_594_2), "{values:?}");
        assert_eq!(values[1], 0.0);
    }
}
