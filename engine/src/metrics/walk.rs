//! The walk over all distinct scores of anomalous pixels, from the highest: what lies at each is found
//! part by part, on any thread; the sums are taken in order.

use rayon::prelude::*;

use super::MetricError;
use super::levels::Levels;
use super::sweep::{ProSweep, RankMetrics, RankSweep, Step};

/// Parts that are looked through side by side, while the sums over those before are taken.
const AT_A_TIME: usize = 64;

/// Ranking metrics over all pixels, those over masked images' pixels, and the areas.
pub(crate) type Walked = (RankMetrics<u32>, RankMetrics<u32>, Vec<f64>);

/// Normal pixels of images without an anomalous one, normal pixels of the others, and anomalous ones.
pub(crate) struct Stores<'a> {
    pub(crate) normal: &'a Levels<u16>,
    pub(crate) beside: &'a Levels<u16>,
    pub(crate) anomalous: &'a Levels<u64>,
    pub(crate) n_regions: u64,
}

/// An upper half that anomalous pixels have, with the normal pixels above it: all, and those beside.
struct Part {
    upper: u16,
    above: [u64; 2],
}

/// The distinct scores of a part.
#[derive(Default)]
struct Found {
    scores: Vec<Score>,
    /// Of the regions, a size for each pixel, those of a score after those of the one before.
    sizes: Vec<u32>,
}

/// Normal pixels above a score and down to it: all, and those beside.
struct Score {
    key: u32,
    above: [u64; 2],
    upto: [u64; 2],
    n_anomalous: usize,
}

/// Errors: `Spill`.
pub(crate) fn walk(stores: &Stores, limits: &[f64]) -> Result<Walked, MetricError> {
    let [n_anomalous, n_beside] = [stores.anomalous.len(), stores.beside.len()];
    let n_normal = stores.normal.len() + n_beside;
    let mut all = RankSweep::new(n_anomalous, n_normal);
    let mut only = RankSweep::new(n_anomalous, n_beside);
    let mut pro = ProSweep::new(limits, n_normal, stores.n_regions);
    let mut sum = |found: &[Found]| {
        for Found { scores, sizes } in found {
            let mut sizes = sizes.as_slice();
            for score in scores {
                let (own, rest) = sizes.split_at_checked(score.n_anomalous).unwrap_or_default();
                sizes = rest;
                let [step, beside] = [0, 1].map(|i| Step {
                    above: score.above[i],
                    upto: score.upto[i],
                    anomalous: score.n_anomalous as u64,
                });
                all.step(score.key, step);
                only.step(score.key, beside);
                pro.step(step, own);
            }
        }
    };
    let mut before: Vec<Found> = Vec::new();
    for parts in parts(stores).chunks(AT_A_TIME) {
        let find = |counts: &mut Vec<u64>, part| find(stores, part, counts);
        let find = || parts.par_iter().map_init(Vec::new, find).collect();
        let (now, ()): (Result<Vec<Found>, MetricError>, ()) = rayon::join(find, || sum(&before));
        before = now?;
    }
    sum(&before);
    Ok((all.finish(), only.finish(), pro.finish()))
}

fn parts(stores: &Stores) -> Vec<Part> {
    let (normal, beside) = (stores.normal.uppers(), stores.beside.uppers());
    let (mut normal, mut beside) = (normal.iter().peekable(), beside.iter().peekable());
    let mut above = [0; 2];
    let mut part = |(upper, _): (u16, u64)| {
        while let Some((_, len)) = normal.next_if(|part| part.0 < upper) {
            above[0] += len;
        }
        while let Some((_, len)) = beside.next_if(|part| part.0 < upper) {
            above[0] += len;
            above[1] += len;
        }
        Part { upper, above }
    };
    stores.anomalous.uppers().into_iter().map(&mut part).collect()
}

fn find(stores: &Stores, part: &Part, counts: &mut Vec<u64>) -> Result<Found, MetricError> {
    let anomalous = stores.anomalous.read(part.upper, counts)?;
    let normal = stores.normal.read(part.upper, counts)?;
    let beside = stores.beside.read(part.upper, counts)?;
    let (mut normal, mut beside) = (normal.iter().peekable(), beside.iter().peekable());
    let mut found = Found { scores: Vec::new(), sizes: Vec::with_capacity(anomalous.len()) };
    let mut counted = part.above;
    for equal in anomalous.chunk_by(|one, other| one >> 32 == other >> 32) {
        let low = equal.first().map_or(0, |record| (record >> 32) as u16);
        let mut count = |is_within: &dyn Fn(u16) -> bool| {
            while let Some((_, n)) = normal.next_if(|item| is_within(item.0)) {
                counted[0] += n;
            }
            while let Some((_, n)) = beside.next_if(|item| is_within(item.0)) {
                counted[0] += n;
                counted[1] += n;
            }
            counted
        };
        let (above, upto) = (count(&|other| other < low), count(&|other| other <= low));
        let key = u32::from(part.upper) << 16 | u32::from(low);
        found.scores.push(Score { key, above, upto, n_anomalous: equal.len() });
        found.sizes.extend(equal.iter().map(|record| *record as u32));
    }
    Ok(found)
}
