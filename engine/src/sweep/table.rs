//! The table of a sweep: a line for each setup and number of shots, mean and spread over seeds.

use serde_json::{Value as Json, json};

use super::{CellRecord, Outcome, Setup};
use crate::files::csv_field;
use crate::metrics::{ClassMetrics, Spread, mean_over_classes, spread_over_seeds};
use crate::report::{metric_title, spread};

/// The same table four times.
#[derive(Clone, Debug, PartialEq)]
pub struct SweepTable {
    pub text: String,
    pub markdown: String,
    pub csv: String,
    pub json: Json,
}

/// The setting that stands beside its figures in every table.
const ORACLE: &str = "oracle";

struct Line {
    protocol: String,
    title: String,
    baseline: bool,
    shots: usize,
    n_seeds: usize,
    n_failed: usize,
    setting: String,
    values: Vec<(String, Spread)>,
}

/// Makes the table of the cells that ended, in the order given: each setup with its cells' shots and
/// records. Values are means over classes; a setup with failed cells says so beside its seeds.
pub fn sweep_table(cells: &[(&Setup, usize, &CellRecord)]) -> SweepTable {
    let mut protocols: Vec<&str> = Vec::new();
    for row in cells.iter().flat_map(|(_, _, record)| &record.rows) {
        if !protocols.contains(&row.protocol.as_str()) {
            protocols.push(&row.protocol);
        }
    }
    let lines: Vec<Line> =
        protocols.iter().flat_map(|protocol| lines_of(cells, protocol)).collect();
    SweepTable {
        text: protocols.iter().map(|protocol| as_text(protocol, &lines)).collect(),
        markdown: protocols.iter().map(|protocol| as_markdown(protocol, &lines)).collect(),
        csv: as_csv(&lines),
        json: as_json(&lines),
    }
}

fn lines_of(cells: &[(&Setup, usize, &CellRecord)], protocol: &str) -> Vec<Line> {
    let mut lines: Vec<(Line, Vec<ClassMetrics>)> = Vec::new();
    for (setup, shots, record) in cells {
        let title = setup.title();
        let known = lines.iter().position(|(line, _)| line.title == title && line.shots == *shots);
        let at = known.unwrap_or_else(|| {
            let line = Line {
                protocol: protocol.to_owned(),
                title,
                baseline: setup.baseline,
                shots: *shots,
                n_seeds: 0,
                n_failed: 0,
                setting: String::new(),
                values: Vec::new(),
            };
            lines.push((line, Vec::new()));
            lines.len() - 1
        });
        let Some((line, means)) = lines.get_mut(at) else { continue };
        match &record.outcome {
            Outcome::Failed { .. } => line.n_failed += 1,
            Outcome::Done => {
                let of_protocol = record.rows.iter().filter(|row| row.protocol == protocol);
                let rows: Vec<ClassMetrics> = of_protocol.map(ClassMetrics::from).collect();
                // Of one class there is no mean: its own row says all.
                let mean =
                    if rows.len() == 1 { rows.first().cloned() } else { mean_over_classes(&rows) };
                line.n_seeds += 1;
                line.setting.clone_from(&record.setting);
                means.extend(mean);
            }
        }
    }
    let filled = |(mut line, means): (Line, Vec<ClassMetrics>)| {
        line.values = spread_over_seeds(&means);
        line
    };
    lines.into_iter().map(filled).collect()
}

fn grid(protocol: &str, lines: &[Line]) -> Vec<Vec<String>> {
    let lines: Vec<&Line> = lines.iter().filter(|line| line.protocol == protocol).collect();
    let names = spread::names(lines.iter().map(|line| line.values.as_slice()));
    let mut grid = vec![vec!["variant".to_owned(), "shots".to_owned(), "seeds".to_owned()]];
    grid[0].extend(names.iter().map(|name| metric_title(name)));
    for line in lines {
        let mut title = line.title.clone();
        for (said, word) in [(line.baseline, "baseline"), (line.setting == ORACLE, ORACLE)] {
            if said {
                title.push_str(&format!(" ({word})"));
            }
        }
        let seeds = match line.n_failed {
            0 => line.n_seeds.to_string(),
            failed => format!("{} ({failed} failed)", line.n_seeds),
        };
        let mut row = vec![title, line.shots.to_string(), seeds];
        row.extend(spread::cells(&names, &line.values));
        grid.push(row);
    }
    grid
}

fn as_text(protocol: &str, lines: &[Line]) -> String {
    let table = spread::aligned(&grid(protocol, lines), 0).join("\n");
    format!(
        "protocol: {protocol}, mean over classes, then mean ± standard deviation over seeds\n{table}\n"
    )
}

fn as_markdown(protocol: &str, lines: &[Line]) -> String {
    let mut text = format!(
        "Protocol `{protocol}`, mean over classes, then mean ± standard deviation over seeds, in per cent.\n\n"
    );
    for (i, row) in grid(protocol, lines).iter().enumerate() {
        let cells: Vec<String> = row.iter().map(|cell| cell.replace('|', "\\|")).collect();
        text.push_str(&format!("| {} |\n", cells.join(" | ")));
        if i == 0 {
            text.push_str(&format!("|---|{}\n", "---:|".repeat(row.len().saturating_sub(1))));
        }
    }
    text.push('\n');
    text
}

fn as_csv(lines: &[Line]) -> String {
    let names = spread::names(lines.iter().map(|line| line.values.as_slice()));
    let head = "protocol,variant,baseline,shots,n_seeds,n_failed";
    let mut text = format!("{head}{},setting\n", spread::csv_head(&names));
    for line in lines {
        let [protocol, title] = [&line.protocol, &line.title].map(|it| csv_field(it));
        let Line { shots, n_seeds, n_failed, .. } = line;
        let baseline = u8::from(line.baseline);
        text.push_str(&format!("{protocol},{title},{baseline},{shots},{n_seeds},{n_failed}"));
        text.push_str(&spread::csv_cells(&names, &line.values));
        text.push_str(&format!(",{}\n", line.setting));
    }
    text
}

fn as_json(lines: &[Line]) -> Json {
    let line = |line: &Line| {
        json!({
            "protocol": line.protocol, "variant": line.title, "baseline": line.baseline,
            "shots": line.shots, "n_seeds": line.n_seeds, "n_failed": line.n_failed, "setting": line.setting,
            "metrics": spread::as_json(&line.values),
        })
    };
    json!({ "schema": 1, "rows": lines.iter().map(line).collect::<Vec<_>>() })
}
