//! The trained model as open_clip's files: f16, the short token table with its ids beside.

use std::path::Path;

use candle_core::{DType, Device, Tensor};

use crate::checkpoint::write_whole;
use crate::error::{Result, TrainError};
use crate::model::Model;
use crate::tensors::own;

/// Writes `starter.json` and `starter.safetensors` with the averaged weights. `ids` are the token
/// ids of the table's rows but the last, `description` is open_clip's JSON.
pub fn export(folder: &Path, model: &Model, ids: &[u32], description: &str) -> Result<()> {
    let path = folder.join("starter.safetensors");
    let tensors = tensors(model, ids)?;
    let tensors = tensors.iter().map(|(name, tensor)| (name.as_str(), tensor));
    let file = safetensors::serialize(tensors, None);
    let bytes =
        file.map_err(|error| TrainError::bad(&path, format!("cannot be written: {error}")))?;
    write_whole(&path, &bytes)?;
    write_whole(&folder.join("starter.json"), description.as_bytes())
}

fn tensors(model: &Model, ids: &[u32]) -> Result<Vec<(String, Tensor)>> {
    let mut tensors = Vec::new();
    for trained in [&model.image, &model.text, &model.scale] {
        for parameter in &trained.layout.parameters {
            let values = trained.moments.average.get(parameter.range.clone()).unwrap_or_default();
            // The scale is a number, not a list of one.
            let shape: &[usize] =
                if parameter.name == "logit_scale" { &[] } else { &parameter.shape };
            let tensor = own(values.to_vec(), shape)?.to_dtype(DType::F16)?;
            tensors.push((parameter.name.clone(), tensor));
        }
    }
    let ids: Vec<i32> = ids.iter().map(|id| i32::try_from(*id).unwrap_or(i32::MAX)).collect();
    let ids = Tensor::new(ids.as_slice(), &Device::Cpu)?;
    tensors.push(("token_embedding.ids".to_owned(), ids));
    Ok(tensors)
}
