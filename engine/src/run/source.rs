//! Images as a run sees them: a name, a path and the digest of the file's bytes, which is what keys stand on.

use std::path::{Path, PathBuf};

use super::RunError;
use crate::image::{self, Rgb};

/// One image file. `digest` is BLAKE3 of its bytes.
#[derive(Clone, Debug)]
pub struct Image {
    pub name: String,
    pub path: PathBuf,
    pub digest: [u8; 32],
}

impl Image {
    /// Reads the file once for its digest.
    /// Errors: `ReadImage` if it cannot be read.
    pub fn open(name: &str, path: &Path) -> Result<Image, RunError> {
        let bytes = read(path)?;
        let digest = *blake3::hash(&bytes).as_bytes();
        Ok(Image { name: name.to_owned(), path: path.to_owned(), digest })
    }

    /// Decodes the file, which must still hold the bytes that `digest` was taken of.
    /// Errors: `ReadImage`, `Image` if it is no image, `ImageChanged` if the file changed since.
    pub fn decode(&self) -> Result<Rgb, RunError> {
        let bytes = read(&self.path)?;
        if *blake3::hash(&bytes).as_bytes() != self.digest {
            return Err(RunError::ImageChanged { path: self.path.clone() });
        }
        Ok(image::decode_rgb(&bytes, &self.path.display().to_string())?)
    }

    /// Height and width by the file's header, if it can be read.
    pub fn header_size(&self) -> Option<[usize; 2]> {
        let reader = ::image::ImageReader::open(&self.path).ok()?.with_guessed_format().ok()?;
        let (width, height) = reader.into_dimensions().ok()?;
        Some([height as usize, width as usize])
    }

    /// Height and width in pixels. Errors: as `decode`.
    pub fn size(&self) -> Result<[usize; 2], RunError> {
        let rgb = self.decode()?;
        Ok([rgb.height, rgb.width])
    }
}

fn read(path: &Path) -> Result<Vec<u8>, RunError> {
    std::fs::read(path).map_err(|source| RunError::ReadImage {
        path: path.to_owned(),
        message: source.to_string(),
    })
}

/// What a run needs of one class: its names, the references its fits see and the images under test.
#[derive(Clone, Debug)]
pub struct ClassImages {
    pub name: String,
    pub display: String,
    pub synonyms: Vec<String>,
    pub references: Vec<Image>,
    pub tests: Vec<Image>,
}
