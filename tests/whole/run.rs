//! Runs on a small generated data set, with a tiny transformer of random weights: what they print, what they leave behind
//! and what the tools beside them make of it.

mod batches;
mod folder;
mod hooks;
mod images;
mod kept;
mod learned;
mod measured;
mod predict;
mod script;
mod sets;
mod sweep;
mod tools;

use std::path::Path;

use loupe_tests::{Ended, World, root};
use serde_json::Value;

/// The classes and defects of the data set.
const CLASSES: [&str; 2] = ["wire_mesh", "woven"];
const N_TESTS: usize = 12;

/// Vision alone: two sizes against references, on a grid of 3 x 3.
const PIPELINE: &str = r#"loupe = 1
[data]
dataset    = "mvtec-ad"
root       = "${LOUPE_DEMO_DATA}"
references = { shots = 1, seed = 0, select = "seeded" }
[stages]
image   = { prepare = "square", sizes = [32, 48], normalize = "clip" }
clip    = { encoder = "clip", image = "image", model = "tiny.json", weights = "random" }
far     = { scorer = "nearest", query = "clip.patch_embeddings", rows = "clip.patch_embeddings", fit_on = "references" }
vision  = { fusion = "resolution-mean", parts = "far" }
verdict = { pool = "max", of = "vision" }
[output]
anomaly_map   = "vision"
anomaly_score = "verdict"
[protocol]
use = ["native"]
"#;

/// A world with the pipeline as `r.toml`, its model, and the data set in `data`.
fn world() -> World {
    let world = World::new();
    world.write("tiny.json", std::fs::read(root().join("pipelines/models/tiny-vit.json")).unwrap());
    world.write("r.toml", PIPELINE);
    let data = world.path("data").display().to_string();
    let ended = world.run([
        "dataset",
        "make",
        &data,
        "--families",
        "woven",
        "wire_mesh",
        "--defects",
        "hole",
        "stain",
        "--size",
        "64",
        "--train",
        "4",
        "--good",
        "2",
        "--per-defect",
        "2",
        "--seed",
        "3",
    ]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    world
}

/// Runs the pipeline into the folder `out` of the world.
fn run(world: &World, out: &str, arguments: &[&str]) -> Ended {
    let (pipeline, out) = (world.path("r.toml"), world.path(out));
    let mut all = vec!["run".to_owned(), pipeline.display().to_string()];
    all.extend(["--out".to_owned(), out.display().to_string()]);
    all.extend(arguments.iter().map(|word| (*word).to_owned()));
    world.run(&all)
}

/// The same, which must succeed.
fn ran(world: &World, out: &str, arguments: &[&str]) -> Ended {
    let ended = run(world, out, arguments);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    ended
}

fn json(path: &Path) -> Value {
    let bytes = std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_slice(&bytes).unwrap()
}

/// A run folder without what differs from run to run: the times.
fn results(folder: &Path) -> std::collections::BTreeMap<String, Vec<u8>> {
    let mut files = loupe_tests::tree(folder);
    assert!(files.remove("timings.csv").is_some(), "{} has no times", folder.display());
    files
}

/// The scores of a run's images, by name.
fn scores(folder: &Path) -> std::collections::BTreeMap<String, f64> {
    let text = std::fs::read_to_string(folder.join("images.csv")).unwrap();
    let line = |line: &str| {
        let fields: Vec<&str> = line.split(',').collect();
        (fields[1].to_owned(), fields[4].parse().unwrap())
    };
    text.lines().skip(1).map(line).collect()
}
