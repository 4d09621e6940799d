//! When is a value the recorded one? The table of tolerances, and the test of the test beside each
//! comparison.

use crate::recorded::Array;

/// How far a value may lie from the recorded one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Tolerance {
    /// Every number is the same.
    Equal,
    /// Tokens, embeddings, maps: the largest difference over the recorded values' root mean square.
    Rms(f64),
    /// Probabilities, by the logit behind them; f32 rounds near 1.
    Logit(f64),
    /// Image scores, metrics: the largest difference, and the median of all.
    Absolute { max: f64, median: f64 },
    /// 8-bit maps: off by 1 where truncation has an edge, in at most this share of the cells.
    EightBit { share: f64 },
}

/// Tokens, embeddings and maps in f32.
pub const TENSOR: Tolerance = Tolerance::Rms(2e-5);
/// Probabilities of single tokens: 1e-4 in their logits.
pub const PROBABILITY: Tolerance = Tolerance::Logit(1e-4);
pub const SCORES: Tolerance = Tolerance::Absolute { max: 1e-5, median: 1e-6 };
pub const EIGHT_BIT: Tolerance = Tolerance::EightBit { share: 0.002 };
/// Metrics of maps that are ours.
pub const METRIC: Tolerance = Tolerance::Absolute { max: 1e-5, median: 1e-5 };
/// Metrics of the recorded maps, against scikit-learn.
pub const METRIC_OF_RECORDED: Tolerance = Tolerance::Absolute { max: 1e-9, median: 1e-9 };

pub const ALL: [Tolerance; 7] =
    [Tolerance::Equal, TENSOR, PROBABILITY, SCORES, EIGHT_BIT, METRIC, METRIC_OF_RECORDED];

/// How much of the tolerance a value uses up, 0..=1. Errors: it is not the recorded one; says
/// where.
pub fn compare(got: &Array, want: &Array, tolerance: Tolerance) -> Result<f64, String> {
    if got.shape != want.shape {
        return Err(format!("has the shape {:?}, recorded is {:?}", got.shape, want.shape));
    }
    let allowed = allowed(want, tolerance);
    let used = |at: usize| {
        let apart = (got.values[at] - want.values[at]).abs();
        (if apart == 0.0 { 0.0 } else { apart / allowed[at] }, at)
    };
    let mut used: Vec<(f64, usize)> = (0..want.values.len()).map(used).collect();
    used.sort_by(|a, b| b.0.total_cmp(&a.0));
    let Some(&(largest, at)) = used.first() else { return Ok(0.0) };
    let whole = match tolerance {
        Tolerance::Absolute { max, median } => used[used.len() / 2].0 * max / median,
        // One cell is always allowed: a small map has few.
        Tolerance::EightBit { share } => {
            let n_off = used.iter().filter(|(used, _)| *used > 0.0).count();
            n_off as f64 / (share * used.len() as f64).max(1.0)
        }
        _ => 0.0,
    };
    // A difference that is no number is no agreement.
    if largest <= 1.0 && whole <= 1.0 {
        return Ok(largest.max(whole));
    }
    Err(format!(
        "is {:.9} at {:?} where {:.9} is recorded: {largest:.3} times (all values: {whole:.3}) \
         what {tolerance:?} allows",
        got.values[at],
        position(at, &want.shape),
        want.values[at],
    ))
}

/// How far each value may lie from the recorded one.
fn allowed(want: &Array, tolerance: Tolerance) -> Vec<f64> {
    let n = want.values.len();
    let square: f64 = want.values.iter().map(|value| value * value).sum();
    let each = |value: &f64| match tolerance {
        Tolerance::Equal => 0.0,
        Tolerance::Rms(limit) => limit * (square / n as f64).sqrt(),
        Tolerance::Logit(limit) => limit * value * (1.0 - value) + f64::from(f32::EPSILON),
        Tolerance::Absolute { max, .. } => max,
        Tolerance::EightBit { .. } => 1.0,
    };
    want.values.iter().map(each).collect()
}

/// Changes recorded values, one at a time, by ten times their tolerance; each must be noticed.
pub fn would_notice(got: &Array, want: &Array, tolerance: Tolerance) -> Result<(), String> {
    let allowed = allowed(want, tolerance);
    for at in (0..allowed.len()).step_by((allowed.len() / 16).max(1)) {
        let change = if tolerance == Tolerance::Equal { 1.0 } else { 10.0 * allowed[at] };
        let mut changed = want.clone();
        changed.values[at] += change;
        if compare(got, &changed, tolerance).is_ok() {
            let place = position(at, &want.shape);
            return Err(format!("hides a change of {change} in what is recorded at {place:?}"));
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
            let stage = what
                .split('@')
                .next()
                .unwrap_or(what)
                .trim_end_matches(|c: char| c.is_ascii_digit() || c == '.');
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
