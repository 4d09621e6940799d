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
    let counts = json!({"requests": 1, "prompt_tokens": 300, "completion_tokens": 20});
    let judged = ask(json!({"do": "judge", "reply": reply}));
    assert_eq!(judged, json!({"good": true, "usage": counts}));
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
    let all = ask(json!({"do": "caches", "component": "hybrid", "config": {"sources": sources}}));
    assert_eq!(all["caches"], json!(["a.toml", "b.toml", "c.toml", "d.toml"]));
    assert_eq!(all["by_hand"], json!(["a.toml"]));
}

#[test]
fn another_model_may_be_asked() {
    let asked = |component: &str, config: Value| {
        let question = json!({"do": "jobs", "component": component, "config": config,
            "class": "bottle", "synonyms": [], "model": "m-3"});
        let jobs = ask(question)["jobs"].as_array().unwrap().clone();
        jobs.iter().map(|job| job["job"]["model"].clone()).collect::<Vec<Value>>()
    };
    assert_eq!(asked("llm", json!({"cache": "p.toml"})), [json!("m-3")]);
    let sources = json!([{"cache": "a.toml"}, {"cache": "b.toml", "model": "m-2"}]);
    assert_eq!(asked("hybrid", json!({"sources": sources})), [json!("m-3")]);
}

#[test]
fn replies_are_judged_before_they_are_kept() {
    let judged = ask(json!({"do": "judge", "reply": {"status": 429, "body": ""}}));
    let why = "the endpoint answered with status 429: no message";
    let counts = json!({"requests": 1, "prompt_tokens": 0, "completion_tokens": 0});
    assert_eq!(judged, json!({"good": false, "again": true, "why": why, "usage": counts}));
    let mut cut = completion(&[], &[]);
    cut["body"] = cut["body"].as_str().unwrap().replace("stop", "length").into();
    assert_eq!(ask(json!({"do": "judge", "reply": cut}))["usage"]["prompt_tokens"], 300);
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
    let line = 1 + text.lines().position(|line| line.contains("with history")).unwrap();
    assert_eq!(found["findings"][0]["line"], json!(line));
    let json_file = OWN.replace("rust", "a testament");
    let found = ask(json!({"do": "lint", "file": "own.json", "text": json_file}));
    assert_eq!(found["findings"][0]["sentence"], json!(3));
}

#[test]
fn a_prompt_file_becomes_an_entry() {
    let own = OWN.replace("with burrs", "with\\n burrs");
    let lists = json!([{"from": "x/own.json", "text": own},
        {"from": "more.txt", "text": "rust in a corner\n", "label": "anomalous"}]);
    let made = ask(json!({"do": "import", "file": "p.toml", "text": "", "lists": lists,
        "class": "object", "model": "chatgpt-3.5", "template": "faults@1"}));
    let text = made["text"].as_str().unwrap();
    assert!(text.contains("note = \"imported from own.json, more.txt\""), "{text}");
    assert!(text.contains("    \"a bent {}\","), "{text}");
    assert!(text.contains("    \"a {} with burrs\","), "{text}");
    assert_eq!(made["kept"], json!({"normal": 1, "anomalous": 4}));
    assert_eq!(made["replaced"], json!(false));
    let again = ask(json!({"do": "import", "file": "p.toml", "text": text, "lists": lists,
        "class": "Object", "model": "chatgpt-3.5", "template": "faults@1"}));
    assert_eq!(again["replaced"], json!(true));
}

#[test]
fn mistakes_are_sentences() {
    assert!(message(json!({"do": "dance"})).contains("unknown variant `dance`"));
    let got = message(json!({"do": "list", "file": "p.toml", "text": "entry = 1"}));
    assert_eq!(
        got,
        "`p.toml` line 1: a prompt cache begins with `loupe_prompts = 1`, but this is `entry = 1`"
    );
    let lists = json!([{"from": "own.json", "text": OWN}]);
    let got = message(json!({"do": "import", "file": "p.toml", "text": "", "lists": lists,
        "class": "a\u{7}", "model": "m", "template": "faults@1"}));
    assert!(got.contains("which nobody sees"), "{got}");
}
