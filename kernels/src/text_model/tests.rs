use super::*;
use crate::golden::noise;
use crate::parallel::tests::backwards_on_two_threads;
use crate::{serial, unit_rows};

const AVERAGE: TextRule = TextRule::Average { renormalize: false };
/// Two normal and three anomalous sentences, and two tokens, of width 2; all of length 1.
const SENTENCES: [f32; 10] = [1.0, 0.0, 0.8, 0.6, 0.0, 1.0, 0.6, 0.8, -0.6, 0.8];
const LABELS: [bool; 5] = [false, false, true, true, true];
const TOKENS: [f32; 4] = [0.96, 0.28, 0.0, 1.0];

fn check(rule: TextRule, weights: &[f64], scale: f32, want: [f64; 2]) {
    let model = TextModel::fit(rule, &SENTENCES, &LABELS, weights, 2).unwrap();
    let got = model.probabilities(&TOKENS, scale, &serial).unwrap();
    for (got, want) in got.iter().zip(want) {
        assert!((got - want).abs() < 1e-6, "{rule:?}, weights {weights:?}: {got}, want {want}");
    }
}

/// Values: the rules written in numpy (`softmax(scale * x @ T.T)`), f64.
#[test]
fn each_rule_gives_the_values_of_its_formula() {
    check(AVERAGE, &[], 4.0, GOLDEN_AVERAGE);
    check(TextRule::Average { renormalize: true }, &[], 4.0, GOLDEN_RENORMALIZED);
    check(TextRule::Softmax, &[], 4.0, GOLDEN_SOFTMAX);
    check(TextRule::Max, &[], 4.0, GOLDEN_MAX);
}

#[test]
fn a_weight_counts_a_sentence_that_often() {
    let doubled: Vec<f32> = [&SENTENCES[..], &SENTENCES[8..]].concat();
    let labels = [false, false, true, true, true, true];
    for rule in [AVERAGE, TextRule::Softmax, TextRule::Max] {
        let by_copy = TextModel::fit(rule, &doubled, &labels, &[], 2).unwrap();
        let want = by_copy.probabilities(&TOKENS, 4.0, &serial).unwrap();
        check(rule, &[1.0, 1.0, 1.0, 1.0, 2.0], 4.0, [want[0], want[1]]);
        let without = TextModel::fit(rule, &SENTENCES[..8], &LABELS[..4], &[], 2).unwrap();
        let want = without.probabilities(&TOKENS, 4.0, &serial).unwrap();
        check(rule, &[1.0, 1.0, 1.0, 1.0, 0.0], 4.0, [want[0], want[1]]);
    }
}

#[test]
fn margins_stay_apart_where_probabilities_saturate() {
    let model = TextModel::fit(AVERAGE, &[1.0, 0.0, -1.0, 0.0], &[false, true], &[], 2).unwrap();
    let tokens = [-1.0, 0.0, -0.9, 0.19_f32.sqrt()];
    let margins = model.margins(&tokens, 100.0, &serial).unwrap();
    assert_eq!(margins[0], 200.0);
    assert!((margins[1] - 180.0).abs() < 1e-4);
    assert_eq!(model.probabilities(&tokens, 100.0, &serial).unwrap(), [1.0, 1.0]);
}

#[test]
fn tokens_are_brought_to_length_one() {
    let sentences = unit_rows(&noise(5 * 21, 3), 21).unwrap();
    let raw: Vec<f32> = noise(70 * 21, 4).iter().map(|value| value * 7.5).collect();
    let unit = unit_rows(&raw, 21).unwrap();
    for rule in [AVERAGE, TextRule::Softmax] {
        let model = TextModel::fit(rule, &sentences, &LABELS, &[], 21).unwrap();
        let [raw, unit] = [&raw, &unit].map(|tokens| model.margins(tokens, 10.0, &serial).unwrap());
        for (raw, unit) in raw.iter().zip(unit) {
            assert!((raw - unit).abs() < 1e-5, "{raw} is not {unit}");
        }
    }
}

#[test]
fn threads_and_company_do_not_change_a_byte() {
    let sentences = unit_rows(&noise(40 * 21, 1), 21).unwrap();
    let labels: Vec<bool> = (0..40).map(|i| i % 3 == 0).collect();
    let tokens = unit_rows(&noise(150 * 21, 2), 21).unwrap();
    for rule in [AVERAGE, TextRule::Softmax, TextRule::Max] {
        let model = TextModel::fit(rule, &sentences, &labels, &[], 21).unwrap();
        let all = model.margins(&tokens, 100.0, &serial).unwrap();
        assert_eq!(all, model.margins(&tokens, 100.0, &backwards_on_two_threads).unwrap());
        let one = model.margins(&tokens[70 * 21..71 * 21], 100.0, &serial).unwrap();
        assert_eq!(all[70..71], one);
    }
}

#[test]
fn wrong_inputs_are_refused_by_name() {
    let fit = |labels: &[bool], weights: &[f64]| {
        TextModel::fit(AVERAGE, &SENTENCES, labels, weights, 2).unwrap_err().to_string()
    };
    let want = "`TextModel::fit` wants at least one value in `anomalous sentences`, got none";
    assert_eq!(fit(&[false; 5], &[]), want);
    assert_eq!(fit(&LABELS, &[1.0, 1.0, 0.0, 0.0, 0.0]), want);
    assert_eq!(fit(&LABELS[..4], &[]), "`TextModel::fit` wants `embeddings` of 8 values, got 10");
    assert_eq!(fit(&LABELS, &[1.0]), "`TextModel::fit` wants `weights` of 5 values, got 1");
    let want = "`TextModel::fit` wants `weights` at least 0, got `-1`";
    assert_eq!(fit(&LABELS, &[1.0, 1.0, 1.0, 1.0, -1.0]), want);
    let model = TextModel::fit(AVERAGE, &SENTENCES, &LABELS, &[], 2).unwrap();
    assert!(model.margins(&[1.0; 3], 100.0, &serial).is_err());
    for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let message =
            model.margins(&[1.0, 0.0, 0.0, value], 100.0, &serial).unwrap_err().to_string();
        assert!(message.contains("`tokens` holds") && message.ends_with("at index 3"), "{message}");
    }
    assert!(model.margins(&TOKENS, 0.0, &serial).is_err());
    let lying = TextModel { sentences: [vec![1.0], vec![1.0, 0.0]], ..model };
    assert!(matches!(lying.margins(&TOKENS, 1.0, &serial), Err(KernelError::Shape { .. })));
}

const GOLDEN_AVERAGE: [f64; 2] = [0.056182193508, 0.906078502628];
const GOLDEN_RENORMALIZED: [f64; 2] = [0.053296318911, 0.939065682146];
const GOLDEN_SOFTMAX: [f64; 2] = [0.238712281402, 0.896070943080];
const GOLDEN_MAX: [f64; 2] = [0.345246571731, 0.832018371805];
