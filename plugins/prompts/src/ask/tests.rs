use super::*;
use serde_json::{Value, json};

fn brief(count: u32) -> Brief {
    Brief {
        model: "m-1".into(),
        template: "faults@1".into(),
        temperature: Some(0.7),
        seed: Some(5),
        count,
    }
}

fn body(request: &Request) -> Value {
    serde_json::from_str(&request.body).unwrap()
}

#[test]
fn a_request_is_a_chat_completion_with_a_schema() {
    let made = requests(&brief(16), "metal_nut", &["nut", "hex nut"]).unwrap();
    assert_eq!((made.len(), made[0].path), (1, "chat/completions"));
    let body = body(&made[0]);
    assert_eq!((&body["model"], &body["seed"]), (&json!("m-1"), &json!(5)));
    assert_eq!(body["temperature"], json!(0.7));
    let task = body["messages"][1]["content"].as_str().unwrap();
    assert!(
        task.starts_with("The product: metal nut (also called nut, hex nut).\nWrite 16 "),
        "{task}"
    );
    assert!(!task.contains(['{', '}']), "{task}");
    let schema = &body["response_format"]["json_schema"];
    assert_eq!(schema["strict"], json!(true));
    assert_eq!(schema["schema"]["required"], json!(["normal", "anomalous"]));
}

#[test]
fn many_sentences_are_asked_for_in_parts() {
    let made = requests(&brief(70), "bottle", &[]).unwrap();
    let bodies: Vec<Value> = made.iter().map(body).collect();
    let seeds: Vec<u64> = bodies.iter().map(|body| body["seed"].as_u64().unwrap()).collect();
    assert_eq!(seeds, [5, 6, 7]);
    let tasks: Vec<&str> =
        bodies.iter().map(|body| body["messages"][1]["content"].as_str().unwrap()).collect();
    for (task, count) in tasks.iter().zip([23, 23, 24]) {
        assert!(task.contains(&format!("Write {count} captions of sound")), "{task}");
    }
    assert!(tasks[1].contains("This is part 2 of 3:"));
}

/// A changed wording under the same number would orphan every cache.
#[test]
fn wordings_do_not_change_under_their_number() {
    let digest_of = |template: &str| {
        let brief = Brief { template: template.into(), temperature: None, seed: None, ..brief(16) };
        let made = requests(&brief, "bottle", &[]).unwrap();
        digest(&made)
    };
    assert_eq!(
        digest_of("faults@1"),
        "blake3:3e56dbcfae90ab0f772786108453610e63d0532f3fd23ffd96d882e5e19d5048"
    );
    assert_eq!(
        digest_of("findings@1"),
        "blake3:662842158e38115ce7dee1a6e5ab7c4b628a72719e83d8060dc99517fdc0b5b8"
    );
}

#[test]
fn every_setting_is_in_the_digest() {
    let of = |brief: &Brief, class: &str, synonyms: &[&str]| {
        digest(&requests(brief, class, synonyms).unwrap())
    };
    let base = brief(16);
    let others = [
        of(&base, "bottle", &[]),
        of(&base, "cable", &[]),
        of(&base, "bottle", &["flask"]),
        of(&Brief { model: "m-2".into(), ..base.clone() }, "bottle", &[]),
        of(&Brief { template: "findings@1".into(), ..base.clone() }, "bottle", &[]),
        of(&Brief { temperature: Some(0.8), ..base.clone() }, "bottle", &[]),
        of(&Brief { temperature: None, ..base.clone() }, "bottle", &[]),
        of(&Brief { seed: Some(6), ..base.clone() }, "bottle", &[]),
        of(&Brief { count: 17, ..base.clone() }, "bottle", &[]),
        of(&Brief { count: 70, ..base }, "bottle", &[]),
    ];
    let unique: std::collections::BTreeSet<&String> = others.iter().collect();
    assert_eq!(unique.len(), others.len());
}

#[test]
fn settings_out_of_range_are_said() {
    let message = |brief: Brief| requests(&brief, "bottle", &[]).unwrap_err().to_string();
    let got = message(Brief { template: "fault@1".into(), ..brief(1) });
    assert_eq!(got, "there is no template `fault@1`; templates: faults@1, findings@1");
    assert_eq!(message(brief(501)), "`count` wants 1 to 500, got 501");
    let got = message(Brief { temperature: Some(f64::NAN), ..brief(1) });
    assert_eq!(got, "`temperature` wants 0 to 2, got NaN");
    assert!(message(Brief { model: " ".into(), ..brief(1) }).starts_with("`model` wants a name"));
    assert!(requests(&brief(1), "a\u{7}b", &[]).is_err());
}

fn reply(name: &str) -> Reply {
    let path = format!("{}/tests/replies/{name}.txt", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(path).unwrap();
    let (status, body) = text.split_once('\n').unwrap();
    Reply { status: status.parse().unwrap(), body: body.to_owned() }
}

#[test]
fn a_good_reply_gives_sentences_and_counts() {
    let answer = parse(&reply("good")).unwrap();
    assert_eq!((answer.normal.len(), answer.anomalous.len()), (4, 9));
    assert_eq!((answer.usage.prompt_tokens, answer.usage.completion_tokens), (312, 171));
    assert_eq!(parse(&reply("fenced")).unwrap().normal, ["a clear neck", "a round body"]);
    let thoughtful = parse(&reply("thoughts")).unwrap();
    assert_eq!(thoughtful.anomalous, ["a chipped rim"]);
    assert_eq!(thoughtful.usage.prompt_tokens, 1 << 40, "a count that is no count is cut");
}

#[test]
fn every_other_reply_says_what_it_is_and_whether_to_try_again() {
    let cases = [
        ("rate-limit", "status 429: Rate limit reached for requests", true),
        ("server", "status 503: upstream connect error", true),
        ("key", "status 401: Incorrect API key provided", false),
        ("error-200", "no chat completion: model not found", true),
        ("refusal", "the model refused: I can't help with that", false),
        ("filtered", "the model refused: the endpoint's filter stopped", false),
        ("cut-off", "was cut off at the endpoint's limit of tokens", false),
        ("prose", "not the JSON that was asked for: expected value", true),
        ("malformed", "not the JSON that was asked for: EOF while parsing", true),
        ("schema", "not the JSON that was asked for: invalid type: map, expected a string", true),
        ("no-choices", "`choices` is empty", true),
        ("html", "no chat completion: expected value", true),
    ];
    for (name, want, passing) in cases {
        let error = parse(&reply(name)).unwrap_err();
        assert!(error.to_string().contains(want), "{name}: {error}");
        assert_eq!(error.is_passing(), passing, "{name}: {error}");
    }
    let huge = Reply { status: 200, body: " ".repeat(crate::limits::MAX_REPLY_BYTES + 1) };
    assert!(parse(&huge).unwrap_err().to_string().contains("1048577 bytes"));
}

#[test]
fn what_is_of_no_use_is_dropped_with_a_reason() {
    let accepted = accept(&brief(6), "bottle", &["flask"], &[reply("good")]).unwrap();
    let entry = &accepted.entry;
    assert_eq!(
        entry.normal,
        ["a round bottle mouth with an even rim", "clear glass seen from above"]
    );
    assert_eq!(
        entry.anomalous,
        [
            "a chip in the bottle's rim",
            "a dark fibre inside the neck",
            "a crack from rim to shoulder"
        ]
    );
    let why: Vec<(&str, &str)> =
        accepted.dropped.iter().map(|drop| (drop.text.as_str(), drop.why)).collect();
    assert_eq!(
        why,
        [
            ("A normal bottle", "names nothing that a camera sees"),
            ("a dull ring on the base", "stands under both labels"),
            (
                "A chip in the  bottle's rim.".split("  ").collect::<Vec<_>>().join(" ").as_str(),
                "stands there already"
            ),
            ("a scratched wall that is a testament to long use", "praises what it calls faulty"),
            ("a damaged flask", "names nothing that a camera sees"),
            ("a {class} with a dent", "holds a brace"),
            ("a stain\\u{7} on the wall", "holds a character that nobody sees"),
            ("a dull ring on the base", "stands under both labels"),
        ]
    );
    assert_eq!(entry.request, Some(digest(&requests(&brief(6), "bottle", &["flask"]).unwrap())));
    assert_eq!(entry.asked.unwrap().count, 6);
}

#[test]
fn an_entry_goes_through_its_file() {
    let accepted = accept(&brief(6), "bottle", &[], &[reply("good")]).unwrap();
    let mut cache = crate::cache::Cache::default();
    cache.put(accepted.entry);
    let text = crate::cache::write(&cache);
    assert_eq!(crate::cache::read("p.toml", text.as_bytes()).unwrap(), cache);
    assert!(text.contains("asked = { count = 6, temperature = 0.7, seed = 5 }"), "{text}");
}

#[test]
fn no_entry_is_made_of_nothing() {
    let message =
        |replies: &[Reply]| accept(&brief(6), "bottle", &[], replies).unwrap_err().to_string();
    assert!(message(&[]).contains("0 replies to 1 requests"));
    assert!(message(&[reply("refusal")]).starts_with("reply 1: the model refused"));
    let got = message(&[reply("empty")]);
    assert_eq!(
        got,
        "the replies leave no anomalous sentence about `bottle`: 2 were dropped, the first because \
         it names nothing that a camera sees"
    );
}

#[test]
fn more_than_was_asked_for_is_dropped() {
    let accepted = accept(&brief(1), "bottle", &[], &[reply("good")]).unwrap();
    assert_eq!((accepted.entry.normal.len(), accepted.entry.anomalous.len()), (1, 1));
    assert!(accepted.dropped.iter().any(|drop| drop.why == "is more than was asked for"));
}
