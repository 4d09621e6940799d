//! Means and spreads as cells of a table: what the tables of `run` and `sweep` share.

use serde_json::{Map, Value as Json, json};

use super::tables::{json_number, number};
use crate::files::csv_field;
use crate::metrics::Spread;

/// A line's values: metric and spread.
pub type Spreads = [(String, Spread)];

/// Names of metrics in the order in which they first stand in a line.
pub fn names<'a>(lines: impl Iterator<Item = &'a Spreads>) -> Vec<&'a str> {
    let mut names: Vec<&str> = Vec::new();
    for (name, _) in lines.flatten() {
        if !names.contains(&name.as_str()) {
            names.push(name);
        }
    }
    names
}

/// One cell a metric; a dash for one that the line lacks.
pub fn cells(names: &[&str], values: &Spreads) -> Vec<String> {
    names.iter().map(|name| find(values, name).map_or_else(dash, plus_minus)).collect()
}

/// `,mean,std` for each metric, for the head of a CSV file.
pub fn csv_head(names: &[&str]) -> String {
    let columns = names.iter().flat_map(|name| ["mean", "std"].map(|end| format!("{name} {end}")));
    columns.map(|column| format!(",{}", csv_field(&column))).collect()
}

/// `,0.9,0.1` for each metric; what is undefined is an empty field.
pub fn csv_cells(names: &[&str], values: &Spreads) -> String {
    let cell = |name: &&str| {
        let spread = find(values, name);
        let mean = number(spread.and_then(|spread| spread.mean.get()));
        let std = number(spread.and_then(|spread| spread.std.get()));
        format!(",{mean},{std}")
    };
    names.iter().map(cell).collect()
}

/// An object of each metric's mean, deviation, and why it is undefined.
pub fn as_json(values: &Spreads) -> Map<String, Json> {
    let value = |(name, spread): &(String, Spread)| {
        let value = json!({
            "mean": json_number(&spread.mean),
            "std": json_number(&spread.std),
            "undefined": spread.mean.reason().or(spread.std.reason()),
        });
        (name.clone(), value)
    };
    values.iter().map(value).collect()
}

/// Lines of cells in columns, three spaces apart; the column `left` stands left, the others right.
pub fn aligned(rows: &[Vec<String>], left: usize) -> Vec<String> {
    let n_columns = rows.first().map_or(0, Vec::len);
    let width = |at: usize| {
        let cells = rows.iter().filter_map(|row| row.get(at));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..n_columns).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).enumerate().map(|(at, (cell, width))| {
            if at == left { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
        });
        cells.collect::<Vec<_>>().join("   ").trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}

fn find<'a>(values: &'a Spreads, name: &str) -> Option<&'a Spread> {
    values.iter().find(|value| value.0 == name).map(|value| &value.1)
}

/// `88.1 ± 1.2`; one seed has no spread.
fn plus_minus(spread: &Spread) -> String {
    match (spread.mean.get(), spread.std.get()) {
        (Some(mean), Some(std)) => format!("{:.1} ± {:.1}", mean * 100.0, std * 100.0),
        (Some(mean), None) => format!("{:.1}", mean * 100.0),
        _ => dash(),
    }
}

fn dash() -> String {
    "-".to_owned()
}
