//! `run --save panels` of a trained pipeline, pixel by pixel: the image, its mask, the map over it, the map, and where
//! it reaches the threshold.

use image::RgbImage;
use loupe_tests::{World, read_npy};
use serde_json::Value;

use super::{pipeline, train, world};

const SIDE: u32 = 64;
const BLACK: [u8; 3] = [0; 3];
const WHITE: [u8; 3] = [255; 3];

fn picture(world: &World, file: &str) -> RgbImage {
    image::open(world.path(file)).unwrap_or_else(|error| panic!("{file}: {error}")).to_rgb8()
}

/// Panel `nth` at a pixel.
fn at(panels: &RgbImage, nth: u32, (x, y): (u32, u32)) -> [u8; 3] {
    panels.get_pixel(nth * SIDE + x, y).0
}

/// Checks the panels of one image and gives the colours of its map with their scores.
fn check(world: &World, name: &str, mask: Option<&str>, threshold: f32) -> Vec<(f32, [u8; 3])> {
    let panels = picture(world, &format!("out/panels/carpet/{name}.png"));
    assert_eq!((panels.width(), panels.height()), (5 * SIDE, SIDE), "{name}");
    let image = picture(world, &format!("data/carpet/{name}.png"));
    let mask = mask.map(|mask| picture(world, mask));
    let (shape, map) = read_npy(&world.path(format!("out/maps/carpet/{name}.npy")));
    assert_eq!(shape, [64, 64], "{name}");
    let pixels = (0..SIDE).flat_map(|y| (0..SIDE).map(move |x| (x, y)));
    let mut colours = Vec::new();
    for (place, score) in pixels.zip(map) {
        let (own, colour) = (image.get_pixel(place.0, place.1).0, at(&panels, 3, place));
        assert_eq!(at(&panels, 0, place), own, "{name}, image at {place:?}");
        let is_wrong = mask.as_ref().is_some_and(|mask| mask.get_pixel(place.0, place.1).0[0] > 0);
        let wanted = if is_wrong { WHITE } else { BLACK };
        assert_eq!(at(&panels, 1, place), wanted, "{name}, mask at {place:?}");
        for ((mixed, own), colour) in at(&panels, 2, place).into_iter().zip(own).zip(colour) {
            let half = (f32::from(own) + f32::from(colour)) / 2.0;
            assert!((f32::from(mixed) - half).abs() <= 1.0, "{name}, overlay at {place:?}");
        }
        let found = if score >= threshold { WHITE } else { BLACK };
        assert_eq!(at(&panels, 4, place), found, "{name}, threshold at {place:?}");
        colours.push((score, colour));
    }
    colours
}

#[test]
fn panels_show_what_the_maps_and_masks_say() {
    let world = world();
    let pipeline = pipeline(&world, "");
    let trained = train(&world, &pipeline, &["--set", "train.epochs=1"]);
    assert_eq!(trained.code, Some(0), "{}", trained.stderr);
    let out = world.path("out").display().to_string();
    let one = ["--set", "train.epochs=1", "--save", "panels,overlays"];
    let ran = world.run(["run", &pipeline, "--out", &out].into_iter().chain(one));
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);

    let class: Value =
        serde_json::from_slice(&std::fs::read(world.path("out/classes/carpet.json")).unwrap())
            .unwrap();
    let threshold = class["threshold"].as_f64().unwrap() as f32;
    let mut colours = Vec::new();
    let images = class["images"].as_array().unwrap();
    for image in images {
        // `carpet/test/hole/000.png`; the class stands once in the names of the run folder.
        let name = image["name"].as_str().unwrap();
        let name = name.strip_prefix("carpet/").unwrap().strip_suffix(".png").unwrap();
        let mask = name.replace("test/", "data/carpet/ground_truth/") + "_mask.png";
        let mask = (!name.contains("/good/")).then_some(mask);
        colours.extend(check(&world, name, mask.as_deref(), threshold));
        assert!(world.path(format!("out/pictures/carpet/{name}.png")).is_file(), "{name}");
    }
    assert_eq!(colours.len(), images.len() * 64 * 64);
    // One scale for the class: its scores from the lowest 2 % to the highest 0.5 % run from blue to red.
    let mut scores: Vec<f32> = colours.iter().map(|colour| colour.0).collect();
    scores.sort_by(f32::total_cmp);
    let quantile = |level: f64| scores[(level * (scores.len() - 1) as f64).round() as usize];
    let (low, high) = (quantile(0.02), quantile(0.995));
    for (score, colour) in colours {
        // In 256 steps.
        let place = (((score - low) / (high - low)).clamp(0.0, 1.0) * 255.0).round() / 255.0;
        let jet =
            [3.0, 2.0, 1.0].map(|peak| (1.5 - (4.0 * place - peak).abs()).clamp(0.0, 1.0) * 255.0);
        for (got, want) in colour.into_iter().zip(jet) {
            assert!((f32::from(got) - want).abs() <= 1.0, "{score}: {colour:?}, and not {jet:?}");
        }
    }
}
