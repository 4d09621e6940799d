//! The generator: same seeds give the same bytes, masks are exact, trees are readable and whole.

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use common::wrap;
use expect_test::expect;
use loupe_datasets::surfaces::{
    DEFECTS, Defective, FAMILIES, NOTICEABLE, Options, Product, SurfaceError, make_dataset,
};
use loupe_datasets::{Dataset, Layout};

fn small() -> Options {
    Options {
        families: vec!["woven".to_owned(), "hex_tiles".to_owned()],
        defects: vec!["missing_cell".to_owned(), "stain".to_owned()],
        n_train: 2,
        n_test_good: 1,
        n_test_per_defect: 2,
        size: 48,
        seed: 5,
        light: 0.5,
    }
}

/// BLAKE3 of every file below `root`, by its name.
fn digests(root: &Path) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("folder") {
            let path = entry.expect("entry").path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(root).expect("below the root").display().to_string();
                let digest = blake3::hash(&fs::read(path).expect("file")).to_hex().to_string();
                found.insert(name, digest);
            }
        }
    }
    found
}

#[test]
fn a_tree_is_an_mvtec_ad_data_set() {
    let dir = tempfile::tempdir().expect("dir");
    let root = dir.path().join("made");
    let summary = make_dataset(&root, &small()).expect("data set");
    assert_eq!((summary.n_images, summary.n_masks), (12, 6));
    assert_eq!(summary.left_out, [("woven".to_owned(), "missing_cell".to_owned())]);
    let layout = Layout::find("mvtec-ad").expect("layout");
    let dataset = Dataset::open(&root, &layout, None, None).expect("data set");
    assert!(dataset.unmatched.is_empty() && dataset.warnings.is_empty());
    let counts: Vec<_> =
        dataset.classes.iter().map(|c| (c.display.as_str(), c.train.len(), c.test.len())).collect();
    assert_eq!(counts, [("hex tiles", 2, 5), ("woven", 2, 3)]);
    let masked = |sample: &&loupe_datasets::Sample| sample.mask.is_some();
    assert_eq!(dataset.classes[0].test.iter().filter(masked).count(), 4);
}

#[test]
fn same_seed_same_bytes_and_more_images_change_none() {
    let dir = tempfile::tempdir().expect("dir");
    let make = |name: &str, options: &Options| {
        let root = dir.path().join(name);
        make_dataset(&root, options).expect("data set");
        digests(&root)
    };
    let first = make("first", &small());
    assert_eq!(make("second", &small()), first);
    let larger =
        make("larger", &Options { families: vec![], n_train: 3, n_test_per_defect: 3, ..small() });
    assert!(first.iter().all(|(name, digest)| larger.get(name) == Some(digest)));
    let other = make("other", &Options { seed: 6, ..small() });
    let differ = |name: &String| other.get(name) != first.get(name);
    assert!(first.keys().filter(|name| !name.ends_with("_mask.png")).all(differ));
}

/// Pixels of one picture of each family, and of one defect after another, from seed 0. Recorded on
/// x86-64; a change here means that seeds give other data sets, which the change log must say.
#[test]
fn recorded_pixels() {
    let mut text = String::new();
    for (i, family) in FAMILIES.iter().enumerate() {
        let product = Product::new(family.name, 0).expect("product");
        let mut hasher = blake3::Hasher::new();
        hasher.update(&product.good(1, 64, 0.4).expect("picture").rgb);
        let kinds = || DEFECTS.iter().filter(|d| family.has_cells || !d.needs_cells);
        let defect = kinds().nth(i % kinds().count()).expect("a defect");
        let made = product.defective(2, defect.name, 64, 0.4).expect("picture");
        hasher.update(&made.image.rgb);
        hasher.update(&made.mask);
        let digest = &hasher.finalize().to_hex()[..16];
        text.push_str(&format!("{} {} {digest}\n", family.name, defect.name));
    }
    expect![[r#"
        woven scratch fa0833a9879241b8
        brushed_metal crack 3604cfaf847d303b
        wood_grain hole 608232e2e760cccd
        granite stain 9074e5014f37e99d
        leather contamination de3fdabd53480c8b
        ribbed_rubber warp 4fd53c3e43fb8160
        plaster pull b78651a40a1daee7
        carpet dent 0427ab2a05cce4f0
        wire_mesh dent 7135ae54ad47bd0e
        perforated_plate wear 97556297ee82ae6e
        printed_dots faint_region bae925dea06d7093
        square_tiles scratch 236df1c501d1ca4f
        hex_tiles crack 897b223fd719465c
        brick hole b1e208885beb89e1
    "#]]
    .assert_eq(&text);
}

/// Shares of the mask: pixels that differ noticeably, and the mask in the picture.
fn shares(made: &Defective) -> (f64, f64) {
    let (mut n_mask, mut n_changed) = (0, 0);
    let pixels = made.image.rgb.chunks(3).zip(made.clean.rgb.chunks(3));
    for (level, (new, old)) in made.mask.iter().zip(pixels) {
        if *level == 0 {
            assert_eq!(new, old, "a pixel outside the mask has changed");
            continue;
        }
        assert_eq!(*level, 255);
        n_mask += 1;
        let differs = new.iter().zip(old).any(|(a, b)| a.abs_diff(*b) >= NOTICEABLE);
        n_changed += usize::from(differs);
    }
    (n_changed as f64 / n_mask as f64, n_mask as f64 / made.mask.len() as f64)
}

#[test]
fn defects_change_their_mask_and_nothing_else() {
    for family in FAMILIES {
        for defect in DEFECTS.iter().filter(|d| family.has_cells || !d.needs_cells) {
            let product = Product::new(family.name, 3).expect("product");
            for (image_seed, size) in [(0, 64), (1, 97), (2, 160)] {
                let made = product.defective(image_seed, defect.name, size, 1.0);
                let (changed, area) = shares(&made.expect("picture"));
                let case = format!("{} {} {size}", family.name, defect.name);
                assert!(changed >= 0.875, "{case}: only {changed} of the mask has changed");
                assert!((0.002..0.6).contains(&area), "{case}: mask covers {area}");
            }
        }
    }
}

#[test]
fn images_of_a_product_vary_and_products_differ() {
    let mean = |seed, image_seed| {
        let product = Product::new("leather", seed).expect("product");
        let rgb = product.good(image_seed, 64, 0.0).expect("picture").rgb;
        let sum = |c| rgb.iter().skip(c).step_by(3).map(|v| f64::from(*v)).sum::<f64>() / 4096.0;
        (rgb.clone(), [sum(0), sum(1), sum(2)])
    };
    let ((a, mean_a), (b, mean_b), (_, mean_c)) = (mean(0, 0), mean(0, 1), mean(1, 0));
    let distance = |x: [f64; 3], y: [f64; 3]| (0..3).map(|c| (x[c] - y[c]).abs()).sum::<f64>();
    assert_ne!(a, b);
    assert!(distance(mean_a, mean_b) < 15.0, "{mean_a:?} {mean_b:?}");
    assert!(distance(mean_a, mean_c) > 20.0, "{mean_a:?} {mean_c:?}");
}

#[test]
fn a_larger_picture_shows_the_same_piece() {
    let product = Product::new("granite", 0).expect("product");
    let small = product.good(0, 64, 0.0).expect("picture").rgb;
    let large = product.good(0, 192, 0.0).expect("picture").rgb;
    let mean = |rgb: &[u8], size: usize, x0: usize| {
        let half = (0..size).flat_map(|y| (x0..x0 + size / 2).map(move |x| (y * size + x) * 3));
        half.map(|i| f64::from(rgb[i])).sum::<f64>() / (size * size / 2) as f64
    };
    for half in 0..2 {
        let (a, b) = (mean(&small, 64, half * 32), mean(&large, 192, half * 96));
        assert!((a - b).abs() < 3.0, "{a} {b}");
    }
}

#[test]
fn mistakes_are_named() {
    let dir = tempfile::tempdir().expect("dir");
    let full = dir.path().join("full");
    fs::create_dir(&full).expect("folder");
    let error = |root: &Path, options: Options| {
        let error = make_dataset(root, &options).expect_err("error").to_string();
        wrap(&error.replace(&dir.path().display().to_string(), "DIR"))
    };
    let names = |name: &str| vec![name.to_owned()];
    let new = dir.path().join("new");
    expect![[r#"
        no surface family is called `wowen` (did you mean `woven`?); known: woven,
              brushed_metal, wood_grain, granite, leather, ribbed_rubber, plaster,
              carpet, wire_mesh, perforated_plate, printed_dots, square_tiles,
              hex_tiles, brick"#]]
    .assert_eq(&error(&new, Options { families: names("wowen"), ..small() }));
    expect![[r#"
        no defect is called `rust`; known: scratch, crack, hole, stain,
              contamination, missing_cell, warp, pull, dent, wear, faint_region"#]]
    .assert_eq(&error(&new, Options { defects: names("rust"), ..small() }));
    expect!["size 8 is not possible; give 32 to 4096 pixels"]
        .assert_eq(&error(&new, Options { size: 8, ..small() }));
    expect![[r#"
        light NaN is not possible; give 0 (steady) to 1 (gain 0.7 to 1.3, gradient
              40 %)"#]]
    .assert_eq(&error(&new, Options { light: f32::NAN, ..small() }));
    let none = Options { n_train: 0, n_test_good: 0, n_test_per_defect: 0, ..small() };
    expect!["nothing to make: all counts of images are 0"].assert_eq(&error(&new, none));
    let product = Product::new("granite", 0).expect("product");
    let cells = product.defective(0, "missing_cell", 64, 0.0).expect_err("error").to_string();
    expect![[r#"
        `granite` has no cells, so `missing_cell` cannot happen to it; it suits:
              wire_mesh, perforated_plate, printed_dots, square_tiles, hex_tiles,
              brick"#]]
    .assert_eq(&wrap(&cells));

    make_dataset(&full, &small()).expect("an empty folder may be filled");
    let before = digests(&full);
    expect!["`DIR/full` exists and is not empty; give a new folder or remove it first"]
        .assert_eq(&error(&full, small()));
    assert_eq!(digests(&full), before);
    let file = dir.path().join("file");
    fs::write(&file, "text").expect("file");
    expect!["`DIR/file` exists and is not empty; give a new folder or remove it first"]
        .assert_eq(&error(&file, small()));
    assert!(matches!(make_dataset(&file.join("below"), &small()), Err(SurfaceError::Write { .. })));
    let left: Vec<_> = fs::read_dir(dir.path()).expect("dir").collect();
    assert_eq!(left.len(), 2, "nothing temporary stays: {left:?}");
}
