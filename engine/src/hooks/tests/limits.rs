//! A script that asks for too much is stopped with a message that points at it: at the hook, where
//! rhai forgets the position (operations, time, depth), and at the very call otherwise.

use super::*;

fn stopped(script: &str, limits: Limits) -> String {
    let hooks = load_with(script, limits, Arc::new(|_| ())).unwrap();
    text(hooks.after("map", tensor(&[2, 2], &[1.0, 2.0, 3.0, 4.0])).unwrap_err())
}

#[test]
fn operations_are_counted() {
    let limits = Limits { n_operations: 1000, ..Limits::default() };
    assert_eq!(
        stopped("fn after_map(t) {\n  loop { t; }\n}", limits),
        "hooks.rhai:1:4: in `after_map`: the script exceeds its limit of operations\n\
         1 | fn after_map(t) {\n  |    ^"
    );
}

#[test]
fn time_is_measured() {
    let limits = Limits { n_operations: 0, time: Duration::from_millis(30), ..Limits::default() };
    let error = stopped("fn after_map(t) {\n  loop { t; }\n}", limits);
    assert!(error.contains("the hook took longer than its limit of 30 ms"), "{error}");
    assert!(error.starts_with("hooks.rhai:1:4: in `after_map`: "), "{error}");
    // The next call has its own time.
    let limits = Limits { time: Duration::from_millis(200), ..Limits::default() };
    let hooks = load_with("fn after_map(t) { t }", limits, Arc::new(|_| ())).unwrap();
    std::thread::sleep(Duration::from_millis(210));
    assert!(hooks.after("map", tensor(&[1], &[1.0])).unwrap().is_some());
}

#[test]
fn calls_nest_only_so_deep() {
    let error = stopped("fn f(x) {\n  f(x)\n}\nfn after_map(t) { f(t) }", Limits::default());
    assert!(
        error.starts_with(
            "hooks.rhai:4:4: in `after_map`: the script exceeds its limit of nested calls"
        ),
        "{error}"
    );
}

#[test]
fn strings_arrays_and_maps_grow_only_so_far() {
    for (script, what) in [
        ("let s = \"x\"; loop { s += s; }", "string"),
        ("let a = [0]; loop { a.push(1); }", "array"),
        ("let a = [0]; loop { a += a; }", "array"),
        ("let m = #{}; for i in 0..200 { m[i.to_string()] = 1; m += #{}; }", "map"),
        ("let a = []; a.pad(100000000, 1); t", "array"),
    ] {
        let limits = Limits {
            n_array_items: 100,
            n_map_fields: 100,
            string_bytes: 1000,
            ..Limits::default()
        };
        let error = stopped(&format!("fn after_map(t) {{ {script} }}"), limits).to_lowercase();
        assert!(error.contains("limit of memory") && error.contains(what), "{script}: {error}");
    }
}

#[test]
fn tensors_made_in_one_call_are_counted() {
    let limits = Limits { tensor_bytes: 100, ..Limits::default() };
    let script = "fn after_map(t) {\n  for i in 0..N { t = t + 1; }\n  t\n}";
    let error = stopped(&script.replace('N', "7"), limits);
    assert!(error.starts_with("hooks.rhai:2:25: in `after_map`: "), "{error}");
    assert!(
        error.contains("the tensors made in one call exceed the limit of 100 bytes"),
        "{error}"
    );
    let hooks = load_with(&script.replace('N', "6"), limits, Arc::new(|_| ())).unwrap();
    for _ in 0..3 {
        let after = hooks.after("map", tensor(&[2, 2], &[0.0; 4])).unwrap().unwrap();
        assert_eq!(after.data(), [6.0; 4]);
    }
}

#[test]
fn there_is_no_clock_file_module_or_eval() {
    for script in
        ["timestamp()", "open(\"x\")", "read_file(\"x\")", "sleep(1)", "sleep(0.1)", "rand()"]
    {
        let error = stopped(&format!("fn after_map(t) {{ {script}; t }}"), Limits::default());
        assert!(
            error.contains("Function not found") || error.contains("cannot `sleep`"),
            "{script}: {error}"
        );
    }
    for script in ["fn after_map(t) { eval(\"1\") }", "import \"x\" as x; fn after_map(t) { t }"] {
        assert!(matches!(load(script), Err(HookError::Compile { .. })), "{script}");
    }
    // The same in a function made at run time.
    let error = stopped("fn after_map(t) { call(Fn(\"timestamp\")) }", Limits::default());
    assert!(error.contains("Function not found"), "{error}");
}
