//! A revision is a promise: outputs that changed under it are refused, and 0 promises nothing.

use loupe_tests::World;

use super::{cells, compile, source};

const PIPELINE: &str = r#"loupe = 1
[stages]
image = { prepare = "square", sizes = [48], normalize = "none" }
seven = { encoder = "seven", image = "image" }
far   = { scorer = "nearest", query = "seven.patch_tokens", rows = "seven.patch_tokens", fit_on = "references" }
half  = { scorer = "nearest", query = "seven.patch_tokens", rows = "seven.patch_tokens", fit_on = "references", distance = "cosine" }
map   = { fusion = "median", parts = ["far", "half"] }
score = { pool = "max", of = "map" }
[output]
anomaly_map   = "map"
anomaly_score = "score"
"#;

/// A plugin as its author has it today.
struct Source {
    /// `1` or `0`.
    revision: &'static str,
    /// What the median is multiplied by.
    gain: &'static str,
    /// A number inside the encoder's block.
    mix: &'static str,
}

impl Source {
    fn build(&self, world: &World) {
        let change = |text: String, from: &str, to: &str| {
            assert_eq!(text.matches(from).count(), 1, "`{from}`");
            text.replace(from, to)
        };
        let fusion = source("plugins/examples/c-fusion/median.c");
        let fusion = change(fusion, "out[i] = ", "out[i] = GAIN * ");
        let fusion = change(fusion, "sizeof median,\n    1,", "sizeof median,\n    REVISION,");
        // The gain stands before a choice, which binds less.
        let fusion = change(fusion, "GAIN * n_parts % 2 ? column", "GAIN * (n_parts % 2) ? column");
        let fusion = change(fusion, ": 0.5f *", ": GAIN * 0.5f *");
        let gain = format!("GAIN={}", self.gain);
        compile(world, "median", &fusion, &[&gain, &format!("REVISION={}", self.revision)]);
        let encoder = source("plugins/examples/c-encoder/encoder.c");
        let encoder = change(encoder, "0.25f * third", &format!("{} * third", self.mix));
        compile(world, "seven", &encoder, &[]);
    }
}

/// The score of `query.png`, and whether nothing had to be encoded.
fn score(world: &World) -> Result<(f64, bool), String> {
    let path = |name: &str| world.path(name).display().to_string();
    let (query, references, plugins) = (path("query.png"), path("references"), path("plugins"));
    let pipeline = world.write("p.toml", PIPELINE).display().to_string();
    let ended = world.run([
        "predict",
        &pipeline,
        &query,
        "--reference",
        &references,
        "--plugin-path",
        &plugins,
        "--threshold",
        "none",
    ]);
    if ended.code != Some(0) {
        assert_eq!(ended.code, Some(1), "{}", ended.stderr);
        return Err(ended.stderr);
    }
    let line: serde_json::Value = serde_json::from_str(ended.stdout.trim()).unwrap();
    Ok((line["anomaly_score"].as_f64().unwrap(), line["from_cache"] == true))
}

fn world() -> World {
    let world = World::new();
    cells(&world.path("query.png"), 48, &[&[[9, 9, 9], [200, 0, 0]], &[[0, 200, 0], [0, 0, 200]]]);
    cells(&world.path("references/one.png"), 48, &[&[[9, 9, 9]]]);
    world
}

#[test]
fn a_fusion_that_changed_is_refused() {
    let world = world();
    Source { revision: "1", gain: "1.0f", mix: "0.25f" }.build(&world);
    let (first, _) = score(&world).unwrap();
    assert_eq!(score(&world), Ok((first, true)));
    Source { revision: "1", gain: "2.0f", mix: "0.25f" }.build(&world);
    let refused = score(&world).unwrap_err();
    assert!(refused.contains("the fusion `median` gives other outputs"), "{refused}");
    assert!(refused.contains("bump its revision"), "{refused}");
    Source { revision: "2", gain: "2.0f", mix: "0.25f" }.build(&world);
    // No image is encoded again for it: the fusion alone is another.
    assert_eq!(score(&world), Ok((2.0 * first, true)));
    // The old one's values are there still, and it is what it was.
    Source { revision: "1", gain: "1.0f", mix: "0.25f" }.build(&world);
    assert_eq!(score(&world), Ok((first, true)));
}

/// The most expensive values are an encoder's.
#[test]
fn an_encoder_that_changed_is_refused() {
    let world = world();
    Source { revision: "1", gain: "1.0f", mix: "0.25f" }.build(&world);
    score(&world).unwrap();
    Source { revision: "1", gain: "1.0f", mix: "0.75f" }.build(&world);
    let refused = score(&world).unwrap_err();
    assert!(refused.contains("the encoder `seven` gives other outputs"), "{refused}");
}

/// A rebuild that changes nothing costs nothing: other bytes, the same outputs.
#[test]
fn a_rebuild_that_changes_nothing() {
    let world = world();
    Source { revision: "1", gain: "1.0f", mix: "0.25f" }.build(&world);
    let (first, _) = score(&world).unwrap();
    Source { revision: "1", gain: "(0.5f + 0.5f)", mix: "(0.125f + 0.125f + (float)(cell < 0))" }
        .build(&world);
    assert_eq!(score(&world), Ok((first, true)));
}

#[test]
fn revision_0_is_run_again_with_every_build() {
    let world = world();
    Source { revision: "0", gain: "1.0f", mix: "0.25f" }.build(&world);
    let (first, _) = score(&world).unwrap();
    assert_eq!(score(&world), Ok((first, true)));
    Source { revision: "0", gain: "3.0f", mix: "0.25f" }.build(&world);
    let (tripled, _) = score(&world).unwrap();
    assert!((tripled - 3.0 * first).abs() < 1e-6, "{tripled} is not three times {first}");
}
