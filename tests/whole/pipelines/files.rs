//! Mistakes before the first stage: the file itself, what it extends, what it names.

use expect_test::expect;
use loupe_tests::World;

use super::{PIPELINE, check, edit, world};

#[test]
fn no_language() {
    check(
        &edit(&[("loupe = 1\n", "")]),
        expect![[r#"
        error: the file does not say which language it is written in
         --> WORLD/p.toml:1:1
          |
        1 | [data]
          | ^
          |
          = help: begin it with `loupe = 1`

        1 error
    "#]],
    );
}

#[test]
fn another_language() {
    check(
        &edit(&[("loupe = 1", "loupe = 2")]),
        expect![[r#"
        error: this is language 2
         --> WORLD/p.toml:1:9
          |
        1 | loupe = 2
          |         ^ this version of loupe understands `loupe = 1`

        1 error
    "#]],
    );
}

#[test]
fn a_brace_that_is_not_closed() {
    check(
        &edit(&[(r#"select = "seeded" }"#, r#"select = "seeded""#)]),
        expect![[r#"
            error: not TOML: missing key for inline table element, expected `,`
             --> WORLD/p.toml:6:1
              |
            6 | [stages]
              | ^
              |
              = help: the table in braces before it may lack its `}`

            1 error
        "#]],
    );
}

#[test]
fn duplicate_key() {
    check(
        &edit(&[("[output]", "[output]\nanomaly_map = \"vision\"")]),
        expect![[r#"
        error: not TOML: duplicate key
          --> WORLD/p.toml:25:1
           |
        25 | anomaly_map   = "both"
           | ^^^^^^^^^^^

        1 error
    "#]],
    );
}

#[test]
fn a_model_that_is_not_there() {
    check(
        &edit(&[("tiny.json", "tinny.json")]),
        expect![[r#"
            error: `model` of stage `clip` (encoder `gem`): there is no file `WORLD/tinny.json`
             --> WORLD/p.toml:8:56
              |
            8 | clip     = { encoder = "gem", image = "image", model = "tinny.json", weights = "random", blocks = 2 }
              |                                                        ^^^^^^^^^^^^
              |
              = note: names it knows are `starter`, `ViT-B-32`, `ViT-B-32-quickgelu`, `ViT-B-16`, `ViT-B-16-quickgelu`, `ViT-B-16-plus-240`, `ViT-L-14`, `ViT-L-14-quickgelu`, `ViT-L-14-336`

            1 error
        "#]],
    );
}

#[test]
fn weights_that_have_no_name() {
    check(
        &edit(&[(r#"weights = "random""#, r#"weights = "laion400m-e33""#)]),
        expect![[r#"
            error: `weights` of stage `clip` (encoder `gem`): there is no file `WORLD/laion400m-e33`
             --> WORLD/p.toml:8:79
              |
            8 | clip     = { encoder = "gem", image = "image", model = "tiny.json", weights = "laion400m-e33", blocks = 2 }
              |                                                                               ^^^^^^^^^^^^^^^
              |
              = note: names it knows are `starter`, `random`, and those of `loupe weights ls`

            1 error
        "#]],
    );
}

#[test]
fn a_date() {
    check(
        &PIPELINE.replace("seed = 0\n", "seed = 1979-05-27\n"),
        expect![[r#"
            error: `seed` of `[run]` is a date, which no key takes (quote it for a string)
              --> WORLD/p.toml:29:8
               |
            29 | seed = 1979-05-27
               |        ^^^^^^^^^^ wants an integer of at least 0

            1 error
        "#]],
    );
}

#[test]
fn a_variable_that_is_not_set() {
    check(
        &edit(&[("LOUPE_DEMO_DATA", "MY_TILES")]),
        expect![[r#"
            error: the environment variable `MY_TILES` is not set
             --> WORLD/p.toml:4:15
              |
            4 | root       = "${MY_TILES}"
              |               ^^^^^^^^^^^
              |
              = help: set it, as in `export MY_TILES=/path/to/it`, or give the key by `--set`

            1 error
        "#]],
    );
}

#[test]
fn extends_a_file_that_is_not_there() {
    check(
        "loupe = 1\nextends = \"bsae.toml\"\n",
        expect![[r#"
        error: cannot read `WORLD/bsae.toml`: No such file or directory (os error 2)
         --> WORLD/p.toml:2:11
          |
        2 | extends = "bsae.toml"
          |           ^^^^^^^^^^^

        1 error
    "#]],
    );
}

#[test]
fn extends_runs_in_a_circle() {
    let world = world("loupe = 1\nextends = \"q.toml\"\n");
    world.write("q.toml", "loupe = 1\nextends = \"p.toml\"\n");
    let ended = world.run(["check", &world.path("p.toml").display().to_string()]);
    assert_eq!(ended.code, Some(3));
    expect![[r#"
        error: `extends` runs in a circle: `WORLD/p.toml` -> `WORLD/q.toml` -> `WORLD/p.toml`
         --> WORLD/q.toml:2:11
          |
        2 | extends = "p.toml"
          |           ^^^^^^^^ extended again

        1 error
    "#]]
    .assert_eq(&ended.stderr);
}

/// A mistake in what another file extends points into the file that made it.
#[test]
fn a_mistake_in_an_extending_file() {
    let world = world(PIPELINE);
    world.write(
        "mine.toml",
        "loupe = 1\nextends = \"p.toml\"\n[stages]\npeak = { of = \"visoin\" }\n",
    );
    let ended = world.run(["check", &world.path("mine.toml").display().to_string()]);
    assert_eq!(ended.code, Some(3));
    expect![[r#"
        error: stage `peak` reads `visoin`, which is no stage
         --> WORLD/mine.toml:4:15
          |
        4 | peak = { of = "visoin" }
          |               ^^^^^^^^
          |
          = help: did you mean `vision`?
          = note: the stages are `image`, `clip`, `words`, `says`, `tells`, `language`, `vision`, `both`, `peak`, `verdict`, `differs`

        1 error
    "#]].assert_eq(&ended.stderr);
}

#[test]
fn no_such_file() {
    let world = World::new();
    let ended = world.run(["check", &world.path("p.toml").display().to_string()]);
    assert_eq!(ended.code, Some(3));
    expect![[r#"
        error: cannot read `WORLD/p.toml`: No such file or directory (os error 2)

        1 error
    "#]]
    .assert_eq(&ended.stderr);
}

/// Bytes that are no text, and brackets that never close.
#[test]
fn no_text_and_no_end() {
    for text in
        [b"\xff\xfe\x00loupe".to_vec(), [b"loupe = 1\na = ".as_slice(), &[b'['; 100_000]].concat()]
    {
        let world = World::new();
        let path = world.write("p.toml", text);
        let ended = world.run(["check", &path.display().to_string()]);
        assert_eq!(ended.code, Some(3), "{}", ended.stderr);
    }
}
