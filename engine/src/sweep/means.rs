//! `[[mean]]` of a sweep file: lines of the table that are means over lines of variants. A mean over
//! fewer variants is another number, so it is undefined where one of them failed or has not run.

use std::collections::BTreeSet;

use super::table::Line;
use super::{Design, Mean, SweepFile};
use crate::metrics::{ClassMetrics, Spread, Value, mean_over_classes, spread_over_seeds};
use crate::report::metric_title;

/// The means under one protocol: for each number of shots and, in a grid, each point of the axes.
pub fn mean_lines(file: &SweepFile, protocol: &str, lines: &[Line]) -> Vec<Line> {
    let mut found: Vec<Line> = Vec::new();
    for mean in &file.means {
        let first = found.len();
        for part in lines.iter().filter(|line| mean.of.contains(&line.name)) {
            // One at a time, an axis varies the baseline alone.
            let is_whole = file.design == Design::Grid || part.at.is_empty();
            let is_same = |line: &Line| line.at == part.at && line.shots == part.shots;
            if is_whole && !found.iter().skip(first).any(is_same) {
                let same: Vec<&Line> = lines.iter().filter(|line| is_same(line)).collect();
                found.push(mean_line(mean, protocol, part, &same));
            }
        }
    }
    found
}

/// The mean at the point of `part`; `same` are all lines of that point.
fn mean_line(mean: &Mean, protocol: &str, part: &Line, same: &[&Line]) -> Line {
    let parts: Vec<&Line> = same.iter().filter(|it| mean.of.contains(&it.name)).copied().collect();
    let pixel = mean.pixel.as_ref().unwrap_or(&mean.of);
    let at = part.at.iter().map(|(axis, value)| format!(", {axis} = {value}"));
    let count = match &mean.pixel {
        Some(pixel) => format!(" (mean of {}, pixel columns of {})", mean.of.len(), pixel.len()),
        None => format!(" (mean of {})", mean.of.len()),
    };
    let settings: BTreeSet<&str> = parts.iter().map(|line| line.setting.as_str()).collect();
    let settings: Vec<&str> = settings.into_iter().filter(|word| !word.is_empty()).collect();
    let mut line = Line {
        protocol: protocol.to_owned(),
        name: mean.label.clone(),
        title: [mean.label.clone()].into_iter().chain(at).chain([count]).collect(),
        at: part.at.clone(),
        shots: part.shots,
        n_failed: parts.iter().map(|line| line.n_failed).sum(),
        setting: settings.join(" + "),
        of: [mean.of.clone(), pixel.clone()],
        ..Line::default()
    };
    match of_seeds(mean, pixel, &parts) {
        Ok(seeds) => {
            let rows: Vec<ClassMetrics> = seeds.iter().map(|(_, row)| row.clone()).collect();
            line.values = spread_over_seeds(&rows);
            line.seeds = seeds.into_iter().map(|(seed, row)| (seed, Ok(row))).collect();
            line.notes = undefined(&line.values);
        }
        Err(why) => {
            let why_not = Value::Undefined(why.clone());
            let spread = Spread { mean: why_not.clone(), std: why_not, n: 0 };
            let names = same.iter().flat_map(|line| &line.values).map(|value| value.0.clone());
            let names: BTreeSet<String> = names.collect();
            line.values = names.into_iter().map(|name| (name, spread.clone())).collect();
            line.notes = vec![why];
        }
    }
    line
}

/// For each seed the mean over the variants. Errors: the first cell that there is no figure of.
fn of_seeds(
    mean: &Mean,
    pixel: &[String],
    parts: &[&Line],
) -> Result<Vec<(u64, ClassMetrics)>, String> {
    let seeds: BTreeSet<u64> = parts.iter().flat_map(|line| line.seeds.keys().copied()).collect();
    let of_seed = |seed: u64| {
        let row = |name: &String| {
            let line = parts.iter().find(|line| line.name == *name);
            match line.and_then(|line| line.seeds.get(&seed)) {
                Some(Ok(row)) => Ok(ClassMetrics { class: name.clone(), ..row.clone() }),
                Some(Err(why)) => Err(format!("`{name}` {why} with seed {seed}")),
                None => Err(format!("`{name}` has not run with seed {seed}")),
            }
        };
        let rows: Vec<ClassMetrics> = mean.of.iter().map(row).collect::<Result<_, _>>()?;
        let masked = rows.iter().filter(|row| pixel.contains(&row.class)).cloned();
        let (all, masked) =
            (mean_over_classes(&rows), mean_over_classes(&masked.collect::<Vec<_>>()));
        let (Some(mut all), Some(masked)) = (all, masked) else {
            return Err("it is a mean of nothing".to_owned());
        };
        all.class.clone_from(&mean.label);
        for (name, value) in all.values.iter_mut().filter(|value| value.0.starts_with("pixel.")) {
            if let Some(of_masked) = masked.get(name) {
                value.clone_from(of_masked);
            }
        }
        Ok((seed, all))
    };
    seeds.into_iter().map(of_seed).collect()
}

/// The reasons of what is undefined, each with its columns.
fn undefined(values: &[(String, Spread)]) -> Vec<String> {
    let mut reasons: Vec<(&str, Vec<String>)> = Vec::new();
    for (name, spread) in values {
        let Some(reason) = spread.mean.reason() else { continue };
        match reasons.iter_mut().find(|(known, _)| *known == reason) {
            Some((_, columns)) => columns.push(metric_title(name)),
            None => reasons.push((reason, vec![metric_title(name)])),
        }
    }
    reasons.into_iter().map(|(why, columns)| format!("{}: {why}", columns.join(", "))).collect()
}
