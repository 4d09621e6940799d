//! When is a value the recorded one? The table of tolerances, and the test of the test beside each comparison.

use crate::recorded::Array;

/// How far a value may lie from the recorded one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Tolerance {
    /// Every number is the same.
    Equal,
    /// Tokens, embeddings, maps: the largest difference over the recorded values' root mean square.
    Rms(f64),
    /// Image scores, metrics: the largest difference, and the median of all.
    Absolute { max: f64, median: f64 },
    /// 8-bit maps: off by 1 where truncation has an edge, in at most this share of the cells.
    EightBit { share: f64 },
}

/// Tokens, embeddings and maps in f32.
pub const TENSOR: Tolerance = Tolerance::Rms(2e-5);
pub const SCORES: Tolerance = Tolerance::Absolute { max: 1e-5, median: 1e-6 };
pub const EIGHT_BIT: Tolerance = Tolerance::EightBit { share: 0.002 };
/// Metrics of maps that are ours.
pub const METRIC: Tolerance = Tolerance::Absolute { max: 1e-5, median: 1e-5 };
/// Metrics of the recorded maps, against scikit-learn.
pub const METRIC_OF_RECORDED: Tolerance = Tolerance::Absolute { max: 1e-9, median: 1e-9 };

/// How much of the tolerance a value uses up, 0..=1. Errors: it is not the recorded one; says where.
pub fn compare(got: &Array, want: &Array, tolerance: Tolerance) -> Result<f64, String> {
    if got.shape != want.shape {
        return Err(format!("has the shape {:?}, recorded is {:?}", got.shape, want.shape));
    }
    let apart = |i: usize| (got.values[i] - want.values[i]).abs();
    let mut apart: Vec<(f64, usize)> = (0..want.values.len()).map(|i| (apart(i), i)).collect();
    apart.sort_by(|a, b| b.0.total_cmp(&a.0));
    let Some(&(largest, at)) = apart.first() else { return Ok(0.0) };
    let n = apart.len() as f64;
    let square = want.values.iter().map(|value| value * value).sum::<f64>();
    let used = match tolerance {
        Tolerance::Equal => if largest == 0.0 { 0.0 } else { f64::INFINITY },
        Tolerance::Rms(limit) => largest / (square / n).sqrt().max(1e-30) / limit,
        Tolerance::Absolute { max, median } => {
            (largest / max).max(apart[apart.len() / 2].0 / median)
        }
        Tolerance::EightBit { share } => {
            let n_off = apart.iter().filter(|(apart, _)| *apart > 0.0).count();
            // One cell is always allowed: a small map has few.
            if largest > 1.0 { f64::INFINITY } else { n_off as f64 / (share * n).max(1.0) }
        }
    };
    // A difference that is no number is no agreement.
    if used <= 1.0 {
        return Ok(used);
    }
    Err(format!(
        "is {:.9} at {:?} where {:.9} is recorded: {used:.3} times what {tolerance:?} allows",
        got.values[at],
        position(at, &want.shape),
        want.values[at],
    ))
}

/// Changes recorded values, one at a time, by ten times their tolerance; each must be noticed.
pub fn would_notice(got: &Array, want: &Array, tolerance: Tolerance) -> Result<(), String> {
    let n = want.values.len();
    let mean_square = want.values.iter().map(|value| value * value).sum::<f64>() / n.max(1) as f64;
    let change = 10.0 * match tolerance {
        Tolerance::Equal => 0.1,
        Tolerance::Rms(limit) => limit * mean_square.sqrt(),
        Tolerance::Absolute { max, .. } => max,
        Tolerance::EightBit { .. } => 1.0,
    };
    for at in (0..n).step_by((n / 16).max(1)) {
        let mut changed = want.clone();
        changed.values[at] += change;
        if compare(got, &changed, tolerance).is_ok() {
            return Err(format!("a change of {change} at {:?} is not noticed", position(at, &want.shape)));
        }
    }
    Ok(())
}

fn position(mut at: usize, shape: &[usize]) -> Vec<usize> {
    let mut place: Vec<usize> = shape
        .iter()
        .rev()
        .map(|size| {
            let place = at % size.max(&1);
            at /= size.max(&1);
            place
        })
        .collect();
    place.reverse();
    place
}

/// Comparisons in the order of the chain, so that the first that fails is the stage to look at.
#[derive(Default)]
pub struct Comparison {
    lines: Vec<(String, Result<f64, String>)>,
}

impl Comparison {
    pub fn check(&mut self, what: &str, got: &Array, want: &Array, tolerance: Tolerance) {
        let result = compare(got, want, tolerance);
        let result = result.and_then(|used| would_notice(got, want, tolerance).map(|()| used));
        self.lines.push((what.to_owned(), result));
    }

    /// Panics with the stages that depart, the first of them first.
    pub fn finish(self) {
        let mut worst: Vec<(String, f64, usize)> = Vec::new();
        for (what, result) in &self.lines {
            // `few.tells@48.3` and `few.tells@80.0` are one line of the summary.
            let stage = what.split('@').next().unwrap_or(what).trim_end_matches(|c: char| c.is_ascii_digit() || c == '.');
            let used = result.as_ref().copied().unwrap_or(f64::INFINITY);
            match worst.iter_mut().find(|(name, ..)| name == stage) {
                Some((_, most, n)) => (*most, *n) = (most.max(used), *n + 1),
                None => worst.push((stage.to_owned(), used, 1)),
            }
        }
        for (stage, used, n) in worst {
            println!("{stage:<48} {n:>4} compared, at most {used:.3} of the tolerance");
        }
        let failed: Vec<String> = self
            .lines
            .iter()
            .filter_map(|(what, result)| Some(format!("`{what}` {}", result.as_ref().err()?)))
            .collect();
        assert!(
            failed.is_empty(),
            "{} of {} values depart; the first in the chain is\n{}",
            failed.len(),
            self.lines.len(),
            failed.iter().take(12).cloned().collect::<Vec<_>>().join("\n")
        );
    }
}
