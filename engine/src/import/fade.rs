//! `run_fade.py` of FADE, and of CLIP-LMFA, which has the same options with other defaults.
//! Source: the command lines of both repositories (arXiv:2409.00556).

use super::options::{self, Known, Options, flag, value, wrong};
use super::{ImportError, Imported};

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

const LEFT_OUT: &str = "CLIP-LMFA adds a random vector to all tokens; this leaves it out, `clip-lmfa-adaptive.toml` has it";
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

/// Their data sets, and the layouts.
const DATASETS: [(&str, &str); 9] = [
    ("mvtec", "mvtec-ad"),
    ("visa", "visa"),
    ("mpdd", "mpdd"),
    ("btad", "btad"),
    ("mvtec_3d", "mvtec-3d"),
    ("Brain", "brain"),
    ("Liver", "liver"),
    ("Retina_RESC", "retina-resc"),
    ("Retina_oct", "retina-oct"),
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
        notes.push(LEFT_OUT.to_owned());
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
    Ok(Imported { pipeline, hooks, run, notes })
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
    let size = |text: &str| {
        text.trim()
            .parse()
            .map_err(|_| wrong("segmentation-img-sizes", "sizes such as 240,448", sizes))
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
        classification_size: options.parsed("classification-img-size", "a size in pixels")?,
        sizes: sizes.split(',').map(size).collect::<Result<_, _>>()?,
        eval_size: options.parsed("eval-img-size", "a size in pixels")?,
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

fn write(
    system: System,
    options: &Options,
    asked: &Asked,
    hooks: Option<&str>,
) -> Result<String, ImportError> {
    let (map, score) = (asked.map_stage(), asked.score_stage(system));
    let needed = needed(map, score);
    let mut text = String::from("loupe = 1\n");
    if let Some(hooks) = hooks {
        text += &format!("hooks = {}\n", options::quoted(hooks));
    }
    text += &data(system, options, asked)?;
    let mut sizes = asked.sizes.clone();
    if needed.contains(&"says") && !sizes.contains(&asked.classification_size) {
        sizes.insert(0, asked.classification_size);
    }
    let prepare = if asked.square { "square" } else { "shorter-side" };
    text += &format!(
        "[stages]\nimage    = {{ prepare = \"{prepare}\", sizes = {sizes:?}, filter = \"pillow-bicubic\", \
         normalize = \"clip\" }}\n"
    );
    text += &encoder(options, asked);
    let labels = match sizes == asked.sizes {
        true => String::new(),
        false => format!("@{:?}", asked.sizes),
    };
    if needed.contains(&"says") {
        text += &says(asked);
    }
    if needed.contains(&"language") {
        text += &language(system, asked, &labels);
    }
    if needed.contains(&"vision") {
        text += &vision(asked, &labels);
    }
    if map == Some("both") {
        // As decimals: 1 - 0.85 is 0.15000000000000002 in binary.
        let rest = ((1.0 - asked.weight) * 1e12).round() / 1e12;
        text += &format!(
            "both     = {{ fusion = \"weighted\", parts = [\"language\", \"vision\"], weights = [{rest:?}, {:?}] }}\n",
            asked.weight
        );
    }
    text += &verdict(score);
    text += "[output]\n";
    if let Some(map) = map {
        text += &format!("anomaly_map   = \"{map}\"\n");
    }
    // The vision score is clipped to 0..=1, which takes a stage of its own.
    if let Some(score) = score.map(|score| if score == "peak" { "verdict" } else { score }) {
        text += &format!("anomaly_score = \"{score}\"\n");
    }
    text += &format!("[protocol]\nuse = [\"fade-{}-u8\", \"native\"]\n", asked.eval_size);
    Ok(text)
}

fn data(system: System, options: &Options, asked: &Asked) -> Result<String, ImportError> {
    // CLIP-LMFA draws its shots after a training run has used up random numbers.
    let select = if system == System::Fade { "torch" } else { "torch-lmfa" };
    let dataset = options.text("dataset-name");
    let layout = DATASETS.iter().find(|known| known.0 == dataset).ok_or_else(|| {
        let names: Vec<&str> = DATASETS.iter().map(|known| known.0).collect();
        wrong("dataset-name", &format!("one of {}", names.join(", ")), dataset)
    })?;
    let source = match options.text("dataset-source") {
        "" => "${LOUPE_DATA}",
        source => source,
    };
    Ok(format!(
        "[data]\ndataset    = {}\nroot       = {}\nreferences = {{ shots = {}, seed = {}, select = \"{select}\" }}\n",
        options::quoted(layout.1),
        options::quoted(source),
        asked.shots,
        asked.seed
    ))
}

fn says(asked: &Asked) -> String {
    let value = match asked.language_classification {
        "gem" => "gem_image_embedding",
        _ => "image_embedding",
    };
    format!(
        "named    = {{ prompts = \"ensemble\", sets = [\"winclip\"], subject = \"class\", \
         wrap = \"a photo of a {{}}.\", embed_with = \"clip\" }}\n\
         says     = {{ scorer = \"language\", query = \"clip.{value}@{}\", text = \"named\", model = \"{}\", \
         scale = 100.0 }}\n",
        asked.classification_size, asked.text_model
    )
}

fn language(system: System, asked: &Asked, labels: &str) -> String {
    let value = tokens(asked.language_segmentation);
    format!(
        "{}\
         tells    = {{ scorer = \"language\", query = \"clip.{value}{labels}\", text = \"generic\", \
         model = \"{}\", scale = 100.0 }}\n\
         language = {{ fusion = \"resolution-mean\", parts = \"tells\", interpolation = \"opencv-bilinear\" }}\n",
        segmentation_prompts(system),
        asked.text_model
    )
}

fn vision(asked: &Asked, labels: &str) -> String {
    let value = tokens(asked.vision);
    let bank = if asked.query_in_bank { ", self_reference = true, k = 2" } else { "" };
    format!(
        "differs  = {{ scorer = \"nearest\", query = \"clip.{value}{labels}\", rows = \"clip.{value}{labels}\", \
         fit_on = \"references\", distance = \"half-cosine\"{bank} }}\n\
         vision   = {{ fusion = \"resolution-mean\", parts = \"differs\", interpolation = \"opencv-bilinear\", \
         gain = {:?} }}\n",
        asked.gain
    )
}

/// The image's score, clipped as the original clips it.
fn verdict(score: Option<&str>) -> String {
    const PEAK: &str = "peak     = { pool = \"max\", of = \"vision\" }\n";
    let of = |parts: &str, weights: &str| {
        format!(
            "{PEAK}verdict  = {{ fusion = \"weighted\", parts = [{parts}], weights = [{weights}], clamp = [0.0, 1.0] }}\n"
        )
    };
    match score {
        Some("verdict") => of("\"says\", \"peak\"", "0.5, 0.5"),
        Some("peak") => of("\"peak\"", "1.0"),
        _ => String::new(),
    }
}

fn encoder(options: &Options, asked: &Asked) -> String {
    let uses_gem = (asked.segmentation != "none"
        && asked.segmentation != "vision"
        && asked.language_segmentation == "gem")
        || (asked.needs_vision() && asked.vision == "gem")
        || (asked.classification != "none" && asked.language_classification == "gem");
    let encoder = if uses_gem { "gem" } else { "clip" };
    let weights = match options.text("pretrained") {
        "" => "random",
        weights => weights,
    };
    format!(
        "clip     = {{ encoder = \"{encoder}\", image = \"image\", model = {}, weights = {} }}\n",
        options::quoted(&options.text("model-name").replace('/', "-")),
        options::quoted(weights)
    )
}

/// The sentence files lie in a copy of the repository.
fn segmentation_prompts(system: System) -> String {
    let variable = match system {
        System::Fade => "LOUPE_FADE",
        System::ClipLmfa => "LOUPE_CLIP_LMFA",
    };
    let mut text = String::from(
        "generic  = { prompts = \"ensemble\", subject = \"object\", wrap = \"a photo of a {}.\", embed_with = \"clip\", files = [\n    ",
    );
    let names = ["winclip_prompt".to_owned()]
        .into_iter()
        .chain((1..=5).map(|i| format!("chatgpt3.5_prompt{i}")));
    let files: Vec<String> =
        names.map(|name| format!("\"${{{variable}}}/prompts/{name}.json\"")).collect();
    text += &files.join(",\n    ");
    text += ",\n] }\n";
    text
}

/// Stages that an output stands on.
fn needed(map: Option<&str>, score: Option<&str>) -> Vec<&'static str> {
    let mut stages = Vec::new();
    if matches!(map, Some("language" | "both")) {
        stages.push("language");
    }
    if matches!(map, Some("vision" | "both")) || matches!(score, Some("peak" | "verdict")) {
        stages.push("vision");
    }
    if matches!(score, Some("says" | "verdict")) {
        stages.push("says");
    }
    stages
}

fn tokens(feature: &str) -> &'static str {
    if feature == "gem" { "gem_patch_embeddings" } else { "patch_embeddings" }
}
