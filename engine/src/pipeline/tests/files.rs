//! `extends`, `--set` and `${VAR}`, with files on disk.

use std::path::Path;

use expect_test::expect;
use tempfile::TempDir;

use super::super::check::{Checked, check};
use super::{FADE, catalog, checked, edit, options};

fn folder(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    folder
}

fn check_in(folder: &TempDir, name: &str, sets: &[(&str, &str)]) -> Checked {
    check(&folder.path().join(name), &options(sets), &catalog::catalog())
}

/// The messages, without the name of the folder.
fn shown(folder: &TempDir, checked: &Checked) -> String {
    let path = folder.path().display().to_string();
    checked.report.render(false).replace(&format!("{path}/"), "")
}

#[test]
fn tables_merge_and_stages_replace_key_by_key() {
    let over = "loupe = 1\nextends = \"base.toml\"\n[data]\nreferences = { shots = 4 }\n\
                [stages]\nclip = { encoder = \"clip\" }\nboth = { weights = [1, 2] }\n\
                tells = { query = \"clip.patch_embeddings\" }\n";
    let folder = folder(&[("base.toml", FADE), ("over.toml", over)]);
    let checked = check_in(&folder, "over.toml", &[]);
    let pipeline = checked.pipeline.unwrap_or_else(|| panic!("{}", checked.report.render(false)));
    assert_eq!(pipeline.data.as_ref().unwrap().references.shots, 4);
    assert_eq!(pipeline.data.as_ref().unwrap().references.select, "torch");
    let both = pipeline.stages.iter().find(|stage| stage.name == "both").unwrap();
    assert_eq!(both.config["weights"], serde_json::json!([1, 2]));
    assert_eq!(pipeline.files.len(), 2);
    let origin = |key: &str| &pipeline.origins.iter().find(|(path, _)| path == key).unwrap().1;
    assert!(origin("data.references.shots").ends_with("over.toml:4"));
    assert!(origin("data.references.seed").ends_with("base.toml:5"));
}

#[test]
fn a_stage_that_changes_its_kind_starts_anew() {
    let over = "loupe = 1\nextends = \"base.toml\"\n[stages]\nboth = { map = \"bilinear\", of = \"vision\", size = 64 }\n";
    let folder = folder(&[("base.toml", FADE), ("over.toml", over)]);
    let checked = check_in(&folder, "over.toml", &[]);
    assert!(checked.pipeline.is_some(), "{}", checked.report.render(false));
}

#[test]
fn files_that_extend_each_other() {
    let a = "loupe = 1\nextends = \"b.toml\"\n";
    let b = "loupe = 1\nextends = \"a.toml\"\n";
    let folder = folder(&[("a.toml", a), ("b.toml", b)]);
    let checked = check_in(&folder, "a.toml", &[]);
    expect![[r#"
        error: `extends` runs in a circle: `a.toml` -> `b.toml` -> `a.toml`
         --> b.toml:2:11
          |
        2 | extends = "a.toml"
          |           ^^^^^^^^ extended again

        1 error
    "#]]
    .assert_eq(&shown(&folder, &checked));
}

#[test]
fn an_error_in_the_base_points_into_the_base() {
    let over = "loupe = 1\nextends = \"base.toml\"\n[stages]\ndiffers = { k = 0 }\n";
    let folder = folder(&[("base.toml", &edit("gain", "gian")), ("over.toml", over)]);
    let checked = check_in(&folder, "over.toml", &[]);
    expect![[r#"
        error: `k` of stage `differs` (scorer `nearest`) wants an integer of at least 1, got 0
         --> over.toml:4:17
          |
        4 | differs = { k = 0 }
          |                 ^ out of range

        error: stage `vision` (fusion `resolution-mean`) has no key `gian`
          --> base.toml:13:59
           |
        13 | vision = { fusion = "resolution-mean", parts = "differs", gian = 3.5 }
           |                                                           ^^^^
           |
           = help: did you mean `gain`?
           = note: its keys are `gain`, `interpolation`, `parts`, `to`

        2 errors
    "#]]
    .assert_eq(&shown(&folder, &checked));
}

#[test]
fn a_base_that_is_not_there() {
    let folder = folder(&[("over.toml", "loupe = 1\nextends = \"none.toml\"\n")]);
    let checked = check_in(&folder, "over.toml", &[]);
    expect![[r#"
        error: cannot read `none.toml`: No such file or directory (os error 2)
         --> over.toml:2:11
          |
        2 | extends = "none.toml"
          |           ^^^^^^^^^^^

        1 error
    "#]]
    .assert_eq(&shown(&folder, &checked));
}

#[test]
fn a_file_that_is_not_there() {
    let none = check(Path::new("none.toml"), &options(&[]), &catalog::catalog());
    expect![[r#"
        error: cannot read `none.toml`: No such file or directory (os error 2)

        1 error
    "#]]
    .assert_eq(&none.report.render(false));
}

#[test]
fn set_changes_a_key_and_is_its_origin() {
    let checked =
        checked(FADE, &[("stages.differs.k", "3"), ("run.device", "cpu"), ("data.root", "/x")]);
    let pipeline = checked.pipeline.unwrap_or_else(|| panic!("{}", checked.report.render(false)));
    let differs = pipeline.stages.iter().find(|stage| stage.name == "differs").unwrap();
    assert_eq!(differs.config["k"], serde_json::json!(3));
    assert_eq!(pipeline.run.device, "cpu");
    assert_eq!(pipeline.data.as_ref().unwrap().root, Path::new("/x"));
    let origin = pipeline.origins.iter().find(|(path, _)| path == "stages.differs.k").unwrap();
    assert_eq!(origin.1, "--set");
}

#[test]
fn set_of_what_is_not_there() {
    let sets =
        [("stages.difers.k", "3"), ("stages.differs.kk", "3"), ("rnu.seed", "1"), ("loupe.x", "1")];
    expect![[r#"
        error: there is no stage `difers`
         --> --set:1:8
          |
        1 | stages.difers.k=3
          |        ^^^^^^
          |
          = help: did you mean `differs`?
          = note: the stages are `image`, `clip`, `words`, `says`, `tells`, `language`, `vision`, `both`, `peak`, `verdict`, `differs`

        error: stage `differs` (scorer `nearest`) has no key `kk`
         --> --set:1:16
          |
        1 | stages.differs.kk=3
          |                ^^
          |
          = help: did you mean `k`?
          = note: its keys are `distance`, `k`, `query`, `rows`, `self_reference`

        error: a pipeline has no key `rnu`
         --> --set:1:1
          |
        1 | rnu.seed=1
          | ^^^
          |
          = help: did you mean `run`?
          = note: its keys are `loupe`, `extends`, `data`, `stages`, `output`, `protocol`, `run`, `hooks`, `test`, `train`, `compat`

        error: `loupe` holds no keys
         --> --set:1:1
          |
        1 | loupe.x=1
          | ^^^^^ 1

        4 errors
    "#]].assert_eq(&checked(FADE, &sets).report.render(false));
}

#[test]
fn another_component_says_what_becomes_of_the_keys_before() {
    let sets = [("stages.vision.fusion", "sum"), ("stages.differs.kk", "3")];
    expect![[r#"
        error: stage `vision` (fusion `sum`) has no key `gain`
          --> fade.toml:13:59
           |
        13 | vision = { fusion = "resolution-mean", parts = "differs", gain = 3.5 }
           |                                                           ^^^^
           |
           = help: `gain` was written for another fusion, and a stage keeps its keys when `fusion` alone is changed; `--set 'stages.vision={ fusion = "sum", .. }'` writes all of it anew
           = note: its keys are `parts`

        error: stage `differs` (scorer `nearest`) has no key `kk`
         --> --set:1:16
          |
        1 | stages.differs.kk=3
          |                ^^
          |
          = help: did you mean `k`?
          = note: its keys are `distance`, `k`, `query`, `rows`, `self_reference`

        2 errors
    "#]].assert_eq(&checked(FADE, &sets).report.render(false));
}

#[test]
fn two_dollars_stay_plain() {
    let text = edit("sets = [\"winclip\"]", "sets = [\"$${x}\"]");
    let pipeline = checked(&text, &[]).pipeline.unwrap();
    let words = pipeline.stages.iter().find(|stage| stage.name == "words").unwrap();
    assert_eq!(words.config["sets"], serde_json::json!(["${x}"]));
}
