//! Weighted sum of parts, as FADE joins its language and its vision map. Source: arXiv:2409.00556.

use loupe_plugin::prelude::*;
use serde::Deserialize;

use crate::parts::{fold, per_part};

/// Adds parts, each times its weight.
#[derive(Deserialize, Schema)]
#[serde(deny_unknown_fields)]
pub struct Weighted {
    /// One weight per part, in the order of the parts. They need not add up to 1.
    #[schema(min_items = 1)]
    weights: Vec<f64>,
    /// Lowest and highest result; what lies beyond is cut off.
    #[serde(default)]
    clamp: Option<[f64; 2]>,
}

impl Fusion for Weighted {
    type Config = Self;
    const REVISION: u32 = 1;

    fn new(config: Self, _host: &Host) -> Result<Self> {
        match config.clamp {
            Some([low, high]) if low > high => {
                Err(Error::config(format!("`clamp` wants [low, high], got [{low}, {high}]")))
            }
            _ => Ok(config),
        }
    }

    /// `parts`: as many as weights, of one shape -> that shape. Errors: `Shape`, a count that differs.
    fn fuse(&self, parts: &[Tensor]) -> Result<Tensor> {
        let weights = per_part("weights", Some(&self.weights), 1.0, parts.len())?;
        let mut fused = fold(parts, &weights, 0.0, |sum, weight, score| sum + weight * score)?;
        if let Some([low, high]) = self.clamp {
            fused.iter_mut().for_each(|score| *score = score.clamp(low, high));
        }
        Tensor::new(same_shape(parts)?, fused.into_iter().map(|score| score as f32))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use loupe_plugin::testing;

    #[test]
    fn conforms() {
        let part = |score: f32| Tensor::new([1, 2, 2], vec![score; 4]).unwrap();
        testing::fusion::<Weighted>("weights = [0.15, 0.85]")
            .input("parts", part(0.25))
            .input("parts", part(0.5))
            .check();
    }

    fn fuse(config: &str, parts: [f32; 2]) -> Result<Vec<f32>, String> {
        let parts = parts.map(|score| Tensor::new([1, 1], [score]).unwrap());
        crate::fuse(testing::fusion::<Weighted>(config), &parts)
    }

    #[test]
    fn parts_are_added_by_weight_and_clamped() {
        assert_eq!(fuse("weights = [0.25, 0.75]", [1.0, 2.0]).unwrap(), [1.75]);
        assert_eq!(fuse("weights = [0.25, 0.75]\nclamp = [0, 1]", [1.0, 2.0]).unwrap(), [1.0]);
    }

    #[test]
    fn a_missing_weight_is_said() {
        let message = fuse("weights = [1.0]", [1.0, 2.0]).unwrap_err();
        assert!(message.contains("`weights` has 1 numbers, but there are 2 parts"), "{message}");
    }
}
