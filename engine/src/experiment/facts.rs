//! What a cell's numbers depend on, gathered for the record.

use std::path::Path;

use super::Cell;
use super::record::{CellFacts, FileFacts, PluginFacts};
use crate::pipeline::model::{Component, Pipeline, Setting, Stage};
use crate::plugin::Loader;
use crate::plugin::info::Catalog;
use crate::run::{RunError, file_digest, hex, numerics};

/// Number of the layout of the run folder's JSON.
pub const SCHEMA: u32 = 1;

/// The files that a pipeline's stages name, by content. Errors: one cannot be read.
pub fn file_facts(pipeline: &Pipeline) -> Result<Vec<FileFacts>, RunError> {
    let mut files = Vec::new();
    for stage in &pipeline.stages {
        for file in stage.opened_files() {
            let blake3 = hex(&file_digest(Path::new(&file))?);
            files.push(FileFacts { stage: stage.name.clone(), file, blake3 });
        }
    }
    Ok(files)
}

/// Facts of a cell. `files` are those of its pipeline: weights are large, and cells share them.
pub fn facts(
    name: &str,
    cell: &Cell<'_>,
    loader: &Loader,
    files: &[FileFacts],
    setting: Setting,
) -> CellFacts {
    let pipeline = cell.engine.pipeline;
    let plugin = |stage: &Stage| match &stage.component {
        Component::Plugin { kind, name } => loader.component(*kind, name).map(|info| PluginFacts {
            component: info.name.clone(),
            kind: info.kind.to_string(),
            revision: info.revision,
            plugin: info.plugin.clone(),
            version: info.plugin_version.clone(),
            precision: stage.precision().map(str::to_owned),
        }),
        _ => None,
    };
    let mut plugins: Vec<PluginFacts> = pipeline.stages.iter().filter_map(plugin).collect();
    plugins.sort_by(|a, b| (&a.kind, &a.component).cmp(&(&b.kind, &b.component)));
    plugins.dedup();
    CellFacts {
        schema: SCHEMA,
        loupe: env!("CARGO_PKG_VERSION").to_owned(),
        name: name.to_owned(),
        dataset: cell.dataset.layout.clone(),
        root: cell.dataset.root.clone(),
        shots: cell.references.shots,
        seed: cell.references.seed,
        setting,
        protocols: cell.protocols.iter().map(|protocol| protocol.name.to_string()).collect(),
        numerics: numerics().to_owned(),
        plugins,
        files: files.to_vec(),
    }
}
