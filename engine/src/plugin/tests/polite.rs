//! Fits, taps, text, facts and services, with a plugin in C that does them right.

use std::sync::Arc;

use expect_test::expect;
use serde_json::json;

use super::super::info::Kind;
use super::super::{Catalog, Loader, Sentence, State, Steps, Tensor, Value};
use super::{Workshop, create, host, load, tensor};

fn polite() -> Loader {
    let workshop = Workshop::new();
    let loader = load(&[&workshop.build("polite", "polite", &[])]);
    assert_eq!(workshop.reasons(&loader), "");
    loader
}

fn one(port: u32, tensor: &Tensor) -> Vec<(u32, Value)> {
    vec![(port, Value::Tensor(tensor.clone()))]
}

#[test]
fn what_a_fit_learned_is_loaded_into_a_new_instance() {
    let loader = polite();
    let scorer = create(&loader, Kind::Scorer, "counter").unwrap();
    let query = tensor(&[1, 2], &[10.0, 20.0]);
    expect![[
        r#"scorer `counter` (plugin `polite`), `score` refuses its input: nothing was learned yet"#
    ]]
    .assert_eq(&scorer.run(&one(0, &query), &[2]).unwrap_err().to_string());

    let mut fit = scorer.fit().unwrap();
    let mut other = scorer.fit().unwrap();
    fit.push(&one(1, &tensor(&[1, 2], &[1.0, 2.0]))).unwrap();
    other.push(&one(1, &tensor(&[1, 1], &[100.0]))).unwrap();
    fit.push(&one(1, &tensor(&[2, 1], &[4.0, 5.0]))).unwrap();
    let state = fit.close().unwrap();
    assert_eq!((state.schema.as_str(), state.revision), ("counter", 3));
    assert_eq!(*state.bytes, [12.0_f32.to_le_bytes(), 4.0_f32.to_le_bytes()].concat());

    let loaded = scorer.load(&state).unwrap();
    drop((other, scorer));
    let scores = loaded.run(&one(0, &query), &[2]).unwrap().take(2);
    assert_eq!(scores, Some(Value::Tensor(tensor(&[1, 2], &[7.0, 17.0]))));

    let foreign = State { revision: 9, ..state };
    expect![[
        r#"scorer `counter` (plugin `polite`), `load` refuses its input: this state is not mine"#
    ]]
    .assert_eq(&loaded.load(&foreign).err().unwrap().to_string());
    let swapped = loaded.run(&one(1, &query), &[2]).unwrap_err().to_string();
    assert!(swapped.ends_with("port 1 is none of its inputs"), "{swapped}");
}

#[test]
fn a_stepped_pass_may_be_rewritten_between_taps_and_resumed_from_a_stream() {
    let encoder = create(&polite(), Kind::Encoder, "steps").unwrap();
    let image = tensor(&[1, 1, 2], &[0.0, 0.5]);
    let steps = Steps { taps: &[1, 4], train: false, wanted: &[1] };
    let (mut session, stream) = encoder.taps_open(steps, &one(0, &image)).unwrap();
    assert_eq!(stream, tensor(&[1, 1, 2], &[1.0, 1.5]));
    // One token more than before: streams bind no dimension.
    let longer = tensor(&[1, 2, 2], &[1.0, 1.5, 0.0, 0.0]);
    let stream = session.resume(longer).unwrap();
    assert_eq!(stream, tensor(&[1, 2, 2], &[5.0, 5.5, 4.0, 4.0]));
    let mut outputs = session.finish(stream.clone(), &[1]).unwrap();
    let Some(Value::Tensors(tokens)) = outputs.take(1) else { panic!("{outputs:?}") };
    assert_eq!(tokens.len(), 1);
    assert_eq!((tokens[0].0.tap, &tokens[0].1), (Some(4), &stream));

    let cached = tensor(&[1, 1, 1], &[3.0]);
    let mut session = encoder.taps_open_at(steps, &one(0, &image), cached.clone()).unwrap();
    assert_eq!(session.resume(cached).unwrap(), tensor(&[1, 1, 1], &[7.0]));
}

#[test]
fn a_list_keeps_its_labels() {
    let encoder = create(&polite(), Kind::Encoder, "steps").unwrap();
    let image = tensor(&[1, 1, 1], &[0.5]);
    let Some(Value::Tensors(tokens)) = encoder.run(&one(0, &image), &[1]).unwrap().take(1) else {
        panic!("no list");
    };
    let tokens: Vec<_> = tokens.iter().map(|item| (item.0.tap, item.1.data()[0])).collect();
    assert_eq!(tokens, [(Some(1), 1.5), (Some(2), 2.5)]);
}

#[test]
fn sentences_become_rows() {
    let encoder = create(&polite(), Kind::Encoder, "steps").unwrap();
    let sentence = |text: &str, anomalous| Sentence {
        text: text.to_owned(),
        anomalous,
        weight: 1.0,
        source: String::new(),
    };
    let rows = encoder.encode_text(&[sentence("nut", false), sentence("broken nut", true)]);
    assert_eq!(rows, Ok(tensor(&[2, 2], &[3.0, 0.0, 10.0, 1.0])));
    assert_eq!(encoder.encode_text(&[]), Ok(tensor(&[0, 2], &[])));
}

#[test]
fn text_and_states_go_in_and_text_comes_out() {
    let prompts = create(&polite(), Kind::Prompts, "echo").unwrap();
    let sentence = |text: &str, weight, source: &str| Sentence {
        text: text.to_owned(),
        anomalous: true,
        weight,
        source: source.to_owned(),
    };
    let given = |embeddings| Value::EmbeddedText {
        sentences: Arc::new(vec![sentence("a crack", 0.5, "a"), sentence("Öl", 2.0, "b")]),
        embeddings,
    };
    let state = State { schema: "learned".to_owned(), revision: 1, bytes: Arc::default() };
    let run =
        |embeddings| prompts.run(&[(0, given(embeddings)), (1, Value::State(state.clone()))], &[2]);
    let made = vec![sentence("a crack", 2.0, "learned"), sentence("Öl", 6.0, "learned")];
    let outputs = run(tensor(&[2, 1], &[4.0, 3.0])).unwrap();
    assert_eq!(outputs.values, [(2, Value::Text(Arc::new(made)))]);
    let short = run(tensor(&[1, 1], &[4.0])).unwrap_err().to_string();
    assert!(short.ends_with("port `given` got 2 sentences with embeddings of shape [1, 1]"));
}

#[test]
fn facts_are_told_before_anything_is_made() {
    let loader = polite();
    let facts = loader.facts(Kind::Encoder, "steps", &json!({ "width": 3 })).unwrap();
    assert_eq!((facts.dims["d"], facts.taps), (2, vec![1, 2]));
    assert_eq!(facts.all["more"], json!(true));
    let refused = loader.facts(Kind::Encoder, "steps", &json!({ "width": "!" }));
    assert_eq!(refused, Err("`!` is not a width".to_owned()));
    assert_eq!(loader.facts(Kind::Scorer, "counter", &json!({})), Ok(Default::default()));
}

#[test]
fn the_hosts_services_answer() {
    let loader = polite();
    let image = tensor(&[1, 1, 1], &[0.0]);
    let told = || {
        let (host, said) = host();
        let encoder = loader.create(Kind::Encoder, "steps", &json!({}), host).unwrap();
        let told = encoder.run(&one(0, &image), &[6]).unwrap().take(6);
        (told, Arc::try_unwrap(said).map_or_else(|said| said.lock().unwrap().clone(), |_| vec![]))
    };
    let (first, said) = told();
    let Some(Value::Tensor(told_first)) = &first else { panic!("{first:?}") };
    let numbers = told_first.data();
    assert_eq!(numbers[..5], [0.0, 1.0, 4.0, 9.0, 1.0]);
    assert_eq!(numbers[6..], [2.0, 0.0]);
    expect![[r#"
        stage Warn `/etc/shadow` is not a file that the config of `stage` names
        stage 3 of None"#]]
    .assert_eq(&said.join("\n"));
    assert_eq!(told().0, first, "the same seed and stage draw the same numbers");
}

#[test]
fn a_tool_answers_questions_with_json() {
    let loader = polite();
    assert!(loader.has_tool(Kind::Prompts, "echo") && !loader.has_tool(Kind::Scorer, "counter"));
    let ask = |question| loader.ask(Kind::Prompts, "echo", &question);
    assert_eq!(ask(json!({"do": "this"})), Ok(json!({"asked": {"do": "this"}})));
    let wrong = |question| ask(question).unwrap_err().to_string();
    expect!["prompts `echo` (plugin `polite`), `answer` gave a wrong result: it put no answer"]
        .assert_eq(&wrong(json!("silence")));
    expect![
        "prompts `echo` (plugin `polite`), `answer` gave a wrong result: its JSON is no object"
    ]
    .assert_eq(&wrong(json!("list")));
    assert!(wrong(json!("twice")).ends_with("it put its JSON twice"));
    assert!(wrong(json!("x".repeat(300))).ends_with("this question is too long"));
    let none = loader.ask(Kind::Scorer, "counter", &json!({})).unwrap_err().to_string();
    expect![
        "scorer `counter` (plugin `polite`), `answer` is not supported: it has no such function"
    ]
    .assert_eq(&none);
}
