//! The files of the original program.

use super::*;
use crate::eval::AnomalyMap;
use crate::image::{Mask, Rgb, decode_rgb};
use crate::metrics::Value;
use crate::report::original::{Modes, evaluation_csv, map_png, panels_png, plot_csv};

const BOTH: Modes = Modes { scores: true, maps: true };

/// A class whose metrics are `value`, but the last, which is undefined where `value` is 0.
fn measured(class: &str, value: f64) -> ClassRecord {
    let names = [
        "image.auroc",
        "image.aupr_trapz",
        "image.f1max",
        "pixel.auroc",
        "pixel.f1max",
        "pixel.auroc_anomalous_only",
        "pixel.f1max_anomalous_only",
        "pixel.aupro@0.3",
        "pixel.aupro@0.05",
    ];
    let of = |name: &str| match (name, value == 0.0) {
        ("pixel.f1max_anomalous_only", true) => Value::Undefined("no anomalous pixel".into()),
        ("pixel.aupro@0.3", _) => Value::Number(value / 2.0),
        _ => Value::Number(value),
    };
    let row = ClassMetrics {
        class: class.into(),
        protocol: "fade-448-u8".into(),
        n_images: 2,
        n_anomalous: 1,
        values: names.map(|name| (name.to_owned(), of(name))).to_vec(),
    };
    let image = |name: &str, anomalous: bool, score: f64| ImageRecord {
        name: format!("{class}/test/{name}.v1.png"),
        path: PathBuf::from(format!("/data/{class}/{name}.v1.png")),
        kind: if anomalous { "hole" } else { "good" }.into(),
        anomalous,
        mask: anomalous.then(|| PathBuf::from("/data/mask.png")),
        anomaly_score: Some(score),
        map: None,
        from_cache: false,
        ms: 0.0,
    };
    ClassRecord {
        class: class.into(),
        display: class.into(),
        references: Vec::new(),
        images: vec![image("a", false, 0.25), image("b", true, 1.5)],
        metrics: vec![row],
        threshold: None,
        training: None,
    }
}

#[test]
fn the_result_table_has_the_columns_of_the_original_and_its_mean() {
    let head = "object_name,full_image_auroc,full_image_aupr,full_image_f1_max,full_pixel_auroc,\
                full_pixel_f1_max,full_pixel_au_pro,anomaly_pixel_auroc,anomaly_pixel_f1_max";
    let records = [measured("tubes", 0.5), measured("connector", 0.0)];
    let both = [
        head,
        "tubes,0.5,0.5,0.5,0.5,0.5,0.25,0.5,0.5",
        "connector,0.0,0.0,0.0,0.0,0.0,0.0,0.0,",
        "mean,0.25,0.25,0.25,0.25,0.25,0.125,0.25,",
    ];
    assert_eq!(evaluation_csv(&records, BOTH).lines().collect::<Vec<_>>(), both);
    // A mode that is `none` has no numbers, not zeros.
    let scores = evaluation_csv(&records[..1], Modes { scores: true, maps: false });
    assert_eq!(scores.lines().nth(1), Some("tubes,0.5,0.5,0.5,,,,,"));
    let maps = evaluation_csv(&records[..1], Modes { scores: false, maps: true });
    assert_eq!(maps.lines().nth(2), Some("mean,,,,0.5,0.5,0.25,0.5,0.5"));
}

#[test]
fn the_table_of_images_cuts_the_extension_alone() {
    let text = plot_csv(&[measured("tubes", 0.5)], BOTH, true);
    let want = [
        "classname,anomaly,is_anomaly,image_name,image_path,mask_path,image_anomaly_score,vis_path",
        "tubes,good,False,tubes/test/a.v1,/data/tubes/a.v1.png,None,0.25,images/tubes/test/a.v1.png",
        "tubes,hole,True,tubes/test/b.v1,/data/tubes/b.v1.png,/data/mask.png,1.0,\
         images/tubes/test/b.v1.png",
    ];
    assert_eq!(text.lines().collect::<Vec<_>>(), want);
    let bare = plot_csv(&[measured("tubes", 0.5)], Modes { scores: false, maps: true }, false);
    assert_eq!(
        bare.lines().nth(1),
        Some("tubes,good,False,tubes/test/a.v1,/data/tubes/a.v1.png,None,")
    );
}

#[test]
fn modes_are_read_from_the_resolved_pipeline() {
    let modes = Modes::of(&json!({ "output": { "anomaly_map": "both", "anomaly_score": null } }));
    assert!(modes.maps && !modes.scores);
}

#[test]
fn a_map_is_truncated_to_grey_levels() {
    let map = AnomalyMap::new(vec![-1.0, 0.5, 0.999, 2.0], 2, 2).unwrap();
    let grey = decode_rgb(&map_png(&map).unwrap(), "map.png").unwrap();
    let levels: Vec<u8> = grey.pixels.chunks(3).map(|pixel| pixel[0]).collect();
    assert_eq!((grey.width, grey.height, levels), (2, 2, vec![0, 127, 254, 255]));
}

#[test]
fn the_four_panels_are_image_mask_map_and_their_mix() {
    let map = AnomalyMap::new(vec![0.0; 4], 2, 2).unwrap();
    let rgb = Rgb { width: 4, height: 2, pixels: vec![100; 24], exif_rotated: false };
    let mask = Mask { width: 4, height: 2, pixels: vec![true; 8] };
    let png = panels_png(&rgb, Some(&mask), &map).unwrap();
    let picture = decode_rgb(&png, "panels.png").unwrap();
    assert_eq!((picture.width, picture.height), (1200, 300));
    let at = |x: usize| picture.pixels[(150 * 1200 + x) * 3..][..3].to_vec();
    assert_eq!(at(10), [100, 100, 100]);
    assert_eq!(at(310), [255, 255, 255]);
    assert_eq!(at(610), [0, 0, 0]);
    // Half of the image, half of the coldest colour.
    assert_eq!(at(910), [50, 50, 114]);
}
