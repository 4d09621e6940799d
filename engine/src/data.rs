//! Step 2 of the walk: a folder becomes classes of images with references chosen.

use std::path::{Path, PathBuf};

use loupe_datasets::{Class, Dataset, DatasetError, Layout, Sample, Select};
use rayon::prelude::*;
use thiserror::Error;

use crate::pipeline::model::{Compat, Data, References};
use crate::run::{ClassImages, Image, MaskedImage, RunError};

#[derive(Debug, Error)]
pub enum DataError {
    #[error(transparent)]
    Dataset(#[from] DatasetError),
    #[error(transparent)]
    Image(#[from] RunError),
    #[error(
        "references are chosen by `seeded`, `first`, `torch`, `torch-lmfa` or `manifest`, got `{got}`"
    )]
    Select { got: String },
    #[error("`select = \"manifest\"` wants `manifest`, the path of the list")]
    NoManifest,
}

/// Opens the data set that a pipeline names.
pub fn open(data: &Data) -> Result<Dataset, DataError> {
    let layout = Layout::find(&data.dataset)?;
    Ok(Dataset::open(&data.root, &layout, data.classes.as_deref(), data.mask_above)?)
}

/// Whether the references of all classes can be chosen; none is opened.
pub fn has_references(dataset: &Dataset, references: &References) -> Result<(), DataError> {
    let References { shots, anomalous, seed, .. } = *references;
    let how = how(references)?;
    dataset.classes.iter().try_for_each(|class| {
        class.references(shots, anomalous, seed, &how)?;
        Ok(())
    })
}

/// Images of one class with its references, and the samples under test in the same order: all that are
/// no references, and these too where `compat` says so.
pub fn class_images(
    class: &Class,
    references: &References,
    compat: Compat,
) -> Result<(ClassImages, Vec<Sample>), DataError> {
    let References { shots, anomalous, seed, .. } = *references;
    let chosen = class.references(shots, anomalous, seed, &how(references)?)?;
    let tests: Vec<Sample> = match compat.test_learned {
        true => class.test.clone(),
        false => class.tests(&chosen).into_iter().cloned().collect(),
    };
    let masked = |sample: &Sample| {
        Ok(MaskedImage { image: open_sample(sample)?, mask: sample.mask.clone() })
    };
    let images = ClassImages {
        name: class.name.clone(),
        display: class.display.clone(),
        synonyms: class.synonyms.clone(),
        references: chosen.normal.iter().map(open_sample).collect::<Result<_, _>>()?,
        anomalous_references: chosen
            .anomalous
            .iter()
            .map(masked)
            .collect::<Result<_, RunError>>()?,
        // Of several that cannot be read the first is named.
        tests: tests
            .par_iter()
            .map(open_sample)
            .collect::<Vec<_>>()
            .into_iter()
            .collect::<Result<_, _>>()?,
    };
    Ok((images, tests))
}

/// All test images of a class as references of their kinds: what training on another data set sees.
pub fn as_references(class: &Class) -> Result<ClassImages, DataError> {
    let (mut references, mut anomalous_references) = (Vec::new(), Vec::new());
    for sample in &class.test {
        let image = open_sample(sample)?;
        match sample.anomalous {
            true => anomalous_references.push(MaskedImage { image, mask: sample.mask.clone() }),
            false => references.push(image),
        }
    }
    Ok(ClassImages {
        name: class.name.clone(),
        display: class.display.clone(),
        synonyms: class.synonyms.clone(),
        references,
        anomalous_references,
        tests: Vec::new(),
    })
}

fn open_sample(sample: &Sample) -> Result<Image, RunError> {
    Image::open(&sample.name, &sample.path)
}

fn how(references: &References) -> Result<Select, DataError> {
    Ok(match references.select.as_str() {
        "seeded" => Select::Seeded,
        "first" => Select::First,
        "torch" => Select::Torch,
        "torch-lmfa" => Select::TorchLmfa,
        "manifest" => Select::Manifest(references.manifest.clone().ok_or(DataError::NoManifest)?),
        other => return Err(DataError::Select { got: other.to_owned() }),
    })
}

/// Images named on the command line: files as they are, folders by their images, sorted.
/// Errors: a path that is neither.
pub fn list_images(path: &Path) -> Result<Vec<PathBuf>, RunError> {
    let fail = |source: std::io::Error| RunError::ReadImage {
        path: path.to_owned(),
        message: source.to_string(),
    };
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let entries = std::fs::read_dir(path).map_err(fail)?;
    let mut images = Vec::new();
    for entry in entries {
        let file = entry.map_err(fail)?.path();
        let extension = file.extension().map(|ending| ending.to_string_lossy().to_lowercase());
        if extension.is_some_and(|ending| IMAGE_ENDINGS.contains(&ending.as_str())) {
            images.push(file);
        }
    }
    images.sort();
    Ok(images)
}

const IMAGE_ENDINGS: [&str; 7] = ["png", "jpg", "jpeg", "tif", "tiff", "bmp", "jfif"];
