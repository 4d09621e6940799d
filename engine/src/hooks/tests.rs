//! Each test reads as: a script, a call, what comes out or the message that points into the script.

mod limits;
mod methods;

use std::sync::Mutex;

use super::*;
use serde_json::json;

const STAGES: [&str; 3] = ["clip", "both-maps", "map"];

fn load_with(script: &str, limits: Limits, log: Log) -> Result<Hooks, HookError> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("hooks.rhai");
    fs::write(&path, script).unwrap();
    Hooks::load(&path, &STAGES, limits, log)
}

fn load(script: &str) -> Result<Hooks, HookError> {
    load_with(script, Limits::default(), Arc::new(|_| ()))
}

/// The message without the folder of the script.
fn text(error: HookError) -> String {
    let text = error.to_string();
    match text.split_once("hooks.rhai:") {
        Some((_, rest)) => format!("hooks.rhai:{rest}"),
        None => text,
    }
}

fn tensor(shape: &[usize], data: &[f32]) -> Tensor {
    Tensor::new(shape.to_vec(), data.to_vec()).unwrap()
}

/// Message of the failure of `after_map` on a 2 x 2 tensor.
fn failure(script: &str) -> String {
    let hooks = load(script).unwrap();
    text(hooks.after("map", tensor(&[2, 2], &[1.0, 2.0, 3.0, 4.0])).unwrap_err())
}

#[test]
fn hooks_pass_values_through() {
    let hooks = load(
        r#"
        const FACTOR = 2;
        fn half(x) { x / 2.0 }
        fn on_config(c) { c.run.shots = 4; c["new"] = [1, 2.5, "x", (), true]; c }
        fn on_class(c) { #{ name: c.name.to_upper() } }
        fn after_both_maps(t) { (t * global::FACTOR).clamp(0, 5) }
        fn score_image(map, scores) { half(map.max() + scores.image) }
        "#,
    )
    .unwrap();
    for name in ["on_config", "on_class", "after_both_maps", "score_image"] {
        assert!(hooks.has(name), "{name}");
    }
    assert!(!hooks.has("half") && !hooks.has("observe_image"));

    let config = json!({"run": {"shots": 1, "rate": 0.5}, "null": null, "neg": -3});
    assert_eq!(
        hooks.on_config(&config).unwrap().unwrap(),
        json!({
            "run": {"shots": 4, "rate": 0.5},
            "null": null,
            "neg": -3,
            "new": [1, 2.5, "x", null, true],
        })
    );
    assert_eq!(config["run"]["shots"], 1);
    let class = hooks.on_class(&json!({"name": "bottle"})).unwrap();
    assert_eq!(class, Some(json!({"name": "BOTTLE"})));
    let map = tensor(&[1, 3], &[-1.0, 2.0, 3.0]);
    let after = hooks.after("both-maps", map.clone()).unwrap();
    assert_eq!(after, Some(tensor(&[1, 3], &[0.0, 4.0, 5.0])));
    let scores = BTreeMap::from([("image".to_owned(), 4.0)]);
    assert_eq!(hooks.score_image(map.clone(), &scores).unwrap(), Some(3.5));
    // Hooks that are not defined.
    assert_eq!(hooks.after("map", map.clone()).unwrap(), None);
    hooks.observe("clip", Shown::Tensor(map)).unwrap();
}

#[test]
fn observers_change_nothing_and_their_prints_are_logged() {
    let said = Arc::new(Mutex::new(Vec::new()));
    let sink = said.clone();
    let log: Log = Arc::new(move |text| sink.lock().unwrap().push(text.to_owned()));
    let script = r#"
        fn observe_map(t) { print(`max ${t.max()}`); t = t * 0; t }
        fn observe_image(i) { i.score = 0; debug(i.score); i }"#;
    let hooks = load_with(script, Limits::default(), log).unwrap();
    let map = tensor(&[2], &[1.0, 7.0]);
    hooks.observe("map", Shown::Tensor(map.clone())).unwrap();
    assert_eq!(map, tensor(&[2], &[1.0, 7.0]));
    let image = json!({"score": 3});
    hooks.observe("image", Shown::Value(image.clone())).unwrap();
    assert_eq!(image, json!({"score": 3}));
    assert_eq!(*said.lock().unwrap(), ["max 7.0", "3:44: 0"]);
}

#[test]
fn a_script_keeps_nothing_between_calls() {
    let hooks = load("let n = 0; n += 1; fn on_class(c) { c.n += 1; c }").unwrap();
    for _ in 0..2 {
        assert_eq!(hooks.on_class(&json!({"n": 0})).unwrap(), Some(json!({"n": 1})));
    }
}

#[test]
fn the_digest_is_the_texts() {
    let script = "fn on_class(c) { }";
    assert_eq!(load(script).unwrap().digest(), *blake3::hash(script.as_bytes()).as_bytes());
    assert_ne!(load("fn on_class(c) {  }").unwrap().digest(), load(script).unwrap().digest());
}

#[test]
fn a_name_that_looks_like_a_hook_is_refused_with_a_hint() {
    let refused = |script: &str| text(load(script).unwrap_err());
    assert_eq!(
        refused("// about\nfn on_clas(c) { c }"),
        "hooks.rhai:2:4: `on_clas` is no hook: did you mean `on_class`?\n\
         2 | fn on_clas(c) { c }\n  |    ^"
    );
    assert!(refused("fn after_bothmaps(t) { t }").contains("did you mean `after_both_maps`?"));
    assert!(refused("fn score_imge(m, s) { 1 }").contains("did you mean `score_image`?"));
    assert!(refused("fn onclass(c) { c }").contains("did you mean `on_class`?"));
    assert!(refused("fn after_xyzzyqwert(t) { t }").contains(
        "the hooks of this pipeline are after_both_maps, after_clip, after_map, observe_both_maps"
    ));
    assert!(refused("private fn on_class(c) { c }").contains("it is private"));
    assert_eq!(
        refused("fn score_image(map) { 1.0 }"),
        "hooks.rhai:1:4: `score_image` wants 2 parameters, got 1\n\
         1 | fn score_image(map) { 1.0 }\n  |    ^"
    );
    assert!(load("fn helper(a, b, c) { a }").is_ok());
}

#[test]
fn what_does_not_compile_is_shown_in_its_line() {
    let refused = |script: &str| text(load(script).unwrap_err());
    let unfinished = refused("fn after_map(t) {\n\tt.max(\n}");
    assert!(unfinished.starts_with("hooks.rhai:3:1: "), "{unfinished}");
    assert!(unfinished.ends_with("\n3 | }\n  | ^"), "{unfinished}");
    assert_eq!(
        refused("fn after_map(t) {\n\tq + t\n}"),
        "hooks.rhai:2:2: Undefined variable: q\n2 | \tq + t\n  | \t^"
    );
    let deep = format!("fn after_map(t) {{ {}t{} }}", "(".repeat(500), ")".repeat(500));
    assert!(refused(&deep).contains("exceeds maximum complexity"));
    let missing =
        Hooks::load(Path::new("/nowhere/x.rhai"), &[], Limits::default(), Arc::new(|_| ()));
    assert!(
        missing.unwrap_err().to_string().starts_with("cannot read the script `/nowhere/x.rhai`: ")
    );
}

#[test]
fn what_fails_is_shown_where_it_failed_not_where_it_was_called() {
    assert_eq!(
        failure(
            "fn inner(t) {\n    let u = t + 1;\n    u.quantile(7)\n}\n\
             fn after_map(t) {\n  inner(t)\n}"
        ),
        "hooks.rhai:3:7: in `inner`: `quantile` wants a number in 0..=1, got 7\n\
         3 |     u.quantile(7)\n  |       ^"
    );
    let unknown = failure("fn after_map(t) {\n  t.maxx()\n}");
    assert!(unknown.starts_with("hooks.rhai:2:5: in `after_map`: "), "{unknown}");
    assert!(unknown.contains("maxx"), "{unknown}");
    let thrown = failure("fn after_map(t) { throw \"no\" }");
    assert!(thrown.starts_with("hooks.rhai:1:19: in `after_map`: no\n"), "{thrown}");
}

#[test]
fn a_result_of_the_wrong_kind_names_what_is_wanted() {
    let wrong = |script: &str| failure(&format!("fn after_map(t) {{ {script} }}"));
    let got = |what: &str| {
        format!(
            "hooks.rhai:1:4: `after_map` must return a finite tensor of shape [2, 2], got {what}\n"
        )
    };
    assert!(wrong("").starts_with(&got("nothing")));
    assert!(wrong("t.max()").starts_with(&got("`f64`")));
    assert!(wrong("t / 0").starts_with(&got("inf at element 0")));
    assert!(wrong("(t - 9).sqrt()").starts_with(&got("NaN at element 0")));

    let hooks = load("fn on_config(c) { c.x = 1; } fn score_image(m, s) { \"high\" }").unwrap();
    let error = text(hooks.on_config(&json!({})).unwrap_err());
    assert!(error.contains("`on_config` must return the config, a map, got nothing"), "{error}");
    let error = hooks.score_image(tensor(&[1], &[1.0]), &BTreeMap::new()).unwrap_err();
    assert!(error.to_string().contains("must return a finite number, got `string`"), "{error}");
    let hooks = load("fn on_config(c) { c.a = [1, 0.0 / 0.0]; c }").unwrap();
    let error = hooks.on_config(&json!({})).unwrap_err().to_string();
    assert!(error.contains("`a[1]` is not a finite number"), "{error}");
}

#[test]
fn two_threads_share_one_script() {
    let hooks = load("fn after_map(t) { t.scale(2) + t }").unwrap();
    std::thread::scope(|scope| {
        for start in [1.0_f32, 5.0] {
            let hooks = &hooks;
            scope.spawn(move || {
                for i in 0..200 {
                    let x = start + i as f32;
                    let after = hooks.after("map", tensor(&[1], &[x])).unwrap().unwrap();
                    assert_eq!(after.data(), [3.0 * x]);
                }
            });
        }
    });
}
