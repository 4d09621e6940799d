//! What a state was learned from is held against what a run tests.

use std::fs;

use loupe_tests::World;
use safetensors::SafeTensors;
use serde_json::Value as Json;

use super::{pipeline, train, world};

const SHORT: [&str; 2] = ["--set", "train.epochs=1"];

/// Writes the metadata of a state as `change` makes them.
fn with_facts(world: &World, file: &str, change: impl Fn(&mut serde_json::Map<String, Json>)) {
    let path = world.path(file);
    let bytes = fs::read(&path).unwrap();
    let (n, _) = SafeTensors::read_metadata(&bytes).unwrap();
    let mut header: Json = serde_json::from_slice(&bytes[8..8 + n]).unwrap();
    change(header["__metadata__"].as_object_mut().unwrap());
    let mut header = header.to_string().into_bytes();
    header.resize(header.len().next_multiple_of(8), b' ');
    let length = (header.len() as u64).to_le_bytes();
    fs::write(&path, [&length[..], &header, &bytes[8 + n..]].concat()).unwrap();
}

/// Of five images under test one was learned from, by the seed that it was trained with.
#[test]
fn images_that_a_state_has_learned_from_make_a_run_an_oracles() {
    let world = world();
    let pipeline = pipeline(&world, "augment = \"none\"");
    let trained = train(&world, &pipeline, &SHORT);
    assert_eq!(trained.code, Some(0), "{}", trained.stderr);
    let out = world.path("out").display().to_string();
    let run = |more: &[&str]| world.run(["run", &pipeline, "--out", &out].iter().chain(more));
    let ran = run(&[]);
    assert!(ran.stdout.starts_with("setting: transductive\n"), "{}", ran.stdout);
    assert!(!ran.stderr.contains("warning"), "{}", ran.stderr);

    // Another seed takes other anomalous references, which leave the test set in the place of these.
    let leak = (1..9).map(|seed| format!("data.references.seed={seed}"));
    let leaks: Vec<_> = leak.map(|seed| run(&["--set", &seed])).collect();
    let said = "images under test, so that the figures are an oracle's";
    let leaked = |ran: &&loupe_tests::Ended| ran.stderr.contains(said);
    assert!(leaks.iter().any(|ran| leaked(&ran)), "{}", leaks[0].stderr);
    for ran in &leaks {
        let setting = if leaked(&ran) { "oracle" } else { "transductive" };
        assert!(ran.stdout.starts_with(&format!("setting: {setting}\n")), "{}", ran.stdout);
    }
    let last: Json =
        serde_json::from_str(&fs::read_to_string(world.path("out/results.json")).unwrap()).unwrap();
    let setting = if leaked(&&leaks[7]) { "oracle" } else { "transductive" };
    assert_eq!(last["facts"]["setting"], setting);

    // A state of an older file says nothing, and nothing is said of it.
    with_facts(&world, "states/carpet.safetensors", |facts| {
        facts.remove("learned_from");
    });
    for seed in 1..9 {
        let ran = run(&["--set", &format!("data.references.seed={seed}")]);
        assert!(!ran.stderr.contains("warning"), "{}", ran.stderr);
    }
}

/// A data set that is tested must not teach, under whatever keys.
#[test]
fn images_of_other_sets_count_too() {
    let world = world();
    let auxiliary =
        format!("auxiliary = [{{ dataset = \"mvtec-ad\", root = {:?} }}]", world.path("data"));
    let pipeline = pipeline(&world, &format!("augment = \"none\"\n{auxiliary}"));
    let trained = train(&world, &pipeline, &SHORT);
    assert_eq!(trained.code, Some(0), "{}", trained.stderr);
    let out = world.path("out").display().to_string();
    let ran = world.run(["run", &pipeline, "--out", &out]);
    assert!(ran.stdout.starts_with("setting: oracle\n"), "{}", ran.stdout);
    assert!(ran.stderr.contains("has learned from 5 of the 5 images under test"), "{}", ran.stderr);
}

#[test]
fn another_class_and_other_shots_are_named() {
    let world = world();
    let pipeline = pipeline(&world, "augment = \"none\"");
    let trained = train(&world, &pipeline, &SHORT);
    assert_eq!(trained.code, Some(0), "{}", trained.stderr);
    let out = world.path("out").display().to_string();
    let cells = world.path("cells").display().to_string();
    let ran = world.run(["run", &pipeline, "--out", &cells, "--shots", "1,2"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let said = "warning: class `carpet`: trained with shots = 2, run with shots = 1";
    assert_eq!(ran.stderr.matches(said).count(), 1, "{}", ran.stderr);
    assert_eq!(ran.stderr.matches("warning").count(), 1, "{}", ran.stderr);

    with_facts(&world, "states/carpet.safetensors", |facts| {
        facts.insert("class".to_owned(), "leather".into());
    });
    let ran = world.run(["run", &pipeline, "--out", &out]);
    assert_eq!(ran.code, Some(1), "{}", ran.stderr);
    let said = "class `carpet`: `WORLD/states/carpet.safetensors` was trained for class `leather`";
    assert!(ran.stderr.contains(said), "{}", ran.stderr);

    // One file, named for whatever class reads it.
    let file = format!("stages.madff.state={:?}", world.path("states/carpet.safetensors"));
    let ran = world.run(["run", &pipeline, "--out", &out, "--set", &file]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert!(ran.stderr.contains(&format!("warning: {said}")), "{}", ran.stderr);
}
