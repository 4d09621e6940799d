//! A pipeline goes in, messages or a checked pipeline come out.

mod broken;
mod catalog;
mod files;
mod good;

use super::check::{CheckOptions, Checked, check_text};
use super::files::NamedFile;
use super::source::Change;

/// FADE in the reference's words, short enough for a message.
pub const FADE: &str = r#"loupe = 1
[data]
dataset = "mvtec-ad"
root = "${LOUPE_DATA}/mvtec"
references = { shots = 1, seed = 0, select = "torch" }
[stages]
image = { prepare = "square", sizes = [240, 448] }
clip = { encoder = "gem", image = "image", model = "ViT-B-16-plus-240", weights = "laion400m-e31" }
words = { prompts = "ensemble", sets = ["winclip"], embed_with = "clip" }
says = { scorer = "language", query = "clip.image_embedding@240", text = "words", scale = 100.0 }
tells = { scorer = "language", query = "clip.gem_patch_embeddings", text = "words" }
language = { fusion = "resolution-mean", parts = "tells" }
vision = { fusion = "resolution-mean", parts = "differs", gain = 3.5 }
both = { fusion = "weighted", parts = ["language", "vision"], weights = [0.15, 0.85] }
peak = { pool = "max", of = "vision" }
verdict = { fusion = "weighted", parts = ["says", "peak"], weights = [0.5, 0.5] }
[stages.differs]
scorer = "nearest"
query = "clip.patch_embeddings"
rows = "clip.patch_embeddings"
fit_on = "references"
k = 1
[output]
anomaly_map = "both"
anomaly_score = "verdict"
[protocol]
use = ["fade-448-u8", "native"]
[run]
memory = "2 GiB"
"#;

pub fn env(name: &str) -> Option<String> {
    (name == "LOUPE_DATA").then(|| "/data".to_string())
}

fn files(name: &str) -> Option<NamedFile> {
    match name {
        "laion400m-e31" => Some(NamedFile::Here("/weights/laion400m-e31.pt".into())),
        "openai" => Some(NamedFile::Absent("get it by `loupe weights fetch openai`".to_string())),
        _ => None,
    }
}

fn change((key, value): &(&str, &str)) -> Change {
    let [key, value, by] = [*key, *value, "--set"].map(str::to_owned);
    Change { key, value, by }
}

pub fn options(sets: &[(&str, &str)]) -> CheckOptions<'static> {
    CheckOptions {
        sets: sets.iter().map(change).collect(),
        env: &env,
        protocols: &["fade-448-u8", "native"],
        layouts: &["mvtec-ad", "folder"],
        files: &files,
        fills: false,
        names_unused: true,
    }
}

/// Checks a text.
pub fn checked(text: &str, sets: &[(&str, &str)]) -> Checked {
    check_text("fade.toml", text, &options(sets), &catalog::catalog())
}

/// FADE with one place changed; the place must be there.
pub fn edit(from: &str, to: &str) -> String {
    assert!(FADE.contains(from), "`{from}` does not stand in the pipeline");
    FADE.replacen(from, to, 1)
}

/// What a user sees.
pub fn messages(text: &str) -> String {
    let checked = checked(text, &[]);
    assert_eq!(checked.pipeline.is_none(), checked.report.has_errors());
    checked.report.render(false)
}
