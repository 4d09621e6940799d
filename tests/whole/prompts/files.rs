//! Caches and prompt files by their paths: `ls`, `show`, `lint`, `import`.

use expect_test::expect;
use loupe_tests::{Ended, World, root};

/// Runs `loupe prompts` in the project's folder.
fn prompts(world: &World, arguments: &[&str]) -> Ended {
    world.run(["prompts"].iter().chain(arguments))
}

const CACHE: &str = r#"# By hand.
loupe_prompts = 1

[[entry]]
class = "zipper"
aliases = ["zip"]
model = "hand-written"
template = "faults@1"
normal = ["teeth that close without a gap", "a straight row of {} teeth"]
anomalous = [
    "a tooth broken off the zipper",
    "a {} that is a testament to care",
    "a tooth broken off  the zipper.",
]
"#;

#[test]
fn a_cache_is_listed() {
    let world = World::new();
    let file = world.write("own.toml", CACHE).display().to_string();
    let ended = prompts(&world, &["ls", &file]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    expect![[r#"
        WORLD/own.toml: 1 entry
        class   model         template  normal  anomalous  also called
        zipper  hand-written  faults@1       2          3  zip

    "#]]
    .assert_eq(&ended.stdout);
    let ended = prompts(&world, &["ls", &file, "--class", "Zip"]);
    expect![[r#"
        WORLD/own.toml: zipper, hand-written, faults@1
          normal     teeth that close without a gap
          normal     a straight row of {} teeth
          anomalous  a tooth broken off the zipper
          anomalous  a {} that is a testament to care
          anomalous  a tooth broken off  the zipper.
    "#]]
    .assert_eq(&ended.stdout);
    let none = prompts(&world, &["ls", &file, "--class", "nope"]);
    assert_eq!((none.code, none.stdout.as_str()), (Some(1), ""));
    assert!(none.stderr.contains("no entry is about `nope`"), "{}", none.stderr);
    let json = prompts(&world, &["ls", &file, "--format", "json"]);
    let entries: serde_json::Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!(entries[0]["entries"][0]["n_anomalous"], 3);
    let shipped = prompts(&world, &["ls", "pipelines/prompts/visa.toml"]);
    assert!(shipped.stdout.contains("cashew"), "{}", shipped.stdout);
}

#[test]
fn findings_stand_with_file_and_line() {
    let world = World::new();
    let file = world.write("own.toml", CACHE).display().to_string();
    let json = "{\"normal\": {\"prompts\": [\"a clear lens\"]},\n\"abnormal\": {\"prompts\": [\n\
                \"a clear lens\"]}}\n";
    let other = world.write("own.json", json).display().to_string();
    let ended = prompts(&world, &["lint", &file, &other]);
    assert_eq!(ended.code, Some(3), "{}", ended.stderr);
    expect![[r#"
        WORLD/own.toml:12: error: zipper, anomalous "a {} that is a testament to care" says `testament` of something faulty [praise-among-faults]
        WORLD/own.toml:13: warning: zipper, anomalous "a tooth broken off  the zipper." has blanks at its ends, or several in a row [blanks]
        WORLD/own.toml:13: warning: zipper, anomalous "a tooth broken off  the zipper." stands there already, as number 1 [duplicate]
        WORLD/own.json:3: error: anomalous "a clear lens" is normal sentence 1 as well [label-conflict]
    "#]].assert_eq(&ended.stdout);
    expect![[r#"
        2 files: 2 errors, 2 warnings
    "#]]
    .assert_eq(&ended.stderr);
    let all: Vec<String> = std::fs::read_dir(root().join("pipelines/prompts"))
        .unwrap()
        .map(|entry| entry.unwrap().path().display().to_string())
        .filter(|path| path.ends_with(".toml"))
        .collect();
    let shipped = world.run(["prompts".to_owned(), "lint".to_owned()].into_iter().chain(all));
    assert_eq!((shipped.code, shipped.stdout.as_str()), (Some(0), ""), "{}", shipped.stderr);
}

#[test]
fn sentences_of_other_files_become_an_entry() {
    let world = World::new();
    let json = r#"{"normal": {"instruction": "", "prompts": ["a {classname} without scratches"]},
        "abnormal": {"instruction": "", "prompts": ["a {classname} with  a dent"]}}"#;
    let json = world.write("gpt.json", json).display().to_string();
    let list = world.write("rust.txt", "# seen in 2024\nrust along the rim\n\n");
    let list = list.display().to_string();
    let into = world.path("own.toml").display().to_string();
    let fixed = ["import", &json, "--anomalous", &list, "--into", &into, "--class", "object"];
    let ended = prompts(&world, &fixed);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert_eq!(ended.stdout, "WORLD/own.toml: 1 normal, 2 anomalous about object\n");
    let text = std::fs::read_to_string(world.path("own.toml")).unwrap();
    expect![[r#"
        loupe_prompts = 1

        [[entry]]
        class = "object"
        model = "hand-written"
        template = "faults@1"
        note = "imported from gpt.json, rust.txt"
        normal = [
            "a {} without scratches",
        ]
        anomalous = [
            "a {} with a dent",
            "rust along the rim",
        ]
    "#]]
    .assert_eq(&text);
    let again = prompts(&world, &fixed);
    assert_eq!(again.code, Some(1), "{again:?}");
    assert!(again.stderr.contains("`--replace` takes its place"), "{again:?}");
    assert_eq!(std::fs::read_to_string(world.path("own.toml")).unwrap(), text);
    let more: Vec<&str> = fixed.into_iter().chain(["--model", "m-1"]).collect();
    assert_eq!(prompts(&world, &more).code, Some(0));
    let replaced: Vec<&str> = more.into_iter().chain(["--replace"]).collect();
    assert_eq!(prompts(&world, &replaced).code, Some(0));
    let both = std::fs::read_to_string(world.path("own.toml")).unwrap();
    assert_eq!(both.matches("[[entry]]").count(), 2, "{both}");
    assert_eq!(prompts(&world, &["import", "--into", &into, "--class", "x"]).code, Some(2));
    let nameless = prompts(&world, &["import", "--normal", &list, "--into", &into, "--class", " "]);
    assert_eq!(nameless.code, Some(2), "{nameless:?}");
    assert!(nameless.stderr.contains("wants the name of a class"), "{nameless:?}");
}

#[test]
fn sentences_are_shown_as_a_run_uses_them() {
    let world = World::new();
    world.write("own.toml", CACHE);
    world.write("tiny.json", std::fs::read(root().join("pipelines/models/tiny-vit.json")).unwrap());
    let pipeline = super::PIPELINE.replace(
        r#"cache = "asked.toml", model = "m-1", count = 4, seed = 1"#,
        r#"cache = "own.toml", wrap = "a photo of {}.""#,
    );
    let pipeline = world.write("p.toml", pipeline).display().to_string();
    let ended = prompts(&world, &["show", &pipeline, "--class", "zipper"]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    expect![[r#"
        stage words, class zipper: 5 sentences, 3 of them anomalous
        label      weight  sentence                                          source
        normal          1  a photo of teeth that close without a gap.        hand-written faults@1
        normal          1  a photo of a straight row of zipper teeth.        hand-written faults@1
        anomalous       1  a photo of a tooth broken off the zipper.         hand-written faults@1
        anomalous       1  a photo of a zipper that is a testament to care.  hand-written faults@1
        anomalous       1  a photo of a tooth broken off  the zipper..       hand-written faults@1

    "#]]
    .assert_eq(&ended.stdout);
    let ended = prompts(&world, &["show", &pipeline]);
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    assert!(ended.stderr.contains("name them with `--class NAME`"), "{}", ended.stderr);
    let ended = prompts(&world, &["show", &pipeline, "--class", "screw"]);
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    assert!(ended.stderr.contains("has no sentences about class `screw`"), "{}", ended.stderr);
    let grid = prompts(&world, &["show", "pipelines/language-only.toml", "--class", "cable"]);
    assert_eq!(grid.code, Some(0), "{}", grid.stderr);
    assert!(grid.stdout.contains("stage "), "{}", grid.stdout);
}
