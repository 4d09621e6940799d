use super::*;

const TWO: &str = include_str!("../../tests/caches/two.toml");
const OWN: &str = include_str!("../../tests/caches/own.json");

fn ask(question: Value) -> Value {
    serde_json::from_str(&answer(&question.to_string()).unwrap()).unwrap()
}

fn message(question: Value) -> String {
    answer(&question.to_string()).unwrap_err().to_string()
}

fn jobs(component: &str, config: Value, class: &str) -> Vec<Value> {
    let question = json!({"do": "jobs", "component": component, "config": config, "class": class,
        "synonyms": ["flask"]});
    ask(question)["jobs"].as_array().unwrap().clone()
}

fn completion(normal: &[&str], anomalous: &[&str]) -> Value {
    let content = json!({"normal": normal, "anomalous": anomalous}).to_string();
    let choice = json!({"finish_reason": "stop", "message": {"content": content}});
    let usage = json!({"prompt_tokens": 300, "completion_tokens": 20});
    json!({"status": 200, "body": json!({"choices": [choice], "usage": usage}).to_string()})
}

/// The whole of `generate`, without a network: asked for, sent, kept, found again.
#[test]
fn a_cache_is_filled_and_found() {
    let config = json!({"cache": "p.toml", "model": "m-2", "count": 4, "seed": 1});
    let jobs = jobs("llm", config, "bottle");
    let (job, requests) = (&jobs[0]["job"], jobs[0]["requests"].as_array().unwrap());
    assert_eq!((job["cache"].as_str(), requests.len()), (Some("p.toml"), 1));
    let found = |text: &str| {
        ask(json!({"do": "found", "file": "p.toml", "text": text, "job": job}))["found"].clone()
    };
    assert_eq!(found(TWO), json!(false));
    let reply = completion(&["a round rim"], &["a chip in the rim", "A chip in the rim."]);
    assert_eq!(ask(json!({"do": "judge", "reply": reply})), json!({"good": true}));
    let accepted =
        ask(json!({"do": "accept", "file": "p.toml", "text": TWO, "job": job, "replies": [reply]}));
    assert_eq!(accepted["kept"], json!({"normal": 1, "anomalous": 1}));
    assert_eq!(accepted["dropped"][0]["why"], json!("stands there already"));
    assert_eq!(accepted["usage"]["completion_tokens"], json!(20));
    let text = accepted["text"].as_str().unwrap();
    assert_eq!(found(text), json!(true));
    assert!(text.contains(jobs[0]["digest"].as_str().unwrap()), "{text}");
    // Only the new entry was added; the rest of the file stands as it was.
    let (before, _) = TWO.split_once("\n[[entry]]\nclass = \"metal nut\"").unwrap();
    assert!(text.starts_with(before), "{text}");
}

#[test]
fn jobs_are_those_of_caches_that_a_model_fills() {
    let sources = json!([{"set": "winclip"}, {"cache": "a.toml"},
        {"cache": "b.toml", "model": "m-2", "template": "findings@1"},
        {"cache": "c.toml", "model": "m-2", "classes": ["cable"]},
        {"cache": "d.toml", "model": "m-2", "weight": 0}]);
    let config = json!({"sources": sources, "synonyms": true,
        "names": {"bottle": ["glass bottle"]}});
    let jobs = jobs("hybrid", config, "bottle");
    assert_eq!(jobs.len(), 1);
    assert_eq!(jobs[0]["job"]["cache"], json!("b.toml"));
    assert_eq!(jobs[0]["job"]["class"], json!("glass bottle"));
    assert_eq!(jobs[0]["job"]["synonyms"], json!(["flask", "bottle"]));
    assert!(self::jobs("ensemble", json!({"sets": ["winclip"]}), "bottle").is_empty());
}

#[test]
fn replies_are_judged_before_they_are_kept() {
    let judged = ask(json!({"do": "judge", "reply": {"status": 429, "body": ""}}));
    let why = "the endpoint answered with status 429: no message";
    assert_eq!(judged, json!({"good": false, "again": true, "why": why}));
}

#[test]
fn entries_are_listed_and_shown() {
    let all = ask(json!({"do": "list", "file": "p.toml", "text": TWO}));
    assert_eq!(all["entries"].as_array().unwrap().len(), 3);
    assert_eq!(all["entries"][0]["asked"]["temperature"], json!(0.7));
    assert!(all["entries"][0].get("normal").is_none());
    let one = ask(json!({"do": "list", "file": "p.toml", "text": TWO, "class": "Metal_nut"}));
    assert_eq!(one["entries"].as_array().unwrap().len(), 1);
    assert_eq!(one["entries"][0]["normal"], json!(["six even flanks of a {}"]));
}

#[test]
fn caches_and_prompt_files_are_linted() {
    let clean = ask(json!({"do": "lint", "file": "p.toml", "text": TWO}));
    assert_eq!(clean["findings"], json!([]));
    let text = TWO.replace("a chipped rim", "a bottle with history");
    let found = ask(json!({"do": "lint", "file": "p.toml", "text": text}));
    assert_eq!(found["findings"][0]["kind"], json!("praise-among-faults"));
    assert_eq!(found["findings"][0]["entry"]["class"], json!("bottle"));
    let json_file = OWN.replace("rust", "a testament");
    let found = ask(json!({"do": "lint", "file": "own.json", "text": json_file}));
    assert_eq!(found["findings"][0]["sentence"], json!(3));
}

#[test]
fn a_prompt_file_becomes_an_entry() {
    let made = ask(json!({"do": "import", "file": "p.toml", "text": "", "from": "x/own.json",
        "from_text": OWN.replace("with burrs", "with\\n burrs"), "class": "object",
        "model": "chatgpt-3.5"}));
    let text = made["text"].as_str().unwrap();
    assert!(text.contains("note = \"imported from own.json\""), "{text}");
    assert!(text.contains("    \"a bent {}\","), "{text}");
    assert!(text.contains("    \"a {} with burrs\","), "{text}");
    assert_eq!(made["kept"], json!({"normal": 1, "anomalous": 3}));
}

#[test]
fn mistakes_are_sentences() {
    assert!(message(json!({"do": "dance"})).contains("unknown variant `dance`"));
    let got = message(json!({"do": "list", "file": "p.toml", "text": "entry = 1"}));
    assert_eq!(
        got,
        "`p.toml` line 1: a prompt cache begins with `loupe_prompts = 1`, but this is `entry = 1`"
    );
    let got = message(json!({"do": "import", "file": "p.toml", "text": "", "from": "own.json",
        "from_text": OWN, "class": "a\u{7}", "model": "m"}));
    assert!(got.contains("which nobody sees"), "{got}");
}
