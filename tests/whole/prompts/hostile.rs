//! Caches and prompt files that mean harm, through the program: an error in words, soon, and
//! without what would change a terminal.

use std::time::{Duration, Instant};

use loupe_tests::{Ended, World};

/// The command's end: refused within a time that does not grow with the file.
fn refused(world: &World, arguments: &[&str]) -> Ended {
    let begun = Instant::now();
    let ended = world.run(["prompts"].iter().chain(arguments));
    assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", begun.elapsed());
    assert!(matches!(ended.code, Some(1 | 3)), "{ended:?}");
    let talk = format!("{}{}", ended.stdout, ended.stderr);
    let bad = talk.chars().find(|c| c.is_control() && *c != '\n');
    assert!(bad.is_none() && talk.len() < 4000, "{bad:?} in {} bytes: {talk}", talk.len());
    ended
}

fn entry(key: &str, sentences: &str) -> String {
    format!(
        "loupe_prompts = 1\n[[entry]]\nclass = \"nut\"\nmodel = \"m-1\"\n\
         template = \"faults@1\"\n{key} = [{sentences}]\n"
    )
}

#[test]
fn hostile_caches() {
    let world = World::new();
    let many = "\"a dent in the nut\",".repeat(100_000);
    let cases: [(&str, Vec<u8>, &str); 9] = [
        ("sentences", entry("normal", &many).into_bytes(), "has 100000 sentences, but 20000"),
        ("huge", vec![b'#'; 5 << 20], "has 5242880 bytes, but a prompt cache is read up to"),
        ("larger", vec![b' '; 20 << 20], "has 20971520 bytes, but files with sentences are read"),
        (
            "types",
            entry("normal", "{a = 1}, 3").into_bytes(),
            "line 6: invalid type: map, expected a string",
        ),
        (
            "control",
            entry("anomalous", "\"a dent\\u001B[2J\"").into_bytes(),
            "a sentence of `anomalous` holds the character U+001B, which nobody sees",
        ),
        (
            "turned",
            entry("anomalous", "\"a \u{202e}tned\"").into_bytes(),
            "holds the character U+202E, which nobody sees",
        ),
        (
            "deep",
            format!("loupe_prompts = 1\nx = {}", "[".repeat(100_000)).into_bytes(),
            "deep.toml` line 2: ",
        ),
        ("bytes", b"loupe_prompts = 1\n# \xff\xfe\n".to_vec(), "is not UTF-8"),
        ("format", b"loupe_prompts = 99\n".to_vec(), "is a prompt cache of format 99"),
    ];
    for (name, bytes, want) in cases {
        let file = world.write(&format!("{name}.toml"), bytes).display().to_string();
        for command in ["ls", "lint"] {
            let ended = refused(&world, &[command, &file]);
            assert!(ended.stderr.contains(want), "{name}, {command}: {ended:?}");
        }
    }
    // In a pipeline, the mistake stands at the stage.
    world.write("tiny.json", "{}");
    let file = world.path("sentences.toml").display().to_string();
    let pipeline = super::PIPELINE.replace("asked.toml", &file);
    let pipeline = world.write("p.toml", pipeline).display().to_string();
    let ended = refused(&world, &["generate", &pipeline, "--class", "nut", "--dry-run"]);
    assert!(ended.stderr.contains("has 100000 sentences, but 20000"), "{ended:?}");
}

fn tiny() -> std::path::PathBuf {
    loupe_tests::root().join("pipelines/models/tiny-vit.json")
}

#[test]
fn hostile_prompt_files() {
    let world = World::new();
    let file = |anomalous: &str| {
        format!("{{\"normal\": {{\"prompts\": []}}, \"abnormal\": {{\"prompts\": [{anomalous}]}}}}")
    };
    let many = vec!["\"a dent\""; 100_000].join(",");
    let cases: [(&str, String, &str); 6] = [
        ("many", file(&many), "has 100000 sentences under `abnormal`, but 20000 are read"),
        ("huge", " ".repeat(9 << 20), "has 9437184 bytes, but a prompt file is read up to"),
        ("types", file("{\"a\": [1]}"), "expected a string"),
        ("control", file("\"a\\u0007 dent\""), "holds the control character U+0007"),
        ("deep", "[".repeat(1 << 20), "is no JSON"),
        ("long", file(&format!("\"{}\"", "x".repeat(1 << 20))), "has 1048576 bytes, but 2000"),
    ];
    let into = world.path("own.toml").display().to_string();
    for (name, text, want) in cases {
        let file = world.write(&format!("{name}.json"), text).display().to_string();
        let import = ["import", &file, "--into", &into, "--class", "nut"];
        for command in [&["lint", &file][..], &import] {
            let ended = refused(&world, command);
            assert!(ended.stderr.contains(want), "{name}, {command:?}: {ended:?}");
        }
        // What a run would stop at, `check` finds.
        let words = format!("prompts = \"ensemble\", files = [{file:?}]");
        let asked =
            "prompts = \"llm\", cache = \"asked.toml\", model = \"m-1\", count = 4, seed = 1";
        world.write("tiny.json", std::fs::read(tiny()).unwrap());
        let pipeline = world.write("p.toml", super::PIPELINE.replace(asked, &words));
        let ended = world.run([std::ffi::OsStr::new("check"), pipeline.as_os_str()]);
        assert_eq!(ended.code, Some(3), "{name}: {ended:?}");
        assert!(ended.stderr.contains(want), "{name}: {ended:?}");
    }
    let list = world.write("many.txt", "a dent\n".repeat(100_000)).display().to_string();
    let ended = refused(&world, &["import", "--normal", &list, "--into", &into, "--class", "nut"]);
    assert!(ended.stderr.contains("has more than 20000 sentences"), "{ended:?}");
    assert!(!world.path("own.toml").exists(), "nothing was written");
}
