//! The example plugins, each in a pipeline, against values worked out here.

use std::path::Path;
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use expect_test::expect;
use loupe_tests::{World, root};

use super::{cells, close, compile, map_of, source};

type Colour = [u8; 3];

/// Two by two cells, for images of 48 pixels; a query and a reference.
const QUERY: [[Colour; 2]; 2] = [[[255, 0, 51], [0, 102, 0]], [[10, 20, 30], [255, 255, 255]]];
const REFERENCE: [[Colour; 2]; 2] = [[[200, 10, 60], [0, 90, 5]], [[0, 0, 0], [128, 64, 32]]];

fn two_by_two(world: &World) {
    cells(&world.path("query.png"), 48, &[&QUERY[0], &QUERY[1]]);
    cells(&world.path("references/one.png"), 48, &[&REFERENCE[0], &REFERENCE[1]]);
}

/// A pipeline on the encoder in C.
fn pipeline(stages: &str) -> String {
    format!(
        "loupe = 1\n[stages]\n\
         image = {{ prepare = \"square\", sizes = [48], normalize = \"none\" }}\n\
         seven = {{ encoder = \"seven\", image = \"image\" }}\n{stages}\n\
         [output]\nanomaly_map = \"map\"\n"
    )
}

// ---- The encoder, once more, in f64 ----

/// The first tap: mean and mean square of the channels, and a one.
fn embedded(colour: Colour) -> [f64; 7] {
    let [r, g, b] = colour.map(|value| f64::from(value) / 255.0);
    [r, g, b, r * r, g * g, b * b, 1.0]
}

/// From the first tap to the second.
fn block(x: [f64; 7]) -> [f64; 7] {
    std::array::from_fn(|i| {
        let mixed = 0.5 * x[i] - x[(i + 1) % 7] + 0.25 * x[(i + 3) % 7];
        x[i] + mixed / (1.0 + mixed.abs())
    })
}

fn tokens(colour: Colour) -> [f64; 7] {
    block(embedded(colour))
}

fn projected(colour: Colour) -> [f64; 4] {
    let x = tokens(colour);
    std::array::from_fn(|i| x[i] - x[(2 * i + 3) % 7] + 0.5 * x[(i + 5) % 7])
}

/// (1 - cosine) / 2 to the nearest of the rows.
fn half_cosine<const N: usize>(query: [f64; N], rows: &[[f64; N]]) -> f64 {
    let dot = |a: &[f64; N], b: &[f64; N]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let cosine = |row| dot(&query, row) / (dot(&query, &query) * dot(row, row)).sqrt();
    (1.0 - rows.iter().map(cosine).fold(-1.0, f64::max)) / 2.0
}

/// Each cell of a picture with a value.
fn each(picture: &[&[Colour]], value: impl Fn(Colour) -> f64) -> Vec<f64> {
    picture.iter().flat_map(|row| row.iter().map(|colour| value(*colour))).collect()
}

fn encoder(world: &World) {
    compile(world, "seven", &source("plugins/examples/c-encoder/encoder.c"), &[]);
}

// ---- The tests ----

#[test]
fn an_encoder_in_c() {
    let world = World::new();
    encoder(&world);
    two_by_two(&world);
    let near = |value: &str| {
        let wired = format!("query = \"seven.{value}\", rows = \"seven.{value}\"");
        let nearest = format!("{{ scorer = \"nearest\", {wired}, fit_on = \"references\" }}");
        pipeline(&format!(
            "far = {nearest}\nmap = {{ fusion = \"resolution-mean\", parts = \"far\" }}"
        ))
    };
    let (shape, map) = map_of(&world, &near("patch_tokens"), &[]);
    let bank = REFERENCE.as_flattened().iter().map(|c| tokens(*c)).collect::<Vec<_>>();
    assert_eq!(shape, [2, 2]);
    close(&map, &each(&[&QUERY[0], &QUERY[1]], |colour| half_cosine(tokens(colour), &bank)));

    let (_, map) = map_of(&world, &near("patch_embeddings"), &[]);
    let bank = REFERENCE.as_flattened().iter().map(|c| projected(*c)).collect::<Vec<_>>();
    close(&map, &each(&[&QUERY[0], &QUERY[1]], |colour| half_cosine(projected(colour), &bank)));
}

/// The other grid, 3 x 5, of images that are at least 64 pixels wide.
#[test]
fn its_grid_of_three_by_five() {
    let world = World::new();
    encoder(&world);
    let colour = |i: u8, step: u8| [i.wrapping_mul(step), 255 - 13 * i, 17 * (i % 9)];
    let picture = |step: u8| -> Vec<[Colour; 5]> {
        (0..3)
            .map(|row| std::array::from_fn(|column| colour(5 * row + column as u8, step)))
            .collect()
    };
    let (query, reference) = (picture(37), picture(91));
    let rows = |picture: &[[Colour; 5]], path: &Path| {
        cells(path, 80, &picture.iter().map(|row| row.as_slice()).collect::<Vec<_>>());
    };
    rows(&query, &world.path("query.png"));
    rows(&reference, &world.path("references/one.png"));
    let far = "far = { scorer = \"nearest\", query = \"seven.patch_tokens\", rows = \"seven.patch_tokens\", fit_on = \"references\" }\n\
               map = { fusion = \"resolution-mean\", parts = \"far\" }";
    let (shape, map) = map_of(&world, &pipeline(far), &["stages.image.sizes=[80]"]);
    assert_eq!(shape, [3, 5]);
    let bank = reference.as_flattened().iter().map(|c| tokens(*c)).collect::<Vec<_>>();
    let slices: Vec<&[Colour]> = query.iter().map(|row| row.as_slice()).collect();
    close(&map, &each(&slices, |colour| half_cosine(tokens(colour), &bank)));
}

/// A fusion steps through an encoder that it has never seen, and changes what flows on.
#[test]
fn a_fusion_steps_the_encoder() {
    let world = World::new();
    encoder(&world);
    compile(&world, "halve", &source("tests/whole/plugins/halve.c"), &[]);
    two_by_two(&world);
    let at = |tap: u32| {
        pipeline(&format!(
            "steps = {{ fusion = \"halve\", taps = \"seven\", at = [1, 2], like = \"seven.patch_tokens\" }}\n\
             map = {{ fusion = \"resolution-mean\", parts = \"steps.sums@48.{tap}\" }}"
        ))
    };
    let sum = |x: [f64; 7]| x.iter().sum::<f64>();
    let query: [&[Colour]; 2] = [&QUERY[0], &QUERY[1]];
    let (_, first) = map_of(&world, &at(1), &[]);
    close(&first, &each(&query, |colour| sum(embedded(colour))));
    let (_, second) = map_of(&world, &at(2), &[]);
    close(&second, &each(&query, |colour| sum(block(embedded(colour).map(|x| 0.5 * x)))));
    // The plain pass does not know of it.
    let plain = "far = { scorer = \"nearest\", query = \"seven.patch_tokens\", rows = \"seven.patch_tokens\", fit_on = \"references\" }\n\
                 map = { fusion = \"resolution-mean\", parts = \"far\" }";
    let (_, map) = map_of(&world, &pipeline(plain), &[]);
    let bank = REFERENCE.as_flattened().iter().map(|c| tokens(*c)).collect::<Vec<_>>();
    close(&map, &each(&query, |colour| half_cosine(tokens(colour), &bank)));
}

/// The stream is its only input, and still each image has a map of its own, from the cache too.
#[test]
fn a_stepped_pass_belongs_to_its_image() {
    let world = World::new();
    encoder(&world);
    compile(&world, "halve", &source("tests/whole/plugins/halve.c"), &[]);
    two_by_two(&world);
    let text = pipeline(
        "steps = { fusion = \"halve\", taps = \"seven\", at = [1, 2] }\n\
         map = { fusion = \"resolution-mean\", parts = \"steps.sums@48.1\" }",
    );
    let sum = |colour| embedded(colour).iter().sum::<f64>();
    for picture in [&QUERY, &REFERENCE, &QUERY] {
        cells(&world.path("query.png"), 48, &[&picture[0], &picture[1]]);
        let (_, map) = map_of(&world, &text, &[]);
        close(&map, &each(&[&picture[0], &picture[1]], sum));
    }
}

/// Such a fusion has nothing to do without an encoder to step.
#[test]
fn a_fusion_between_taps_says_of_what() {
    let world = World::new();
    encoder(&world);
    compile(&world, "halve", &source("tests/whole/plugins/halve.c"), &[]);
    let text = pipeline(
        "steps = { fusion = \"halve\", like = \"seven.patch_tokens\" }\nmap = { fusion = \"resolution-mean\", parts = \"steps.sums\" }",
    );
    let file = world.write("p.toml", text).display().to_string();
    let plugins = world.path("plugins").display().to_string();
    let ended = world.run(["check", &file, "--plugin-path", &plugins]);
    assert_eq!(ended.code, Some(3));
    expect![[r#"
        error: stage `steps` works between taps, but does not say of what
         --> WORLD/p.toml:5:20
          |
        5 | steps = { fusion = "halve", like = "seven.patch_tokens" }
          |                    ^^^^^^^
          |
          = help: add `taps = "ENCODER", at = [..]`, an encoder stage and its taps

        1 error
    "#]]
    .assert_eq(&ended.stderr);
}

#[test]
fn a_fusion_in_c() {
    let world = World::new();
    encoder(&world);
    compile(&world, "median", &source("plugins/examples/c-fusion/median.c"), &[]);
    two_by_two(&world);
    let nearest = |value: &str, distance: &str| {
        format!(
            "{{ scorer = \"nearest\", query = \"seven.{value}\", rows = \"seven.{value}\", fit_on = \"references\", distance = \"{distance}\" }}"
        )
    };
    let stages = format!(
        "a = {}\nb = {}\nc = {}\n\
         middle = {{ fusion = \"median\", parts = [\"a\", \"b\", \"c\"] }}\n\
         map = {{ fusion = \"resolution-mean\", parts = \"middle\" }}",
        nearest("patch_tokens", "half-cosine"),
        nearest("patch_embeddings", "half-cosine"),
        nearest("patch_tokens", "cosine"),
    );
    let text = pipeline(&stages);
    let (shape, middle) = map_of(&world, &text, &[]);
    assert_eq!(shape, [2, 2]);
    let bank = REFERENCE.as_flattened().iter().map(|c| tokens(*c)).collect::<Vec<_>>();
    let other = REFERENCE.as_flattened().iter().map(|c| projected(*c)).collect::<Vec<_>>();
    let median = |colour: Colour| {
        let a = half_cosine(tokens(colour), &bank);
        let mut parts = [a, half_cosine(projected(colour), &other), 2.0 * a];
        parts.sort_by(f64::total_cmp);
        parts[1]
    };
    close(&middle, &each(&[&QUERY[0], &QUERY[1]], median));
    // Of two parts it is their mean.
    let (_, mean) = map_of(&world, &text, &["stages.middle.parts=[\"a\", \"c\"]"]);
    close(&mean, &each(&[&QUERY[0], &QUERY[1]], |c| 1.5 * half_cosine(tokens(c), &bank)));
}

/// Outside the workspace, with the SDK alone.
#[test]
fn a_scorer_in_rust() {
    let world = World::new();
    encoder(&world);
    two_by_two(&world);
    build_rust(&world, "rust-scorer", "deviation");
    let text = pipeline(
        "far = { scorer = \"deviation\", query = \"seven.patch_tokens\", rows = \"seven.patch_tokens\", fit_on = \"references\", floor = 0.25 }\n\
         map = { fusion = \"resolution-mean\", parts = \"far\" }",
    );
    let (shape, map) = map_of(&world, &text, &[]);
    assert_eq!(shape, [2, 2]);
    let rows: Vec<[f64; 7]> = REFERENCE.as_flattened().iter().map(|c| tokens(*c)).collect();
    let mean = |i: usize| rows.iter().map(|row| row[i]).sum::<f64>() / 4.0;
    let variance = |i: usize| rows.iter().map(|row| (row[i] - mean(i)).powi(2)).sum::<f64>() / 4.0;
    let deviation = |colour: Colour| {
        let x = tokens(colour);
        let parts = (0..7).map(|i| (x[i] - mean(i)).powi(2) / (variance(i) + 0.25));
        (parts.sum::<f64>() / 7.0).sqrt()
    };
    close(&map, &each(&[&QUERY[0], &QUERY[1]], deviation));
}

/// Builds a copy of an example, with the SDK where the example's author would have it: once for all tests.
pub fn build_rust(world: &World, example: &str, library: &str) {
    static BUILT: Mutex<Vec<(String, World)>> = Mutex::new(Vec::new());
    let mut built = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
    if !built.iter().any(|(name, _)| name == example) {
        let shared = World::new();
        build_in(&shared, example);
        built.push((example.to_owned(), shared));
    }
    let (_, shared) = built.iter().find(|(name, _)| name == example).unwrap();
    let library = format!("{library}.so");
    let plugin = world.write(format!("plugins/{library}").as_str(), "");
    std::fs::copy(shared.path(format!("target/release/lib{library}")), plugin).unwrap();
}

fn build_in(world: &World, example: &str) {
    let folder = format!("plugins/examples/{example}");
    let manifest = source(&format!("{folder}/Cargo.toml"));
    let sdk = root().join("plugins/sdk").display().to_string();
    assert!(manifest.contains("../../sdk"));
    world.write("Cargo.toml", manifest.replace("../../sdk", &sdk));
    for file in ["src/lib.rs", "Cargo.lock"] {
        world.write(file, source(&format!("{folder}/{file}")));
    }
    let build = |offline: &[&str]| {
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()));
        cargo.args(["build", "--release"]).args(offline).current_dir(world.path(""));
        cargo.env_remove("CARGO_TARGET_DIR").env_remove("RUSTFLAGS");
        // What is tested is that it builds and runs, not how fast it runs.
        cargo.env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "0").output().unwrap()
    };
    let mut done = build(&["--offline"]);
    if !done.status.success() {
        done = build(&[]);
    }
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}
