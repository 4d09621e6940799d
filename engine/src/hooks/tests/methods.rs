//! Every tensor method on values small enough to check by hand.

use super::*;

/// Evaluates an expression on `t`, a 2 x 3 tensor, and `u`, its negative, and gives its debug form.
fn eval(expression: &str) -> String {
    let said = Arc::new(Mutex::new(String::new()));
    let sink = said.clone();
    let log: Log = Arc::new(move |text| *sink.lock().unwrap() = text.to_owned());
    let script = format!("fn observe_map(t) {{ let u = -t; print({expression}); }}");
    let hooks = load_with(&script, Limits::default(), log).unwrap();
    let shown = Shown::Tensor(tensor(&[2, 3], &[3.0, -1.0, 4.0, 1.0, -5.0, 4.0]));
    match hooks.observe("map", shown) {
        Ok(()) => said.lock().unwrap().clone(),
        Err(HookError::Run { message, .. }) => format!("error: {message}"),
        Err(error) => error.to_string(),
    }
}

/// The tensor that an expression on `t`, a vector, makes.
fn make(expression: &str, t: &[f32]) -> Vec<f32> {
    let hooks = load(&format!("fn after_map(t) {{ {expression} }}")).unwrap();
    hooks.after("map", tensor(&[t.len()], t)).unwrap().unwrap().data().to_vec()
}

#[test]
fn reading_methods() {
    for (expression, want) in [
        ("t.shape()", "[2, 3]"),
        ("t.len()", "6"),
        ("t", "Tensor[2, 3]"),
        ("t.max()", "4.0"),
        ("t.min()", "-5.0"),
        ("t.sum()", "6.0"),
        ("t.mean()", "1.0"),
        ("t.get(1, 1)", "-5.0"),
        ("t.get([0, 2])", "4.0"),
        ("t.argmax()", "[0, 2]"),
        ("u.argmax()", "[1, 1]"),
        // Sorted: -5 -1 1 3 4 4.
        ("t.quantile(0)", "-5.0"),
        ("t.quantile(1)", "4.0"),
        ("t.quantile(0.5)", "2.0"),
        ("t.quantile(0.1)", "-3.0"),
        ("t.top_mean(0)", "4.0"),
        ("t.top_mean(0.5)", "3.6666666666666665"),
        ("t.top_mean(1.0)", "1.0"),
        ("t == t + 0", "true"),
        ("t != u", "true"),
    ] {
        assert_eq!(eval(expression), want, "{expression}");
    }
}

#[test]
fn making_methods() {
    let t = [1.0, -2.0, 4.0];
    for (expression, want) in [
        ("t.scale(2)", [2.0, -4.0, 8.0]),
        ("t.scale(0.5)", [0.5, -1.0, 2.0]),
        ("t.add(1)", [2.0, -1.0, 5.0]),
        ("t.add(t)", [2.0, -4.0, 8.0]),
        ("t.sub(t)", [0.0; 3]),
        ("t.mul(t)", [1.0, 4.0, 16.0]),
        ("t.mul(2)", [2.0, -4.0, 8.0]),
        ("t.div(2)", [0.5, -1.0, 2.0]),
        ("t.pow(2)", [1.0, 4.0, 16.0]),
        ("t.clamp(-1, 2.5)", [1.0, -1.0, 2.5]),
        ("t.abs()", [1.0, 2.0, 4.0]),
        ("t.abs().sqrt()", [1.0, 2.0_f32.sqrt(), 2.0]),
        ("t.blend(t * 3, 0.25)", [1.5, -3.0, 6.0]),
        ("t.threshold(1)", [0.0, 0.0, 1.0]),
        ("t.normalize_minmax()", [0.5, 0.0, 1.0]),
        ("(t * 0).normalize_minmax()", [0.0; 3]),
        ("t.scale(0).sigmoid()", [0.5; 3]),
        ("-t", [-1.0, 2.0, -4.0]),
        ("t + t * 2 - 1", [2.0, -7.0, 11.0]),
        ("10 - t", [9.0, 12.0, 6.0]),
        ("2.0 * t", [2.0, -4.0, 8.0]),
        ("4 / t", [4.0, -2.0, 1.0]),
        ("1 + t", [2.0, -1.0, 5.0]),
    ] {
        assert_eq!(make(expression, &t), want, "{expression}");
    }
    let sigmoid = make("t.sigmoid()", &[2.0])[0];
    assert!((sigmoid - 0.880_797).abs() < 1e-6, "{sigmoid}");
}

#[test]
fn faults_are_sentences() {
    for (expression, want) in [
        ("t.get(2, 0)", "error: index [2, 0] is outside of a tensor of shape [2, 3]"),
        ("t.get(-1, 0)", "error: index [-1, 0] is outside of a tensor of shape [2, 3]"),
        ("t.get(1)", "error: a tensor of shape [2, 3] wants 2 indices, got 1"),
        ("t.get([1, \"a\"])", "error: `get` wants whole numbers, got string"),
        ("t.quantile(1.5)", "error: `quantile` wants a number in 0..=1, got 1.5"),
        ("t.top_mean(-1)", "error: `top_mean` wants a fraction in 0..=1, got -1"),
        ("t.clamp(2, 1)", "error: `clamp` wants a lower and a higher bound, got 2 and 1"),
        ("t.clamp(\"a\", 1)", "error: a number is wanted here, got string"),
    ] {
        assert_eq!(eval(expression), want, "{expression}");
    }
    let (a, b) = (tensor(&[2, 2], &[0.0; 4]), tensor(&[4], &[0.0; 4]));
    let fault = a.zip(&b, |a, _| a).unwrap_err();
    assert_eq!(fault, "the tensors have shapes [2, 2] and [4]; they must be equal");
    let empty = tensor(&[0, 3], &[]);
    for fault in [empty.max().map(drop), empty.argmax().map(drop), empty.quantile(0.5).map(drop)] {
        assert!(fault.unwrap_err().ends_with("of a tensor of shape [0, 3], which is empty"));
    }
    assert!(Tensor::new(vec![2, 2], vec![0.0; 3]).is_err());
    assert!(tensor(&[2], &[1.0, f32::NAN]).max().unwrap().is_nan());
}
