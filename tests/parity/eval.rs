//! The metrics alone: `loupe eval` on the recorded maps, so that nothing before them can hide in
//! their tolerance.

use std::path::{Path, PathBuf};

use image::GrayImage;
use loupe_tests::World;
use serde_json::Value;

use crate::chain::{Model, Variant};
use crate::compare::{Comparison, METRIC_OF_RECORDED, Tolerance};
use crate::recorded::{Array, Recorded, folder};
use crate::stored::{metrics, write_npy};

const CLASS: &str = "ring_plate";

/// An image of the data set: `good/000`, and its height and width.
struct Image {
    name: String,
    size: [usize; 2],
}

/// Every variant's map `both` is a class of its own for `loupe eval`.
pub fn check(model: &Model, variants: &[&Variant]) {
    let world = World::new();
    let recorded = Recorded::read(model.golden, model.name);
    let mut scores = String::from("path,score\n");
    let images = images();
    for variant in variants {
        masks(&world.path(format!("masks/{}", variant.name)), &images);
        let name = variant.name;
        let of_score = if variant.shots == 0 { "says" } else { "verdict" };
        let of_score = recorded.get(&format!("{name}.{of_score}"));
        let maps = recorded.get(&format!("{name}.both"));
        let [_, rows, columns] = maps.shape[..] else { panic!("{:?}", maps.shape) };
        for (i, (image, map)) in images.iter().zip(maps.values.chunks(rows * columns)).enumerate() {
            let path = format!("{name}/test/{}.npy", image.name);
            write_npy(&world.path(format!("grids/{path}")), [rows, columns], map);
            let stretched = stretched(map, [rows, columns], image.size);
            write_npy(&world.path(format!("stretched/{path}")), image.size, &stretched);
            scores += &format!("{path},{:?}\n", of_score.values[i]);
        }
    }
    world.write("scores.csv", scores);
    // Where maps are resized to their masks in floating point, equal numbers may fall apart by a
    // rounding.
    let resized = Tolerance::Absolute { max: 1e-6, median: 1e-6 };
    let mut compared = Comparison::default();
    for (maps, protocol, recorded_as, scored, tolerance) in [
        ("grids", "fade-448-u8", "fade-448-u8", true, METRIC_OF_RECORDED),
        ("stretched", "native", "stretched", false, METRIC_OF_RECORDED),
        ("grids", "native", "native", true, resized),
    ] {
        let table = evaluate(&world, maps, protocol, scored);
        for variant in variants {
            let rows = table["tables"][0]["classes"].as_array().unwrap();
            let row = rows.iter().find(|row| row["class"] == variant.name).unwrap();
            let row = metrics(&row["metrics"]);
            let start = format!("{}.both.{recorded_as}.", variant.name);
            let keys: Vec<&str> = recorded.names(&start).collect();
            assert!(keys.len() >= 8, "{start}");
            for key in keys {
                let value = row[key.strip_prefix(&start).unwrap_or_default()];
                let got = Array { shape: vec![1], values: vec![value] };
                compared.check(key, &got, recorded.get(key), tolerance);
            }
        }
    }
    compared.finish();
}

fn evaluate(world: &World, maps: &str, protocol: &str, scored: bool) -> Value {
    let path = |name: &str| world.path(name).display().to_string();
    let mut arguments = vec![
        "eval".to_owned(),
        "--format=json".to_owned(),
        format!("--maps={}", path(maps)),
        format!("--masks={}", path("masks")),
        format!("--protocol={protocol}"),
    ];
    if scored {
        arguments.push(format!("--scores={}", path("scores.csv")));
    }
    let ended = world.run(arguments);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    serde_json::from_str(&ended.stdout).unwrap()
}

/// The images under test by path, as they were recorded.
fn images() -> Vec<Image> {
    let root = folder("fade").join("data").join(CLASS).join("test");
    let tree = loupe_tests::tree(&root);
    let image = |path: &String| {
        let (width, height) = image::image_dimensions(root.join(path)).unwrap();
        let name = path.strip_suffix(".png").unwrap().to_owned();
        Image { name, size: [height as usize, width as usize] }
    };
    tree.keys().map(image).collect()
}

/// The masks of the data set, and black ones of the images' sizes for the normal images.
fn masks(to: &Path, images: &[Image]) {
    let from = folder("fade").join("data").join(CLASS).join("ground_truth");
    for image in images {
        let file =
            |root: &Path| PathBuf::from(format!("{}/{}_mask.png", root.display(), image.name));
        let mask = file(&to.join("ground_truth"));
        std::fs::create_dir_all(mask.parent().unwrap()).unwrap();
        if file(&from).is_file() {
            std::fs::copy(file(&from), mask).unwrap();
        } else {
            let [height, width] = image.size.map(|side| side as u32);
            GrayImage::new(width, height).save(mask).unwrap();
        }
    }
}

/// Each pixel takes a cell as it is, so that not a bit of the recorded numbers changes.
fn stretched(map: &[f64], [rows, columns]: [usize; 2], [height, width]: [usize; 2]) -> Vec<f64> {
    let pixel = |y: usize, x: usize| map[y * rows / height * columns + x * columns / width];
    (0..height).flat_map(|y| (0..width).map(move |x| pixel(y, x))).collect()
}
