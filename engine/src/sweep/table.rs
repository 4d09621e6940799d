//! The table of a sweep: a line for each setup and number of shots, mean and spread over seeds; then
//! the means over lines that the file asks for.

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};

use super::means::mean_lines;
use super::{CellPlan, CellRecord, Outcome, Setup, SweepFile};
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

/// A cell that ended: its setup, its plan and what became of it.
pub type Ended<'a> = (&'a Setup, &'a CellPlan, &'a CellRecord);

/// One line of the table under one protocol.
#[derive(Default)]
pub struct Line {
    pub protocol: String,
    /// The variant, or the label of a mean.
    pub name: String,
    pub title: String,
    /// Axis and value, where the sweep varies axes.
    pub at: Vec<(String, String)>,
    pub baseline: bool,
    pub shots: usize,
    /// Means over classes by seed, or what became of the cell.
    pub seeds: BTreeMap<u64, Result<ClassMetrics, &'static str>>,
    pub n_failed: usize,
    pub setting: String,
    pub values: Vec<(String, Spread)>,
    /// The variants that a mean is of, all and those of its pixel columns; empty for a variant's
    /// line.
    pub of: [Vec<String>; 2],
    /// Why figures of a mean are undefined.
    pub notes: Vec<String>,
}

impl Line {
    fn n_seeds(&self) -> usize {
        self.seeds.values().flatten().count()
    }
}

/// Makes the table of the cells that ended, in the order given. Values are means over classes; a
/// setup with failed cells says so beside its seeds.
pub fn sweep_table(file: &SweepFile, cells: &[Ended<'_>]) -> SweepTable {
    let mut protocols: Vec<&str> = Vec::new();
    for row in cells.iter().flat_map(|(_, _, record)| &record.rows) {
        if !protocols.contains(&row.protocol.as_str()) {
            protocols.push(&row.protocol);
        }
    }
    let mut lines: Vec<Line> = Vec::new();
    for protocol in &protocols {
        let of_setups = lines_of(cells, protocol);
        let means = mean_lines(file, protocol, &of_setups);
        lines.extend(of_setups.into_iter().chain(means));
    }
    SweepTable {
        text: protocols.iter().map(|protocol| as_text(protocol, &lines)).collect(),
        markdown: protocols.iter().map(|protocol| as_markdown(protocol, &lines)).collect(),
        csv: as_csv(&lines),
        json: as_json(&lines),
    }
}

fn lines_of(cells: &[Ended<'_>], protocol: &str) -> Vec<Line> {
    let mut lines: Vec<Line> = Vec::new();
    for (setup, CellPlan { shots, seed, .. }, record) in cells {
        let is_same =
            |line: &Line| (&line.name, &line.at, line.shots) == (&setup.variant, &setup.at, *shots);
        let known = lines.iter().position(is_same);
        let at = known.unwrap_or_else(|| {
            lines.push(Line {
                protocol: protocol.to_owned(),
                name: setup.variant.clone(),
                title: setup.title(),
                at: setup.at.clone(),
                baseline: setup.baseline,
                shots: *shots,
                ..Line::default()
            });
            lines.len() - 1
        });
        let Some(line) = lines.get_mut(at) else { continue };
        let mean = match &record.outcome {
            Outcome::Failed { .. } => {
                line.n_failed += 1;
                Err("failed")
            }
            Outcome::Done => {
                let of_protocol = record.rows.iter().filter(|row| row.protocol == protocol);
                let rows: Vec<ClassMetrics> = of_protocol.map(ClassMetrics::from).collect();
                line.setting.clone_from(&record.setting);
                // Of one class there is no mean: its own row says all.
                let mean = mean_over_classes(&rows);
                let mean = if rows.len() == 1 { rows.into_iter().next() } else { mean };
                mean.ok_or("has no figures of this protocol")
            }
        };
        line.seeds.insert(*seed, mean);
    }
    for line in &mut lines {
        let means: Vec<ClassMetrics> = line.seeds.values().flatten().cloned().collect();
        line.values = spread_over_seeds(&means);
    }
    lines
}

fn grid(protocol: &str, lines: &[Line]) -> Vec<Vec<String>> {
    let lines: Vec<&Line> = lines.iter().filter(|line| line.protocol == protocol).collect();
    let names = spread::names(lines.iter().map(|line| line.values.as_slice()));
    let head = ["variant", "shots", "seeds", "setting"].map(str::to_owned);
    let titles = names.iter().map(|name| metric_title(name));
    let mut grid = vec![head.into_iter().chain(titles).collect()];
    for line in lines {
        let title = match line.baseline {
            true => format!("{} (baseline)", line.title),
            false => line.title.clone(),
        };
        let seeds = match line.n_failed {
            0 => line.n_seeds().to_string(),
            failed => format!("{} ({failed} failed)", line.n_seeds()),
        };
        let mut row = vec![title, line.shots.to_string(), seeds, line.setting.clone()];
        row.extend(spread::cells(&names, &line.values));
        grid.push(row);
    }
    grid
}

/// Why means of a protocol are undefined, a line each.
fn notes<'a>(protocol: &'a str, lines: &'a [Line]) -> impl Iterator<Item = String> + 'a {
    let of_protocol = lines.iter().filter(move |line| line.protocol == protocol);
    of_protocol.flat_map(|line| {
        let plural = if line.shots == 1 { "" } else { "s" };
        let place = format!("{}, {} shot{plural}", line.title, line.shots);
        line.notes.iter().map(move |note| format!("{place}: {note}"))
    })
}

fn as_text(protocol: &str, lines: &[Line]) -> String {
    let table = spread::aligned(&grid(protocol, lines), 0).join("\n");
    let notes: String = notes(protocol, lines).map(|note| format!("- {note}\n")).collect();
    format!(
        "protocol: {protocol}, mean over classes, then mean ± standard deviation over seeds\n{table}\n{notes}"
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
    for (i, note) in notes(protocol, lines).enumerate() {
        text.push_str(&format!("{}. {note}\n", i + 1));
    }
    text
}

fn as_csv(lines: &[Line]) -> String {
    let names = spread::names(lines.iter().map(|line| line.values.as_slice()));
    let head = "protocol,variant,baseline,shots,n_seeds,n_failed";
    let mut text = format!("{head}{},setting,mean_of,mean_of_pixel\n", spread::csv_head(&names));
    for line in lines {
        let [protocol, title] = [&line.protocol, &line.title].map(|it| csv_field(it));
        let (Line { shots, n_failed, setting, .. }, n_seeds) = (line, line.n_seeds());
        let baseline = u8::from(line.baseline);
        text.push_str(&format!("{protocol},{title},{baseline},{shots},{n_seeds},{n_failed}"));
        text.push_str(&spread::csv_cells(&names, &line.values));
        let [of, pixel] = line.of.each_ref().map(|names| match names.len() {
            0 => String::new(),
            n => n.to_string(),
        });
        text.push_str(&format!(",{setting},{of},{pixel}\n"));
    }
    text
}

fn as_json(lines: &[Line]) -> Json {
    let line = |line: &Line| {
        let [of, pixel] = &line.of;
        json!({
            "protocol": line.protocol, "variant": line.title, "baseline": line.baseline,
            "shots": line.shots, "n_seeds": line.n_seeds(), "n_failed": line.n_failed,
            "setting": line.setting, "mean_of": of, "mean_of_pixel": pixel,
            "metrics": spread::as_json(&line.values),
        })
    };
    json!({ "schema": 1, "rows": lines.iter().map(line).collect::<Vec<_>>() })
}
