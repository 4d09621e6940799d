//! The keys of `multi-scale-adaptive`.

use loupe_plugin::prelude::*;
use serde::Deserialize;

/// Where the vector comes from.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Schema)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Nowhere: tokens stay as they are.
    Off,
    /// The original's network, with weights of a seed or a file.
    Exact,
    /// SiLU of standardised noise: what the random network's vector amounts to, at no cost.
    Surrogate,
    /// The network with weights from a file, or with its projection trained by the stage's fit.
    Trained,
}

/// What the batch norms normalise by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize, Schema)]
#[serde(rename_all = "kebab-case")]
pub enum BatchNorm {
    /// The image's own statistics, as the original runs them.
    #[default]
    Image,
    /// Those of training, which a file holds.
    Running,
}

/// How often weights or noise are drawn from the seed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize, Schema)]
#[serde(rename_all = "kebab-case")]
pub enum Draw {
    /// Once: references and queries share them.
    #[default]
    Once,
    /// Anew for each image and size, by its pixels: what the original does.
    Image,
}

/// Tokens plus `strength` times a vector of the image.
#[derive(Clone, Deserialize, Schema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    pub mode: Mode,
    /// Factor of the vector.
    #[schema(min = 0.0)]
    #[serde(default = "strength")]
    pub strength: f32,
    /// Draws weights and noise, where no file is given.
    #[serde(default)]
    pub seed: u64,
    #[serde(default)]
    pub draw: Draw,
    /// A safetensors file: of another program, or the state of a training.
    #[schema(file)]
    pub weights: Option<String>,
    #[serde(default)]
    pub batch_norm: BatchNorm,
    /// Experts of the mixture, where no file tells.
    #[schema(min = 1, max = 256)]
    #[serde(default = "experts")]
    pub experts: usize,
    /// Category adapters, where no file tells.
    #[schema(min = 1, max = 1024)]
    #[serde(default = "categories")]
    pub categories: usize,
    /// Of the training: factor of the cosines, that of the `language` scorer which reads the tokens.
    #[schema(above = 0.0)]
    #[serde(default = "scale")]
    pub scale: f64,
    /// Of the training: passes over all examples.
    #[schema(min = 1, max = 100000)]
    #[serde(default = "epochs")]
    pub epochs: usize,
    /// Of the training.
    #[schema(above = 0.0)]
    #[serde(default = "learning_rate")]
    pub learning_rate: f64,
}

impl Config {
    /// There is nothing to run with but what a fit learns.
    pub fn learns(&self) -> bool {
        self.mode == Mode::Trained && self.weights.is_none()
    }

    /// Errors: keys that contradict each other.
    pub fn judge(&self) -> Result<()> {
        let networks = matches!(self.mode, Mode::Exact | Mode::Trained);
        if self.weights.is_some() && !networks {
            return Err(Error::config(
                "`weights` are of the network, which only the modes `exact` and `trained` have",
            ));
        }
        if self.draw == Draw::Image && (self.weights.is_some() || self.mode == Mode::Trained) {
            return Err(Error::config(
                "`draw = \"image\"` draws weights for each image, so there is no place for those of \
                 a file or a training; leave one of them out",
            ));
        }
        if self.batch_norm == BatchNorm::Running && self.weights.is_none() {
            return Err(Error::config(
                "`batch_norm = \"running\"` wants the statistics of a training, which only `weights` \
                 have; name a file, or take \"image\"",
            ));
        }
        Ok(())
    }
}

fn strength() -> f32 {
    0.1
}
fn experts() -> usize {
    12
}
fn categories() -> usize {
    15
}
fn scale() -> f64 {
    100.0
}
fn epochs() -> usize {
    100
}
fn learning_rate() -> f64 {
    0.003
}
