//! Weighted harmonic mean of parts: low evidence in one part pulls the result down. WinCLIP joins
//! its scales and windows so. Source: arXiv:2303.14814.

use loupe_plugin::prelude::*;
use serde::Deserialize;

use crate::parts::{fold, per_part};

/// Harmonic mean of scores that are 0 or more.
#[derive(Deserialize, Schema)]
#[serde(deny_unknown_fields)]
pub struct Harmonic {
    /// One weight per part, in the order of the parts; equal if left out. Their sum is free.
    #[schema(min_items = 1, above = 0.0)]
    weights: Option<Vec<f64>>,
    /// Added to every score before the mean and taken off behind it. With 0, the result is 0 where
    /// any part is; with more, such a part only pulls it down.
    #[schema(min = 0.0)]
    #[serde(default)]
    eps: f64,
}

impl Fusion for Harmonic {
    type Config = Self;
    const REVISION: u32 = 1;

    fn new(config: Self, _host: &Host) -> Result<Self> {
        Ok(config)
    }

    /// `parts`: n >= 1 tensors of one shape, scores of 0 or more -> of that shape,
    /// `sum_i w_i / sum_i (w_i / (part_i + eps)) - eps`; 0 where `eps` = 0 and a part is 0.
    /// Errors: `Empty`, `Shape`, weights of another number, a negative score.
    fn fuse(&self, parts: &[Tensor]) -> Result<Tensor> {
        let weights = per_part("weights", self.weights.as_ref(), 1.0, parts.len())?;
        for (index, part) in parts.iter().enumerate() {
            if let Some(score) = part.f32s()?.iter().find(|score| **score < 0.0) {
                return Err(Error::input(format!(
                    "part {index} holds {score}, but a harmonic mean wants scores of 0 or more"
                )));
            }
        }
        // 1 / 0 is infinite and what is divided by it 0, as the limit is; a NaN stays one.
        let reciprocals =
            fold(parts, &weights, 0.0, |sum, weight, score| sum + weight / (score + self.eps))?;
        let total: f64 = weights.iter().sum();
        let mean = |reciprocals: f64| match total / reciprocals - self.eps {
            rounded_off if rounded_off < 0.0 => 0.0,
            mean => mean as f32,
        };
        Tensor::new(same_shape(parts)?, reciprocals.into_iter().map(mean))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use loupe_plugin::testing;

    fn fuse(config: &str, parts: &[&[f32]]) -> Result<Vec<f32>, String> {
        crate::fuse_rows(testing::fusion::<Harmonic>(config), parts)
    }

    #[test]
    fn conforms() {
        testing::fusion::<Harmonic>("").check();
        testing::fusion::<Harmonic>("weights = [1.0, 3.0]\neps = 1e-3").check();
    }

    #[test]
    fn the_mean_is_that_of_the_reciprocals() {
        assert_eq!(fuse("", &[&[0.5, 0.25], &[0.25, 0.25]]).unwrap(), [1.0 / 3.0, 0.25]);
        let weighted = fuse("weights = [3, 1]", &[&[0.5], &[0.25]]).unwrap();
        assert_eq!(weighted, [0.4], "4 / (3 / 0.5 + 1 / 0.25)");
        let three = fuse("", &[&[1.0], &[2.0], &[4.0]]).unwrap();
        assert_eq!(three, [(12.0_f64 / 7.0) as f32]);
        assert_eq!(fuse("weights = [6, 2]", &[&[0.5], &[0.25]]).unwrap(), weighted);
    }

    #[test]
    fn a_part_of_zero_gives_zero_unless_eps_softens_it() {
        assert_eq!(fuse("", &[&[0.0, 0.0], &[0.9, 0.0]]).unwrap(), [0.0, 0.0]);
        let soft = fuse("eps = 0.5", &[&[0.0, 0.0], &[0.5, 0.0]]).unwrap();
        assert_eq!(soft, [(2.0_f64 / 3.0 - 0.5) as f32, 0.0], "2 / (1 / 0.5 + 1 / 1) - 0.5");
    }

    #[test]
    fn a_negative_score_is_refused_and_what_is_no_number_stays_so() {
        let message = fuse("", &[&[0.5], &[-0.25]]).unwrap_err();
        assert!(message.contains("part 1 holds -0.25"), "{message}");
        assert!(fuse("", &[&[0.0], &[f32::NAN]]).unwrap()[0].is_nan());
        let message = fuse("weights = [1.0]", &[&[0.5], &[0.25]]).unwrap_err();
        assert!(message.contains("`weights` has 1 numbers, but there are 2 parts"), "{message}");
    }
}
