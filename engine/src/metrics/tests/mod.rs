//! Shared by the tests: pushing maps, comparing values, the recorded maps and slow references.

mod cases;
mod golden;
mod properties;
mod reference;

use super::*;

/// Maps of one class, all of one size.
#[derive(Clone)]
struct Class {
    maps: Vec<Vec<f32>>,
    masks: Vec<Vec<u8>>,
    height: usize,
    width: usize,
}

const ALL: [AuproDefinition; 5] = [
    AuproDefinition::Cflow200,
    AuproDefinition::SpadeFilled200,
    AuproDefinition::Quantile500FourConn,
    AuproDefinition::Quantile200,
    AuproDefinition::AnomalibOld,
];

fn options(limits: &[f64], budget_bytes: usize) -> PixelOptions {
    PixelOptions { limits: limits.to_vec(), definitions: ALL.to_vec(), budget_bytes }
}

fn bools(mask: &[u8]) -> Vec<bool> {
    mask.iter().map(|&pixel| pixel != 0).collect()
}

fn accumulate(class: &Class, order: &[usize], options: &PixelOptions) -> PixelAccumulator {
    let mut pixels = PixelAccumulator::new(options.clone()).unwrap();
    for &image in order {
        let mask = bools(&class.masks[image]);
        let mask = mask.contains(&true).then_some(mask.as_slice());
        let map = &class.maps[image];
        let hw = [class.height, class.width];
        let digest = pixels.digest(&format!("{image}"), map, mask, hw).unwrap();
        pixels.push(digest).unwrap();
    }
    pixels
}

fn evaluate(class: &Class, limits: &[f64]) -> PixelMetrics {
    let order: Vec<usize> = (0..class.maps.len()).collect();
    accumulate(class, &order, &options(limits, 64 << 20)).finish().unwrap()
}

fn image(samples: &[(f64, bool)]) -> ImageMetrics {
    let mut scores = ImageScores::new();
    for (index, &(score, anomalous)) in samples.iter().enumerate() {
        scores.push(&format!("{index}"), score, anomalous).unwrap();
    }
    scores.metrics()
}

fn near(got: &Value, want: f64, tolerance: f64) -> bool {
    got.get().is_some_and(|got| (got - want).abs() <= tolerance)
}

#[track_caller]
fn assert_near(got: &Value, want: f64, tolerance: f64) {
    assert!(near(got, want, tolerance), "got {got:?}, want {want} within {tolerance}");
}

/// A small generator of its own, so that cases are the same everywhere.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self, below: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % below
    }
}

/// Random blobs, dots and diagonals; scores with ties.
fn random_class(seed: u64, n_images: usize, height: usize, width: usize, levels: u64) -> Class {
    let mut numbers = Numbers(seed);
    let (mut maps, mut masks) = (Vec::new(), Vec::new());
    for image in 0..n_images {
        let mut mask = vec![0_u8; height * width];
        for _ in 0..(if image % 3 == 2 { 0 } else { 3 }) {
            let (top, left) = (numbers.next(height as u64), numbers.next(width as u64));
            let (tall, wide) = (1 + numbers.next(5), 1 + numbers.next(5));
            for row in top..(top + tall).min(height as u64) {
                for column in left..(left + wide).min(width as u64) {
                    mask[row as usize * width + column as usize] = u8::from(numbers.next(5) > 0);
                }
            }
        }
        let score = |&pixel: &u8| {
            let level = numbers.next(levels) + u64::from(pixel) * levels / 3;
            level as f32 / levels as f32 - 0.5
        };
        maps.push(mask.iter().map(score).collect());
        masks.push(mask);
    }
    Class { maps, masks, height, width }
}
