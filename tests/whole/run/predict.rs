//! `loupe predict`: images as they come, with no data set.

use std::io::Write;
use std::process::Stdio;

use loupe_tests::{Ended, World, read_npy};
use serde_json::Value;

use super::{ran, scores, world};

/// The lines for what is given on standard input.
fn predict(world: &World, arguments: &[&str], stdin: &str) -> (Ended, Vec<Value>) {
    let pipeline = world.path("r.toml").display().to_string();
    let good = world.path("data/woven/train/good").display().to_string();
    let mut all = vec!["predict", &pipeline, "-", "--reference", &good];
    all.extend(["--class-name", "woven cloth"].iter().chain(arguments));
    let mut command = world.command(all);
    let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = piped.spawn().unwrap();
    child.stdin.take().unwrap().write_all(stdin.as_bytes()).unwrap();
    let ended = world.ended(&child.wait_with_output().unwrap());
    let lines = ended.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    (ended, lines)
}

#[test]
fn one_line_an_image_and_a_bad_one_between() {
    let world = world();
    let path = |name: &str| world.path(name).display().to_string();
    let bad = world.write("bad.png", "no picture").display().to_string();
    let given = [path("data/woven/test/hole/000.png"), bad, path("data/woven/test/good/000.png")];
    let maps = path("maps");
    let (ended, lines) = predict(&world, &["--save-maps", &maps], &given.join("\n"));
    assert_eq!((ended.code, lines.len()), (Some(1), 3), "{}", ended.stderr);
    assert!(ended.stderr.contains("1 of 3 images could not be scored"), "{}", ended.stderr);
    assert!(ended.stderr.contains("unreliable with 4 references"), "{}", ended.stderr);
    assert!(lines[1]["error"].as_str().unwrap().contains("is not an image"), "{}", lines[1]);
    let threshold = lines[0]["threshold"].as_f64().unwrap();
    for line in [&lines[0], &lines[2]] {
        let score = line["anomaly_score"].as_f64().unwrap();
        assert_eq!(line["anomalous"], score > threshold, "{line}");
        assert_eq!(line["threshold"].as_f64(), Some(threshold));
        assert!(line["ms"].as_f64().unwrap() >= 0.0);
    }
    // Both are called 000.png; neither map overwrites the other.
    assert_eq!(loupe_tests::tree(&world.path("maps")).len(), 2);
    let file = lines[0]["map"].as_str().unwrap().replace("WORLD", &path(""));
    let (_, map) = read_npy(std::path::Path::new(&file));
    let peak = map.iter().copied().fold(f32::MIN, f32::max);
    assert_eq!(Some(f64::from(peak)), lines[0]["anomaly_score"].as_f64());
}

/// The threshold comes from the references alone: each is scored against the others.
#[test]
fn thresholds() {
    let world = world();
    let query = world.path("data/woven/test/good/000.png").display().to_string();
    let (_, auto) = predict(&world, &[], &query);
    let (_, all) = predict(&world, &["--quantile", "1"], &query);
    let (a, b) = (auto[0]["threshold"].as_f64().unwrap(), all[0]["threshold"].as_f64().unwrap());
    assert_eq!(a, b, "with fewer than 20 references all of them pass");
    let (_, none) = predict(&world, &["--threshold", "none"], &query);
    assert!(none[0]["threshold"].is_null() && none[0]["anomalous"].is_null(), "{}", none[0]);
    let score = none[0]["anomaly_score"].as_f64().unwrap();
    for (threshold, anomalous) in [(score - 1e-3, true), (score + 1e-3, false)] {
        let (_, lines) = predict(&world, &["--threshold", &threshold.to_string()], &query);
        assert_eq!(lines[0]["anomalous"], anomalous);
    }
}

/// With the references of a run, the scores of that run.
#[test]
fn predict_agrees_with_run() {
    let world = world();
    ran(&world, "out", &["--class", "woven", "--set", "data.references.shots=4"]);
    let scores = scores(&world.path("out"));
    let names: Vec<&String> = scores.keys().collect();
    let paths: Vec<String> =
        names.iter().map(|name| world.path("data").join(name).display().to_string()).collect();
    let (ended, lines) = predict(&world, &["--threshold", "none"], &paths.join("\n"));
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    for (name, line) in names.iter().zip(&lines) {
        let score = line["anomaly_score"].as_f64().unwrap();
        assert!((score - scores[*name]).abs() < 1e-6, "{name}: {line}");
    }
}
