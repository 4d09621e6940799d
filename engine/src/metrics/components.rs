//! Connected components of a mask, as horizontal spans: a mask is mostly background, so spans are
//! far fewer than pixels.

/// Which neighbours touch: sides only, or sides and corners.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Connectivity {
    Four,
    Eight,
}

/// Pixels `start..end` of `row`, all of one region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    pub row: u32,
    pub start: u32,
    pub end: u32,
    pub region: u32,
}

/// `spans` in raster order; `sizes[region]` in pixels. Regions are numbered by their first pixel.
#[derive(Clone, Debug, Default)]
pub struct Regions {
    pub spans: Vec<Span>,
    pub sizes: Vec<u32>,
}

/// Labels the set pixels of `mask`. Shape: `[h * w]`, row-major, rows of `width`.
pub fn label(mask: &[bool], width: usize, connectivity: Connectivity) -> Regions {
    let reach = if connectivity == Connectivity::Eight { 1 } else { 0 };
    let mut spans = Vec::new();
    let mut parents = Vec::new();
    let mut above = 0..0;
    for (row, pixels) in mask.chunks(width.max(1)).enumerate() {
        let first = spans.len();
        find_spans(row as u32, pixels, &mut spans);
        parents.extend(first as u32..spans.len() as u32);
        let (mut upper, mut lower) = (above.start, first);
        while upper < above.end && lower < spans.len() {
            let (one, other): (Span, Span) = (spans[upper], spans[lower]);
            if one.start < other.end + reach && other.start < one.end + reach {
                join(&mut parents, upper as u32, lower as u32);
            }
            if one.end < other.end { upper += 1 } else { lower += 1 }
        }
        above = first..spans.len();
    }
    number(spans, &mut parents)
}

/// The pixels inside each region's holes, the region's number with each span. A hole is background
/// that no 8-connected path joins with the outside of the region; regions inside belong to it.
pub fn holes(regions: &Regions) -> Vec<Span> {
    let mut boxes = vec![(u32::MAX, 0_u32, u32::MAX, 0_u32); regions.sizes.len()];
    let mut members: Vec<Vec<Span>> = vec![Vec::new(); regions.sizes.len()];
    for span in &regions.spans {
        let bounds = &mut boxes[span.region as usize];
        *bounds = (
            bounds.0.min(span.row),
            bounds.1.max(span.row + 1),
            bounds.2.min(span.start),
            bounds.3.max(span.end),
        );
        members[span.region as usize].push(*span);
    }
    let mut found = Vec::new();
    for (region, (bounds, spans)) in boxes.iter().zip(&members).enumerate() {
        let &(top, bottom, left, right) = bounds;
        let (height, width) = ((bottom - top) as usize, (right - left) as usize);
        if height * width == regions.sizes[region] as usize {
            continue;
        }
        // One pixel of outside on every side joins all that is not a hole.
        let stride = width + 2;
        let mut background = vec![true; (height + 2) * stride];
        for span in spans {
            let row = (span.row - top) as usize + 1;
            let start = row * stride + (span.start - left) as usize + 1;
            background[start..start + (span.end - span.start) as usize].fill(false);
        }
        // The outside holds the first pixel, so it is region 0.
        let parts = label(&background, stride, Connectivity::Eight);
        found.extend(parts.spans.iter().filter(|span| span.region != 0).map(|span| Span {
            row: span.row - 1 + top,
            start: span.start - 1 + left,
            end: span.end - 1 + left,
            region: region as u32,
        }));
    }
    found
}

fn find_spans(row: u32, pixels: &[bool], spans: &mut Vec<Span>) {
    let mut at = 0;
    while let Some(skip) = first(&pixels[at..], true) {
        let start = at + skip;
        let end = first(&pixels[start..], false).map_or(pixels.len(), |len| start + len);
        spans.push(Span { row, start: start as u32, end: end as u32, region: 0 });
        at = end;
    }
}

/// Place of the first pixel that is `wanted`; blocks that have none are passed at once.
fn first(pixels: &[bool], wanted: bool) -> Option<usize> {
    const BLOCK: usize = 32;
    let blocks = pixels.as_chunks::<BLOCK>().0.iter();
    let lacks = |block: &&[bool; BLOCK]| !block.iter().fold(false, |any, p| any | (*p == wanted));
    let passed = blocks.take_while(lacks).count() * BLOCK;
    pixels[passed..].iter().position(|pixel| *pixel == wanted).map(|place| passed + place)
}

fn find(parents: &mut [u32], mut node: u32) -> u32 {
    while parents[node as usize] != node {
        parents[node as usize] = parents[parents[node as usize] as usize];
        node = parents[node as usize];
    }
    node
}

/// The lower number stays the root, so a root is its region's first span.
fn join(parents: &mut [u32], one: u32, other: u32) {
    let (one, other) = (find(parents, one), find(parents, other));
    let (low, high) = (one.min(other), one.max(other));
    parents[high as usize] = low;
}

fn number(mut spans: Vec<Span>, parents: &mut [u32]) -> Regions {
    let mut sizes = Vec::new();
    let mut names = vec![0_u32; spans.len()];
    for index in 0..spans.len() {
        let root = find(parents, index as u32) as usize;
        if root == index {
            names[index] = sizes.len() as u32;
            sizes.push(0);
        }
        let span = &mut spans[index];
        span.region = names[root];
        sizes[span.region as usize] += span.end - span.start;
    }
    Regions { spans, sizes }
}
