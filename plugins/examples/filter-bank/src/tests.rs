use super::*;
use loupe_plugin::testing;

fn embeddings<T: Encoder + loupe_plugin::export::Exported>(config: &str, image: Tensor) -> Tensor {
    let ran = testing::encoder::<T>(config).input("image", image).run().unwrap();
    ran.tensor("patch_embeddings").clone()
}

/// A wave of `length` pixels whose brightness changes `degrees` from the x axis.
fn grating(side: usize, degrees: f32, length: f32) -> Tensor {
    let (sin, cos) = degrees.to_radians().sin_cos();
    let at = |i: usize| (i % side) as f32 * cos + (i / side) as f32 * sin;
    let value = |i: usize| 0.5 + 0.25 * (2.0 * PI / length * at(i % (side * side))).sin();
    Tensor::new([1, 3, side, side], (0..3 * side * side).map(value)).unwrap()
}

/// Octave and direction of the strongest answer in the middle of an image.
fn strongest(image: Tensor) -> (usize, usize, f32) {
    let answers = embeddings::<Gabor>("", image);
    let [_, gh, gw, d] = answers.dims_n::<4>("answers").unwrap();
    let middle = &answers.f32s().unwrap()[(gh / 2 * gw + gw / 2) * d..][..d];
    let best = (0..d).max_by(|a, b| middle[*a].total_cmp(&middle[*b])).unwrap();
    (best / N_ORIENTATIONS, best % N_ORIENTATIONS, middle[best])
}

#[test]
fn gabor_conforms() {
    testing::encoder::<Gabor>("").check();
}

#[test]
fn patch_statistics_conforms() {
    testing::encoder::<PatchStatistics>("grid = 5").check();
    testing::encoder::<PatchStatistics>("patch = 8").check();
}

#[test]
fn a_grating_answers_in_the_channel_of_its_wave_and_direction() {
    for (octave, length) in [4.0, 8.0, 16.0].into_iter().enumerate() {
        for direction in 0..N_ORIENTATIONS {
            let image = grating(96, 30.0 * direction as f32, length);
            let (found_octave, found, answer) = strongest(image);
            assert_eq!((found_octave, found), (octave, direction), "{length} px");
            // Half the amplitude, less what halving the image takes from a wave.
            assert!((0.09..0.14).contains(&answer), "{length} px, {direction}: {answer}");
        }
    }
}

#[test]
fn brightness_alone_answers_nothing() {
    let flat = embeddings::<Gabor>("patch = 16", Tensor::new([1, 3, 32, 48], [0.9; 4608]).unwrap());
    assert_eq!(flat.dims(), [1, 2, 3, 18]);
    assert!(flat.f32s().unwrap().iter().all(|answer| *answer < 1e-6), "{flat:?}");
}

#[test]
fn statistics_by_hand() {
    let channels = [[0.0, 1.0, 2.0, 2.0], [4.0, 4.0, 4.0, 8.0], [0.5; 4]];
    let image = Tensor::new([1, 3, 2, 2], channels.concat()).unwrap();
    let whole = embeddings::<PatchStatistics>("grid = 1", image.clone());
    let deviations = [0.6875_f32.sqrt(), 3.0_f32.sqrt(), 0.0];
    assert_eq!(whole.dims(), [1, 1, 1, 6]);
    assert_eq!(whole.f32s().unwrap(), [[1.25, 5.0, 0.5], deviations].concat());
    let pixels = embeddings::<PatchStatistics>("patch = 1", image);
    assert_eq!(pixels.dims(), [1, 2, 2, 6]);
    assert_eq!(pixels.f32s().unwrap()[6..12], [1.0, 4.0, 0.5, 0.0, 0.0, 0.0]);
}

#[test]
fn a_grid_covers_an_image_it_does_not_divide() {
    let image = Tensor::new([1, 3, 5, 5], (0..75).map(|i| (i % 5) as f32)).unwrap();
    let cells = embeddings::<PatchStatistics>("grid = 2", image);
    let means: Vec<f32> = cells.f32s().unwrap().chunks(6).map(|cell| cell[0]).collect();
    assert_eq!(means, [0.5, 3.0, 0.5, 3.0]);
}

#[test]
fn what_cannot_work_is_refused_in_words() {
    let said = |config: &str, side: usize| {
        let image = Tensor::new([1, 3, side, side], vec![0.0; 3 * side * side]).unwrap();
        let subject = testing::encoder::<PatchStatistics>(config).input("image", image);
        subject.run().err().unwrap()
    };
    assert!(said("", 8).contains("wants `patch` or `grid`, got neither"));
    assert!(said("patch = 2\ngrid = 2", 8).contains("one of `patch` and `grid`, got both"));
    assert!(said("patch = 3", 8).contains("multiples of `patch`, 3"));
    assert!(said("grid = 9", 8).contains("at least 9 pixels a side"));
}

#[test]
fn a_mirrored_line_repeats_its_ends() {
    let around = |n: usize| (RADIUS - 3..RADIUS + n + 3).map(move |i| mirrored(i, n));
    assert_eq!(around(4).collect::<Vec<_>>(), [2, 1, 0, 0, 1, 2, 3, 3, 2, 1]);
    assert_eq!(around(1).collect::<Vec<_>>(), [0; 7]);
}
