//! AUPRO of anomalib up to 2.2 (and of what imports it): a curve for each region, resampled by
//! index to one length, then averaged; the area is divided by where the averaged false positive
//! rate ends, which may lie under the limit, so the value can exceed 1.
//!
//! Each region's curve is drawn against all normal pixels, one point per distinct score. The
//! original resamples on the place of a point in its curve, not on its false positive rate, and
//! so does this.
//!
//! Deviations: f64 where the original has f32; no logistic function on scores outside 0..=1 (it
//! only merges scores that it saturates); no 1.2e-7 in the slopes' denominators; a region whose
//! first point over 0 lies beyond the limit has that point once.

use super::curve::Sum;
use super::legacy::{NormalGroups, Scores};
use super::{MetricError, Value};

/// Samples of the averaged curve computed at a time.
const BLOCK: usize = 1 << 14;

/// Distinct normal scores from the highest, up to the first whose rate exceeds the limit.
struct Background {
    keys: Vec<u32>,
    /// Normal pixels at or above each key.
    counts: Vec<u64>,
    n_normal: f64,
}

impl Background {
    fn collect(scores: &Scores, limit: f64) -> Result<Self, MetricError> {
        let n_normal = scores.n_normal as f64;
        let (mut keys, mut counts, mut count) = (Vec::new(), Vec::new(), 0);
        let mut groups = NormalGroups::new(scores);
        while let Some((key, n)) = groups.next()? {
            count += n;
            keys.push(key);
            counts.push(count);
            if count as f64 / n_normal > limit {
                break;
            }
        }
        Ok(Background { keys, counts, n_normal })
    }
}

/// One region's curve, walked forwards; point 0 is (0, 0).
struct Walk<'a> {
    background: &'a Background,
    region: &'a [u32],
    next_background: usize,
    next_region: usize,
    index: usize,
    before: (f64, f64),
    here: (f64, f64),
}

impl<'a> Walk<'a> {
    fn new(background: &'a Background, region: &'a [u32]) -> Self {
        let origin = (0.0, 0.0);
        Walk {
            background,
            region,
            next_background: 0,
            next_region: 0,
            index: 0,
            before: origin,
            here: origin,
        }
    }

    /// Steps to the next distinct score; false at the end of what is stored.
    fn step(&mut self) -> bool {
        let normal = self.background.keys.get(self.next_background).copied();
        let own = self.region.get(self.next_region).copied();
        let Some(key) = normal.into_iter().chain(own).min() else { return false };
        if normal == Some(key) {
            self.next_background += 1;
        }
        while self.region.get(self.next_region) == Some(&key) {
            self.next_region += 1;
        }
        let flagged = match self.next_background {
            0 => 0,
            passed => self.background.counts[passed - 1],
        };
        self.before = self.here;
        self.here = (
            flagged as f64 / self.background.n_normal,
            self.next_region as f64 / self.region.len() as f64,
        );
        self.index += 1;
        true
    }

    /// The curve at a fractional index, which never falls from call to call.
    fn at(&mut self, place: f64) -> (f64, f64) {
        while (self.index as f64) < place && self.step() {}
        if self.index == 0 {
            return self.here;
        }
        let part = place - (self.index - 1) as f64;
        let mix = |from: f64, to: f64| from + (to - from) * part;
        (mix(self.before.0, self.here.0), mix(self.before.1, self.here.1))
    }
}

/// The part of a region's curve under the limit: its last index, and the fractional index of its
/// last sample. `scale` samples of the averaged curve lie between the curve's two ends.
fn extent(background: &Background, region: &[u32], limit: f64) -> Option<(usize, Option<f64>)> {
    let mut walk = Walk::new(background, region);
    let (mut last, mut rate) = (0, 0.0);
    while walk.step() && walk.here.0 <= limit {
        (last, rate) = (walk.index, walk.here.0);
    }
    let close = (rate - limit).abs() <= 1e-8 + 1e-5 * limit;
    if close {
        return (last > 0).then_some((last, None));
    }
    // One point beyond the limit closes the curve, and the last sample lies at the limit.
    let (from, to) = (walk.before.0, walk.here.0);
    if to <= limit {
        return None;
    }
    let part = 1.0 - (to - limit) / (to - from);
    Some((walk.index, Some(part)))
}

/// Shapes: `regions` hold rank keys in ascending order. Undefined if fewer than two samples lie
/// under the limit.
pub(crate) fn anomalib_old(
    scores: &Scores,
    regions: &[Vec<u32>],
    limit: f64,
) -> Result<Value, MetricError> {
    let background = Background::collect(scores, limit)?;
    let n_samples = samples_under(scores, &background, limit)?;
    if n_samples < 2 {
        return Ok(Value::undefined("fewer than two thresholds lie under the limit"));
    }
    let span = (n_samples - 1) as f64;
    let mut walks = Vec::with_capacity(regions.len());
    let (mut end_rate, mut end_overlap) = (Sum::default(), Sum::default());
    for region in regions {
        let Some((last, part)) = extent(&background, region, limit) else {
            return Ok(Value::undefined("a region's curve has no point under the limit"));
        };
        // Where the last sample of this region is taken, as an index of its own curve.
        let end = part.map_or(last as f64, |part| (last - 1) as f64 + part);
        let (rate, overlap) = Walk::new(&background, region).at(end);
        end_rate.add(rate);
        end_overlap.add(overlap);
        walks.push((Walk::new(&background, region), last as f64 / span));
    }
    let n = regions.len() as f64;
    let end = (end_rate.get() / n, end_overlap.get() / n);
    Ok(Value::Number(area(&mut walks, n_samples - 1, end) / end.0))
}

/// Trapezoid area of the averaged samples, with the last sample `end` sorted into its place.
fn area(walks: &mut [(Walk, f64)], n_samples: usize, end: (f64, f64)) -> f64 {
    let n = walks.len() as f64;
    let mut area = Sum::default();
    let mut last = None;
    let mut placed = false;
    let mut point = |here: (f64, f64)| {
        if let Some((x, y)) = last {
            area.add((here.0 - x) * (y + here.1) * 0.5);
        }
        last = Some(here);
    };
    for start in (0..n_samples).step_by(BLOCK) {
        let mut block = vec![(0.0, 0.0); BLOCK.min(n_samples - start)];
        for (walk, scale) in walks.iter_mut() {
            for (offset, sums) in block.iter_mut().enumerate() {
                let (rate, overlap) = walk.at((start + offset) as f64 * *scale);
                sums.0 += rate;
                sums.1 += overlap;
            }
        }
        for (rate, overlap) in block {
            let here = (rate / n, overlap / n);
            if !placed && here.0 > end.0 {
                point(end);
                placed = true;
            }
            point(here);
        }
    }
    if !placed {
        point(end);
    }
    area.get()
}

/// Points of the curve over all pixels with a rate up to the limit, (0, 0) included.
fn samples_under(
    scores: &Scores,
    background: &Background,
    limit: f64,
) -> Result<usize, MetricError> {
    let mut anomalous = scores.anomalous.cursor();
    let mut points = 1;
    let mut beyond = None;
    for (&key, &count) in background.keys.iter().zip(&background.counts) {
        while anomalous.peek()?.is_some_and(|own| own < key) {
            anomalous.next_group()?;
            points += 1;
        }
        if count as f64 / background.n_normal > limit {
            beyond = Some(key);
            break;
        }
        anomalous.count(key, true)?;
        points += 1;
    }
    if beyond.is_none() {
        while anomalous.next_group()?.is_some() {
            points += 1;
        }
    }
    Ok(points)
}
