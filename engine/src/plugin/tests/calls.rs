//! Calls of a hostile fusion: what it is given, what it gives back.

use expect_test::{Expect, expect};

use super::super::info::Kind;
use super::super::{Outputs, PluginError, Tensor, Value};
use super::{Workshop, create, host, load, tensor};
use crate::pipeline::model::Label;

const PARTS: u32 = 0;
const MAP: u32 = 1;

fn parts() -> Vec<(u32, Value)> {
    let one = [0.0, 1.0, 2.0, 3.0, 4.0, 5.0];
    let ten = one.map(|number| number * 10.0);
    vec![
        (PARTS, Value::Tensor(tensor(&[1, 2, 3], &one))),
        (PARTS, Value::Tensor(tensor(&[1, 2, 3], &ten))),
    ]
}

/// Runs `hostile.c` with a switch on two parts, and tells what the host heard.
fn run(switch: &[&str], inputs: &[(u32, Value)]) -> (Result<Outputs, PluginError>, Vec<String>) {
    let workshop = Workshop::new();
    let loader = load(&[&workshop.build("plugin", "hostile", switch)]);
    let (host, said) = host();
    let config = serde_json::json!({});
    let outputs = loader
        .create(Kind::Fusion, "sum-in-c", &config, host)
        .and_then(|instance| instance.run(inputs, &[MAP]));
    let said = said.lock().unwrap().clone();
    (outputs, said)
}

/// Every tensor that came back was freed once, whatever was wrong with it, and so was the instance.
fn check(switch: &str, n_freed: usize, expected: Expect) {
    let (outputs, said) = run(&[switch], &parts());
    expected.assert_eq(&told(&outputs.unwrap_err()));
    let count = |word: &str| said.iter().filter(|line| *line == word).count();
    assert_eq!((count("stage Info freed"), count("stage Info destroyed")), (n_freed, 1));
}

fn check_input(inputs: &[(u32, Value)], expected: Expect) {
    expected.assert_eq(&told(&run(&[], inputs).0.unwrap_err()));
}

/// The words behind the component's own name.
fn told(error: &PluginError) -> String {
    let error = error.to_string();
    error.strip_prefix("fusion `sum-in-c` (plugin `hostile`), ").unwrap().to_owned()
}

#[test]
fn without_a_switch_it_adds() {
    let sum = Value::Tensor(tensor(&[1, 2, 3], &[0.0, 11.0, 22.0, 33.0, 44.0, 55.0]));
    for switch in ["NOTHING", "GIVES_F64", "STRIDED", "MISALIGNED"] {
        let (outputs, said) = run(&[switch], &parts());
        assert_eq!(outputs.unwrap().values, [(MAP, sum.clone())], "{switch}");
        assert_eq!(said, ["stage Info freed", "stage Info destroyed"], "{switch}");
    }
}

#[test]
fn a_list_alone_is_folded_into_a_port_that_takes_many() {
    let list = parts().into_iter().enumerate().map(|(idx, (_, value))| match value {
        Value::Tensor(tensor) => (Label { size: Some(idx as u32), tap: None }, tensor),
        other => panic!("{other:?}"),
    });
    let folded = run(&[], &[(PARTS, Value::Tensors(list.collect()))]).0;
    assert_eq!(folded, run(&[], &parts()).0);
}

#[test]
fn an_output_nobody_reads_is_dropped() {
    let workshop = Workshop::new();
    let loader = load(&[&workshop.build("plugin", "hostile", &[])]);
    let (host, said) = host();
    let instance = loader.create(Kind::Fusion, "sum-in-c", &serde_json::json!({}), host).unwrap();
    assert_eq!(instance.run(&parts(), &[]), Ok(Outputs::default()));
    assert_eq!(*said.lock().unwrap(), ["stage Info freed"]);
}

#[test]
#[expect(clippy::too_many_lines, reason = "one table of cases")]
fn wrong_results() {
    check(
        "WRONG_SHAPE",
        1,
        expect![[r#"
        `fuse` gave a wrong result: port `map`: it wants shape `[b, gh, gw]`, but got [1, 3, 3], where `gh` is 2"#]],
    );
    check(
        "WRONG_RANK",
        1,
        expect![[r#"
        `fuse` gave a wrong result: port `map`: it wants shape `[b, gh, gw]`, but got [1, 2]"#]],
    );
    check(
        "NEGATIVE_RANK",
        1,
        expect![[r#"
        `fuse` gave a wrong result: port `map`: its tensor has -1 dimensions, 0 to 8 are wanted"#]],
    );
    check(
        "NEGATIVE_DIM",
        1,
        expect![[r#"
        `fuse` gave a wrong result: port `map`: its tensor has the impossible shape [1, 2, -4]"#]],
    );
    check(
        "HUGE_DIM",
        1,
        expect![[r#"
        `fuse` gave a wrong result: port `map`: its tensor has the impossible shape [1, 2, 9223372036854775807]"#]],
    );
    check(
        "GIVES_I64",
        1,
        expect![[r#"
        `fuse` gave a wrong result: port `map`: its tensor is i64; f32, f64, f16 or bf16 is wanted"#]],
    );
    check(
        "NON_FINITE",
        1,
        expect![[r#"
        `fuse` gave a wrong result: port `map`: element 5 of [1, 2, 3] is NaN"#]],
    );
    check(
        "GIVES_CUDA",
        1,
        expect![[r#"
        `fuse` gave a wrong result: port `map`: its tensor is on cuda:1, cpu is wanted"#]],
    );
    check("NO_DATA", 1, expect!["`fuse` gave a wrong result: port `map`: its tensor has no data"]);
    check(
        "NEXT_DLPACK",
        1,
        expect![[r#"
        `fuse` gave a wrong result: port `map`: its tensor is DLPack 2.0, 1.x is wanted"#]],
    );
    check(
        "NULL_DELETER",
        0,
        expect![[r#"
        `fuse` gave a wrong result: port `map`: its tensor has no deleter"#]],
    );
    check(
        "NULL_TENSOR",
        0,
        expect![[r#"
        `fuse` gave a wrong result: port `map`: its tensor is null or misaligned"#]],
    );
    check("NO_OUTPUT", 0, expect!["`fuse` gave a wrong result: it put nothing into port `map`"]);
    check("UNKNOWN_PORT", 1, expect!["`fuse` gave a wrong result: port 9 is no output of `fuse`"]);
    check("PUTS_TEXT", 0, expect!["`fuse` gave a wrong result: port `map`: it takes no text"]);
    check("TWICE", 2, expect!["`fuse` gave a wrong result: port `map`: it was given twice"]);
}

#[test]
fn statuses() {
    check(
        "PANICS",
        0,
        expect![[r#"
        `fuse` panicked: index out of bounds: the len is 3 but the index is 7"#]],
    );
    check("CANCELS", 0, expect!["`fuse` was cancelled"]);
    check("UNKNOWN_STATUS", 0, expect!["`fuse` failed: unknown status 17: out of paper"]);
}

#[test]
fn a_config_is_refused_in_the_plugins_words() {
    expect![[r#"
        `create` refuses its config: `floor` must be below 1"#]]
    .assert_eq(&told(&run(&["BAD_CONFIG"], &parts()).0.unwrap_err()));
    let lying = run(&["LYING_ERROR"], &parts()).0.unwrap_err().to_string();
    assert!(lying.ends_with(&"x".repeat(1020)) && lying.len() < 1120, "{lying}");
}

#[test]
fn a_panic_ends_the_instance_and_no_other() {
    let workshop = Workshop::new();
    let loader = load(&[&workshop.build("plugin", "hostile", &["PANICS"])]);
    let instance = create(&loader, Kind::Fusion, "sum-in-c").unwrap();
    assert!(matches!(instance.run(&parts(), &[MAP]), Err(PluginError::Panic { .. })));
    let second = instance.run(&parts(), &[MAP]).unwrap_err();
    expect![[r#"
        `fuse` was not called, because it panicked before in `fuse`; make it anew"#]]
    .assert_eq(&told(&second));
    let other = create(&loader, Kind::Fusion, "sum-in-c").unwrap();
    assert!(matches!(other.run(&parts(), &[MAP]), Err(PluginError::Panic { .. })));
}

#[test]
fn calls_of_a_component_that_is_not_thread_safe_wait_for_each_other() {
    let workshop = Workshop::new();
    let loader = load(&[&workshop.build("plugin", "hostile", &["SLOW"])]);
    let instance = create(&loader, Kind::Fusion, "sum-in-c").unwrap();
    std::thread::scope(|scope| {
        let call = || (0..5).map(|_| instance.run(&parts(), &[MAP])).collect::<Vec<_>>();
        let threads = [scope.spawn(call), scope.spawn(call), scope.spawn(call)];
        for outputs in threads.into_iter().flat_map(|thread| thread.join().unwrap()) {
            assert!(outputs.is_ok(), "{outputs:?}");
        }
    });
}

#[test]
fn wrong_inputs() {
    let cuda = Tensor::on_cuda(vec![1, 2, 3], 0);
    check_input(
        &[(PARTS, Value::Tensor(cuda))],
        expect![[r#"
        `fuse` refuses its input: port `parts` was given a tensor on cuda:0, but fusion `sum-in-c` computes on cpu only; copy it to the cpu first"#]],
    );
    check_input(&[], expect!["`fuse` refuses its input: port `parts` was left out"]);
    check_input(
        &[(PARTS, Value::Tensor(tensor(&[2, 3], &[0.0; 6])))],
        expect![[r#"
        `fuse` refuses its input: port `parts` wants shape `[b, gh, gw]`, but got [2, 3]"#]],
    );
    check_input(
        &[(PARTS, Value::Text(Default::default()))],
        expect![[r#"
        `fuse` refuses its input: port `parts` wants tensor, but got text"#]],
    );
    check_input(
        &[(MAP, parts().remove(0).1)],
        expect![[r#"
        `fuse` refuses its input: port 1 is none of its inputs"#]],
    );
    check_input(
        &[(7, parts().remove(0).1)],
        expect![[r#"
        `fuse` refuses its input: port 7 is none of its inputs"#]],
    );
}

#[test]
fn an_unknown_component_or_output_is_named() {
    let workshop = Workshop::new();
    let loader = load(&[&workshop.build("plugin", "hostile", &[])]);
    let missing = create(&loader, Kind::Scorer, "sum-in-c").err().unwrap();
    expect![[r#"
        no plugin has the scorer `sum-in-c`; `loupe inspect` lists what there is"#]]
    .assert_eq(&missing.to_string());
    let instance = create(&loader, Kind::Fusion, "sum-in-c").unwrap();
    expect![[r#"
        `fuse` refuses its input: port 0 is wanted, but is none of its outputs"#]]
    .assert_eq(&told(&instance.run(&parts(), &[0]).unwrap_err()));
    assert!(instance.run(&parts(), &[99]).is_err());
    expect![[r#"
        `fit_open` is not supported: it has nothing to fit"#]]
    .assert_eq(&told(&instance.fit().err().unwrap()));
    expect![[r#"
        `encode_text` is not supported: it takes no text"#]]
    .assert_eq(&told(&instance.encode_text(&[]).unwrap_err()));
}
