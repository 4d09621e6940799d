//! Scores of single images without a data set: references come as files, images as they are named,
//! and a yes or no from a threshold that the references alone give.
//!
//! The threshold is fitted by leaving one out: each reference is scored by a run that has all the
//! others as its references, so that no image is compared with itself, and a quantile of those
//! scores is taken.

use std::path::{Path, PathBuf};

use serde::Serialize;
use thiserror::Error;

use crate::data;
use crate::pipeline::model::{FitOn, Pipeline};
use crate::plugin::PluginError;
use crate::run::{ClassImages, ClassRun, Engine, Image, RunError, Scored};

/// With fewer references a threshold says little.
pub const FEW_REFERENCES: usize = 8;
/// So many references are left out at most, evenly spread: each costs a fit.
const MOST_LEFT_OUT: usize = 50;

#[derive(Debug, Error)]
pub enum PredictError {
    #[error("{which} fits on {what}; `predict` has references alone: use `loupe run`")]
    Fit { which: String, what: &'static str },
    #[error("{which} fits on references, and there are none: give `--reference FILE-OR-FOLDER`")]
    NoReferences { which: String },
    #[error("reference `{path}`: {source}", path = path.display())]
    Reference { path: PathBuf, source: RunError },
    #[error("`{path}` has no images that can serve as references", path = path.display())]
    EmptyFolder { path: PathBuf },
    #[error("the pipeline names neither `anomaly_map` nor `anomaly_score` in [output]")]
    NoOutput,
}

/// Why a pipeline cannot run on images that come one by one.
/// Errors: `Fit`, `NoReferences`, `NoOutput`.
pub fn suits(pipeline: &Pipeline, n_references: usize) -> Result<(), PredictError> {
    if pipeline.output.anomaly_map.is_none() && pipeline.output.anomaly_score.is_none() {
        return Err(PredictError::NoOutput);
    }
    for stage in &pipeline.stages {
        let which = format!("stage `{}`", stage.name);
        let what = match stage.fit_on {
            Some(FitOn::TestSet) => "the whole test set",
            Some(FitOn::TestLabels) => "the labels of the test set",
            Some(FitOn::AnomalousReferences) => "anomalous references",
            Some(FitOn::Auxiliary) => "other data sets",
            Some(FitOn::References) if n_references == 0 => {
                return Err(PredictError::NoReferences { which });
            }
            _ => continue,
        };
        return Err(PredictError::Fit { which, what });
    }
    Ok(())
}

/// Opens references: files, or folders of images in the order of their names. One image counts
/// once.
/// Errors: `Reference`, `EmptyFolder`.
pub fn open_references(paths: &[PathBuf]) -> Result<Vec<Image>, PredictError> {
    let mut images: Vec<Image> = Vec::new();
    for path in paths {
        let fail = |path: &Path| {
            let path = path.to_owned();
            move |source| PredictError::Reference { path, source }
        };
        let files = data::list_images(path).map_err(fail(path))?;
        if files.is_empty() {
            return Err(PredictError::EmptyFolder { path: path.clone() });
        }
        for file in files {
            let image = Image::open(&file.display().to_string(), &file).map_err(fail(&file))?;
            if images.iter().all(|known| known.digest != image.digest) {
                images.push(image);
            }
        }
    }
    Ok(images)
}

/// The score of an image: what the pipeline names, or the maximum of its map. `None` for neither.
pub fn score_of(scored: &Scored) -> Option<f64> {
    let peak = || {
        let map = scored.anomaly_map.as_ref()?;
        Some(f64::from(map.data().iter().copied().fold(f32::NEG_INFINITY, f32::max)))
    };
    scored.anomaly_score.or_else(peak)
}

/// Scores of the references, each by a run that does not have it; at most 50 of them, evenly
/// spread.
/// Errors: what the run reports.
pub fn leave_one_out(engine: &Engine<'_>, class: &ClassImages) -> Result<Vec<f64>, RunError> {
    let n = class.references.len();
    let n_left_out = n.min(MOST_LEFT_OUT);
    let mut scores = Vec::with_capacity(n_left_out);
    for turn in 0..n_left_out {
        engine.stop_if_cancelled()?;
        let mut class = class.clone();
        let image = class.references.remove(turn * n / n_left_out);
        scores.extend(score_of(&ClassRun::new(engine, class)?.score(&image)?));
    }
    Ok(scores)
}

/// The smallest of the scores that at least the share `quantile` of them does not exceed: with 0.95
/// and fewer than 20 scores, the largest. `None` for fewer than two scores, which say nothing of
/// their spread.
pub fn threshold_of(scores: &[f64], quantile: f64) -> Option<f64> {
    if scores.len() < 2 {
        return None;
    }
    let mut scores = scores.to_vec();
    scores.sort_by(f64::total_cmp);
    // A product that is whole but for rounding shall not count as the next number.
    let rank = (scores.len() as f64 * quantile - 1e-9).ceil().max(1.0) as usize;
    scores.get(rank.min(scores.len()) - 1).copied()
}

/// What is printed for an image.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Line {
    Scored {
        image: String,
        anomaly_score: Option<f64>,
        ms: f64,
        /// `None` without a threshold.
        anomalous: Option<bool>,
        threshold: Option<f64>,
        from_cache: bool,
        #[serde(skip_serializing_if = "Option::is_none")]
        map: Option<PathBuf>,
        #[serde(skip_serializing_if = "Option::is_none")]
        overlay: Option<PathBuf>,
    },
    Failed {
        image: String,
        error: String,
    },
}

impl Line {
    /// An image is anomalous if its score is above the threshold.
    pub fn scored(image: &str, scored: &Scored, threshold: Option<f64>) -> Line {
        let score = score_of(scored);
        Line::Scored {
            image: image.to_owned(),
            anomaly_score: score,
            // Microseconds are as fine as a clock is.
            ms: (scored.ms * 1e3).round() / 1e3,
            anomalous: score.zip(threshold).map(|(score, threshold)| score > threshold),
            threshold,
            from_cache: scored.from_cache,
            map: None,
            overlay: None,
        }
    }
}

/// Whether an error is of one image, so that the next may succeed.
pub fn is_of_image(error: &RunError) -> bool {
    match error {
        RunError::ReadImage { .. } | RunError::ImageChanged { .. } | RunError::Image(_) => true,
        RunError::Plugin(error) => {
            matches!(error, PluginError::Input { .. } | PluginError::Output { .. })
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugin::Tensor;

    fn scored(score: Option<f64>, map: Option<Vec<f32>>) -> Scored {
        let map = map.map(|map| Tensor::new(vec![1, 1, map.len()], map).unwrap());
        Scored { anomaly_map: map, anomaly_score: score, from_cache: true, ms: 1.234_567_8 }
    }

    #[test]
    fn the_threshold_is_an_order_statistic() {
        let ten: Vec<f64> = (1..=10).rev().map(f64::from).collect();
        let twenty: Vec<f64> = (1..=20).map(f64::from).collect();
        let cases = [
            (&ten[..], 0.95, Some(10.0)),
            (&ten, 0.5, Some(5.0)),
            (&ten, 0.9, Some(9.0)),
            (&ten, 0.0, Some(1.0)),
            (&ten, 1.0, Some(10.0)),
            (&twenty, 0.95, Some(19.0)),
            (&[3.0, 1.0], 0.95, Some(3.0)),
            (&[3.0], 0.95, None),
            (&[], 0.95, None),
        ];
        for (scores, quantile, want) in cases {
            assert_eq!(threshold_of(scores, quantile), want, "{} {quantile}", scores.len());
        }
    }

    #[test]
    fn a_line_has_a_score_or_an_error() {
        let check =
            |line: &Line, want: &str| assert_eq!(serde_json::to_string(line).unwrap(), want);
        check(
            &Line::scored("a.png", &scored(Some(0.5), None), Some(0.25)),
            r#"{"image":"a.png","anomaly_score":0.5,"ms":1.235,"anomalous":true,"threshold":0.25,"from_cache":true}"#,
        );
        check(
            &Line::scored("a.png", &scored(None, Some(vec![0.25, 0.75, 0.5])), None),
            r#"{"image":"a.png","anomaly_score":0.75,"ms":1.235,"anomalous":null,"threshold":null,"from_cache":true}"#,
        );
        check(
            &Line::Failed { image: "b\"".to_owned(), error: "no".to_owned() },
            r#"{"image":"b\"","error":"no"}"#,
        );
    }

    #[test]
    fn a_score_at_the_threshold_is_normal() {
        let line = Line::scored("a", &scored(Some(0.25), None), Some(0.25));
        assert!(matches!(line, Line::Scored { anomalous: Some(false), .. }));
    }

    #[test]
    fn references_are_files_and_folders_each_image_once() {
        let folder = tempfile::tempdir().unwrap();
        for (name, content) in [("b.png", "2"), ("a.png", "1"), ("c.PNG", "1"), ("x.txt", "3")] {
            std::fs::write(folder.path().join(name), content).unwrap();
        }
        let paths = [folder.path().to_owned(), folder.path().join("x.txt")];
        let images = open_references(&paths).unwrap();
        let names: Vec<_> = images.iter().map(|image| image.path.file_name().unwrap()).collect();
        assert_eq!(names, ["a.png", "b.png", "x.txt"]);
        let gone = open_references(&[folder.path().join("gone.png")]).unwrap_err().to_string();
        assert!(gone.contains("gone.png"), "{gone}");
        let empty = tempfile::tempdir().unwrap();
        assert!(open_references(&[empty.path().to_owned()]).is_err());
    }

    #[test]
    fn errors_of_one_image_do_not_end_the_others() {
        let path = PathBuf::from("a.png");
        assert!(is_of_image(&RunError::ReadImage { path, message: String::new() }));
        assert!(!is_of_image(&RunError::Cancelled));
    }
}
