//! Slow definitions, written without sorting, spans or streaming, and the comparison with them.

use super::super::components::holes;
use super::*;

fn flatten(class: &Class, keep: impl Fn(usize) -> bool) -> Vec<(f64, bool)> {
    let images = (0..class.maps.len()).filter(|&image| keep(image));
    let pixels = images.flat_map(|image| {
        let labels = class.masks[image].iter().map(|&pixel| pixel != 0);
        class.maps[image].iter().map(|&score| f64::from(score)).zip(labels).collect::<Vec<_>>()
    });
    pixels.collect()
}

/// All pairs.
fn auroc(samples: &[(f64, bool)]) -> f64 {
    let (mut sum, mut pairs) = (0.0, 0.0);
    for (high, _) in samples.iter().filter(|sample| sample.1) {
        for (low, _) in samples.iter().filter(|sample| !sample.1) {
            pairs += 1.0;
            sum += if high > low {
                1.0
            } else if high == low {
                0.5
            } else {
                0.0
            };
        }
    }
    sum / pairs
}

fn thresholds(samples: &[(f64, bool)]) -> Vec<f64> {
    let mut levels: Vec<f64> = samples.iter().map(|sample| sample.0).collect();
    levels.sort_by(|one, other| other.total_cmp(one));
    levels.dedup();
    levels
}

/// (true positives, false positives) at each threshold.
fn confusion(samples: &[(f64, bool)]) -> Vec<(f64, f64)> {
    let count = |t: f64, label: bool| {
        samples.iter().filter(|sample| sample.0 >= t && sample.1 == label).count() as f64
    };
    thresholds(samples).into_iter().map(|t| (count(t, true), count(t, false))).collect()
}

fn ap_and_f1(samples: &[(f64, bool)]) -> (f64, f64) {
    let n = samples.iter().filter(|sample| sample.1).count() as f64;
    let (mut ap, mut f1, mut recall) = (0.0, 0.0_f64, 0.0);
    for (tp, fp) in confusion(samples) {
        ap += (tp / n - recall) * (tp / (tp + fp));
        recall = tp / n;
        f1 = f1.max(2.0 * tp / (tp + fp + n));
    }
    (ap, f1)
}

/// Recursive flood fill: lists of flat indices.
fn flood(mask: &[u8], width: usize, eight: bool) -> Vec<Vec<usize>> {
    let height = mask.len() / width;
    let mut seen = vec![false; mask.len()];
    let mut regions = Vec::new();
    for start in 0..mask.len() {
        let (mut stack, mut region) = (vec![start], Vec::new());
        while let Some(at) = stack.pop() {
            if mask[at] == 0 || seen[at] {
                continue;
            }
            seen[at] = true;
            region.push(at);
            let (row, column) = ((at / width) as i64, (at % width) as i64);
            for (dy, dx) in [(0, 1), (0, -1), (1, 0), (-1, 0), (1, 1), (1, -1), (-1, 1), (-1, -1)] {
                let (y, x) = (row + dy, column + dx);
                let inside = y >= 0 && x >= 0 && y < height as i64 && x < width as i64;
                if inside && (eight || dy == 0 || dx == 0) {
                    stack.push(y as usize * width + x as usize);
                }
            }
        }
        if !region.is_empty() {
            region.sort_unstable();
            regions.push(region);
        }
    }
    regions
}

/// Every distinct threshold of every pixel; the area as a sum of clipped trapezoids.
fn aupro(class: &Class, limit: f64) -> f64 {
    let samples = flatten(class, |_| true);
    let n_normal = samples.iter().filter(|sample| !sample.1).count() as f64;
    let regions: Vec<(usize, Vec<usize>)> = (0..class.maps.len())
        .flat_map(|image| {
            let found = flood(&class.masks[image], class.width, true);
            found.into_iter().map(move |region| (image, region))
        })
        .collect();
    let mut curve = vec![(0.0, 0.0)];
    for t in thresholds(&samples) {
        let fp = samples.iter().filter(|sample| sample.0 >= t && !sample.1).count() as f64;
        let overlap = |(image, region): &(usize, Vec<usize>)| {
            let map = &class.maps[*image];
            let hits = region.iter().filter(|&&at| f64::from(map[at]) >= t).count();
            hits as f64 / region.len() as f64
        };
        let pro = regions.iter().map(overlap).sum::<f64>() / regions.len() as f64;
        curve.push((fp / n_normal, pro));
    }
    let mut area = 0.0;
    for pair in curve.windows(2) {
        let ((x0, y0), (x1, y1)) = (pair[0], pair[1]);
        let end = x1.min(limit);
        if end > x0 {
            area += (end - x0) * (y0 + (y0 + (y1 - y0) * (end - x0) / (x1 - x0))) / 2.0;
        }
    }
    area / limit
}

#[test]
fn pixel_metrics_equal_the_slow_definitions() {
    for (seed, levels) in [(1, 8), (2, 40), (3, 100_000), (4, 2)] {
        let class = random_class(seed, 4, 13, 17, levels);
        let limits = [0.3, 0.05, 0.01, 1.0];
        let got = evaluate(&class, &limits);
        let samples = flatten(&class, |_| true);
        let only = flatten(&class, |image| class.masks[image].iter().any(|&pixel| pixel != 0));
        let (ap, f1) = ap_and_f1(&samples);
        assert_near(&got.auroc, auroc(&samples), 1e-12);
        assert_near(&got.ap, ap, 1e-12);
        assert_near(&got.f1max, f1, 1e-12);
        assert_near(&got.auroc_anomalous_only, auroc(&only), 1e-12);
        assert_near(&got.f1max_anomalous_only, ap_and_f1(&only).1, 1e-12);
        for (value, limit) in got.aupro.iter().zip(limits) {
            assert_near(value, aupro(&class, limit), 1e-12);
        }
    }
}

#[test]
fn regions_equal_a_flood_fill() {
    for seed in 0..40 {
        let mut numbers = Numbers(seed);
        let (height, width) = (1 + numbers.next(12) as usize, 1 + numbers.next(12) as usize);
        let density = 1 + numbers.next(9);
        let mask: Vec<u8> =
            (0..height * width).map(|_| u8::from(numbers.next(10) < density)).collect();
        for (connectivity, eight) in [(Connectivity::Four, false), (Connectivity::Eight, true)] {
            let got = label(&bools(&mask), width, connectivity);
            let mut pixels = vec![Vec::new(); got.sizes.len()];
            for span in &got.spans {
                let row = span.row as usize * width;
                let part = row + span.start as usize..row + span.end as usize;
                pixels[span.region as usize].extend(part);
            }
            assert_eq!(pixels, flood(&mask, width, eight));
            let sizes: Vec<u32> = pixels.iter().map(|region| region.len() as u32).collect();
            assert_eq!(got.sizes, sizes);
        }
    }
}

#[test]
fn a_hole_needs_a_wall_without_corner_gaps() {
    let mask = |rows: [&str; 5]| rows.concat().bytes().map(|c| c == b'#').collect();
    let count = |mask: Vec<bool>| {
        let spans = holes(&label(&mask, 6, Connectivity::Eight));
        spans.iter().map(|span| span.end - span.start).sum::<u32>()
    };
    assert_eq!(count(mask(["######", "#....#", "#....#", "######", "......"])), 8);
    assert_eq!(count(mask(["######", "#.##.#", "#....#", "######", "......"])), 6);
    // The corner at the lower right is open to a diagonal path.
    assert_eq!(count(mask(["######", "#....#", "#....#", "#####.", "......"])), 0);
}
