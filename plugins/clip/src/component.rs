//! The components `clip` and `gem`: ports, facts, and the way from the boundary to the model.

use loupe_plugin::prelude::*;
use serde_json::json;

use crate::config::{Activation, ModelConfig};
use crate::error::ClipError;
use crate::form::Form;
use crate::kept::Keeper;
use crate::keys::{ActivationKey, ClipConfig, GemConfig, PositionKey};
use crate::model::{Clip, Request};
use crate::vision::{Gem, N_PREFIX};
use crate::weights::{Random, WeightsFile};
use crate::{model, ops, starter};

/// The component `clip`.
pub struct ClipEncoder {
    clip: Clip,
}

/// The component `gem`.
pub struct GemEncoder {
    clip: Clip,
    gem: Gem,
}

impl Encoder for ClipEncoder {
    type Config = ClipConfig;
    const REVISION: u32 = 5;

    fn new(config: ClipConfig, host: &Host) -> Result<Self> {
        let PositionKey::AntialiasBicubic = config.position;
        let form = Form::new(config.backend, config.precision)?;
        let (name, weights) = (&config.model, &config.weights);
        Ok(Self { clip: load(name, weights, config.seed, config.activation, form, host)? })
    }

    fn check(config: &ClipConfig, host: &Host) -> Result<Facts> {
        let form = Form::new(config.backend, config.precision)?;
        facts(&describe(&config.model, host)?, &config.model, &config.weights, form, 0)
    }

    fn ports() -> Vec<Port> {
        let run = [Port::image()].into_iter().chain(outputs(""));
        run.chain(Port::encode_text()).chain(Port::stream()).collect()
    }

    fn encode_images(&self, images: &Tensor, wanted: &Wanted) -> Result<Outputs> {
        encode(&self.clip, images, wanted, Gem::default())
    }

    fn encode_text(&self, sentences: &[Sentence]) -> Result<Tensor> {
        encode_text(&self.clip, sentences)
    }
}

impl Encoder for GemEncoder {
    type Config = GemConfig;
    const REVISION: u32 = 5;

    fn new(config: GemConfig, host: &Host) -> Result<Self> {
        let PositionKey::AntialiasBicubic = config.position;
        let form = Form::new(config.backend, config.precision)?;
        let (name, weights) = (&config.model, &config.weights);
        let clip = load(name, weights, config.seed, config.activation, form, host)?;
        let GemConfig { blocks: n_blocks, iterations: n_iterations, temperature, .. } = config;
        Ok(Self { clip, gem: Gem { n_blocks, n_iterations, temperature } })
    }

    fn check(config: &GemConfig, host: &Host) -> Result<Facts> {
        let form = Form::new(config.backend, config.precision)?;
        let model = describe(&config.model, host)?;
        if config.blocks > model.vision.n_blocks {
            let (name, n_blocks) = (&model.name, model.vision.n_blocks);
            let want = format!("`blocks` must be at most {n_blocks}, the blocks of `{name}`");
            return Err(Error::config(want));
        }
        // Queries, keys and values, each against itself in every iteration and once more for the weights.
        let n_passes = config.blocks * 3 * (config.iterations + 1);
        facts(&model, &config.model, &config.weights, form, n_passes)
    }

    fn ports() -> Vec<Port> {
        let run = [Port::image()].into_iter().chain(outputs("")).chain(outputs("gem_"));
        run.chain(Port::encode_text()).chain(Port::stream()).collect()
    }

    fn encode_images(&self, images: &Tensor, wanted: &Wanted) -> Result<Outputs> {
        encode(&self.clip, images, wanted, self.gem)
    }

    fn encode_text(&self, sentences: &[Sentence]) -> Result<Tensor> {
        encode_text(&self.clip, sentences)
    }
}

impl Taps for ClipEncoder {
    type Session = model::Session;

    fn open(&self, taps: &[u32], train: bool, images: &Tensor) -> Result<(Self::Session, Tensor)> {
        open(&self.clip, taps, images, None, train)
    }

    fn open_at(
        &self,
        taps: &[u32],
        train: bool,
        images: &Tensor,
        stream: &Tensor,
    ) -> Result<Self::Session> {
        open_at(&self.clip, taps, images, stream, None, train)
    }

    fn resume(&self, session: &mut Self::Session, stream: &Tensor) -> Result<Tensor> {
        to_plugin(&self.clip.resume(session, &to_candle(stream)?)?)
    }

    fn finish(&self, session: Self::Session, stream: &Tensor, wanted: &Wanted) -> Result<Outputs> {
        finish(&self.clip, session, stream, wanted)
    }
}

impl Taps for GemEncoder {
    type Session = model::Session;

    fn open(&self, taps: &[u32], train: bool, images: &Tensor) -> Result<(Self::Session, Tensor)> {
        open(&self.clip, taps, images, Some(self.gem), train)
    }

    fn open_at(
        &self,
        taps: &[u32],
        train: bool,
        images: &Tensor,
        stream: &Tensor,
    ) -> Result<Self::Session> {
        open_at(&self.clip, taps, images, stream, Some(self.gem), train)
    }

    fn resume(&self, session: &mut Self::Session, stream: &Tensor) -> Result<Tensor> {
        to_plugin(&self.clip.resume(session, &to_candle(stream)?)?)
    }

    fn finish(&self, session: Self::Session, stream: &Tensor, wanted: &Wanted) -> Result<Outputs> {
        finish(&self.clip, session, stream, wanted)
    }
}

impl Backward for ClipEncoder {
    fn backward(
        &self,
        session: &mut Self::Session,
        segment: usize,
        cotangent: &Tensor,
    ) -> Result<Tensor> {
        to_plugin(&self.clip.backward(session, segment, &to_candle(cotangent)?)?)
    }
}

impl Backward for GemEncoder {
    fn backward(
        &self,
        session: &mut Self::Session,
        segment: usize,
        cotangent: &Tensor,
    ) -> Result<Tensor> {
        to_plugin(&self.clip.backward(session, segment, &to_candle(cotangent)?)?)
    }
}

impl From<ClipError> for Error {
    fn from(error: ClipError) -> Self {
        match error {
            ClipError::UnknownModel { .. }
            | ClipError::Description { .. }
            | ClipError::Json { .. }
            | ClipError::Weights { .. }
            | ClipError::WeightsFile { .. }
            | ClipError::NotStarter { .. } => Error::config(error),
            ClipError::Shape { .. }
            | ClipError::Tap { .. }
            | ClipError::Stepping { .. }
            | ClipError::NoText { .. }
            | ClipError::Token { .. } => Error::input(error),
            ClipError::Host(error) => error,
            ClipError::Kernel(loupe_kernels::KernelError::Cpu { .. }) => Error::config(error),
            ClipError::Tensor { .. } | ClipError::Kernel(_) => Error::failed(error),
        }
    }
}

fn outputs(prefix: &str) -> [Port; 3] {
    let port = |name: &str, shape| Port::output(&format!("{prefix}{name}")).tensor(shape);
    [
        port("image_embedding", "b d").about("CLS, projected; raw"),
        port("patch_tokens", "b gh gw c").about("the trunk's last normalisation, not projected"),
        port("patch_embeddings", "b gh gw d").about("projected, comparable with text; raw"),
    ]
}

/// Sizes of the model, what its image tower computes, with `n_passes` attentions beside it, and what its packed blocks
/// hold; and where the config names the starter, its digest, since the engine opens no file that it could digest.
/// Errors: `NotStarter`.
fn facts(
    config: &ModelConfig,
    model: &str,
    weights: &str,
    form: Form,
    n_passes: usize,
) -> Result<Facts> {
    let (vision, text) = (&config.vision, &config.text);
    let numbers = |width: usize, mlp_width: usize| 4 * width * width + 2 * width * mlp_width;
    let of_image = vision.n_blocks * numbers(vision.width, vision.mlp_width);
    let of_text = text.n_blocks * numbers(text.width, text.mlp_width);
    let pair = 4 * vision.width * (vision.n_blocks + n_passes);
    let facts = Facts::new()
        .fact("flop", json!({ "token": 2 * of_image, "pair": pair }))
        .fact("packed_bytes", form.packed_bytes(of_image + of_text))
        .precision(form.precision())
        .dim("c", config.vision.width)
        .dim("d", config.embed_dim)
        .taps((1..=config.vision.n_blocks).filter_map(|tap| u32::try_from(tap).ok()))
        .fact("n_prefix", N_PREFIX)
        .fact("patch_size", config.vision.patch_size)
        .fact("image_size", config.vision.image_size);
    if weights == starter::NAME {
        starter::weights(config)?;
    }
    Ok(match [model, weights].contains(&starter::NAME) {
        true => facts.fact("embedded", json!({ starter::NAME: starter::digest() })),
        false => facts,
    })
}

/// The starter, a preset, or the JSON file behind a path.
fn describe(model: &str, host: &Host) -> Result<ModelConfig> {
    if model == starter::NAME {
        return Ok(starter::model()?);
    }
    let Some(path) = std::path::Path::new(model).file_stem().filter(|_| model.ends_with(".json"))
    else {
        return Ok(ModelConfig::preset(model)?);
    };
    let text = std::str::from_utf8(host.open(model)?)
        .map_err(|_| Error::config(format!("model description `{model}` is not UTF-8")))?;
    Ok(ModelConfig::from_json(&path.to_string_lossy(), text)?)
}

fn load(
    model: &str,
    weights: &str,
    seed: u64,
    activation: ActivationKey,
    form: Form,
    host: &Host,
) -> Result<Clip> {
    let mut config = describe(model, host)?;
    let explicit = match activation {
        ActivationKey::Auto => None,
        ActivationKey::Gelu => Some(Activation::Gelu),
        ActivationKey::GeluTanh => Some(Activation::GeluTanh),
        ActivationKey::QuickGelu => Some(Activation::QuickGelu),
    };
    config.activation = explicit.unwrap_or(config.activation);
    if weights == "random" {
        let source = Random::new(seed, &config);
        let keeper = Keeper { host: *host, weights: json!({ "random": seed }) };
        return Ok(form.clip(config, source, keeper)?);
    }
    let (file, n_further) = if weights == starter::NAME {
        starter::weights(&config)?
    } else {
        open_file(host.open(weights)?, &config).map_err(|error| error.in_file(weights))?
    };
    host.log(
        Level::Debug,
        &format!("weights have {} names; {n_further} further tensors", file.dialect().name()),
    );
    if explicit.is_none() && (weights == "openai" || file.is_openai()) {
        config.activation = Activation::QuickGelu;
    }
    let keeper = Keeper { host: *host, weights: json!(weights) };
    Ok(form.clip(config, file, keeper).map_err(|error| error.in_file(weights))?)
}

fn open_file<'a>(
    bytes: &'a [u8],
    config: &ModelConfig,
) -> crate::error::Result<(WeightsFile<'a>, usize)> {
    let mut file = WeightsFile::open(bytes)?;
    let n_further = file.check(config)?;
    Ok((file, n_further))
}

fn encode(clip: &Clip, images: &Tensor, wanted: &Wanted, gem: Gem) -> Result<Outputs> {
    let request = Request { taps: Vec::new(), wanted: mask(wanted), gem };
    let encoded = clip.encode(&to_candle(images)?, request)?;
    put_all(encoded.clip, encoded.gem)
}

fn encode_text(clip: &Clip, sentences: &[Sentence]) -> Result<Tensor> {
    let texts: Vec<&str> = sentences.iter().map(|sentence| sentence.text.as_str()).collect();
    to_plugin(&clip.encode_text(&texts)?)
}

fn open(
    clip: &Clip,
    taps: &[u32],
    images: &Tensor,
    gem: Option<Gem>,
    train: bool,
) -> Result<(model::Session, Tensor)> {
    let taps = taps.iter().map(|tap| *tap as usize).collect();
    let (session, stream) = clip.open(&to_candle(images)?, taps, gem, train)?;
    Ok((session, to_plugin(&stream)?))
}

fn open_at(
    clip: &Clip,
    taps: &[u32],
    images: &Tensor,
    stream: &Tensor,
    gem: Option<Gem>,
    train: bool,
) -> Result<model::Session> {
    let [_, _, height, width] = images.dims_n("image")?;
    let (first, rest) = taps.split_first().ok_or_else(|| Error::empty("taps"))?;
    let tap = *first as usize;
    if gem.is_some_and(|gem| tap > clip.vision.first_gem_block(&gem)) {
        // The kept stream lacks GEM's, which can only be had from the images again.
        return Ok(open(clip, taps, images, gem, train)?.0);
    }
    let rest = rest.iter().map(|tap| *tap as usize).collect();
    let grid = clip.vision.grid(height, width)?;
    Ok(clip.open_at(tap, grid, &to_candle(stream)?, rest, gem, train)?)
}

fn finish(
    clip: &Clip,
    session: model::Session,
    stream: &Tensor,
    wanted: &Wanted,
) -> Result<Outputs> {
    let (clip_outputs, gem_outputs) = clip.finish(session, &to_candle(stream)?, mask(wanted))?;
    put_all(clip_outputs, gem_outputs)
}

fn mask(wanted: &Wanted) -> model::Wanted {
    model::Wanted {
        image_embedding: wanted.has("image_embedding"),
        patch_tokens: wanted.has("patch_tokens"),
        patch_embeddings: wanted.has("patch_embeddings"),
        gem_image_embedding: wanted.has("gem_image_embedding"),
        gem_patch_tokens: wanted.has("gem_patch_tokens"),
        gem_patch_embeddings: wanted.has("gem_patch_embeddings"),
    }
}

fn put_all(clip: model::Outputs, gem: model::Outputs) -> Result<Outputs> {
    let made = [
        ("image_embedding", clip.image_embedding),
        ("patch_tokens", clip.patch_tokens),
        ("patch_embeddings", clip.patch_embeddings),
        ("gem_image_embedding", gem.image_embedding),
        ("gem_patch_tokens", gem.patch_tokens),
        ("gem_patch_embeddings", gem.patch_embeddings),
    ];
    let mut outputs = Outputs::new();
    for (name, tensor) in made {
        if let Some(tensor) = tensor {
            outputs = outputs.put(name, to_plugin(&tensor)?);
        }
    }
    Ok(outputs)
}

fn to_candle(tensor: &Tensor) -> Result<candle_core::Tensor> {
    Ok(ops::from_vec(tensor.f32s()?.to_vec(), tensor.dims())?)
}

fn to_plugin(tensor: &candle_core::Tensor) -> Result<Tensor> {
    Tensor::new(tensor.dims(), ops::to_vec(tensor)?)
}

export!(encoder "clip" = ClipEncoder, encoder "gem" = GemEncoder);
