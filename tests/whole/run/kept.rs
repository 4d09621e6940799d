//! Packed weights are kept from run to run, and make no difference but to the time.

use std::path::PathBuf;

use loupe_tests::{Ended, World};

use super::{results, run, world};

/// Blocks of 38 MB: enough to be kept.
const MODEL: &str = r#"{"embed_dim": 16,
    "vision_cfg": {"image_size": 32, "patch_size": 16, "layers": 3, "width": 512, "head_width": 64},
    "text_cfg": {"context_length": 8, "vocab_size": 64, "width": 16, "heads": 2, "layers": 1}}"#;

/// A clip and a gem on the same weights.
const STAGES: &str = r#"
image   = { prepare = "square", sizes = [32], normalize = "clip" }
clip    = { encoder = "clip", image = "image", model = "large.json", weights = "random", seed = 0 }
gem     = { encoder = "gem", image = "image", model = "large.json", weights = "random", seed = 0, blocks = 2 }
far     = { scorer = "nearest", query = "clip.patch_embeddings", rows = "clip.patch_embeddings", fit_on = "references" }
near    = { scorer = "nearest", query = "gem.gem_patch_embeddings", rows = "gem.gem_patch_embeddings", fit_on = "references" }
vision  = { fusion = "sum", parts = ["far", "near"] }
"#;

fn large() -> World {
    let world = world();
    world.write("large.json", MODEL);
    let text = std::fs::read_to_string(world.path("r.toml")).unwrap();
    let (before, rest) = text.split_once("image   = ").unwrap();
    let (_, behind) = rest.split_once("verdict").unwrap();
    world.write("r.toml", format!("{before}{}verdict{behind}", STAGES.trim_start()));
    world
}

fn kept(world: &World) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(world.path("cache/kept")).into_iter().flatten();
    entries.map(|entry| entry.unwrap().path()).collect()
}

/// A run that finds no feature, only what components keep.
fn encoded(world: &World, out: &str) -> Ended {
    let _ = std::fs::remove_dir_all(world.path("cache/shards"));
    let ended = run(world, out, &["-v"]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    ended
}

#[test]
fn two_encoders_share_a_file_that_the_next_run_takes_up() {
    let world = large();
    let first = encoded(&world, "first");
    let said = |ended: &Ended, text: &str| ended.stderr.matches(text).count();
    assert_eq!(said(&first, "image tower: 36 MB of packed weights kept"), 1, "{}", first.stderr);
    assert_eq!(kept(&world).len(), 1);
    let second = encoded(&world, "second");
    let taken = "image tower: 36 MB of packed weights taken up";
    assert_eq!(said(&second, &format!("clip: {taken}")), 1, "{}", second.stderr);
    assert_eq!(said(&second, &format!("gem: {taken}")), 1, "{}", second.stderr);
    assert_eq!(said(&second, "weights kept"), 0, "{}", second.stderr);
    assert!(results(&world.path("second")) == results(&world.path("first")));

    let file = kept(&world).remove(0);
    let mut bytes = std::fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 4;
    std::fs::write(&file, bytes).unwrap();
    let third = encoded(&world, "third");
    assert!(third.stderr.contains("is not taken: its checksum is wrong"), "{}", third.stderr);
    assert_eq!(said(&third, "packed weights kept"), 1, "{}", third.stderr);
    assert!(results(&world.path("third")) == results(&world.path("first")));
}

#[test]
fn other_weights_and_other_arithmetic_have_files_of_their_own() {
    let world = large();
    encoded(&world, "first");
    let text = std::fs::read_to_string(world.path("r.toml")).unwrap();
    world.write("r.toml", text.replace("seed = 0, blocks", "seed = 5, blocks"));
    encoded(&world, "seeds");
    assert_eq!(kept(&world).len(), 2);
    world.write("r.toml", text);
    let pipeline = world.path("r.toml").display().to_string();
    let out = world.path("portable").display().to_string();
    let mut command = world.command(["run", &pipeline, "--out", &out]);
    let output = command.env("LOUPE_CPU", "portable").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(kept(&world).len(), 3);
}

#[test]
fn a_run_without_a_cache_keeps_nothing() {
    let world = large();
    let ended = run(&world, "out", &["--no-cache", "-v"]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(!ended.stderr.contains("packed weights"), "{}", ended.stderr);
    assert_eq!(kept(&world).len(), 0);
}
