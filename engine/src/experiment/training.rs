//! What a run tells of a stage that `loupe train` trained: how its losses fell, and which epoch it runs with.
//! A state file says so itself, so that an oracle's stays one under whatever pipeline it is run.

use loupe_datasets::Dataset;
use serde::Serialize;
use serde_json::Value as Json;

use crate::pipeline::model::{Pipeline, Setting};
use crate::run::state_file;
use crate::train::{facts_of, read_curve};

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
    let mut trained = pipeline.stages.iter().filter(|stage| stage.trained);
    let state = state_file(trained.find_map(|stage| stage.state.as_deref())?, class);
    let facts = facts_of(&state)?;
    let fact = |name: &str| facts.get(name).and_then(Json::as_str);
    let train: Option<Json> = fact("train").and_then(|text| serde_json::from_str(text).ok());
    let keep = train.as_ref().and_then(|train| train.get("keep")?.as_str());
    let (names, epochs) = read_curve(&state);
    let kept_epoch = fact("epochs").and_then(|text| text.parse().ok());
    Some(TrainingRecord { names, epochs, kept_epoch, oracle: keep == Some("best-test") })
}

/// The setting of a run over these classes: the pipeline's, or `oracle` if one of their states is an oracle's.
pub fn setting(pipeline: &Pipeline, dataset: &Dataset) -> Setting {
    let of_class = |name: &str| training_record(pipeline, name).is_some_and(|it| it.oracle);
    let is_oracle = dataset.classes.iter().any(|class| of_class(&class.name));
    if is_oracle { Setting::Oracle } else { pipeline.setting }
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
