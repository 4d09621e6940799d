//! The non-linearities of CLIP's blocks, for rows of values.

use crate::approx::{erfc_of_positive, exp_of_negative};

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
        match self {
            Activation::Gelu => row.iter_mut().for_each(|x| *x = gelu(*x)),
            Activation::GeluTanh => row.iter_mut().for_each(|x| *x = gelu_tanh(*x)),
            Activation::QuickGelu => row.iter_mut().for_each(|x| *x = quick_gelu(*x)),
        }
    }
}

#[inline(always)]
fn gelu(x: f32) -> f32 {
    let half = 0.5 * erfc_of_positive(x.abs() * std::f32::consts::FRAC_1_SQRT_2);
    if x < 0.0 { x * half } else { x * (1.0 - half) }
}

/// By `tanh y = 2 / (1 + e^-2y) - 1`.
#[inline(always)]
fn gelu_tanh(x: f32) -> f32 {
    const CUBE: f32 = 0.044_715;
    const GAIN: f32 = 2.0 * std::f32::consts::FRAC_2_SQRT_PI * std::f32::consts::FRAC_1_SQRT_2;
    logistic(x, GAIN * (x + CUBE * x * x * x))
}

#[inline(always)]
fn quick_gelu(x: f32) -> f32 {
    logistic(x, 1.702 * x)
}

/// `x / (1 + e^-y)` for `y` of the sign of `x`.
#[inline(always)]
fn logistic(x: f32, y: f32) -> f32 {
    let decay = exp_of_negative(-y.abs());
    if x < 0.0 { x * decay / (1.0 + decay) } else { x / (1.0 + decay) }
}
