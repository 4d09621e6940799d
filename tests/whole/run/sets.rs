//! A sweep over data sets: a line a set, and the means that its file asks for.

use super::*;

/// Three sets in three layouts; `chest` has no masks.
const SWEEP: &str = r#"sweep = 1
base  = "r.toml"
seeds = [0, 1]
[[variant]]
name  = "surfaces"
label = "woven surfaces"
set   = { "data.root" = "${LOUPE_DEMO_DATA}/mvtec" }
[[variant]]
name = "btad"
set  = { "data.dataset" = "btad", "data.root" = "${LOUPE_DEMO_DATA}/btad" }
[[variant]]
name = "chest"
set  = { "data.dataset" = "chest", "data.root" = "${LOUPE_DEMO_DATA}/medical" }
[[mean]]
label = "all"
of    = ["surfaces", "btad", "chest"]
pixel = ["surfaces", "btad"]
[[mean]]
label = "masked"
of    = ["surfaces", "btad"]
"#;
const TITLES: [&str; 3] = ["woven surfaces", "btad", "chest"];
const CELLS: [&str; 3] = ["surfaces", "btad", "chest"];

/// The classes of the generated set as data sets of the layouts `mvtec-ad`, `btad` and `chest`.
fn sets() -> World {
    let world = world();
    let class = |name: &str| loupe_tests::tree(&world.path(format!("data/{name}")));
    let (mesh, woven) = (class("wire_mesh"), class("woven"));
    for (name, bytes) in &woven {
        world.write(&format!("data/mvtec/woven/{name}"), bytes);
    }
    for (number, files) in [("01", &mesh), ("02", &woven), ("03", &mesh)] {
        for (name, bytes) in files {
            // Names of two kinds of defects must not meet in one folder.
            let flat = name.replace("/good/", "/ok/").replace("/hole/", "/ko/h");
            let flat = flat.replace("/stain/", "/ko/s").replace("_mask.png", ".png");
            world.write(&format!("data/btad/{number}/{flat}"), bytes);
        }
    }
    for (name, bytes) in mesh.iter().filter(|(name, _)| !name.starts_with("ground_truth")) {
        let name =
            name.replace("train/good/", "valid/good/img/").replace("test/good/", "test/good/img/");
        let name = name
            .replace("test/hole/", "test/Ungood/img/h")
            .replace("test/stain/", "test/Ungood/img/s");
        world.write(&format!("data/medical/Chest_AD/{name}"), bytes);
    }
    world.write("s.toml", SWEEP);
    world
}

fn sweep(world: &World, more: &[&str]) -> Ended {
    let file = world.path("s.toml").display().to_string();
    let out = world.path("out").display().to_string();
    world.run(["sweep", &file, "--out", &out].into_iter().chain(more.iter().copied()))
}

/// A metric of a cell as its own run folder says it: the mean over classes, or that of the one class.
fn of_cell(world: &World, set: &str, seed: u64, metric: &str) -> f64 {
    let results = json(&world.path(format!("out/cells/{set}-s1-seed{seed}/results.json")));
    let table = &results["protocols"][0];
    let classes = table["classes"].as_array().unwrap();
    let row = if classes.len() == 1 { &classes[0] } else { &table["mean"] };
    row["metrics"][metric].as_f64().unwrap()
}

#[test]
fn means_over_sets_are_the_means_of_their_lines() {
    let world = sets();
    let ended = sweep(&world, &["--format", "json"]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let table: Value = serde_json::from_str(&ended.stdout).unwrap();
    let rows = table["rows"].as_array().unwrap();
    let titles: Vec<&str> = rows.iter().map(|row| row["variant"].as_str().unwrap()).collect();
    let [all, masked] = ["all (mean of 3, pixel columns of 2)", "masked (mean of 2)"];
    assert_eq!(titles, [&TITLES[..], &[all, masked]].concat());

    for (row, metric, sets) in [
        (3, "image.auroc", &CELLS[..]),
        (3, "pixel.auroc", &CELLS[..2]),
        (3, "pixel.aupro@0.3", &CELLS[..2]),
        (4, "image.auroc", &CELLS[..2]),
        (4, "pixel.ap", &CELLS[..2]),
    ] {
        let got = &rows[row]["metrics"][metric];
        let of_seed = |seed| {
            sets.iter().map(|set| of_cell(&world, set, seed, metric)).sum::<f64>()
                / sets.len() as f64
        };
        let (a, b) = (of_seed(0), of_seed(1));
        let is = |key: &str, want: f64| {
            let got = got[key].as_f64().unwrap();
            assert!((got - want).abs() < 1e-12, "{row}, {metric}, {key}: {got}, and not {want}");
        };
        is("mean", (a + b) / 2.0);
        is("std", (a - b).abs() / 2.0_f64.sqrt());
        // The mean of the printed lines is the printed mean.
        let lines = (0..sets.len()).map(|i| rows[i]["metrics"][metric]["mean"].as_f64().unwrap());
        is("mean", lines.sum::<f64>() / sets.len() as f64);
    }
    assert_eq!(rows[2]["metrics"]["pixel.auroc"]["mean"], Value::Null);

    let printed = sweep(&world, &[]).stdout;
    let mean = rows[3]["metrics"]["image.auroc"]["mean"].as_f64().unwrap() * 100.0;
    let line = printed.lines().find(|line| line.starts_with(all)).unwrap();
    assert!(line.contains(&format!("{mean:.1} ± ")), "{mean}: {line}");
    let [csv, markdown] = ["out/sweep.csv", "out/sweep.md"]
        .map(|file| std::fs::read_to_string(world.path(file)).unwrap());
    assert!(
        csv.lines().any(|line| line.starts_with(&format!("native,\"{all}\",0,1,2,0,"))),
        "{csv}"
    );
    assert!(csv.trim_end().ends_with(",inductive,2,2"), "{csv}");
    assert!(markdown.contains(&format!("| {masked} | 1 | 2 | inductive | ")), "{markdown}");
}

#[test]
fn a_set_that_is_not_there_is_said_and_leaves_its_means_open() {
    let world = sets();
    std::fs::remove_dir_all(world.path("data/medical")).unwrap();
    std::fs::remove_dir_all(world.path("data/btad/02/train")).unwrap();
    let plan = sweep(&world, &["--plan"]);
    assert_eq!(plan.code, Some(3), "{}", plan.stderr);
    let states: Vec<&str> = plan
        .stdout
        .lines()
        .skip(1)
        .filter_map(|line| Some(line.rsplit("  ").next()?.trim()))
        .collect();
    assert_eq!(states, ["to do", "to do", "cannot run", "cannot run", "cannot run", "cannot run"]);
    for said in ["error: btad-s1-seed0: ", "error: chest: "] {
        assert!(plan.stderr.contains(said), "{}", plan.stderr);
    }
    assert!(plan.stderr.contains("WORLD/data/medical"), "{}", plan.stderr);

    let ended = sweep(&world, &[]);
    assert_eq!(ended.code, Some(4), "{}", ended.stderr);
    let [all, masked] = ["all (mean of 3, pixel columns of 2)", "masked (mean of 2)"];
    for (title, why) in [(all, "`btad` failed with seed 0"), (masked, "`btad` failed with seed 0")]
    {
        let line = ended.stdout.lines().find(|line| line.starts_with(title)).unwrap();
        assert!(line.ends_with("   -") && !line.contains('.'), "{line}");
        let note = format!("- {title}, 1 shot: {why}\n");
        assert!(ended.stdout.contains(&note), "{}", ended.stdout);
    }
    // One set alone has its line, and the means say what they wait for.
    let few = sweep(&world, &["--only", "surfaces"]);
    let note = format!("- {masked}, 1 shot: `btad` has not run with seed 0\n");
    assert!(few.stdout.contains(&note), "{}", few.stdout);
}

/// The nine sets of the shipped sweep: the plan says of each what is missing.
#[test]
fn the_nine_sets_are_looked_for_one_by_one() {
    let world = World::new();
    let file = loupe_tests::root().join("pipelines/ablations/clipmpcad-sets.toml");
    let mut command = world.command(["sweep".into(), file.into_os_string(), "--plan".into()]);
    let out = world.path("out");
    let command = command.arg("--out").arg(out).env("LOUPE_DATA", world.path("none"));
    let ended = world.ended(&command.output().unwrap());
    assert_eq!(ended.code, Some(3), "{}", ended.stderr);
    let lines: Vec<&str> = ended.stdout.lines().skip(1).collect();
    assert_eq!(lines.len(), 9, "{}", ended.stdout);
    assert!(lines.iter().all(|line| line.ends_with("cannot run")), "{}", ended.stdout);
    for title in [
        "brain MRI",
        "liver CT",
        "retinal OCT, RESC",
        "retinal OCT, OCT2017",
        "chest X-ray",
        "histopathology",
        "MVTec AD",
        "MPDD",
        "BTAD",
    ] {
        let errors =
            ended.stderr.lines().filter(|line| line.starts_with(&format!("error: {title}: ")));
        let errors: Vec<&str> = errors.collect();
        assert!(errors.iter().any(|line| line.contains("WORLD/none")), "{title}: {errors:?}");
    }
}
