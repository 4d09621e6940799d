//! Exponential and error function without branches or calls, so that loops over rows become vector
//! code on every CPU: the standard library's take more time in a ViT than its smaller products.
//!
//! The polynomials were fitted for this file by least squares of the relative error at Chebyshev
//! nodes, in f64. NaN comes out as NaN.

/// Adding it pushes a float's fraction out: what remains is rounded to a whole number, which then
/// stands in the lowest bits.
const ROUNDER: f32 = 12_582_912.0;
/// Below it `exp` is no normal number; its values there are taken as `exp` of this.
const MIN_EXPONENT: f32 = -87.0;
/// ln 2 in two parts; the first has so few digits that its multiples are exact.
const LN_2_HIGH: f32 = 0.693_359_4;
const LN_2_LOW: f32 = -2.121_944_4e-4;

/// `a * b + c`, in one instruction or two.
pub(crate) trait Fma: Fn(f32, f32, f32) -> f32 + Copy {}

impl<F: Fn(f32, f32, f32) -> f32 + Copy> Fma for F {}

/// `e^x` for `x <= 0`, relative error below 2e-7; below -87 at most 2e-38.
#[inline(always)]
pub fn exp_of_negative(x: f32) -> f32 {
    exp_with(x, |a, b, c| a * b + c)
}

#[inline(always)]
pub(crate) fn exp_with(x: f32, fma: impl Fma) -> f32 {
    let x = if x < MIN_EXPONENT { MIN_EXPONENT } else { x };
    let shifted = fma(x, std::f32::consts::LOG2_E, ROUNDER);
    let whole = shifted - ROUNDER;
    let rest = fma(whole, -LN_2_LOW, fma(whole, -LN_2_HIGH, x));
    let mut value = 0.001_382_942_1;
    for coefficient in [0.008_374_772, 0.041_668_36, 0.166_664_21, 0.499_999_9, 1.0, 1.0] {
        value = fma(value, rest, coefficient);
    }
    // Adding to the exponent's bits multiplies by a power of two.
    f32::from_bits(value.to_bits().wrapping_add(shifted.to_bits() << 23))
}

/// `1 - erf(x)` for `x >= 0`, absolute error below 4e-7.
#[inline(always)]
pub fn erfc_of_positive(x: f32) -> f32 {
    erfc_with(x, |a, b, c| a * b + c)
}

#[inline(always)]
pub(crate) fn erfc_with(x: f32, fma: impl Fma) -> f32 {
    let x = if x > 6.5 { 6.5 } else { x };
    let t = 1.0 / fma(0.55, x, 1.0);
    let mut value = 0.057_354_875;
    for coefficient in [
        -0.332_676_17,
        0.771_300_55,
        -0.839_285_25,
        0.351_371_08,
        -0.087_737_52,
        0.199_348_6,
        0.259_445_04,
        0.310_582_22,
        0.310_296_6,
    ] {
        value = fma(value, t, coefficient);
    }
    value * t * exp_with(-x * x, fma)
}

/// Sum of `f` over the values in eight lanes: faster than one after the other, and closer to the
/// true sum.
#[inline(always)]
pub fn sum_of(values: &[f32], f: impl Fn(f32) -> f32) -> f32 {
    let mut lanes = [0.0_f32; 8];
    let (groups, rest) = values.as_chunks::<8>();
    for group in groups {
        for (lane, value) in lanes.iter_mut().zip(group) {
            *lane += f(*value);
        }
    }
    lanes.iter().sum::<f32>() + rest.iter().map(|value| f(*value)).sum::<f32>()
}

/// The largest value; a NaN does not count.
#[inline(always)]
pub fn max_of(values: &[f32]) -> f32 {
    let larger = |a: f32, b: f32| if b > a { b } else { a };
    let mut lanes = [f32::NEG_INFINITY; 8];
    let (groups, rest) = values.as_chunks::<8>();
    for group in groups {
        for (lane, value) in lanes.iter_mut().zip(group) {
            *lane = larger(*lane, *value);
        }
    }
    lanes.iter().chain(rest).copied().fold(f32::NEG_INFINITY, larger)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_is_near_the_exact_value() {
        for step in 0..=8_700 {
            let x = -step as f32 / 100.0;
            let exact = f64::from(x).exp();
            let error = (f64::from(exp_of_negative(x)) - exact).abs() / exact;
            assert!(error < 2e-7, "{x}: {error:e}");
        }
        assert!(exp_of_negative(f32::NEG_INFINITY) < 2e-38);
        assert!(exp_of_negative(f32::NAN).is_nan());
        assert_eq!(exp_of_negative(0.0), 1.0);
    }

    #[test]
    fn sum_and_maximum_take_every_value() {
        let values: Vec<f32> = (1..=19).map(|i| i as f32).collect();
        assert_eq!(sum_of(&values, |v| v), 190.0);
        assert_eq!(sum_of(&[], |v| v), 0.0);
        for last in 0..19 {
            assert_eq!(max_of(&values[..=last]), last as f32 + 1.0);
        }
    }
}
