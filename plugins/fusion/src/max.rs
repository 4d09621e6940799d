//! Largest part, element by element: whatever one part finds is found.

use loupe_plugin::prelude::*;
use serde::Deserialize;

use crate::parts::{fold, per_part};

/// Maximum of parts of one shape, each times its gain.
#[derive(Deserialize, Schema)]
#[serde(deny_unknown_fields)]
pub struct Max {
    /// One gain per part, in the order of the parts, which brings them to one scale; 1 for all if
    /// left out.
    #[schema(min_items = 1)]
    gains: Option<Vec<f64>>,
}

impl Fusion for Max {
    type Config = Self;
    const REVISION: u32 = 1;

    fn new(config: Self, _host: &Host) -> Result<Self> {
        Ok(config)
    }

    /// `parts`: n >= 1 tensors of one shape -> `max_i gain_i part_i`, of that shape; NaN where one
    /// is. Errors: `Empty`, `Shape`, gains of another number.
    fn fuse(&self, parts: &[Tensor]) -> Result<Tensor> {
        let gains = per_part("gains", self.gains.as_ref(), 1.0, parts.len())?;
        // `f64::max` would drop a NaN, and with it the sign that a part is broken.
        let larger = |largest: f64, gain: f64, score: f64| match gain * score {
            scaled if scaled > largest || scaled.is_nan() => scaled,
            _ => largest,
        };
        let fused = fold(parts, &gains, f64::NEG_INFINITY, larger)?;
        Tensor::new(same_shape(parts)?, fused.into_iter().map(|score| score as f32))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use loupe_plugin::testing;

    fn fuse(config: &str, parts: &[&[f32]]) -> Result<Vec<f32>, String> {
        crate::fuse_rows(testing::fusion::<Max>(config), parts)
    }

    #[test]
    fn conforms() {
        testing::fusion::<Max>("").check();
        testing::fusion::<Max>("gains = [1.0, 0.5]").check();
    }

    #[test]
    fn the_largest_part_wins_after_its_gain() {
        assert_eq!(fuse("", &[&[0.1, -2.0], &[0.3, -1.0], &[0.2, -3.0]]).unwrap(), [0.3, -1.0]);
        assert_eq!(fuse("gains = [4, 1]", &[&[0.25, 0.0], &[0.5, 0.5]]).unwrap(), [1.0, 0.5]);
        assert_eq!(fuse("", &[&[0.1, 7.0]]).unwrap(), [0.1, 7.0], "one part is itself");
    }

    #[test]
    fn what_is_no_number_stays_so() {
        for parts in [[f32::NAN, 1.0], [1.0, f32::NAN]] {
            let fused = fuse("", &[&parts[..1], &parts[1..]]).unwrap();
            assert!(fused[0].is_nan(), "{parts:?}");
        }
    }

    #[test]
    fn a_missing_gain_is_said() {
        let message = fuse("gains = [0.5]", &[&[1.0], &[2.0]]).unwrap_err();
        assert!(message.contains("`gains` has 1 numbers, but there are 2 parts"), "{message}");
    }
}
