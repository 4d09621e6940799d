//! What the fusions that train share: the optimiser, the loss, and functions of f64.

const DECAY: [f64; 2] = [0.9, 0.999];

/// Running moments of a gradient. Source: Adam, arXiv:1412.6980; the decay of weights stands outside
/// of them, as in AdamW, arXiv:1711.05101.
pub struct Adam {
    learning_rate: f64,
    weight_decay: f64,
    n_steps: i32,
    moments: Vec<[f64; 2]>,
}

impl Adam {
    pub fn new(n_values: usize, learning_rate: f64, weight_decay: f64) -> Self {
        Adam { learning_rate, weight_decay, n_steps: 0, moments: vec![[0.0; 2]; n_values] }
    }

    /// One step of all values against their gradient.
    pub fn step(&mut self, values: &mut [f64], gradient: &[f64]) {
        self.n_steps += 1;
        let correction = DECAY.map(|decay| 1.0 - decay.powi(self.n_steps));
        for ((value, g), [first, second]) in values.iter_mut().zip(gradient).zip(&mut self.moments)
        {
            *first = DECAY[0] * *first + (1.0 - DECAY[0]) * g;
            *second = DECAY[1] * *second + (1.0 - DECAY[1]) * g * g;
            let direction = (*first / correction[0]) / ((*second / correction[1]).sqrt() + 1e-8);
            *value -= self.learning_rate * (direction + self.weight_decay * *value);
        }
    }
}

/// `log(1 + e^z) - y z` for the label y, without overflow.
pub fn logistic_loss(logit: f64, label: f64) -> f64 {
    logit.max(0.0) + (-logit.abs()).exp().ln_1p() - label * logit
}

pub fn sigmoid64(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

pub fn softmax(logits: &[f64]) -> Vec<f64> {
    let largest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let powers: Vec<f64> = logits.iter().map(|logit| (logit - largest).exp()).collect();
    let total: f64 = powers.iter().sum();
    powers.into_iter().map(|power| power / total).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Against torch.optim.AdamW's rule by hand: the first step is the rate against the sign.
    #[test]
    fn a_first_step_is_the_rate_and_weights_decay() {
        let mut values = [1.0, -2.0, 4.0];
        Adam::new(3, 0.1, 0.5).step(&mut values, &[3.0, -0.01, 0.0]);
        let want = [1.0 - 0.1 * (1.0 + 0.5), -2.0 - 0.1 * (-1.0 - 1.0), 4.0 - 0.1 * 2.0];
        assert!(values.iter().zip(want).all(|(got, want)| (got - want).abs() < 1e-6), "{values:?}");
    }

    #[test]
    fn a_loss_of_large_logits_is_finite() {
        assert_eq!(logistic_loss(1000.0, 0.0), 1000.0);
        assert_eq!(logistic_loss(-1000.0, 0.0), 0.0);
        assert!((logistic_loss(0.0, 1.0) - 2.0_f64.ln()).abs() < 1e-12);
    }
}
