//! `loupe prompts` against an endpoint of recorded replies, and on files of every kind.

mod failures;
mod files;
mod hostile;
mod names;
mod server;

use std::path::PathBuf;

use expect_test::expect;
use loupe_tests::{Ended, World, root};
use server::{Server, reply};

/// Zero-shot by words that a language model wrote, on a tiny transformer of random weights.
const PIPELINE: &str = r#"loupe = 1
[data]
dataset = "mvtec-ad"
root    = "${LOUPE_DEMO_DATA}"
[stages]
image = { prepare = "square", sizes = [32], normalize = "clip" }
clip  = { encoder = "clip", image = "image", model = "tiny.json", weights = "random" }
words = { prompts = "llm", cache = "asked.toml", model = "m-1", count = 4, seed = 1, embed_with = "clip" }
says  = { scorer = "language", query = "clip.image_embedding@32", text = "words" }
[output]
anomaly_score = "says"
"#;

/// A world with the pipeline as `p.toml`, and a data set of the classes `wire_mesh` and `woven`.
fn world() -> World {
    let world = World::new();
    world.write("tiny.json", std::fs::read(root().join("pipelines/models/tiny-vit.json")).unwrap());
    world.write("p.toml", PIPELINE);
    let data = world.path("data").display().to_string();
    let few = ["--defects", "hole", "--defects-per-product", "1", "--size", "64", "--train", "1"];
    let one = ["--good", "1", "--per-defect", "1", "--families", "woven,wire_mesh"];
    let ended = world.run(["dataset", "make", &data].into_iter().chain(few).chain(one));
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    world
}

/// Runs `loupe prompts generate p.toml` against a server, with a key.
fn generate(world: &World, server: &Server, more: &[&str]) -> Ended {
    let pipeline = world.path("p.toml").display().to_string();
    let url = server.url();
    let fixed = ["prompts", "generate", &pipeline, "--base-url", &url, "--wait", "0.01"];
    let mut command = world.command(fixed.iter().chain(more));
    let output = command.env("LOUPE_LLM_KEY", "sk-secret-1234").output().unwrap();
    let ended = world.ended(&output);
    Ended { stderr: ended.stderr.replace(&url, "URL"), ..ended }
}

fn cache(world: &World) -> PathBuf {
    world.path("asked.toml")
}

fn run(world: &World, more: &[&str]) -> Ended {
    let (pipeline, out) = (world.path("p.toml"), world.path("out"));
    let fixed = ["run".into(), pipeline.into_os_string(), "--out".into(), out.into_os_string()];
    world.run(fixed.into_iter().chain(more.iter().map(|one| (*one).into())))
}

#[test]
fn a_cache_is_filled_and_replayed_without_an_endpoint() {
    let world = world();
    // Before: a run cannot start, and says what to do.
    let ended = run(&world, &[]);
    assert_eq!(ended.code, Some(3), "{}", ended.stderr);
    let command = "loupe prompts generate WORLD/p.toml";
    assert!(ended.stderr.contains(&format!("make it with `{command}`")), "{}", ended.stderr);

    let server = Server::start(&cache(&world), vec![reply("good"), reply("good")]);
    let ended = generate(&world, &server, &["--class", "woven", "--prices", "1000,2000"]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    expect![[r#"
        woven: 3 normal, 4 anomalous, 6 dropped (1 request, 312 + 171 tokens, cost 0.654000)
    "#]]
    .assert_eq(&ended.stdout);
    expect![[r#"
        1 filled; 1 request, 312 + 171 tokens, cost 0.654000
    "#]]
    .assert_eq(&ended.stderr);

    // Half filled: the run names the class, and the command that fills just this gap.
    let ended = run(&world, &[]);
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    let want = format!("fill the gap with `{command} --class wire_mesh`");
    assert!(ended.stderr.contains(&want), "{}", ended.stderr);
    assert!(ended.stderr.contains("no sentences about class `wire mesh` by model `m-1`"));
    let pipeline = world.path("p.toml").display().to_string();
    let shown = world.run(["prompts", "show", &pipeline]);
    assert!(shown.stderr.contains(&want), "{}", shown.stderr);
    let checked = world.run(["check", &pipeline]);
    assert_eq!(checked.code, Some(3), "{}", checked.stderr);
    assert!(checked.stderr.contains(&want), "{}", checked.stderr);

    let ended = generate(&world, &server, &[]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(ended.stderr.starts_with("1 filled, 1 there before; 1 request"), "{}", ended.stderr);
    let requests = server.end();
    assert_eq!(requests.len(), 2, "what is there is not asked for again");

    // The server is gone.
    let ended = run(&world, &["--format", "json"]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let tables: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
    let classes: Vec<&str> =
        tables[0].as_array().unwrap().iter().filter_map(|row| row["class"].as_str()).collect();
    assert_eq!(classes[..2], ["wire_mesh", "woven"]);
    let nobody = generate(&world, &Server::nobody(), &[]);
    assert_eq!(nobody.code, Some(0), "nothing is missing, so nobody is asked: {nobody:?}");
}

#[test]
fn a_request_is_what_the_interface_of_openai_says() {
    let world = world();
    let server = Server::start(&cache(&world), vec![reply("good"), reply("good")]);
    assert_eq!(generate(&world, &server, &[]).code, Some(0));
    let requests = server.end();
    let head = &requests[0].head;
    assert!(head.starts_with("POST /v1/chat/completions HTTP/1.1\r\n"), "{head}");
    assert!(head.contains("authorization: Bearer sk-secret-1234\r\n"), "{head}");
    assert!(head.contains("content-type: application/json\r\n"), "{head}");
    let body: serde_json::Value = serde_json::from_str(&requests[0].body).unwrap();
    assert_eq!((&body["model"], &body["seed"]), (&"m-1".into(), &1.into()));
    assert_eq!(body["response_format"]["json_schema"]["strict"], true);
    assert!(body["messages"][1]["content"].as_str().unwrap().contains("The product: wire mesh"));
    // The first answer was in the file before the second question came.
    assert_eq!(requests[0].cache, None);
    let then = requests[1].cache.as_deref().unwrap();
    assert!(then.contains("class = \"wire mesh\"") && !then.contains("woven"), "{then}");
    let now = std::fs::read_to_string(cache(&world)).unwrap();
    assert!(now.starts_with(then.trim_end()) && now.contains("class = \"woven\""), "{now}");
    assert!(!now.contains("sk-secret"), "{now}");
}

/// The data set may be elsewhere; where its variable is not set, no other folder is taken for it.
#[test]
fn a_variable_that_is_not_set_is_no_folder() {
    let world = world();
    let pipeline = world.path("p.toml").display().to_string();
    let mut command = world.command(["prompts", "generate", &pipeline, "--dry-run"]);
    let ended = world.ended(&command.env_remove("LOUPE_DEMO_DATA").output().unwrap());
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stderr.contains("${LOUPE_DEMO_DATA}` is not a folder"), "{ended:?}");
    assert!(ended.stderr.contains("name them with `--class NAME`"), "{ended:?}");
}

#[test]
fn a_dry_run_asks_nobody() {
    let world = world();
    let server = Server::start(&cache(&world), vec![]);
    let ended = generate(&world, &server, &["--dry-run"]);
    expect![[r#"
        class      stage  model  template  count  state    cache
        wire_mesh  words  m-1    faults@1      4  missing  WORLD/asked.toml
        woven      words  m-1    faults@1      4  missing  WORLD/asked.toml
    "#]]
    .assert_eq(&ended.stdout);
    assert_eq!(ended.stderr, "would send 2 requests; `--format json` prints them\n");
    assert!(server.end().is_empty() && !cache(&world).exists());
    let by_hand = world.run([
        "prompts",
        "generate",
        &world.path("p.toml").display().to_string(),
        "--set",
        "stages.words.model=hand-written",
        "--class",
        "tooth brush",
    ]);
    assert_eq!(by_hand.code, Some(0), "{by_hand:?}");
    assert!(
        by_hand.stderr.contains("give a source, or an `llm` stage, a `model` to ask one"),
        "{by_hand:?}"
    );
    let no_url = world.run(["prompts", "generate", &world.path("p.toml").display().to_string()]);
    assert_eq!(no_url.code, Some(1));
    assert!(no_url.stderr.contains("give `--base-url URL` or set LOUPE_LLM_URL"), "{no_url:?}");
}
