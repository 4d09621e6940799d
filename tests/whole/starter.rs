//! The embedded starter model finds defects on surfaces it has never seen, by words and by one reference.

use loupe_tests::{World, root};
use serde_json::Value;

/// Two held-out families with defects, one of which (`burn`) no training has seen.
fn world() -> World {
    let world = World::new();
    let data = world.path("data").display().to_string();
    let made = world.run([
        "dataset",
        "make",
        &data,
        "--families",
        "carpet,hex_tiles",
        "--defects",
        "hole,stain,scratch,burn",
        "--size",
        "192",
        "--train",
        "2",
        "--good",
        "6",
        "--per-defect",
        "2",
        "--seed",
        "11",
        "--light",
        "0.3",
    ]);
    assert_eq!(made.code, Some(0), "{}", made.stderr);
    world
}

/// Image AUROC, pixel AUROC and AUPRO@0.3, means over the classes.
fn measured(world: &World, pipeline: &str, more: &[&str]) -> [f64; 3] {
    let file = root().join("pipelines").join(pipeline).display().to_string();
    let out = world.path(pipeline.replace(['/', '.'], "-"));
    let mut arguments = vec!["run".to_owned(), file, "--out".to_owned(), out.display().to_string()];
    arguments.extend(more.iter().map(|word| (*word).to_owned()));
    let ended = world.run(&arguments);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let results: Value =
        serde_json::from_slice(&std::fs::read(out.join("results.json")).unwrap()).unwrap();
    let mean = &results["protocols"][0]["mean"]["metrics"];
    ["image.auroc", "pixel.auroc", "pixel.aupro@0.3"].map(|name| mean[name].as_f64().unwrap())
}

#[test]
fn defects_are_found_by_words_and_by_one_reference() {
    let world = world();
    let words = measured(&world, "demo-zero-shot.toml", &[]);
    let both = measured(&world, "demo.toml", &[]);
    println!("words alone {words:.3?}, one shot {both:.3?}");
    assert!(words[0] > 0.75 && words[1] > 0.85, "words alone: {words:?}");
    assert!(both[0] > 0.8 && both[1] > 0.9 && both[2] > 0.6, "one shot: {both:?}");

    // Random weights know no words: the same pipeline is near chance.
    let none = measured(&world, "demo-zero-shot.toml", &["--set", "stages.clip.weights=random"]);
    println!("random weights {none:.3?}");
    assert!(none[1] < words[1] - 0.1, "random weights: {none:?}");

    // Who exchanges the sentences exchanges the verdict, of whole images and of pixels.
    let data = format!("data.root={}", world.path("data").display());
    let on_data = |pipeline| measured(&world, pipeline, &["--set", &data]);
    let (right, wrong) = (on_data("starter/class-token.toml"), on_data("starter/exchanged.toml"));
    println!("class token {right:.3?}, sentences exchanged {wrong:.3?}");
    assert!(right[0] > 0.7 && right[1] > 0.85, "class token: {right:?}");
    for metric in 0..2 {
        let sum = right[metric] + wrong[metric];
        assert!((sum - 1.0).abs() < 1e-3, "{right:?} and {wrong:?}");
    }
}
