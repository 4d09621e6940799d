//! What a run prints and leaves behind, and what a second one takes from the cache.

use loupe_tests::read_npy;
use serde_json::Value;

use super::{CLASSES, N_TESTS, json, ran, results, run, scores, world};

#[test]
fn the_run_folder() {
    let world = world();
    let ended = ran(&world, "out", &[]);
    assert!(ended.stderr.contains("wrote WORLD/out (12 images, 0 from cache)"), "{}", ended.stderr);
    let lines: Vec<&str> = ended.stdout.lines().collect();
    assert_eq!(lines[..2], ["setting: inductive", "protocol: native"]);
    assert!(lines[2].starts_with("class       images   image AUROC   image AP   image F1-max"));
    let rows: Vec<&str> =
        lines[3..].iter().filter_map(|line| line.split_whitespace().next()).collect();
    assert_eq!(rows, ["wire_mesh", "woven", "mean"]);

    let out = world.path("out");
    let all = json(&out.join("results.json"));
    assert_eq!((&all["schema"], &all["n_classes"]), (&1.into(), &2.into()));
    assert_eq!(all["facts"]["plugins"].as_array().unwrap().len(), 3);
    let table = &all["protocols"][0];
    assert_eq!(table["protocol"], "native");
    for (row, class) in table["classes"].as_array().unwrap().iter().zip(CLASSES) {
        assert_eq!((&row["class"], &row["n_images"]), (&class.into(), &6.into()));
        assert_eq!(row["n_anomalous"], 4);
        for metric in table["metrics"].as_array().unwrap() {
            let value = row["metrics"][metric.as_str().unwrap()].as_f64();
            assert!(value.is_some_and(|value| (0.0..=1.0).contains(&value)), "{metric}: {row}");
        }
    }
    let csv = std::fs::read_to_string(out.join("results.csv")).unwrap();
    let rows: Vec<&str> = csv.lines().map(|line| line.split(',').nth(1).unwrap()).collect();
    assert_eq!(rows, ["class", "wire_mesh", "woven", "mean"]);

    let scores = scores(&out);
    assert_eq!(scores.len(), N_TESTS);
    for (name, score) in scores {
        let file = format!("maps/{}", name.replace(".png", ".npy"));
        let (shape, map) = read_npy(&out.join(file));
        assert_eq!(shape, [3, 3], "the finer grid of 32 and 48 pixels in patches of 16");
        let peak = map.iter().copied().fold(f32::MIN, f32::max);
        assert_eq!(f64::from(peak), score, "{name}");
    }
    let references = json(&out.join("references/woven.json"));
    assert!(references.to_string().contains("woven/train/good/"), "{references}");
    let run = json(&out.join("run.json"));
    assert_eq!((&run["complete"], &run["shots"]), (&Value::Bool(true), &1.into()));
    let report = std::fs::read_to_string(out.join("report.html")).unwrap();
    assert!(report.contains("wire_mesh") && report.contains("<table"));
    for word in ["http://", "https://", "<script src", "<link"] {
        assert!(!report.replace("http://www.w3.org/", "").contains(word), "{word} in the report");
    }
}

/// Cache off, cold and warm give the same bytes, and a warm run encodes nothing.
#[test]
fn a_second_run_is_served_from_the_cache() {
    let world = world();
    ran(&world, "cold", &[]);
    let warm = ran(&world, "warm", &[]);
    assert!(warm.stderr.contains("(12 images, 12 from cache)"), "{}", warm.stderr);
    let off = ran(&world, "off", &["--no-cache"]);
    assert!(off.stderr.contains("(12 images, 0 from cache)"), "{}", off.stderr);
    let cold = results(&world.path("cold"));
    assert!(cold.len() > 20, "{:?}", cold.keys());
    assert!(cold == results(&world.path("warm")), "cold and warm differ");
    assert!(cold == results(&world.path("off")), "cold and off differ");
}

#[test]
fn auto_finds_the_features_of_the_precision_that_it_became() {
    let world = world();
    let tiles = world.run(["doctor"]).stdout.contains("bf16-amx");
    let run = |out: &str, precision: &str| {
        let set = |stage: &str| format!("stages.{stage}.precision={precision}");
        ran(&world, out, &["--set", &set("clip"), "--set", &set("far")]).stderr
    };
    run("auto", "auto");
    let named = run("named", if tiles { "bf16" } else { "f32" });
    assert!(named.contains("(12 images, 12 from cache)"), "{named}");
    assert_eq!(scores(&world.path("auto")), scores(&world.path("named")));
    let other = run("other", if tiles { "f32" } else { "bf16" });
    assert!(other.contains("(12 images, 0 from cache)"), "{other}");
}

/// The pipeline that a run leaves behind runs again, to the same results.
#[test]
fn a_run_folder_is_a_recipe() {
    let world = world();
    ran(&world, "first", &["--set", "stages.far.distance=cosine"]);
    std::fs::copy(world.path("first/pipeline.toml"), world.path("r.toml")).unwrap();
    ran(&world, "second", &[]);
    assert_eq!(scores(&world.path("first")), scores(&world.path("second")));
}

#[test]
fn no_shots_are_refused_before_anything_is_computed() {
    let world = world();
    let ended = run(&world, "out", &["--shots", "0"]);
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    let why =
        "`data.references.shots` is 0, but stage `far` learns from references: give 1 or more";
    assert!(ended.stderr.contains(why), "{}", ended.stderr);
    assert!(!world.path("out").exists());
    let own =
        ["--shots", "0", "--set", "stages.far.k=2", "--set", "stages.far.self_reference=true"];
    ran(&world, "own", &own);
}

#[test]
fn shots_and_seeds_give_mean_and_spread() {
    let world = world();
    let ended = ran(&world, "study", &["--shots", "1,2", "--seeds", "0..1"]);
    let lines: Vec<&str> = ended.stdout.lines().collect();
    assert_eq!(lines[1], "protocol: native, mean ± standard deviation over seeds");
    assert_eq!(lines.len(), 3 + 2 * 3, "{}", ended.stdout);
    assert!(lines[3..].iter().all(|line| line.contains(" ± ")), "{}", ended.stdout);
    let csv = std::fs::read_to_string(world.path("study/r-summary.csv")).unwrap();
    let mut lines = csv.lines();
    let heading: Vec<&str> = lines.next().unwrap().split(',').collect();
    let column = |name: &str| heading.iter().position(|other| *other == name).unwrap();
    let row = |shots: &str, class: &str| -> Vec<&str> {
        let rows = csv.lines().map(|line| line.split(',').collect::<Vec<_>>());
        rows.into_iter().find(|row| row[1] == shots && row[2] == class).unwrap()
    };
    // The summary is what the folders of the cells say.
    for shots in ["1", "2"] {
        let of_seed = |seed: u32| {
            let all = json(&world.path(format!("study/r-s{shots}-seed{seed}/results.json")));
            let row = all["protocols"][0]["classes"][1].clone();
            assert_eq!(row["class"], "woven");
            row["metrics"]["pixel.auroc"].as_f64().unwrap()
        };
        let (a, b) = (of_seed(0), of_seed(1));
        let number = |name: &str| row(shots, "woven")[column(name)].parse::<f64>().unwrap();
        assert!((number("pixel.auroc mean") - (a + b) / 2.0).abs() < 1e-12);
        assert!((number("pixel.auroc std") - (a - b).abs() / 2.0_f64.sqrt()).abs() < 1e-12);
    }
    let summary = json(&world.path("study/r-summary.json"));
    assert_eq!(summary["rows"].as_array().unwrap().len(), 6);
}

#[test]
fn keys_classes_and_formats() {
    let world = world();
    let ended = ran(&world, "plain", &["--class", "woven", "--format", "json"]);
    let tables: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(tables[0].as_array().unwrap().len(), 1);
    assert_eq!((&tables[0][0]["class"], &tables[0][0]["n_images"]), (&"woven".into(), &6.into()));
    ran(&world, "gain", &["--class", "woven", "--set", "stages.vision.gain=2.0"]);
    let (plain, gain) = (scores(&world.path("plain")), scores(&world.path("gain")));
    assert_eq!(plain.len(), 6);
    for (name, score) in &plain {
        assert_eq!(gain[name], 2.0 * score, "{name}");
    }
    // A fusion's key encodes nothing anew.
    let warm = ran(&world, "again", &["--class", "woven", "--set", "stages.vision.gain=4.0"]);
    assert!(warm.stderr.contains("(6 images, 6 from cache)"), "{}", warm.stderr);
    let ended = run(&world, "none", &["--class", "wovn"]);
    assert_eq!(ended.code, Some(1));
    assert!(ended.stderr.contains("`wovn`") && ended.stderr.contains("woven"), "{}", ended.stderr);
}

/// Maps at the images' size, and an overlay for each image.
#[test]
fn more_to_save() {
    let world = world();
    ran(&world, "out", &["--class", "woven", "--save", "maps,overlays"]);
    let (shape, _) = read_npy(&world.path("out/maps/woven/test/hole/000.npy"));
    assert_eq!(shape, [64, 64]);
    let pictures = loupe_tests::tree(&world.path("out/pictures"));
    let overlays = pictures.iter().filter(|(name, _)| name.ends_with(".png")).count();
    assert_eq!(overlays, 6, "{:?}", pictures.keys());
    assert!(pictures.values().all(|bytes| bytes.starts_with(b"\x89PNG")));
}

/// What FADE's program writes: tables in its columns, maps on their grid, panels; a second run into
/// the folder leaves none of it behind.
#[test]
fn the_files_of_the_original() {
    let world = world();
    let all = ["--class", "woven", "--save", "fade-tables,fade-maps,fade-panels"];
    let refused = run(&world, "out", &all);
    assert_eq!(refused.code, Some(1));
    assert!(refused.stderr.contains("add `fade-448-u8`"), "{}", refused.stderr);
    let sized = ["--set", "protocol.use=[\"fade-96-u8\"]"];
    let ended = ran(&world, "out", &[&all[..], &sized[..]].concat());
    assert!(ended.stdout.contains("protocol: fade-96-u8"), "{}", ended.stdout);
    let files = loupe_tests::tree(&world.path("out"));
    let text = |name: &str| String::from_utf8_lossy(&files[name]).into_owned();
    let rows = text("result/evaluation_results.csv");
    let rows: Vec<&str> = rows.lines().filter_map(|row| row.split(',').next()).collect();
    assert_eq!(rows, ["object_name", "woven", "mean"]);
    assert_eq!(text("result/plot_results.csv").lines().count(), 1 + 6);
    for folder in ["segmentations/", "images/"] {
        let pictures = files.iter().filter(|(name, _)| name.starts_with(folder));
        assert!(pictures.clone().all(|(_, bytes)| bytes.starts_with(b"\x89PNG")));
        assert_eq!(pictures.count(), 6, "{folder}");
    }
    ran(&world, "out", &["--class", "woven"]);
    let left = loupe_tests::tree(&world.path("out"));
    assert!(!left.keys().any(|name| name.starts_with("result/") || name.starts_with("images/")));
}

/// A folder that is not a run's is not written into.
#[test]
fn a_folder_of_something_else() {
    let world = world();
    world.write("thesis/chapter.tex", "all of it");
    let ended = run(&world, "thesis", &[]);
    assert_eq!(ended.code, Some(1));
    assert!(ended.stderr.contains("WORLD/thesis"), "{}", ended.stderr);
    assert_eq!(loupe_tests::tree(&world.path("thesis")).len(), 1);
}
