//! One descending walk over the distinct scores that have anomalous members, from which every
//! threshold-free metric of image or pixel level follows. Scores with normal members only move the
//! false positive rate, never the recall, so they need no step of their own.

use super::Value;
use super::curve::{LimitedArea, Sum};

pub(crate) const NO_ANOMALOUS: &str = "no anomalous sample";
pub(crate) const NO_NORMAL: &str = "no normal sample";

/// One distinct score: normal samples above it, normal samples at or above it, anomalous samples
/// at it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Step {
    pub above: u64,
    pub upto: u64,
    pub anomalous: u64,
}

/// Ranking metrics of a walk.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct RankMetrics<S> {
    pub auroc: Value,
    pub ap: Value,
    pub aupr_trapz: Value,
    pub f1max: Value,
    pub fpr_at_95tpr: Value,
    /// The highest threshold that reaches `f1max`: anomalous if the score is at least this.
    pub threshold: Option<S>,
}

pub(crate) struct RankSweep<S> {
    n_anomalous: u64,
    n_normal: u64,
    found: u64,
    /// Twice the number of correctly ordered pairs, a tie counting one.
    pairs: u128,
    ap: Sum,
    aupr_trapz: Sum,
    precision: f64,
    f1: f64,
    threshold: Option<S>,
    fpr_at_95tpr: Option<f64>,
}

impl<S: Copy> RankSweep<S> {
    pub(crate) fn new(n_anomalous: u64, n_normal: u64) -> Self {
        RankSweep {
            n_anomalous,
            n_normal,
            found: 0,
            pairs: 0,
            ap: Sum::default(),
            aupr_trapz: Sum::default(),
            precision: 1.0,
            f1: -1.0,
            threshold: None,
            fpr_at_95tpr: None,
        }
    }

    pub(crate) fn step(&mut self, score: S, step: Step) {
        let below = self.n_normal.saturating_sub(step.upto);
        let ties = step.upto.saturating_sub(step.above);
        self.pairs += u128::from(step.anomalous) * (2 * u128::from(below) + u128::from(ties));

        let n = self.n_anomalous as f64;
        // Normal samples between this score and the last have lowered the precision already.
        if self.found + step.above > 0 {
            self.precision = self.found as f64 / (self.found + step.above) as f64;
        }
        let before = self.precision;
        self.found += step.anomalous;
        let (found, flagged) = (self.found as f64, (self.found + step.upto) as f64);
        self.precision = found / flagged;
        let recall_gain = step.anomalous as f64 / n;
        self.ap.add(recall_gain * self.precision);
        self.aupr_trapz.add(recall_gain * (before + self.precision) * 0.5);

        let f1 = 2.0 * found / (flagged + n);
        if f1 > self.f1 {
            (self.f1, self.threshold) = (f1, Some(score));
        }
        let reached = 20 * u128::from(self.found) >= 19 * u128::from(self.n_anomalous);
        if reached && self.fpr_at_95tpr.is_none() {
            self.fpr_at_95tpr = Some(step.upto as f64 / self.n_normal as f64);
        }
    }

    pub(crate) fn finish(self) -> RankMetrics<S> {
        let missing = match (self.n_anomalous, self.n_normal) {
            (0, _) => Some(NO_ANOMALOUS),
            (_, 0) => Some(NO_NORMAL),
            _ => None,
        };
        let value = |value: f64| match missing {
            Some(reason) => Value::undefined(reason),
            None => Value::Number(value),
        };
        let total = 2.0 * self.n_anomalous as f64 * self.n_normal as f64;
        RankMetrics {
            auroc: value(self.pairs as f64 / total),
            ap: value(self.ap.get()),
            aupr_trapz: value(self.aupr_trapz.get()),
            f1max: value(self.f1),
            fpr_at_95tpr: value(self.fpr_at_95tpr.unwrap_or(1.0)),
            threshold: if missing.is_none() { self.threshold } else { None },
        }
    }
}

/// Mean overlap of regions against the false positive rate, exact, for several limits at once.
pub(crate) struct ProSweep {
    n_normal: f64,
    n_regions: f64,
    covered: Sum,
    areas: Vec<LimitedArea>,
}

impl ProSweep {
    pub(crate) fn new(limits: &[f64], n_normal: u64, n_regions: u64) -> Self {
        ProSweep {
            n_normal: n_normal as f64,
            n_regions: n_regions as f64,
            covered: Sum::default(),
            areas: limits.iter().map(|&limit| LimitedArea::new(limit)).collect(),
        }
    }

    /// `sizes` in ascending order: the size of each region that has a pixel at this score, once
    /// per pixel. The order makes the sum independent of the order of the images.
    pub(crate) fn step(&mut self, step: Step, sizes: &[u32]) {
        let before = self.covered.get() / self.n_regions;
        for equal in sizes.chunk_by(|one, other| one == other) {
            self.covered.add(equal.len() as f64 / f64::from(equal[0]));
        }
        let after = self.covered.get() / self.n_regions;
        let (above, upto) = (step.above as f64 / self.n_normal, step.upto as f64 / self.n_normal);
        for area in &mut self.areas {
            area.point(above, before);
            area.point(upto, after);
        }
    }

    pub(crate) fn finish(mut self) -> Vec<f64> {
        let last = self.covered.get() / self.n_regions;
        for area in &mut self.areas {
            area.point(1.0, last);
        }
        self.areas.iter().map(LimitedArea::normalised).collect()
    }
}
