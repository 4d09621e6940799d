//! Fusions. Of maps and scores: `weighted`, `sum`, `product`, `harmonic`, `max`, `min-max`,
//! `resolution-mean`, and `learned-gate`, which trains. Between an encoder's taps: `tap-tokens`. Of an
//! image and its tokens: `multi-scale-adaptive`.

mod harmonic;
mod learned_gate;
mod learning;
mod masks;
mod max;
mod min_max;
mod multi_scale_adaptive;
mod parts;
mod product;
mod resolution_mean;
mod sum;
mod tap_tokens;
mod weighted;

use loupe_plugin::prelude::*;

use harmonic::Harmonic;
use learned_gate::LearnedGate;
use max::Max;
use min_max::MinMax;
use multi_scale_adaptive::MultiScaleAdaptive;
use product::Product;
use resolution_mean::ResolutionMean;
use sum::Sum;
use tap_tokens::TapTokens;
use weighted::Weighted;

export!(
    fusion "weighted" = Weighted,
    fusion "sum" = Sum,
    fusion "product" = Product,
    fusion "harmonic" = Harmonic,
    fusion "max" = Max,
    fusion "min-max" = MinMax,
    fusion "resolution-mean" = ResolutionMean,
    fusion "tap-tokens" = TapTokens,
    fusion "learned-gate" = LearnedGate,
    fusion "multi-scale-adaptive" = MultiScaleAdaptive,
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

/// As `fuse`, of parts `[1, n]`.
#[cfg(test)]
fn fuse_rows(
    subject: loupe_plugin::testing::Subject,
    parts: &[&[f32]],
) -> Result<Vec<f32>, String> {
    let part = |part: &&[f32]| Tensor::new([1, part.len()], part.to_vec());
    let parts = parts.iter().map(part).collect::<Result<Vec<_>>>();
    fuse(subject, &parts.map_err(|error| error.to_string())?)
}
