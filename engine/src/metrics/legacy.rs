//! AUPRO as other repositories compute it, evaluated on the same sorted scores. They differ from
//! the exact definition in thresholds, connectivity, holes and the false-positive axis, so each
//! has a name and none is ever printed as `pixel.aupro` without it.
//!
//! Where an original computes in f32, this computes in f64; where it yields NaN, this is
//! `Undefined`.

use std::collections::BTreeMap;

use super::curve::{interpolate, trapezoid};
use super::digest::{rank_key, score_of};
use super::levels::Levels;
use super::{MetricError, Value};

const TOO_FEW: &str = "fewer than two thresholds have a false positive rate under the limit";

/// What the definitions share.
pub(crate) struct Scores<'a> {
    pub normal: &'a Levels<u16>,
    pub beside: &'a Levels<u16>,
    pub anomalous: &'a Levels<u64>,
    pub n_normal: u64,
    pub n_regions: u64,
    /// Lowest and highest score of all pixels.
    pub range: (f32, f32),
}

/// A threshold on f32 scores: flagged if the score is above it, or (`inclusive`) at least it.
#[derive(Clone, Copy)]
struct Threshold {
    key: u32,
    inclusive: bool,
}

impl Threshold {
    /// `score > t` for a `t` that f32 may not hold: above the greatest f32 that is not above `t`.
    fn above(t: f64) -> Self {
        let near = t as f32;
        let floor = if f64::from(near) > t { near.next_down() } else { near };
        Threshold { key: rank_key(floor), inclusive: false }
    }

    /// `score >= t`: at least the smallest f32 that is not below `t`.
    fn at_least(t: f64) -> Self {
        let near = t as f32;
        let ceiling = if f64::from(near) < t { near.next_up() } else { near };
        Threshold { key: rank_key(ceiling), inclusive: true }
    }
}

/// Normal pixels flagged and mean overlap of regions, at each threshold. `thresholds` never rise.
fn curve(
    scores: &Scores,
    overlaps: &[&Levels<u64>],
    n_regions: u64,
    thresholds: impl Iterator<Item = Threshold>,
) -> Result<Vec<(u64, f64)>, MetricError> {
    let (mut normal, mut beside) = (scores.normal.cursor(), scores.beside.cursor());
    let mut overlaps: Vec<_> = overlaps.iter().map(|levels| levels.cursor()).collect();
    let mut flagged = 0;
    // Pixels found by region size: the sum over sizes does not depend on the order of images.
    let mut found: BTreeMap<u32, u64> = BTreeMap::new();
    let mut points = Vec::new();
    for Threshold { key, inclusive } in thresholds {
        flagged += normal.count(key, inclusive)? + beside.count(key, inclusive)?;
        for cursor in &mut overlaps {
            cursor.visit(key, inclusive, |records| {
                for &record in records {
                    *found.entry(record as u32).or_default() += 1;
                }
            })?;
        }
        let covered: f64 = found.iter().map(|(&size, &n)| n as f64 / f64::from(size)).sum();
        points.push((flagged, covered / n_regions as f64));
    }
    Ok(points)
}

/// AnomalyCLIP, APRIL-GAN, MuSc, ADer: 200 thresholds from the lowest score in equal steps,
/// flagged if above; points under the limit, their false positive rates stretched to 0..=1.
///
/// Deviation: exactly 200 thresholds in f64; NumPy's `arange` may round to 201.
pub(crate) fn cflow_200(scores: &Scores, limit: f64) -> Result<Value, MetricError> {
    let (low, high) = (f64::from(scores.range.0), f64::from(scores.range.1));
    let delta = (high - low) / 200.0;
    let thresholds = (0..200).rev().map(|k| Threshold::above(low + f64::from(k) * delta));
    let points = curve(scores, &[scores.anomalous], scores.n_regions, thresholds)?;
    Ok(stretched(points, scores.n_normal, |fpr| fpr < limit))
}

/// WinClip's re-implementation, PromptAD: 200 thresholds down from the highest score; a region
/// counts what is flagged inside its filled outline over its size without holes, so it may
/// exceed 1; the rates up to the limit are stretched to 0..=1.
///
/// A hole is background that no 8-connected path joins with the outside (scikit-image's
/// `filled_image`).
pub(crate) fn spade_filled_200(
    scores: &Scores,
    holes: &Levels<u64>,
    limit: f64,
) -> Result<Value, MetricError> {
    let (low, high) = (f64::from(scores.range.0), f64::from(scores.range.1));
    let delta = (high - low) / 200.0;
    let thresholds = (0..200).map(|k| Threshold::above(high - f64::from(k) * delta));
    let points = curve(scores, &[scores.anomalous, holes], scores.n_regions, thresholds)?;
    Ok(stretched(points, scores.n_normal, |fpr| fpr <= limit))
}

fn stretched(points: Vec<(u64, f64)>, n_normal: u64, keep: impl Fn(f64) -> bool) -> Value {
    let rates = points.into_iter().map(|(flagged, pro)| (flagged as f64 / n_normal as f64, pro));
    let mut kept: Vec<(f64, f64)> = rates.filter(|point| keep(point.0)).collect();
    let (Some(&(low, _)), Some(&(high, _))) = (kept.first(), kept.last()) else {
        return Value::undefined(TOO_FEW);
    };
    if high <= low {
        return Value::undefined(TOO_FEW);
    }
    for point in &mut kept {
        point.0 = (point.0 - low) / (high - low);
    }
    Value::Number(trapezoid(&kept))
}

/// imgad 0.6.0: 500 linear quantiles of the normal pixels, flagged if above; 4-connected regions;
/// the curve starts flat at its first overlap and is interpolated at the limit.
pub(crate) fn quantile_500_four_conn(
    scores: &Scores,
    (four, n_regions): (&Levels<u64>, u64),
    limit: f64,
) -> Result<Value, MetricError> {
    let quantiles = linspace(limit, 500).map(|rate| 1.0 - rate);
    let ranks: Vec<(u64, f64)> = quantiles
        .map(|quantile| {
            let place = quantile * (scores.n_normal - 1) as f64;
            (place.floor() as u64, place - place.floor())
        })
        .collect();
    let last = scores.n_normal - 1;
    let wanted: Vec<u64> =
        ranks.iter().flat_map(|&(rank, _)| [last - (rank + 1).min(last), last - rank]).collect();
    let values = order_statistics(scores, &wanted)?;
    let thresholds = ranks.iter().zip(values.chunks_exact(2)).map(|(&(_, part), pair)| {
        let (upper, lower) = (f64::from(pair[0]), f64::from(pair[1]));
        // Two forms, as NumPy has them: which end is exact depends on the half.
        let below = lower + (upper - lower) * part;
        let above = upper - (upper - lower) * (1.0 - part);
        Threshold::above(if part < 0.5 { below } else { above })
    });
    let n = scores.n_normal as f64;
    let points: Vec<(f64, f64)> = curve(scores, &[four], n_regions, thresholds)?
        .into_iter()
        .map(|(flagged, pro)| (1.0 - (scores.n_normal - flagged) as f64 / n, pro))
        .collect();
    let kept: Vec<(f64, f64)> = points.iter().copied().filter(|point| point.0 <= limit).collect();
    let start = kept.first().map_or(0.0, |point| point.1);
    let end = interpolate(&points, limit).unwrap_or(0.0);
    let mut whole = vec![(0.0, start)];
    whole.extend(kept);
    whole.push((limit, end));
    Ok(Value::Number(trapezoid(&whole) / limit))
}

/// pyimgano: a threshold above every normal pixel, then 199 quantiles of them (the next higher
/// score), flagged if at least; equal rates keep their best overlap; interpolated at the limit.
pub(crate) fn quantile_200(scores: &Scores, limit: f64) -> Result<Value, MetricError> {
    let last = scores.n_normal - 1;
    let quantiles = linspace(limit, 200).skip(1).map(|rate| 1.0 - rate);
    let ranks = quantiles.map(|quantile| last - (quantile * last as f64).ceil() as u64);
    let ranks: Vec<u64> = std::iter::once(0).chain(ranks).collect();
    let values = order_statistics(scores, &ranks)?;
    let mut levels: Vec<f64> = values.into_iter().map(f64::from).collect();
    if let Some(highest) = levels.first_mut() {
        *highest += 1e-12;
    }
    let thresholds = levels.into_iter().map(Threshold::at_least);
    let curve = curve(scores, &[scores.anomalous], scores.n_regions, thresholds)?;
    let mut points: Vec<(f64, f64)> = Vec::new();
    for (flagged, pro) in curve {
        let rate = flagged as f64 / scores.n_normal as f64;
        match points.last_mut() {
            // Thresholds fall, so a later overlap is never smaller.
            Some(last) if last.0 == rate => last.1 = pro,
            _ => points.push((rate, pro)),
        }
    }
    if points.first().is_some_and(|point| point.0 > 0.0) {
        points.insert(0, (0.0, 0.0));
    }
    let mut kept: Vec<(f64, f64)> = points.iter().copied().filter(|p| p.0 <= limit).collect();
    if kept.last().is_some_and(|point| point.0 < limit) {
        kept.push((limit, interpolate(&points, limit).unwrap_or(0.0)));
    }
    Ok(Value::Number(trapezoid(&kept) / limit))
}

/// `n` equally spaced values from 0 to `end`, both included.
fn linspace(end: f64, n: u32) -> impl Iterator<Item = f64> {
    let step = end / f64::from(n - 1);
    (0..n).map(move |k| if k + 1 == n { end } else { f64::from(k) * step })
}

/// Scores of normal pixels by rank, 0 the highest, in the order of `ranks`.
fn order_statistics(scores: &Scores, ranks: &[u64]) -> Result<Vec<f32>, MetricError> {
    let mut order: Vec<usize> = (0..ranks.len()).collect();
    order.sort_unstable_by_key(|&index| ranks[index]);
    let mut groups = NormalGroups::new(scores);
    let (mut passed, mut score) = (0_u64, scores.range.0);
    let mut found = vec![score; ranks.len()];
    for index in order {
        while passed <= ranks[index]
            && let Some((key, count)) = groups.next()?
        {
            passed += count;
            score = score_of(key);
        }
        found[index] = score;
    }
    Ok(found)
}

/// The distinct scores of normal pixels, from the highest, each with its count.
pub(crate) struct NormalGroups<'a> {
    normal: super::levels::Cursor<'a, u16>,
    beside: super::levels::Cursor<'a, u16>,
}

impl<'a> NormalGroups<'a> {
    pub(crate) fn new(scores: &Scores<'a>) -> Self {
        NormalGroups { normal: scores.normal.cursor(), beside: scores.beside.cursor() }
    }

    pub(crate) fn next(&mut self) -> Result<Option<(u32, u64)>, MetricError> {
        let key = match (self.normal.peek()?, self.beside.peek()?) {
            (Some(one), Some(other)) => one.min(other),
            (Some(key), None) | (None, Some(key)) => key,
            (None, None) => return Ok(None),
        };
        let count = self.normal.count(key, true)? + self.beside.count(key, true)?;
        Ok(Some((key, count)))
    }
}
