//! Arithmetic with the same bits on every machine. The system's `exp` and `ln` may differ in their
//! last bit between processors, and a training run makes much of a bit; here are sums in a fixed
//! order and series in plain operations.

use std::f64::consts::LOG2_E;

/// ln 2 in two parts; the first has few enough bits for its product with an exponent to be exact.
const LN_2_HIGH: f64 = 6.931_471_803_691_238e-1;
const LN_2_LOW: f64 = 1.908_214_929_270_587_7e-10;

/// e^x within 2 units of the last place; 0 below -708, and 1.0e308 or so above 709 instead of
/// infinity.
pub(crate) fn exp(x: f64) -> f64 {
    if x < -708.0 {
        return 0.0;
    }
    let x = x.min(709.0);
    let power = (x * LOG2_E).round();
    let rest = (x - power * LN_2_HIGH) - power * LN_2_LOW;
    // Taylor's series: |rest| <= 0.35, so the fifteenth term is below 1e-17.
    let series = (1..=14).rev().fold(1.0, |sum, k| 1.0 + sum * rest / f64::from(k));
    series * f64::from_bits(((power as i64 + 1023) as u64) << 52)
}

/// Natural logarithm within 2 units of the last place. `x` is positive and not subnormal.
pub(crate) fn ln(x: f64) -> f64 {
    let bits = x.to_bits();
    let mut exponent = ((bits >> 52) & 0x7ff) as i64 - 1023;
    let mut mantissa = f64::from_bits((bits & ((1 << 52) - 1)) | (1023 << 52));
    if mantissa > std::f64::consts::SQRT_2 {
        (mantissa, exponent) = (mantissa / 2.0, exponent + 1);
    }
    // ln m = 2 artanh((m - 1) / (m + 1)), whose argument is at most 0.172.
    let ratio = (mantissa - 1.0) / (mantissa + 1.0);
    let square = ratio * ratio;
    let series = (0..=11).rev().fold(0.0, |sum, k| sum * square + 1.0 / f64::from(2 * k + 1));
    let exponent = exponent as f64;
    exponent * LN_2_HIGH + (2.0 * ratio * series + exponent * LN_2_LOW)
}

/// 1 / (1 + e^-x).
pub(crate) fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + exp(-x))
}

/// ln(1 + e^x) without overflow.
pub(crate) fn softplus(x: f64) -> f64 {
    x.max(0.0) + ln(1.0 + exp(-x.abs()))
}

/// The sum of products, in eight running sums: wide enough to vectorise.
pub(crate) fn dot(a: &[f64], b: &[f64]) -> f64 {
    let mut lanes = [0.0_f64; 8];
    let ((a_vectors, a_rest), (b_vectors, b_rest)) = (a.as_chunks::<8>(), b.as_chunks::<8>());
    for (a, b) in a_vectors.iter().zip(b_vectors) {
        for ((lane, a), b) in lanes.iter_mut().zip(a).zip(b) {
            *lane += a * b;
        }
    }
    let rest: f64 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
    lanes.iter().sum::<f64>() + rest
}

/// `y += factor * x`.
pub(crate) fn add_scaled(y: &mut [f64], factor: f64, x: &[f64]) {
    y.iter_mut().zip(x).for_each(|(y, x)| *y += factor * x);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exponentials_and_logarithms_are_those_of_the_system_within_rounding() {
        let near = |got: f64, want: f64| (got - want).abs() <= 5e-16 * want.abs().max(1e-300);
        for i in -7000..=7000 {
            let x = f64::from(i) * 0.1013;
            let got = exp(x);
            assert!(near(got, x.exp()) || x.exp() < 1e-300 || x > 709.0, "{x}: {got} {}", x.exp());
            let y = f64::from(i + 7001) * 0.0371;
            assert!(near(ln(y), y.ln()) || (ln(y) - y.ln()).abs() < 2e-16, "{y}: {}", ln(y));
        }
        assert_eq!([exp(0.0), exp(-1e9), ln(1.0)], [1.0, 0.0, 0.0]);
        assert!(exp(f64::MAX).is_finite() && (ln(1e-300) - (1e-300_f64).ln()).abs() < 1e-12);
    }

    #[test]
    fn softplus_is_right_at_both_ends() {
        assert_eq!([softplus(1000.0), softplus(-1000.0)], [1000.0, 0.0]);
        assert!((softplus(0.0) - 2.0_f64.ln()).abs() < 1e-15 && sigmoid(0.0) == 0.5);
    }
}
