//! What a training says before its first step, and when it goes wrong.

use std::fs;

use loupe_tests::root;

use super::{pipeline, train, world};

const TWO: [&str; 4] = ["--set", "data.references.anomalous=2", "--set", "train.augment=\"none\""];

#[test]
fn one_missing_mask_is_refused_and_none_is_said() {
    let world = world();
    let pipeline = pipeline(&world, "");
    let folder = world.path("data/carpet/ground_truth");
    let mut masks: Vec<_> = fs::read_dir(&folder)
        .unwrap()
        .flat_map(|kind| fs::read_dir(kind.unwrap().path()).unwrap())
        .map(|mask| mask.unwrap().path())
        .collect();
    masks.sort();
    assert_eq!(masks.len(), 4);
    // Two of each kind: all four defects are references.
    fs::remove_file(&masks[3]).unwrap();
    let refused = train(&world, &pipeline, &TWO);
    assert_eq!(refused.code, Some(1), "{}", refused.stderr);
    for said in [
        "1 of the 4 anomalous references of class `carpet` have none, such as `",
        "leave `seg` out of `loss`",
    ] {
        assert!(refused.stderr.contains(said), "{}", refused.stderr);
    }
    assert!(!world.path("states/carpet.safetensors").exists());
    let scores = [&TWO[..], &["--set", "train.loss={det=\"bce-on-probability\"}"]].concat();
    let trained = train(&world, &pipeline, &scores);
    assert_eq!(trained.code, Some(0), "{}", trained.stderr);

    for mask in &masks[..3] {
        fs::remove_file(mask).unwrap();
    }
    let trained = train(&world, &pipeline, &TWO);
    assert_eq!(trained.code, Some(0), "{}", trained.stderr);
    let said = "warning: class `carpet`: no anomalous reference has a mask: head `seg` learns nothing, and stage `";
    assert_eq!(trained.stderr.matches(said).count(), 1, "{}", trained.stderr);
    assert!(trained.stderr.contains("` reads its `madff.seg_tokens`"), "{}", trained.stderr);
}

#[test]
fn a_state_that_is_replaced_is_named() {
    let world = world();
    let pipeline = pipeline(&world, "augment = \"none\"");
    let first = train(&world, &pipeline, &["--set", "train.epochs=2"]);
    assert_eq!(first.code, Some(0), "{}", first.stderr);
    assert!(!first.stderr.contains("warning"), "{}", first.stderr);
    let state = "warning: class `carpet`: `WORLD/states/carpet.safetensors`";
    for (set, what) in [
        ("train.epochs=1", "has learned to epoch 2 already; trains anew"),
        ("train.optimizer.lr=0.01", "was trained with another `optimizer` of [train]; trains anew"),
        ("run.seed=4", "was trained with"),
    ] {
        let sets = ["--set", "train.epochs=1", "--set", set];
        let again = train(&world, &pipeline, &sets);
        assert!(again.stderr.starts_with(&format!("{state} {what}")), "{}", again.stderr);
        let fresh = train(&world, &pipeline, &[&sets[..], &["--fresh"]].concat());
        assert!(!fresh.stderr.contains("warning"), "{}", fresh.stderr);
    }
}

#[test]
fn steps_too_large_are_blamed_on_their_size() {
    let world = world();
    let pipeline = pipeline(&world, "");
    let ended = train(&world, &pipeline, &["--set", "train.optimizer.lr=1e30"]);
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    for said in ["the training diverged at epoch 1, step ", "lower `lr` under `optimizer`", "1e30"]
    {
        assert!(ended.stderr.contains(said), "{}", ended.stderr);
    }
}

/// The adapters of an original's checkpoint fit another model than the starter; what is looked at here is who
/// accepts a file and who does not.
#[test]
fn a_state_that_is_a_file_is_read_and_not_trained() {
    let world = world();
    let file = pipeline(&world, "augment = \"none\"");
    let trained = train(&world, &file, &[]);
    assert_eq!(trained.code, Some(0), "{}", trained.stderr);
    let out = world.path("out").display().to_string();
    let folder = world.run(["run", &file, "--out", &out]);
    let state = format!("stages.madff.state={:?}", world.path("states/carpet.safetensors"));
    let read = ["--set", &state];
    let ran = world.run(["run", &file, "--out", &out].iter().chain(&read));
    assert_eq!(ran.stdout, folder.stdout, "{}", ran.stderr);

    let original = root().join("plugins/madff/golden/adapters.pth");
    let pth = format!("stages.madff.state={:?}", original);
    for (state, is_whole) in [(&state, true), (&pth, false)] {
        let checked = world.run(["check", &file, "--set", state]);
        assert!(!checked.stderr.contains("has no place for what it learns"), "{}", checked.stderr);
        assert!(!is_whole || checked.code == Some(0), "{}", checked.stderr);
    }
    let refused = train(&world, &file, &read);
    assert_eq!(refused.code, Some(1), "{}", refused.stderr);
    let said = "stage `madff` has no place for what it learns: its `state` is a file";
    assert!(refused.stderr.contains(said), "{}", refused.stderr);

    // A sweep reads it too, and trains nothing.
    let set = state.split_once('=').unwrap().1;
    let sweep = format!(
        "sweep = 1\nbase = {file:?}\n[[variant]]\nname = \"a\"\nset = {{ \"stages.madff.state\" = {set} }}\n"
    );
    let sweep = world.write("s.toml", sweep).display().to_string();
    let cells = world.path("cells").display().to_string();
    let swept = world.run(["sweep", &sweep, "--out", &cells]);
    assert_eq!(swept.code, Some(0), "{}", swept.stderr);
    assert!(!world.path("cells/states").exists(), "{}", swept.stderr);
}
