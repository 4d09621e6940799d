//! `loupe train`: adapters between an encoder's taps, of loupe's own and of a third party.

mod epochs;
mod gradients;
mod kill;
mod mistakes;
mod origins;
mod panels;
mod quirks;
mod settings;
mod shipped;

use std::process::Command;

use expect_test::expect;
use loupe_tests::{World, root};
use safetensors::SafeTensors;

use crate::plugins::build_rust;

/// The shipped pipeline on the starter model, small enough for a test.
fn pipeline(world: &World, more: &str) -> String {
    let base = root().join("pipelines/clipmpcad-few-shot.toml").display().to_string();
    let text = format!(
        "loupe = 1\nextends = {base:?}\n\
         [data]\ndataset = \"mvtec-ad\"\nroot = {data:?}\nclasses = [\"carpet\"]\n\
         references = {{ shots = 2, anomalous = 1, select = \"seeded\", manifest = \"none-{{class}}\" }}\n\
         [stages]\n\
         image = {{ sizes = [64] }}\n\
         clip = {{ model = \"starter\", weights = \"starter\", activation = \"auto\" }}\n\
         madff = {{ at = [2, 4], state = {state:?}, bottleneck = 192 }}\n\
         zero_at = {{ size = 64 }}\nfew_at = {{ size = 64 }}\ndiffers = {{ augment = \"mvfa-11\" }}\n\
         [train]\nepochs = 3\nscale = 12.87\n{more}\n",
        data = world.path("data"),
        state = world.path("states"),
    );
    world.write("train.toml", text).display().to_string()
}

fn world() -> World {
    let world = World::new();
    let data = world.path("data").display().to_string();
    let small = "--families carpet --defects hole,stain --size 64 --train 3 --good 3 --per-defect 2 --seed 3";
    let ended = world.run(["dataset", "make", &data].into_iter().chain(small.split(' ')));
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    world
}

/// Columns of `CLASS.losses.csv`, epoch by epoch.
fn losses(world: &World) -> Vec<f64> {
    let text = std::fs::read_to_string(world.path("states/carpet.losses.csv")).unwrap();
    assert!(text.starts_with("epoch,loss,det bce-on-probability,seg focal,seg dice\n"), "{text}");
    text.lines().skip(1).map(|line| line.split(',').nth(1).unwrap().parse().unwrap()).collect()
}

fn train(world: &World, pipeline: &str, more: &[&str]) -> loupe_tests::Ended {
    world.run(["train", pipeline].into_iter().chain(more.iter().copied()))
}

#[test]
fn adapters_learn_and_a_run_reads_them() {
    let world = world();
    let pipeline = pipeline(&world, "");
    let out = world.path("out").display().to_string();
    let untrained = world.run(["run", &pipeline, "--out", &out]);
    assert_eq!(untrained.code, Some(1));
    expect![[r#"
        error: class `carpet`: stage `madff` has learned nothing for class `carpet` yet: there is no `WORLD/states/carpet.safetensors`; train it with `loupe train`
    "#]]
    .assert_eq(&untrained.stderr);

    let trained = train(&world, &pipeline, &[]);
    assert_eq!(trained.code, Some(0), "{}", trained.stderr);
    let losses = losses(&world);
    assert_eq!(losses.len(), 3);
    assert!(losses[2] < losses[0], "{losses:?}");
    let state = std::fs::read(world.path("states/carpet.safetensors")).unwrap();
    let file = SafeTensors::deserialize(&state).unwrap();
    assert_eq!(file.tensor("seg_adapters.1.fc1.0.weight").unwrap().shape(), [192, 192]);
    assert!(!world.path("states/carpet.training").exists(), "a checkpoint was left");

    let ran = world.run(["run", &pipeline, "--out", &out]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert!(ran.stdout.starts_with("setting: transductive\n"), "{}", ran.stdout);
}

/// Stopped between two steps, taken up again: the same bytes as in one go, and with no cache.
#[test]
fn a_training_is_taken_up_where_it_was_stopped() {
    let world = world();
    let pipeline = pipeline(&world, "");
    let whole = train(&world, &pipeline, &["--no-cache"]);
    assert_eq!(whole.code, Some(0), "{}", whole.stderr);
    let file = world.path("states/carpet.safetensors");
    let whole = std::fs::read(&file).unwrap();
    std::fs::remove_dir_all(world.path("states")).unwrap();

    // One epoch, then another two: a training may also grow.
    let first = train(&world, &pipeline, &["--set", "train.epochs=1"]);
    assert_eq!(first.code, Some(0), "{}", first.stderr);
    assert_ne!(std::fs::read(&file).unwrap(), whole);
    std::fs::remove_dir_all(world.path("states")).unwrap();

    let mut command = world.command(["train", &pipeline]);
    let mut child = command.stderr(std::process::Stdio::null()).spawn().unwrap();
    let side = world.path("states/carpet.training");
    let started = std::time::Instant::now();
    while !side.exists() && started.elapsed().as_secs() < 120 {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    let code = child.wait().unwrap().code();
    if code == Some(130) {
        assert!(side.exists(), "no checkpoint");
        let other = train(&world, &pipeline, &["--set", "train.optimizer.lr=0.01"]);
        assert_eq!(other.code, Some(1));
        assert!(other.stderr.contains("is of another training"), "{}", other.stderr);
    }
    let rest = train(&world, &pipeline, &[]);
    assert_eq!(rest.code, Some(0), "{}", rest.stderr);
    assert!(std::fs::read(&file).unwrap() == whole, "the bytes differ");
}

/// The epoch with the best figures on the test set: an oracle, and said so.
#[test]
fn the_best_epoch_on_the_test_set_is_an_oracles() {
    let world = world();
    let pipeline = pipeline(&world, "keep = \"best-test\"");
    let trained = train(&world, &pipeline, &[]);
    assert_eq!(trained.code, Some(0), "{}", trained.stderr);
    assert!(trained.stdout.contains("(oracle)"), "{}", trained.stdout);
    assert!(trained.stderr.contains("figures of such a run are an oracle's"), "{}", trained.stderr);
    let out = world.path("out").display().to_string();
    let ran = world.run(["run", &pipeline, "--out", &out]);
    assert!(ran.stdout.starts_with("setting: oracle\n"), "{}{}", ran.stdout, ran.stderr);
}

/// Another data set teaches all classes of this one.
#[test]
fn another_data_set_teaches() {
    let world = world();
    let auxiliary =
        format!("auxiliary = [{{ dataset = \"mvtec-ad\", root = {:?} }}]", world.path("data"));
    let pipeline = pipeline(&world, &auxiliary);
    let none = ["--set", "data.references={shots=0}", "--set", "train.epochs=1"];
    let trained = train(&world, &pipeline, &none);
    assert_eq!(trained.code, Some(0), "{}", trained.stderr);
    // Three normal test images and two of each of two defects, each in eleven forms.
    assert!(trained.stdout.contains("carpet       77"), "{}", trained.stdout);
}

/// What is learned from other sets alone is learned once; every class has its numbers and how it got them.
#[test]
fn classes_share_what_other_sets_taught() {
    let world = World::new();
    let data = world.path("data").display().to_string();
    let small =
        "--families carpet,leather --defects hole --size 64 --train 1 --good 1 --per-defect 1";
    let ended = world.run(["dataset", "make", &data].into_iter().chain(small.split(' ')));
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let auxiliary = format!("auxiliary = [{{ dataset = \"mvtec-ad\", root = {data:?} }}]");
    let pipeline = pipeline(&world, &auxiliary);
    let classes = ["--set", "data.classes=[\"carpet\",\"leather\"]"];
    let none = ["--set", "data.references={shots=0}", "--set", "train.augment=\"none\""];
    let sets = [&classes[..], &none].concat();
    let trained = train(&world, &pipeline, &sets);
    assert_eq!(trained.code, Some(0), "{}", trained.stderr);
    for file in ["safetensors", "losses.csv"] {
        let read =
            |class: &str| std::fs::read(world.path(format!("states/{class}.{file}"))).unwrap();
        assert!(read("carpet") == read("leather"), "{file}");
    }
    assert_eq!(losses(&world).len(), 3);
}

#[test]
fn a_fusion_of_a_third_party_learns_between_clips_taps() {
    let world = world();
    build_rust(&world, "rust-gate", "gate");
    let gate = world.write(
        "gate.toml",
        format!(
            "loupe = 1\n[data]\ndataset = \"mvtec-ad\"\nroot = {:?}\n\
             references = {{ shots = 2, anomalous = 1 }}\n\
             [stages]\n\
             image = {{ prepare = \"square\", sizes = [64] }}\n\
             clip = {{ encoder = \"clip\", image = \"image\", model = \"starter\", weights = \"starter\" }}\n\
             gate = {{ fusion = \"gate\", taps = \"clip\", at = [2, 4], width = 192, n_prefix = 1, state = {:?} }}\n\
             words = {{ prompts = \"ensemble\", sets = [\"manual\"], subject = \"class\", embed_with = \"clip\" }}\n\
             told = {{ scorer = \"language\", query = \"gate.seg_tokens\", text = \"words\", scale = 12.87 }}\n\
             map = {{ fusion = \"resolution-mean\", parts = \"told\" }}\n\
             [output]\nanomaly_map = \"map\"\n\
             [train]\nstage = \"gate\"\ntext = \"words\"\nepochs = 4\nscale = 12.87\n\
             loss = {{ seg = [\"focal\", \"dice\"] }}\noptimizer = {{ lr = 0.01 }}\n",
            world.path("data"),
            world.path("gates"),
        ),
    );
    let plugins = world.path("plugins").display().to_string();
    let gate = gate.display().to_string();
    let trained = world.run(["train", &gate, "--plugin-path", &plugins]);
    assert_eq!(trained.code, Some(0), "{}", trained.stderr);
    let text = std::fs::read_to_string(world.path("gates/carpet.losses.csv")).unwrap();
    let losses: Vec<f64> =
        text.lines().skip(1).map(|line| line.split(',').nth(1).unwrap().parse().unwrap()).collect();
    assert!(losses[3] < 0.95 * losses[0], "{losses:?}");
    let out = world.path("gate-out").display().to_string();
    let ran = world.run(["run", &gate, "--plugin-path", &plugins, "--out", &out]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
}

#[test]
fn what_train_says_is_checked() {
    let world = world();
    let said = |more: &str| {
        let path = pipeline(&world, more);
        let ended = world.run(["check", &path]);
        assert_eq!(ended.code, Some(3), "{}", ended.stderr);
        ended.stderr
    };
    let text = said("stage = \"told\"");
    assert!(text.contains("stage `told` cannot be trained"), "{text}");
    let text = said("text = \"clip\"");
    assert!(text.contains("`text` of `[train]` wants a prompts stage with embeddings"), "{text}");
    let text = said("loss = { sec = \"focal\" }");
    assert!(text.contains("stage `madff` has no output `sec_tokens`"), "{text}");
    assert!(text.contains("its heads are `det`, `seg`") || text.contains("`seg`, `det`"), "{text}");
    let text = said("keep = \"best\"");
    assert!(text.contains("`keep`"), "{text}");
    let text = said("augment = \"mvfa-12\"");
    assert!(text.contains("`augment`") && text.contains("mvfa-11"), "{text}");
    let text = said("stage = \"nobody\"");
    assert!(text.contains("there is no stage `nobody`"), "{text}");
}
