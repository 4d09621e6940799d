//! The losses against values recorded from the original's modules, and their cotangents against finite
//! differences.

use super::*;

fn recorded() -> serde_json::Value {
    serde_json::from_str(include_str!("../../../tests/golden/clipmpcad/ops.json")).unwrap()
}

fn floats(value: &serde_json::Value) -> Vec<f64> {
    match value {
        serde_json::Value::Array(items) => items.iter().flat_map(floats).collect(),
        value => vec![value.as_f64().unwrap()],
    }
}

/// Shares of 4 x 4 pixels by the rule of the record, and a third of them anomalous.
fn map() -> (Vec<f64>, Vec<bool>) {
    let share_of = |k: usize| {
        let k = k as f64;
        share([2.0 * (1.3 * k).sin(), 2.0 * (0.7 * k).cos()])
    };
    ((0..16).map(share_of).collect(), (0..16).map(|k| k % 3 == 0).collect())
}

fn assert_near(got: &[f64], want: &[f64], tolerance: f64) {
    assert_eq!(got.len(), want.len());
    for (got, want) in got.iter().zip(want) {
        assert!((got - want).abs() <= tolerance * want.abs().max(1.0), "{got} is not {want}");
    }
}

#[test]
fn focal_and_dice_equal_the_original() {
    let recorded = &recorded()["losses"];
    let (shares, mask) = map();
    let mut of_shares = vec![0.0; 16];
    assert_near(&[focal(&shares, &mask, &mut of_shares)], &floats(&recorded["focal"]), 1e-6);
    // The record has a derivative for each of the two shares; here one follows from the other.
    let both = floats(&recorded["dfocal_dp"]);
    let want: Vec<f64> = (0..16).map(|k| both[16 + k] - both[k]).collect();
    assert_near(&of_shares, &want, 1e-6);
    of_shares.fill(0.0);
    assert_near(&[dice(&shares, &mask, &mut of_shares)], &floats(&recorded["dice"]), 1e-6);
    assert_near(&of_shares, &floats(&recorded["ddice_dp1"]), 1e-6);
}

#[test]
fn the_probability_is_taken_for_a_logit() {
    for example in recorded()["losses"]["bce_examples"].as_array().unwrap() {
        let [probability, label, want] = floats(example)[..] else { panic!("{example}") };
        // One patch whose share is the probability; 0 and 1 are reached by far logits.
        let logit = (probability / (1.0 - probability)).ln().clamp(-700.0, 700.0);
        let logits = Logits { values: [vec![0.0], vec![logit]], lengths: vec![1.0] };
        let mut out = [vec![0.0], vec![0.0]];
        let got = bce_on_probability(&logits, label == 1.0, &mut out);
        assert_near(&[got], &[want], 1e-6);
    }
}

#[test]
fn maps_are_stretched_with_aligned_corners() {
    let grid: Vec<f64> = (0..9).map(|k| f64::from(k).sin()).collect();
    let stretch = Stretch::new(3, 5);
    let want = floats(&recorded()["bilinear_align_corners"]["out_5x5"]);
    assert_near(&stretch.columns(&stretch.rows(&grid), 5), &want, 1e-6);
}

#[test]
fn cotangents_are_the_slopes_of_the_loss() {
    let wave = |n: usize, a: f64| (0..n).map(|i| (a * i as f64 + 0.3).sin() as f32).collect();
    let mut tokens: Vec<f32> = wave(6 * 5, 1.7);
    let text = TextPair::new(&wave(4 * 5, 0.9), 5, &[false, true, false, true]).unwrap();
    let mask: Vec<bool> = (0..49).map(|k| k % 4 == 1).collect();
    for (anomalous, mask) in [(true, Some(mask.as_slice())), (false, None)] {
        let target = Target { anomalous, mask, size: 7 };
        let of = [Loss::BceOnProbability, Loss::Focal, Loss::Dice];
        let total = |tokens: &[f32]| -> f64 {
            let loss = head_loss(tokens, [2, 3], &text, 3.0, &of, &target);
            loss.parts.iter().map(|part| part.1).sum()
        };
        let found = head_loss(&tokens, [2, 3], &text, 3.0, &of, &target);
        assert_eq!(found.parts.len(), if mask.is_some() { 3 } else { 1 });
        for i in 0..tokens.len() {
            let (was, step) = (tokens[i], 1e-3);
            tokens[i] = was + step;
            let (above, up) = (total(&tokens), tokens[i]);
            tokens[i] = was - step;
            let slope = (above - total(&tokens)) / f64::from(up - tokens[i]);
            tokens[i] = was;
            assert_near(&[f64::from(found.cotangent[i])], &[slope], 2e-5);
        }
    }
}

#[test]
fn sentences_of_one_kind_are_one_direction() {
    let text = TextPair::new(&[3.0, 0.0, 0.0, 5.0, 1.0, 0.0], 2, &[false, true, false]).unwrap();
    assert_eq!(text.0, [vec![1.0, 0.0], vec![0.0, 1.0]]);
    assert!(TextPair::new(&[1.0, 0.0], 2, &[true]).is_none());
    assert!(TextPair::new(&[0.0, 0.0, 1.0, 0.0], 2, &[false, true]).is_none());
}
