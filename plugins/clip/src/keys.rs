//! What a pipeline may say of the components `clip` and `gem`.

use loupe_plugin::prelude::*;

use crate::vision::Gem;

/// CLIP's image and text towers: a ViT with CLS pooling, from any published weights file.
#[derive(Deserialize, Schema)]
#[serde(deny_unknown_fields)]
pub struct ClipConfig {
    /// `starter` (built in), a published model by open_clip's name, or an open_clip JSON
    /// description.
    #[schema(file, names = [
        "starter", "ViT-B-32", "ViT-B-32-quickgelu", "ViT-B-16", "ViT-B-16-quickgelu",
        "ViT-B-16-plus-240", "ViT-L-14", "ViT-L-14-quickgelu", "ViT-L-14-336",
    ])]
    pub model: String,
    /// A weights file (safetensors, PyTorch, TorchScript; names of open_clip, OpenAI or Hugging
    /// Face), `starter` for the small model built in, which knows surfaces and their defects and
    /// nothing else, or `random` for seeded weights that have learned nothing.
    #[schema(file, names = ["starter", "random"])]
    pub weights: String,
    /// For `random` weights only.
    #[serde(default)]
    pub seed: u64,
    /// `auto` takes what the model's description says, and QuickGELU for OpenAI's own archives.
    #[serde(default)]
    pub activation: ActivationKey,
    /// How the position table reaches another grid than the trained one.
    #[serde(default)]
    pub position: PositionKey,
    /// `fused` packs the weights for this CPU; `candle` is the reference, and what trains.
    #[serde(default)]
    pub backend: BackendKey,
    /// What products are rounded to: `bf16` is quick where the CPU multiplies tiles of it (`loupe doctor`),
    /// and `auto` is `bf16` there and `f32` elsewhere; `int8` is an experiment.
    #[serde(default)]
    pub precision: PrecisionKey,
}

/// CLIP, and GEM's self-self attention path beside it in the same pass.
#[derive(Deserialize, Schema)]
#[serde(deny_unknown_fields)]
pub struct GemConfig {
    /// `starter` (built in), a published model by open_clip's name, or an open_clip JSON
    /// description.
    #[schema(file, names = [
        "starter", "ViT-B-32", "ViT-B-32-quickgelu", "ViT-B-16", "ViT-B-16-quickgelu",
        "ViT-B-16-plus-240", "ViT-L-14", "ViT-L-14-quickgelu", "ViT-L-14-336",
    ])]
    pub model: String,
    /// A weights file (safetensors, PyTorch, TorchScript; names of open_clip, OpenAI or Hugging
    /// Face), `starter` for the small model built in, which knows surfaces and their defects and
    /// nothing else, or `random` for seeded weights that have learned nothing.
    #[schema(file, names = ["starter", "random"])]
    pub weights: String,
    /// For `random` weights only.
    #[serde(default)]
    pub seed: u64,
    /// `auto` takes what the model's description says, and QuickGELU for OpenAI's own archives.
    #[serde(default)]
    pub activation: ActivationKey,
    /// How the position table reaches another grid than the trained one.
    #[serde(default)]
    pub position: PositionKey,
    /// `fused` packs the weights for this CPU; `candle` is the reference, and what trains.
    #[serde(default)]
    pub backend: BackendKey,
    /// What products are rounded to: `bf16` is quick where the CPU multiplies tiles of it (`loupe doctor`),
    /// and `auto` is `bf16` there and `f32` elsewhere; `int8` is an experiment.
    #[serde(default)]
    pub precision: PrecisionKey,
    /// How many blocks from the end take part; gem-torch's `depth` is one more.
    #[schema(min = 1)]
    #[serde(default = "default_blocks")]
    pub blocks: usize,
    /// How often tokens are replaced by their own weighted means before the weights are taken.
    #[schema(min = 0, max = 100)]
    #[serde(default = "default_iterations")]
    pub iterations: usize,
    /// Inverse temperature (as gem-torch's argument); if absent, from the tokens' mean length.
    #[schema(above = 0.0)]
    pub temperature: Option<f32>,
}

/// What the key `activation` may say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize, Schema)]
#[serde(rename_all = "kebab-case")]
pub enum ActivationKey {
    #[default]
    Auto,
    Gelu,
    GeluTanh,
    QuickGelu,
}

/// What the key `position` may say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize, Schema)]
#[serde(rename_all = "kebab-case")]
pub enum PositionKey {
    /// Bicubic with a = -0.5 and a window that grows with the scale, as open_clip and gem-torch.
    #[default]
    AntialiasBicubic,
}

/// What the key `backend` may say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize, Schema)]
#[serde(rename_all = "kebab-case")]
pub enum BackendKey {
    #[default]
    Fused,
    Candle,
}

/// What the key `precision` may say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize, Schema)]
#[serde(rename_all = "kebab-case")]
pub enum PrecisionKey {
    #[default]
    F32,
    /// Sums, norms, softmax and the residual stream stay f32.
    Bf16,
    /// As `bf16`, and whole numbers up to 127 in the layers behind a normalisation.
    Int8,
    /// `bf16` where the CPU multiplies tiles of it, else `f32`.
    Auto,
}

fn default_blocks() -> usize {
    Gem::default().n_blocks
}

fn default_iterations() -> usize {
    Gem::default().n_iterations
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ModelConfig;

    #[test]
    fn the_schemas_name_every_preset() {
        for schema in [ClipConfig::schema(), GemConfig::schema()] {
            let names = [vec!["starter"], ModelConfig::preset_names()].concat();
            let names = serde_json::json!(names);
            assert_eq!(schema["properties"]["model"]["x-names"], names);
        }
    }
}
