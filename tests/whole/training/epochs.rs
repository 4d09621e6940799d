//! Which epoch is kept, and when it is enough.

use std::fs;

use loupe_tests::World;
use safetensors::SafeTensors;
use serde_json::Value as Json;

use super::{pipeline, train, world};

/// Columns of `carpet.losses.csv` by name.
fn column(world: &World, name: &str) -> Vec<f64> {
    let text = fs::read_to_string(world.path("states/carpet.losses.csv")).unwrap();
    let mut lines = text.lines();
    let idx = lines.next().unwrap().split(',').position(|known| known == name).unwrap();
    lines.map(|line| line.split(',').nth(idx).unwrap().parse().unwrap()).collect()
}

/// Metadata of the state.
fn fact(world: &World, name: &str) -> String {
    let state = fs::read(world.path("states/carpet.safetensors")).unwrap();
    let (_, header) = SafeTensors::read_metadata(&state).unwrap();
    header.metadata().as_ref().unwrap()[name].clone()
}

/// Of two normal references and two anomalous ones, one each teaches, in eleven forms. Steps this large make
/// the loss of the others rise again.
#[test]
fn held_out_references_choose_the_epoch() {
    let world = world();
    let pipeline = pipeline(&world, "keep = \"best-held-out\"\nheld_out = 0.5");
    let large = ["--set", "train.optimizer.lr=0.03", "--set", "train.epochs=5"];
    let trained = train(&world, &pipeline, &[&large[..], &["--format", "json"]].concat());
    assert_eq!(trained.code, Some(0), "{}", trained.stderr);
    let rows: Json = serde_json::from_str(&trained.stdout).unwrap();
    let held_out = column(&world, "held-out");
    assert_eq!(held_out.len(), 5);
    let best = (0..5).min_by(|a, b| held_out[*a].total_cmp(&held_out[*b])).unwrap();
    assert_eq!(rows[0]["kept_epoch"], best + 1, "{held_out:?}");
    assert_eq!(rows[0]["oracle"], Json::Null);
    assert_eq!(rows[0]["epochs"][0]["n_samples"], 22);
    assert_eq!(rows[0]["epochs"][4]["held_out"], held_out[4]);
    assert_eq!(fact(&world, "epochs"), (best + 1).to_string());
    // What is watched is not what is learned from.
    assert!(column(&world, "loss").iter().zip(&held_out).all(|(learned, apart)| learned != apart));

    // With patience it ends so many epochs after the best one, and the same one is kept.
    let patience = ["--set", "train.patience=1"];
    let trained = train(&world, &pipeline, &[&large[..], &patience, &["--fresh"]].concat());
    assert_eq!(trained.code, Some(0), "{}", trained.stderr);
    let shorter = column(&world, "held-out");
    assert!(shorter.len() < 5 && held_out.starts_with(&shorter), "{shorter:?} of {held_out:?}");
    assert!(shorter[shorter.len() - 1] >= shorter[shorter.len() - 2], "{shorter:?}");

    // A run shows both curves; the epoch is no oracle's.
    let out = world.path("out").display().to_string();
    let ran = world.run(["run", &pipeline, "--out", &out]);
    assert!(ran.stdout.starts_with("setting: transductive\n"), "{}{}", ran.stdout, ran.stderr);
    let report = fs::read_to_string(world.path("out/report.html")).unwrap();
    assert!(report.contains("class=\"held-out\"") && report.contains("dashed: what was held out"));
}

/// Nothing is held out: the own loss is watched, which never falls by so much again.
#[test]
fn patience_ends_a_training() {
    let world = world();
    let pipeline = pipeline(&world, "patience = 1\nmin_delta = 100.0");
    let trained = train(&world, &pipeline, &[]);
    assert_eq!(trained.code, Some(0), "{}", trained.stderr);
    assert_eq!(column(&world, "loss").len(), 2);
    assert!(trained.stdout.ends_with(" 2\n"), "{}", trained.stdout);

    // The same call has nothing left to do, another does.
    let state = fs::read(world.path("states/carpet.safetensors")).unwrap();
    let again = train(&world, &pipeline, &[]);
    assert!(again.stderr.contains("has learned all of this before; --fresh begins anew"));
    assert!(!again.stderr.contains("epoch 1") && again.stdout == trained.stdout);
    for more in [&["--fresh"][..], &["--set", "train.min_delta=99.0"]] {
        let anew = train(&world, &pipeline, more);
        assert!(anew.stderr.contains("carpet: epoch 1, loss"), "{}", anew.stderr);
        assert!(!anew.stderr.contains("before"), "{}", anew.stderr);
    }
    assert_eq!(column(&world, "loss").len(), 2);
    let again = fs::read(world.path("states/carpet.safetensors")).unwrap();
    // Other keys, the same steps: the numbers are the same, and what is said of them is not.
    let numbers = |bytes: &[u8]| bytes[8 + SafeTensors::read_metadata(bytes).unwrap().0..].to_vec();
    assert!(numbers(&again) == numbers(&state) && again != state);
}

/// Beyond half of `run.memory` what lies before the first tap comes from the cache, or is computed again.
#[test]
fn memory_changes_no_byte() {
    let world = world();
    let pipeline = pipeline(&world, "");
    let mut found = Vec::new();
    for more in
        [&[][..], &["--set", "run.memory=\"300 kB\""], &["--set", "run.memory=1", "--no-cache"]]
    {
        let trained = train(&world, &pipeline, &[more, &["--fresh"]].concat());
        assert_eq!(trained.code, Some(0), "{}", trained.stderr);
        found.push(fs::read(world.path("states/carpet.safetensors")).unwrap());
    }
    assert!(found[0] == found[1] && found[0] == found[2]);
}

#[test]
fn keys_that_decide_nothing_are_mistakes() {
    let world = world();
    for (more, message, hint) in [
        ("keep = \"best-held-out\"", "wants `held_out`", "add `held_out = 0.25`"),
        (
            "held_out = 0.5",
            "`held_out` of `[train]` decides nothing",
            "add `keep = \"best-held-out\"`",
        ),
        ("min_delta = 0.1", "means nothing without `patience`", "add `patience = 5`"),
        ("held_out = 1.0\npatience = 1", "`held_out` of `[train]` wants a number", ""),
        ("patience = 0", "`patience` of `[train]` wants an integer of at least 1", ""),
        ("masks = \"soft\"", "`masks` of `[train]`", ""),
    ] {
        let ended = world.run(["check", &pipeline(&world, more)]);
        assert_eq!(ended.code, Some(3), "{more}: {}", ended.stderr);
        assert!(ended.stderr.contains(message), "{more}: {}", ended.stderr);
        assert!(ended.stderr.contains(hint), "{more}: {}", ended.stderr);
    }
    let path = pipeline(&world, "held_out = 0.5\npatience = 1");
    let ended = world.run(["check", &path, "--set", "data.references.shots=1"]);
    assert!(ended.stderr.contains("wants two normal references or more"), "{}", ended.stderr);
    // How many anomalous ones there are, the data set knows.
    let none =
        ["--set", "data.references.select=\"first\"", "--set", "data.references.anomalous=0"];
    let ended = train(&world, &path, &[&none[..], &["--set", "data.references.shots=2"]].concat());
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
}
