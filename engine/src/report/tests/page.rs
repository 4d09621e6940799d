use super::*;

fn page(record: ClassRecord, maps: bool) -> String {
    let (_keep, path) = run(vec![record], maps, true);
    read(&path, "report.html")
}

#[test]
fn a_page_needs_nothing_from_outside() {
    let data = tempfile::tempdir().unwrap();
    let scores = [(0.1, false), (0.4, true)];
    let html = page(class(data.path(), "tile", &scores, true), true);
    for outside in ["http:", "https:", "<script", "<link", "url(", "@import"] {
        assert!(!html.contains(outside), "{outside}");
    }
    assert_eq!(html.matches("data:image/jpeg;base64,").count(), 6);
    assert_eq!(html.matches("<img alt=\"tile/").count(), 6);
    assert!(html.contains("<html lang=\"en\">") && html.contains("prefers-color-scheme: dark"));
    assert!(html.contains("image with its defect outlined"));
}

#[test]
fn hostile_names_are_text() {
    let data = tempfile::tempdir().unwrap();
    let name = "<script>alert(1)</script>\"'&";
    let mut record = class(data.path(), name, &[(0.1, false), (0.4, true)], true);
    record.images[0].path = data.path().join("<img src=x onerror=y>.png");
    record.references[0].name = "\"><b>".into();
    let html = page(record, true);
    assert!(!html.contains("<script") && !html.contains("<img src") && !html.contains("<b>\""));
    assert!(html.contains("&lt;script&gt;alert(1)&lt;/script&gt;&quot;&#39;&amp;"));
    assert!(
        html.contains("Cannot be shown: image `") && html.contains("&lt;img src=x onerror=y&gt;")
    );
}

#[test]
fn what_is_undefined_says_why() {
    let data = tempfile::tempdir().unwrap();
    let html = page(class(data.path(), "tile", &[(0.1, false), (0.4, false)], false), false);
    assert!(html.contains("<abbr title=\"the class has no masks\">–</abbr>"));
    assert!(!html.contains("aria-label=\"ROC") && !html.contains("Anomalous images with"));
    assert!(html.contains("aria-label=\"Histogram of anomaly scores: 2 normal and 0 anomalous"));
}

#[test]
fn without_maps_there_is_the_image_alone() {
    let data = tempfile::tempdir().unwrap();
    let html = page(class(data.path(), "tile", &[(0.1, false), (0.4, true)], false), false);
    assert_eq!(html.matches("data:image/jpeg;base64,").count(), 2);
    assert!(!html.contains("One scale for all pictures"));
}

#[test]
fn the_worst_stand_before_the_best_and_none_twice() {
    let data = tempfile::tempdir().unwrap();
    let scores: Vec<(f64, bool)> = (0..20).map(|i| (f64::from(i) / 20.0, i % 2 == 1)).collect();
    let html = page(class(data.path(), "tile", &scores, false), false);
    let shown: Vec<&str> = html.split("<figcaption><span>tile/").skip(1).collect();
    let order: Vec<&str> = shown.iter().filter_map(|text| text.split('.').next()).collect();
    assert_eq!(order, ["18", "16", "14", "12", "1", "3", "5", "7", "19", "17", "15", "13"]);
}

#[test]
fn a_training_shows_its_curve_and_what_an_oracle_chose_says_so() {
    let data = tempfile::tempdir().unwrap();
    let mut record = class(data.path(), "tile", &[(0.1, false), (0.4, true)], false);
    assert!(!page(record.clone(), false).contains("Training, mean"));
    record.training = Some(TrainingRecord {
        names: vec!["loss".into(), "<b>focal".into()],
        epochs: vec![vec![3.0, 0.5], vec![1.0, 0.25]],
        kept_epoch: Some(2),
        oracle: false,
    });
    let html = page(record.clone(), false);
    assert!(html.contains("d=\"M10.0 20.0L430.0 180.0\"") && html.contains("kept: epoch 2<br>"));
    assert!(html.contains("loss 3.0000 → 1.0000, &lt;b&gt;focal 0.5000 → 0.2500"), "{html}");
    assert!(!html.contains("oracle</b>") && !html.contains("dashed"));
    let mut held_out = record.clone();
    held_out.training.iter_mut().for_each(|training| training.names[1] = "held-out".into());
    let html = page(held_out, false);
    assert!(html.contains("dashed: what was held out; kept: epoch 2"), "{html}");
    assert!(html.contains("<path class=\"held-out\"") && html.contains("held-out 0.5000 → 0.2500"));
    record.training.iter_mut().for_each(|training| training.oracle = true);
    let html = page(record.clone(), false);
    assert!(html.contains("kept: epoch 2, an <b>oracle</b>’s: chosen by the test set"));
    let facts = CellFacts { setting: Setting::Oracle, ..facts("demo") };
    let html = crate::report::html::page(&facts, true, "", &[record], &[Default::default()]);
    // Beside the large figures and beside the table.
    assert_eq!(html.matches(" <b class=\"oracle\">oracle</b>").count(), 2);
}
