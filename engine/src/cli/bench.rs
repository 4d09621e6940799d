//! `loupe bench`: where a pipeline's time goes on this machine, on images made for it.

use std::path::{Path, PathBuf};
use std::time::Instant;

use loupe_datasets::surfaces::{Options as Surfaces, make_dataset};
use serde::Serialize;

use super::study::{Keep, Study, StudyOptions};
use super::text::{columns, count, size};
use super::{Common, Exit, Format, Outcome, parse_set, print, print_json, setup};
use crate::bench::{Ceilings, Pass, Row, ceilings, forget_peak, peak_bytes, rows};
use crate::pipeline::Change;
use crate::pipeline::model::{Data, Pipeline, References};
use crate::run::numerics;

/// The demonstration's pipeline, on the model that is built in.
const DEMO: &str = include_str!("../../../pipelines/demo.toml");
/// What the images show.
const SURFACE: &str = "carpet";
const DEFECTS: [&str; 4] = ["scratch", "hole", "stain", "dent"];

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The pipeline, a TOML file; its [data] is not used [default: the demonstration's, on the
    /// built-in model]
    pipeline: Option<PathBuf>,
    /// Images to test, half of them with defects
    #[arg(long, default_value_t = 24, value_name = "N", value_parser = clap::value_parser!(u16).range(2..=10_000))]
    images: u16,
    /// Side of the images, in pixels
    #[arg(long, default_value_t = 256, value_name = "PIXELS")]
    size: u32,
    /// Change a key of the pipeline, such as run.threads=1
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = parse_set)]
    sets: Vec<Change>,
}

#[derive(Serialize)]
struct Bench {
    pipeline: String,
    images: usize,
    size_px: u32,
    threads: usize,
    numerics: String,
    /// GFLOP a second that products reach with nothing to fetch.
    ceilings: Ceilings,
    passes: Vec<Pass>,
}

pub(super) fn run(common: &Common, arguments: &Arguments) -> Outcome {
    let scratch = tempfile::tempdir()?;
    let path = match &arguments.pipeline {
        Some(path) => path.clone(),
        None => {
            let path = scratch.path().join("demo.toml");
            std::fs::write(&path, DEMO)?;
            path
        }
    };
    let loader = setup::loader(common);
    let mut pipeline = setup::checked_without_data(&path, &arguments.sets, &loader)?;
    let references = references(&pipeline);
    let root = scratch.path().join("surfaces");
    pipeline.data = Some(images(&root, arguments, &references)?);
    // A cache of its own, so that the first pass finds it empty.
    let common =
        Common { cache_dir: Some(scratch.path().join("cache")), verbose: false, ..common.clone() };
    let cancel = setup::interrupt_flag()?;
    let mut bench = Bench {
        pipeline: arguments
            .pipeline
            .as_ref()
            .map_or_else(|| "demo".to_owned(), |path| path.display().to_string()),
        images: 0,
        size_px: arguments.size,
        threads: 0,
        numerics: numerics().to_owned(),
        ceilings: Ceilings::new(),
        passes: Vec::new(),
    };
    for cache in ["cold", "warm"] {
        let options =
            StudyOptions { classes: &[], no_cache: false, measures: true, cancel: cancel.clone() };
        forget_peak();
        let start = Instant::now();
        let study = Study::open(&common, &options, &path, &pipeline, &loader)?;
        let out = scratch.path().join(cache);
        let result = study.run(&references, "bench", &out, Keep::default())?;
        if result.interrupted {
            return Err(Exit::Interrupted);
        }
        let (seconds, peak_bytes) = (start.elapsed().as_secs_f64(), peak_bytes());
        let engine = &study.engine;
        if bench.passes.is_empty() {
            (bench.images, bench.threads) = (result.n_images, engine.n_threads());
            let par = |n: usize, body: &(dyn Fn(usize) + Sync)| engine.parallel(n, body);
            bench.ceilings = ceilings(&pipeline, &par, bench.threads)?;
        }
        let work = rows(&pipeline, &engine.measured(), &bench.ceilings);
        let images_per_second = bench.images as f64 / seconds;
        bench.passes.push(Pass { cache, seconds, images_per_second, peak_bytes, work });
    }
    match common.format {
        Format::Table => print(&text(&bench)),
        Format::Json => print_json(&bench),
    }
}

/// As many as the pipeline names, chosen from those that are made.
fn references(pipeline: &Pipeline) -> References {
    let named = pipeline.data.as_ref().map(|data| data.references.clone());
    let base = named.unwrap_or(References { shots: 1, ..References::default() });
    References { select: "seeded".to_owned(), manifest: None, ..base }
}

/// Images with defects and masks in a folder.
fn images(root: &Path, arguments: &Arguments, references: &References) -> Result<Data, Exit> {
    let n_images = usize::from(arguments.images);
    let n_defects = DEFECTS.len().min(n_images / 2);
    let per_defect = n_images / 2 / n_defects.max(1);
    make_dataset(
        root,
        &Surfaces {
            families: vec![SURFACE.to_owned()],
            defects: DEFECTS.iter().take(n_defects).map(|name| (*name).to_owned()).collect(),
            n_train: references.shots.max(1),
            n_test_good: n_images - n_defects * per_defect,
            // Anomalous references are taken from the test images.
            n_test_per_defect: per_defect + references.anomalous,
            size: arguments.size,
            ..Surfaces::default()
        },
    )?;
    Ok(Data {
        dataset: "mvtec-ad".to_owned(),
        root: root.to_owned(),
        classes: None,
        mask_above: None,
        references: references.clone(),
    })
}

fn text(bench: &Bench) -> String {
    let ceilings = bench.ceilings.iter().map(|(name, rate)| format!("{rate:.0} GFLOP/s {name}"));
    let ceilings: Vec<String> = ceilings.collect();
    let mut text = format!(
        "{}: {} of {} px, {}, {}\n",
        bench.pipeline,
        count(bench.images, "image"),
        bench.size_px,
        count(bench.threads, "thread"),
        bench.numerics
    );
    if !ceilings.is_empty() {
        text.push_str(&format!("ceiling of products: {}\n", ceilings.join(", ")));
    }
    for pass in &bench.passes {
        let peak =
            pass.peak_bytes.map_or_else(String::new, |peak| format!(", peak {}", size(peak)));
        let head = format!(
            "\n{} cache: {:.2} s, {:.1} images/s{peak}\n",
            pass.cache, pass.seconds, pass.images_per_second
        );
        text.push_str(&head);
        text.push_str(&table(&pass.work, pass.seconds));
    }
    text
}

/// The kinds of work of a pass, one a line.
pub(super) fn table(rows: &[Row], wall_seconds: f64) -> String {
    const HEAD: [&str; 11] = [
        "work",
        "by",
        "calls",
        "p50 ms",
        "p95 ms",
        "total s",
        "of wall",
        "in",
        "out",
        "GFLOP/s",
        "of ceiling",
    ];
    let bytes = |n: u64| if n == 0 { "-".to_owned() } else { size(n) };
    let percent = |share: f64| format!("{:.0} %", share * 100.0);
    let line = |row: &Row| {
        let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
        vec![
            row.work.clone(),
            row.by.clone(),
            row.calls.to_string(),
            format!("{:.2}", row.p50_ms),
            format!("{:.2}", row.p95_ms),
            format!("{:.3}", row.seconds),
            percent(row.seconds / wall_seconds),
            bytes(row.bytes_in),
            bytes(row.bytes_out),
            or_dash(row.gflops.map(|gflops| format!("{gflops:.0}"))),
            or_dash(row.of_ceiling.map(percent)),
        ]
    };
    let lines: Vec<Vec<String>> = rows.iter().map(line).collect();
    columns(&HEAD, &lines, &[2, 3, 4, 5, 6, 7, 8, 9, 10])
}
