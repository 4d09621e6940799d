use super::*;
use loupe_plugin::testing;

/// Two branches on 4 x 4 places: the first sees the damage at place 5, the second is noise.
fn pushed(index: usize, damaged: bool) -> Pushed {
    let noise = |i: usize| ((i * 37 + index * 11) % 17) as f32 / 17.0;
    let mut targets = vec![0.0; 16];
    let mut first: Vec<f32> = (0..16).map(|i| 0.1 * noise(i)).collect();
    if damaged {
        targets[5] = 1.0;
        targets[6] = 0.1;
        first[5] += 0.5;
    }
    let second = (0..16).map(|i| 3.0 * noise(i + 3)).collect();
    (vec![first, second], targets)
}

fn session() -> Vec<Pushed> {
    (0..8).map(|index| pushed(index, index % 2 == 1)).collect()
}

fn config() -> Config {
    Config { weights: None, epochs: 300, learning_rate: 0.02, decay: 1e-3 }
}

fn map(values: &[f32]) -> Tensor {
    Tensor::new([1, 4, 4], values.to_vec()).unwrap()
}

fn mask() -> Tensor {
    let mut values = vec![0.0; 64];
    [18, 19, 26, 27].into_iter().for_each(|pixel| values[pixel] = 1.0);
    Tensor::new([1, 1, 8, 8], values).unwrap()
}

fn subject() -> testing::Subject {
    let (parts, _) = pushed(1, true);
    testing::fusion::<LearnedGate>("")
        .fit("examples", map(&parts[0]))
        .fit("examples", map(&parts[1]))
        .fit("mask", mask())
        .input("parts", map(&parts[0]))
        .input("parts", map(&parts[1]))
}

#[test]
fn conforms() {
    subject().check();
}

#[test]
fn the_branch_that_sees_damage_gets_the_weight() {
    let gate = learn(&session(), &config()).unwrap();
    let (scores, _) = pushed(9, true);
    let rows: Vec<&[f32]> = scores.iter().map(Vec::as_slice).collect();
    let image = Image::new(&gate.ranges, &rows);
    assert!(image.shares(&gate.values)[0] > 0.7, "{:?}", image.shares(&gate.values));
    let sums = image.sums(&gate.values);
    let most = (0..16).max_by(|a, b| sums[*a].total_cmp(&sums[*b])).unwrap();
    assert!(most == 5 && sums[5] > 0.0 && sums[0] < 0.0, "{sums:?}");
}

#[test]
fn the_gradient_is_that_of_the_loss() {
    let ranges = [[0.05, 0.03], [1.5, 0.9]];
    let session = session();
    let images: Vec<(Image, &[f32])> = session
        .iter()
        .map(|(scores, targets)| {
            let rows: Vec<&[f32]> = scores.iter().map(Vec::as_slice).collect();
            (Image::new(&ranges, &rows), targets.as_slice())
        })
        .collect();
    let values: Vec<f64> = (0..10).map(|i| 0.3 * (f64::from(i) * 0.9 + 0.2).sin()).collect();
    let (_, gradient) = loss(&values, &images, 0.1).unwrap();
    for i in 0..values.len() {
        let at = |step: f64| {
            let mut values = values.clone();
            values[i] += step;
            loss(&values, &images, 0.1).unwrap().0
        };
        let difference = (at(1e-5) - at(-1e-5)) / 2e-5;
        assert!((difference - gradient[i]).abs() < 1e-7, "{i}: {difference} {}", gradient[i]);
    }
}

#[test]
fn a_state_says_what_was_learned() {
    let gate = Gate { ranges: vec![[0.5, 2.0]], values: vec![0.25, 0.0, 0.0, 0.0, 2.0, -1.0] };
    assert_eq!(Gate::read(&gate.state().unwrap()).unwrap(), gate);
    // One branch has all the weight: (2.5 - 0.5) / 2 deviations, times 2, less 1.
    let fusion = LearnedGate { config: config(), gate: Some(gate) };
    let fused = fusion.fuse(&[Tensor::new([1, 2], [2.5, 0.5]).unwrap()]).unwrap();
    assert_eq!(fused.f32s().unwrap(), [1.0, -1.0]);
    let two = [Tensor::new([1], [0.0]).unwrap(), Tensor::new([1], [0.0]).unwrap()];
    let message = fusion.fuse(&two).unwrap_err().to_string();
    assert!(message.contains("`parts` wants 1 parts, as the gate learned, but got 2"), "{message}");
}

#[test]
fn a_gate_that_learned_nothing_says_how_to() {
    let fusion = LearnedGate { config: config(), gate: None };
    let message = fusion.fuse(&[map(&[0.0; 16])]).unwrap_err().to_string();
    assert!(message.contains("name a file as `weights`"), "{message}");
    let sound: Vec<Pushed> = (0..4).map(|index| pushed(index, false)).collect();
    let message = learn(&sound, &config()).unwrap_err().to_string();
    assert!(message.contains("damaged and sound places"), "{message}");
    assert!(learn(&[], &config()).is_err());
    let message = testing::fusion::<LearnedGate>("gain = 2.0").run().err().unwrap();
    assert!(message.contains("gain"), "{message}");
}

#[test]
fn damaged_weights_are_refused() {
    let gate = Gate { ranges: vec![[0.5, 2.0]; 2], values: vec![0.0; 10] };
    let bytes = gate.state().unwrap().bytes().to_vec();
    let read = |bytes: Vec<u8>| Gate::read(&State::new(SCHEMA, 1, bytes));
    assert!(read(bytes.clone()).is_ok());
    for end in [0, 7, 20, bytes.len() - 1] {
        assert!(read(bytes[..end].to_vec()).is_err(), "cut at {end}");
    }
    let spoiled = |change: &dyn Fn(&mut Gate)| {
        let mut gate = gate.clone();
        change(&mut gate);
        Gate::read(&gate.state().unwrap()).unwrap_err().to_string()
    };
    assert!(spoiled(&|gate| gate.ranges[1][1] = 0.0).contains("not above 0"));
    assert!(spoiled(&|gate| gate.values[3] = f64::NAN).contains("`gate` holds NaN"));
    let writer = StateWriter::new(SCHEMA, 1).f32s("ranges", [1, 2], &[0.0, 1.0]).unwrap();
    let writer = writer.f32s("gate", [2, 4], &[0.0; 8]).unwrap();
    let state = writer.f32s("ends", [2], &[1.0, 0.0]).unwrap().finish().unwrap();
    let message = Gate::read(&state).unwrap_err().to_string();
    assert!(message.contains("a row for each of 1 branches"), "{message}");
}
