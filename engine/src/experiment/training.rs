//! What a run tells of a stage that `loupe train` trained: how its losses fell, and which epoch it runs with.
//! A state file says so itself, so that an oracle's stays one under whatever pipeline it is run.

use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

use loupe_datasets::Dataset;
use serde::Serialize;
use serde_json::{Map, Value as Json};

use crate::pipeline::model::{Pipeline, Setting};
use crate::run::state_file;

/// Longest header of a safetensors file, in bytes; the format's own limit.
const MOST_HEADER: u64 = 100_000_000;

/// How a class's adapters came about.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct TrainingRecord {
    /// The columns of `epochs`: `loss`, and its parts.
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
    let curve = fs::read_to_string(state.with_extension("losses.csv")).unwrap_or_default();
    let (names, epochs) = table(&curve);
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

/// Metadata of a safetensors file, whose arrays are not read.
fn facts_of(path: &Path) -> Option<Map<String, Json>> {
    let mut file = File::open(path).ok()?;
    let mut length = [0; 8];
    file.read_exact(&mut length).ok()?;
    let length = Some(u64::from_le_bytes(length)).filter(|length| *length <= MOST_HEADER)?;
    let mut header = Vec::new();
    file.take(length).read_to_end(&mut header).ok()?;
    let header: Json = serde_json::from_slice(&header).ok()?;
    header.get("__metadata__")?.as_object().cloned()
}

/// `epoch,loss,PART..` and its lines, without the first column. A line that is no such numbers ends it.
fn table(text: &str) -> (Vec<String>, Vec<Vec<f64>>) {
    let mut lines = text.lines();
    let names: Vec<String> =
        lines.next().unwrap_or_default().split(',').skip(1).map(str::to_owned).collect();
    let numbers = |line: &str| {
        let values: Option<Vec<f64>> =
            line.split(',').skip(1).map(|field| field.parse().ok()).collect();
        values.filter(|values| values.len() == names.len() && !values.is_empty())
    };
    let epochs = lines.map_while(numbers).collect();
    (names, epochs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_curve_is_read_up_to_what_is_no_line_of_it() {
        let (names, epochs) =
            table("epoch,loss,seg dice\n1,2.5,0.5\n2,NaN,0.25\n3,1\n4,1.0,0.125\n");
        assert_eq!(names, ["loss", "seg dice"]);
        assert_eq!((epochs.len(), &epochs[0]), (2, &vec![2.5, 0.5]));
        assert!(epochs[1][0].is_nan());
        assert_eq!(table(""), (Vec::new(), Vec::new()));
    }

    #[test]
    fn facts_stand_in_a_header_and_lies_about_it_have_none() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.safetensors");
        let facts = |bytes: Vec<u8>| {
            fs::write(&path, bytes).unwrap();
            facts_of(&path)
        };
        let header = br#"{"__metadata__":{"epochs":"7"}}"#;
        let file = [&(header.len() as u64).to_le_bytes()[..], header, b"arrays"].concat();
        assert_eq!(facts(file).unwrap()["epochs"], "7");
        assert_eq!(facts(vec![1, 2]), None);
        assert_eq!(facts([u64::MAX.to_le_bytes().to_vec(), header.to_vec()].concat()), None);
        assert_eq!(facts([9_u64.to_le_bytes().to_vec(), b"[]".to_vec()].concat()), None);
    }

    #[test]
    fn settings_have_one_spelling() {
        assert_eq!(setting_word(Setting::FewShotWithAnomalies), "few-shot-with-anomalies");
        assert_eq!(setting_word(Setting::Oracle), "oracle");
    }
}
