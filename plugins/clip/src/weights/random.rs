//! Seeded random weights, for a pipeline that must run where no trained weights are.

use super::Weights;
use crate::config::ModelConfig;
use crate::error::Result;

/// Weights with the scales of CLIP's own initialisation, equal on every machine for a seed.
///
/// A value is the sum of four 16-bit uniform numbers, which is close to a normal distribution cut
/// off at 3.5 standard deviations and needs no function that differs between libraries.
pub struct Random {
    seed: u64,
    vision_blocks: usize,
    text_blocks: usize,
}

impl Random {
    pub fn new(seed: u64, config: &ModelConfig) -> Self {
        let (vision_blocks, text_blocks) = (config.vision.n_blocks, config.text.n_blocks);
        Self { seed, vision_blocks, text_blocks }
    }

    /// Standard deviation of a tensor, or `None` for one that starts as all ones or all zeros.
    fn deviation(&self, name: &str, shape: &[usize]) -> Option<f32> {
        let n_in = shape.iter().skip(1).product::<usize>().max(1) as f32;
        let (n_blocks, rows) = match name.starts_with("visual.") {
            true => (self.vision_blocks, shape.last()),
            false => (self.text_blocks, shape.last()),
        };
        let width = *rows.unwrap_or(&1) as f32;
        let depth = (2.0 * n_blocks.max(1) as f32).sqrt();
        match name {
            "token_embedding.weight" => Some(0.02),
            "positional_embedding" => Some(0.01),
            "visual.class_embedding" | "visual.positional_embedding" => Some(width.powf(-0.5)),
            "visual.conv1.weight" => Some((3.0 * n_in).powf(-0.5)),
            "visual.proj" | "text_projection" => {
                shape.first().map(|width| (*width as f32).powf(-0.5))
            }
            _ if name.ends_with("attn.in_proj_weight") => Some(n_in.powf(-0.5)),
            _ if name.ends_with("attn.out_proj.weight") => Some(n_in.powf(-0.5) / depth),
            _ if name.ends_with("mlp.c_fc.weight") => Some((2.0 * n_in).powf(-0.5)),
            _ if name.ends_with("mlp.c_proj.weight") => {
                shape.first().map(|width| (*width as f32).powf(-0.5) / depth)
            }
            _ => None,
        }
    }
}

impl Weights for Random {
    fn take(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
        let n_values = shape.iter().product();
        let Some(deviation) = self.deviation(name, shape) else {
            let start = if name.ends_with(".weight") { 1.0 } else { 0.0 };
            return Ok(vec![start; n_values]);
        };
        let key = mix(self.seed ^ name.bytes().fold(0, |key, byte| mix(key ^ u64::from(byte))));
        Ok((0..n_values as u64).map(|index| deviation * nearly_normal(key, index)).collect())
    }

    fn has_text(&self) -> bool {
        true
    }
}

/// Mean 0, variance 1.
fn nearly_normal(key: u64, index: u64) -> f32 {
    let bits = mix(key.wrapping_add(index.wrapping_mul(0x9E37_79B9_7F4A_7C15)));
    let sum: u32 = (0..4).map(|part| (bits >> (16 * part)) as u32 & 0xFFFF).sum();
    // The sum of four uniform numbers has variance 4/12; the middle of its range is 131070.
    (sum as f32 - 131_070.0) / 65_536.0 * 3.0_f32.sqrt()
}

/// A bijection of 64 bits in which every input bit reaches every output bit (splitmix64's).
fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_have_the_scale_of_clip_and_depend_on_seed_and_name() {
        let config = ModelConfig::preset("ViT-B-32").unwrap();
        let take =
            |seed: u64, name: &str| Random::new(seed, &config).take(name, &[1_000, 50]).unwrap();
        let values = take(1, "visual.positional_embedding");
        let mean = values.iter().sum::<f32>() / 50_000.0;
        let deviation = (values.iter().map(|v| v * v).sum::<f32>() / 50_000.0).sqrt();
        assert!(mean.abs() < 2e-3, "{mean}");
        assert!((deviation - 50.0_f32.powf(-0.5)).abs() < 2e-3, "{deviation}");
        assert_eq!(values, take(1, "visual.positional_embedding"));
        assert_ne!(values, take(2, "visual.positional_embedding"));
        assert_ne!(take(1, "visual.proj"), take(1, "text_projection"));
        assert!(take(1, "ln_final.weight").iter().all(|v| *v == 1.0));
        assert!(take(1, "ln_final.bias").iter().all(|v| *v == 0.0));
    }
}
