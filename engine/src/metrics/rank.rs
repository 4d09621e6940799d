//! Image-level metrics. Sources: METRICS names of the field; `ap` is scikit-learn's
//! `average_precision_score`.

use super::sweep::{RankMetrics, RankSweep, Step};
use super::{MetricError, Value};

/// The scores of one class's test images.
#[derive(Clone, Debug, Default)]
pub struct ImageScores {
    samples: Vec<(f64, bool)>,
}

/// Fractions in 0..=1. `f1max` and its threshold use the test labels: an oracle, not a calibrated
/// operating point.
#[derive(Clone, Debug, PartialEq)]
pub struct ImageMetrics {
    pub n_images: usize,
    pub n_anomalous: usize,
    pub auroc: Value,
    pub ap: Value,
    pub f1max: Value,
    /// The highest threshold that reaches `f1max`; anomalous if the score is at least this.
    pub f1max_threshold: Option<f64>,
    /// Trapezoid area under precision and recall, for comparison with papers that report it. A
    /// constant detector gets more than its prevalence here.
    pub aupr_trapz: Value,
    pub fpr_at_95tpr: Value,
}

impl ImageScores {
    pub fn new() -> Self {
        ImageScores::default()
    }

    /// Errors: `NonFiniteScore` with the image's name.
    pub fn push(&mut self, image: &str, score: f64, anomalous: bool) -> Result<(), MetricError> {
        if !score.is_finite() {
            return Err(MetricError::NonFiniteScore { image: image.to_string(), value: score });
        }
        self.samples.push((score + 0.0, anomalous));
        Ok(())
    }

    pub fn metrics(&self) -> ImageMetrics {
        let mut samples = self.samples.clone();
        samples.sort_unstable_by(|one, other| other.0.total_cmp(&one.0));
        let n_anomalous = samples.iter().filter(|sample| sample.1).count();
        let n_normal = samples.len() - n_anomalous;
        let mut sweep = RankSweep::new(n_anomalous as u64, n_normal as u64);
        let mut above = 0_u64;
        for equal in samples.chunk_by(|one, other| one.0 == other.0) {
            let anomalous = equal.iter().filter(|sample| sample.1).count() as u64;
            let upto = above + equal.len() as u64 - anomalous;
            if anomalous > 0 {
                sweep.step(equal[0].0, Step { above, upto, anomalous });
            }
            above = upto;
        }
        let RankMetrics { auroc, ap, aupr_trapz, f1max, fpr_at_95tpr, threshold } = sweep.finish();
        ImageMetrics {
            n_images: samples.len(),
            n_anomalous,
            auroc,
            ap,
            f1max,
            f1max_threshold: threshold,
            aupr_trapz,
            fpr_at_95tpr,
        }
    }
}
