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
    expected.assert_eq(&said(text, arguments));
}

fn said(text: &str, arguments: &[&str]) -> String {
    let world = world(text);
    let pipeline = world.path("p.toml").display().to_string();
    let arguments: Vec<&str> =
        arguments.iter().map(|word| if *word == "p.toml" { &pipeline } else { *word }).collect();
    let ended = world.run(arguments);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    ended.stdout
}

#[test]
fn check_alone_names_stages_that_are_not_run() {
    let world = world(&PIPELINE.replace("anomaly_map   = \"both\"", "anomaly_map   = \"vision\""));
    let pipeline = world.path("p.toml").display().to_string();
    let said = |words: &[&str]| world.run(words.iter().chain(&[pipeline.as_str()])).stderr;
    let both = "warning: stage `both` is not run: no output needs it";
    assert!(said(&["check"]).contains(both), "{}", said(&["check"]));
    assert_eq!(said(&["run", "--show-config"]), "");
}

#[test]
fn every_key_with_its_origin() {
    let run = ["run", "p.toml", "--show-config", "--set", "stages.far.k=2"];
    // Where the comments stand depends on how long the world's path is.
    let columns = |line: &str| match line.rsplit_once('#') {
        Some((key, origin)) => format!("{} #{origin}\n", key.trim_end()),
        None => format!("{line}\n"),
    };
    let said: String = said(SHORT, &run).lines().map(columns).collect();
    expect![[r#"
        loupe = 1 # WORLD/p.toml:1
        output.anomaly_map = "map" # WORLD/p.toml:8
        protocol.use = [] # default
        run.cache.features = "f32" # default
        run.cache.stages = "f32" # default
        run.device = "auto" # default
        run.memory = "4 GiB" # default
        run.seed = 0 # default
        run.threads = 0 # default
        stages.clip.activation = "auto" # default
        stages.clip.backend = "fused" # default
        stages.clip.encoder = "clip" # WORLD/p.toml:4
        stages.clip.image = "image" # WORLD/p.toml:4
        stages.clip.model = "WORLD/tiny.json" # WORLD/p.toml:4
        stages.clip.position = "antialias-bicubic" # default
        stages.clip.precision = "f32" # default
        stages.clip.seed = 0 # default
        stages.clip.weights = "random" # WORLD/p.toml:4
        stages.far.distance = "half-cosine" # default
        stages.far.fit_on = "references" # WORLD/p.toml:5
        stages.far.k = 2 # --set
        stages.far.precision = "f32" # default
        stages.far.query = "clip.patch_embeddings" # WORLD/p.toml:5
        stages.far.rows = "clip.patch_embeddings" # WORLD/p.toml:5
        stages.far.scorer = "nearest" # WORLD/p.toml:5
        stages.far.self_reference = false # default
        stages.image.filter = "pillow-bicubic" # default
        stages.image.normalize = "clip" # WORLD/p.toml:3
        stages.image.prepare = "square" # WORLD/p.toml:3
        stages.image.sizes = [32, 48] # WORLD/p.toml:3
        stages.map.fusion = "resolution-mean" # WORLD/p.toml:6
        stages.map.gain = 1.0 # default
        stages.map.interpolation = "opencv-bilinear" # default
        stages.map.parts = "far" # WORLD/p.toml:6
    "#]]
    .assert_eq(&said);
}

#[test]
fn mermaid() {
    shown(
        SHORT,
        &["graph", "p.toml"],
        expect![[r#"
        flowchart LR
          s0("image<br/>prepare square @32 @48")
          s1["clip<br/>encoder clip @32 @48"]
          s2["far<br/>scorer nearest @32 @48"]
          s3["map<br/>fusion resolution-mean"]
          s0 --> s1
          s1 -->|"patch_embeddings"| s2
          s2 --> s3
          anomaly_map([anomaly_map])
          s3 --> anomaly_map
    "#]],
    );
}

#[test]
fn dot() {
    shown(
        SHORT,
        &["graph", "p.toml", "--format", "dot"],
        expect![[r#"
        digraph pipeline {
          rankdir = LR;
          node [shape = box];
          s0 [label = "image\nprepare square @32 @48"];
          s1 [label = "clip\nencoder clip @32 @48"];
          s2 [label = "far\nscorer nearest @32 @48"];
          s3 [label = "map\nfusion resolution-mean"];
          s0 -> s1 [label = ""];
          s1 -> s2 [label = "patch_embeddings"];
          s2 -> s3 [label = ""];
          anomaly_map [shape = oval];
          s3 -> anomaly_map;
        }
    "#]],
    );
}

#[test]
fn the_ports_and_keys_of_nearest() {
    let of_this_build = |line: &str| line.starts_with("  file  ") || line.starts_with("  blake3  ");
    let said = said(SHORT, &["inspect", "nearest"]);
    let said: String =
        said.lines().filter(|line| !of_this_build(line)).map(|line| format!("{line}\n")).collect();
    expect![[r#"
        scorer `nearest`, revision 2
          distance of each patch to its k-th nearest in a bank of reference patches

          plugin    loupe-scorers 0.1.0
          devices   cpu
          promises  deterministic, batch-invariant, thread-safe, fits

        port               verb  kinds         shape    dtype  scope  about
        rows          in   fit   tensor, many  [... d]  f32    image  what the bank is made of: patches of the references
        query         in   run   tensor        [... d]  f32    image  patches under test, raw
        patch_scores  out  run   tensor        [...]    f32    image  one distance per patch

        key             wants                             default        about
        distance        half-cosine | cosine | euclidean  "half-cosine"  How far a patch is from another.
        k               integer, at least 1               1              Which neighbour: 1 is the nearest.
        precision       f32 | bf16 | auto                 "f32"          What cosines are computed from: `f32`, or `bf16`, which is faster and takes half the memory; `auto` is `bf16` for cosines on a CPU that multiplies tiles of it, else `f32`.
        self_reference  boolean                           false          Adds the query's own patches to the bank. The patch itself is then the nearest, so `k` must be 2 or more.

        In a pipeline:
          mine = { scorer = "nearest", rows = "clip.patch_embeddings", query = "clip.patch_embeddings", fit_on = "references" }
    "#]].assert_eq(&said);
}

#[test]
fn all_components() {
    shown(
        SHORT,
        &["inspect"],
        expect![[r#"
            kind     name                  revision  plugin               about
            encoder  clip                         5  loupe-clip 0.1.0     CLIP's image and text towers: a ViT with CLS pooling, from any published weights file
            encoder  gem                          5  loupe-clip 0.1.0     CLIP, and GEM's self-self attention path beside it in the same pass
            prompts  ensemble                     1  loupe-prompts 0.1.0  states x templates x names, and sentences from the user's files
            prompts  hybrid                       1  loupe-prompts 0.1.0  sentences of several sources, each with a weight of its own
            prompts  llm                          1  loupe-prompts 0.1.0  sentences of a language model, from a prompt cache
            scorer   language                     2  loupe-scorers 0.1.0  P(anomalous) of tokens against the embedded sentences of a class
            scorer   nearest                      2  loupe-scorers 0.1.0  distance of each patch to its k-th nearest in a bank of reference patches
            fusion   harmonic                     1  loupe-fusion 0.1.0   Harmonic mean of scores that are 0 or more
            fusion   learned-gate                 1  loupe-fusion 0.1.0   branches summed by weights that a learned gate gives each image
            fusion   madff                        3  loupe-madff 0.1.0    gated bottleneck adapters on an encoder's taps (ClipMPCAD)
            fusion   max                          1  loupe-fusion 0.1.0   Maximum of parts of one shape, each times its gain
            fusion   min-max                      1  loupe-fusion 0.1.0   scores scaled to 0..=1 by the range of a fit
            fusion   multi-scale-adaptive         1  loupe-fusion 0.1.0   tokens plus a vector that a network makes of the image
            fusion   mvfa                         2  loupe-madff 0.1.0    bottleneck adapters on an encoder's taps (MVFA-AD)
            fusion   product                      1  loupe-fusion 0.1.0   Multiplies parts of one shape, after adding an offset to each
            fusion   projector                    2  loupe-madff 0.1.0    projections of an encoder's taps that feed nothing back
            fusion   resolution-mean              1  loupe-fusion 0.1.0   mean of maps of several sizes on the finest grid
            fusion   sum                          1  loupe-fusion 0.1.0   sum of parts of one shape
            fusion   tap-tokens                   1  loupe-fusion 0.1.0   The patches at each tap of an encoder, which runs on unchanged
            fusion   weighted                     1  loupe-fusion 0.1.0   Adds parts, each times its weight
        "#]],
    );
}

/// JSON for programs: what was found, and where.
#[test]
fn checks_as_json() {
    let world = world(&PIPELINE.replace("k      = 1", "k      = 0"));
    let ended =
        world.run(["check", "--format", "json", &world.path("p.toml").display().to_string()]);
    assert_eq!(ended.code, Some(3));
    let all: Value = serde_json::from_str(&ended.stdout).unwrap();
    let (found, place) = (&all[0]["diagnostics"][0], "WORLD/p.toml:22");
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
    for word in ["\"self_reference\"", "\"half-cosine\"", "\"resolution-mean\"", "\"sizes\""] {
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
