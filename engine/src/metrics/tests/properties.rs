//! What must not change a metric: monotone transforms, order, sharding, spilling.

use super::super::digest::{rank_key, score_of};
use super::super::levels::Levels;
use super::*;

fn exact(metrics: &PixelMetrics) -> Vec<Value> {
    let mut values = vec![
        metrics.auroc.clone(),
        metrics.ap.clone(),
        metrics.f1max.clone(),
        metrics.auroc_anomalous_only.clone(),
        metrics.f1max_anomalous_only.clone(),
    ];
    values.extend(metrics.aupro.iter().cloned());
    values
}

#[test]
fn strictly_increasing_transforms_change_nothing() {
    let class = random_class(11, 5, 16, 15, 300);
    let want = exact(&evaluate(&class, &[0.3, 0.05]));
    let mut levels: Vec<f32> = class.maps.iter().flatten().copied().collect();
    levels.sort_by(f32::total_cmp);
    levels.dedup();
    let rank = |score: f32| levels.partition_point(|&level| level < score) as f32;
    let transforms: [&dyn Fn(f32) -> f32; 3] =
        [&|score| (score * 20.0).exp(), &|score| score * 4.0 - 1024.0, &rank];
    for transform in transforms {
        let mut other = class.clone();
        other.maps.iter_mut().flatten().for_each(|score| *score = transform(*score));
        assert_eq!(exact(&evaluate(&other, &[0.3, 0.05])), want);
    }
}

#[test]
fn order_and_spilling_give_the_same_bits() {
    // 18 x 20,000 pixels: several times what the small budget holds, and parts that are counted.
    for levels in [1 << 20, 3] {
        let class = random_class(12, 18, 100, 200, levels);
        let order: Vec<usize> = (0..18).collect();
        let limits = [0.3, 0.05];
        let want = accumulate(&class, &order, &options(&limits, 64 << 20)).finish().unwrap();
        let mut reversed = order.clone();
        reversed.reverse();
        let small = accumulate(&class, &reversed, &options(&limits, 1));
        assert_eq!(small.finish().unwrap(), want);
    }
}

#[test]
fn image_metrics_do_not_depend_on_order_or_scale() {
    let mut numbers = Numbers(3);
    let samples: Vec<(f64, bool)> =
        (0..300).map(|_| (numbers.next(40) as f64, numbers.next(4) == 0)).collect();
    let want = image(&samples);
    let mut reversed = samples.clone();
    reversed.reverse();
    assert_eq!(image(&reversed), want);
    let scaled: Vec<(f64, bool)> =
        samples.iter().map(|sample| ((sample.0 / 9.0).exp(), sample.1)).collect();
    let got = image(&scaled);
    assert_eq!((got.auroc, got.ap, got.f1max), (want.auroc, want.ap, want.f1max));
}

#[test]
fn rank_keys_order_scores_and_return_them() {
    let scores = [f32::MAX, 2.5, 1.0, f32::MIN_POSITIVE, 1e-45, 0.0, -1e-45, -1.0, -2.5, f32::MIN];
    for pair in scores.windows(2) {
        assert!(rank_key(pair[0]) < rank_key(pair[1]));
    }
    for score in scores {
        assert_eq!(score_of(rank_key(score)), score);
    }
    assert_eq!(rank_key(-0.0), rank_key(0.0));
}

#[test]
fn a_store_gives_back_in_order_what_came_in_any() {
    let mut numbers = Numbers(8);
    for (below, budget) in [(1 << 31, 1 << 20), (1 << 17, 1 << 30), (1 << 17, 1), (1, 1), (5, 1)] {
        let mut keys: Vec<u32> = (0..100_000).map(|_| numbers.next(below) as u32).collect();
        let (mut counted, mut listed) = (Levels::<u16>::new(budget), Levels::<u64>::new(budget));
        for key in &keys {
            counted.extend((key >> 16) as u16, &[*key as u16]).unwrap();
            listed.extend((key >> 16) as u16, &[u64::from(key & 0xffff) << 32 | 7]).unwrap();
        }
        keys.sort_unstable();
        let (mut one, mut other) = (counted.cursor(), listed.cursor());
        for equal in keys.chunk_by(|one, other| one == other) {
            let want = Some((equal[0], equal.len() as u64));
            assert_eq!(one.next_group().unwrap(), want);
            assert_eq!(other.next_group().unwrap(), want);
        }
        assert_eq!(one.next_group().unwrap(), None);
        assert_eq!(listed.cursor().count(u32::MAX, true).unwrap(), 100_000);
    }
}
