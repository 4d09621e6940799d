//! A pipeline shown: its keys with their origin, its picture, its schema; a component with its ports and keys.

use expect_test::{Expect, expect};
use serde_json::Value;

use super::{PIPELINE, world};

const SHORT: &str = r#"loupe = 1
[stages]
image  = { prepare = "square", sizes = [32, 48], normalize = "clip" }
clip   = { encoder = "clip", image = "image", model = "tiny.json", weights = "random" }
far    = { scorer = "nearest", query = "clip.patch_embeddings", rows = "clip.patch_embeddings", fit_on = "references" }
map    = { fusion = "resolution-mean", parts = "far" }
[output]
anomaly_map = "map"
"#;

/// What a command says of a pipeline, with exit code 0.
fn shown(text: &str, arguments: &[&str], expected: Expect) {
    let world = world(text);
    let pipeline = world.path("p.toml").display().to_string();
    let arguments: Vec<&str> =
        arguments.iter().map(|word| if *word == "p.toml" { &pipeline } else { *word }).collect();
    let ended = world.run(arguments);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    expected.assert_eq(&ended.stdout);
}

#[test]
fn every_key_with_its_origin() {
    let run = ["run", "p.toml", "--show-config", "--set", "stages.far.k=2"];
    shown(SHORT, &run, expect![[""]]);
}

#[test]
fn mermaid() {
    shown(SHORT, &["graph", "p.toml"], expect![[""]]);
}

#[test]
fn dot() {
    shown(SHORT, &["graph", "p.toml", "--format", "dot"], expect![[""]]);
}

#[test]
fn the_ports_and_keys_of_nearest() {
    shown(SHORT, &["inspect", "nearest"], expect![[""]]);
}

#[test]
fn all_components() {
    shown(SHORT, &["inspect"], expect![[""]]);
}

/// JSON for programs: what was found, and where.
#[test]
fn checks_as_json() {
    let world = world(&PIPELINE.replace("k      = 1", "k      = 0"));
    let ended = world.run(["check", "--format", "json", &world.path("p.toml").display().to_string()]);
    assert_eq!(ended.code, Some(3));
    let all: Value = serde_json::from_str(&ended.stdout).unwrap();
    let (found, place) = (&all[0]["diagnostics"][0], "WORLD/p.toml:23");
    assert_eq!((&all[0]["ok"], &all[0]["n_errors"]), (&false.into(), &1.into()));
    assert_eq!((found["severity"].as_str(), found["place"].as_str()), (Some("error"), Some(place)));
}

/// The schema knows each component's keys, so that an editor can complete them.
#[test]
fn the_schema_is_json() {
    let ended = world(PIPELINE).run(["schema"]);
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
    let schema: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(schema["type"], "object");
    assert!(schema["$schema"].as_str().unwrap().starts_with("https://json-schema.org/"));
    for word in ["\"self_reference\"", "\"half-cosine\"", "\"resolution-mean\"", "\"fade-448-u8\"", "\"sizes\""] {
        assert!(ended.stdout.contains(word), "{word} is not in the schema");
    }
}

/// Hints, not failures: usage ends with 2, a component that is not there with 1.
#[test]
fn words_that_mean_nothing() {
    let world = world(PIPELINE);
    let ended = world.run(["chekc", "p.toml"]);
    assert_eq!(ended.code, Some(2));
    assert!(ended.stderr.contains("'check'"), "{}", ended.stderr);
    let ended = world.run(["inspect", "nearset"]);
    assert!(ended.stderr.contains("did you mean `nearest`"), "{ended:?}");
}
