//! Hand-computed cases: input and expectation.

use super::*;

fn detector(score: impl Fn(usize, bool) -> f64) -> ImageMetrics {
    // 5 % prevalence.
    let samples: Vec<(f64, bool)> =
        (0..2000).map(|index| (score(index, index % 20 == 0), index % 20 == 0)).collect();
    image(&samples)
}

#[test]
fn perfect_constant_inverted_and_random_detectors() {
    let perfect = detector(|_, anomalous| f64::from(u8::from(anomalous)));
    assert_eq!((perfect.auroc.get(), perfect.ap.get()), (Some(1.0), Some(1.0)));
    assert_eq!(perfect.f1max_threshold, Some(1.0));

    let constant = detector(|_, _| 0.5);
    assert_eq!(constant.auroc.get(), Some(0.5));
    assert_near(&constant.ap, 0.05, 1e-15);
    assert_near(&constant.f1max, 2.0 * 0.05 / 1.05, 1e-15);
    // The reason why the trapezoid area is not called AP.
    assert_near(&constant.aupr_trapz, 0.525, 1e-15);

    let inverted = detector(|_, anomalous| -f64::from(u8::from(anomalous)));
    assert_eq!(inverted.auroc.get(), Some(0.0));
    assert!(inverted.ap.get().unwrap() < 0.06);

    let random = detector(|index, _| {
        let mut numbers = Numbers(index as u64 + 99);
        numbers.next(1000);
        numbers.next(1_000_000) as f64
    });
    assert_near(&random.auroc, 0.5, 0.08);
    assert_near(&random.ap, 0.05, 0.03);
}

#[test]
fn average_precision_of_a_perfect_ranking_is_one() {
    let got = image(&[(0.1, false), (0.2, false), (0.8, true), (0.9, true)]);
    assert_eq!(got.ap.get(), Some(1.0));
}

#[test]
fn image_fixture_with_ties() {
    let scores = [0.1, 0.4, 0.35, 0.8, 0.8, 0.2];
    let labels = [false, false, true, true, false, true];
    let samples: Vec<(f64, bool)> = scores.into_iter().zip(labels).collect();
    let got = image(&samples);
    assert_eq!(got.auroc.get(), Some(0.5));
    assert_near(&got.aupr_trapz, 0.572_222_2, 5e-8);
    assert_near(&got.ap, 0.533_333_333_333_333_3, 1e-15);
    assert_eq!(got.f1max.get(), Some(0.75));
    assert_eq!(got.f1max_threshold, Some(0.2));
    assert_eq!(got.fpr_at_95tpr.get(), Some(2.0 / 3.0));
}

#[test]
fn equal_f1_takes_the_highest_threshold() {
    // F1 is 2/3 at 0.9 and at 0.2.
    let got = image(&[(0.9, true), (0.8, false), (0.7, false), (0.2, true)]);
    assert_eq!((got.f1max.get(), got.f1max_threshold), (Some(2.0 / 3.0), Some(0.9)));
}

#[test]
fn pixel_fixture_of_two_maps() {
    let mut maps: Vec<Vec<f32>> = (0..2)
        .map(|map| (0..36).map(|at| ((37 * (map * 36 + at)) % 256) as f32).collect())
        .collect();
    let mut masks = vec![vec![0_u8; 36], vec![0_u8; 36]];
    for (row, column, score) in [(1, 1, 250.0), (1, 2, 10.0), (2, 1, 251.0), (2, 2, 200.0)] {
        maps[0][row * 6 + column] = score;
        masks[0][row * 6 + column] = 1;
    }
    masks[0][3 * 6 + 3] = 1;
    masks[0][4 * 6 + 4] = 1;
    let got = evaluate(&Class { maps, masks, height: 6, width: 6 }, &[0.3]);
    assert_eq!(got.n_regions, 1);
    assert_near(&got.auroc, 0.473_484_848_48, 1e-11);
    assert_near(&got.f1max, 0.5, 1e-15);
    assert_near(&got.aupro[0], 0.386_363_633, 1e-8);
    assert_near(&got.auroc_anomalous_only, 0.494_444_444_44, 1e-11);
    assert_near(&got.f1max_anomalous_only, 0.5, 1e-15);
}

#[test]
fn four_by_four_with_two_regions_ties_and_the_limit_inside_a_flat_step() {
    // Regions: two pixels at the left, one at the lower right. 13 normal pixels.
    let map = [
        9.0, 1.0, 1.0, 1.0, //
        5.0, 5.0, 1.0, 1.0, //
        1.0, 1.0, 5.0, 1.0, //
        1.0, 1.0, 1.0, 3.0,
    ];
    let mut mask = vec![0_u8; 16];
    for at in [0, 4, 15] {
        mask[at] = 1;
    }
    // (0, 0) to (0, 1/4) at 9; to (2/13, 1/2) at 5; to (2/13, 1) at 3; to (1, 1) at 1.
    let class = Class { maps: vec![map.to_vec()], masks: vec![mask], height: 4, width: 4 };
    let slope = 2.0 / 13.0 * (0.25 + 0.5) / 2.0;
    let got = evaluate(&class, &[0.3, 0.1, 1.0]);
    assert_eq!(got.n_regions, 2);
    assert_near(&got.aupro[0], (slope + (0.3 - 2.0 / 13.0)) / 0.3, 1e-15);
    // Inside the slope: the overlap at 0.1 is 1/4 + 1/4 * 0.1 / (2/13).
    assert_near(&got.aupro[1], 0.25 + 0.125 * 0.1 * 13.0 / 2.0, 1e-15);
    assert_near(&got.aupro[2], slope + 11.0 / 13.0, 1e-15);
}

#[test]
fn two_pixels_on_a_diagonal_are_one_region_and_holes_are_not_filled() {
    let diagonal = [1, 0, 0, 0, 1, 0, 0, 0, 0];
    assert_eq!(label(&bools(&diagonal), 3, Connectivity::Eight).sizes, [2]);
    assert_eq!(label(&bools(&diagonal), 3, Connectivity::Four).sizes, [1, 1]);

    // A ring whose hole scores highest: false positives for the exact definition, overlap for
    // `spade-filled-200`, whose overlap is 9 pixels of 8: 0 to 1/8 to 9/8 at the hole's rate.
    let ring = vec![1, 1, 1, 0, 1, 0, 1, 0, 1, 1, 1, 0];
    let map: Vec<f32> = vec![5.0, 5.0, 5.0, 0.0, 5.0, 9.0, 5.0, 0.0, 5.0, 5.0, 5.0, 1.0];
    let class = Class { maps: vec![map], masks: vec![ring], height: 3, width: 4 };
    let got = evaluate(&class, &[0.5]);
    assert_near(&got.aupro[0], 0.5, 1e-15);
    let filled = got.legacy.iter().find(|row| row.0 == AuproDefinition::SpadeFilled200).unwrap();
    assert_near(&filled.1[0], 0.5 * 0.125 / 2.0 + 0.5 * 1.125, 1e-15);
}

#[test]
fn normal_images_count_in_the_false_positive_rate() {
    let mask = vec![1, 0, 0, 0];
    let map = vec![0.5, 0.9, 0.1, 0.1];
    let one = Class { maps: vec![map.clone()], masks: vec![mask.clone()], height: 2, width: 2 };
    let clean = vec![0.0; 4];
    let two = Class { maps: vec![map, clean], masks: vec![mask, vec![0; 4]], height: 2, width: 2 };
    assert_near(&evaluate(&one, &[1.0]).aupro[0], 2.0 / 3.0, 1e-15);
    assert_near(&evaluate(&two, &[1.0]).aupro[0], 6.0 / 7.0, 1e-15);
}

#[test]
fn regions_of_equal_size_make_aupro_the_area_under_pixel_recall() {
    let mut class = random_class(5, 3, 12, 12, 50);
    for (image, mask) in class.masks.iter_mut().enumerate() {
        mask.fill(0);
        (0..3).for_each(|row| mask[(row + 2 + image) * 12 + 4..][..4].fill(1));
    }
    let got = evaluate(&class, &[1.0]);
    assert_near(&got.aupro[0], got.auroc.get().unwrap(), 1e-12);
}

#[test]
fn one_class_only_is_undefined_with_its_reason() {
    let normal = image(&[(0.1, false), (0.2, false)]);
    assert_eq!(normal.auroc, Value::Undefined("no anomalous sample".to_string()));
    assert_eq!(image(&[(0.1, true)]).ap.reason(), Some("no normal sample"));
    assert_eq!(image(&[]).f1max.reason(), Some("no anomalous sample"));

    let class = Class { maps: vec![vec![0.5; 4]], masks: vec![vec![0; 4]], height: 2, width: 2 };
    let got = evaluate(&class, &[0.3]);
    assert_eq!(got.aupro[0].reason(), Some("no anomalous sample"));
    assert!(got.legacy.iter().all(|row| row.1[0].reason() == Some("no anomalous sample")));
    let full = Class { masks: vec![vec![1; 4]], ..class };
    assert_eq!(evaluate(&full, &[0.3]).auroc.reason(), Some("no normal sample"));
}

#[test]
fn a_score_that_is_not_finite_names_image_and_pixel() {
    let pixels = PixelAccumulator::new(PixelOptions::default()).unwrap();
    let mut map = vec![0.0; 6];
    map[4] = f32::NAN;
    let error = pixels.digest("crack/007", &map, None, [2, 3]).err().unwrap();
    assert_eq!(
        error.to_string(),
        "the anomaly map of image `crack/007` has `NaN` at row 1, column 1; \
         metrics want finite scores"
    );
    let error = ImageScores::new().push("good/001", f64::INFINITY, false).err().unwrap();
    assert!(error.to_string().contains("`good/001` is `inf`"));
    let error = pixels.digest("a", &map, Some(&[false; 5]), [2, 3]).err().unwrap();
    assert!(error.to_string().starts_with("the mask of image `a` has 5 values, but 2 x 3 wants 6"));
}

#[test]
fn limits_outside_zero_to_one_are_refused() {
    for limit in [0.0, -0.1, 1.5, f64::NAN] {
        assert!(PixelAccumulator::new(options(&[limit], 1 << 20)).is_err());
    }
}

fn row(class: &str, values: [Option<f64>; 2]) -> ClassMetrics {
    let value = |value: Option<f64>| match value {
        Some(value) => Value::Number(value),
        None => Value::undefined("no anomalous sample"),
    };
    ClassMetrics {
        class: class.to_string(),
        protocol: "native".to_string(),
        n_images: 83,
        n_anomalous: 63,
        values: vec![
            ("image.auroc".to_string(), value(values[0])),
            ("pixel.aupro@0.3".to_string(), value(values[1])),
        ],
    }
}

#[test]
fn means_spreads_and_the_table() {
    let rows = [row("bottle", [Some(0.5), Some(0.25)]), row("metal nut", [Some(1.0), None])];
    let mean = mean_over_classes(&rows).unwrap();
    assert_eq!(mean.values[0].1, Value::Number(0.75));
    let reason = "undefined for `metal nut`: no anomalous sample";
    assert_eq!(mean.values[1].1.reason(), Some(reason));
    let table = format_table(&[rows[0].clone(), rows[1].clone(), mean]);
    let want = "protocol: native\n\
        class       images   image AUROC   pixel AUPRO@0.3\n\
        bottle          83          50.0              25.0\n\
        metal nut       83         100.0                 -\n\
        mean           166          75.0                 -\n";
    assert_eq!(table, want);

    let seeds = [0.5, 0.75, 1.0].map(|value| row("bottle", [Some(value), Some(0.5)]));
    let spread = &spread_over_seeds(&seeds)[0].1;
    assert_eq!((spread.mean.get(), spread.std.get(), spread.n), (Some(0.75), Some(0.25), 3));
    assert_eq!(spread_over_seeds(&seeds[..1])[0].1.std.reason(), Some("one seed has no spread"));
}

#[test]
fn json_keeps_order_and_says_why_a_value_is_missing() {
    let json = serde_json::to_string(&row("bottle", [Some(0.1), None])).unwrap();
    assert_eq!(
        json,
        concat!(
            r#"{"class":"bottle","protocol":"native","n_images":83,"n_anomalous":63,"#,
            r#""metrics":{"image.auroc":0.1,"pixel.aupro@0.3":null},"#,
            r#""undefined":{"pixel.aupro@0.3":"no anomalous sample"}}"#
        )
    );
}

#[test]
fn every_protocol_is_found_by_its_name() {
    let names: Vec<&str> = Protocol::names().collect();
    assert_eq!(names[..3], ["native", "fade-448-u8", "mvtec-official"]);
    for name in names {
        assert_eq!(Protocol::find(name).unwrap().name, name);
    }
    assert!(Protocol::find("pro").is_none());
}

#[test]
fn the_eight_bit_protocol_takes_its_size_from_its_name() {
    let small = Protocol::find("fade-240-u8").unwrap();
    assert_eq!((small.space, small.columns), (Space::FadeU8 { side: 240 }, Columns::Fade));
    assert_eq!(small.about, "FADE's own evaluation: 8-bit maps and resized masks at 240 x 240");
    for wrong in ["fade-0-u8", "fade--u8", "fade-+9-u8", "fade-007-u8", "fade-8193-u8", "fade-u8"] {
        assert_eq!(Protocol::find(wrong), None, "{wrong}");
    }
}
