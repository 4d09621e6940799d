//! The non-linearities of CLIP's blocks, for rows of values.

use crate::approx::{Fma, erfc_with, exp_with};

/// Non-linearity of the blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// `0.5 x (1 + erf(x / sqrt 2))`
    Gelu,
    /// The tanh approximation of `Gelu`.
    GeluTanh,
    /// `x sigmoid(1.702 x)`, what OpenAI trained with.
    QuickGelu,
}

impl Activation {
    /// Every value becomes its activation; absolute error below 1e-6 up to 10.
    #[inline(always)]
    pub fn apply(self, row: &mut [f32]) {
        self.apply_with(row, |a, b, c| a * b + c);
    }

    /// The same with another `a * b + c`.
    #[inline(always)]
    pub(crate) fn apply_with(self, row: &mut [f32], fma: impl Fma) {
        match self {
            Activation::Gelu => row.iter_mut().for_each(|x| *x = gelu(*x, fma)),
            Activation::GeluTanh => row.iter_mut().for_each(|x| *x = gelu_tanh(*x, fma)),
            Activation::QuickGelu => {
                row.iter_mut().for_each(|x| *x = logistic(*x, 1.702 * *x, fma))
            }
        }
    }
}

#[inline(always)]
fn gelu(x: f32, fma: impl Fma) -> f32 {
    let half = 0.5 * erfc_with(x.abs() * std::f32::consts::FRAC_1_SQRT_2, fma);
    if x < 0.0 { x * half } else { x * (1.0 - half) }
}

/// `Gelu` of values that are rounded to bf16 next: absolute error below 6e-5, which is less than that
/// rounding of values above 0.03. The normal distribution as an odd polynomial, fitted for this file by
/// least squares reweighted to the smallest error of `x` times it, in f64; 0 and 1 beyond 4.5.
#[inline(always)]
pub(crate) fn gelu_for_bf16(row: &mut [f32], fma: impl Fma) {
    const END: f32 = 4.5;
    const ODD: [f32; 9] = [
        3.036_426e-11,
        -3.314_666_8e-9,
        1.590_999_4e-7,
        -4.451_734e-6,
        8.142_523e-5,
        -1.037_591_7e-3,
        9.585_205e-3,
        -6.598_466e-2,
        3.987_126e-1,
    ];
    for x in row {
        let near = if *x > END { END } else { *x };
        let near = if near < -END { -END } else { near };
        let square = near * near;
        let mut value = ODD[0];
        for coefficient in &ODD[1..] {
            value = fma(value, square, *coefficient);
        }
        let share = fma(near, value, 0.5);
        let share = if share > 1.0 { 1.0 } else { share };
        *x *= if share < 0.0 { 0.0 } else { share };
    }
}

/// By `tanh y = 2 / (1 + e^-2y) - 1`.
#[inline(always)]
fn gelu_tanh(x: f32, fma: impl Fma) -> f32 {
    const CUBE: f32 = 0.044_715;
    const GAIN: f32 = 2.0 * std::f32::consts::FRAC_2_SQRT_PI * std::f32::consts::FRAC_1_SQRT_2;
    logistic(x, GAIN * fma(CUBE * x * x, x, x), fma)
}

/// `x / (1 + e^-y)` for `y` of the sign of `x`.
#[inline(always)]
fn logistic(x: f32, y: f32, fma: impl Fma) -> f32 {
    let decay = exp_with(-y.abs(), fma);
    if x < 0.0 { x * decay / (1.0 + decay) } else { x / (1.0 + decay) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gelu_for_bf16_is_near_the_exact_one() {
        let mut worst = 0.0_f32;
        for step in -12_000..=12_000 {
            let x = step as f32 / 1000.0;
            let (mut near, mut exact) = ([x], [x]);
            gelu_for_bf16(&mut near, |a, b, c| a.mul_add(b, c));
            Activation::Gelu.apply(&mut exact);
            worst = worst.max((near[0] - exact[0]).abs());
        }
        assert!(worst < 6e-5, "{worst:e}");
        let mut far = [-1e30, -1e3, 1e3, f32::NAN];
        gelu_for_bf16(&mut far, |a, b, c| a.mul_add(b, c));
        assert_eq!(far[..3], [0.0, 0.0, 1e3]);
        assert!(far[3].is_nan());
    }
}
