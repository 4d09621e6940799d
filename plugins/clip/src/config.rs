//! Which model: the published presets and open_clip's JSON description, one struct for both.

use serde_json::{Map, Value};

use crate::error::{ClipError, Result};

pub use loupe_kernels::Activation;

/// Sizes of the image tower.
#[derive(Clone, Debug, PartialEq)]
pub struct VisionConfig {
    /// Side of the square image whose grid the position table was trained for, in pixels.
    pub image_size: usize,
    pub n_blocks: usize,
    pub width: usize,
    /// Side of a patch, in pixels.
    pub patch_size: usize,
    pub n_heads: usize,
    pub mlp_width: usize,
}

impl VisionConfig {
    /// Side of the grid the position table holds.
    pub fn native_grid(&self) -> usize {
        self.image_size / self.patch_size
    }
}

/// Sizes of the text tower.
#[derive(Clone, Debug, PartialEq)]
pub struct TextConfig {
    /// Longest sentence in tokens, both markers included.
    pub context_length: usize,
    pub vocab_size: usize,
    pub width: usize,
    pub n_heads: usize,
    pub n_blocks: usize,
    pub mlp_width: usize,
}

/// A CLIP with a CLS-pooled vision transformer.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelConfig {
    pub name: String,
    /// Width of the space that images and text share.
    pub embed_dim: usize,
    pub activation: Activation,
    pub vision: VisionConfig,
    pub text: TextConfig,
}

/// Name, QuickGELU, embed_dim, (image, patch, width, blocks), (text width, heads).
type Preset = (&'static str, bool, usize, [usize; 4], [usize; 2]);

const PRESETS: [Preset; 8] = [
    ("ViT-B-32", false, 512, [224, 32, 768, 12], [512, 8]),
    ("ViT-B-32-quickgelu", true, 512, [224, 32, 768, 12], [512, 8]),
    ("ViT-B-16", false, 512, [224, 16, 768, 12], [512, 8]),
    ("ViT-B-16-quickgelu", true, 512, [224, 16, 768, 12], [512, 8]),
    ("ViT-B-16-plus-240", false, 640, [240, 16, 896, 12], [640, 10]),
    ("ViT-L-14", false, 768, [224, 14, 1024, 24], [768, 12]),
    ("ViT-L-14-quickgelu", true, 768, [224, 14, 1024, 24], [768, 12]),
    ("ViT-L-14-336", false, 768, [336, 14, 1024, 24], [768, 12]),
];

const HEAD_WIDTH: usize = 64;
const CONTEXT_LENGTH: usize = 77;
const VOCAB_SIZE: usize = 49_408;
/// Ends a description that nobody means: no published CLIP comes near it.
const MAX_SIZE: u64 = 1 << 20;

impl ModelConfig {
    /// A published model by open_clip's name; `/` may stand for `-`. Errors: `UnknownModel`.
    pub fn preset(name: &str) -> Result<Self> {
        let plain = name.replace('/', "-");
        let found = PRESETS.iter().find(|preset| preset.0 == plain);
        let &(
            name,
            quick,
            embed_dim,
            [image_size, patch_size, width, n_blocks],
            [t_width, t_heads],
        ) = found.ok_or_else(|| ClipError::UnknownModel {
            name: name.to_string(),
            known: Self::preset_names().join(", "),
        })?;
        Ok(Self {
            name: name.to_string(),
            embed_dim,
            activation: if quick { Activation::QuickGelu } else { Activation::Gelu },
            vision: VisionConfig {
                image_size,
                n_blocks,
                width,
                patch_size,
                n_heads: width / HEAD_WIDTH,
                mlp_width: 4 * width,
            },
            text: TextConfig {
                context_length: CONTEXT_LENGTH,
                vocab_size: VOCAB_SIZE,
                width: t_width,
                n_heads: t_heads,
                n_blocks: 12,
                mlp_width: 4 * t_width,
            },
        })
    }

    /// The names `preset` knows.
    pub fn preset_names() -> Vec<&'static str> {
        PRESETS.iter().map(|preset| preset.0).collect()
    }

    /// A model from the text of an open_clip JSON file. Keys that would change the computation in a
    /// way this crate does not offer are refused by name, unless they hold their neutral value.
    pub fn from_json(name: &str, json: &str) -> Result<Self> {
        let value: Value = serde_json::from_str(json)
            .map_err(|error| ClipError::Json { message: error.to_string() })?;
        let mut root = Keys::new("", value)?;
        let mut vision = Keys::new("vision_cfg.", root.take("vision_cfg"))?;
        let mut text = Keys::new("text_cfg.", root.take("text_cfg"))?;
        let quick = root.flag("quick_gelu", false)?;
        let width = vision.size("width", None)?;
        let head_width = vision.size("head_width", Some(HEAD_WIDTH))?;
        let text_width = text.size("width", None)?;
        let vision_mlp = vision.ratio("mlp_ratio")?;
        let text_mlp = text.ratio("mlp_ratio")?;
        let config = Self {
            name: name.to_string(),
            embed_dim: root.size("embed_dim", None)?,
            activation: if quick { Activation::QuickGelu } else { Activation::Gelu },
            vision: VisionConfig {
                image_size: vision.size("image_size", None)?,
                n_blocks: vision.size("layers", None)?,
                width,
                patch_size: vision.size("patch_size", None)?,
                n_heads: width / head_width,
                mlp_width: (width as f64 * vision_mlp) as usize,
            },
            text: TextConfig {
                context_length: text.size("context_length", Some(CONTEXT_LENGTH))?,
                vocab_size: text.size("vocab_size", Some(VOCAB_SIZE))?,
                width: text_width,
                n_heads: text.size("heads", None)?,
                n_blocks: text.size("layers", None)?,
                mlp_width: (text_width as f64 * text_mlp) as usize,
            },
        };
        [root, vision, text].into_iter().try_for_each(Keys::finish)?;
        config.checked()
    }

    fn checked(self) -> Result<Self> {
        let vision = &self.vision;
        let text = &self.text;
        let problem = if vision.n_heads == 0 || !vision.width.is_multiple_of(vision.n_heads) {
            Some(("vision_cfg.head_width", "must divide `width`"))
        } else if !text.width.is_multiple_of(text.n_heads) {
            Some(("text_cfg.heads", "must divide `width`"))
        } else if vision.native_grid() == 0 {
            Some(("vision_cfg.patch_size", "is larger than `image_size`"))
        } else if text.context_length < 3 {
            Some(("text_cfg.context_length", "must be at least 3"))
        } else {
            None
        };
        match problem {
            Some((key, problem)) => Err(description(key, problem)),
            None => Ok(self),
        }
    }
}

/// Keys that may stand in a description when they hold the value that changes nothing.
/// `patch_dropout` is a training measure and the identity here.
fn is_neutral(key: &str, value: &Value) -> bool {
    match key {
        "patch_dropout" | "custom_text" | "init_logit_bias" => true,
        "pool_type" => value == "tok" || value == "argmax",
        "norm_kwargs" | "act_kwargs" => value.as_object().is_some_and(Map::is_empty),
        _ => matches!(value, Value::Null | Value::Bool(false)),
    }
}

struct Keys {
    prefix: &'static str,
    map: Map<String, Value>,
}

impl Keys {
    fn new(prefix: &'static str, value: Value) -> Result<Self> {
        match value {
            Value::Object(map) => Ok(Self { prefix, map }),
            _ => Err(description(prefix.trim_end_matches('.'), "must be a table")),
        }
    }

    fn take(&mut self, key: &str) -> Value {
        self.map.remove(key).unwrap_or(Value::Null)
    }

    fn size(&mut self, key: &str, default: Option<usize>) -> Result<usize> {
        match (self.take(key), default) {
            (Value::Null, Some(default)) => Ok(default),
            (value, _) => match value.as_u64() {
                Some(size @ 1..=MAX_SIZE) => Ok(size as usize),
                _ => Err(self.wrong(key, "must be a whole number from 1 to 1048576")),
            },
        }
    }

    fn ratio(&mut self, key: &str) -> Result<f64> {
        match self.take(key) {
            Value::Null => Ok(4.0),
            value => value
                .as_f64()
                .filter(|ratio| (0.01..=64.0).contains(ratio))
                .ok_or_else(|| self.wrong(key, "must be a number from 0.01 to 64")),
        }
    }

    fn flag(&mut self, key: &str, default: bool) -> Result<bool> {
        match self.take(key) {
            Value::Null => Ok(default),
            Value::Bool(flag) => Ok(flag),
            _ => Err(self.wrong(key, "must be true or false")),
        }
    }

    fn finish(self) -> Result<()> {
        match self.map.iter().find(|(key, value)| !is_neutral(key, value)) {
            None => Ok(()),
            Some((key, value)) => Err(self.wrong(
                key,
                &format!("`{value}` is not supported: the model must be a CLS-pooled ViT CLIP"),
            )),
        }
    }

    fn wrong(&self, key: &str, problem: &str) -> ClipError {
        description(&format!("{}{key}", self.prefix), problem)
    }
}

fn description(key: &str, problem: &str) -> ClipError {
    ClipError::Description { key: key.to_string(), problem: problem.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const JSON: &str = r#"{"embed_dim": 640,
        "vision_cfg": {"image_size": 240, "layers": 12, "width": 896, "patch_size": 16},
        "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 640,
                     "heads": 10, "layers": 12}}"#;

    fn refused(from: &str, to: &str) -> String {
        ModelConfig::from_json("m", &JSON.replace(from, to)).unwrap_err().to_string()
    }

    #[test]
    fn the_json_of_a_preset_is_the_preset() {
        let json = ModelConfig::from_json("ViT-B-16-plus-240", JSON).unwrap();
        assert_eq!(json, ModelConfig::preset("ViT-B-16-plus-240").unwrap());
        assert_eq!(ModelConfig::preset("ViT-B/32").unwrap().name, "ViT-B-32");
    }

    #[test]
    fn what_the_towers_cannot_do_is_refused_by_name() {
        let cases = [
            (
                "\"width\": 896",
                "\"width\": 896, \"ls_init_value\": 0.1",
                "vision_cfg.ls_init_value",
            ),
            ("\"width\": 896", "\"width\": 896, \"pool_type\": \"avg\"", "vision_cfg.pool_type"),
            ("\"width\": 896", "\"width\": 900", "vision_cfg.head_width"),
            ("\"width\": 896,", "", "vision_cfg.width"),
            ("\"heads\": 10", "\"heads\": 0", "text_cfg.heads"),
            ("\"layers\": 12}}", "\"layers\": 12, \"hf_model_name\": \"x\"}}", "text_cfg.hf_model"),
            ("\"patch_size\": 16", "\"patch_size\": 1000", "vision_cfg.patch_size"),
        ];
        for (from, to, key) in cases {
            let message = refused(from, to);
            assert!(message.contains(key), "{message}");
        }
    }

    #[test]
    fn an_unknown_name_lists_the_known_ones() {
        let message = ModelConfig::preset("ViT-H-14").unwrap_err().to_string();
        assert!(message.contains("`ViT-H-14`") && message.contains("ViT-L-14-336"), "{message}");
    }
}
