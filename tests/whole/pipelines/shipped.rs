//! The pipelines that come with the program.

use loupe_tests::{World, root};

/// Each passes, given its environment; weights that are not here are a warning.
#[test]
fn all_pass() {
    let world = World::new();
    world.write(
        "fade/prompts/winclip_prompt.json",
        r#"{"object": {"normal": ["{}"], "abnormal": ["bad {}"]}}"#,
    );
    for number in 1..=5 {
        world.write(&format!("fade/prompts/chatgpt3.5_prompt{number}.json"), "{}");
    }
    let mut pipelines: Vec<_> = std::fs::read_dir(root().join("pipelines"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
        .collect();
    pipelines.sort();
    assert!(pipelines.len() >= 6, "{pipelines:?}");
    for pipeline in &pipelines {
        let mut command = world.command([std::ffi::OsStr::new("check"), pipeline.as_os_str()]);
        command.env("LOUPE_DATA", world.path("data")).env("LOUPE_FADE", world.path("fade"));
        let ended = world.ended(&command.output().unwrap());
        assert_eq!(ended.code, Some(0), "{}: {}", pipeline.display(), ended.stderr);
        assert!(ended.stdout.contains(": ok ("), "{}", ended.stdout);
    }
}
