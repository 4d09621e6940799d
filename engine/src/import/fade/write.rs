//! What was asked for on a command line, written as a pipeline.

use super::super::options::{Options, quoted, wrong};
use super::{Asked, ImportError, System};

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

/// The pipeline as a TOML text. Errors: a data set that they do not know.
pub(super) fn write(
    system: System,
    options: &Options,
    asked: &Asked,
    hooks: Option<&str>,
) -> Result<String, ImportError> {
    let (map, score) = (asked.map_stage(), asked.score_stage(system));
    let needed = needed(map, score);
    let mut text = String::from("loupe = 1\n");
    if let Some(hooks) = hooks {
        text += &format!("hooks = {}\n", quoted(hooks));
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
    if system == System::ClipLmfa {
        text += &adaptive(asked, &needed);
    }
    let tokens = tokens_of(system);
    let labels = match sizes == asked.sizes {
        true => String::new(),
        false => format!("@{:?}", asked.sizes),
    };
    if needed.contains(&"says") {
        text += &says(asked, tokens);
    }
    if needed.contains(&"language") {
        text += &language(system, asked, tokens, &labels);
    }
    if needed.contains(&"vision") {
        text += &vision(asked, tokens, &labels);
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
        "" => format!("${{LOUPE_DATA}}/{dataset}"),
        source => source.to_owned(),
    };
    Ok(format!(
        "[data]\ndataset    = {}\nroot       = {}\nreferences = {{ shots = {}, seed = {}, select = \"{select}\" }}\n",
        quoted(layout.1),
        quoted(&source),
        asked.shots,
        asked.seed
    ))
}

fn says(asked: &Asked, tokens: &str) -> String {
    let value = image_value(asked.language_classification);
    format!(
        "named    = {{ prompts = \"ensemble\", sets = [\"winclip\"], subject = \"class\", \
         wrap = \"a photo of a {{}}.\", embed_with = \"clip\" }}\n\
         says     = {{ scorer = \"language\", query = \"{tokens}.{value}@{}\", text = \"named\", model = \"{}\", \
         scale = 100.0 }}\n",
        asked.classification_size, asked.text_model
    )
}

fn language(system: System, asked: &Asked, tokens: &str, labels: &str) -> String {
    let value = patch_value(asked.language_segmentation);
    format!(
        "{}\
         tells    = {{ scorer = \"language\", query = \"{tokens}.{value}{labels}\", text = \"generic\", \
         model = \"{}\", scale = 100.0 }}\n\
         language = {{ fusion = \"resolution-mean\", parts = \"tells\", interpolation = \"opencv-bilinear\" }}\n",
        segmentation_prompts(system),
        asked.text_model
    )
}

fn vision(asked: &Asked, tokens: &str, labels: &str) -> String {
    let value = patch_value(asked.vision);
    let bank = if asked.query_in_bank { ", self_reference = true, k = 2" } else { "" };
    format!(
        "differs  = {{ scorer = \"nearest\", query = \"{tokens}.{value}{labels}\", rows = \"{tokens}.{value}{labels}\", \
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
        quoted(&options.text("model-name").replace('/', "-")),
        quoted(weights)
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

/// The stage whose tokens are scored.
fn tokens_of(system: System) -> &'static str {
    match system {
        System::Fade => "clip",
        System::ClipLmfa => "adaptive",
    }
}

/// CLIP-LMFA's fusion, on the tokens that somebody reads.
fn adaptive(asked: &Asked, needed: &[&str]) -> String {
    let mut values = vec!["patch_embeddings"];
    for (stage, value) in [
        ("says", image_value(asked.language_classification)),
        ("language", patch_value(asked.language_segmentation)),
        ("vision", patch_value(asked.vision)),
    ] {
        if needed.contains(&stage) && !values.contains(&value) {
            values.push(value);
        }
    }
    let wires: Vec<String> =
        values.iter().map(|value| format!("{value} = \"clip.{value}\"")).collect();
    format!(
        "adaptive = {{ fusion = \"multi-scale-adaptive\", mode = \"exact\", draw = \"image\", strength = 0.1, \
         seed = {}, image = \"image\", {} }}\n",
        asked.seed,
        wires.join(", ")
    )
}

fn image_value(feature: &str) -> &'static str {
    if feature == "gem" { "gem_image_embedding" } else { "image_embedding" }
}

fn patch_value(feature: &str) -> &'static str {
    if feature == "gem" { "gem_patch_embeddings" } else { "patch_embeddings" }
}
