//! Pipelines looked at without running them: what `check`, `graph`, `schema`, `inspect` and `--show-config` say, with the
//! plugins that users have.

mod broken;
mod examples;
mod files;
mod shipped;
mod shown;

use expect_test::Expect;
use loupe_tests::{World, root};

/// FADE in small: every kind of stage, on a transformer with random weights.
const PIPELINE: &str = r#"loupe = 1
[data]
dataset    = "mvtec-ad"
root       = "${LOUPE_DEMO_DATA}"
references = { shots = 1, seed = 0, select = "seeded" }
[stages]
image    = { prepare = "square", sizes = [32, 48, 64], normalize = "clip" }
clip     = { encoder = "gem", image = "image", model = "tiny.json", weights = "random", blocks = 2 }
words    = { prompts = "ensemble", sets = ["winclip"], wrap = "a photo of a {}.", embed_with = "clip" }
says     = { scorer = "language", query = "clip.image_embedding@48", text = "words", scale = 100.0 }
tells    = { scorer = "language", query = "clip.gem_patch_embeddings", text = "words", model = "softmax" }
language = { fusion = "resolution-mean", parts = "tells", interpolation = "opencv-bilinear" }
vision   = { fusion = "resolution-mean", parts = "differs", gain = 3.5 }
both     = { fusion = "weighted", parts = ["language", "vision"], weights = [0.15, 0.85] }
peak     = { pool = "max", of = "vision" }
verdict  = { fusion = "weighted", parts = ["says", "peak"], weights = [0.5, 0.5], clamp = [0.0, 1.0] }
[stages.differs]
scorer = "nearest"
query  = "clip.patch_embeddings"
rows   = "clip.patch_embeddings"
fit_on = "references"
k      = 1
[output]
anomaly_map   = "both"
anomaly_score = "verdict"
[protocol]
use = ["native", "fade-448-u8"]
[run]
seed = 0
"#;

/// A world with the pipeline as `p.toml`, and its model.
fn world(text: &str) -> World {
    let world = World::new();
    let model = std::fs::read(root().join("pipelines/models/tiny-vit.json"));
    world.write("tiny.json", model.unwrap());
    world.write("p.toml", text);
    world
}

/// The pipeline with each `from` replaced by `to`; a `from` must stand there once.
fn edit(edits: &[(&str, &str)]) -> String {
    edits.iter().fold(PIPELINE.to_owned(), |text, (from, to)| {
        assert_eq!(text.matches(from).count(), 1, "`{from}` in the pipeline");
        text.replace(from, to)
    })
}

/// Checks a pipeline text: exit code 3, nothing on stdout, and these messages on stderr.
fn check(text: &str, messages: Expect) {
    check_with(text, &[], messages);
}

fn check_with(text: &str, arguments: &[&str], messages: Expect) {
    let world = world(text);
    let pipeline = world.path("p.toml").display().to_string();
    let ended = world.run(["check", &pipeline].iter().chain(arguments));
    messages.assert_eq(&ended.stderr);
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(3), ""));
}
