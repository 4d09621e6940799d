//! The classifiers against scikit-learn and XGBoost; `record_text_models.py` recorded the values.

use std::sync::OnceLock;

use loupe_plugin::testing::host;
use serde_json::Value;

use super::*;

mod agreement;
mod hostile;

/// Two clouds on the unit sphere and what the reference programs say of them.
struct Golden {
    values: Value,
    examples: Examples,
    weighted: Examples,
    tokens: Vec<f32>,
}

const WIDTH: usize = 32;

fn golden() -> &'static Golden {
    static GOLDEN: OnceLock<Golden> = OnceLock::new();
    GOLDEN.get_or_init(|| {
        let text = include_str!("../../tests/golden/text_models.json");
        let values: Value = serde_json::from_str(text).unwrap();
        let unit = |name: &str| {
            let whole: Vec<f32> = f64s(&values[name]).iter().map(|value| *value as f32).collect();
            loupe_kernels::unit_rows(&whole, WIDTH).unwrap()
        };
        let rows = unit("rows");
        let anomalous: Vec<bool> = f64s(&values["labels"]).iter().map(|v| *v > 0.5).collect();
        let weights: Vec<f32> = f64s(&values["weights"]).iter().map(|v| *v as f32).collect();
        let with = |weights: &[f32]| Examples::new(&rows, WIDTH, &anomalous, weights).unwrap();
        let (examples, weighted) = (with(&vec![1.0; weights.len()]), with(&weights));
        let tokens = unit("tokens");
        Golden { values, examples, weighted, tokens }
    })
}

fn f64s(values: &Value) -> Vec<f64> {
    values.as_array().unwrap().iter().map(|value| value.as_f64().unwrap()).collect()
}

/// P(anomalous) of the tokens by a model fitted, written, and read again.
fn probabilities(kind: &Kind, examples: &Examples, seed: u64, tokens: &[f32]) -> Vec<f64> {
    let state = kind.fit(examples, seed, &host()).unwrap().state().unwrap();
    let loaded = kind.load(&state).unwrap();
    scores(loaded.as_ref(), tokens, Scale::Probability, &host()).unwrap()
}

/// The largest difference is at most `tolerance`.
fn close(what: &str, got: &[f64], want: &[f64], tolerance: f64) {
    assert_eq!(got.len(), want.len(), "{what}");
    let worst = got.iter().zip(want).map(|(got, want)| (got - want).abs()).fold(0.0, f64::max);
    assert!(worst <= tolerance, "{what}: off by {worst:.2e}, more than {tolerance:.0e}");
    assert!(got.iter().all(|value| value.is_finite()), "{what} is not finite");
}

#[test]
fn logistic_regression_is_the_optimum_of_liblinear() {
    let Golden { values, examples, weighted, tokens } = golden();
    let want = &values["logistic_regression"];
    let plain = Kind::Logistic(LogisticKeys::default());
    close("plain", &probabilities(&plain, examples, 0, tokens), &f64s(&want["plain"]), 1e-8);
    let twenty = Kind::Logistic(LogisticKeys { c: 20.0 });
    let got = probabilities(&twenty, weighted, 0, tokens);
    close("weighted", &got, &f64s(&want["weighted_c_20"]), 1e-8);
}

#[test]
fn k_nearest_votes_as_scikit_learn() {
    let Golden { values, examples, tokens, .. } = golden();
    let want = &values["k_nearest"];
    let neighbours = |k| Kind::Neighbours(NeighbourKeys { k });
    close("5", &probabilities(&neighbours(5), examples, 0, tokens), &f64s(&want["5"]), 1e-9);
    close("17", &probabilities(&neighbours(17), examples, 0, tokens), &f64s(&want["17"]), 1e-9);
    let own = probabilities(&neighbours(5), examples, 0, &examples.rows);
    close("own rows", &own, &f64s(&want["own_rows"]), 1e-9);
}

#[test]
fn a_hit_silences_the_others_and_a_weight_multiplies_a_vote() {
    let rows = [1.0, 0.0, 1.0, 0.0, 0.0, 1.0];
    let fit = |weights: &[f32]| Examples::new(&rows, 2, &[false, true, true], weights).unwrap();
    let kind = Kind::Neighbours(NeighbourKeys { k: 3 });
    let share =
        |weights: &[f32], token: [f32; 2]| probabilities(&kind, &fit(weights), 0, &token)[0];
    assert_eq!(share(&[1.0; 3], [1.0, 0.0]), 0.5);
    assert_eq!(share(&[3.0, 1.0, 1.0], [1.0, 0.0]), 0.25);
    // Distances 0.4, 0.4 and 0.2.
    assert!((share(&[1.0; 3], [0.6, 0.8]) - 0.75).abs() < 1e-6);
}

/// All sentences alike: ten normal of weight 3 and thirty anomalous hold half of the votes each.
#[test]
fn a_weight_of_the_forest_multiplies_a_count() {
    let anomalous: Vec<bool> = (0..40).map(|i| i % 4 != 0).collect();
    let weights: Vec<f32> = anomalous.iter().map(|a| if *a { 1.0 } else { 3.0 }).collect();
    let alike = Examples::new(&[1.0; 40], 1, &anomalous, &weights).unwrap();
    let share = probabilities(&Kind::Forest(ForestKeys { trees: 400 }), &alike, 42, &[1.0])[0];
    assert!((share - 0.5).abs() < 0.02, "{share}");
}

#[test]
fn boosting_makes_the_trees_of_xgboost() {
    let Golden { values, examples, weighted, tokens } = golden();
    let want = &values["gradient_boosting"];
    let default = BoostingKeys::default();
    let check = |name: &str, keys: BoostingKeys, examples: &Examples| {
        let got = probabilities(&Kind::Boosting(keys), examples, 0, tokens);
        close(name, &got, &f64s(&want[name]), 2e-6);
    };
    check("plain", default.clone(), examples);
    check("weighted", default.clone(), weighted);
    check("bins_16", BoostingKeys { bins: 16, ..default }, examples);
    let (rounds, learning_rate, depth) = (7, 0.1, 3);
    let (lambda, min_child_weight, bins) = (0.2, 3.0, 256);
    let keys = BoostingKeys { rounds, learning_rate, depth, lambda, min_child_weight, bins };
    check("keys", keys, examples);
}

/// The groups are those that scikit-learn's k-means found, so both climb from the same place.
#[test]
fn principal_components_and_the_mixture_are_those_of_scikit_learn() {
    let Golden { values, examples, tokens, .. } = golden();
    let want = &values["mixture"];
    let f64_rows = |rows: &[f32]| rows.iter().map(|v| f64::from(*v)).collect::<Vec<f64>>();
    let anomalous: Vec<usize> = (0..examples.len()).filter(|i| examples.anomalous[*i]).collect();
    let rows: Vec<f64> = anomalous.iter().flat_map(|i| f64_rows(examples.row(*i))).collect();
    let ones = vec![1.0; anomalous.len()];
    let pca = pca::fit(&rows, WIDTH, &ones, 0.9).unwrap();
    close("mean", &pca.mean, &f64s(&want["pca_mean"]), 1e-9);
    close("components", &pca.components, &f64s(&want["pca_components"]), 1e-7);

    let groups: Vec<usize> = f64s(&want["groups"]).iter().map(|group| *group as usize).collect();
    let density = mixture::Density::of_groups(pca, &rows, &ones, &groups, 10);
    close("shares", &density.gaussians.shares, &f64s(&want["shares"]), 1e-8);
    close("means", &density.gaussians.means, &f64s(&want["means"]), 1e-7);
    close("variances", &density.gaussians.variances, &f64s(&want["variances"]), 1e-8);
    let mut got = vec![0.0; tokens.len() / WIDTH];
    density.log_densities(&f64_rows(tokens), &mut got);
    close("log densities", &got, &f64s(&want["token_log_densities"]), 1e-5);
}

/// More rows than values take the other of PCA's two ways.
#[test]
fn components_do_not_depend_on_which_product_is_taken() {
    let examples = &golden().examples;
    let rows: Vec<f64> = examples.rows.iter().map(|v| f64::from(*v)).collect();
    // 160 rows of 32 values: the small side is 32. Padded to 200 values it is 160.
    let pad = |row: &[f64]| row.iter().copied().chain([0.0; 168]).collect::<Vec<f64>>();
    let padded: Vec<f64> = rows.chunks_exact(WIDTH).flat_map(pad).collect();
    let weights = vec![1.0; examples.len()];
    let narrow = pca::fit(&rows, WIDTH, &weights, 0.9).unwrap();
    let wide = pca::fit(&padded, 200, &weights, 0.9).unwrap();
    let cut: Vec<f64> =
        wide.components.chunks_exact(200).flat_map(|row| row[..WIDTH].to_vec()).collect();
    close("components", &cut, &narrow.components, 1e-9);
}

#[test]
fn a_weight_of_the_mixture_counts_a_sentence_again() {
    let examples = &golden().examples;
    let n = examples.len();
    let mut twice = examples.clone();
    for i in (0..n).filter(|i| i % 3 == 0) {
        twice.rows.extend(examples.row(i));
        twice.anomalous.push(examples.anomalous[i]);
        twice.weights.push(1.0);
    }
    let weights: Vec<f64> = (0..n).map(|i| if i % 3 == 0 { 2.0 } else { 1.0 }).collect();
    let weighted = Examples { weights, ..examples.clone() };
    // One Gaussian: where it ends does not depend on where k-means started.
    let kind = Kind::Mixture(MixtureKeys { components: 1, variance: 0.9 });
    let tokens = &golden().tokens;
    let (twice, weighted) =
        (probabilities(&kind, &twice, 0, tokens), probabilities(&kind, &weighted, 0, tokens));
    close("weighted", &weighted, &twice, 1e-9);
}

#[test]
fn the_perceptron_takes_the_steps_of_scikit_learn() {
    let Golden { values, weighted, .. } = golden();
    let want = &values["mlp_steps"];
    let hidden = want["hidden"].as_u64().unwrap() as usize;
    let start = f64s(&want["start"]).iter().map(|value| *value as f32).collect();
    let start = mlp::Weights { width: WIDTH, hidden, values: start };
    let keys = MlpKeys { hidden, alpha: 0.5, learning_rate: 0.02, ..MlpKeys::default() };
    let host = host();
    let mut trainer = mlp_train::Trainer::new(start, &keys, &host);
    let all: Vec<usize> = (0..weighted.len()).collect();
    for _ in 0..5 {
        trainer.step(&mlp_train::Batch::new(weighted, &all)).unwrap();
    }
    let got: Vec<f64> = trainer.weights.values.iter().map(|value| f64::from(*value)).collect();
    close("weights", &got, &f64s(&want["end"]), 2e-5);
}
