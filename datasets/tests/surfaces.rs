//! The generator: same seeds give the same bytes, masks are exact, trees are readable and whole.

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use common::wrap;
use expect_test::expect;
use loupe_datasets::surfaces::{
    Defective, NOTICEABLE, Options, Product, Set, SurfaceError, defects, families, make_dataset,
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
        ..Options::default()
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
fn defects_that_suit_no_surface_are_refused() {
    let dir = tempfile::tempdir().expect("dir");
    let defects = vec!["missing_cell".to_owned()];
    let options = Options { families: vec!["woven".to_owned()], defects, ..small() };
    let error = make_dataset(&dir.path().join("none"), &options).expect_err("nothing suits");
    assert!(error.to_string().starts_with("none of missing_cell is possible on woven"), "{error}");
    let options = Options { n_test_per_defect: 0, ..options };
    assert_eq!(make_dataset(&dir.path().join("good"), &options).expect("data set").n_masks, 0);
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
    for (i, family) in families().enumerate() {
        let product = Product::new(family.name, 0).expect("product");
        let mut hasher = blake3::Hasher::new();
        hasher.update(&product.good(1, 64, 0.4).expect("picture").rgb);
        let kinds = || defects().filter(|d| family.has_cells || !d.needs_cells);
        let defect = kinds().nth(i % kinds().count()).expect("a defect");
        let made = product.defective(2, defect.name, 64, 0.4).expect("picture");
        hasher.update(&made.image.rgb);
        hasher.update(&made.mask);
        let digest = &hasher.finalize().to_hex()[..16];
        text.push_str(&format!("{} {} {digest}\n", family.name, defect.name));
    }
    expect![[r#"
        woven scratch e2183d4bd6c6831f
        brushed_metal abrasion b734f2419f830af2
        wood_grain crack e8c1aef786e3b58a
        granite hairline eca6f2be125bdf5d
        leather cut 91393124755a3811
        ribbed_rubber crease 38741c717af521a7
        plaster broken_thread 0f8d108193e4cee0
        cast_metal pull 2356853f9dab0157
        enamel hole 42b0dd3ffe3d574c
        ferrite pinholes 3d9dd49df00d314e
        glass porosity a0ced229fb9993ca
        painted_metal blister ce0bdf3ef7fabaf4
        plastic contamination 6dfb38d885b64b31
        film foreign_object 1342ebefb75fd50a
        rolled_steel chip 2792b9a4d40e3e08
        paper fray 6a7a08d52c4f324e
        cardboard stain 277e6ed40fa3a1fc
        denim blotch 798ebc07af6a83f6
        felt corrosion 66b82c70630c8fbe
        foam smear cb5d0d99f317843f
        rope wear 56ac170981f51e93
        bark missing_coating 8431b110c4c2ad68
        concrete faint_region fa4b47b824a7e77b
        marble discolouration 260b6a09869ca439
        gravel uneven 8c49494ba0777921
        slate warp f1e29048781af7b6
        sandpaper dent d92c0c26d3eb582c
        wire_mesh dent 9f0fceda7ec84813
        perforated_plate burn 8b07781b07aa4352
        printed_dots slip b75179148c0c6689
        square_tiles scratch a76fdc16fa845ce7
        circuit_board abrasion 1eac2ea5c5df4cb4
        capsules crack e87e2076359e1394
        wafer hairline f3f46ea12170d277
        checker_plate cut 2bff52cb536ffe1c
        knurl broken_thread d2752905d1a98255
        carpet pull c60c62604d471fad
        hex_tiles pull 65c2b3cbea2075e3
        brick hole f89d735fc9fe7d72
        knit porosity 0750eaa1dab2c1ab
        cork blister d6c52f1905dde4ac
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
    for (number, family) in families().enumerate() {
        for (i, defect) in defects().filter(|d| family.has_cells || !d.needs_cells).enumerate() {
            let product = Product::new(family.name, 3 + i as u64).expect("product");
            let size = if (i + number) % 4 == 0 { 97 } else { 64 };
            let made = product.defective(i as u64, defect.name, size, 1.0);
            let (changed, area) = shares(&made.expect("picture"));
            let case = format!("{} {} {size}", family.name, defect.name);
            assert!(changed >= 0.875, "{case}: only {changed} of the mask has changed");
            assert!((0.002..=0.7).contains(&area), "{case}: mask covers {area}");
        }
    }
}

#[test]
fn sets_choose_families_and_defects() {
    let dir = tempfile::tempdir().expect("dir");
    let made = |set| {
        let root = dir.path().join(format!("{set:?}"));
        let options = Options {
            set,
            n_train: 0,
            n_test_good: 0,
            n_test_per_defect: 1,
            n_defects: Some(2),
            size: 32,
            ..Options::default()
        };
        make_dataset(&root, &options).expect("data set")
    };
    let (training, held_out, all) = (made(Set::Training), made(Set::HeldOut), made(Set::All));
    assert!(all.left_out.is_empty(), "nobody asked for a defect that cannot be");
    let names = |wanted: bool| families().filter(move |f| f.held_out == wanted).map(|f| f.name);
    assert_eq!(training.classes, names(false).collect::<Vec<_>>());
    assert_eq!(held_out.classes, names(true).collect::<Vec<_>>());
    assert_eq!(all.classes.len(), training.classes.len() + held_out.classes.len());
    assert_eq!(
        (training.n_images, training.n_masks),
        (2 * names(false).count(), 2 * names(false).count())
    );
    let of_training = digests(&dir.path().join("Training"));
    let held_out = |name: &String| defects().any(|d| d.held_out && name.contains(d.name));
    assert!(!of_training.keys().any(held_out), "a held-out defect is in the training set");
    let least =
        (families().filter(|f| !f.held_out).count(), defects().filter(|d| !d.held_out).count());
    assert!(least.0 >= 20 && least.1 >= 16, "{least:?}");
}

#[test]
fn products_are_classes_and_the_first_stays() {
    let dir = tempfile::tempdir().expect("dir");
    let make = |n_products| {
        let options = Options {
            families: vec!["ferrite".to_owned()],
            defects: vec![],
            n_products,
            n_defects: Some(3),
            n_test_per_defect: 1,
            size: 32,
            ..small()
        };
        let root = dir.path().join(n_products.to_string());
        (make_dataset(&root, &options).expect("data set").classes, digests(&root))
    };
    let ((one, alone), (three, several)) = (make(1), make(3));
    assert_eq!(one, ["ferrite"]);
    assert_eq!(three, ["ferrite_00", "ferrite_01", "ferrite_02"]);
    let renamed = |(name, digest): (&String, &String)| {
        several.get(&name.replace("ferrite/", "ferrite_00/")) == Some(digest)
    };
    assert!(alone.iter().all(renamed));
    let kinds = |class: &str| -> Vec<&str> {
        let place = format!("{class}/ground_truth/");
        several.keys().filter_map(|name| name.strip_prefix(&place)?.split('/').next()).collect()
    };
    assert_eq!(kinds("ferrite_01").len(), 3);
    assert_ne!(kinds("ferrite_01"), kinds("ferrite_02"));
    let first = "train/good/000.png";
    let of = |class: &str| several.get(&format!("{class}/{first}"));
    assert!(of("ferrite_00") != of("ferrite_01") && of("ferrite_01") != of("ferrite_02"));
}

/// Modules that both sides may use; `mod.rs` of the generator joins the two.
const SHARED: [&str; 4] = ["draw", "kinds", "noise", "rng"];

#[test]
fn held_out_surfaces_share_noise_and_drawing_alone() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/surfaces");
    for (folder, other) in [("held_out", "training"), ("training", "held_out")] {
        for entry in fs::read_dir(source.join(folder)).expect("folder") {
            let path = entry.expect("entry").path();
            let text = fs::read_to_string(&path).expect("source");
            let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
            for line in code {
                let place = format!("{}: {line}", path.display());
                assert!(!line.contains(&format!("{other}::")), "{place}");
                for (_, rest) in line.match_indices("crate::").map(|(i, _)| line.split_at(i)) {
                    let module = rest.split("::").nth(2).unwrap_or_default();
                    assert!(rest.starts_with("crate::surfaces::"), "{place}");
                    assert!(SHARED.contains(&module), "{place}");
                }
                let above = line.contains("super::super") || line.contains("include!");
                let own = path.ends_with("mod.rs") && line.contains("super::");
                assert!(!above && !own, "{place}");
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
fn counts_and_names_that_no_set_has_are_named() {
    let dir = tempfile::tempdir().expect("dir");
    let new = dir.path().join("new");
    let error = |root: &Path, options: Options| {
        wrap(&make_dataset(root, &options).expect_err("error").to_string())
    };
    expect!["0 products of a surface are not possible; give 1 to 1000"]
        .assert_eq(&error(&new, Options { n_products: 0, ..small() }));
    expect!["1000000 products of a surface are not possible; give 1 to 1000"]
        .assert_eq(&error(&new, Options { n_products: 1_000_000, ..small() }));
    expect![[r#"
        that would be 18446744073709551615 pictures, and 200000 is the most; ask
              for fewer"#]]
    .assert_eq(&error(&new, Options { n_train: usize::MAX, ..small() }));
    expect![[r#"
        `woven` is a surface that set `held-out` does not have; it has carpet,
              hex_tiles, brick, knit, cork"#]]
    .assert_eq(&error(&new, Options { set: Set::HeldOut, ..small() }));
    let burnt = Options { families: vec![], defects: vec!["burn".to_owned()], ..small() };
    expect![[r#"
        `burn` is a defect that set `training` does not have; it has scratch,
              abrasion, crack, hairline, cut, crease, broken_thread, pull, hole,
              pinholes, porosity, blister, contamination, foreign_object,
              missing_cell, chip, fray, stain, blotch, corrosion, smear, wear,
              missing_coating, faint_region, discolouration, uneven"#]]
    .assert_eq(&error(&new, Options { set: Set::Training, ..burnt }));
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
              cast_metal, enamel, ferrite, glass, painted_metal, plastic, film,
              rolled_steel, paper, cardboard, denim, felt, foam, rope, bark,
              concrete, marble, gravel, slate, sandpaper, wire_mesh,
              perforated_plate, printed_dots, square_tiles, circuit_board,
              capsules, wafer, checker_plate, knurl, carpet, hex_tiles, brick,
              knit, cork"#]]
    .assert_eq(&error(&new, Options { families: names("wowen"), ..small() }));
    expect![[r#"
        no defect is called `rust` (did you mean `cut`?); known: scratch, abrasion,
              crack, hairline, cut, crease, broken_thread, pull, hole, pinholes,
              porosity, blister, contamination, foreign_object, missing_cell, chip,
              fray, stain, blotch, corrosion, smear, wear, missing_coating,
              faint_region, discolouration, uneven, warp, dent, burn, slip"#]]
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
              wire_mesh, perforated_plate, printed_dots, square_tiles,
              circuit_board, capsules, wafer, checker_plate, hex_tiles, brick"#]]
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
