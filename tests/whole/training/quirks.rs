//! What the originals do and a run does when it is asked to.

use std::fs;

use super::{pipeline, train, world};

/// Two of the four anomalous test images are learned from. They are tested if `[compat]` says so, and the
/// figures are an oracle's.
#[test]
fn images_that_were_learned_from_are_tested_on_demand() {
    let world = world();
    let pipeline = pipeline(&world, "");
    let trained = train(&world, &pipeline, &["--set", "train.epochs=1"]);
    assert_eq!(trained.code, Some(0), "{}", trained.stderr);
    let out = world.path("out").display().to_string();
    let leak = ["--set", "compat.test_learned=true"];
    for (more, setting, n_images) in [(&[][..], "transductive", 5), (&leak[..], "oracle", 7)] {
        let ran = world.run(["run", &pipeline, "--out", &out].iter().chain(more));
        assert!(ran.stdout.starts_with(&format!("setting: {setting}\n")), "{}", ran.stdout);
        assert!(ran.stderr.contains(&format!("({n_images} images")), "{}", ran.stderr);
    }
    let checked = world.run(["check", &pipeline].iter().chain(&leak));
    assert!(checked.stdout.contains("oracle"), "{}", checked.stdout);
    let wrong = world.run(["check", &pipeline, "--set", "compat.test_lerned=true"]);
    assert!(wrong.stderr.contains("did you mean `test_learned`?"), "{}", wrong.stderr);
}

#[test]
fn masks_are_made_smaller_as_the_original_says() {
    let world = world();
    let pipeline = pipeline(&world, "augment = \"none\"");
    let mut found = Vec::new();
    for masks in ["nearest", "smooth"] {
        // At half the images' side the two differ.
        let small = [format!("train.masks=\"{masks}\""), "stages.image.sizes=[32]".to_owned()];
        let sets = ["--set", &small[0], "--set", &small[1], "--set", "train.epochs=1", "--fresh"];
        let trained = train(&world, &pipeline, &sets);
        assert_eq!(trained.code, Some(0), "{}", trained.stderr);
        found.push(fs::read_to_string(world.path("states/carpet.losses.csv")).unwrap());
    }
    assert_ne!(found[0], found[1]);
}
