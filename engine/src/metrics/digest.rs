//! One image's pixels as the metrics keep them: laid apart by the upper half of their rank keys, the
//! normal ones apart from the others. Made for each image by itself, on any thread.

use std::ops::Range;

use super::MetricError;
use super::components::{Connectivity, Regions, Span, holes, label};
use super::levels::{Entry, Levels};
use super::protocol::AuproDefinition;

/// The rank key of a finite score: the smaller, the more anomalous. -0 and 0 have one key.
#[inline]
pub(crate) fn rank_key(score: f32) -> u32 {
    let bits = (score + 0.0).to_bits();
    let below_zero = (bits as i32 >> 31) as u32;
    !(bits ^ (below_zero | 0x8000_0000))
}

/// The score of a rank key.
pub(crate) fn score_of(key: u32) -> f32 {
    let ascending = !key;
    let positive = ascending >> 31 == 1;
    f32::from_bits(if positive { ascending & 0x7fff_ffff } else { !ascending })
}

/// Entries of an image, those with one upper half side by side.
pub(crate) struct Apart<E> {
    parts: Vec<(u16, u32)>,
    entries: Vec<E>,
}

impl<E: Entry> Apart<E> {
    pub(crate) fn add_to(&self, levels: &mut Levels<E>) -> Result<(), MetricError> {
        let mut rest = self.entries.as_slice();
        for &(upper, len) in &self.parts {
            let (entries, later) = rest.split_at_checked(len as usize).unwrap_or_default();
            levels.extend(upper, entries)?;
            rest = later;
        }
        Ok(())
    }
}

/// One image, ready to be counted.
pub struct Digest {
    pub(crate) n_regions: u64,
    pub(crate) n_regions_four: u64,
    /// The lowest and the highest score, if there is a pixel.
    pub(crate) range: Option<(f32, f32)>,
    pub(crate) normal: Apart<u16>,
    /// Anomalous pixels with the size of their region, 8- and 4-connected.
    pub(crate) anomalous: Apart<u64>,
    pub(crate) four: Apart<u64>,
    /// Pixels inside the holes of regions, with the region's size.
    pub(crate) holes: Apart<u64>,
    /// Rank keys of each region, ascending.
    pub(crate) regions: Vec<Vec<u32>>,
}

impl Digest {
    /// Shapes: `map [h * w]` and `mask [h * w]`, row-major, of one size.
    /// Errors: `NonFinitePixel` naming image and pixel, `Size`, `TooLarge`.
    pub(crate) fn new(
        image: &str,
        map: &[f32],
        mask: Option<&[bool]>,
        [height, width]: [usize; 2],
        wants: impl Fn(AuproDefinition) -> bool,
    ) -> Result<Self, MetricError> {
        check_size(image, map, mask, height, width)?;
        let (keys, range) = match keys(map) {
            Some((keys, range)) => (keys, Some(range)),
            None => match not_finite(image, map, width) {
                Some(error) => return Err(error),
                None => (Vec::new(), None),
            },
        };
        let labelled = |by| mask.map(|mask| label(mask, width, by)).unwrap_or_default();
        let regions = labelled(Connectivity::Eight);
        let four = match wants(AuproDefinition::Quantile500FourConn) {
            true => labelled(Connectivity::Four),
            false => Regions::default(),
        };
        let holes = match wants(AuproDefinition::SpadeFilled200) {
            true => holes(&regions),
            false => Vec::new(),
        };
        let mut of_regions = Vec::new();
        if wants(AuproDefinition::AnomalibOld) {
            of_regions.resize(regions.sizes.len(), Vec::new());
            for span in &regions.spans {
                let own = keys.get(flat(span, width)).unwrap_or_default();
                of_regions[span.region as usize].extend(own);
            }
            of_regions.iter_mut().for_each(|keys| keys.sort_unstable());
        }
        let span = range.unwrap_or_default();
        let lower = |key, _| key as u16;
        let normal = apart(&keys, span, &between(&regions.spans, width, keys.len()), lower);
        let sized = |spans: &[Span], sizes: &[u32]| {
            let record = |key, size| u64::from(key as u16) << 32 | u64::from(size);
            apart(&keys, span, &within(spans, sizes, width), record)
        };
        Ok(Digest {
            n_regions: regions.sizes.len() as u64,
            n_regions_four: four.sizes.len() as u64,
            range,
            normal,
            anomalous: sized(&regions.spans, &regions.sizes),
            four: sized(&four.spans, &four.sizes),
            holes: sized(&holes, &regions.sizes),
            regions: of_regions,
        })
    }
}

fn check_size(
    image: &str,
    map: &[f32],
    mask: Option<&[bool]>,
    height: usize,
    width: usize,
) -> Result<(), MetricError> {
    let limit = u64::from(u32::MAX);
    let want = match height.checked_mul(width) {
        Some(want) if want as u64 <= limit => want,
        _ => return Err(MetricError::TooLarge { image: image.to_string(), height, width, limit }),
    };
    let lengths = [("map", Some(map.len())), ("mask", mask.map(<[bool]>::len))];
    for (what, got) in lengths {
        if let Some(got) = got.filter(|&got| got != want) {
            let image = image.to_string();
            return Err(MetricError::Size { image, what, height, width, want, got });
        }
    }
    Ok(())
}

fn not_finite(image: &str, map: &[f32], width: usize) -> Option<MetricError> {
    let (at, &value) = map.iter().enumerate().find(|(_, score)| !score.is_finite())?;
    let (row, column) = (at / width, at % width);
    Some(MetricError::NonFinitePixel { image: image.to_string(), row, column, value })
}

/// Rank keys of a map, and its lowest and highest score; `None` if one is not finite, or there is none.
fn keys(map: &[f32]) -> Option<(Vec<u32>, (f32, f32))> {
    const LANES: usize = 16;
    let mut keys = vec![0; map.len()];
    let first = *map.first()?;
    // Zero times a number that is finite is zero, and nothing else is.
    let (mut low, mut high, mut nothing) = ([first; LANES], [first; LANES], [0.0; LANES]);
    let (lines, last_keys) = keys.as_chunks_mut::<LANES>();
    let (scores, last_scores) = map.as_chunks::<LANES>();
    for (line, scores) in lines.iter_mut().zip(scores) {
        for (lane, score) in scores.iter().copied().enumerate() {
            line[lane] = rank_key(score);
            low[lane] = if score < low[lane] { score } else { low[lane] };
            high[lane] = if score > high[lane] { score } else { high[lane] };
            nothing[lane] += score * 0.0;
        }
    }
    last_keys.iter_mut().zip(last_scores).for_each(|(key, score)| *key = rank_key(*score));
    let rest = last_scores.iter().copied();
    let is_finite = nothing.iter().all(|nothing| *nothing == 0.0);
    (is_finite && last_scores.iter().all(|score| score.is_finite())).then(|| {
        let low = low.into_iter().chain(rest.clone()).fold(first, f32::min);
        let high = high.into_iter().chain(rest).fold(first, f32::max);
        (keys, (low, high))
    })
}

/// Pixels in a row, and the size of the region that they belong to.
struct Pixels {
    at: Range<usize>,
    size: u32,
}

/// What lies before, between and behind the spans.
fn between(spans: &[Span], width: usize, end: usize) -> Vec<Pixels> {
    let mut at = 0;
    let mut gaps: Vec<Pixels> = Vec::with_capacity(spans.len() + 1);
    for span in spans {
        let pixels = flat(span, width);
        gaps.push(Pixels { at: at..pixels.start, size: 0 });
        at = pixels.end;
    }
    gaps.push(Pixels { at: at..end, size: 0 });
    gaps
}

fn within(regions: &[Span], sizes: &[u32], width: usize) -> Vec<Pixels> {
    let pixels = |span: &Span| Pixels { at: flat(span, width), size: sizes[span.region as usize] };
    regions.iter().map(pixels).collect()
}

/// Neighbours mostly have one upper half. Were there one place for it, each would wait for the one before
/// to have moved it on.
const STREAMS: usize = 4;

/// Counts the upper halves, then puts each entry behind its like.
fn apart<E: Copy + Default>(
    keys: &[u32],
    (lowest, highest): (f32, f32),
    pixels: &[Pixels],
    entry: impl Fn(u32, u32) -> E,
) -> Apart<E> {
    let (first, last) = (rank_key(highest) >> 16, rank_key(lowest) >> 16);
    let mut places = vec![[0_u32; STREAMS]; last.saturating_sub(first) as usize + 1];
    let each = |visit: &mut dyn FnMut(&[u32], u32)| {
        for pixels in pixels {
            visit(keys.get(pixels.at.clone()).unwrap_or_default(), pixels.size);
        }
    };
    let place = |key: u32| (key >> 16).wrapping_sub(first) as usize;
    each(&mut |keys, _| {
        let (fours, rest) = keys.as_chunks::<STREAMS>();
        for four in fours {
            for (stream, key) in four.iter().enumerate() {
                let count = &mut places[place(*key)][stream];
                *count = count.wrapping_add(1);
            }
        }
        rest.iter().for_each(|key| places[place(*key)][0] += 1);
    });
    let mut parts = Vec::new();
    let mut start = 0;
    for (upper, place) in (first..).zip(&mut places) {
        let len = place.iter().sum();
        for place in place.iter_mut() {
            (start, *place) = (start + *place, start);
        }
        if len > 0 {
            parts.push((upper as u16, len));
        }
    }
    let mut entries = vec![E::default(); start as usize];
    each(&mut |keys, size| {
        let (fours, rest) = keys.as_chunks::<STREAMS>();
        let mut put = |key: u32, stream: usize| {
            let to = &mut places[place(key)][stream];
            entries[*to as usize] = entry(key, size);
            *to = to.wrapping_add(1);
        };
        for four in fours {
            four.iter().enumerate().for_each(|(stream, key)| put(*key, stream));
        }
        rest.iter().for_each(|key| put(*key, 0));
    });
    Apart { parts, entries }
}

fn flat(span: &Span, width: usize) -> Range<usize> {
    let row = span.row as usize * width;
    row + span.start as usize..row + span.end as usize
}
