//! A pipeline after `check`: every name resolved, every key typed, stages in an order in which they can run.
//! `run` reads this and nothing else of the file.

use std::path::PathBuf;

use serde::Serialize;
use serde_json::{Map, Value};

use crate::plugin::info::{Facts, Kind, Scope, ValueKind, Verb};

/// A checked pipeline.
#[derive(Clone, Debug, Serialize)]
pub struct Pipeline {
    /// The file it came from, and those it extends, nearest first.
    pub files: Vec<PathBuf>,
    /// The command that fills its prompt caches.
    #[serde(skip)]
    pub fill: String,
    pub data: Option<Data>,
    /// Inputs of a stage always stand before it.
    pub stages: Vec<Stage>,
    pub output: Output,
    pub train: Option<Train>,
    pub compat: Compat,
    pub protocols: Vec<String>,
    pub hooks: Option<PathBuf>,
    pub run: Run,
    /// `[[test]]` tables, as they stand.
    pub tests: Vec<Value>,
    /// What the run reads that a query alone would not give: `inductive`, `transductive`, `oracle`, ...
    pub setting: Setting,
    /// The whole file after `extends`, `${VAR}` and `--set`, with defaults filled in; written into the run folder.
    pub resolved: Value,
    /// Key path -> where its value comes from (`fade.toml:12`, `--set`, `default`).
    pub origins: Vec<(String, String)>,
    pub warnings: Vec<String>,
}

/// `[data]`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Data {
    /// Name of a layout or path of a layout file.
    pub dataset: String,
    pub root: PathBuf,
    /// `None`: all.
    pub classes: Option<Vec<String>>,
    pub mask_above: Option<u8>,
    pub references: References,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct References {
    pub shots: usize,
    /// Anomalous reference images of each kind, with their masks.
    pub anomalous: usize,
    /// `anomalous = "shots"`: as many as normal ones, whatever their number.
    pub paired: bool,
    pub seed: u64,
    /// `seeded`, `first`, `torch`, `torch-lmfa` or `manifest`.
    pub select: String,
    pub manifest: Option<PathBuf>,
}

impl References {
    /// The same with other shots and another seed.
    pub fn with(&self, shots: usize, seed: u64) -> References {
        let anomalous = if self.paired { shots } else { self.anomalous };
        References { shots, anomalous, seed, ..self.clone() }
    }
}

impl Pipeline {
    /// `[train]`, where there is a folder for what is learned: a state that is a file is only read.
    pub fn learns(&self) -> Option<&Train> {
        self.train.as_ref().filter(|train| self.stages[train.stage].state.is_some())
    }

    /// Why it cannot run with so many references: a stage has nothing but these to learn from, as its component says.
    pub fn lacks_references(&self, shots: usize) -> Option<String> {
        let learns = |stage: &&Stage| {
            stage.fit_on == Some(FitOn::References) && stage.facts.all["learns"].is_object()
        };
        let stage = self.stages.iter().find(learns).filter(|_| shots == 0)?;
        let instead = stage.facts.all["learns"]["instead"].as_str().unwrap_or("leave it out");
        Some(format!(
            "`data.references.shots` is 0, but stage `{}` learns from references: give 1 or more; or {instead}",
            stage.name
        ))
    }
}

/// One stage: a component applied to named values.
#[derive(Clone, Debug, Serialize)]
pub struct Stage {
    pub name: String,
    pub component: Component,
    /// The component's own keys, defaults filled in, files resolved to absolute paths.
    pub config: Map<String, Value>,
    /// Places in `config` that name a file the engine opens, after resolution: `weights`, `files.0`.
    pub files: Vec<String>,
    pub inputs: Vec<Input>,
    pub fit_on: Option<FitOn>,
    /// What the fit's images become first.
    pub augment: Option<Augment>,
    /// Folder for what each class's fit learned, a file each; of a component that `loupe train` trains,
    /// the folder that it is read from.
    pub state: Option<PathBuf>,
    /// It learns by gradients, from `[train]`.
    pub trained: bool,
    /// Index of the encoder stage that turns this prompts stage's sentences into embeddings.
    pub embed_with: Option<usize>,
    /// A fusion that stands on an encoder's taps.
    pub taps: Option<Taps>,
    /// Labels over which the engine maps the component, in order; empty: it is called once, and a
    /// list that feeds a port for many values is folded into its items. A fusion on taps holds every
    /// pair of size and tap.
    pub mapped: Vec<Label>,
    pub outputs: Vec<StageOutput>,
    pub facts: Facts,
}

impl Stage {
    /// Paths of the files that the component may open: what `files` names.
    pub fn opened_files(&self) -> Vec<PathBuf> {
        let config = Value::Object(self.config.clone());
        let path = |place: &String| config.pointer(&pointer(place))?.as_str().map(PathBuf::from);
        self.files.iter().filter_map(path).collect()
    }

    /// What its products are rounded to: as its component tells it, which knows what `auto` became, or as
    /// its config says.
    pub fn precision(&self) -> Option<&str> {
        self.facts.all.get("precision").or_else(|| self.config.get("precision"))?.as_str()
    }
}

/// A place in a config as a JSON pointer: `files.0` is `/files/0`.
pub fn pointer(place: &str) -> String {
    format!("/{}", place.replace('.', "/"))
}

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Component {
    Plugin { kind: Kind, name: String },
    Prepare(Prepare),
    Map(MapTo),
    Pool(Pool),
}

/// The prepare stage that gives the mask of what a fit's `augment` painted; it decodes no colours.
pub const PAINTED_MASK: &str = "painted-mask";

/// `prepare = "square"`: decode, resize, normalise.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Prepare {
    /// `square` or `shorter-side`.
    pub geometry: String,
    pub sizes: Vec<u32>,
    /// `pillow-bicubic`, `pillow-bilinear`, ...
    pub filter: String,
    /// `clip`, `imagenet`, `none`, or six numbers as mean and deviation.
    pub normalize: Normalize,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Normalize {
    pub mean: [f32; 3],
    pub std: [f32; 3],
}

/// `map = "bilinear"`: a grid of scores onto pixels.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MapTo {
    /// `bilinear`, `bilinear-align-corners`, `opencv-bilinear`, `nearest`.
    pub mode: String,
    pub size: u32,
    /// `sigmoid`, if named.
    pub then: Option<String>,
    /// Gaussian smoothing after it, in pixels; 0 for none.
    pub sigma_px: f32,
}

/// `pool = "max"`: a map to one score.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Pool {
    /// `max`, `mean`, `top-fraction` or `quantile`.
    pub rule: String,
    /// Fraction of `top-fraction`, level of `quantile`.
    pub fraction: f32,
}

/// The values wired to one port.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Input {
    pub port: String,
    /// Index in the component's ports; 0 for the engine's own kinds.
    pub port_index: u32,
    pub verb: Verb,
    pub values: Vec<ValueRef>,
}

/// `stage.output@label`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ValueRef {
    pub stage: usize,
    pub output: String,
    pub select: Select,
}

/// Which tensors of a list: `@240`, `@[240,448]`, `@*.6`, `@240.6`. Both `None`: the whole value.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Select {
    pub sizes: Option<Vec<u32>>,
    pub taps: Option<Vec<u32>>,
    /// The selector names exactly one tensor, so that the value is a `tensor`.
    pub single: bool,
}

/// What an output of a stage is, for those who read it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StageOutput {
    pub name: String,
    /// Index in the component's ports.
    pub port_index: u32,
    pub kind: ValueKind,
    pub scope: Scope,
    /// Labels of a list, in order; empty for anything else.
    pub labels: Vec<Label>,
    /// Dimensions after binding what is known: `["b", "15", "15", "640"]`.
    pub shape: Option<Vec<String>>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Label {
    pub size: Option<u32>,
    pub tap: Option<u32>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Taps {
    pub encoder: usize,
    pub at: Vec<u32>,
}

/// What a fit sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum FitOn {
    References,
    AnomalousReferences,
    Auxiliary,
    TestSet,
    TestLabels,
    /// The fit's inputs belong to the class or the run, as a text model's do.
    Inputs,
}

/// What the images of a fit become first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Augment {
    /// `{ defects = 16 }`: in the place of each image, so many retaken photographs of it; every second
    /// one has a painted defect.
    Painted { defects: usize, seed: u64 },
    /// `"mvfa-11"`: each image, turned four ways, moved four ways, and mirrored two ways.
    Mvfa11,
}

/// `[train]`: how the adapters of a stage on taps learn.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Train {
    pub stage: usize,
    /// The prompts stage whose embeddings the tokens are compared with.
    pub text: usize,
    pub augment: Option<Augment>,
    /// Other data sets whose test images are learned from, beside the references.
    pub auxiliary: Vec<Data>,
    /// Losses of each head's tokens.
    pub losses: Vec<HeadLosses>,
    pub optimizer: Adam,
    /// Multiplies the cosine of a token and a text embedding.
    pub scale: f64,
    /// How masks come to the side of the prepared images.
    pub masks: MaskFilter,
    pub epochs: usize,
    pub keep: Keep,
    /// Share of the references that is not learned from; its loss is taken after each epoch.
    pub held_out: Option<f64>,
    pub patience: Option<Patience>,
}

/// Losses of the tokens `HEAD_tokens`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct HeadLosses {
    pub head: String,
    pub of: Vec<Loss>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Loss {
    BceOnProbability,
    Focal,
    Dice,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Adam {
    pub lr: f64,
    pub betas: [f64; 2],
    pub eps: f64,
}

/// How a mask is made smaller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum MaskFilter {
    /// The nearest pixel, as Pillow takes it.
    Nearest,
    /// Antialiased bilinear; what comes out above a half is anomalous.
    Smooth,
}

/// Training ends when the watched loss has not fallen for so long.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Patience {
    pub epochs: usize,
    /// A fall of the loss counts if it is larger.
    pub min_delta: f64,
}

/// Which epoch's parameters are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Keep {
    Last,
    /// The epoch with the lowest loss of the references that are held out.
    BestHeldOut,
    /// The epoch with the best figures on the test set: an oracle.
    BestTest,
}

/// `[compat]`: what an original does that nobody would want, for comparing with its figures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Compat {
    /// References that were test images are tested all the same: an oracle.
    pub test_learned: bool,
}

/// What the run is called in every table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Setting {
    #[default]
    Inductive,
    FewShotWithAnomalies,
    AuxiliaryTrained,
    Batched,
    Transductive,
    Oracle,
}

/// `[output]`: what is evaluated and shown.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Output {
    pub anomaly_map: Option<ValueRef>,
    pub anomaly_score: Option<ValueRef>,
}

/// `[run]`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Run {
    pub seed: u64,
    /// `auto` or `cpu`.
    pub device: String,
    /// 0: all cores.
    pub threads: usize,
    /// Bytes.
    pub memory: u64,
    /// Stored element types: `f32`, `f16` or `off`.
    pub cache_features: String,
    pub cache_stages: String,
}
