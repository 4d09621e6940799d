//! Fusions that learn from references with painted defects, and what they leave behind.

use super::{PIPELINE, World, ran, run, scores, world};

/// Two branches, which a gate joins: the nearest and the second nearest patch.
fn gated(gate: &str) -> String {
    PIPELINE
        .replace(
            "verdict = { pool = \"max\", of = \"vision\" }",
            &format!(
                "second  = {{ scorer = \"nearest\", query = \"clip.patch_embeddings\", rows = \
                 \"clip.patch_embeddings\", fit_on = \"references\", k = 2 }}\n\
                 other   = {{ fusion = \"resolution-mean\", parts = \"second\" }}\n\
                 verdict = {{ pool = \"max\", of = \"joined\" }}\n\
                 painted = {{ prepare = \"painted-mask\", sizes = [48] }}\n\
                 joined  = {{ fusion = \"learned-gate\", parts = [\"vision\", \"other\"], {gate} }}"
            ),
        )
        .replace("anomaly_map   = \"vision\"", "anomaly_map   = \"joined\"")
}

const LEARNS: &str = "examples = [\"vision\", \"other\"], mask = \"painted@48\", fit_on = \
                      \"references\", augment = { defects = 12 }, state = \"learned\"";

#[test]
fn a_gate_learns_for_each_class_and_its_state_is_a_file() {
    let world = world();
    world.write("r.toml", gated(LEARNS));
    ran(&world, "first", &[]);
    let first = scores(&world.path("first"));
    for class in super::CLASSES {
        assert!(world.path(format!("learned/{class}.safetensors")).is_file(), "{class}");
    }
    // Nothing is learned twice: all is in the cache, and gives the same.
    let ended = ran(&world, "again", &[]);
    assert!(ended.stderr.contains("(12 images, 12 from cache)"), "{}", ended.stderr);
    assert_eq!(scores(&world.path("again")), first);
    // Other paint, other weights.
    world.write("r.toml", gated(&LEARNS.replace("= 12 }", "= 12, seed = 1 }")));
    ran(&world, "repainted", &[]);
    assert_ne!(scores(&world.path("repainted")), first);
}

#[test]
fn a_state_read_as_weights_gives_what_the_training_gave() {
    let world = world();
    world.write("r.toml", gated(LEARNS));
    ran(&world, "first", &["--set", "data.classes=[\"woven\"]"]);
    world.write("r.toml", gated("weights = \"learned/woven.safetensors\""));
    ran(&world, "read", &["--set", "data.classes=[\"woven\"]"]);
    assert_eq!(scores(&world.path("read")), scores(&world.path("first")));
    world.write("learned/woven.safetensors", "nothing");
    let ended = run(&world, "bad", &["--set", "data.classes=[\"woven\"]"]);
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    assert!(
        ended.stderr.contains("the weights `WORLD/learned/woven.safetensors`"),
        "{}",
        ended.stderr
    );
}

/// CLIP-LMFA's fusion between the encoder and the memory bank.
#[test]
fn the_adaptive_fusion_shifts_references_and_queries_alike() {
    let world = world();
    let with = |keys: &str| {
        let stage = format!(
            "adapted = {{ fusion = \"multi-scale-adaptive\", image = \"image\", patch_embeddings = \
             \"clip.patch_embeddings\", experts = 1, categories = 1, {keys} }}\nfar  "
        );
        let far = PIPELINE.replace("clip.patch_embeddings", "adapted.patch_embeddings");
        far.replace("far  ", &stage)
    };
    ran(&world, "plain", &[]);
    let plain = scores(&world.path("plain"));
    world.write("r.toml", with("mode = \"off\""));
    ran(&world, "off", &[]);
    assert_eq!(scores(&world.path("off")), plain);
    for keys in ["mode = \"exact\"", "mode = \"surrogate\", draw = \"image\""] {
        world.write("r.toml", with(keys));
        ran(&world, "changed", &[]);
        assert_ne!(scores(&world.path("changed")), plain, "{keys}");
    }
    let untrained = [
        ("mode = \"trained\"", "`example_images`, `examples`, `mask`, `text`"),
        (
            "mode = \"trained\", examples = \"clip.patch_embeddings\", fit_on = \"references\"",
            "`example_images`, `mask`, `text`",
        ),
    ];
    for (keys, lacks) in untrained {
        world.write("r.toml", with(keys));
        let says = format!(
            "stage `adapted` has learned nothing, and nothing to learn from is wired to {lacks}\n"
        );
        refused_before_a_run(&world, &says);
    }
}

/// By `check`, and by `run` before anything is made.
fn refused_before_a_run(world: &World, says: &str) {
    let file = world.path("r.toml").display().to_string();
    for ended in [world.run(["check", &file]), run(world, "refused", &[])] {
        assert_eq!(ended.code, Some(3), "{}", ended.stderr);
        assert!(ended.stderr.contains(says), "{}", ended.stderr);
        assert!(ended.stderr.contains("name a file as `weights`"), "{}", ended.stderr);
    }
    assert!(!world.path("refused").exists());
}

#[test]
fn a_gate_that_cannot_learn_is_refused_before_anything_runs() {
    let world = world();
    for (keys, lacks) in [
        ("epochs = 5", "`examples`, `mask`"),
        ("mask = \"painted@48\", fit_on = \"references\", augment = { defects = 4 }", "`examples`"),
    ] {
        world.write("r.toml", gated(keys));
        let says = format!("nothing to learn from is wired to {lacks}\n");
        refused_before_a_run(&world, &says);
    }
    world.write("r.toml", gated(&LEARNS.replace(", augment = { defects = 12 }", "")));
    let ended = run(&world, "unpainted", &[]);
    assert_eq!(ended.code, Some(3), "{}", ended.stderr);
    let says = "stage `joined` fits on `painted@48`, but nothing is painted";
    assert!(ended.stderr.contains(says), "{}", ended.stderr);
}
