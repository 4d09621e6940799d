//! Evaluates anomaly maps of any tool: a tree of map files beside a tree of masks becomes the table
//! of every protocol asked for, class by class, with no pipeline and in bounded memory.

mod class;
mod csv;
mod npy;
mod pair;
mod read;
#[cfg(test)]
mod tests;

pub use class::{ClassEvaluator, Measured, Prepared};
pub use read::{AnomalyMap, read_map};

use std::path::{Path, PathBuf};

use rayon::prelude::*;
use serde::Serialize;

use crate::image::{ImageError, Mask, decode_mask};
use crate::metrics::{
    ClassMetrics, DEFAULT_LIMITS, MetricError, Protocol, format_table, mean_over_classes,
};

use csv::Scores;
use pair::{Class, Pair};

/// What to evaluate and how.
#[derive(Clone, Debug)]
pub struct EvalOptions {
    /// `MAPS/[class/][test/]kind/stem.{tiff,tif,npy,png}`
    pub maps: PathBuf,
    /// `MASKS/[class/][ground_truth/]kind/stem[_mask].png`
    pub masks: PathBuf,
    /// Names of [`Protocol`]s.
    pub protocols: Vec<String>,
    /// A mask pixel is anomalous if its 8-bit value is above this.
    pub mask_above: u8,
    /// Limits L of `pixel.aupro@L`.
    pub limits: Vec<f64>,
    /// A file of `path,score` lines; without it an image's score is its map's maximum.
    pub scores: Option<PathBuf>,
    /// Folders of normal images, which need no mask.
    pub normal_kinds: Vec<String>,
    /// Memory for sorted scores; beyond it they go to temporary files. Bytes.
    pub budget_bytes: usize,
}

impl EvalOptions {
    /// Protocol `native`, any mask pixel but 0, scores by maximum, 384 MiB.
    pub fn new(maps: impl Into<PathBuf>, masks: impl Into<PathBuf>) -> Self {
        EvalOptions {
            maps: maps.into(),
            masks: masks.into(),
            protocols: vec!["native".to_string()],
            mask_above: 0,
            limits: DEFAULT_LIMITS.to_vec(),
            scores: None,
            normal_kinds: ["good", "ok", "normal"].map(String::from).to_vec(),
            budget_bytes: 384 << 20,
        }
    }
}

/// The classes under one protocol, and their unweighted mean.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ProtocolTable {
    pub protocol: String,
    pub about: String,
    pub classes: Vec<ClassMetrics>,
    pub mean: Option<ClassMetrics>,
}

/// The result: one table a protocol, and what a reader must know beside the numbers.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct EvalTable {
    pub tables: Vec<ProtocolTable>,
    pub n_images: usize,
    pub notes: Vec<String>,
}

impl EvalTable {
    /// Aligned tables, percent with one decimal; the mean stands last when there are two classes
    /// or more.
    pub fn to_text(&self) -> String {
        let text = |table: &ProtocolTable| {
            let mut rows = table.classes.clone();
            rows.extend(table.mean.clone().filter(|_| table.classes.len() > 1));
            format_table(&rows)
        };
        self.tables.iter().map(text).collect::<Vec<_>>().join("\n")
    }
}

/// What stops an evaluation; every variant names its file.
#[derive(Debug, thiserror::Error)]
pub enum EvalError {
    #[error("there is no protocol `{name}`; known are {known}")]
    Protocol { name: String, known: String },
    #[error("cannot read `{}`: {source}", path.display())]
    Read { path: PathBuf, source: std::io::Error },
    #[error(
        "no anomaly map under `{}`; wanted [class/][test/]kind/name.{{tiff,tif,npy,png}}",
        path.display()
    )]
    NoMaps { path: PathBuf },
    #[error(
        "`{}` is not at [class/][test/]kind/name below the maps; \
         `kind` is the defect's folder, or that of the normal images",
        path.display()
    )]
    Place { path: PathBuf },
    #[error("`{}` and `{}` are maps of one image; keep one", one.display(), other.display())]
    Twice { one: PathBuf, other: PathBuf },
    #[error(
        "map `{}` has no mask (looked for `{}` and its variants), and `{kind}` is not a folder of \
         normal images ({normal})",
        map.display(), wanted.display()
    )]
    NoMask { map: PathBuf, wanted: PathBuf, kind: String, normal: String },
    #[error("map `{}` is {got}; wanted {want}", path.display())]
    Map { path: PathBuf, got: String, want: &'static str },
    #[error("`{}` line {line}: {got}; wanted `path,score`", path.display())]
    Scores { path: PathBuf, line: usize, got: String },
    #[error("`{}` has no score for map `{map}`", path.display())]
    NoScore { path: PathBuf, map: String },
    #[error("map `{name}` cannot be resized: {source}")]
    Resize { name: String, source: loupe_kernels::KernelError },
    #[error(transparent)]
    Mask(#[from] ImageError),
    #[error(transparent)]
    Metric(#[from] MetricError),
}

/// Runs the evaluation. Deterministic; one class is in memory at a time.
/// Errors: see [`EvalError`]; nothing is skipped silently.
pub fn run(options: &EvalOptions) -> Result<EvalTable, EvalError> {
    let protocols = find_protocols(&options.protocols)?;
    let scores = options.scores.as_deref().map(Scores::read).transpose()?;
    let found = pair::find(options)?;
    let mut notes = found.notes;
    notes.push(match &options.scores {
        Some(path) => format!("image scores are those of `{}`", path.display()),
        None => "image scores are the maxima of the maps".to_string(),
    });
    let mut rows: Vec<Vec<ClassMetrics>> = vec![Vec::new(); protocols.len()];
    let mut n_images = 0;
    for class in &found.classes {
        n_images += class.pairs.len();
        let metrics = evaluate(class, &protocols, options, scores.as_ref(), &mut notes)?;
        for (rows, metrics) in rows.iter_mut().zip(metrics) {
            rows.push(metrics);
        }
    }
    let table = |(protocol, classes): (&Protocol, Vec<ClassMetrics>)| ProtocolTable {
        protocol: protocol.name.to_string(),
        about: protocol.about.to_string(),
        mean: mean_over_classes(&classes),
        classes,
    };
    let tables = protocols.iter().zip(rows).map(table).collect();
    Ok(EvalTable { tables, n_images, notes })
}

/// Looks protocols up by name. Errors: `Protocol` with the known names.
pub fn find_protocols(names: &[String]) -> Result<Vec<Protocol>, EvalError> {
    let find = |name: &String| {
        Protocol::find(name).ok_or_else(|| EvalError::Protocol {
            name: name.clone(),
            known: Protocol::names().collect::<Vec<_>>().join(", "),
        })
    };
    names.iter().map(find).collect()
}

/// One decoded image, ready to be counted.
struct Loaded {
    prepared: Prepared,
    score: f64,
    anomalous: bool,
    upsampled: bool,
}

fn evaluate(
    class: &Class,
    protocols: &[Protocol],
    options: &EvalOptions,
    scores: Option<&Scores>,
    notes: &mut Vec<String>,
) -> Result<Vec<ClassMetrics>, EvalError> {
    let (limits, budget) = (&options.limits, options.budget_bytes);
    let mut evaluator = ClassEvaluator::new(&class.name, protocols, limits, budget)?;
    let mut n_upsampled = 0;
    // A few images at a time are decoded and resized side by side.
    for pairs in class.pairs.chunks(rayon::current_num_threads().clamp(1, 8)) {
        let load = |pair: &Pair| load(pair, class.mask_size, &evaluator, options, scores);
        let loaded: Vec<_> = pairs.par_iter().map(load).collect();
        for (pair, loaded) in pairs.iter().zip(loaded) {
            let loaded = loaded?;
            n_upsampled += usize::from(loaded.upsampled);
            let name = pair.map.display().to_string();
            evaluator.push(&name, loaded.score, loaded.anomalous, loaded.prepared)?;
        }
    }
    if n_upsampled > 0 {
        notes.push(format!(
            "`{}`: {n_upsampled} of {} maps resized to their masks (bilinear, half-pixel centres)",
            class.name,
            class.pairs.len()
        ));
    }
    let kept = class.pairs.iter().filter(|pair| pair.mask.is_none()).count();
    if n_upsampled > 0 && class.mask_size.is_none() && kept > 0 {
        notes.push(format!(
            "`{}`: {kept} normal maps keep their own size, since the masks differ in size; a black \
             mask of the image's size beside each lets its pixels count in full",
            class.name
        ));
    }
    Ok(evaluator.finish()?.rows)
}

fn load(
    pair: &Pair,
    class_size: Option<[usize; 2]>,
    evaluator: &ClassEvaluator,
    options: &EvalOptions,
    scores: Option<&Scores>,
) -> Result<Loaded, EvalError> {
    let map = read_map(&pair.map)?;
    let mask = pair.mask.as_deref().map(|path| read_mask(path, options.mask_above)).transpose()?;
    let own = [map.height, map.width];
    let size = match &mask {
        Some(mask) => [mask.height, mask.width],
        None => class_size.unwrap_or(own),
    };
    let name = pair.map.display().to_string();
    map.check_finite(&name)?;
    let score = match scores {
        Some(scores) => scores.get(pair)?,
        None => map.pixels.iter().copied().fold(f32::NEG_INFINITY, f32::max).into(),
    };
    let marked = mask.as_ref().is_some_and(|mask| mask.pixels.contains(&true));
    Ok(Loaded {
        prepared: evaluator.prepare(&name, &map, mask, size)?,
        score,
        anomalous: marked || !pair.normal,
        upsampled: own != size,
    })
}

fn read_mask(path: &Path, mask_above: u8) -> Result<Mask, EvalError> {
    let bytes = std::fs::read(path)
        .map_err(|source| EvalError::Read { path: path.to_path_buf(), source })?;
    Ok(decode_mask(&bytes, &path.display().to_string(), mask_above)?)
}
