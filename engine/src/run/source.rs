//! Images as a run sees them: a name, a path and the digest of the file's bytes, which is what keys stand on.

use std::path::{Path, PathBuf};

use loupe_datasets::surfaces::{self, Painted};

use super::RunError;
use crate::image::{self, N_WARPS, Rgb};
use crate::pipeline::model::Augment;

/// One image file, or what `augment` makes of it. `digest` is BLAKE3 of its bytes, and of the change.
#[derive(Clone, Debug)]
pub struct Image {
    pub name: String,
    pub path: PathBuf,
    pub digest: [u8; 32],
    pub change: Option<Change>,
}

/// How `augment` changes an image before a fit sees it.
#[derive(Clone, Copy, Debug)]
pub struct Change {
    /// BLAKE3 of the file's bytes.
    file: [u8; 32],
    how: How,
}

#[derive(Clone, Copy, Debug)]
enum How {
    Paint(Paint),
    /// Which of `mvfa-11`.
    Warp(usize),
}

#[derive(Clone, Copy, Debug)]
struct Paint {
    seed: u64,
    damaged: bool,
}

impl Image {
    /// Reads the file once for its digest.
    /// Errors: `ReadImage` if it cannot be read.
    pub fn open(name: &str, path: &Path) -> Result<Image, RunError> {
        let bytes = read(path)?;
        let digest = *blake3::hash(&bytes).as_bytes();
        Ok(Image { name: name.to_owned(), path: path.to_owned(), digest, change: None })
    }

    /// What a fit sees in the place of the image.
    pub fn augmented(&self, augment: &Augment) -> Vec<Image> {
        match augment {
            Augment::Painted { defects, seed } => self.painted(*defects, *seed),
            Augment::Mvfa11 => (0..N_WARPS).map(|index| self.warped(index)).collect(),
        }
    }

    /// The image as photographs taken again, every second one with a painted defect.
    fn painted(&self, n: usize, seed: u64) -> Vec<Image> {
        let one = |index: usize| {
            let digest = self.changed(&format!("painted/1 {seed} {index}"));
            // A seed of the contents: what is painted does not depend on what a file is called.
            let mut seed = [0; 8];
            seed.copy_from_slice(&digest[..8]);
            let paint = Paint { seed: u64::from_le_bytes(seed), damaged: index % 2 == 1 };
            self.with(index, digest, How::Paint(paint))
        };
        (0..n).map(one).collect()
    }

    /// The image turned, moved or mirrored once it is prepared.
    fn warped(&self, index: usize) -> Image {
        self.with(index, self.changed(&format!("mvfa-11/1 {index}")), How::Warp(index))
    }

    fn changed(&self, recipe: &str) -> [u8; 32] {
        *blake3::Hasher::new().update(recipe.as_bytes()).update(&self.digest).finalize().as_bytes()
    }

    fn with(&self, index: usize, digest: [u8; 32], how: How) -> Image {
        let change = Some(Change { file: self.digest, how });
        Image { name: format!("{}#{index}", self.name), digest, change, ..self.clone() }
    }

    /// Which of `mvfa-11` the prepared image is to be warped by.
    pub fn warp(&self) -> Option<usize> {
        match self.change?.how {
            How::Warp(index) => Some(index),
            How::Paint(_) => None,
        }
    }

    /// A defect is painted on it.
    pub fn is_damaged(&self) -> bool {
        self.paint().is_some_and(|paint| paint.damaged)
    }

    fn paint(&self) -> Option<Paint> {
        match self.change?.how {
            How::Paint(paint) => Some(paint),
            How::Warp(_) => None,
        }
    }

    /// Decodes the file, which must still hold the bytes that `digest` was taken of.
    /// Errors: `ReadImage`, `Image` if it is no image, `ImageChanged` if the file changed since.
    pub fn decode(&self) -> Result<Rgb, RunError> {
        let rgb = self.decode_file()?;
        let painted = self.paint().and_then(|paint| painted(&rgb, paint));
        Ok(match painted {
            Some(painted) => Rgb { pixels: painted.rgb, ..rgb },
            None => rgb,
        })
    }

    /// What `augment` painted: height, width, and 1 where a defect shows, 0 elsewhere.
    /// Errors: as `decode`.
    pub fn painted_mask(&self) -> Result<([usize; 2], Vec<f32>), RunError> {
        let rgb = self.decode_file()?;
        let mask = match self.paint().and_then(|paint| painted(&rgb, paint)) {
            Some(painted) => painted.mask.iter().map(|value| f32::from(*value) / 255.0).collect(),
            None => vec![0.0; rgb.height * rgb.width],
        };
        Ok(([rgb.height, rgb.width], mask))
    }

    fn decode_file(&self) -> Result<Rgb, RunError> {
        let bytes = read(&self.path)?;
        let digest = self.change.map_or(self.digest, |change| change.file);
        if *blake3::hash(&bytes).as_bytes() != digest {
            return Err(RunError::ImageChanged { path: self.path.clone() });
        }
        Ok(image::decode_rgb(&bytes, &self.path.display().to_string())?)
    }

    /// Height and width by the file's header, if it can be read.
    pub fn header_size(&self) -> Option<[usize; 2]> {
        header_size(&self.path)
    }

    /// Height and width in pixels. Errors: as `decode`.
    pub fn size(&self) -> Result<[usize; 2], RunError> {
        let rgb = self.decode()?;
        Ok([rgb.height, rgb.width])
    }
}

/// Height and width by a file's header, if it can be read.
pub fn header_size(path: &Path) -> Option<[usize; 2]> {
    let reader = ::image::ImageReader::open(path).ok()?.with_guessed_format().ok()?;
    let (width, height) = reader.into_dimensions().ok()?;
    Some([height as usize, width as usize])
}

fn painted(rgb: &Rgb, paint: Paint) -> Option<Painted> {
    surfaces::paint(&rgb.pixels, [rgb.height, rgb.width], paint.seed, paint.damaged)
}

fn read(path: &Path) -> Result<Vec<u8>, RunError> {
    std::fs::read(path).map_err(|source| RunError::ReadImage {
        path: path.to_owned(),
        message: source.to_string(),
    })
}

/// What a run needs of one class: its names, the references its fits see and the images under test.
#[derive(Clone, Debug, Default)]
pub struct ClassImages {
    pub name: String,
    pub display: String,
    pub synonyms: Vec<String>,
    pub references: Vec<Image>,
    pub anomalous_references: Vec<MaskedImage>,
    pub tests: Vec<Image>,
}

impl ClassImages {
    /// Normal ones, then anomalous ones.
    pub fn all_references(&self) -> impl Iterator<Item = &Image> {
        let anomalous = self.anomalous_references.iter().map(|reference| &reference.image);
        self.references.iter().chain(anomalous)
    }
}

/// An anomalous reference.
#[derive(Clone, Debug)]
pub struct MaskedImage {
    pub image: Image,
    /// File of its mask, if the data set has one.
    pub mask: Option<PathBuf>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::encode_png;

    fn references() -> (tempfile::TempDir, Image) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.png");
        let pixels: Vec<u8> = (0..48 * 32 * 3).map(|i| (90 + i * 7 % 50) as u8).collect();
        let rgb = Rgb { width: 48, height: 32, pixels, exif_rotated: false };
        std::fs::write(&path, encode_png(&rgb).unwrap()).unwrap();
        let image = Image::open("a", &path).unwrap();
        (folder, image)
    }

    #[test]
    fn every_second_painted_image_is_damaged_where_its_mask_says() {
        let (_folder, image) = references();
        let painted = image.augmented(&Augment::Painted { defects: 6, seed: 0 });
        let digests: std::collections::HashSet<_> = painted.iter().map(|one| one.digest).collect();
        assert_eq!(digests.len(), 6);
        for (index, one) in painted.iter().enumerate() {
            let (size, mask) = one.painted_mask().unwrap();
            assert_eq!((size, mask.len()), ([32, 48], 32 * 48));
            assert_eq!(mask.contains(&1.0), index % 2 == 1, "{index}");
            assert_ne!(one.decode().unwrap().pixels, image.decode().unwrap().pixels);
        }
        assert!(image.painted_mask().unwrap().1.iter().all(|value| *value == 0.0));
    }

    #[test]
    fn another_seed_paints_something_else_and_the_same_the_same() {
        let (_folder, image) = references();
        let painted = |seed| {
            let painted = image.augmented(&Augment::Painted { defects: 2, seed });
            painted[1].decode().unwrap()
        };
        assert_eq!(painted(0).pixels, painted(0).pixels);
        assert_ne!(painted(0).pixels, painted(1).pixels);
    }
}
