//! Run folders made from records, as a run makes them.

mod folder;
mod original;
mod page;
mod panels;
mod summary;

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::json;
use tempfile::TempDir;

use super::RunFolder;
use crate::experiment::{
    CellFacts, ClassRecord, FileFacts, ImageRecord, PluginFacts, ReferenceRecord, TrainingRecord,
};
use crate::image::{Rgb, encode_png};
use crate::metrics::{ClassMetrics, DEFAULT_LIMITS, ImageScores, Protocol};
use crate::pipeline::model::Setting;

fn facts(name: &str) -> CellFacts {
    CellFacts {
        schema: 1,
        loupe: "0.1.0".into(),
        name: name.into(),
        dataset: "tiles".into(),
        root: PathBuf::from("/data/tiles"),
        shots: 1,
        seed: 7,
        setting: Setting::Inductive,
        protocols: vec!["native".into()],
        numerics: "f32-test".into(),
        plugins: vec![PluginFacts {
            component: "nearest".into(),
            kind: "scorer".into(),
            revision: 1,
            plugin: "scorers".into(),
            version: "0.1.0".into(),
            precision: None,
        }],
        files: vec![FileFacts {
            stage: "clip".into(),
            file: PathBuf::from("/weights/clip.safetensors"),
            blake3: "00ff".into(),
        }],
    }
}

/// A picture of one colour in the folder.
fn picture(folder: &Path, name: &str, pixel: [u8; 3]) -> PathBuf {
    let pixels = pixel.repeat(12 * 8);
    let png = encode_png(&Rgb { width: 12, height: 8, pixels, exif_rotated: false }).unwrap();
    let path = folder.join(name);
    fs::write(&path, png).unwrap();
    path
}

/// A class of `scores`; anomalous images have a mask if `masks` is set. Names are
/// `CLASS/INDEX.png`.
fn class(data: &Path, class: &str, scores: &[(f64, bool)], masks: bool) -> ClassRecord {
    let mut judged = ImageScores::new();
    let grey = picture(data, "image.png", [90, 100, 110]);
    let white = picture(data, "mask.png", [255; 3]);
    let image = |(at, (score, anomalous)): (usize, &(f64, bool))| ImageRecord {
        name: format!("{class}/{at}.png"),
        path: grey.clone(),
        kind: if *anomalous { "crack".into() } else { "good".into() },
        anomalous: *anomalous,
        mask: (masks && *anomalous).then(|| white.clone()),
        anomaly_score: Some(*score),
        map: None,
        from_cache: false,
        ms: 1.5,
    };
    let images = scores.iter().enumerate().map(image).collect();
    scores.iter().for_each(|(score, anomalous)| judged.push("x", *score, *anomalous).unwrap());
    let native = Protocol::find("native").unwrap();
    let row = ClassMetrics::new(class, &native, &DEFAULT_LIMITS, &judged.metrics(), None);
    ClassRecord {
        class: class.into(),
        display: class.into(),
        references: vec![ReferenceRecord { name: "train/0.png".into(), blake3: "ab".repeat(32) }],
        images,
        metrics: vec![row],
        threshold: None,
        training: None,
    }
}

/// A run over these classes, with a map `[2,2]` for every image if `maps` is set.
fn run(classes: Vec<ClassRecord>, maps: bool, complete: bool) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run");
    let resolved = json!({ "loupe": 1, "run": { "seed": 7, "memory": null } });
    let mut run = RunFolder::create(&path, &facts("demo"), &resolved).unwrap();
    for mut record in classes {
        for image in record.images.iter_mut().filter(|_| maps) {
            let score = image.anomaly_score.unwrap_or(0.5) as f32;
            let map = [0.0, 0.1, 0.2, score];
            image.map = Some(run.save_map(&record.class, &image.name, [2, 2], &map).unwrap());
        }
        run.add_class(record).unwrap();
    }
    run.finish(complete).unwrap();
    (folder, path)
}

fn read(folder: &Path, file: &str) -> String {
    fs::read_to_string(folder.join(file)).unwrap()
}
