//! What a run tells of a stage that `loupe train` trained: how its losses fell, and which epoch it runs with.
//! A state file says so itself, so that an oracle's stays one under whatever pipeline it is run.

use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;

use serde::Serialize;
use serde_json::{Map, Value as Json};

use super::{Cell, ExperimentError};
use crate::data;
use crate::pipeline::model::{Pipeline, Setting, Stage};
use crate::run::{ClassImages, Image, state_file};
use crate::train::{Origin, facts_of, read_curve};

/// How a class's adapters came about.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct TrainingRecord {
    /// The columns of `epochs`: `loss`, `held-out` where something is, and the parts of `loss`.
    pub names: Vec<String>,
    /// A line an epoch, means over its samples.
    pub epochs: Vec<Vec<f64>>,
    /// Counted from 1.
    pub kept_epoch: Option<usize>,
    /// The epoch was chosen by its figures on the test set.
    pub oracle: bool,
}

/// The training of a class, as far as its files tell. `None`: the pipeline has no trained stage, or a state that
/// `loupe train` did not write.
pub fn training_record(pipeline: &Pipeline, class: &str) -> Option<TrainingRecord> {
    let state = StateFile::of(pipeline, class)?;
    let keep = state.fact("train").and_then(|text| serde_json::from_str::<Json>(text).ok());
    let oracle = keep.as_ref().and_then(|train| train.get("keep")?.as_str()) == Some("best-test");
    let (names, epochs) = read_curve(&state.path);
    let kept_epoch = state.fact("epochs").and_then(|text| text.parse().ok());
    Some(TrainingRecord { names, epochs, kept_epoch, oracle })
}

/// A state that `loupe train` wrote.
struct StateFile {
    path: PathBuf,
    /// It lies in a folder under the name of the class that reads it; else one file is named for all.
    in_folder: bool,
    facts: Map<String, Json>,
}

impl StateFile {
    fn of(pipeline: &Pipeline, class: &str) -> Option<StateFile> {
        let place = |stage: &Stage| match &stage.state {
            Some(folder) => stage.trained.then(|| (state_file(folder, class), true)),
            None => Some((stage.config.get("state")?.as_str()?.into(), false)),
        };
        let (path, in_folder) = pipeline.stages.iter().find_map(place)?;
        let facts = facts_of(&path).filter(|facts| facts.contains_key("training"))?;
        Some(StateFile { path, in_folder, facts })
    }

    fn fact(&self, name: &str) -> Option<&str> {
        self.facts.get(name).and_then(Json::as_str)
    }
}

/// What the figures of a cell are worth, as the states that its classes read tell.
pub struct Standing {
    /// The pipeline's, or `oracle` if a state is an oracle's or has learned from what is tested.
    pub setting: Setting,
    pub warnings: Vec<String>,
}

/// Holds each class's state against the cell. A state without an origin, of an older file or of another
/// program, says nothing. Errors: `OtherClass`, `Data`.
pub fn standing(cell: &Cell<'_>) -> Result<Standing, ExperimentError> {
    let pipeline = cell.engine.pipeline;
    let mut standing = Standing { setting: pipeline.setting, warnings: Vec::new() };
    // Numbers of shots are the same for most classes: they are said once.
    let mut shots: BTreeMap<[usize; 2], Vec<&str>> = BTreeMap::new();
    for class in &cell.dataset.classes {
        if training_record(pipeline, &class.name).is_some_and(|record| record.oracle) {
            standing.setting = Setting::Oracle;
        }
        let Some(state) = StateFile::of(pipeline, &class.name) else { continue };
        let Some(origin) = Origin::read(&state.facts) else { continue };
        standing.warnings.extend(other_class(&state, &origin, &class.name)?);
        let images = data::class_images(class, &cell.references, pipeline.compat);
        let (images, _) =
            images.map_err(|source| ExperimentError::Data { class: class.name.clone(), source })?;
        if origin.class.is_some() && origin.shots != images.references.len() {
            shots.entry([origin.shots, images.references.len()]).or_default().push(&class.name);
        }
        if let Some(warning) = leaked(&state, &origin, &images) {
            standing.setting = Setting::Oracle;
            standing.warnings.push(warning);
        }
    }
    standing.warnings.extend(shots.iter().map(|([learned, run], classes)| {
        let classes = classes.join("`, `");
        format!(
            "class `{classes}`: trained with shots = {learned}, run with shots = {run}; train with \
             as many, or into another `state` for each"
        )
    }));
    Ok(standing)
}

fn other_class(
    state: &StateFile,
    origin: &Origin,
    class: &str,
) -> Result<Option<String>, ExperimentError> {
    let Some(trained_for) = origin.class.clone().filter(|name| name != class) else {
        return Ok(None);
    };
    let (class, path) = (class.to_owned(), state.path.clone());
    match state.in_folder {
        true => Err(ExperimentError::OtherClass { class, path, trained_for }),
        false => Ok(Some(format!(
            "class `{class}`: `{}` was trained for class `{trained_for}`",
            path.display()
        ))),
    }
}

/// What to say where images under test were learned from. Copies of what the run itself takes as references
/// are not held against the state.
fn leaked(state: &StateFile, origin: &Origin, images: &ClassImages) -> Option<String> {
    let own: HashSet<[u8; 32]> = images.all_references().map(|image| image.digest).collect();
    let is_leak = |image: &&Image| origin.knows(image) && !own.contains(&image.digest);
    let n = images.tests.iter().filter(is_leak).count();
    (n > 0).then(|| {
        format!(
            "class `{}`: `{}` has learned from {n} of the {} images under test, so that the figures are \
             an oracle's; run with the seed and the references that it was trained with, or train anew",
            images.name,
            state.path.display(),
            images.tests.len()
        )
    })
}

/// A setting as tables and files spell it: `few-shot-with-anomalies`.
pub fn setting_word(setting: Setting) -> String {
    let word = serde_json::to_value(setting).ok();
    word.as_ref().and_then(Json::as_str).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_have_one_spelling() {
        assert_eq!(setting_word(Setting::FewShotWithAnomalies), "few-shot-with-anomalies");
        assert_eq!(setting_word(Setting::Oracle), "oracle");
    }
}
