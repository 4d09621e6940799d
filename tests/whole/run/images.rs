//! Pictures as they come: damaged ones are refused by name, odd ones are read or spoken of.

use std::io::Cursor;

use image::{ImageFormat, Luma};
use loupe_tests::World;

use super::{json, ran, run, world};

const HOLE: &str = "data/woven/test/hole/000.png";

/// Runs the woven class with one file of the data set replaced.
fn refused(world: &World, bytes: &[u8]) -> String {
    world.write(HOLE, bytes);
    let ended = run(world, "out", &["--class", "woven"]);
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    assert!(ended.stderr.contains(&format!("WORLD/{HOLE}")), "{}", ended.stderr);
    ended.stderr
}

/// The checksum of a chunk of PNG.
fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32| if crc & 1 == 1 { 0xedb8_8320 ^ (crc >> 1) } else { crc >> 1 };
    let byte = |crc: u32, byte: &u8| (0..8).fold(crc ^ u32::from(*byte), |crc, _| step(crc));
    !bytes.iter().fold(!0, byte)
}

#[test]
fn damaged_files_are_refused_by_name() {
    let world = world();
    let good = std::fs::read(world.path(HOLE)).unwrap();
    assert!(refused(&world, &good[..good.len() / 2]).contains("is cut off"));
    assert!(refused(&world, b"Not a picture at all.\n").contains("is not an image"));
    assert!(refused(&world, b"").contains("is empty"));
    // A header of ten gigapixels, and nothing behind it.
    let mut bomb = good.clone();
    bomb[16..24].copy_from_slice(&[0, 1, 0x86, 0xa0, 0, 1, 0x86, 0xa0]);
    let checksum = crc32(&bomb[12..29]);
    bomb[29..33].copy_from_slice(&checksum.to_be_bytes());
    assert!(refused(&world, &bomb).contains("is 100000 x 100000, more than the limit"));
    // What is right again runs.
    world.write(HOLE, &good);
    ran(&world, "out", &["--class", "woven"]);
}

#[test]
fn odd_files_are_read() {
    let world = world();
    let path = world.path(HOLE);
    let wide = image::ImageBuffer::from_fn(64, 64, |x, y| Luma([(x * 997 + y * 61) as u16]));
    wide.save(&path).unwrap();
    ran(&world, "grey16", &["--class", "woven"]);
    image::RgbImage::from_pixel(1, 1, image::Rgb([9, 9, 9])).save(&path).unwrap();
    ran(&world, "one", &["--class", "woven"]);
    let all = json(&world.path("one/results.json"));
    assert_eq!(all["protocols"][0]["classes"][0]["n_images"], 6);
}

/// Pixels stay as they are stored, so that masks fit; the user is told.
#[test]
fn a_turned_photograph() {
    let world = world();
    let picture = image::open(world.path(HOLE)).unwrap().to_rgb8();
    let mut jpeg = Cursor::new(Vec::new());
    picture.write_to(&mut jpeg, ImageFormat::Jpeg).unwrap();
    // Behind the start marker: an EXIF segment with orientation 6.
    let exif = b"\xff\xe1\x00\x22Exif\0\0MM\0\x2a\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0";
    let mut bytes = jpeg.into_inner();
    bytes.splice(2..2, exif.iter().copied());
    std::fs::remove_file(world.path(HOLE)).unwrap();
    world.write("data/woven/test/hole/000.jpg", bytes);
    let ended = ran(&world, "out", &["--class", "woven"]);
    let warning = "warning: the image `woven/test/hole/000.jpg` asks viewers to turn it (EXIF)";
    assert!(ended.stderr.contains(warning), "{}", ended.stderr);
}

#[test]
fn masks_that_do_not_fit() {
    let world = world();
    let mask = world.path("data/woven/ground_truth/hole/000_mask.png");
    let good = std::fs::read(&mask).unwrap();
    image::GrayImage::from_pixel(30, 64, Luma([255])).save(&mask).unwrap();
    let ended = run(&world, "out", &["--class", "woven"]);
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    let said = "image `woven/test/hole/000.png`: its mask is 30 x 64 pixels, the image 64 x 64";
    assert!(ended.stderr.contains(said), "{}", ended.stderr);
    std::fs::write(&mask, &good[..40]).unwrap();
    let ended = run(&world, "out", &["--class", "woven"]);
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    assert!(ended.stderr.contains("000_mask.png"), "{}", ended.stderr);
    // A missing mask is unknown, not empty: there are no pixel metrics then.
    std::fs::remove_file(&mask).unwrap();
    let ended = ran(&world, "out", &["--class", "woven"]);
    assert!(ended.stderr.contains("(first: `woven/test/hole/000.png`)"), "{}", ended.stderr);
    let all = json(&world.path("out/results.json"));
    let row = &all["protocols"][0]["classes"][0];
    assert!(row["metrics"]["image.auroc"].is_f64(), "{row}");
    assert!(!row["metrics"]["pixel.auroc"].is_number(), "{row}");
}
