//! What `loupe inspect NAME` shows under "In a pipeline" is a line of one: beside the stages that it speaks of, it passes.

use loupe_tests::World;
use serde_json::Value;

const STAGES: &str = r#"loupe = 1
[stages]
image    = { prepare = "square", sizes = [64], normalize = "clip" }
clip     = { encoder = "clip", image = "image", model = "starter", weights = "starter" }
ensemble = { prompts = "ensemble", embed_with = "clip" }
language = { scorer = "language", text = "ensemble", query = "clip.patch_embeddings" }
map      = { fusion = "resolution-mean", parts = "language" }
"#;
const OUTPUT: &str = "[output]\nanomaly_map = \"map\"\n";

/// These read files of the user's, or images with painted defects, which a line cannot bring along.
const NOT_ALONE: [&str; 3] = ["hybrid", "learned-gate", "llm"];

#[test]
fn the_example_of_each_component_passes() {
    let world = World::new();
    let listed = world.run(["inspect", "--format", "json"]);
    let components: Vec<Value> = serde_json::from_str(&listed.stdout).unwrap();
    assert!(components.len() >= 20, "{}", listed.stdout);
    for component in &components {
        let word = |key: &str| component[key].as_str().unwrap();
        if NOT_ALONE.contains(&word("name")) {
            continue;
        }
        let page = world.run(["inspect", &format!("{}/{}", word("kind"), word("name"))]).stdout;
        let (_, example) = page.split_once("In a pipeline:\n").unwrap();
        let path = world.write("p.toml", format!("{STAGES}{}\n{OUTPUT}", example.trim()));
        let ended = world.run([std::ffi::OsStr::new("check"), path.as_os_str()]);
        assert_eq!(ended.code, Some(0), "{example}{}", ended.stderr);
    }
}

#[test]
fn a_name_that_is_no_component_but_a_word_of_one_is_shown_there() {
    let ended = World::new().run(["inspect", "starter"]);
    assert_eq!(ended.code, Some(1));
    let want = "error: there is no component `starter`, but key `model` of encoder `clip` takes it: `loupe inspect clip`\n";
    assert_eq!(ended.stderr, want);
}
