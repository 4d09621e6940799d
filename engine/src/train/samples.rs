//! What a class learns from: its references, normal and anomalous, each as `augment` makes it.

use std::path::Path;

use super::{Target, TrainError};
use crate::image::{decode_mask, warped};
use crate::pipeline::model::Augment;
use crate::run::{ClassImages, Image};

/// One picture to learn from.
#[derive(Clone, Debug)]
pub struct Sample {
    pub image: Image,
    pub anomalous: bool,
    /// `[size, size]`, true where it is anomalous; `None` where the class has no masks.
    pub mask: Option<Vec<bool>>,
}

impl Sample {
    /// What is known of it, at the side of the prepared images.
    pub fn target(&self, size: usize) -> Target<'_> {
        Target { anomalous: self.anomalous, mask: self.mask.as_deref(), size }
    }
}

/// Anomalous references first, then normal ones, each with all that `augment` makes of it.
/// Errors: a mask that cannot be read or decoded.
pub fn samples(
    class: &ClassImages,
    augment: Option<&Augment>,
    size: usize,
    mask_above: u8,
) -> Result<Vec<Sample>, TrainError> {
    // A class whose anomalous images have no masks has none at all: a missing mask is unknown, not empty.
    let masked = class.anomalous_references.iter().all(|reference| reference.mask.is_some());
    let mut samples = Vec::new();
    for reference in &class.anomalous_references {
        let mask = reference.mask.as_deref().filter(|_| masked);
        let mask = mask.map(|path| small_mask(path, size, mask_above)).transpose()?;
        for image in augmented(&reference.image, augment) {
            let mask = mask.as_ref().map(|mask| warped_mask(mask, size, &image));
            samples.push(Sample { image, anomalous: true, mask });
        }
    }
    let clean = masked.then(|| vec![false; size * size]);
    for reference in &class.references {
        for image in augmented(reference, augment) {
            samples.push(Sample { image, anomalous: false, mask: clean.clone() });
        }
    }
    Ok(samples)
}

/// The order of one epoch's samples: a permutation that the run's seed and the epoch decide.
pub fn order(n: usize, seed: u64, epoch: usize) -> Vec<usize> {
    let rank =
        |idx: &usize| *blake3::hash(format!("order/1 {seed} {epoch} {idx}").as_bytes()).as_bytes();
    let mut order: Vec<usize> = (0..n).collect();
    order.sort_by_cached_key(rank);
    order
}

fn augmented(image: &Image, augment: Option<&Augment>) -> Vec<Image> {
    augment.map_or_else(|| vec![image.clone()], |augment| image.augmented(augment))
}

/// The mask at the image's size by Pillow's nearest pixel, 0 and 1.
fn small_mask(path: &Path, size: usize, mask_above: u8) -> Result<Vec<f32>, TrainError> {
    let bytes = std::fs::read(path).map_err(|source| TrainError::Read {
        path: path.to_owned(),
        message: source.to_string(),
    })?;
    let mask = decode_mask(&bytes, &path.display().to_string(), mask_above)?;
    let nearest = |i: usize, n: usize| ((2 * i + 1) * n / (2 * size)).min(n.saturating_sub(1));
    let pixel = |i: usize| {
        let at = nearest(i / size, mask.height) * mask.width + nearest(i % size, mask.width);
        mask.pixels.get(at).copied().unwrap_or_default()
    };
    Ok((0..size * size).map(|i| f32::from(u8::from(pixel(i)))).collect())
}

fn warped_mask(mask: &[f32], size: usize, image: &Image) -> Vec<bool> {
    let mask = match image.warp() {
        Some(index) => warped(mask, [1, size, size], index),
        None => mask.to_vec(),
    };
    mask.iter().map(|value| *value > 0.5).collect()
}
