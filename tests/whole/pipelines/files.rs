//! Mistakes before the first stage: the file itself, what it extends, what it names.

use expect_test::expect;
use loupe_tests::World;

use super::{PIPELINE, check, edit, world};

#[test]
fn no_language() {
    check(&edit(&[("loupe = 1\n", "")]), expect![[""]]);
}

#[test]
fn another_language() {
    check(&edit(&[("loupe = 1", "loupe = 2")]), expect![[""]]);
}

#[test]
fn a_brace_that_is_not_closed() {
    check(&edit(&[(r#"select = "seeded" }"#, r#"select = "seeded""#)]), expect![[""]]);
}

#[test]
fn duplicate_key() {
    check(&edit(&[("[output]", "[output]\nanomaly_map = \"vision\"")]), expect![[""]]);
}

#[test]
fn a_model_that_is_not_there() {
    check(&edit(&[("tiny.json", "tinny.json")]), expect![[""]]);
}

#[test]
fn weights_that_have_no_name() {
    check(&edit(&[(r#"weights = "random""#, r#"weights = "laion400m-e33""#)]), expect![[""]]);
}

#[test]
fn a_date() {
    check(&PIPELINE.replace("seed = 0\n", "seed = 1979-05-27\n"), expect![[""]]);
}

#[test]
fn a_variable_that_is_not_set() {
    check(&edit(&[("LOUPE_DEMO_DATA", "MY_TILES")]), expect![[""]]);
}

#[test]
fn extends_a_file_that_is_not_there() {
    check("loupe = 1\nextends = \"bsae.toml\"\n", expect![[""]]);
}

#[test]
fn extends_runs_in_a_circle() {
    let world = world("loupe = 1\nextends = \"q.toml\"\n");
    world.write("q.toml", "loupe = 1\nextends = \"p.toml\"\n");
    let ended = world.run(["check", &world.path("p.toml").display().to_string()]);
    assert_eq!(ended.code, Some(3));
    expect![[""]].assert_eq(&ended.stderr);
}

/// A mistake in what another file extends points into the file that made it.
#[test]
fn a_mistake_in_an_extending_file() {
    let world = world(PIPELINE);
    world.write("mine.toml", "loupe = 1\nextends = \"p.toml\"\n[stages]\npeak = { of = \"visoin\" }\n");
    let ended = world.run(["check", &world.path("mine.toml").display().to_string()]);
    assert_eq!(ended.code, Some(3));
    expect![[""]].assert_eq(&ended.stderr);
}

#[test]
fn no_such_file() {
    let world = World::new();
    let ended = world.run(["check", &world.path("p.toml").display().to_string()]);
    assert_eq!(ended.code, Some(3));
    expect![[""]].assert_eq(&ended.stderr);
}

/// Bytes that are no text, and a file of a gigabyte of brackets' little sister.
#[test]
fn no_text_and_no_end() {
    for text in [b"\xff\xfe\x00loupe".to_vec(), [b"loupe = 1\na = ".as_slice(), &[b'['; 100_000]].concat()] {
        let world = World::new();
        let path = world.write("p.toml", text);
        let ended = world.run(["check", &path.display().to_string()]);
        assert_eq!(ended.code, Some(3), "{}", ended.stderr);
    }
}
