//! What a trained pipeline's figures are called, wherever they stand.

use std::path::PathBuf;

use loupe_tests::World;
use serde_json::Value;

use super::{pipeline, world};

/// Words alone judge, so that nothing is fitted on the test set.
const WORDS: &str = "\"output.anomaly_map\" = \"zero\", \"stages.verdict.of\" = \"zero\"";

/// Another data set, of which nothing is tested.
fn other(world: &World) -> PathBuf {
    let data = world.path("other");
    let small = "--families leather --defects hole --size 64 --train 1 --good 1 --per-defect 1";
    let folder = data.display().to_string();
    let ended = world.run(["dataset", "make", &folder].into_iter().chain(small.split(' ')));
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    data
}

fn sweep(world: &World) -> String {
    let base = pipeline(world, "").replace('\\', "/");
    let auxiliary =
        format!("\"train.auxiliary\" = [{{ dataset = \"mvtec-ad\", root = {:?} }}]", other(world));
    let none = "\"data.references\" = { shots = 1 }";
    let variant = |name: &str, set: &str| {
        format!(
            "[[variant]]\nname = \"{name}\"\nset = {{ \"train.epochs\" = 1, \"train.augment\" = \"none\", {set} }}\n"
        )
    };
    let text = format!(
        "sweep = 1\nbase = {base:?}\n{}{}{}[[mean]]\nlabel = \"both\"\nof = [\"a\", \"b\"]\n",
        variant("a", "\"run.seed\" = 7"),
        variant("b", "\"train.keep\" = \"best-test\""),
        variant("c", &format!("{WORDS}, {none}, {auxiliary}")),
    );
    world.write("s.toml", text).display().to_string()
}

fn read(world: &World, file: &str) -> String {
    let path = world.path(file);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn a_setting_stands_beside_every_figure() {
    let world = world();
    let (file, out) = (sweep(&world), world.path("out").display().to_string());
    let ended = world.run(["sweep", &file, "--out", &out]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let (markdown, csv) = (read(&world, "out/sweep.md"), read(&world, "out/sweep.csv"));
    let as_json = world.run(["sweep", &file, "--out", &out, "--format", "json"]);
    let table: Value = serde_json::from_str(&as_json.stdout).unwrap();
    let settings = ["transductive", "oracle", "auxiliary-trained"];
    for (i, (name, setting)) in ["a", "b", "c"].into_iter().zip(settings).enumerate() {
        // The sweep's table, four times.
        let is_line = |line: &&str| line.starts_with(&format!("{name} "));
        let line = ended.stdout.lines().find(is_line).unwrap();
        assert!(line.contains(&format!("   {setting}   ")), "{line}");
        assert!(
            markdown.contains(&format!("| {name} | "))
                && markdown.contains(&format!(" | {setting} | "))
        );
        let is_row = |line: &&str| line.starts_with(&format!("native,{name},"));
        let row = csv.lines().find(is_row).unwrap();
        assert!(row.ends_with(&format!(",{setting},,")), "{row}");
        assert_eq!(table["rows"][i]["setting"], setting);

        // The run folder of its cell.
        let cells = std::fs::read_dir(world.path("out/cells")).unwrap();
        let cell = cells.map(|cell| cell.unwrap().file_name().into_string().unwrap());
        let cell = cell.into_iter().find(|cell| cell.starts_with(&format!("{name}-"))).unwrap();
        let results: Value =
            serde_json::from_str(&read(&world, &format!("out/cells/{cell}/results.json"))).unwrap();
        assert_eq!(results["facts"]["setting"], setting);
        let lines = read(&world, &format!("out/cells/{cell}/results.csv"));
        assert!(
            lines.lines().skip(1).all(|line| line.ends_with(&format!(",{setting}"))),
            "{lines}"
        );
        let report = read(&world, &format!("out/cells/{cell}/report.html"));
        assert!(
            report.contains(&format!("<li><span>setting</span><b>{setting}</b></li>")),
            "{cell}"
        );
        assert_eq!(report.contains("an upper bound, not a result"), setting == "oracle");
    }
    // A mean of an oracle's figures and of others' is called by both.
    assert_eq!(table["rows"][3]["setting"], "oracle + transductive");
}

/// What `loupe run` prints of a state that came about otherwise than its pipeline says.
#[test]
fn a_run_says_its_setting_first() {
    let world = world();
    let file = pipeline(&world, "");
    let data = other(&world);
    let auxiliary = format!("train.auxiliary=[{{dataset=\"mvtec-ad\",root={data:?}}}]");
    let words = ["output.anomaly_map=zero", "stages.verdict.of=zero", "train.epochs=1"];
    let sets = words.iter().copied().chain(["data.references={shots=0}", auxiliary.as_str()]);
    let sets: Vec<&str> = sets.flat_map(|set| ["--set", set]).collect();
    let trained = world.run(["train", &file].into_iter().chain(sets.iter().copied()));
    assert_eq!(trained.code, Some(0), "{}", trained.stderr);
    let out = world.path("out").display().to_string();
    let ran = world.run(["run", &file, "--out", &out].into_iter().chain(sets));
    assert!(ran.stdout.starts_with("setting: auxiliary-trained\n"), "{}{}", ran.stdout, ran.stderr);
    let ran = world.run(["run", &file, "--out", &out]);
    assert!(ran.stdout.starts_with("setting: transductive\n"), "{}{}", ran.stdout, ran.stderr);
}
