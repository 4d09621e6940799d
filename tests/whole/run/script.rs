//! `loupe script` and `loupe import`: runs driven by a script, pipelines from command lines.

use super::*;

const STUDY: &str = r#"
let base = pipeline("r.toml");
let small = base.changed("stages.image.sizes", [48]);
let t = table(["pipeline", "image AUROC"]);
let a = base.run(#{ shots: 1, seed: 0 });
let b = small.run(#{ shots: 1, seed: 0, classes: ["woven"] });
t.row(["both", percent(a.get("image.auroc"))]);
t.row(["one", percent(b.get("image.auroc", "woven"))]);
t.show();
print(a.classes.len() + " " + b.classes.len() + " " + ARGUMENTS[0]);
print("" + (a.compare(a)["image.auroc"] == 0.0) + " " + mean([1, 2]) + " " + std([1.0, 3.0]));
"#;

fn script(world: &World, text: &str, words: &[&str]) -> Ended {
    let file = world.write("study.rhai", text).display().to_string();
    let out = world.path("studies").display().to_string();
    let mut arguments = vec!["script", "--out", &out, &file];
    arguments.extend(words);
    world.run(arguments)
}

#[test]
fn a_script_runs_pipelines_and_prints_a_table() {
    let world = world();
    let ended = script(&world, STUDY, &["word"]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let lines: Vec<&str> = ended.stdout.lines().collect();
    assert_eq!((lines[0], lines.len()), ("pipeline   image AUROC", 5), "{}", ended.stdout);
    assert_eq!(&lines[3..], ["2 1 word", "true 1.5 1.4142135623730951"]);
    // The numbers are the run folders'.
    let results = json(&world.path("studies/001-r-s1-seed0/results.json"));
    let mean = results["protocols"][0]["mean"]["metrics"]["image.auroc"].as_f64().unwrap();
    assert!(lines[1].ends_with(&format!("{:.1}", mean * 100.0)), "{}", lines[1]);
    assert!(ended.stderr.contains("002-r-s1-seed0: 6 images"), "{}", ended.stderr);
}

#[test]
fn mistakes_point_into_the_script() {
    let world = world();
    let cases = [
        ("let x = 1;\nlet y = x + ;\n", "study.rhai:2:"),
        (
            "let p = pipeline(\"r.toml\");\np.run(#{ shot: 1 });\n",
            "`run` has no `shot`; `run` knows `shots`",
        ),
        ("let p = pipeline(\"r.toml\");\n\nlet r = p.run(#{ shots: 99 });\n", "study.rhai:3:"),
        ("pipeline(\"none.toml\");\n", "there is no file `WORLD/none.toml`"),
        (
            "let p = pipeline(\"r.toml\");\np.set(\"stages.far.k\", \"one\");\np.run();\n",
            "study.rhai:3:3: the script: `k` of stage `far`",
        ),
        ("let p = pipeline(\"r.toml\");\n\np.set(\"stage.far.k\", 1);\n", "study.rhai:3:3: a"),
        (
            "let r = pipeline(\"r.toml\").run();\nr.get(\"image.acc\");\n",
            "no metric is called `image.acc`; there are image.auroc",
        ),
        ("loop { }\n", "exceeds its limit of operations"),
        ("table([1, 2]).row([1]);\n", "the table has 2 columns, and this row 1"),
        ("import \"other\" as o;\n", "study.rhai:1:"),
    ];
    for (text, wanted) in cases {
        let ended = script(&world, text, &[]);
        assert_eq!(ended.code, Some(1), "{text}: {}", ended.stderr);
        assert!(ended.stderr.contains(wanted), "{text}: {}", ended.stderr);
        assert!(ended.stderr.contains("study.rhai:"), "{text}: {}", ended.stderr);
    }
}

#[test]
fn a_script_sweeps() {
    let world = world();
    world.write("s.toml", "sweep = 1\nbase = \"r.toml\"\nshots = [1, 2]\n");
    let ended =
        script(&world, "for row in sweep(\"s.toml\") { print(row.variant + row.shots); }", &[]);
    assert_eq!(
        (ended.code, ended.stdout.as_str()),
        (Some(0), "base1\nbase2\n"),
        "{}",
        ended.stderr
    );
}

#[test]
fn an_imported_command_line_is_a_pipeline_that_checks() {
    let world = world();
    let file = world.path("imported.toml").display().to_string();
    let line = "--dataset-source data --normalize-segmentations --segmentation-mode vision --classification-mode \
        vision --vision-feature clip --pretrained random --segmentation-img-sizes 32,48 --shots 1";
    let arguments =
        ["import", "fade", "--out", &file, "--"].into_iter().chain(line.split_whitespace());
    let ended = world.run(arguments);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(
        ended.stderr.contains("run it: loupe run WORLD/imported.toml --out"),
        "{}",
        ended.stderr
    );
    let ended = world.run(["check", &file]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let again = world.run(["import", "fade", "--out", &file, "--", "--shots", "2"]);
    assert_eq!(again.code, Some(1), "{}", again.stderr);
    assert!(again.stderr.contains("is there already; `--replace`"), "{}", again.stderr);
    // With a small model in the place of the original's it runs, hook and all.
    let out = world.path("out").display().to_string();
    let model = format!("stages.clip.model={}", world.path("tiny.json").display());
    let ended = world.run(["run", &file, "--set", &model, "--out", &out]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let (_, map) = loupe_tests::read_npy(&map_of(&world.path("out")));
    let (low, high) =
        map.iter().fold((f32::MAX, f32::MIN), |(low, high), x| (low.min(*x), high.max(*x)));
    assert_eq!((low, high), (0.0, 1.0), "the hook normalises each map");
    let wrong = world.run(["import", "fade", "--", "--shot", "1"]);
    assert!(wrong.stderr.contains("did you mean `--shots`?"), "{}", wrong.stderr);
}

/// A script that trains before it tests is two commands.
#[test]
fn an_imported_training_comes_before_its_run() {
    let world = World::new();
    for (line, commands) in [
        (
            &["train_few.py", "--obj", "Brain"][..],
            "train it: loupe train PIPELINE.toml\nrun it: loupe run PIPELINE.toml\n",
        ),
        (&["test_few.py", "--obj", "Brain"], "run it: loupe run PIPELINE.toml --save panels\n"),
    ] {
        let ended = world.run(["import", "clipmpcad", "--"].iter().chain(line));
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        let (_, said) = ended.stderr.split_at(ended.stderr.len() - commands.len());
        assert_eq!(said, commands, "{}", ended.stderr);
        assert_eq!(ended.stderr.contains("train it"), line[0] == "train_few.py");
    }
}

/// Some map of a run.
fn map_of(folder: &Path) -> std::path::PathBuf {
    let results = json(&folder.join("classes/woven.json"));
    folder.join(results["images"][0]["map"].as_str().unwrap())
}
