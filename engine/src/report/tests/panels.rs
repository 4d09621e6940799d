//! Panels: their pixels, and which of them there are.

use super::*;
use crate::image::{Mask, decode_rgb};
use crate::report::PictureOptions;
use crate::report::panels::{Shades, panels_png};

const SHADES: Shades = Shades { range: [0.0, 1.0], threshold: 0.75 };

fn panels(mask: Option<&Mask>) -> Rgb {
    let grey = Rgb { width: 8, height: 4, pixels: vec![100; 96], exif_rotated: false };
    // Left half normal, right half anomalous.
    let map = [0.0, 0.0, 0.0, 0.0, 0.8, 0.8, 0.8, 0.8];
    decode_rgb(&panels_png(&grey, mask, &map, [1, 8], SHADES).unwrap(), "panels.png").unwrap()
}

/// The second and the last but one pixel of a panel's second line.
fn ends(picture: &Rgb, panel: usize) -> [[u8; 3]; 2] {
    [1, 6].map(|x| {
        let at = (picture.width + panel * 8 + x) * 3;
        picture.pixels[at..at + 3].try_into().unwrap()
    })
}

#[test]
fn image_mask_overlay_map_and_threshold_have_their_colours() {
    let mask = Mask { width: 2, height: 1, pixels: vec![false, true] };
    let picture = panels(Some(&mask));
    assert_eq!((picture.width, picture.height), (40, 4));
    let (grey, black, white) = ([100; 3], [0; 3], [255; 3]);
    // Low is blue, high is red, in red, green, blue.
    let (blue, red) = ([0, 0, 128], [255, 76, 0]);
    assert_eq!(ends(&picture, 0), [grey, grey]);
    assert_eq!(ends(&picture, 1), [black, white]);
    assert_eq!(ends(&picture, 2), [[50, 50, 114], [178, 88, 50]]);
    assert_eq!(ends(&picture, 3), [blue, red]);
    assert_eq!(ends(&picture, 4), [black, white]);
}

#[test]
fn without_a_mask_its_panel_is_left_out() {
    let picture = panels(None);
    assert_eq!(picture.width, 32);
    assert_eq!(ends(&picture, 1), [[50, 50, 114], [178, 88, 50]]);
}

/// A run whose maps are `[0.0, 0.1, 0.2, score]`; the last panel of each image, at the map's highest place.
fn thresholded(masks: bool, threshold: Option<f32>) -> Vec<(u32, u8)> {
    let data = tempfile::tempdir().unwrap();
    let scores = [(0.3, false), (0.6, true), (0.9, true)];
    let record = ClassRecord { threshold, ..class(data.path(), "tile", &scores, masks) };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run");
    let mut run = RunFolder::create(&path, &facts("demo"), &json!({})).unwrap();
    run.set_pictures(PictureOptions { panels: true, ..Default::default() });
    for image in &record.images {
        let map = [0.0, 0.1, 0.2, image.anomaly_score.unwrap() as f32];
        run.save_map("tile", &image.name, [2, 2], &map).unwrap();
    }
    run.add_class(record).unwrap();
    let last = |name: &str| {
        let bytes = fs::read(path.join("panels/tile").join(name)).unwrap();
        let picture = decode_rgb(&bytes, name).unwrap();
        ((picture.width / 12) as u32, *picture.pixels.last().unwrap())
    };
    ["0.png", "1.png", "2.png"].map(last).to_vec()
}

#[test]
fn the_threshold_is_the_class_s_and_without_masks_half_way_up() {
    assert_eq!(thresholded(true, Some(0.5)), [(5, 0), (5, 255), (5, 255)]);
    assert_eq!(thresholded(true, Some(0.7)), [(5, 0), (5, 0), (5, 255)]);
    // Half of 0.0 ..= 0.9 is 0.45.
    assert_eq!(thresholded(false, None), [(4, 0), (4, 255), (4, 255)]);
}
