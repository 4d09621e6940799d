use super::super::{SummaryCell, summary_table};
use crate::metrics::{ClassMetrics, Value};

fn row(class: &str, auroc: Option<f64>) -> ClassMetrics {
    let value = auroc.map_or(Value::Undefined("one class only".into()), Value::Number);
    ClassMetrics {
        class: class.into(),
        protocol: "native".into(),
        n_images: 10,
        n_anomalous: 5,
        values: vec![("image.auroc".into(), value)],
    }
}

fn cell(shots: usize, seed: u64, rows: &[(&str, Option<f64>)]) -> SummaryCell {
    let rows = rows.iter().map(|(class, auroc)| row(class, *auroc)).collect();
    SummaryCell { shots, seed, rows: vec![rows] }
}

#[test]
fn mean_and_spread_over_seeds_for_each_number_of_shots() {
    let summary = summary_table(
        "inductive",
        &[
            cell(1, 0, &[("a", Some(0.7)), ("b", Some(0.8))]),
            cell(1, 1, &[("a", Some(0.9)), ("b", Some(0.8))]),
            cell(4, 0, &[("a", Some(0.95)), ("b", None)]),
        ],
    );
    let want = "\
protocol: native, mean ± standard deviation over seeds
shots   class   seeds   image AUROC
    1   mean        2    80.0 ± 7.1
    4   mean        1             -
    1   a           2   80.0 ± 14.1
    1   b           2    80.0 ± 0.0
    4   a           1          95.0
    4   b           1             -
";
    assert_eq!(summary.text, want);
    assert_eq!(summary.csv.lines().nth(6).unwrap(), "native,4,b,1,,,inductive");
    assert_eq!(
        summary.csv.lines().next().unwrap(),
        "protocol,shots,class,n_seeds,image.auroc mean,image.auroc std,setting"
    );
    assert_eq!(summary.json["setting"], "inductive");
    let rows = summary.json["rows"].as_array().unwrap();
    assert!(
        (rows[2]["metrics"]["image.auroc"]["std"].as_f64().unwrap() - 0.02_f64.sqrt()).abs()
            < 1e-15
    );
    assert_eq!(rows[4]["metrics"]["image.auroc"]["undefined"], "one seed has no spread");
    assert_eq!(rows[5]["metrics"]["image.auroc"]["undefined"], "undefined for `b`: one class only");
}

#[test]
fn a_cell_that_lacks_a_class_has_no_mean() {
    let one = cell(1, 0, &[("a", Some(0.7)), ("b", Some(0.8))]);
    let summary = summary_table("inductive", &[one, cell(1, 1, &[("a", Some(0.9))])]);
    let mean = &summary.json["rows"][0];
    assert!(mean["metrics"]["image.auroc"]["mean"].is_null());
    assert!(
        mean["metrics"]["image.auroc"]["undefined"].as_str().unwrap().contains("1 of 2 classes")
    );
}

#[test]
fn no_cells_give_an_empty_table() {
    assert_eq!(summary_table("inductive", &[]).text, "");
}
