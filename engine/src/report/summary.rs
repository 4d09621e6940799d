//! Many cells in one table: mean and spread over seeds, for each number of shots.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value as Json, json};

use super::spread;
use super::tables::metric_title;
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
/// classes undefined: it would be another mean. `setting` is what the numbers were made in.
pub fn summary_table(setting: &str, cells: &[SummaryCell]) -> Summary {
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
    Summary { text, json: as_json(setting, &lines), csv: as_csv(setting, &lines) }
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
        let mut row = vec![line.shots.to_string(), line.class.clone(), line.n_seeds.to_string()];
        row.extend(spread::cells(&names, &line.values));
        table.push(row);
    }
    let table = spread::aligned(&table, 1).join("\n");
    format!("protocol: {protocol}, mean ± standard deviation over seeds\n{table}\n")
}

fn as_json(setting: &str, lines: &[Line]) -> Json {
    let line = |line: &Line| {
        json!({
            "protocol": line.protocol, "shots": line.shots, "class": line.class,
            "n_seeds": line.n_seeds,
            "metrics": spread::as_json(&line.values),
        })
    };
    json!({ "schema": 1, "setting": setting, "rows": lines.iter().map(line).collect::<Vec<_>>() })
}

fn as_csv(setting: &str, lines: &[Line]) -> String {
    let names = columns(lines);
    let mut text = format!("protocol,shots,class,n_seeds{},setting\n", spread::csv_head(&names));
    for line in lines {
        let [protocol, class] = [&line.protocol, &line.class].map(|it| csv_field(it));
        text.push_str(&format!("{protocol},{},{class},{}", line.shots, line.n_seeds));
        text.push_str(&spread::csv_cells(&names, &line.values));
        text.push_str(&format!(",{setting}\n"));
    }
    text
}

fn columns(lines: &[Line]) -> Vec<&str> {
    spread::names(lines.iter().map(|line| line.values.as_slice()))
}
