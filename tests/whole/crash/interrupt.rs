//! Ctrl-C: a valid run folder with the classes that were done, and a cache with what they made.

use std::time::Duration;

use loupe_tests::{Ended, Running, tree};
use serde_json::Value;

use super::bench::{Bench, Outcome};

const MANY: [&str; 8] =
    ["brick", "carpet", "granite", "hex_tiles", "leather", "plaster", "wood_grain", "woven"];

fn json(bench: &Bench, name: &str, file: &str) -> Value {
    let bytes = std::fs::read(bench.out(name).join(file)).unwrap();
    serde_json::from_slice(&bytes).unwrap_or_else(|error| panic!("{name}: `{file}`: {error}"))
}

/// Starts the run of `name` and interrupts it with `signal` as soon as so many classes are done.
/// `None`: it was quicker.
fn interrupt(bench: &Bench, name: &str, signal: &str, n_classes: usize) -> Option<Ended> {
    let mut running = Running::start(&mut bench.run(name));
    let classes = bench.out(name).join("classes");
    while tree(&classes).len() < n_classes && !running.is_over() {
        std::thread::sleep(Duration::from_millis(1));
    }
    running.signal(signal);
    let ended = bench.world.ended(&running.end());
    (ended.code != Some(0)).then_some(ended)
}

#[test]
fn an_interrupted_run_leaves_a_valid_folder() {
    let bench = Bench::new(&MANY);
    let want = bench.undisturbed();
    let cases = [("INT", 1), ("TERM", 1), ("INT", 2), ("INT", 4), ("TERM", 5)];
    for (nth, (signal, n_classes)) in cases.into_iter().enumerate() {
        let caught = (0..20).find_map(|attempt| {
            let name = format!("interrupted-{nth}-{attempt}");
            interrupt(&bench, &name, signal, n_classes).map(|ended| (name, ended))
        });
        let (name, ended) = caught.unwrap_or_else(|| panic!("no run could be interrupted in time"));
        assert_eq!(ended.code, Some(130), "{}", ended.stderr);
        assert!(ended.stderr.ends_with("interrupted\n"), "{}", ended.stderr);
        is_valid(&bench, &name, n_classes, &want);
        bench.recovers(&name, &want);
    }
}

/// The folder says that it is not complete, and what it says of the classes that were done is what
/// the whole run says.
fn is_valid(bench: &Bench, name: &str, at_least: usize, want: &Outcome) {
    assert_eq!(json(bench, name, "run.json")["complete"], false);
    let results = json(bench, name, "results.json");
    let whole: Value = serde_json::from_slice(&want.files["results.json"]).unwrap();
    let classes = |results: &Value| results["protocols"][0]["classes"].as_array().unwrap().clone();
    let (done, all) = (classes(&results), classes(&whole));
    assert!(at_least <= done.len() && done.len() < all.len(), "{} classes", done.len());
    assert_eq!(done[..], all[..done.len()]);
    assert_eq!(results["n_classes"], done.len());
    let got = super::bench::files(&bench.out(name));
    let report = String::from_utf8(got["report.html"].clone()).unwrap();
    assert!(report.trim_end().ends_with("</html>"));
    for class in &done {
        let class = class["class"].as_str().unwrap();
        assert_eq!(
            got[&format!("classes/{class}.json")],
            want.files[&format!("classes/{class}.json")]
        );
        assert!(report.contains(class), "the report has no `{class}`");
    }
    for (file, bytes) in got.iter().filter(|(file, _)| file.starts_with("maps/")) {
        assert!(want.files[file] == *bytes, "`{file}` differs");
    }
    // The cache has at least what the classes that were done put there, and nothing else than a
    // whole run puts there.
    let values = super::same::values(&bench.cache(name));
    assert!(values.len() >= done.len() * want.values.len() / (all.len() + 1));
    assert!(values.iter().all(|(key, value)| want.values.get(key) == Some(value)));
    bench.verifies(name);
}

#[test]
fn a_second_signal_ends_it_at_once_and_harms_nothing() {
    let bench = Bench::new(&MANY[..4]);
    let want = bench.undisturbed();
    let name = "twice";
    let mut running = Running::start(&mut bench.run(name));
    while tree(&bench.out(name).join("classes")).is_empty() && !running.is_over() {
        std::thread::sleep(Duration::from_millis(1));
    }
    for _ in 0..3 {
        running.signal("INT");
    }
    // The run may have been quicker than the signals.
    let ended = bench.world.ended(&running.end());
    assert!(matches!(ended.code, Some(0 | 130)), "{ended:?}");
    bench.recovers(name, &want);
}
