//! Many cells in one table: mean and spread over seeds, for each number of shots.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value as Json, json};

use super::tables::{json_number, metric_title, number};
use crate::files::csv_field;
use crate::metrics::{ClassMetrics, Spread, Value, mean_over_classes, spread_over_seeds};

/// One pipeline at one number of shots and one seed.
#[derive(Clone, Debug)]
pub struct SummaryCell {
    pub shots: usize,
    pub seed: u64,
    /// Rows of the classes, protocol by protocol.
    pub rows: Vec<Vec<ClassMetrics>>,
}

/// The same table three times.
#[derive(Clone, Debug, PartialEq)]
pub struct Summary {
    pub text: String,
    pub json: Json,
    pub csv: String,
}

struct Line {
    protocol: String,
    shots: usize,
    class: String,
    n_seeds: usize,
    values: Vec<(String, Spread)>,
}

/// Mean ± sample standard deviation over seeds, with how many seeds there are: first the mean over
/// classes, then class by class. Cells that lack a class which others have make the mean over
/// classes undefined: it would be another mean.
pub fn summary_table(cells: &[SummaryCell]) -> Summary {
    let mut protocols: Vec<&str> = Vec::new();
    for row in cells.iter().flat_map(|cell| cell.rows.iter().flatten()) {
        if !protocols.contains(&row.protocol.as_str()) {
            protocols.push(&row.protocol);
        }
    }
    let mut text = String::new();
    let mut lines = Vec::new();
    for protocol in protocols {
        let of_protocol = lines_of(cells, protocol);
        text.push_str(&as_text(protocol, &of_protocol));
        lines.extend(of_protocol);
    }
    Summary { text, json: as_json(&lines), csv: as_csv(&lines) }
}

/// Lines of one protocol: means of all shots first, since they are what one looks for.
fn lines_of(cells: &[SummaryCell], protocol: &str) -> Vec<Line> {
    let mut by_shots: BTreeMap<usize, Vec<Vec<ClassMetrics>>> = BTreeMap::new();
    for cell in cells {
        let rows = cell.rows.iter().flatten().filter(|row| row.protocol == protocol);
        by_shots.entry(cell.shots).or_default().push(rows.cloned().collect());
    }
    let (mut means, mut classes) = (Vec::new(), Vec::new());
    for (shots, cells) in by_shots {
        let names = class_names(&cells);
        let line = |class: &str, rows: &[ClassMetrics]| Line {
            protocol: protocol.to_owned(),
            shots,
            class: class.to_owned(),
            n_seeds: rows.len(),
            values: spread_over_seeds(rows),
        };
        let of_cell = |rows: &Vec<ClassMetrics>| mean_of(rows, names.len());
        // Of one class there is no mean: its own line says all.
        if names.len() > 1 {
            means.push(line("mean", &cells.iter().filter_map(of_cell).collect::<Vec<_>>()));
        }
        for name in &names {
            let rows = cells.iter().flatten().filter(|row| row.class == *name);
            classes.push(line(name, &rows.cloned().collect::<Vec<_>>()));
        }
    }
    means.extend(classes);
    means
}

/// Classes of all cells, in the order in which they first stand in one.
fn class_names(cells: &[Vec<ClassMetrics>]) -> Vec<String> {
    let mut seen = BTreeSet::new();
    let rows = cells.iter().flatten().map(|row| &row.class);
    rows.filter(|class| seen.insert(class.as_str())).cloned().collect()
}

fn mean_of(rows: &[ClassMetrics], n_classes: usize) -> Option<ClassMetrics> {
    let mut mean = mean_over_classes(rows)?;
    if rows.len() != n_classes {
        let why = format!("a cell has {} of {n_classes} classes", rows.len());
        mean.values.iter_mut().for_each(|value| value.1 = Value::Undefined(why.clone()));
    }
    Some(mean)
}

fn as_text(protocol: &str, lines: &[Line]) -> String {
    let names = columns(lines);
    let mut table = vec![vec!["shots".to_owned(), "class".to_owned(), "seeds".to_owned()]];
    table[0].extend(names.iter().map(|name| metric_title(name)));
    for line in lines {
        let spread = |name: &&str| line.values.iter().find(|value| value.0 == **name);
        let mut row = vec![line.shots.to_string(), line.class.clone(), line.n_seeds.to_string()];
        row.extend(names.iter().map(|name| spread(name).map_or_else(dash, |it| plus_minus(&it.1))));
        table.push(row);
    }
    let width = |at: usize| {
        table
            .iter()
            .filter_map(|row| row.get(at))
            .map(|cell| cell.chars().count())
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = (0..names.len() + 3).map(width).collect();
    let mut text = format!("protocol: {protocol}, mean ± standard deviation over seeds\n");
    for row in &table {
        let cells = row.iter().zip(&widths).enumerate().map(|(at, (cell, width))| match at {
            1 => format!("{cell:<width$}"),
            _ => format!("{cell:>width$}"),
        });
        text.push_str(cells.collect::<Vec<_>>().join("   ").trim_end());
        text.push('\n');
    }
    text
}

/// `88.1 ± 1.2`; one seed has no spread.
pub fn plus_minus(spread: &Spread) -> String {
    match (spread.mean.get(), spread.std.get()) {
        (Some(mean), Some(std)) => format!("{:.1} ± {:.1}", mean * 100.0, std * 100.0),
        (Some(mean), None) => format!("{:.1}", mean * 100.0),
        _ => dash(),
    }
}

fn dash() -> String {
    "-".to_owned()
}

fn as_json(lines: &[Line]) -> Json {
    let value = |spread: &Spread| {
        json!({
            "mean": json_number(&spread.mean),
            "std": json_number(&spread.std),
            "undefined": spread.mean.reason().or(spread.std.reason()),
        })
    };
    let line = |line: &Line| {
        let values = line.values.iter().map(|(name, spread)| (name.clone(), value(spread)));
        json!({
            "protocol": line.protocol, "shots": line.shots, "class": line.class,
            "n_seeds": line.n_seeds,
            "metrics": values.collect::<serde_json::Map<_, _>>(),
        })
    };
    json!({ "schema": 1, "rows": lines.iter().map(line).collect::<Vec<_>>() })
}

fn as_csv(lines: &[Line]) -> String {
    let names = columns(lines);
    let mut text = String::from("protocol,shots,class,n_seeds");
    for name in &names {
        let [mean, std] = ["mean", "std"].map(|end| csv_field(&format!("{name} {end}")));
        text.push_str(&format!(",{mean},{std}"));
    }
    text.push('\n');
    for line in lines {
        let [protocol, class] = [&line.protocol, &line.class].map(|it| csv_field(it));
        text.push_str(&format!("{protocol},{},{class},{}", line.shots, line.n_seeds));
        for name in &names {
            let spread = line.values.iter().find(|value| value.0 == *name).map(|value| &value.1);
            let mean = number(spread.and_then(|spread| spread.mean.get()));
            let std = number(spread.and_then(|spread| spread.std.get()));
            text.push_str(&format!(",{mean},{std}"));
        }
        text.push('\n');
    }
    text
}

fn columns(lines: &[Line]) -> Vec<&str> {
    let mut names: Vec<&str> = Vec::new();
    for (name, _) in lines.iter().flat_map(|line| &line.values) {
        if !names.contains(&name.as_str()) {
            names.push(name);
        }
    }
    names
}
