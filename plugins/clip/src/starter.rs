//! The starter model, built into this library: its description and its weights.

use std::sync::OnceLock;

use crate::config::ModelConfig;
use crate::error::{ClipError, Result};
use crate::weights::WeightsFile;

/// What `model` and `weights` call it.
pub const NAME: &str = "starter";
/// What it is, as an open_clip JSON description.
pub const DESCRIPTION: &str = include_str!("../starter/starter.json");
/// Its weights, a safetensors file with a short token table.
pub static WEIGHTS: &[u8] = include_bytes!("../starter/starter.safetensors");

/// Its sizes.
pub fn model() -> Result<ModelConfig> {
    ModelConfig::from_json(NAME, DESCRIPTION)
}

/// Its weights, held against a model. Errors: `NotStarter` if they are not of its shapes.
pub fn weights(config: &ModelConfig) -> Result<(WeightsFile<'static>, usize)> {
    let mut file = WeightsFile::open(WEIGHTS)?;
    match file.check(config) {
        Ok(n_further) => Ok((file, n_further)),
        Err(error) if config.name == NAME => Err(error.in_file(NAME)),
        Err(_) => Err(ClipError::NotStarter { model: config.name.clone() }),
    }
}

/// Digest of description and weights, BLAKE3 in lower-case hexadecimal. What an engine keeps of a
/// model's outputs must not outlive the model, and the name alone is the same for every version.
pub fn digest() -> &'static str {
    static DIGEST: OnceLock<String> = OnceLock::new();
    DIGEST.get_or_init(|| {
        let mut hasher = blake3::Hasher::new();
        for part in [DESCRIPTION.as_bytes(), WEIGHTS] {
            hasher.update(&(part.len() as u64).to_le_bytes()).update(part);
        }
        hasher.finalize().to_hex().to_string()
    })
}
