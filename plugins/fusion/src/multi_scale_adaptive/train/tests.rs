use super::*;
use loupe_plugin::testing;

const WIDTH: usize = 5;
const N_IN: usize = 7;

fn wave(n: usize, step: f64) -> Vec<f64> {
    (0..n).map(|i| (i as f64 * step + 0.4).sin()).collect()
}

fn single(values: Vec<f64>) -> Vec<f32> {
    values.into_iter().map(|x| x as f32).collect()
}

fn examples() -> Vec<Example> {
    let targets = [[1.0, 0.0, 0.0, 0.1], [0.0, 0.0, 0.0, 0.0], [0.6, 1.0, 0.0, 0.0]];
    let each = targets.iter().enumerate().map(|(i, targets)| {
        let features = single(wave(N_IN, 0.9 + i as f64));
        Example::new(features, &single(wave(4 * WIDTH, 1.3 + i as f64)), targets, WIDTH)
    });
    each.collect()
}

fn keys(epochs: usize) -> Keys {
    Keys { strength: 0.3, scale: 5.0, epochs, learning_rate: 0.01 }
}

#[test]
fn the_gradient_is_that_of_the_loss() {
    let host = testing::host();
    let examples = examples();
    let features: Vec<Vec<f64>> = (0..3).map(|i| wave(N_IN, 0.8 + f64::from(i))).collect();
    let direction = wave(WIDTH, 2.1);
    let rows = Rows { width: WIDTH, n_in: N_IN, values: wave(WIDTH * (N_IN + 3), 0.77) };
    let at = |values: Vec<f64>| {
        let rows = Rows { values, ..rows };
        loss(&host, &rows, &features, &examples, &direction, &keys(1)).unwrap()
    };
    let (_, gradient) = at(rows.values.clone());
    for i in 0..gradient.len() {
        let moved = |step: f64| {
            let mut values = rows.values.clone();
            values[i] += step;
            at(values).0
        };
        let difference = (moved(1e-5) - moved(-1e-5)) / 2e-5;
        assert!((difference - gradient[i]).abs() < 1e-8, "{i}: {difference} {}", gradient[i]);
    }
}

#[test]
fn a_training_lowers_the_loss_and_starts_from_nothing() {
    let host = testing::host();
    let head = Head {
        project: super::super::layers::Dense {
            n_in: N_IN,
            weights: single(wave(WIDTH * N_IN, 0.6)),
            bias: vec![0.5; WIDTH],
        },
        norm_weight: vec![1.0; WIDTH],
        norm_bias: vec![0.0; WIDTH],
    };
    let direction = wave(WIDTH, 2.1);
    let loss_of = |head: &Head| {
        let examples = examples();
        let per_patch = examples.iter().flat_map(|example| {
            let vector = head.vector(&example.features);
            let patches = example.patches.iter().zip(&example.targets);
            patches.map(move |(patch, target)| {
                let moved: Vec<f64> = patch
                    .iter()
                    .zip(&vector)
                    .map(|(x, e)| f64::from(*x) + 0.3 * f64::from(*e))
                    .collect();
                let length = norm(moved.iter().copied());
                let cosine =
                    moved.iter().zip(wave(WIDTH, 2.1)).map(|(x, u)| x * u).sum::<f64>() / length;
                let sign = if *target > 0.5 { -1.0 } else { 1.0 };
                (*target > 0.5, (sign * 5.0 * cosine).exp().ln_1p())
            })
        });
        let all: Vec<(bool, f64)> = per_patch.collect();
        let mean = |kind: bool| {
            let own: Vec<f64> =
                all.iter().filter(|(k, _)| *k == kind).map(|(_, loss)| *loss).collect();
            own.iter().sum::<f64>() / own.len() as f64
        };
        (mean(true) + mean(false)) / 2.0
    };
    let after = |epochs| fit(&host, head.clone(), &examples(), &direction, &keys(epochs)).unwrap();
    let start = after(0);
    assert_eq!(start.vector(&examples()[0].features), [0.0; WIDTH]);
    let (before, trained) = (loss_of(&start), loss_of(&after(200)));
    assert!(trained < 0.8 * before, "{before} {trained}");
}

#[test]
fn without_damage_there_is_nothing_to_learn() {
    let sound = vec![Example::new(vec![0.0; N_IN], &[0.5; 4 * WIDTH], &[0.0; 4], WIDTH)];
    let rows = Rows { width: WIDTH, n_in: N_IN, values: vec![0.0; WIDTH * (N_IN + 3)] };
    let features = vec![vec![0.0; N_IN]];
    let message = loss(&testing::host(), &rows, &features, &sound, &[0.0; WIDTH], &keys(1));
    assert!(message.unwrap_err().to_string().contains("damaged and sound patches"));
}

#[test]
fn many_patches_are_thinned_and_rims_left_out() {
    let targets: Vec<f32> =
        (0..1000).map(|i| if i < 400 { 1.0 } else { 0.1 * (i % 2) as f32 }).collect();
    let example = Example::new(vec![0.0], &vec![1.0; 1000], &targets, 1);
    assert_eq!(example.targets.iter().filter(|target| **target > 0.5).count(), 128);
    assert_eq!(example.targets.len(), 256);
}

#[test]
fn the_direction_is_between_the_mean_sentences() {
    let sentence = |anomalous| Sentence::new("a", anomalous, "test");
    let sentences = [sentence(false), sentence(true), sentence(true)];
    let embeddings = Tensor::new([3, 2], [2.0, 0.0, 0.0, 5.0, 0.0, 1.0]).unwrap();
    let text = EmbeddedText { sentences: &sentences, embeddings: &embeddings };
    assert_eq!(direction(&text, 2).unwrap(), [-1.0, 1.0]);
    assert!(direction(&text, 3).is_err());
    let text = EmbeddedText {
        sentences: &sentences[1..],
        embeddings: &Tensor::new([2, 2], [0.0, 5.0, 0.0, 1.0]).unwrap(),
    };
    assert!(direction(&text, 2).unwrap_err().to_string().contains("normal and anomalous"));
}
