//! Plain sum of parts; over one list it folds the list, as ClipMPCAD adds the maps of its taps.

use loupe_plugin::prelude::*;

use crate::parts::fold;

/// Adds parts of one shape.
pub struct Sum;

impl Fusion for Sum {
    type Config = NoConfig;
    const REVISION: u32 = 1;
    const ABOUT: &'static str = "sum of parts of one shape";

    fn new(_config: NoConfig, _host: &Host) -> Result<Self> {
        Ok(Self)
    }

    /// `parts`: n >= 1 tensors of one shape -> that shape. Errors: `Empty`, `Shape`.
    fn fuse(&self, parts: &[Tensor]) -> Result<Tensor> {
        let total = fold(parts, &vec![1.0; parts.len()], 0.0, |sum, _, score| sum + score)?;
        Tensor::new(same_shape(parts)?, total.into_iter().map(|score| score as f32))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use loupe_plugin::testing;

    #[test]
    fn conforms() {
        testing::fusion::<Sum>("").check();
    }

    #[test]
    fn three_parts_add_up() {
        let parts = [1.0, 2.0, 4.0].map(|score: f32| Tensor::new([1, 2], [score, 0.5]).unwrap());
        assert_eq!(crate::fuse(testing::fusion::<Sum>(""), &parts).unwrap(), [7.0, 1.5]);
    }
}
