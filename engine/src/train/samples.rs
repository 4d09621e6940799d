//! What a class learns from: its references, normal and anomalous, each as `augment` makes it, but for those
//! that are held out.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;

use loupe_kernels::{KernelError, antialias_bilinear, serial};

use super::{Target, TrainError};
use crate::image::{ImageError, Mask, decode_mask, warped};
use crate::pipeline::model::{Augment, MaskFilter, Train};
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

/// The samples of a class.
#[derive(Clone, Debug, Default)]
pub struct Samples {
    pub learned: Vec<Sample>,
    /// Each as it is: no form of it is learned from.
    pub held_out: Vec<Sample>,
}

/// Digests of images.
pub type Digests = HashSet<[u8; 32]>;

/// Chooses a share of the normal references and of the anomalous ones of all these classes, one of each
/// at least: the first by a rank that `seed` and an image's contents decide. Copies of an image go together.
/// Errors: `HeldOut` where there is one image alone to learn from and to hold out.
pub fn held_out<'c>(
    classes: impl Iterator<Item = &'c ClassImages>,
    share: f64,
    seed: u64,
) -> Result<Digests, TrainError> {
    let rank = |image: &Image| {
        let domain = format!("held-out/1 {seed} ");
        *blake3::Hasher::new().update(domain.as_bytes()).update(&image.digest).finalize().as_bytes()
    };
    let mut kinds = [("normal", BTreeMap::new()), ("anomalous", BTreeMap::new())];
    for class in classes {
        let anomalous = class.anomalous_references.iter().map(|reference| &reference.image);
        kinds[0].1.extend(class.references.iter().map(|image| (rank(image), image.digest)));
        kinds[1].1.extend(anomalous.map(|image| (rank(image), image.digest)));
    }
    let mut chosen = Digests::new();
    for (kind, ranked) in kinds {
        match ranked.len() {
            0 => {}
            1 => return Err(TrainError::HeldOut { kind }),
            n => {
                let n_held_out = ((share * n as f64).round() as usize).clamp(1, n - 1);
                chosen.extend(ranked.into_values().take(n_held_out));
            }
        }
    }
    Ok(chosen)
}

/// Anomalous references first, then normal ones, each with all that `augment` makes of it. A painted defect
/// is one to learn from; an anomalous reference is not painted, since nobody knows where its own defect would
/// come to lie.
/// Errors: a mask that cannot be read or decoded.
pub fn samples(
    class: &ClassImages,
    train: &Train,
    held_out: &Digests,
    size: usize,
    mask_above: u8,
) -> Result<Samples, TrainError> {
    // A class whose anomalous images have no masks has none at all: a missing mask is unknown, not empty.
    let masked = class.anomalous_references.iter().all(|reference| reference.mask.is_some());
    let augment = train.augment.as_ref();
    let mut samples = Samples::default();
    let anomalous_augment = augment.filter(|augment| matches!(augment, Augment::Mvfa11));
    for reference in &class.anomalous_references {
        let mask = reference.mask.as_deref().filter(|_| masked);
        let mask = mask.map(|path| small_mask(path, train.masks, size, mask_above)).transpose()?;
        let (to, images) = samples.forms(&reference.image, anomalous_augment, held_out);
        for image in images {
            let mask = mask.as_ref().map(|mask| warped_mask(mask, size, &image));
            to.push(Sample { image, anomalous: true, mask });
        }
    }
    for reference in &class.references {
        let (to, images) = samples.forms(reference, augment, held_out);
        for image in images {
            let mask = match image.is_damaged() {
                true => painted_mask(&image, train.masks, size)?,
                false => vec![false; size * size],
            };
            // A picture too small to be painted has no defect.
            let anomalous = mask.contains(&true);
            to.push(Sample { image, anomalous, mask: masked.then_some(mask) });
        }
    }
    Ok(samples)
}

impl Samples {
    /// Where a reference goes, and as what.
    fn forms(
        &mut self,
        image: &Image,
        augment: Option<&Augment>,
        held_out: &Digests,
    ) -> (&mut Vec<Sample>, Vec<Image>) {
        match (held_out.contains(&image.digest), augment) {
            (true, _) => (&mut self.held_out, vec![image.clone()]),
            (false, Some(augment)) => (&mut self.learned, image.augmented(augment)),
            (false, None) => (&mut self.learned, vec![image.clone()]),
        }
    }
}

/// The order of one epoch's samples: a permutation that the run's seed and the epoch decide.
pub fn order(n: usize, seed: u64, epoch: usize) -> Vec<usize> {
    let rank =
        |idx: &usize| *blake3::hash(format!("order/1 {seed} {epoch} {idx}").as_bytes()).as_bytes();
    let mut order: Vec<usize> = (0..n).collect();
    order.sort_by_cached_key(rank);
    order
}

/// The mask at the image's size, 0 to 1.
fn small_mask(
    path: &Path,
    filter: MaskFilter,
    size: usize,
    mask_above: u8,
) -> Result<Vec<f32>, TrainError> {
    let broken = |message: String| TrainError::Read { path: path.to_owned(), message };
    let bytes = std::fs::read(path).map_err(|source| broken(source.to_string()))?;
    let mask = decode_mask(&bytes, &path.display().to_string(), mask_above)?;
    resized(&mask, filter, size).map_err(|error| broken(error.to_string()))
}

/// What `augment` painted, at the image's size.
fn painted_mask(image: &Image, filter: MaskFilter, size: usize) -> Result<Vec<bool>, TrainError> {
    let ([height, width], pixels) = image.painted_mask()?;
    let mask = Mask { width, height, pixels: pixels.iter().map(|value| *value > 0.5).collect() };
    let mask = resized(&mask, filter, size).map_err(ImageError::from)?;
    Ok(mask.iter().map(|value| *value > 0.5).collect())
}

fn resized(mask: &Mask, filter: MaskFilter, size: usize) -> Result<Vec<f32>, KernelError> {
    let Mask { width, height, pixels } = mask;
    match filter {
        MaskFilter::Nearest => Ok(nearest(mask, size)),
        MaskFilter::Smooth => {
            let pixels: Vec<f32> = pixels.iter().map(|pixel| f32::from(u8::from(*pixel))).collect();
            antialias_bilinear(&pixels, [1, *height, *width], [size, size], &serial)
        }
    }
}

/// By Pillow's nearest pixel, 0 and 1.
fn nearest(mask: &Mask, size: usize) -> Vec<f32> {
    let source = |i: usize, n: usize| ((2 * i + 1) * n / (2 * size)).min(n.saturating_sub(1));
    let pixel = |i: usize| {
        let at = source(i / size, mask.height) * mask.width + source(i % size, mask.width);
        mask.pixels.get(at).copied().unwrap_or_default()
    };
    (0..size * size).map(|i| f32::from(u8::from(pixel(i)))).collect()
}

fn warped_mask(mask: &[f32], size: usize, image: &Image) -> Vec<bool> {
    let mask = match image.warp() {
        Some(index) => warped(mask, [1, size, size], index),
        None => mask.to_vec(),
    };
    mask.iter().map(|value| *value > 0.5).collect()
}

#[cfg(test)]
#[path = "samples_tests.rs"]
mod tests;
