//! `run_fade.py` of FADE, and of CLIP-LMFA, which has the same options with other defaults.
//! Source: the command lines of both repositories (arXiv:2409.00556).

mod write;

use std::collections::BTreeSet;

use super::options::{Known, Options, flag, value, wrong};
use super::{ImportError, Imported};
use write::write;

const KNOWN: &[Known] = &[
    value("dataset-name", "mvtec"),
    value("dataset-source", ""),
    value("experiment-name", "mvtec/fewshot/cm_both_sm_both/img_size_448/1shot/seed0"),
    value("model-name", "ViT-B/16-plus-240"),
    value("pretrained", "laion400m-e31"),
    value("classification-mode", "both"),
    value("segmentation-mode", "both"),
    value("language-classification-feature", "clip"),
    value("language-segmentation-feature", "gem"),
    value("vision-feature", "gem"),
    value("vision-segmentation-multiplier", "3.5"),
    value("vision-segmentation-weight", "0.85"),
    flag("use-query-img-in-vision-memory-bank", "false"),
    value("classification-img-size", "240"),
    value("segmentation-img-sizes", "240,448,896"),
    value("eval-img-size", "448"),
    flag("square", "true"),
    value("text-model-type", "average"),
    value("shots", "1"),
    value("seed", "0"),
    flag("normalize-segmentations", "false"),
    flag("save-visualization", "false"),
    flag("save-segmentation", "false"),
];

const DRAWN: &str = "CLIP-LMFA adds the vector of a network that it draws anew for each image and size, a tenth of it \
     to all tokens: stage `adaptive`. What it drew cannot be drawn again, so that its numbers cannot be met; \
     `--set stages.adaptive.mode=surrogate` draws the vector itself, which looks the same and costs nothing, \
     `--set stages.adaptive.mode=off` leaves it out";
const MODES: [&str; 4] = ["none", "language", "vision", "both"];
pub(super) const FEATURES: [&str; 2] = ["clip", "gem"];

/// Their text models, and what `language` calls them.
const TEXT_MODELS: [(&str, &str); 9] = [
    ("average", "average"),
    ("softmax", "softmax"),
    ("max", "max"),
    ("lr", "logistic-regression"),
    ("mlp", "mlp"),
    ("knn", "k-nearest"),
    ("rf", "random-forest"),
    ("xgboost", "gradient-boosting"),
    ("gmm", "gaussian-mixture"),
];

/// Which of the two programs is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum System {
    Fade,
    ClipLmfa,
}

/// What was asked for, read.
struct Asked {
    classification: &'static str,
    segmentation: &'static str,
    language_classification: &'static str,
    language_segmentation: &'static str,
    vision: &'static str,
    gain: f64,
    weight: f64,
    query_in_bank: bool,
    classification_size: u32,
    sizes: Vec<u32>,
    eval_size: u32,
    square: bool,
    text_model: &'static str,
    shots: usize,
    seed: u64,
    normalize: bool,
}

/// The pipeline of a command line. Errors: everything that click or the script itself refuses, and
/// what has no counterpart here.
pub fn import(system: System, words: &[String]) -> Result<Imported, ImportError> {
    let name = match system {
        System::Fade => "run_fade.py",
        System::ClipLmfa => "run_fade.py of CLIP-LMFA",
    };
    let options = Options::parse(name, KNOWN, words)?;
    let asked = read(system, &options)?;
    let mut notes = Vec::new();
    if system == System::ClipLmfa {
        notes.push(DRAWN.to_owned());
    }
    if options.text("pretrained").is_empty() {
        notes
            .push("empty `--pretrained`: random weights, drawn from `stages.clip.seed`".to_owned());
    }
    let hooks = asked.normalize.then(|| {
        let stage = asked.map_stage().unwrap_or("both");
        let text = format!("fn after_{stage}(map) {{ map.normalize_minmax() }}\n");
        ("normalize.rhai", text)
    });
    let pipeline = write(system, &options, &asked, hooks.as_ref().map(|hooks| hooks.0))?;
    let out = options.text("experiment-name").to_owned();
    let run = vec!["--out".to_owned(), out, "--save".to_owned(), saved(system, &options)];
    Ok(Imported { pipeline, hooks, trains: false, run, notes })
}

/// What the original writes; CLIP-LMFA saves pictures unless told not to.
fn saved(system: System, options: &Options) -> String {
    let mut words = vec!["fade-tables"];
    for (name, word) in [("save-segmentation", "fade-maps"), ("save-visualization", "fade-panels")]
    {
        let by_default = system == System::ClipLmfa && !options.is_given(name);
        if by_default || options.is_on(name) {
            words.push(word);
        }
    }
    words.join(",")
}

fn read(system: System, options: &Options) -> Result<Asked, ImportError> {
    let number = |name, wanted| options.parsed::<f64>(name, wanted);
    let sizes = options.text("segmentation-img-sizes");
    let wanted = "different sizes above 0, such as 240,448";
    let size = |text: &str| match text.trim().parse() {
        Ok(size) if size > 0 => Ok(size),
        _ => Err(wrong("segmentation-img-sizes", wanted, sizes)),
    };
    let sizes_read: Vec<u32> = sizes.split(',').map(size).collect::<Result<_, _>>()?;
    if sizes_read.iter().collect::<BTreeSet<_>>().len() < sizes_read.len() {
        return Err(wrong("segmentation-img-sizes", wanted, sizes));
    }
    let side = |name: &str| match options.parsed(name, "a size in pixels")? {
        0 => Err(wrong(name, "a size in pixels above 0", "0")),
        side => Ok(side),
    };
    let model = options.text("text-model-type");
    let names: Vec<&str> = TEXT_MODELS.iter().map(|model| model.0).collect();
    let text_model = TEXT_MODELS
        .iter()
        .find(|known| known.0 == model)
        .ok_or_else(|| wrong("text-model-type", &format!("one of {}", names.join(", ")), model))?;
    let seed = match options.is_given("seed") || system == System::Fade {
        true => options.parsed("seed", "a whole number")?,
        false => 111,
    };
    let asked = Asked {
        classification: options.choice("classification-mode", &MODES)?,
        segmentation: options.choice("segmentation-mode", &MODES)?,
        language_classification: options.choice("language-classification-feature", &FEATURES)?,
        language_segmentation: options.choice("language-segmentation-feature", &FEATURES)?,
        vision: options.choice("vision-feature", &FEATURES)?,
        gain: number("vision-segmentation-multiplier", "a number")?,
        weight: number("vision-segmentation-weight", "a number of 0 to 1")?,
        query_in_bank: options.is_on("use-query-img-in-vision-memory-bank"),
        classification_size: side("classification-img-size")?,
        sizes: sizes_read,
        eval_size: side("eval-img-size")?,
        square: options.is_on("square"),
        text_model: text_model.1,
        shots: options.parsed("shots", "a whole number")?,
        seed,
        normalize: options.is_on("normalize-segmentations"),
    };
    asked.judge()?;
    Ok(asked)
}

impl Asked {
    fn judge(&self) -> Result<(), ImportError> {
        if self.classification == "none" && self.segmentation == "none" {
            let message = "both modes are `none`, so there is nothing to compute".to_owned();
            return Err(ImportError::Unsupported { message });
        }
        if self.needs_vision() && self.shots == 0 && !self.query_in_bank {
            return Err(ImportError::Refused {
                message: "a vision branch without shots needs --use-query-img-in-vision-memory-bank",
            });
        }
        for (name, value) in [
            ("vision-segmentation-weight", self.weight),
            ("vision-segmentation-multiplier", self.gain),
        ] {
            if !value.is_finite() || name.ends_with("weight") && !(0.0..=1.0).contains(&value) {
                return Err(wrong(name, "a finite number, a weight of 0 to 1", &value.to_string()));
            }
        }
        Ok(())
    }

    fn needs_vision(&self) -> bool {
        [self.classification, self.segmentation]
            .iter()
            .any(|mode| matches!(*mode, "vision" | "both"))
    }

    fn map_stage(&self) -> Option<&'static str> {
        (self.segmentation != "none").then_some(self.segmentation)
    }

    /// Which stage is the image's score. With no shots FADE judges by words alone, CLIP-LMFA does not.
    fn score_stage(&self, system: System) -> Option<&'static str> {
        match self.classification {
            "none" => None,
            "language" => Some("says"),
            "vision" => Some("peak"),
            _ if self.shots == 0 && system == System::Fade => Some("says"),
            _ => Some("verdict"),
        }
    }
}
