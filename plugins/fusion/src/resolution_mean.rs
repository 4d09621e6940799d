//! Mean over image sizes on the finest grid, as FADE joins its scales. Source: arXiv:2409.00556, its released code.

use loupe_kernels::{bilinear, bilinear_align_corners, opencv_bilinear};
use loupe_plugin::prelude::*;
use serde::Deserialize;

/// How a coarse grid becomes a fine one.
#[derive(Clone, Copy, Default, Deserialize, Schema)]
#[serde(rename_all = "kebab-case")]
enum Interpolation {
    /// As OpenCV's `INTER_LINEAR`: half-pixel centres, f32 coefficients.
    #[default]
    OpencvBilinear,
    /// Half-pixel centres.
    Bilinear,
    /// Corner centres meet.
    BilinearAlignCorners,
}

/// Resizes the maps of all sizes to the finest of them and averages them.
#[derive(Deserialize, Schema)]
#[serde(deny_unknown_fields)]
pub struct ResolutionMeanConfig {
    #[serde(default)]
    interpolation: Interpolation,
    /// Multiplies the mean.
    #[serde(default = "one")]
    gain: f32,
}

fn one() -> f32 {
    1.0
}

pub struct ResolutionMean {
    config: ResolutionMeanConfig,
    host: Host,
}

impl Fusion for ResolutionMean {
    type Config = ResolutionMeanConfig;
    const REVISION: u32 = 1;
    const ABOUT: &'static str = "mean of maps of several sizes on the finest grid";

    fn ports() -> Vec<Port> {
        vec![
            Port::input("parts").tensors("b gh gw").tensor("b gh gw").about("one map per size"),
            Port::output("fused").tensor("b gh gw").about("on the finest grid"),
        ]
    }

    fn new(config: ResolutionMeanConfig, host: &Host) -> Result<Self> {
        Ok(Self { config, host: *host })
    }

    /// `parts`: n >= 1 maps `[b, gh_i, gw_i]` of one b -> `[b, max gh, max gw]`. Errors: `Empty`, `Shape`.
    fn fuse(&self, parts: &[Tensor]) -> Result<Tensor> {
        let dims =
            parts.iter().map(|part| part.dims_n::<3>("parts")).collect::<Result<Vec<_>>>()?;
        let [b, ..] = *dims.first().ok_or_else(|| Error::empty("parts"))?;
        if let Some(other) = dims.iter().find(|dims| dims[0] != b) {
            return Err(Error::shape("parts", format!("[{b}, gh, gw]"), format!("{other:?}")));
        }
        let height = dims.iter().map(|dims| dims[1]).max().unwrap_or(0);
        let width = dims.iter().map(|dims| dims[2]).max().unwrap_or(0);
        let mut total = vec![0.0_f64; b * height * width];
        for (part, dims) in parts.iter().zip(&dims) {
            let resized = self.resize(part, *dims, [height, width])?;
            total.iter_mut().zip(resized).for_each(|(total, score)| *total += f64::from(score));
        }
        let n_parts = parts.len() as f64;
        let gain = self.config.gain;
        Tensor::new([b, height, width], total.iter().map(|total| (total / n_parts) as f32 * gain))
    }
}

impl ResolutionMean {
    fn resize(&self, part: &Tensor, dims: [usize; 3], to: [usize; 2]) -> Result<Vec<f32>> {
        if dims[1..] == to {
            return Ok(part.f32s()?.to_vec());
        }
        let resize = match self.config.interpolation {
            Interpolation::OpencvBilinear => opencv_bilinear,
            Interpolation::Bilinear => bilinear,
            Interpolation::BilinearAlignCorners => bilinear_align_corners,
        };
        let scores = part.f32s()?;
        self.host.lend_threads(|threads| resize(scores, dims, to, threads))?.map_err(Error::input)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use loupe_plugin::testing;

    fn maps() -> [Tensor; 2] {
        [Tensor::new([1, 1, 2], [0.0, 1.0]).unwrap(), Tensor::new([1, 1, 4], [1.0; 4]).unwrap()]
    }

    #[test]
    fn conforms() {
        let [coarse, fine] = maps();
        let size = |size| Label { size: Some(size), tap: None };
        let parts = vec![coarse.with_label(size(240)), fine.with_label(size(448))];
        testing::fusion::<ResolutionMean>("gain = 3.5").inputs("parts", parts).check();
    }

    #[test]
    fn coarse_maps_are_resized_to_the_finest_and_averaged() {
        let fused =
            |config: &str| crate::fuse(testing::fusion::<ResolutionMean>(config), &maps()).unwrap();
        assert_eq!(fused(""), [0.5, 0.625, 0.875, 1.0]);
        assert_eq!(fused("gain = 2.0"), [1.0, 1.25, 1.75, 2.0]);
        let third = (0.5 + 0.5 / 3.0) as f32;
        assert!((fused("interpolation = \"bilinear-align-corners\"")[1] - third).abs() < 1e-6);
    }
}
