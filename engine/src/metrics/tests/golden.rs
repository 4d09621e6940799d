//! Values recorded by golden/record.py: scikit-learn, imgad, pyimgano and definitions in NumPy.

use super::*;

const RECORDED: &str = include_str!("../golden/golden.json");
const SIZE: (usize, usize, usize) = (5, 24, 20);

/// The masks of golden/record.py.
fn masks() -> Vec<Vec<u8>> {
    let (n, height, width) = SIZE;
    let mut masks = vec![vec![0_u8; height * width]; n];
    let mut fill =
        |image: usize, rows: std::ops::Range<usize>, columns: std::ops::Range<usize>, to| {
            for row in rows {
                masks[image][row * width..][columns.clone()].fill(to);
            }
        };
    fill(0, 2..8, 3..11, 1);
    fill(0, 4..6, 5..9, 0);
    fill(0, 4..5, 6..7, 1);
    fill(0, 15..17, 2..4, 1);
    fill(0, 17..18, 4..5, 1);
    (0..10).for_each(|k| fill(1, 3 + k..4 + k, 5 + k..6 + k, 1));
    fill(1, 20..21, 0..1, 1);
    fill(2, 10..14, 12..20, 1);
    masks
}

fn class(levels: u64, exponential: bool) -> Class {
    let (n, height, width) = SIZE;
    let (masks, mut state) = (masks(), 7_u64);
    let mut score = |&pixel: &u8| {
        state = (state * 1_103_515_245 + 12_345) % (1 << 31);
        let level = (state >> 12) % levels + levels * 2 / 5 * u64::from(pixel);
        let score = level as f32 / 1024.0;
        if exponential { (f64::from(score) * 8.0).exp() as f32 } else { score }
    };
    let maps = (0..n).map(|image| masks[image].iter().map(&mut score).collect()).collect();
    Class { maps, masks, height, width }
}

/// (what, got, recorded) of every recorded value.
fn compare() -> Vec<(String, Value, Option<f64>)> {
    let recorded: serde_json::Value = serde_json::from_str(RECORDED).unwrap();
    let mut rows = Vec::new();
    for case in recorded.as_array().unwrap() {
        let name = case["name"].as_str().unwrap();
        let exponential = case["exponential"].as_bool().unwrap();
        let class = class(case["levels"].as_u64().unwrap(), exponential);
        let sum: f64 = class.maps.iter().flatten().map(|&score| f64::from(score)).sum();
        let want = case["sum"].as_f64().unwrap();
        assert!((sum - want).abs() <= 1e-12 * want, "{name}: other maps were recorded");

        let pixel = evaluate(&class, &[0.3, 0.05, 0.7]);
        let anomalous = |mask: &[u8]| mask.iter().any(|&pixel| pixel != 0);
        let samples: Vec<(f64, bool)> = (0..SIZE.0)
            .map(|image| (f64::from(class.maps[image][0]), anomalous(&class.masks[image])))
            .collect();
        let of_image = image(&samples);
        let mut row = |level: &str, metric: &str, got: &Value| {
            rows.push((
                format!("{name} {level} {metric}"),
                got.clone(),
                case[level][metric].as_f64(),
            ));
        };
        row("pixel", "auroc", &pixel.auroc);
        row("pixel", "ap", &pixel.ap);
        row("pixel", "f1max", &pixel.f1max);
        row("pixel", "auroc_anomalous_only", &pixel.auroc_anomalous_only);
        row("pixel", "f1max_anomalous_only", &pixel.f1max_anomalous_only);
        row("image", "auroc", &of_image.auroc);
        row("image", "ap", &of_image.ap);
        row("image", "f1max", &of_image.f1max);
        row("image", "aupr_trapz", &of_image.aupr_trapz);
        row("image", "fpr_at_95tpr", &of_image.fpr_at_95tpr);
        for (index, limit) in ["0.3", "0.05", "0.7"].into_iter().enumerate() {
            let want = |definition: &str| case["aupro"][limit][definition].as_f64();
            let mut row = |definition: &str, got: &Value| {
                let what = format!("{name} aupro@{limit} {definition}");
                rows.push((what, got.clone(), want(definition)));
            };
            row("exact", &pixel.aupro[index]);
            for (definition, values) in &pixel.legacy {
                let name = Protocol::all().iter().find(|entry| entry.aupro == *definition);
                row(&name.unwrap().name, &values[index]);
            }
        }
    }
    rows
}

const TOLERANCE: f64 = 1e-12;

#[test]
fn recorded_values_are_met() {
    let rows = compare();
    assert_eq!(rows.len(), 3 * (10 + 3 * 6));
    for (what, got, want) in rows {
        match want {
            Some(want) => assert!(near(&got, want, TOLERANCE), "{what}: {got:?}, want {want}"),
            None => assert!(got.reason().is_some(), "{what}: {got:?}, want undefined"),
        }
    }
}

#[test]
fn a_recorded_value_off_by_ten_tolerances_is_noticed() {
    for (what, got, want) in compare() {
        for shift in [10.0 * TOLERANCE, -10.0 * TOLERANCE] {
            let noticed = want.is_none_or(|want| !near(&got, want + shift, TOLERANCE));
            assert!(noticed, "{what}");
        }
    }
}
