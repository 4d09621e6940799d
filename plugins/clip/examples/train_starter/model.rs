//! The starter model while it is trained: two towers and a few numbers, each a variable.

use std::sync::Arc;

use candle_core::{Tensor, Var};
use loupe_clip::ModelConfig;

use crate::batch::Batch;
use crate::error::{Result, TrainError};
use crate::image_tower::ImageTower;
use crate::layout::{Layout, Start};
use crate::loss::{Losses, Seen, losses};
use crate::optimizer::{Moments, Step, square, update};
use crate::rng::Rng;
use crate::tensors::{own, with_values};
use crate::text_tower::TextTower;
use crate::tower::{Tower, run};

/// The architecture, as open_clip describes it.
pub const STARTER: &str = r#"{
    "embed_dim": 192,
    "vision_cfg": {"image_size": 128, "layers": 6, "width": 192, "head_width": 64, "patch_size": 8},
    "text_cfg": {"context_length": 24, "vocab_size": 49408, "width": 128, "heads": 2, "layers": 3}
}
"#;
/// Blocks whose streams the memory loss looks at, besides the tokens behind the last norm.
pub const TAPS: [usize; 1] = [4];
const FIRST_SCALE: f32 = 14.0;
const FIRST_GAIN: f32 = 8.0;
const FIRST_BIAS: f32 = 2.5;
/// Weight decay of matrices.
const DECAY: f32 = 0.05;
/// Longest gradient of the model; a longer one is scaled down to it.
const LONGEST: f64 = 1.0;

/// A buffer of parameters with what the optimiser keeps of it.
pub struct Trained {
    pub name: &'static str,
    pub layout: Layout,
    pub var: Var,
    pub moments: Moments,
}

impl Trained {
    fn new(name: &'static str, layout: Layout, rng: &mut Rng) -> Result<Self> {
        let start = layout.start(rng);
        let moments = Moments::new(&start);
        let var = Var::from_tensor(&own(start, &[layout.len()])?)?;
        Ok(Self { name, layout, var, moments })
    }
}

pub struct Model {
    pub image_tower: Arc<ImageTower>,
    text_tower: Arc<TextTower>,
    pub image: Trained,
    pub text: Trained,
    /// Logarithm of the logits' scale.
    pub scale: Trained,
    /// Gain and bias of each memory loss; no part of the model that is exported.
    pub memory: Trained,
}

impl Model {
    pub fn new(config: &ModelConfig, n_rows: usize, taps: &[usize], rng: &mut Rng) -> Result<Self> {
        let image_tower = ImageTower::new(&config.vision, config.embed_dim, taps);
        let text_tower = TextTower::new(&config.text, n_rows, config.embed_dim);
        let (mut scale, mut memory) = (Layout::default(), Layout::default());
        scale.add("logit_scale", &[1], Start::Value(FIRST_SCALE.ln()));
        for index in 0..=taps.len() {
            memory.add(format!("gain.{index}"), &[1], Start::Value(FIRST_GAIN.ln()));
            memory.add(format!("bias.{index}"), &[1], Start::Value(FIRST_BIAS));
        }
        Ok(Self {
            image: Trained::new("image", image_tower.layout().clone(), rng)?,
            text: Trained::new("text", text_tower.layout().clone(), rng)?,
            scale: Trained::new("scale", scale, rng)?,
            memory: Trained::new("memory", memory, rng)?,
            image_tower: Arc::new(image_tower),
            text_tower: Arc::new(text_tower),
        })
    }

    pub fn buffers(&self) -> [&Trained; 4] {
        [&self.image, &self.text, &self.scale, &self.memory]
    }

    pub fn buffers_mut(&mut self) -> [&mut Trained; 4] {
        [&mut self.image, &mut self.text, &mut self.scale, &mut self.memory]
    }

    pub fn n_parameters(&self) -> usize {
        self.buffers().iter().map(|trained| trained.layout.len()).sum()
    }

    /// Runs both towers and the losses; what comes back can be differentiated.
    pub fn losses(&self, batch: &Batch, n_threads: usize) -> Result<Losses> {
        let outputs = run(&self.image_tower, &self.image.var, &batch.crops, n_threads)?;
        let texts = run(&self.text_tower, &self.text.var, &batch.sentences, n_threads)?;
        let (Some((projected, streams)), [text]) = (outputs.split_last(), texts.as_slice()) else {
            return Err(TrainError::Internal { what: "a tower put out too little" });
        };
        let n_crops = 3 * batch.known.coverage.len();
        let by_crop = |x: &Tensor| -> Result<Tensor> {
            let (rows, width) = x.dims2()?;
            Ok(x.reshape((n_crops, rows / n_crops.max(1), width))?)
        };
        let places = Tensor::new(batch.places.as_slice(), &candle_core::Device::Cpu)?;
        let seen = Seen {
            streams: streams.iter().map(by_crop).collect::<Result<_>>()?,
            projected: by_crop(projected)?,
            text: text.index_select(&places, 0)?,
        };
        losses(&seen, &batch.known, &self.scale.var, &self.memory.var)
    }

    /// Gradients of all buffers.
    pub fn gradients(&self, total: &Tensor) -> Result<[Tensor; 4]> {
        let mut store = total.backward()?;
        let mut of = |trained: &Trained| {
            let gradient = store.remove(&trained.var);
            gradient.ok_or(TrainError::Internal { what: "a buffer has no gradient" })
        };
        Ok([of(&self.image)?, of(&self.text)?, of(&self.scale)?, of(&self.memory)?])
    }

    /// One step of the optimiser; `number` counts from 1.
    pub fn step(&mut self, gradients: &[Tensor; 4], number: usize, rate: f32) -> Result<()> {
        let model = gradients.iter().take(3).map(square).sum::<Result<f64>>()?;
        let clip = (LONGEST / (model.sqrt() + 1e-6)).min(1.0) as f32;
        for (trained, gradient) in self.buffers_mut().into_iter().zip(gradients) {
            let clip = if trained.name == "memory" { 1.0 } else { clip };
            let step = Step { number, rate, decay: DECAY, clip };
            update(&trained.var, gradient, &mut trained.moments, &trained.layout, step)?;
        }
        Ok(())
    }

    /// The values of a loss.
    pub fn value(loss: &Tensor) -> Result<f32> {
        with_values(loss, |values| values.first().copied().unwrap_or(f32::NAN))
    }
}
