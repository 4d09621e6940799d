//! Inputs that make no sense, and states that no fit made.

use super::*;

fn kinds() -> [Kind; 6] {
    [
        Kind::Logistic(LogisticKeys::default()),
        Kind::Mlp(MlpKeys { hidden: 8, ..MlpKeys::default() }),
        Kind::Neighbours(NeighbourKeys::default()),
        Kind::Forest(ForestKeys { trees: 5 }),
        Kind::Boosting(BoostingKeys { rounds: 5, ..BoostingKeys::default() }),
        Kind::Mixture(MixtureKeys::default()),
    ]
}

fn refused(made: Result<impl Sized>) -> String {
    made.err().expect("it was taken").to_string()
}

#[test]
fn examples_without_both_labels_or_with_no_numbers_are_refused() {
    let new = |rows: &[f32], anomalous: &[bool], weights: &[f32]| {
        refused(Examples::new(rows, 2, anomalous, weights))
    };
    let both = [false, true];
    assert!(new(&[], &[], &[]).contains("both labels"));
    assert!(new(&[1.0; 4], &[true, true], &[1.0; 2]).contains("is normal"));
    assert!(new(&[1.0; 4], &both, &[1.0, 0.0]).contains("is anomalous"));
    assert!(new(&[1.0, f32::NAN, 0.0, 1.0], &both, &[1.0; 2]).contains("no number"));
    assert!(new(&[1.0; 4], &both, &[1.0, -1.0]).contains("at least 0"));
    assert!(new(&[1.0; 4], &both, &[1.0, f32::NAN]).contains("at least 0"));
    assert!(new(&[1.0; 3], &both, &[1.0; 2]).contains("3 values"));
}

#[test]
fn a_hundred_thousand_sentences_are_refused_and_twenty_thousand_are_learned_from() {
    let make = |n: usize| {
        let rows: Vec<f32> =
            (0..n).flat_map(|i| [(i as f32 * 0.37).cos(), (i as f32 * 0.37).sin()]).collect();
        let anomalous: Vec<bool> = (0..n).map(|i| i % 3 == 0).collect();
        Examples::new(&rows, 2, &anomalous, &vec![1.0; n])
    };
    assert!(refused(make(100_000)).contains("at most 20000 sentences, but got 100000"));
    let many = make(20_000).unwrap();
    let fast = [
        Kind::Logistic(LogisticKeys::default()),
        Kind::Boosting(BoostingKeys { rounds: 2, ..BoostingKeys::default() }),
    ];
    for kind in fast {
        let got = probabilities(&kind, &many, 42, &[1.0, 0.0]);
        assert!((0.0..=1.0).contains(&got[0]), "{kind:?}: {got:?}");
    }
}

/// Two sentences: what can be learned is, what cannot says which key to lower.
#[test]
fn few_sentences_are_learned_from_or_refused_by_name() {
    let two = Examples::new(&[1.0, 0.0, 0.0, 1.0], 2, &[false, true], &[1.0; 2]).unwrap();
    for kind in kinds() {
        match (&kind, kind.fit(&two, 42, &host())) {
            (Kind::Neighbours(_), made) => assert!(refused(made).contains("`k_nearest.k` = 5")),
            (Kind::Mixture(_), made) => {
                assert!(refused(made).contains("`gaussian_mixture.components` = 10"));
            }
            (_, made) => {
                made.unwrap();
                let got = probabilities(&kind, &two, 42, &[1.0, 0.0, 0.0, 1.0]);
                assert!(got.iter().all(|p| (0.0..=1.0).contains(p)), "{kind:?}: {got:?}");
            }
        }
    }
    let kind = Kind::Mixture(MixtureKeys { components: 1, ..MixtureKeys::default() });
    assert!(refused(kind.fit(&two, 42, &host())).contains("the same embedding"));
}

/// All sentences alike tell nothing: P is what the labels' counts say, or there is an error.
#[test]
fn equal_embeddings_say_what_the_counts_say() {
    let n = 40;
    let anomalous: Vec<bool> = (0..n).map(|i| i % 4 != 0).collect();
    for (width, row) in [(1, vec![1.0]), (3, vec![0.6, 0.0, 0.8])] {
        let alike = Examples::new(&row.repeat(n), width, &anomalous, &vec![1.0; n]).unwrap();
        for kind in kinds() {
            if let Kind::Mixture(_) = kind {
                assert!(refused(kind.fit(&alike, 42, &host())).contains("the same embedding"));
                continue;
            }
            let got = probabilities(&kind, &alike, 42, &row)[0];
            let (low, high) = match kind {
                Kind::Boosting(_) => (0.749, 0.751),
                Kind::Forest(_) => (0.6, 0.9),
                _ => (0.0, 1.0),
            };
            assert!((low..=high).contains(&got), "{kind:?}: {got}");
        }
    }
}

#[test]
fn one_value_wide_embeddings_are_learned_from() {
    let n = 60;
    let rows: Vec<f32> = (0..n).map(|i| if i % 2 == 0 { 1.0 } else { -1.0 }).collect();
    let anomalous: Vec<bool> = (0..n).map(|i| i % 2 == 1).collect();
    let line = Examples::new(&rows, 1, &anomalous, &vec![1.0; n]).unwrap();
    for kind in kinds() {
        let kind = match kind {
            Kind::Mixture(_) => continue,
            // Sixty sentences are a step an epoch: too few to stop early.
            Kind::Mlp(keys) => Kind::Mlp(MlpKeys { validation: 0.0, learning_rate: 0.01, ..keys }),
            kind => kind,
        };
        let got = probabilities(&kind, &line, 42, &[1.0, -1.0]);
        assert!(got[0] < got[1], "{kind:?}: {got:?}");
    }
}

/// Rows of zeros, as an encoder makes of a black image, and weights from tiny to huge.
#[test]
fn strange_values_still_give_probabilities() {
    let examples = &golden().examples;
    let mut strange = examples.clone();
    strange.rows[..WIDTH].fill(0.0);
    let weight = |i: usize| [1e-30, 1.0, 1e3][i % 3];
    strange.weights = (0..strange.len()).map(weight).collect();
    let tokens = [vec![0.0; WIDTH], examples.row(3).to_vec()].concat();
    for kind in kinds() {
        let fitted = kind.fit(&strange, 42, &host()).unwrap();
        for (scale, limit) in [(Scale::Probability, 1.0), (Scale::Margin, f64::MAX)] {
            let got = scores(fitted.as_ref(), &tokens, scale, &host()).unwrap();
            assert!(got.iter().all(|score| score.abs() <= limit), "{kind:?}: {got:?}");
        }
    }
}

/// A state with any one value, or any one byte of its arrays, replaced is refused or scores without
/// a panic.
#[test]
fn damaged_states_never_panic() {
    let Golden { examples, tokens, .. } = golden();
    for kind in kinds() {
        let state = kind.fit(examples, 42, &host()).unwrap().state().unwrap();
        let other = kinds()
            .into_iter()
            .find(|other| std::mem::discriminant(other) != std::mem::discriminant(&kind));
        assert!(refused(other.unwrap().load(&state)).contains("fit it again"));
        let bytes = state.bytes();
        for (step, value) in [(0, f32::NAN), (1, -1.0), (2, 1e9), (3, 0.0), (4, 0.5)] {
            for at in (8..bytes.len() - 4).step_by((bytes.len() / 150).max(4) & !3) {
                let mut changed = bytes.to_vec();
                changed[at + step % 2..][..3].copy_from_slice(&value.to_le_bytes()[1..]);
                let changed = State::new(&state.schema, state.revision, changed);
                if let Ok(loaded) = kind.load(&changed)
                    && loaded.width() == WIDTH
                {
                    scores(loaded.as_ref(), &tokens[..WIDTH], Scale::Margin, &host()).unwrap();
                }
            }
        }
        for len in (0..bytes.len()).step_by((bytes.len() / 50).max(1)) {
            let cut = State::new(&state.schema, state.revision, bytes[..len].to_vec());
            assert!(kind.load(&cut).is_err(), "{len} bytes were taken");
        }
    }
}

#[test]
fn fits_are_the_same_twice_and_another_seed_is_another_fit() {
    let examples = &golden().examples;
    for kind in kinds() {
        let fit = |seed| kind.fit(examples, seed, &host()).unwrap().state().unwrap();
        let (first, second, other) = (fit(42), fit(42), fit(43));
        assert!(first.bytes() == second.bytes(), "{kind:?}");
        let random = matches!(kind, Kind::Mlp(_) | Kind::Forest(_) | Kind::Mixture(_));
        assert_eq!(first.bytes() == other.bytes(), !random, "{kind:?}");
    }
}

/// FNV-1a of the states of the models that draw random numbers or train for long: they must be
/// these bytes on every machine. A change here is a change of `Language`'s revision.
#[test]
fn states_are_the_same_bytes_on_every_machine() {
    let kinds = [
        Kind::Mlp(MlpKeys { hidden: 24, epochs: 30, ..MlpKeys::default() }),
        Kind::Forest(ForestKeys { trees: 10 }),
        Kind::Boosting(BoostingKeys { rounds: 20, ..BoostingKeys::default() }),
        Kind::Mixture(MixtureKeys::default()),
    ];
    let hash = |kind: Kind| {
        let state = kind.fit(&golden().examples, 42, &host()).unwrap().state().unwrap();
        state.bytes().iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
        })
    };
    let want = [
        0xfc19_8063_dc8f_120c_u64,
        0xb9fc_7864_e3a7_7c38,
        0xcc60_3587_8720_b9eb,
        0xbce5_3790_8a4a_a9f2,
    ];
    assert_eq!(kinds.map(hash), want);
}
