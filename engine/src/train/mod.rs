//! `loupe train`: adapters between an encoder's taps learn from references, class by class. The encoder
//! gives cotangents, the fusion gradients (`run::Trainee`); samples, losses, the optimiser, epochs and
//! checkpoints are here.

mod adam;
mod checkpoint;
mod course;
mod loss;
mod masks;
mod origin;
mod record;
mod samples;

use std::path::{Path, PathBuf};

use thiserror::Error;

pub use adam::{Learned, Learning};
pub use loss::{HeadLoss, Target, TextPair, head_loss};
pub use origin::Origin;
pub use record::{HELD_OUT, facts_of, read_curve, write_curve};
pub use samples::{Digests, Sample, Samples, held_out, order, samples};

use crate::files::WriteError;
use crate::image::ImageError;
use crate::pipeline::TOKENS;
use crate::pipeline::model::{HeadLosses, Loss, Train};
use crate::plugin::{State, Tensor, Value};
use crate::run::{
    ClassImages, ClassRun, Engine, RunError, Start, Tokens, Trainee, Walk, state_file,
};
use checkpoint::{Checkpoint, Position};
use course::Course;

#[derive(Debug, Error)]
pub enum TrainError {
    #[error(transparent)]
    Run(#[from] RunError),
    #[error(transparent)]
    Write(#[from] WriteError),
    #[error(transparent)]
    Mask(#[from] ImageError),
    #[error("cannot read `{}`: {message}", path.display())]
    Read { path: PathBuf, message: String },
    #[error("the parameters cannot be trained: {why}")]
    Parameters { why: String },
    #[error("{what} is not finite; a smaller `lr` under `optimizer` of [train] may help")]
    NotFinite { what: String },
    #[error(
        "the training diverged at epoch {epoch}, step {step}: {why}; lower `lr` under `optimizer` of \
         [train], which is {lr:?}"
    )]
    Diverged { epoch: usize, step: usize, why: String, lr: f64 },
    #[error(
        "`{heads}` under `loss` of [train] learns from masks, but {n_without} of the {n} anomalous \
         references of class `{class}` have none, such as `{image}`; add the mask, or leave \
         `{heads}` out of `loss`"
    )]
    HalfMasked { heads: String, class: String, image: String, n_without: usize, n: usize },
    #[error("there is nothing to learn from: {why}")]
    Nothing { why: String },
    #[error(
        "`held_out` of [train] wants two {kind} images or more to hold one out and learn from the rest, got 1; \
         take more references, or take `held_out` away"
    )]
    HeldOut { kind: &'static str },
    #[error(
        "`{}` is of another training ({what}); remove it, or train afresh with `--fresh`",
        path.display()
    )]
    OtherTraining { path: PathBuf, what: String },
}

/// What one epoch came to.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Epoch {
    pub n_samples: usize,
    /// Mean over the samples of the sum of all losses.
    pub loss: f64,
    /// The same over what is held out, after the epoch; `None` where nothing is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_out: Option<f64>,
    /// Of what is learned from, by head and part, taps summed: `seg focal`.
    pub parts: Vec<(String, f64)>,
}

/// What came of training one class.
#[derive(Clone, Debug)]
pub struct Trained {
    pub file: PathBuf,
    pub epochs: Vec<Epoch>,
    /// The epoch whose parameters are in the file.
    pub kept: Kept,
    /// Where an interrupted training was taken up again: epoch and step.
    pub resumed_at: Option<(usize, usize)>,
}

impl Trained {
    /// It was over before it was asked for.
    pub fn is_old(&self) -> bool {
        self.resumed_at == Some((self.epochs.len() + 1, 0))
    }
}

/// The epoch that is kept, counted from 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Kept {
    pub epoch: usize,
    /// What chose it, higher is better; `None`: it is the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub figure: Option<f64>,
}

/// What the caller shows and decides while a class learns.
pub trait Watch {
    /// What the user should know before the first step.
    fn warn(&mut self, text: &str);
    /// Before the first step.
    fn begin(&mut self, class: &str, n_steps: usize);
    fn step(&mut self, step: usize, loss: f64);
    /// After each epoch, its state being written to `file`: its figure on the test set, if that chooses.
    fn epoch(&mut self, epoch: usize, done: &Epoch, file: &Path) -> Result<Option<f64>, RunError>;
}

/// How a class is trained.
#[derive(Clone, Copy, Debug, Default)]
pub struct TrainOptions {
    /// Does not take an earlier training up.
    pub fresh: bool,
    /// Steps between two checkpoints.
    pub save_every: usize,
}

/// What is learned for a class: its own images, and those of other data sets.
pub struct Lesson {
    pub images: ClassImages,
    /// A mask's pixel of `images` is anomalous above this.
    pub mask_above: u8,
    pub auxiliary: Vec<(ClassImages, u8)>,
}

/// Trains the stage that `[train]` names for one class and writes its file. An interrupt writes a
/// checkpoint and ends with `Cancelled`; the same call goes on from it and ends with the same bytes.
/// Errors: what a stage, a file or the parameters report.
pub fn train_class(
    engine: &Engine<'_>,
    train: &Train,
    lesson: Lesson,
    options: TrainOptions,
    watch: &mut dyn Watch,
) -> Result<Trained, TrainError> {
    let mut run = ClassRun::new(engine, lesson.images)?;
    let class = run.class().clone();
    let nothing = |why: &str| TrainError::Nothing { why: why.to_owned() };
    let folder = engine.pipeline.stages[train.stage].state.as_deref();
    let file = state_file(folder.ok_or_else(|| nothing("`state` names no folder"))?, &class.name);
    let mut texts = vec![text_pair(&mut run, train)?];
    for (other, _) in &lesson.auxiliary {
        texts.push(text_pair(&mut ClassRun::new(engine, other.clone())?, train)?);
    }
    let heads: Vec<&str> = train.losses.iter().map(|losses| losses.head.as_str()).collect();
    let mut trainee = Trainee::new(&mut run, train.stage, &heads)?;
    let own = (class.clone(), lesson.mask_above);
    let sets: Vec<(ClassImages, u8)> = [own].into_iter().chain(lesson.auxiliary).collect();
    sets.iter().try_for_each(|(images, _)| masks::all_or_none(images, train))?;
    let samples = all_samples(&sets, train, engine.pipeline.run.seed, trainee.size())?;
    let (first, _) = samples.learned.first().ok_or_else(|| {
        nothing(
            "the class has no references and there is no other data set; set `shots` and \
             `anomalous` under `references`, or `auxiliary` under [train]",
        )
    })?;
    let start = trainee.start(&first.image)?;
    let learned = Learned::new(trainee.walk.parameters(&start)?)?;
    let origin = Origin::new(&class, sets.iter().map(|set| &set.0));
    let side = Checkpoint::new(&file, origin, checkpoint::key(engine, train, &samples));
    let mut course = Course { engine, train, side, learned, at: Position::default(), options };
    masks::idle(engine.pipeline, train, &samples).iter().for_each(|said| watch.warn(said));
    let resumed_at = course.begin(samples.learned.len(), watch)?;
    watch.begin(&class.name, samples.learned.len() * train.epochs);
    while !course.is_over() {
        course.epoch(&mut trainee, &samples, &texts, watch)?;
        engine.flush();
    }
    course.side.finish(&course.at)?;
    let Position { kept, epochs, .. } = course.at;
    Ok(Trained { file, kept, epochs, resumed_at })
}

/// The samples of all classes that teach one, each with the index of its class.
#[derive(Default)]
struct All {
    learned: Vec<(Sample, usize)>,
    held_out: Vec<(Sample, usize)>,
}

fn all_samples(
    sets: &[(ClassImages, u8)],
    train: &Train,
    seed: u64,
    size: usize,
) -> Result<All, TrainError> {
    let classes = sets.iter().map(|set| &set.0);
    let apart = train.held_out.map(|share| held_out(classes, share, seed)).transpose()?;
    let (apart, mut all) = (apart.unwrap_or_default(), All::default());
    for (text, (images, mask_above)) in sets.iter().enumerate() {
        let Samples { learned, held_out } = samples(images, train, &apart, size, *mask_above)?;
        all.learned.extend(learned.into_iter().map(|sample| (sample, text)));
        all.held_out.extend(held_out.into_iter().map(|sample| (sample, text)));
    }
    Ok(all)
}

fn text_pair(run: &mut ClassRun<'_>, train: &Train) -> Result<TextPair, TrainError> {
    let why = "its text wants sentences of both kinds, normal and anomalous, with embeddings";
    let nothing = || TrainError::Nothing { why: why.to_owned() };
    let Value::EmbeddedText { sentences, embeddings } = run.text(train.text)? else {
        return Err(nothing());
    };
    let width = embeddings.shape().last().copied().unwrap_or_default();
    let kinds: Vec<bool> = sentences.iter().map(|sentence| sentence.anomalous).collect();
    TextPair::new(embeddings.data(), width, &kinds).ok_or_else(nothing)
}

/// The parts of a step's loss by head, taps summed: `seg focal`.
pub type StepLosses = Vec<(String, f64)>;

/// The way through one sample: the parts of its loss by head, taps summed, and the gradients.
/// Errors: those of the components.
pub fn gradients(
    walk: &Walk,
    start: Start,
    parameters: &State,
    train: &Train,
    text: &TextPair,
    target: &Target<'_>,
) -> Result<(StepLosses, Vec<State>), TrainError> {
    let pass = walk.forward(start, parameters)?;
    let (parts, cotangents) = losses(&pass.tokens, train, text, target)?;
    Ok((parts, pass.backward(cotangents)?))
}

/// Losses of the tokens of each tap, and the tokens' cotangents.
fn losses(
    tokens: &[Vec<Tokens>],
    train: &Train,
    text: &TextPair,
    target: &Target<'_>,
) -> Result<(StepLosses, Vec<Vec<Tokens>>), TrainError> {
    let mut parts: StepLosses = Vec::new();
    let mut cotangents = Vec::with_capacity(tokens.len());
    for of_tap in tokens {
        let mut back = Vec::new();
        for losses in &train.losses {
            let output = format!("{}{TOKENS}", losses.head);
            let Some(tokens) = of_tap.iter().find(|tokens| tokens.output == output) else {
                continue;
            };
            let found = one_head(&tokens.tensor, losses, train, text, target)?;
            for (part, loss) in &found.parts {
                add(&mut parts, &losses.head, *part, *loss);
            }
            if !found.parts.is_empty() {
                let shape = tokens.tensor.shape().to_vec();
                let tensor = Tensor::new(shape, found.cotangent).map_err(RunError::from)?;
                back.push(Tokens { output, tensor });
            }
        }
        cotangents.push(back);
    }
    Ok((parts, cotangents))
}

/// One step of the optimiser for the heads that had a loss. Errors: those of the parameters.
pub fn step(
    walk: &Walk,
    learned: &mut Learned,
    train: &Train,
    losses: &StepLosses,
    gradients: &[State],
) -> Result<(), TrainError> {
    let with_loss =
        |head: &str| losses.iter().any(|(name, _)| name.split(' ').next() == Some(head));
    let idle: Vec<String> = walk
        .heads()
        .into_iter()
        .filter(|head| !with_loss(head))
        .map(|head| format!("{head}_"))
        .collect();
    let learns = |name: &str| !idle.iter().any(|head| name.starts_with(head));
    learned.step(gradients, &train.optimizer, &learns)
}

fn one_head(
    tokens: &Tensor,
    losses: &HeadLosses,
    train: &Train,
    text: &TextPair,
    target: &Target<'_>,
) -> Result<HeadLoss, TrainError> {
    let &[1, rows, cols, width] = tokens.shape() else {
        let why = format!("its tokens want the shape [1, gh, gw, d], got {:?}", tokens.shape());
        return Err(TrainError::Nothing { why });
    };
    if width != text.0[0].len() {
        let why = format!("its tokens have {width} channels, the text {}", text.0[0].len());
        return Err(TrainError::Nothing { why });
    }
    Ok(head_loss(tokens.data(), [rows, cols], text, train.scale, &losses.of, target))
}

fn add(parts: &mut StepLosses, head: &str, part: Loss, loss: f64) {
    let name = serde_json::to_value(part).unwrap_or_default();
    let name = format!("{head} {}", name.as_str().unwrap_or_default());
    match parts.iter_mut().find(|known| known.0 == name) {
        Some(known) => known.1 += loss,
        None => parts.push((name, loss)),
    }
}
