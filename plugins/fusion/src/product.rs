//! Product of parts, each raised by an offset: evidence that both parts must bring. An offset keeps
//! a part from silencing the others: times (0.5 + p), with p in 0..=1, a score at most halves.

use loupe_plugin::prelude::*;
use serde::Deserialize;

use crate::parts::{fold, per_part};

/// Multiplies parts of one shape, after adding an offset to each.
#[derive(Deserialize, Schema)]
#[serde(deny_unknown_fields)]
pub struct Product {
    /// Added to the parts, one number per part, in their order; 0 for all if left out.
    #[schema(min_items = 1)]
    offsets: Option<Vec<f64>>,
}

impl Fusion for Product {
    type Config = Self;
    const REVISION: u32 = 1;

    fn new(config: Self, _host: &Host) -> Result<Self> {
        Ok(config)
    }

    /// `parts`: n >= 1 tensors of one shape -> `prod_i (part_i + offset_i)`, of that shape.
    /// Errors: `Empty`, `Shape`, offsets of another number.
    fn fuse(&self, parts: &[Tensor]) -> Result<Tensor> {
        let offsets = per_part("offsets", self.offsets.as_ref(), 0.0, parts.len())?;
        let fused =
            fold(parts, &offsets, 1.0, |product, offset, score| product * (score + offset))?;
        Tensor::new(same_shape(parts)?, fused.into_iter().map(|score| score as f32))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use loupe_plugin::testing;

    fn fuse(config: &str, parts: &[&[f32]]) -> Result<Vec<f32>, String> {
        crate::fuse_rows(testing::fusion::<Product>(config), parts)
    }

    #[test]
    fn conforms() {
        testing::fusion::<Product>("").check();
        testing::fusion::<Product>("offsets = [0.0, 0.5]").check();
    }

    #[test]
    fn parts_are_multiplied_after_their_offsets() {
        assert_eq!(fuse("", &[&[0.5, 3.0], &[4.0, 0.0]]).unwrap(), [2.0, 0.0]);
        let raised = fuse("offsets = [0.0, 0.5]", &[&[0.25, 2.0], &[0.5, -0.25]]).unwrap();
        assert_eq!(raised, [0.25, 0.5]);
        let three = fuse("offsets = [1, 2, 3]", &[&[1.0], &[0.0], &[-1.0]]).unwrap();
        assert_eq!(three, [8.0]);
        assert_eq!(fuse("", &[&[0.1, 7.0]]).unwrap(), [0.1, 7.0], "one part is itself");
    }

    #[test]
    fn what_is_no_number_stays_so() {
        assert!(fuse("", &[&[f32::NAN], &[0.0]]).unwrap()[0].is_nan());
    }

    #[test]
    fn a_missing_offset_is_said() {
        let message = fuse("offsets = [0.5]", &[&[1.0], &[2.0]]).unwrap_err();
        assert!(message.contains("`offsets` has 1 numbers, but there are 2 parts"), "{message}");
    }
}
