//! What `loupe inspect NAME` shows under "In a pipeline" is a line of one: beside the stages that it speaks of, it passes.

use loupe_tests::World;
use serde_json::Value;

const STAGES: &str = r#"loupe = 1
[stages]
image    = { prepare = "square", sizes = [64], normalize = "clip" }
clip     = { encoder = "clip", image = "image", model = "starter", weights = "starter" }
ensemble = { prompts = "ensemble", sets = ["winclip"], embed_with = "clip" }
language = { scorer = "language", text = "ensemble", query = "clip.patch_embeddings" }
map      = { fusion = "resolution-mean", parts = "language" }
"#;
const OUTPUT: &str = "[output]\nanomaly_map = \"map\"\n";

/// These want one of several keys, a file of the user's among them, or painted images: no schema can say which, and `check`
/// tells what there is to choose from.
const TO_CHOOSE: [&str; 7] =
    ["ensemble", "hybrid", "learned-gate", "llm", "madff", "mvfa", "projector"];

#[test]
fn the_example_of_each_component_passes() {
    let world = World::new();
    let listed = world.run(["inspect", "--format", "json"]);
    let components: Vec<Value> = serde_json::from_str(&listed.stdout).unwrap();
    assert!(components.len() >= 20, "{}", listed.stdout);
    for component in &components {
        let word = |key: &str| component[key].as_str().unwrap();
        if TO_CHOOSE.contains(&word("name")) {
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
