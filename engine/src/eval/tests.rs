use std::fs;
use std::path::Path;

use image::{GrayImage, ImageBuffer, Luma, RgbImage};

use super::*;

/// A PNG of grey levels.
fn save_png(path: &Path, width: u32, levels: &[u8]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let height = levels.len() as u32 / width;
    GrayImage::from_raw(width, height, levels.to_vec()).unwrap().save(path).unwrap();
}

fn npy(version: u8, descr: &str, shape: &str, data: &[u8]) -> Vec<u8> {
    let header =
        format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}        \n");
    let mut bytes = b"\x93NUMPY".to_vec();
    bytes.extend([version, 0]);
    match version {
        1 => bytes.extend((header.len() as u16).to_le_bytes()),
        _ => bytes.extend((header.len() as u32).to_le_bytes()),
    }
    bytes.extend(header.as_bytes());
    bytes.extend(data);
    bytes
}

fn save_npy(path: &Path, width: usize, scores: &[f32]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let data: Vec<u8> = scores.iter().flat_map(|score| score.to_le_bytes()).collect();
    let shape = format!("({}, {width})", scores.len() / width);
    fs::write(path, npy(1, "<f4", &shape, &data)).unwrap();
}

fn save_tiff(path: &Path, width: u32, scores: &[f32]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let file = fs::File::create(path).unwrap();
    let mut encoder = tiff::encoder::TiffEncoder::new(file).unwrap();
    let height = scores.len() as u32 / width;
    encoder.write_image::<tiff::encoder::colortype::Gray32Float>(width, height, scores).unwrap();
}

/// Class `tile`: one perfect map of 2 x 2 on a mask of 4 x 4, one normal map.
fn tree() -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    let (maps, masks) = (root.path().join("maps/tile/test"), root.path().join("masks/tile"));
    save_tiff(&maps.join("crack/000.tiff"), 2, &[0.9, 0.1, 0.1, 0.1]);
    save_npy(&maps.join("good/000.npy"), 2, &[0.2, 0.1, 0.1, 0.1]);
    let mut mask = [0_u8; 16];
    mask[0] = 255;
    save_png(&masks.join("ground_truth/crack/000_mask.png"), 4, &mask);
    root
}

fn options(root: &Path) -> EvalOptions {
    EvalOptions::new(root.join("maps"), root.join("masks"))
}

#[test]
fn a_tree_becomes_the_table_of_every_protocol() {
    let root = tree();
    let mut options = options(root.path());
    options.protocols = Protocol::names().map(String::from).collect();
    let table = run(&options).unwrap();
    assert_eq!((table.tables.len(), table.n_images), (8, 2));
    let native = &table.tables[0].classes[0];
    assert_eq!((native.class.as_str(), native.n_images, native.n_anomalous), ("tile", 2, 1));
    for (name, value) in &native.values {
        assert_eq!(value.get(), Some(1.0), "{name}");
    }
    let fade = &table.tables[1].classes[0];
    assert_eq!(fade.values[1].0, "image.aupr_trapz");
    assert!(fade.get("pixel.auroc").unwrap().get() > Some(0.99));
    // The normal map takes the size of the class's masks.
    assert!(table.notes[1].contains("2 of 2 maps resized"), "{:?}", table.notes);
    let text = table.to_text();
    assert!(text.starts_with("protocol: native\nclass   images   image AUROC"), "{text}");
    assert!(text.contains("tile         2         100.0"), "{text}");
}

#[test]
fn maps_are_upsampled_bilinearly_with_half_pixel_centres() {
    let root = tree();
    let map = read_map(&root.path().join("maps/tile/test/crack/000.tiff")).unwrap();
    let native = Protocol::find("native").unwrap();
    let evaluator = ClassEvaluator::new("tile", &[native], &[0.3], 1 << 20).unwrap();
    let options = options(root.path());
    let pairs = pair::find(&options).unwrap().classes.remove(0);
    assert_eq!(pairs.mask_size, Some([4, 4]));
    let loaded = load(&pairs.pairs[0], None, &evaluator, &options, None).unwrap();
    assert!(loaded.upsampled && loaded.anomalous);
    assert_eq!(loaded.score, f64::from(0.9_f32));
    assert_eq!(map.pixels, [0.9, 0.1, 0.1, 0.1]);
}

#[test]
fn levels_may_be_left_out_and_scores_may_be_given() {
    let root = tempfile::tempdir().unwrap();
    let (maps, masks) = (root.path().join("maps"), root.path().join("masks"));
    save_npy(&maps.join("cut/a.b.npy"), 2, &[0.9, 0.8, 0.1, 0.0]);
    save_npy(&maps.join("ok/1.npy"), 2, &[0.2, 0.1, 0.1, 0.1]);
    save_png(&masks.join("cut/a.b.png"), 2, &[1, 0, 0, 0]);
    let csv = root.path().join("scores.csv");
    fs::write(&csv, "path,score\ncut/a.b.npy,0.1\nok/1,0.5\n").unwrap();
    let mut options = options(root.path());
    options.scores = Some(csv.clone());
    let row = run(&options).unwrap().tables.remove(0).classes.remove(0);
    assert_eq!(row.class, "maps");
    assert_eq!(row.get("image.auroc").unwrap().get(), Some(0.0));
    assert_eq!(row.get("pixel.auroc").unwrap().get(), Some(1.0));

    fs::write(&csv, "cut/a.b,0.1\n").unwrap();
    let error = run(&options).unwrap_err().to_string();
    assert!(error.ends_with("has no score for map `ok/1.npy`"), "{error}");
    fs::write(&csv, "cut/a.b,0.1\nok/1,high\n").unwrap();
    let error = run(&options).unwrap_err().to_string();
    assert!(error.contains("line 2: `high` is no number"), "{error}");
}

#[test]
fn mask_above_decides_what_a_grey_mask_marks() {
    let root = tree();
    let mask = root.path().join("masks/tile/ground_truth/crack/000_mask.png");
    save_png(&mask, 2, &[255, 9, 0, 0]);
    let mut options = options(root.path());
    let auroc = |options: &EvalOptions| {
        run(options).unwrap().tables[0].classes[0].get("pixel.auroc").unwrap().get().unwrap()
    };
    assert!(auroc(&options) < 1.0);
    options.mask_above = 127;
    assert_eq!(auroc(&options), 1.0);
}

#[test]
fn an_error_names_its_file() {
    let check = |change: &dyn Fn(&Path), want: &str| {
        let root = tree();
        change(root.path());
        let error = run(&options(root.path())).unwrap_err().to_string();
        assert!(error.contains(want), "{error}");
    };
    let crack = "maps/tile/test/crack";
    check(&|root| save_npy(&root.join(crack).join("7.npy"), 1, &[0.5]), "crack/7.npy` has no mask");
    check(&|root| save_npy(&root.join(crack).join("000.npy"), 1, &[0.5]), "are maps of one image");
    check(&|root| save_npy(&root.join("maps/7.npy"), 1, &[0.5]), "maps/7.npy` is not at [class/]");
    check(&|root| fs::remove_dir_all(root.join("maps/tile")).unwrap(), "no anomaly map under");
    check(&|root| fs::remove_dir_all(root.join("maps")).unwrap(), "cannot read `");
    check(
        &|root| save_npy(&root.join("maps/tile/test/good/1.npy"), 2, &[0.5, f32::NAN]),
        "good/1.npy` has `NaN` at row 0, column 1",
    );
    check(
        &|root| fs::write(root.join("maps/tile/test/good/1.tiff"), b"II*\0rubbish").unwrap(),
        "good/1.tiff` is not readable as TIFF",
    );
    check(
        &|root| fs::write(root.join("masks/tile/ground_truth/crack/000_mask.png"), b"x").unwrap(),
        "crack/000_mask.png`",
    );
    let root = tree();
    let mut options = options(root.path());
    options.protocols = vec!["pro".to_string()];
    let error = run(&options).unwrap_err().to_string();
    assert!(error.starts_with("there is no protocol `pro`; known are native, fade-448-u8"));
}

#[test]
fn a_class_without_masks_has_image_metrics_only() {
    let root = tree();
    fs::remove_dir_all(root.path().join("maps/tile/test/crack")).unwrap();
    let table = run(&options(root.path())).unwrap();
    let row = &table.tables[0].classes[0];
    assert_eq!(row.get("pixel.auroc").unwrap().reason(), Some("the class has no masks"));
    assert_eq!(row.get("image.auroc").unwrap().reason(), Some("no anomalous sample"));
    assert!(table.notes[0].contains("1 masks have no map"), "{:?}", table.notes);
}

#[test]
fn npy_types_and_versions() {
    let check = |bytes: Vec<u8>, want: &[f32]| {
        assert_eq!(npy::read(&bytes).unwrap().pixels, want);
    };
    check(npy(1, "<f2", "(1, 2)", &[0x00, 0x3c, 0x00, 0xc0]), &[1.0, -2.0]);
    check(npy(2, "<f8", "(1, 1)", &0.5_f64.to_le_bytes()), &[0.5]);
    check(npy(1, "|u1", "(2, 1)", &[7, 255]), &[7.0, 255.0]);
    check(npy(3, "<u2", "(1, 1, 1, 1)", &[1, 1]), &[257.0]);
    let refuse = |bytes: &[u8], want: &str| {
        let error = npy::read(bytes).unwrap_err();
        assert!(error.contains(want), "{error}");
    };
    refuse(&npy(1, ">f4", "(1, 1)", &[0; 4]), "type `>f4`");
    refuse(&npy(1, "<f4", "(3, 1, 1)", &[0; 12]), "shape [3, 1, 1]");
    refuse(&npy(1, "<f4", "(2, 2)", &[0; 12]), "has 3 values");
    refuse(&npy(1, "<f4", "(18446744073709551615, 2)", &[0; 12]), "has 3 values");
    refuse(&npy(1, "<f4", "(99999999999999999999, 2)", &[0; 12]), "unreadable `shape`");
    let whole = npy(1, "<f4", "(1, 1)", &[0; 4]);
    (0..whole.len()).for_each(|end| assert!(npy::read(&whole[..end]).is_err()));
}

#[test]
fn png_maps_keep_their_depth_and_grey_may_be_rgb() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("map.png");
    save_png(&path, 2, &[0, 51]);
    let map = read_map(&path).unwrap();
    assert_eq!((map.pixels.as_slice(), map.eight_bit), ([0.0, 0.2].as_slice(), true));
    RgbImage::from_raw(1, 1, vec![51; 3]).unwrap().save(&path).unwrap();
    assert_eq!(read_map(&path).unwrap().pixels, [0.2]);
    RgbImage::from_raw(1, 1, vec![51, 52, 51]).unwrap().save(&path).unwrap();
    assert!(read_map(&path).unwrap_err().to_string().contains("a coloured PNG"));
    let deep: ImageBuffer<Luma<u16>, _> = ImageBuffer::from_raw(1, 1, vec![13107_u16]).unwrap();
    deep.save(&path).unwrap();
    assert_eq!(read_map(&path).unwrap().pixels, [0.2]);
}

#[test]
fn fade_truncates_floats_and_keeps_eight_bit_levels() {
    let float = AnomalyMap::new(vec![0.0], 1, 1).unwrap();
    let got = [-1.0, 0.0, 0.1, 0.999, 1.0, 7.0].map(|score| float.level(score));
    assert_eq!(got, [0, 0, 25, 254, 255, 255]);
    let eight = AnomalyMap { eight_bit: true, ..float };
    (0..=255_u8).for_each(|level| assert_eq!(eight.level(f32::from(level) / 255.0), level));
}
