//! Hooks of a pipeline: they change results, they join the key, and their mistakes point into the script.

use super::{PIPELINE, ran, run, scores, world};

#[test]
fn a_hook_changes_a_stage_and_the_score() {
    let world = world();
    ran(&world, "plain", &[]);
    world.write("h.rhai", "fn after_vision(map) { map * 2.0 }\n");
    let text = super::PIPELINE.replace("[data]", "hooks = \"h.rhai\"\n[data]");
    world.write("r.toml", &text);
    let ended = ran(&world, "doubled", &[]);
    assert!(ended.stderr.contains("(12 images, 12 from cache)"), "{}", ended.stderr);
    let (plain, doubled) = (scores(&world.path("plain")), scores(&world.path("doubled")));
    for (name, score) in &plain {
        assert_eq!(doubled[name], 2.0 * score, "{name}");
    }
    world.write("h.rhai", "fn score_image(map, scores) { scores.anomaly_score + 1.0 }\n");
    ran(&world, "shifted", &[]);
    let shifted = scores(&world.path("shifted"));
    for (name, score) in &plain {
        assert!((shifted[name] - (score + 1.0)).abs() < 1e-12, "{name}");
    }
    // Without the hook all is as it was: what a script changed went under keys of its own.
    world.write("r.toml", PIPELINE);
    ran(&world, "again", &[]);
    assert_eq!(scores(&world.path("again")), plain);
}

#[test]
fn a_mistake_points_to_the_line() {
    let world = world();
    world.write("r.toml", PIPELINE.replace("[data]", "hooks = \"h.rhai\"\n[data]"));
    world.write(
        "h.rhai",
        "// Scores.\nfn after_vision(map) {\n    let low = map.minimun();\n    map - low\n}\n",
    );
    let ended = run(&world, "out", &[]);
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    assert!(ended.stderr.contains("h.rhai:3:"), "{}", ended.stderr);
    assert!(ended.stderr.contains("let low = map.minimun();"), "{}", ended.stderr);
    world.write("h.rhai", "fn after_vison(map) { map }\n");
    let ended = run(&world, "out", &[]);
    assert_ne!(ended.code, Some(0));
    assert!(ended.stderr.contains("did you mean `after_vision`?"), "{}", ended.stderr);
    // A loop without end is stopped.
    world.write("h.rhai", "fn score_image(map, scores) { loop { } }\n");
    let ended = run(&world, "out", &[]);
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    assert!(ended.stderr.contains("h.rhai:1:"), "{}", ended.stderr);
}
