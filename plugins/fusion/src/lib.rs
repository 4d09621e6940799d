//! Training-free fusions of maps and scores: `weighted`, `sum`, `min-max`, `resolution-mean`.

mod min_max;
mod resolution_mean;
mod sum;
mod weighted;

use loupe_plugin::prelude::*;

use min_max::MinMax;
use resolution_mean::ResolutionMean;
use sum::Sum;
use weighted::Weighted;

export!(
    fusion "weighted" = Weighted,
    fusion "sum" = Sum,
    fusion "min-max" = MinMax,
    fusion "resolution-mean" = ResolutionMean,
);

/// Fuses tensors given to the port `parts`, for tests.
#[cfg(test)]
fn fuse(subject: loupe_plugin::testing::Subject, parts: &[Tensor]) -> Result<Vec<f32>, String> {
    let given = |subject: loupe_plugin::testing::Subject, part: &Tensor| {
        subject.input("parts", part.clone())
    };
    let subject = parts.iter().fold(subject, given);
    let ran = subject.run()?;
    Ok(ran.tensor("fused").f32s().map_err(|error| error.to_string())?.to_vec())
}

/// Adds up parts of one shape, each times its weight, in f64 and in order.
fn weighted_sum(parts: &[Tensor], weights: &[f64]) -> Result<Vec<f64>> {
    let shape = same_shape(parts)?;
    let mut total = vec![0.0_f64; shape.len()];
    for (part, weight) in parts.iter().zip(weights) {
        for (total, score) in total.iter_mut().zip(part.f32s()?) {
            *total += weight * f64::from(*score);
        }
    }
    Ok(total)
}
