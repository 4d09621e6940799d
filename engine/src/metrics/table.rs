//! Metrics of classes and seeds as rows: aggregation, JSON and the printed table.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde::Serialize;
use serde::ser::SerializeMap;

use super::protocol::{Columns, Protocol};
use super::{ImageMetrics, PixelMetrics, Value};

/// One class (or the mean over classes) under one protocol. `values` keep the protocol's order.
#[derive(Clone, Debug, PartialEq)]
pub struct ClassMetrics {
    pub class: String,
    pub protocol: String,
    pub n_images: usize,
    pub n_anomalous: usize,
    pub values: Vec<(String, Value)>,
}

impl ClassMetrics {
    /// Picks a protocol's columns. `pixel` is `None` for a class without masks.
    pub fn new(
        class: &str,
        protocol: &Protocol,
        limits: &[f64],
        image: &ImageMetrics,
        pixel: Option<&PixelMetrics>,
    ) -> Self {
        let of_image = |pick: fn(&ImageMetrics) -> &Value| pick(image).clone();
        let of_pixel = |pick: fn(&PixelMetrics) -> &Value| match pixel {
            Some(pixel) => pick(pixel).clone(),
            None => Value::undefined("the class has no masks"),
        };
        let mut values: Vec<(String, Value)> = Vec::new();
        let mut put = |name: &str, value: Value| values.push((name.to_string(), value));
        match protocol.columns {
            Columns::Headline => {
                put("image.auroc", of_image(|m| &m.auroc));
                put("image.ap", of_image(|m| &m.ap));
                put("image.f1max", of_image(|m| &m.f1max));
                put("pixel.auroc", of_pixel(|m| &m.auroc));
                put("pixel.ap", of_pixel(|m| &m.ap));
                put("pixel.f1max", of_pixel(|m| &m.f1max));
            }
            Columns::Fade => {
                put("image.auroc", of_image(|m| &m.auroc));
                put("image.aupr_trapz", of_image(|m| &m.aupr_trapz));
                put("image.f1max", of_image(|m| &m.f1max));
                put("pixel.auroc", of_pixel(|m| &m.auroc));
                put("pixel.f1max", of_pixel(|m| &m.f1max));
                put("pixel.auroc_anomalous_only", of_pixel(|m| &m.auroc_anomalous_only));
                put("pixel.f1max_anomalous_only", of_pixel(|m| &m.f1max_anomalous_only));
            }
            Columns::Aupro => {}
        }
        for (index, limit) in limits.iter().enumerate() {
            let value = match pixel {
                None => Value::undefined("the class has no masks"),
                Some(pixel) => aupro(pixel, protocol, index),
            };
            put(&format!("pixel.aupro@{limit}"), value);
        }
        ClassMetrics {
            class: class.to_string(),
            protocol: protocol.name.to_string(),
            n_images: image.n_images,
            n_anomalous: image.n_anomalous,
            values,
        }
    }

    pub fn get(&self, name: &str) -> Option<&Value> {
        self.values.iter().find(|value| value.0 == name).map(|value| &value.1)
    }
}

fn aupro(pixel: &PixelMetrics, protocol: &Protocol, index: usize) -> Value {
    let row = if protocol.aupro == super::AuproDefinition::Exact {
        Some(&pixel.aupro)
    } else {
        pixel.legacy.iter().find(|row| row.0 == protocol.aupro).map(|row| &row.1)
    };
    match row.and_then(|row| row.get(index)) {
        Some(value) => value.clone(),
        None => Value::undefined("the accumulator did not collect this definition"),
    }
}

/// `{"class", "protocol", "n_images", "n_anomalous", "metrics": {name: number | null},
/// "undefined": {name: reason}}`, names in the protocol's order.
impl Serialize for ClassMetrics {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        struct Metrics<'a>(&'a [(String, Value)]);
        impl Serialize for Metrics<'_> {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
            }
        }
        let reasons: BTreeMap<&str, &str> = self
            .values
            .iter()
            .filter_map(|(name, value)| Some((name.as_str(), value.reason()?)))
            .collect();
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("class", &self.class)?;
        map.serialize_entry("protocol", &self.protocol)?;
        map.serialize_entry("n_images", &self.n_images)?;
        map.serialize_entry("n_anomalous", &self.n_anomalous)?;
        map.serialize_entry("metrics", &Metrics(&self.values))?;
        map.serialize_entry("undefined", &reasons)?;
        map.end()
    }
}

/// Mean and sample standard deviation (n - 1) over `n` seeds; `std` needs two.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Spread {
    pub mean: Value,
    pub std: Value,
    pub n: usize,
}

/// Unweighted mean over classes, as the field reports it. Undefined if one class is: a mean over
/// fewer classes is another number.
pub fn mean_over_classes(rows: &[ClassMetrics]) -> Option<ClassMetrics> {
    let first = rows.first()?;
    let values = first.values.iter().map(|(name, _)| {
        let mean = match column(rows, name) {
            Ok(values) => Value::Number(values.iter().sum::<f64>() / values.len() as f64),
            Err(reason) => reason,
        };
        (name.clone(), mean)
    });
    Some(ClassMetrics {
        class: "mean".to_string(),
        protocol: first.protocol.clone(),
        n_images: rows.iter().map(|row| row.n_images).sum(),
        n_anomalous: rows.iter().map(|row| row.n_anomalous).sum(),
        values: values.collect(),
    })
}

/// Each metric over the rows of one class (or of the mean), one row a seed.
pub fn spread_over_seeds(rows: &[ClassMetrics]) -> Vec<(String, Spread)> {
    let Some(first) = rows.first() else { return Vec::new() };
    let n = rows.len();
    let spread = |name: &String| {
        let values = match column(rows, name) {
            Ok(values) => values,
            Err(reason) => return Spread { mean: reason.clone(), std: reason, n },
        };
        let mean = values.iter().sum::<f64>() / n as f64;
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        let std = match n {
            1 => Value::undefined("one seed has no spread"),
            _ => Value::Number((squares / (n - 1) as f64).sqrt()),
        };
        Spread { mean: Value::Number(mean), std, n }
    };
    first.values.iter().map(|(name, _)| (name.clone(), spread(name))).collect()
}

fn column(rows: &[ClassMetrics], name: &str) -> Result<Vec<f64>, Value> {
    let value = |row: &ClassMetrics| match row.get(name) {
        Some(Value::Number(value)) => Ok(*value),
        Some(Value::Undefined(reason)) => {
            Err(Value::Undefined(format!("undefined for `{}`: {reason}", row.class)))
        }
        None => Err(Value::Undefined(format!("`{}` has no such metric", row.class))),
    };
    rows.iter().map(value).collect()
}

/// The printed table: a line a class, percent with one decimal, `-` where undefined; the protocol
/// stands in the first line.
pub fn format_table(rows: &[ClassMetrics]) -> String {
    let Some(first) = rows.first() else { return String::new() };
    let mut lines = vec![vec!["class".to_string(), "images".to_string()]];
    lines[0].extend(first.values.iter().map(|(name, _)| heading(name)));
    for row in rows {
        let mut line = vec![row.class.clone(), row.n_images.to_string()];
        line.extend(first.values.iter().map(|(name, _)| percent(row.get(name))));
        lines.push(line);
    }
    let width = |column: usize| {
        let cells = lines.iter().filter_map(|line| line.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..lines[0].len()).map(width).collect();
    let mut text = format!("protocol: {}\n", first.protocol);
    for line in &lines {
        for (index, (cell, width)) in line.iter().zip(&widths).enumerate() {
            // Writing to a String cannot fail.
            let _ = match index {
                0 => write!(text, "{cell:<width$}"),
                _ => write!(text, "   {cell:>width$}"),
            };
        }
        text.push('\n');
    }
    text
}

/// `pixel.aupro@0.3` is printed as `pixel AUPRO@0.3`.
fn heading(name: &str) -> String {
    let (level, metric) = name.split_once('.').unwrap_or(("", name));
    let known = [
        ("auroc", "AUROC"),
        ("aupr_trapz", "AUPR trapz"),
        ("ap", "AP"),
        ("f1max", "F1-max"),
        ("auroc_anomalous_only", "AUROC anomalous only"),
        ("f1max_anomalous_only", "F1-max anomalous only"),
    ];
    let metric = match known.iter().find(|(key, _)| *key == metric) {
        Some((_, title)) => (*title).to_string(),
        None => metric.replace("aupro@", "AUPRO@"),
    };
    format!("{level} {metric}").trim().to_string()
}

fn percent(value: Option<&Value>) -> String {
    match value.and_then(Value::get) {
        Some(value) => format!("{:.1}", value * 100.0),
        None => "-".to_string(),
    }
}
