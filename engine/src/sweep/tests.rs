use std::fs;
use std::path::Path;

use super::*;

const HEAD: &str = "sweep = 1\nbase = \"fade.toml\"\n";

fn read(text: &str) -> Result<(SweepFile, Vec<Setup>), SweepError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("study.toml");
    fs::write(&path, text).unwrap();
    let file = SweepFile::read(&path)?;
    let setups = plan(&path, &file)?;
    Ok((file, setups))
}

fn names(text: &str) -> Vec<String> {
    let (_, setups) = read(&format!("{HEAD}{text}")).unwrap();
    setups.iter().flat_map(|setup| setup.cells((1, 0))).map(|cell| cell.name).collect()
}

#[test]
fn a_grid_is_variants_times_axes_times_shots_times_seeds() {
    let text = "shots = [1, 4]\nseeds = [0, 7]\n\
        [[variant]]\nname = \"full\"\n[[variant]]\nname = \"words\"\nset = { \"output.anomaly_map\" = \"language\" }\n\
        [[axis]]\nname = \"size\"\nkey = \"stages.image.sizes\"\nvalues = [[240], [240, 448]]\n";
    let names = names(text);
    assert_eq!(names.len(), 2 * 2 * 2 * 2);
    assert!(
        names[0].starts_with("full-size=_240_-") && names[0].ends_with("-s1-seed0"),
        "{}",
        names[0]
    );
    let distinct: std::collections::BTreeSet<_> = names.iter().collect();
    assert_eq!(distinct.len(), names.len());
    let (_, setups) = read(&format!("{HEAD}{text}")).unwrap();
    assert_eq!(setups[3].title(), "words, size = [240, 448]");
    let sets: Vec<_> =
        setups[3].sets.iter().map(|set| (set.key.as_str(), set.value.as_str())).collect();
    assert_eq!(
        sets,
        [("output.anomaly_map", "\"language\""), ("stages.image.sizes", "[240, 448]")]
    );
    assert!(setups[3].sets[0].by.ends_with("study.toml, variant `words`"));
    assert!(setups[3].sets[1].by.ends_with("study.toml, axis `size`"));
}

#[test]
fn one_at_a_time_varies_the_baseline_alone() {
    let text = "design = \"one-at-a-time\"\n\
        [[variant]]\nname = \"a\"\n[[variant]]\nname = \"b\"\nbaseline = true\nset = { \"run.seed\" = 3 }\n\
        [[axis]]\nname = \"k\"\nkey = \"stages.x.k\"\nvalues = [1, 2]\n\
        [[axis]]\nname = \"g\"\nkey = \"stages.y.gain\"\nvalues = [0.5]\n";
    let (_, setups) = read(&format!("{HEAD}{text}")).unwrap();
    let titles: Vec<String> = setups.iter().map(Setup::title).collect();
    assert_eq!(titles, ["a", "b", "b, k = 1", "b, k = 2", "b, g = 0.5"]);
    let baselines: Vec<bool> = setups.iter().map(|setup| setup.baseline).collect();
    assert_eq!(baselines, [false, true, false, false, false]);
}

#[test]
fn a_file_without_variants_runs_its_base() {
    assert_eq!(names(""), ["base-s1-seed0"]);
    let (file, setups) = read(HEAD).unwrap();
    assert_eq!(file.name.as_deref(), Some("study"));
    assert!(setups[0].pipeline.ends_with("fade.toml") && setups[0].pipeline.is_absolute());
}

#[test]
fn mistakes_in_the_file_are_said() {
    let cases = [
        ("base = \"x\"\n", "missing field `sweep`"),
        ("sweep = 2\nbase = \"x\"\n", "this program reads `sweep = 1`"),
        ("sweep = 1\nbase = \"x\"\nshot = [1]\n", "unknown field `shot`"),
        ("sweep = 1\nbase = \"x\"\nseeds = [1, 1]\n", "`seeds` names a number twice"),
        ("sweep = 1\nbase = \"x\"\nshots = []\n", "`shots` is an empty list"),
        (
            "sweep = 1\nbase = \"x\"\n[[variant]]\nname = \"a\"\n[[variant]]\nname = \"a\"\n",
            "two of `[[variant]]` are called `a`",
        ),
        (
            "sweep = 1\nbase = \"x\"\n[[axis]]\nname = \"a\"\nkey = \"k\"\nvalues = []\n",
            "axis `a` has no `values`",
        ),
        ("sweep = 1\nbase = \"x\"\nseeds = [-1]\n", "invalid value"),
    ];
    for (text, wanted) in cases {
        let message = read(text).err().unwrap().to_string();
        assert!(message.contains(wanted), "{message}");
    }
}

#[test]
fn too_many_cells_are_refused_before_any_is_made() {
    let axis = |name: &str| {
        let values: Vec<String> = (0..1000).map(|i| i.to_string()).collect();
        format!(
            "[[axis]]\nname = \"{name}\"\nkey = \"k.{name}\"\nvalues = [{}]\n",
            values.join(",")
        )
    };
    let text = format!("{HEAD}{}", ["a", "b", "c", "d", "e", "f", "g"].map(axis).concat());
    assert!(read(&text).err().unwrap().to_string().contains("more than 10000 cells"));
}

fn row(value: Option<f64>) -> RowRecord {
    let value =
        value.map_or((None, Some("no masks".to_owned())), |it| (Some(format!("{it:?}")), None));
    RowRecord {
        protocol: "native".to_owned(),
        class: "bottle".to_owned(),
        n_images: 3,
        n_anomalous: 2,
        values: vec![("image.auroc".to_owned(), value.0, value.1)],
    }
}

#[test]
fn records_survive_and_a_torn_line_is_dropped() {
    let folder = tempfile::tempdir().unwrap();
    let exact = 0.1 + 0.2;
    let mut store = Store::open(folder.path(), false).unwrap();
    store.add("a", "id", Outcome::Done, vec![row(Some(exact))], "oracle".to_owned()).unwrap();
    store
        .add("b", "id", Outcome::Failed { error: "no".to_owned() }, Vec::new(), String::new())
        .unwrap();
    assert!(matches!(Store::open(folder.path(), false), Err(SweepError::Busy { .. })));
    drop(store);
    let file = folder.path().join("cells.jsonl");
    let mut bytes = fs::read(&file).unwrap();
    let whole = bytes.len();
    bytes.extend_from_slice(b"{\"schema\":1,\"cell\":\"c");
    fs::write(&file, &bytes).unwrap();
    let store = Store::open(folder.path(), false).unwrap();
    assert_eq!(fs::metadata(&file).unwrap().len(), whole as u64);
    let known = store.get("a", "id").unwrap();
    let value = crate::metrics::ClassMetrics::from(&known.rows[0]).values[0].1.get();
    assert_eq!(value.map(f64::to_bits), Some(exact.to_bits()));
    assert!(known.is_done() && !store.get("b", "id").unwrap().is_done());
    assert!(store.get("a", "other").is_none(), "another pipeline is another cell");
}

#[test]
fn a_foreign_line_is_named() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("cells.jsonl"), "{}\n").unwrap();
    let message = Store::open(folder.path(), false).err().unwrap().to_string();
    assert!(message.contains("line 1") && message.contains("--fresh"), "{message}");
    assert!(Store::open(folder.path(), true).is_ok());
}

fn record(outcome: Outcome, rows: Vec<RowRecord>) -> CellRecord {
    let (cell, identity, setting) = (String::new(), String::new(), "oracle".to_owned());
    CellRecord { schema: 1, cell, identity, outcome, rows, setting }
}

fn cell(seed: u64) -> CellPlan {
    CellPlan { name: String::new(), shots: 1, seed }
}

fn failed() -> CellRecord {
    CellRecord {
        setting: String::new(),
        ..record(Outcome::Failed { error: "x".to_owned() }, Vec::new())
    }
}

#[test]
fn the_table_has_mean_and_spread_and_counts_failures() {
    let text = "[[variant]]\nname = \"a|b\"\nbaseline = true\n";
    let (file, setups) = read(&format!("{HEAD}{text}")).unwrap();
    let done = |value| record(Outcome::Done, vec![row(value)]);
    let records = [done(Some(0.8)), done(Some(0.9)), failed()];
    let plans = [cell(0), cell(1), cell(2)];
    let cells: Vec<Ended<'_>> =
        plans.iter().zip(&records).map(|(plan, it)| (&setups[0], plan, it)).collect();
    let table = sweep_table(&file, &cells);
    assert!(
        table.text.contains("85.0 ± 7.1") && table.text.contains("2 (1 failed)"),
        "{}",
        table.text
    );
    assert!(
        table.markdown.contains("| a\\|b (baseline) | 1 | 2 (1 failed) | oracle | 85.0 ± 7.1 |"),
        "{}",
        table.markdown
    );
    let line = table.csv.lines().nth(1).unwrap();
    assert!(line.starts_with("native,a|b,1,1,2,1,0.85") && line.ends_with(",oracle,,"), "{line}");
    assert_eq!(table.json["rows"][0]["setting"], "oracle");
    let undefined = done(None);
    let table = sweep_table(&file, &[(&setups[0], &plans[0], &undefined)]);
    let reason = &table.json["rows"][0]["metrics"]["image.auroc"]["undefined"];
    assert_eq!(reason, "undefined for `bottle`: no masks");
}

/// `a` and `b` have masks, `c` has none; each value is its image AUROC, and 0.1 less its pixel AUROC.
const SETS: &str = "[[variant]]\nname = \"a\"\n[[variant]]\nname = \"b\"\n[[variant]]\nname = \"c\"\n\
    [[mean]]\nlabel = \"sets\"\nof = [\"a\", \"b\", \"c\"]\n";

fn of_sets(more: &str, values: [[Option<f64>; 2]; 3]) -> SweepTable {
    let (file, setups) = read(&format!("{HEAD}seeds = [0, 1]\n{SETS}{more}")).unwrap();
    let records: Vec<[CellRecord; 2]> = (0..3)
        .map(|i| {
            values[i].map(|value| {
                let Some(value) = value else { return failed() };
                let mut row = row(Some(value));
                let pixel = match i {
                    2 => (None, Some("no masks".to_owned())),
                    _ => (Some(format!("{:?}", value - 0.1)), None),
                };
                row.values.push(("pixel.auroc".to_owned(), pixel.0, pixel.1));
                record(Outcome::Done, vec![row])
            })
        })
        .collect();
    let plans = [cell(0), cell(1)];
    let mut cells: Vec<Ended<'_>> = Vec::new();
    for (setup, records) in setups.iter().zip(&records) {
        cells.extend(plans.iter().zip(records).map(|(plan, it)| (setup, plan, it)));
    }
    sweep_table(&file, &cells)
}

#[test]
fn a_mean_is_over_variants_seed_by_seed() {
    let whole = [[Some(0.5), Some(0.7)], [Some(0.6), Some(0.8)], [Some(0.7), Some(0.9)]];
    let table = of_sets("pixel = [\"a\", \"b\"]\n", whole);
    // Seed 0: 0.6 and 0.45; seed 1: 0.8 and 0.65.
    let row = &table.json["rows"][3];
    assert_eq!(
        (&row["variant"], &row["n_seeds"]),
        (&"sets (mean of 3, pixel columns of 2)".into(), &2.into())
    );
    assert_eq!(row["mean_of"], serde_json::json!(["a", "b", "c"]));
    assert_eq!(row["mean_of_pixel"], serde_json::json!(["a", "b"]));
    for (name, mean) in [("image.auroc", 0.7), ("pixel.auroc", 0.55)] {
        let got = &row["metrics"][name];
        assert!((got["mean"].as_f64().unwrap() - mean).abs() < 1e-12, "{got}");
        assert!((got["std"].as_f64().unwrap() - 0.02_f64.sqrt()).abs() < 1e-12, "{got}");
    }
    let line = table.csv.lines().last().unwrap();
    assert!(line.ends_with(",oracle,3,2"), "{line}");
    assert!(!table.text.contains("\n- "), "{}", table.text);

    // Without its `pixel`, columns that one variant lacks are undefined, and it is said why.
    let table = of_sets("", whole);
    let last = table.text.trim_end().lines().last().unwrap();
    assert_eq!(
        last,
        "- sets (mean of 3), 1 shot: pixel AUROC: undefined for `sets`: undefined for `c`: no masks"
    );
    assert!(table.markdown.ends_with("no masks\n"), "{}", table.markdown);
    assert!(table.text.contains("70.0 ± 14.1"), "{}", table.text);
}

#[test]
fn a_mean_waits_for_all_its_variants() {
    let table = of_sets("", [[Some(0.5), Some(0.7)], [Some(0.6), None], [Some(0.7), Some(0.9)]]);
    let mean = &table.json["rows"][3];
    assert_eq!((&mean["n_seeds"], &mean["n_failed"]), (&0.into(), &1.into()));
    assert_eq!(mean["metrics"]["image.auroc"]["undefined"], "`b` failed with seed 1");
    assert!(table.text.ends_with("- sets (mean of 3), 1 shot: `b` failed with seed 1\n"));
    // One that has not run at all, as with `--only`.
    let (file, setups) = read(&format!("{HEAD}{SETS}")).unwrap();
    let (plan, done) = (cell(0), record(Outcome::Done, vec![row(Some(0.5))]));
    let table = sweep_table(&file, &[(&setups[0], &plan, &done), (&setups[2], &plan, &done)]);
    let why = &table.json["rows"][2]["metrics"]["image.auroc"];
    assert_eq!(
        (&why["mean"], &why["undefined"]),
        (&().into(), &"`b` has not run with seed 0".into())
    );
}

#[test]
fn means_are_checked_where_they_are_read() {
    let cases = [
        ("of = []", "`of` of `[[mean]]` `sets` is an empty list"),
        ("of = [\"alpha\", \"bet\"]", "names `bet`, which is no variant; did you mean `beta`?"),
        ("of = [\"alpha\", \"alpha\"]", "names `alpha` twice"),
        ("of = [\"alpha\"]\npixel = [\"beta\"]", "names `beta`, which is no name in `of`"),
        ("of = [\"alpha\"]\npixel = []", "`pixel` of `[[mean]]` `sets` is an empty list"),
        ("of = [\"alpha\", \"gamma\"]", "and those of `alpha` and `gamma` differ"),
        ("of = [\"alpha\"]\n[[mean]]\nlabel = \"sets\"\nof = [\"beta\"]", "two of `[[mean]]`"),
        ("off = []", "unknown field `off`"),
    ];
    for (mean, wanted) in cases {
        let variants = "[[variant]]\nname = \"alpha\"\n[[variant]]\nname = \"beta\"\n\
            [[variant]]\nname = \"gamma\"\nshots = [7]\n";
        let text = format!("{HEAD}{variants}[[mean]]\nlabel = \"sets\"\n{mean}\n");
        let message = read(&text).err().unwrap().to_string();
        assert!(message.contains(wanted), "{message}");
    }
}

#[test]
fn paths_are_from_where_the_file_lies() {
    let message = SweepFile::read(Path::new("no/such.toml")).unwrap_err().to_string();
    assert!(message.contains("no/such.toml"), "{message}");
}
