//! AdamW and the running average of the weights, in one walk over a tower's buffer.

use candle_core::Tensor;

use crate::error::{Result, TrainError};
use crate::layout::Layout;
use crate::tensors::{in_place, with_values};

const BETA_1: f32 = 0.9;
const BETA_2: f32 = 0.98;
const EPS: f32 = 1e-8;
/// The average forgets at most this slowly.
const KEPT: f32 = 0.995;

/// What the optimiser keeps of one buffer.
#[derive(Clone, Debug, PartialEq)]
pub struct Moments {
    pub first: Vec<f32>,
    pub second: Vec<f32>,
    /// Running average of the parameters.
    pub average: Vec<f32>,
}

impl Moments {
    pub fn new(start: &[f32]) -> Self {
        let zeros = vec![0.0; start.len()];
        Self { first: zeros.clone(), second: zeros, average: start.to_vec() }
    }
}

/// What all buffers share in a step.
#[derive(Clone, Copy, Debug)]
pub struct Step {
    /// Steps done, this one included.
    pub number: usize,
    pub rate: f32,
    /// Weight decay of matrices; vectors and positions do not decay.
    pub decay: f32,
    /// Factor on the gradients, so that they are not too long together.
    pub clip: f32,
}

/// Changes `params` and `moments` by `gradient`. Source: AdamW, arXiv:1711.05101, as torch has it.
pub fn update(
    params: &Tensor,
    gradient: &Tensor,
    moments: &mut Moments,
    layout: &Layout,
    step: Step,
) -> Result<()> {
    let n = params.elem_count();
    if gradient.elem_count() != n || moments.first.len() != n || layout.len() != n {
        return Err(TrainError::Internal { what: "a gradient has another size than its buffer" });
    }
    with_values(gradient, |gradient| {
        in_place(params, |params| {
            for parameter in &layout.parameters {
                let range = parameter.range.clone();
                let decays = parameter.shape.len() > 1 && !parameter.name.contains("positional");
                let decay = if decays { step.decay } else { 0.0 };
                let moments = (
                    &mut moments.first[range.clone()],
                    &mut moments.second[range.clone()],
                    &mut moments.average[range.clone()],
                );
                walk(&mut params[range.clone()], &gradient[range], moments, decay, step);
            }
        })
    })?
}

fn walk(
    params: &mut [f32],
    gradient: &[f32],
    (first, second, average): (&mut [f32], &mut [f32], &mut [f32]),
    decay: f32,
    step: Step,
) {
    let number = step.number.min(i32::MAX as usize) as i32;
    let bias_1 = (1.0 - f64::from(BETA_1).powi(number)) as f32;
    let bias_2 = (1.0 - f64::from(BETA_2).powi(number)).sqrt() as f32;
    let (shrink, size) = (1.0 - step.rate * decay, step.rate / bias_1);
    let kept = KEPT.min((1.0 + step.number as f32) / (10.0 + step.number as f32));
    let moments = first.iter_mut().zip(second).zip(average);
    for ((p, g), ((m, v), average)) in params.iter_mut().zip(gradient).zip(moments) {
        let g = g * step.clip;
        *m += (1.0 - BETA_1) * (g - *m);
        *v = BETA_2 * *v + (1.0 - BETA_2) * g * g;
        *p = *p * shrink - size * *m / (v.sqrt() / bias_2 + EPS);
        *average = kept * *average + (1.0 - kept) * *p;
    }
}

/// Sum of the squares of a gradient.
pub fn square(gradient: &Tensor) -> Result<f64> {
    let part = |part: &[f32]| f64::from(loupe_kernels::approx::sum_of(part, |v| v * v));
    with_values(gradient, |values| values.chunks(1 << 12).map(part).sum())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::Start;
    use crate::tensors::own;

    /// Recorded from `torch.optim.AdamW(lr=0.1, betas=(0.9, 0.98), weight_decay=0.5)`: a matrix
    /// that decays, then a vector that does not, after two steps.
    #[test]
    fn two_steps_equal_torch() {
        let mut layout = Layout::default();
        layout.add("weight", &[1, 2], Start::Value(0.0));
        layout.add("bias", &[1], Start::Value(0.0));
        let params = own(vec![1.0, -2.0, 0.5], &[3]).unwrap();
        let mut moments = Moments::new(&[1.0, -2.0, 0.5]);
        for (number, gradient) in
            [vec![0.5, -1.0, 2.0], vec![-0.25, 3.0, 0.0]].into_iter().enumerate()
        {
            let step = Step { number: number + 1, rate: 0.1, decay: 0.5, clip: 1.0 };
            let gradient = own(gradient, &[3]).unwrap();
            update(&params, &gradient, &mut moments, &layout, step).unwrap();
        }
        let got = params.to_vec1::<f32>().unwrap();
        for (got, want) in got.iter().zip([0.780_789_2, -1.759_230_3, 0.332_67]) {
            assert!((got - want).abs() < 1e-6, "{got} is not {want}");
        }
        // Kept are 2/11 and 3/12: (2 + 9 a) / 11, then (3 + 9 b) / 12.
        let first = (2.0 * 1.0 + 9.0 * 0.85) / 11.0;
        assert!((moments.average[0] - (0.25 * first + 0.75 * got[0])).abs() < 1e-6);
    }
}
