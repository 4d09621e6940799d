//! What a run found out, as plain data: the report and the run folder are made from it.

use std::path::PathBuf;

use serde::Serialize;

use super::training::TrainingRecord;
use crate::metrics::ClassMetrics;
use crate::pipeline::model::Setting;

/// Facts about one cell: a pipeline with its shots and its seed.
#[derive(Clone, Debug, Serialize)]
pub struct CellFacts {
    /// Number of this layout of facts.
    pub schema: u32,
    pub loupe: String,
    pub name: String,
    pub dataset: String,
    pub root: PathBuf,
    pub shots: usize,
    pub seed: u64,
    pub setting: Setting,
    pub protocols: Vec<String>,
    pub numerics: String,
    pub plugins: Vec<PluginFacts>,
    pub files: Vec<FileFacts>,
}

/// A component that took part.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PluginFacts {
    pub component: String,
    pub kind: String,
    pub revision: u32,
    pub plugin: String,
    pub version: String,
    /// What its products were rounded to, where it tells.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub precision: Option<String>,
}

/// A file that a stage's config names, by content.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FileFacts {
    pub stage: String,
    pub file: PathBuf,
    pub blake3: String,
}

/// One class, measured.
#[derive(Clone, Debug, Serialize)]
pub struct ClassRecord {
    pub class: String,
    pub display: String,
    pub references: Vec<ReferenceRecord>,
    pub images: Vec<ImageRecord>,
    /// One row per protocol, in the order of the facts.
    pub metrics: Vec<ClassMetrics>,
    /// Score of a map from which pictures call a pixel anomalous: the one of the highest F1 of the first protocol's
    /// pixels, by the test's masks. `None` without masks.
    pub threshold: Option<f32>,
    /// How what it was judged with was trained.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub training: Option<TrainingRecord>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ReferenceRecord {
    pub name: String,
    pub blake3: String,
}

/// One image under test.
#[derive(Clone, Debug, Serialize)]
pub struct ImageRecord {
    pub name: String,
    pub path: PathBuf,
    pub kind: String,
    pub anomalous: bool,
    pub mask: Option<PathBuf>,
    pub anomaly_score: Option<f64>,
    /// File of its map in the run folder.
    pub map: Option<PathBuf>,
    #[serde(skip)]
    pub from_cache: bool,
    #[serde(skip)]
    pub ms: f64,
}
