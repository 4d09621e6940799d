//! Adds to all tokens of an image one vector that a network makes of its pixels, at every image size.
//! Source: CLIP-LMFA's "multi-scale adaptive fusion", as its released code does it: there the network
//! has fresh random weights for every image and is never trained. Here weights come from a seed, a
//! file or training, and references and queries share them.

mod config;
mod experts;
mod layers;
mod network;
#[cfg(test)]
mod tests;
mod train;
mod weights;

use std::sync::{Arc, Mutex, PoisonError};

use loupe_plugin::prelude::*;

use crate::learning::sigmoid64;
pub use config::Config;
use config::{BatchNorm, Draw, Mode};
use network::Network;
use train::{Example, Keys};
use weights::{Random, Sizes, Weights};

const TOKENS: [&str; 4] =
    ["patch_embeddings", "image_embedding", "gem_patch_embeddings", "gem_image_embedding"];
/// Ports of the training.
const LEARNS: [&str; 4] = ["example_images", "examples", "mask", "text"];
const INSTEAD: &str = "name a file as `weights`, or take another `mode`";
const SCHEMA: &str = "loupe.multi-scale-adaptive";

pub struct MultiScaleAdaptive {
    config: Config,
    host: Host,
    given: Option<Arc<Weights>>,
    /// The network of the last width, made at the first call that wants it.
    network: Mutex<Option<(usize, Arc<Network>)>>,
}

impl Fusion for MultiScaleAdaptive {
    type Config = Config;
    const REVISION: u32 = 1;
    const ABOUT: &'static str = "tokens plus a vector that a network makes of the image";

    fn ports() -> Vec<Port> {
        let shape = |name: &str| if name.contains("patch") { "b gh gw d" } else { "b d" };
        let mut ports = vec![
            Port::input("image").tensor("b 3 h w").about("what the encoder sees"),
            Port::input("patch_embeddings").tensor("b gh gw d").about("raw, as all tokens here"),
        ];
        let more = TOKENS.iter().skip(1);
        ports.extend(more.map(|name| Port::input(name).tensor(shape(name)).optional()));
        let learns = |name: &str| Port::input(name).verb(Verb::Fit).optional();
        ports.extend([
            learns("example_images").tensor("b 3 h w").about("images to train on"),
            learns("examples").tensor("b gh gw d").about("their patch embeddings"),
            learns("mask").tensor("b 1 h w").about("1 where a defect is painted"),
            learns("text").embedded_text("n d").about("sentences that tell sound from damaged"),
        ]);
        let outputs = TOKENS.iter().map(|name| Port::output(name).tensor(shape(name)).optional());
        ports.extend(outputs);
        ports.push(Port::output("offset").tensor("b d").about("what is added to each token"));
        ports
    }

    fn check(config: &Config, _host: &Host) -> Result<Facts> {
        config.judge()?;
        Ok(match config.learns() {
            true => Facts::new().learns(&LEARNS, INSTEAD),
            false => Facts::new(),
        })
    }

    fn new(config: Config, host: &Host) -> Result<Self> {
        Self::check(&config, host)?;
        let given = match &config.weights {
            Some(file) => Some(Arc::new(Weights::read(host.open(file)?, file)?)),
            None => None,
        };
        Ok(Self { config, host: *host, given, network: Mutex::new(None) })
    }

    /// `image [b, 3, h, w]`; tokens `[b, gh, gw, d]` and `[b, d]` -> of those shapes. Errors: `Shape`
    /// if widths or batches differ; mode `trained` with neither a file nor a fit.
    fn fuse_ports(&self, inputs: &Inputs, wanted: &Wanted) -> Result<Outputs> {
        let image = inputs.tensor("image")?;
        let [batch, ..] = planes(image)?;
        let (_, width) = inputs.tensor("patch_embeddings")?.rows("patch_embeddings")?;
        if width == 0 {
            return Err(Error::empty("patch_embeddings"));
        }
        let mut offsets = Vec::with_capacity(batch * width);
        for index in 0..batch {
            let vector = self.vector(image, index, width)?;
            offsets.extend(vector.iter().map(|value| value * self.config.strength));
        }
        let mut outputs = Outputs::new();
        for name in TOKENS.into_iter().filter(|name| wanted.has(name)) {
            if let Some(tokens) = inputs.tensor_opt(name)? {
                outputs = outputs.put(name, shifted(name, tokens, &offsets, [batch, width])?);
            }
        }
        Ok(outputs.put("offset", Tensor::new([batch, width], offsets)?))
    }
}

/// `[b, 3, h, w]` with at least one pixel. Errors: `Shape`.
fn planes(image: &Tensor) -> Result<[usize; 4]> {
    let dims: [usize; 4] = image.dims_n("image")?;
    match dims {
        [_, 3, _, _] if !image.shape().is_empty() => Ok(dims),
        _ => Err(Error::shape("image", "[b, 3, h, w]", image.shape())),
    }
}

fn shifted(
    name: &str,
    tokens: &Tensor,
    offsets: &[f32],
    [batch, width]: [usize; 2],
) -> Result<Tensor> {
    let dims = tokens.dims();
    if dims.first() != Some(&batch) || dims.last() != Some(&width) {
        return Err(Error::shape(name, format!("[{batch}, .., {width}]"), tokens.shape()));
    }
    let mut values = tokens.f32s()?.to_vec();
    let per_image = (values.len() / batch).max(1);
    for (rows, offset) in values.chunks_mut(per_image).zip(offsets.chunks_exact(width)) {
        for row in rows.chunks_exact_mut(width) {
            row.iter_mut().zip(offset).for_each(|(value, shift)| *value += shift);
        }
    }
    Tensor::new(tokens.shape(), values)
}

impl MultiScaleAdaptive {
    fn vector(&self, image: &Tensor, index: usize, width: usize) -> Result<Vec<f32>> {
        let config = &self.config;
        match config.mode {
            Mode::Off => Ok(vec![0.0; width]),
            Mode::Surrogate => Ok(surrogate(self.seed_of(one_image(image, index)?.0), width)),
            Mode::Trained if self.given.is_none() => {
                Err(Error::failed(format!("mode `trained` has learned nothing: {INSTEAD}")))
            }
            Mode::Exact | Mode::Trained => {
                let (pixels, size) = one_image(image, index)?;
                let network = self.network(width, self.seed_of(pixels))?;
                let features = network.features(&self.host, pixels, size)?;
                Ok(network.head.vector(&features))
            }
        }
    }

    /// The seed of an image: the config's, or one of its pixels too.
    fn seed_of(&self, pixels: &[f32]) -> u64 {
        let fold = |hash: u64, value: &f32| {
            (hash ^ u64::from(value.to_bits())).wrapping_mul(0x0100_0000_01b3)
        };
        match self.config.draw {
            Draw::Once => self.config.seed,
            Draw::Image => pixels.iter().fold(self.config.seed ^ 0xcbf2_9ce4_8422_2325, fold),
        }
    }

    fn network(&self, width: usize, seed: u64) -> Result<Arc<Network>> {
        let Config { experts, categories, batch_norm, draw, .. } = self.config;
        let own_statistics = batch_norm == BatchNorm::Image;
        let drawn = || Weights::drawn(seed, Sizes { experts, categories, width });
        if draw == Draw::Image {
            return Ok(Arc::new(Network::new(&drawn(), own_statistics)?));
        }
        let mut made = self.network.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, network)) = made.as_ref().filter(|(known, _)| *known == width) {
            return Ok(network.clone());
        }
        let network = Arc::new(match &self.given {
            Some(weights) if weights.sizes.width == width => Network::new(weights, own_statistics)?,
            Some(weights) => {
                let want = format!("tokens of width {}, that of the weights", weights.sizes.width);
                return Err(Error::shape("patch_embeddings", want, width));
            }
            None => Network::new(&drawn(), own_statistics)?,
        });
        *made = Some((width, network.clone()));
        Ok(network)
    }
}

/// Pixels `[3, h, w]` of one image of the batch. Errors: `Shape`.
fn one_image(image: &Tensor, index: usize) -> Result<(&[f32], [usize; 2])> {
    let [_, _, height, width] = planes(image)?;
    let pixels = image.f32s()?.chunks_exact(3 * height * width).nth(index);
    Ok((pixels.ok_or_else(|| Error::empty("image"))?, [height, width]))
}

/// SiLU of `width` standardised normal numbers.
fn surrogate(seed: u64, width: usize) -> Vec<f32> {
    let mut random = Random::new(seed, 0x7375_7272_6f67_6174);
    let draws: Vec<f64> = (0..width).map(|_| random.normal()).collect();
    let mean = draws.iter().sum::<f64>() / width as f64;
    let var = draws.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / width as f64;
    let standard = draws.iter().map(|x| (x - mean) / (var + layers::EPS).sqrt());
    standard.map(|x| (x * sigmoid64(x)) as f32).collect()
}

/// What a training was shown.
#[derive(Default)]
pub struct Session {
    examples: Vec<Example>,
    /// Mean anomalous less mean normal sentence, both of length 1.
    direction: Vec<f64>,
}

impl Fit for MultiScaleAdaptive {
    type Session = Session;

    fn fit_open(&self) -> Result<Session> {
        Ok(Session::default())
    }

    fn fit_push(&self, session: &mut Session, inputs: &Inputs) -> Result<()> {
        if !self.config.learns() {
            return Ok(());
        }
        let (image, patches) = (inputs.tensor("example_images")?, inputs.tensor("examples")?);
        let [batch, _, height, width_px] = planes(image)?;
        let [n, rows, columns, width] = patches.dims_n("examples")?;
        if n != batch || patches.shape().is_empty() {
            return Err(Error::shape("examples", format!("[{batch}, gh, gw, d]"), patches.shape()));
        }
        if session.direction.is_empty() {
            session.direction = train::direction(&inputs.embedded_text("text")?, width)?;
        }
        let mask = inputs.tensor("mask")?;
        let targets = crate::masks::onto_grid(mask, batch, [rows, columns])?;
        let network = self.network(width, self.config.seed)?;
        let values = patches.f32s()?.chunks_exact(rows * columns * width);
        for (index, (patches, target)) in
            values.zip(targets.chunks_exact(rows * columns)).enumerate()
        {
            let (pixels, _) = one_image(image, index)?;
            let features = network.features(&self.host, pixels, [height, width_px])?;
            session.examples.push(Example::new(features, patches, target, width));
        }
        Ok(())
    }

    fn fit_close(&self, session: Session) -> Result<State> {
        let writer = StateWriter::new(SCHEMA, 1);
        let Some(width) = session.examples.first().map(|example| example.width()) else {
            return if self.config.learns() {
                Err(Error::empty("examples"))
            } else {
                writer.finish()
            };
        };
        let Config { experts, categories, seed, .. } = self.config;
        let mut weights = Weights::drawn(seed, Sizes { experts, categories, width });
        let keys = Keys {
            strength: f64::from(self.config.strength),
            scale: self.config.scale,
            epochs: self.config.epochs,
            learning_rate: self.config.learning_rate,
        };
        let head = self.network(width, seed)?.head.clone();
        let head = train::fit(&self.host, head, &session.examples, &session.direction, &keys)?;
        for (name, values) in [
            ("project.weight", head.project.weights),
            ("project.bias", head.project.bias),
            ("project.norm.weight", head.norm_weight),
            ("project.norm.bias", head.norm_bias),
        ] {
            if let Some((_, array)) = weights.arrays.get_mut(name) {
                *array = values;
            }
        }
        let mut arrays = weights.arrays.iter();
        arrays
            .try_fold(writer, |writer, (name, (shape, values))| {
                writer.f32s(name, shape.clone(), values)
            })?
            .finish()
    }

    fn load(&self, state: &State) -> Result<Self> {
        let is_empty = StateReader::new(state, SCHEMA, 1)?.names().next().is_none();
        let given = match is_empty {
            true => self.given.clone(),
            false => Some(Arc::new(Weights::read(state.bytes(), "state of the training")?)),
        };
        let config = self.config.clone();
        Ok(Self { config, host: self.host, given, network: Mutex::new(None) })
    }
}
