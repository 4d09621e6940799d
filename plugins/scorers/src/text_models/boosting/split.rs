//! The best split of a node: a histogram per feature, then one pass over its bins.

use loupe_plugin::prelude::*;

use super::BoostingKeys;
use super::bins::Bins;

/// `[gradient, curvature]` of each sentence.
pub(super) struct Gradients(pub(super) Vec<[f32; 2]>);

impl Gradients {
    pub(super) fn sum(&self, members: &[u32]) -> Sum {
        let mut sum = Sum::default();
        members.iter().for_each(|i| sum.add(self.0[*i as usize]));
        sum
    }
}

/// Sums over the sentences of a bin or a node.
#[derive(Clone, Copy, Default)]
pub(super) struct Sum {
    pub(super) gradient: f64,
    pub(super) curvature: f64,
}

impl Sum {
    fn add(&mut self, pair: [f32; 2]) {
        self.gradient += f64::from(pair[0]);
        self.curvature += f64::from(pair[1]);
    }

    /// What a leaf of these sentences takes off the objective, twice; in f32 as in XGBoost, for
    /// equal ties.
    fn gain(self, lambda: f64) -> f32 {
        (self.gradient * self.gradient / (self.curvature + lambda).max(1e-300)) as f32
    }
}

/// Bins up to and with `bin` go left.
#[derive(Clone, Copy)]
pub(super) struct Split {
    pub(super) feature: usize,
    pub(super) bin: usize,
    gain: f32,
}

/// Splits that gain less are none.
const LEAST_GAIN: f32 = 1e-6;
/// Features of one unit of parallel work.
const FEATURES: usize = 32;

/// The split that gains most; of two that gain the same, that of the earlier feature and bin.
pub(super) fn best(
    keys: &BoostingKeys,
    bins: &Bins,
    gradients: &Gradients,
    members: &[u32],
    sum: Sum,
    host: &Host,
) -> Result<Option<Split>> {
    if sum.curvature < 2.0 * keys.min_child_weight || members.len() < 2 {
        return Ok(None);
    }
    let own: Vec<[f32; 2]> = members.iter().map(|i| gradients.0[*i as usize]).collect();
    let found = host.parallel_map(bins.width().div_ceil(FEATURES), |unit| {
        let features = unit * FEATURES..((unit + 1) * FEATURES).min(bins.width());
        let mut best: Option<Split> = None;
        for feature in features {
            let mut histogram = [Sum::default(); 256];
            let codes = bins.codes(feature);
            for (i, pair) in members.iter().zip(&own) {
                histogram[usize::from(codes[*i as usize])].add(*pair);
            }
            let split = scan(keys, &histogram[..bins.n_bins(feature)], sum, feature);
            best = better(best, split);
        }
        best
    })?;
    let best = found.into_iter().fold(None, better);
    Ok(best.filter(|split| split.gain > LEAST_GAIN))
}

fn better(best: Option<Split>, other: Option<Split>) -> Option<Split> {
    match (best, other) {
        (Some(best), Some(other)) => Some(if other.gain > best.gain { other } else { best }),
        (best, other) => best.or(other),
    }
}

fn scan(keys: &BoostingKeys, histogram: &[Sum], sum: Sum, feature: usize) -> Option<Split> {
    let own_gain = sum.gain(keys.lambda);
    let (mut left, mut best) = (Sum::default(), None::<Split>);
    let (_, but_last) = histogram.split_last()?;
    for (bin, add) in but_last.iter().enumerate() {
        if add.curvature == 0.0 {
            continue;
        }
        left.gradient += add.gradient;
        left.curvature += add.curvature;
        let right = Sum {
            gradient: sum.gradient - left.gradient,
            curvature: sum.curvature - left.curvature,
        };
        if left.curvature < keys.min_child_weight {
            continue;
        }
        // With no least weight, what rounding leaves right of the last sentence is no child.
        if right.curvature < keys.min_child_weight || right.curvature <= 1e-12 * sum.curvature {
            break;
        }
        let gain = left.gain(keys.lambda) + right.gain(keys.lambda) - own_gain;
        if best.is_none_or(|best| gain > best.gain) {
            best = Some(Split { feature, bin, gain });
        }
    }
    best
}
