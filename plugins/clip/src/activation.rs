//! Slopes of the blocks' non-linearities, for rows of values.

use loupe_kernels::Activation;
use loupe_kernels::approx::{erfc_of_positive, exp_of_negative};

/// Every cotangent of an activation becomes that of its input `x`.
pub fn pull_back(activation: Activation, cotangents: &mut [f32], x: &[f32]) {
    let pairs = cotangents.iter_mut().zip(x);
    match activation {
        Activation::Gelu => pairs.for_each(|(c, x)| *c *= gelu_slope(*x)),
        Activation::GeluTanh => pairs.for_each(|(c, x)| *c *= gelu_tanh_slope(*x)),
        Activation::QuickGelu => pairs.for_each(|(c, x)| *c *= quick_gelu_slope(*x)),
    }
}

const TANH_CUBE: f32 = 0.044_715;
const QUICK_GAIN: f32 = 1.702;
/// `1 / sqrt(2 pi)`
const DENSITY_AT_0: f32 = 0.5 * std::f32::consts::FRAC_2_SQRT_PI * std::f32::consts::FRAC_1_SQRT_2;

fn gelu_slope(x: f32) -> f32 {
    let half = 0.5 * erfc_of_positive(x.abs() * std::f32::consts::FRAC_1_SQRT_2);
    let below = if x < 0.0 { half } else { 1.0 - half };
    below + x * DENSITY_AT_0 * exp_of_negative(-0.5 * x * x)
}

fn gelu_tanh_slope(x: f32) -> f32 {
    let tanh = (tanh_gain() * (x + TANH_CUBE * x * x * x)).tanh();
    let inner_slope = tanh_gain() * (1.0 + 3.0 * TANH_CUBE * x * x);
    0.5 * (1.0 + tanh) + 0.5 * x * (1.0 - tanh * tanh) * inner_slope
}

fn tanh_gain() -> f32 {
    (2.0 / std::f32::consts::PI).sqrt()
}

fn quick_gelu_slope(x: f32) -> f32 {
    let decay = exp_of_negative(-(QUICK_GAIN * x).abs());
    let inverse = 1.0 / (1.0 + decay);
    let gate = if x < 0.0 { decay * inverse } else { inverse };
    gate + QUICK_GAIN * x * decay * inverse * inverse
}

#[cfg(test)]
mod tests {
    use candle_core::cpu::erf::erfc_f64 as erfc;

    use super::*;

    fn check(activation: Activation, exact: fn(f64) -> f64) {
        for step in -1_000..=1_000 {
            let x = step as f32 / 100.0;
            let (mut got, mut slope) = ([x], [1.0]);
            activation.apply(&mut got);
            pull_back(activation, &mut slope, &[x]);
            let wide = f64::from(x);
            let want = exact(wide);
            assert!((f64::from(got[0]) - want).abs() < 1e-6, "{x}: {} is not {want}", got[0]);
            let want = (exact(wide + 1e-5) - exact(wide - 1e-5)) / 2e-5;
            let error = (f64::from(slope[0]) - want).abs();
            assert!(error < 2e-6, "{x}: slope {} is not {want}", slope[0]);
        }
    }

    #[test]
    fn activations_and_slopes_equal_their_formulas() {
        check(Activation::Gelu, |x| 0.5 * x * erfc(-x / 2.0_f64.sqrt()));
        check(Activation::QuickGelu, |x| x / (1.0 + (-1.702 * x).exp()));
        check(Activation::GeluTanh, |x| {
            let inner = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044_715 * x.powi(3));
            0.5 * x * (1.0 + inner.tanh())
        });
    }

    #[test]
    fn erfc_is_near_the_exact_value() {
        for step in 0..=800 {
            let x = step as f32 / 100.0;
            let exact = erfc(f64::from(x));
            let error = (f64::from(erfc_of_positive(x)) - exact).abs();
            assert!(error < 4e-7, "{x}: {error:e}");
        }
        assert!(erfc_of_positive(f32::NAN).is_nan());
    }
}
