use super::*;
use loupe_plugin::testing;

const CACHE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/caches/two.toml");

fn run(keys: &str, names: &[&str]) -> Result<Vec<Sentence>, String> {
    let config = format!("cache = '{CACHE}'\n{keys}");
    let names = names.iter().map(|name| Sentence::new(*name, false, "test")).collect();
    let ran = testing::prompts::<Llm>(&config).text("class", names).run()?;
    Ok(ran.sentences("text").into_iter().cloned().collect())
}

fn texts(keys: &str, names: &[&str]) -> Vec<String> {
    run(keys, names).unwrap().into_iter().map(|sentence| sentence.text).collect()
}

const ASKED: &str = "model = \"m-1\"\ntemperature = 0.7\nseed = 3\ncount = 2";

#[test]
fn conforms() {
    testing::prompts::<Llm>(&format!("cache = '{CACHE}'\nmissing = \"object\"")).check();
}

#[test]
fn an_entry_is_replayed_in_order_and_wrapped() {
    let made = run("wrap = \"a photo of {}.\"", &["Metal_nut"]).unwrap();
    let shown: Vec<(&str, bool, &str)> =
        made.iter().map(|one| (one.text.as_str(), one.anomalous, one.source.as_str())).collect();
    assert_eq!(
        shown,
        [
            ("a photo of six even flanks of a Metal_nut.", false, "hand-written faults@1"),
            ("a photo of a dent in one flank.", true, "hand-written faults@1"),
            ("a photo of a thread that is torn out.", true, "hand-written faults@1"),
        ]
    );
    assert!(made.iter().all(|one| one.weight == 1.0));
}

#[test]
fn an_entry_of_a_model_is_the_one_that_was_asked_for() {
    assert_eq!(texts(ASKED, &["bottle"]), ["a clear neck", "a chipped rim"]);
    let other = run(&ASKED.replace("0.7", "0.2"), &["bottle"]).unwrap_err();
    let spelt = run(ASKED, &["flagon", "Bottle"]).unwrap_err();
    assert!(spelt.contains("in other words: under another spelling, or with"), "{spelt}");
    assert!(
        other.contains(
            "has no sentences about class `bottle` by model `m-1`, template `faults@1`; it has \
             some that were asked for otherwise (count 2, temperature 0.7, seed 3), and this \
             pipeline asks with count 2, temperature 0.2, seed 3"
        ),
        "{other}"
    );
}

#[test]
fn a_gap_names_the_class_and_what_there_is() {
    let gap = run(ASKED, &["tooth brush"]).unwrap_err();
    assert!(gap.contains("about class `tooth brush` by model `m-1`"), "{gap}");
    assert!(gap.ends_with("; it has bottle"), "{gap}");
    let gap = run("", &["zipper"]).unwrap_err();
    assert!(gap.contains("it has metal nut, object; write an entry"), "{gap}");
    let gap = run("model = \"m-9\"", &["zipper"]).unwrap_err();
    assert!(gap.contains("it has entries by `m-1` with `faults@1`, `hand-written` with"), "{gap}");
}

#[test]
fn general_sentences_stand_in_when_asked_for() {
    let general = ["an even surface of the zipper", "a crack in the zipper"];
    assert_eq!(texts("missing = \"object\"", &["zipper"]), general);
    let object = ["an even surface of the object", "a crack in the object"];
    assert_eq!(texts("subject = \"object\"", &["zipper"]), object);
    assert_eq!(texts("", &["fastener", "metal nut"]).len(), 3, "found by its synonym");
}

#[test]
fn mistakes_in_the_config_are_said_before_the_run() {
    let message = |keys: &str| run(keys, &["bottle"]).unwrap_err();
    assert!(message("template = \"faults@9\"").contains("templates: faults@1, findings@1"));
    assert!(message("missing = \"skip\"").contains("`hybrid` can do that"));
    assert!(message("wrap = \"a photo\"").contains("`wrap` wants a `{}`"));
    assert!(message("count = 0").contains("`count` wants 1 to 500, got 0"));
    let absent = testing::prompts::<Llm>("cache = 'no.toml'").run().err().unwrap();
    assert!(absent.contains("`no.toml`"), "{absent}");
}

/// The digest in the file is that of the request made today: who changes the request sees this
/// fail.
#[test]
fn the_committed_digest_is_the_one_that_is_made() {
    let config: LlmConfig =
        serde_json::from_value(serde_json::json!({"cache": CACHE, "model": "m-1",
            "temperature": 0.7, "seed": 3, "count": 2}))
        .unwrap();
    let made = crate::ask::requests(&config.recall().brief, "bottle", &[]).unwrap();
    let text = std::fs::read_to_string(CACHE).unwrap();
    let digest = crate::ask::digest(&made);
    assert!(text.contains(&digest), "{digest}");
}
