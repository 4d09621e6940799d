//! `loupe train`: adapters between an encoder's taps learn from references, class by class. The encoder
//! gives cotangents, the fusion gradients (`run::Trainee`); samples, losses, the optimiser, epochs and
//! checkpoints are here.

mod adam;
mod checkpoint;
mod loss;
mod samples;

use std::path::{Path, PathBuf};

use thiserror::Error;

pub use adam::{Learned, Learning};
pub use loss::{HeadLoss, Target, TextPair, head_loss};
pub use samples::{Sample, order, samples};

use crate::files::WriteError;
use crate::image::ImageError;
use crate::pipeline::TOKENS;
use crate::pipeline::model::{HeadLosses, Loss, Train};
use crate::plugin::{State, Tensor, Value};
use crate::run::{
    ClassImages, ClassRun, Engine, RunError, Start, Tokens, Trainee, Walk, state_file,
};
use checkpoint::{Checkpoint, Position};

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
    #[error(
        "the gradient of `{name}` is not finite; a smaller `lr` under `optimizer` of [train] may help"
    )]
    NotFinite { name: String },
    #[error("there is nothing to learn from: {why}")]
    Nothing { why: String },
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
    /// The same by head and part, taps summed: `seg focal`.
    pub parts: Vec<(String, f64)>,
}

/// What came of training one class.
#[derive(Clone, Debug)]
pub struct Trained {
    pub file: PathBuf,
    pub epochs: Vec<Epoch>,
    /// The epoch whose parameters are in the file, and the figure that chose it.
    pub kept: (usize, Option<f64>),
    /// Where an interrupted training was taken up again: epoch and step.
    pub resumed_at: Option<(usize, usize)>,
}

/// What the caller shows and decides while a class learns.
pub trait Watch {
    /// Before the first step.
    fn begin(&mut self, class: &str, n_steps: usize);
    fn step(&mut self, step: usize, loss: f64);
    /// After each epoch, its state being written to `file`: a figure, where the highest chooses the epoch
    /// that is kept, or none, where the last is kept.
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
    let sets = [(class.clone(), lesson.mask_above)].into_iter().chain(lesson.auxiliary);
    let mut all = Vec::new();
    for (text, (images, mask_above)) in sets.enumerate() {
        let found = samples(&images, train.augment.as_ref(), trainee.size(), mask_above)?;
        all.extend(found.into_iter().map(|sample| (sample, text)));
    }
    let (first, _) = all.first().ok_or_else(|| {
        nothing(
            "the class has no references and there is no other data set; set `shots` and \
             `anomalous` under `references`, or `auxiliary` under [train]",
        )
    })?;
    let start = trainee.start(&first.image)?;
    let learned = Learned::new(trainee.walk.parameters(&start)?)?;
    let side = Checkpoint::new(&file, &class.name, checkpoint::key(engine, train, &all));
    let mut course = Course { train, side, learned, at: Position::default(), options };
    let resumed = !options.fresh && course.side.load(&mut course.learned, &mut course.at)?;
    let resumed_at = resumed.then_some((course.at.epochs.len() + 1, course.at.step));
    watch.begin(&class.name, all.len() * train.epochs);
    while course.at.epochs.len() < train.epochs {
        course.epoch(engine, &mut trainee, &all, &texts, watch)?;
        engine.flush();
    }
    course.side.finish()?;
    let Position { kept, epochs, .. } = course.at;
    Ok(Trained { file, kept, epochs, resumed_at })
}

/// A training that goes on.
struct Course<'t> {
    train: &'t Train,
    side: Checkpoint,
    learned: Learned,
    at: Position,
    options: TrainOptions,
}

impl Course<'_> {
    /// The rest of an epoch, and what is written at its end.
    fn epoch(
        &mut self,
        engine: &Engine<'_>,
        trainee: &mut Trainee<'_, '_>,
        all: &[(Sample, usize)],
        texts: &[TextPair],
        watch: &mut dyn Watch,
    ) -> Result<(), TrainError> {
        let Course { train, side, learned, at, options } = self;
        let order = order(all.len(), engine.pipeline.run.seed, at.epochs.len());
        while let Some((sample, text)) = order.get(at.step).and_then(|idx| all.get(*idx)) {
            if let Err(error) = engine.stop_if_cancelled() {
                side.save(learned, at)?;
                return Err(error.into());
            }
            let start = trainee.start(&sample.image)?;
            let (target, walk) = (sample.target(trainee.size()), &trainee.walk);
            let (losses, found) =
                gradients(walk, start, &learned.state, train, &texts[*text], &target)?;
            step(walk, learned, train, &losses, &found)?;
            at.add(&losses);
            watch.step(at.epochs.len() * all.len() + at.step, at.last());
            if options.save_every > 0 && at.step.is_multiple_of(options.save_every) {
                side.save(learned, at)?;
            }
        }
        at.end_epoch();
        let candidate = side.write(learned, at, train)?;
        let done = at.epochs.last().cloned().unwrap_or_default();
        let figure = watch.epoch(at.epochs.len(), &done, &candidate)?;
        if at.is_better(figure) {
            side.keep(&candidate)?;
        }
        side.save(learned, at)
    }
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
    let mut parts: StepLosses = Vec::new();
    let mut cotangents = Vec::with_capacity(pass.tokens.len());
    for of_tap in &pass.tokens {
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
    Ok((parts, pass.backward(cotangents)?))
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
