//! Results as JSON and CSV: bytes from records. No time stands here but in `timings_csv`.

use serde::Serialize;
use serde_json::Value as Json;

use super::ReportError;
use crate::experiment::{CellFacts, ClassRecord, setting_word};
use crate::files::csv_field;
use crate::metrics::{ClassMetrics, Protocol, Value, mean_over_classes};

/// Number of the layout of `results.json`.
const SCHEMA: u32 = 1;
/// Number of the layout of manifests, which the data sets read.
const MANIFEST_SCHEMA: u32 = 1;

#[derive(Serialize)]
struct Results<'a> {
    schema: u32,
    facts: &'a CellFacts,
    n_classes: usize,
    protocols: Vec<ProtocolResults<'a>>,
}

#[derive(Serialize)]
struct ProtocolResults<'a> {
    protocol: &'a str,
    about: String,
    metrics: Vec<&'a str>,
    classes: Vec<&'a ClassMetrics>,
    /// Unweighted, over the classes that are in this file.
    mean: Option<ClassMetrics>,
}

#[derive(Serialize)]
struct Manifest<'a> {
    schema: u32,
    class: &'a str,
    images: &'a [crate::experiment::ReferenceRecord],
}

/// Rows of one protocol and their mean.
pub struct Rows {
    pub protocol: String,
    pub classes: Vec<ClassMetrics>,
    pub mean: Option<ClassMetrics>,
}

/// Rows protocol by protocol, in the order of the facts. A protocol that a class lacks has no row
/// for it.
pub fn by_protocol(facts: &CellFacts, records: &[ClassRecord]) -> Vec<Rows> {
    let of_protocol = |protocol: &String| {
        let rows = records.iter().flat_map(|record| &record.metrics);
        let classes: Vec<_> = rows.filter(|row| row.protocol == *protocol).cloned().collect();
        let mean = mean_over_classes(&classes);
        Rows { protocol: protocol.clone(), classes, mean }
    };
    facts.protocols.iter().map(of_protocol).collect()
}

/// Pretty JSON with a line end. `file` names it in messages.
pub fn json(file: &str, value: &impl Serialize) -> Result<Vec<u8>, ReportError> {
    let mut bytes = serde_json::to_vec_pretty(value)
        .map_err(|source| ReportError::Json { file: file.to_owned(), source })?;
    bytes.push(b'\n');
    Ok(bytes)
}

pub fn results_json(facts: &CellFacts, records: &[ClassRecord]) -> Result<Vec<u8>, ReportError> {
    let rows = by_protocol(facts, records);
    let protocols = rows.iter().map(|rows| ProtocolResults {
        protocol: &rows.protocol,
        about: Protocol::find(&rows.protocol).map_or_else(String::new, |it| it.about.into()),
        metrics: metric_names(&rows.classes),
        classes: rows.classes.iter().collect(),
        mean: rows.mean.clone(),
    });
    let protocols = protocols.collect();
    json("results.json", &Results { schema: SCHEMA, facts, n_classes: records.len(), protocols })
}

/// A line a class and protocol, then the protocol's mean; an undefined value is an empty field.
pub fn results_csv(facts: &CellFacts, records: &[ClassRecord]) -> String {
    let rows = by_protocol(facts, records);
    let all = || rows.iter().flat_map(|rows| rows.classes.iter().chain(&rows.mean));
    let names = metric_names(all());
    let mut text = String::from("protocol,class,n_images,n_anomalous");
    names.iter().for_each(|name| text.push_str(&format!(",{}", csv_field(name))));
    text.push_str(",setting\n");
    let setting = setting_word(facts.setting);
    for row in all() {
        let class = csv_field(&row.class);
        let protocol = csv_field(&row.protocol);
        text.push_str(&format!("{protocol},{class},{},{}", row.n_images, row.n_anomalous));
        let value = |name: &&str| row.get(name).and_then(Value::get);
        names.iter().for_each(|name| text.push_str(&format!(",{}", number(value(name)))));
        text.push_str(&format!(",{setting}\n"));
    }
    text
}

pub fn images_csv(records: &[ClassRecord]) -> String {
    let mut text = String::from("class,name,kind,anomalous,score\n");
    for (record, image) in images(records) {
        let [class, name, kind] = [&record.class, &image.name, &image.kind].map(|it| csv_field(it));
        let score = number(image.anomaly_score);
        text.push_str(&format!("{class},{name},{kind},{},{score}\n", u8::from(image.anomalous)));
    }
    text
}

pub fn timings_csv(records: &[ClassRecord]) -> String {
    let mut text = String::from("class,name,from_cache,ms\n");
    for (record, image) in images(records) {
        let (class, name) = (csv_field(&record.class), csv_field(&image.name));
        text.push_str(&format!("{class},{name},{},{:.3}\n", u8::from(image.from_cache), image.ms));
    }
    text
}

/// The references of a class as a manifest: `references = { select = "manifest", .. }` takes the
/// same images again.
pub fn manifest(record: &ClassRecord) -> Result<Vec<u8>, ReportError> {
    let (class, images) = (record.class.as_str(), record.references.as_slice());
    json("references", &Manifest { schema: MANIFEST_SCHEMA, class, images })
}

/// Names of metrics in the order in which they first stand in a row.
pub fn metric_names<'a>(rows: impl IntoIterator<Item = &'a ClassMetrics>) -> Vec<&'a str> {
    let mut names: Vec<&str> = Vec::new();
    for (name, _) in rows.into_iter().flat_map(|row| &row.values) {
        if !names.contains(&name.as_str()) {
            names.push(name);
        }
    }
    names
}

/// All digits that it takes to read the same f64 again.
pub fn number(value: Option<f64>) -> String {
    value.map_or_else(String::new, |value| format!("{value:?}"))
}

/// `pixel.aupro@0.3` as people write it: `("pixel", "AUPRO@0.3")`.
pub fn title(name: &str) -> (&str, String) {
    let (level, metric) = name.split_once('.').unwrap_or(("", name));
    let known = match metric {
        "auroc" => "AUROC",
        "ap" => "AP",
        "f1max" => "F1-max",
        "aupr_trapz" => "AUPR trapz",
        "auroc_anomalous_only" => "AUROC, anomalous only",
        "f1max_anomalous_only" => "F1-max, anomalous only",
        other => return (level, other.replace("aupro@", "AUPRO@").replace('_', " ")),
    };
    (level, known.to_owned())
}

/// `pixel AUPRO@0.3`: the heading of a column.
pub fn metric_title(name: &str) -> String {
    let (level, metric) = title(name);
    format!("{level} {metric}").trim().to_owned()
}

fn images(
    records: &[ClassRecord],
) -> impl Iterator<Item = (&ClassRecord, &crate::experiment::ImageRecord)> {
    records.iter().flat_map(|record| record.images.iter().map(move |image| (record, image)))
}

/// A value in JSON or null.
pub fn json_number(value: &Value) -> Json {
    value.get().map_or(Json::Null, Json::from)
}
