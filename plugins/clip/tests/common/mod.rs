//! Golden files and what the tests of this crate do with them.
#![allow(dead_code)] // every test crate uses a part

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use candle_core::{Device, Tensor};
use loupe_clip::weights::{Weights, WeightsFile};
use loupe_clip::{Clip, ModelConfig, Packing, Result, Threads};
use loupe_kernels::{Isa, Precision};

pub type Tensors = HashMap<String, Tensor>;

pub fn bytes(name: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("golden").join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

pub fn tensors(name: &str) -> Tensors {
    candle_core::safetensors::load_buffer(&bytes(name), &Device::Cpu).unwrap()
}

/// Weights under the prefix `w.` of a golden file.
pub struct Recorded(pub Tensors);

impl Weights for Recorded {
    fn take(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
        let tensor = &self.0[&format!("w.{name}")];
        assert_eq!(tensor.dims(), shape, "{name}");
        Ok(values(tensor))
    }

    fn has_text(&self) -> bool {
        self.0.contains_key("w.text_projection")
    }
}

pub fn values(tensor: &Tensor) -> Vec<f32> {
    let tensor = tensor.to_dtype(candle_core::DType::F32).unwrap();
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

/// The model of `gelu.safetensors`.
pub fn gelu_config() -> ModelConfig {
    ModelConfig::from_json(
        "gelu",
        r#"{"embed_dim": 24,
            "vision_cfg": {"image_size": 48, "patch_size": 16, "layers": 7, "width": 32,
                           "head_width": 16, "mlp_ratio": 2.0},
            "text_cfg": {"context_length": 8, "vocab_size": 62, "width": 16, "heads": 2, "layers": 2}}"#,
    )
    .unwrap()
}

/// The model of `quick-outliers.safetensors`.
pub fn quick_config() -> ModelConfig {
    ModelConfig::from_json(
        "quick",
        r#"{"embed_dim": 24, "quick_gelu": true,
            "vision_cfg": {"image_size": 24, "patch_size": 8, "layers": 7, "width": 24,
                           "head_width": 12, "mlp_ratio": 2.0},
            "text_cfg": {"context_length": 8, "vocab_size": 62, "width": 16, "heads": 2, "layers": 2}}"#,
    )
    .unwrap()
}

/// The model of the `files*` family.
pub fn files_config() -> ModelConfig {
    ModelConfig::from_json(
        "files",
        r#"{"embed_dim": 4,
            "vision_cfg": {"image_size": 8, "patch_size": 4, "layers": 1, "width": 8,
                           "head_width": 4, "mlp_ratio": 2.0},
            "text_cfg": {"context_length": 5, "vocab_size": 12, "width": 8, "heads": 2, "layers": 1}}"#,
    )
    .unwrap()
}

/// The model on candle, and packed for every set of instructions that this machine has.
pub fn every(config: &ModelConfig, golden: &Tensors) -> Vec<Clip> {
    let candle = Clip::new(config.clone(), &Recorded(golden.clone())).unwrap();
    let isas = Isa::ALL.into_iter().filter(|isa| *isa <= Isa::of_this_machine());
    let packed = isas.map(|isa| packed(config, golden, isa, Precision::F32));
    [candle].into_iter().chain(packed).collect()
}

pub fn packed(config: &ModelConfig, golden: &Tensors, isa: Isa, precision: Precision) -> Clip {
    let weights: Arc<dyn Weights + Send + Sync> = Arc::new(Recorded(golden.clone()));
    let packing = Packing { isa, precision, threads: Threads::Library, keeper: None };
    Clip::packed(config.clone(), &weights, &packing).unwrap()
}

pub fn gelu() -> (Vec<Clip>, Tensors) {
    let golden = tensors("gelu.safetensors");
    (every(&gelu_config(), &golden), golden)
}

pub fn quick() -> (Vec<Clip>, Tensors) {
    let golden = tensors("quick-outliers.safetensors");
    (every(&quick_config(), &golden), golden)
}

/// The image `record.py` makes by rule: `[1, 3, h, w]` in -2 ..= 2.
pub fn image(height: usize, width: usize) -> Tensor {
    let value = |i: usize| ((i * i * 31 + i * 37) % 257) as f32 / 64.0 - 2.0;
    let values: Vec<f32> = (0..3 * height * width).map(value).collect();
    Tensor::from_vec(values, (1, 3, height, width), &Device::Cpu).unwrap()
}

pub fn open(bytes: &[u8]) -> Result<Clip> {
    let config = files_config();
    let mut weights = WeightsFile::open(bytes)?;
    weights.check(&config)?;
    Clip::new(config, &weights)
}

/// Largest difference over the root mean square of what was recorded.
pub fn relative_error(got: &[f32], want: &[f32]) -> f64 {
    assert_eq!(got.len(), want.len());
    let square: f64 = want.iter().map(|v| f64::from(*v).powi(2)).sum();
    let rms = (square / want.len() as f64).sqrt();
    let difference = got.iter().zip(want).map(|(a, b)| (f64::from(*a) - f64::from(*b)).abs());
    difference.fold(0.0, f64::max) / rms
}

/// The tolerance for f32 tokens and embeddings, per stage.
pub const TOLERANCE: f64 = 2e-5;

/// Holds a stage against what was recorded of it.
pub fn check(stage: &str, got: &Tensor, want: &Tensor) {
    let (got, want) = (values(got), values(want));
    let error = relative_error(&got, &want);
    assert!(error <= TOLERANCE, "{stage}: {error:.2e}");
    // A recorded value that is off by ten tolerances must not pass.
    let mut altered = want.clone();
    let square: f32 = want.iter().map(|v| v * v).sum();
    altered[0] += 10.0 * TOLERANCE as f32 * (square / want.len() as f32).sqrt();
    assert!(relative_error(&got, &altered) > TOLERANCE, "{stage}: the test sees nothing");
}
