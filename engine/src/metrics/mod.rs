//! Detection and localisation metrics, exact and streaming, with the field's other definitions by
//! name.
//!
//! Higher scores are more anomalous and label 1 is anomalous. Every metric has one threshold per
//! distinct score, so ties are never broken by order, and no metric depends on the order in which
//! images arrive. What a metric cannot say (one class only, no anomalous pixel) is `Undefined`
//! with its reason, never 0: a zero would enter the mean over classes as if it had been measured.
//!
//! Absent on purpose: resizing and files. A caller hands in maps that already have the size of
//! their masks; `crate::eval` does that for maps on disk.

mod anomalib_old;
mod components;
mod curve;
mod digest;
mod legacy;
mod levels;
mod pixel;
mod protocol;
mod rank;
mod sweep;
mod table;
#[cfg(test)]
mod tests;
mod walk;

pub use components::{Connectivity, Regions, Span, label};
pub use digest::Digest;
pub use pixel::{PixelAccumulator, PixelMetrics, PixelOptions};
pub use protocol::{AuproDefinition, Columns, Protocol, Space};
pub use rank::{ImageMetrics, ImageScores};
pub use table::{ClassMetrics, Spread, format_table, mean_over_classes, spread_over_seeds};

use serde::{Serialize, Serializer};

/// The limit of false positive rate that a column without a number in its name means.
pub const DEFAULT_LIMITS: [f64; 2] = [0.3, 0.05];

/// A metric's value, or why there is none. Serialises as a number or null; the reasons stand
/// beside the numbers in [`ClassMetrics`].
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Number(f64),
    Undefined(String),
}

impl Value {
    pub fn get(&self) -> Option<f64> {
        match self {
            Value::Number(value) => Some(*value),
            Value::Undefined(_) => None,
        }
    }

    pub fn reason(&self) -> Option<&str> {
        match self {
            Value::Number(_) => None,
            Value::Undefined(reason) => Some(reason),
        }
    }

    pub(crate) fn undefined(reason: &str) -> Self {
        Value::Undefined(reason.to_string())
    }
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.get().serialize(serializer)
    }
}

/// What a metric refuses.
#[derive(Debug, thiserror::Error)]
pub enum MetricError {
    #[error(
        "the anomaly map of image `{image}` has `{value}` at row {row}, column {column}; \
         metrics want finite scores"
    )]
    NonFinitePixel { image: String, row: usize, column: usize, value: f32 },
    #[error("the score of image `{image}` is `{value}`; metrics want finite scores")]
    NonFiniteScore { image: String, value: f64 },
    #[error(
        "the {what} of image `{image}` has {got} values, but {height} x {width} wants {want}; \
         resize the map to its mask first"
    )]
    #[rustfmt::skip]
    Size {
        image: String, what: &'static str,
        height: usize, width: usize, want: usize, got: usize,
    },
    #[error("image `{image}` is {height} x {width}; metrics take up to {limit} pixels each")]
    TooLarge { image: String, height: usize, width: usize, limit: u64 },
    #[error("the false positive rate limit of `pixel.aupro` wants 0 < L <= 1, got `{limit}`")]
    Limit { limit: f64 },
    #[error("cannot keep sorted scores in a temporary file (`TMPDIR` names its folder): {source}")]
    Spill { source: std::io::Error },
}
