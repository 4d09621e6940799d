//! The pipelines that come with the program.

use loupe_tests::{World, built, root};

/// Each passes, given its environment; weights that are not here are a warning. Of a sweep, the
/// pipeline of every variant does.
#[test]
fn all_pass() {
    let world = World::new();
    world.write("fade/prompts/winclip_prompt.json", OWN);
    for number in 1..=5 {
        world.write(&format!("fade/prompts/chatgpt3.5_prompt{number}.json"), OWN);
    }
    let mut pipelines = Vec::new();
    for folder in ["pipelines", "pipelines/ablations", "pipelines/starter"] {
        let entries = std::fs::read_dir(root().join(folder)).unwrap();
        pipelines
            .extend(entries.map(|entry| entry.unwrap().path()).filter(|path| is_pipeline(path)));
    }
    pipelines.sort();
    assert!(pipelines.len() >= 25, "{pipelines:?}");
    for pipeline in &pipelines {
        let mut command = world.command([std::ffi::OsStr::new("check"), pipeline.as_os_str()]);
        // The example's encoders are not found by themselves: they are not for the user's pipelines.
        command.env("LOUPE_PLUGIN_PATH", built().join("libfilter_bank.so"));
        for (name, folder) in [
            ("LOUPE_DATA", "data"),
            ("LOUPE_FADE", "fade"),
            ("LOUPE_CLIP_LMFA", "fade"),
            ("LOUPE_STARTER_DATA", "data"),
        ] {
            command.env(name, world.path(folder));
        }
        let ended = world.ended(&command.output().unwrap());
        assert_eq!(ended.code, Some(0), "{}: {}", pipeline.display(), ended.stderr);
        assert!(ended.stdout.contains(": ok ("), "{}", ended.stdout);
    }
}

/// A prompt file in the schema of both systems.
const OWN: &str = r#"{"normal": {"prompts": ["{}"]}, "abnormal": {"prompts": ["bad {}"]}}"#;

/// All TOML files but the one that others extend and that is none by itself.
fn is_pipeline(path: &std::path::Path) -> bool {
    path.extension().is_some_and(|extension| extension == "toml")
        && !path.ends_with("starter/model.toml")
}
