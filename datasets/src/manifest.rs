//! Manifests of references: a JSON list with content hashes, and the plain lists of MVFA.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::check::digest;
use crate::dataset::Sample;
use crate::error::DatasetError;
use crate::files::read_text;
use crate::references::References;
use crate::seed_file::SeedFile;

const SCHEMA: u32 = 1;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Manifest {
    schema: u32,
    class: String,
    /// Normal references.
    images: Vec<Image>,
    /// Anomalous references.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    anomalous: Vec<Image>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Image {
    name: String,
    blake3: String,
}

/// Writes the references of a class as a manifest that [`crate::select`] reads back.
///
/// Errors: `Read` for an image, `Write` for the manifest.
pub fn write_manifest(
    path: &Path,
    class: &str,
    references: &References,
) -> Result<(), DatasetError> {
    let listed = |samples: &[Sample]| -> Result<Vec<Image>, DatasetError> {
        let image = |sample: &Sample| {
            Ok(Image { name: sample.name.clone(), blake3: hex(&digest(&sample.path)?) })
        };
        samples.iter().map(image).collect()
    };
    let manifest = Manifest {
        schema: SCHEMA,
        class: class.to_owned(),
        images: listed(&references.normal)?,
        anomalous: listed(&references.anomalous)?,
    };
    let mut text =
        serde_json::to_string_pretty(&manifest).map_err(|error| bad(path, error.to_string()))?;
    text.push('\n');
    std::fs::write(path, text)
        .map_err(|source| DatasetError::Write { path: path.to_owned(), source })
}

/// Indices of the first `shots` images of a manifest, found by name and checked by content; the
/// pool says whether its normal or its anomalous images are meant.
pub(crate) fn listed(
    pool: &[Sample],
    shots: usize,
    seed: u64,
    path: &Path,
) -> Result<Vec<usize>, DatasetError> {
    let text = read_text(path)?;
    let anomalous = pool.first().is_some_and(|sample| sample.anomalous);
    let images: Listed = if text.trim_start().starts_with('{') {
        parse_json(path, &text, anomalous)?
    } else {
        let file = SeedFile::parse(path, &text)?;
        file.list(path, anomalous, seed)?.iter().map(|name| (name.clone(), None)).collect()
    };
    if images.len() < shots {
        return Err(DatasetError::ShortManifest {
            path: path.to_owned(),
            shots,
            got: images.len(),
        });
    }
    let mut indices = Vec::with_capacity(shots);
    for (name, want) in images.into_iter().take(shots) {
        let image_idx = find(pool, path, &name)?;
        if indices.contains(&image_idx) {
            return Err(bad(path, format!("`{name}` is listed twice")));
        }
        if let (Some(want), Some(sample)) = (want, pool.get(image_idx)) {
            let got = hex(&digest(&sample.path)?);
            if !got.eq_ignore_ascii_case(&want) {
                return Err(DatasetError::ContentMismatch {
                    path: path.to_owned(),
                    name,
                    want,
                    got,
                });
            }
        }
        indices.push(image_idx);
    }
    Ok(indices)
}

/// Names with the hashes they must have; the plain form has none.
type Listed = Vec<(String, Option<String>)>;

fn parse_json(path: &Path, text: &str, anomalous: bool) -> Result<Listed, DatasetError> {
    let manifest: Manifest =
        serde_json::from_str(text).map_err(|error| bad(path, error.to_string()))?;
    if manifest.schema != SCHEMA {
        return Err(bad(path, format!("schema {} is not known; wants {SCHEMA}", manifest.schema)));
    }
    let images = if anomalous { manifest.anomalous } else { manifest.images };
    Ok(images.into_iter().map(|image| (image.name, Some(image.blake3))).collect())
}

/// A name of the pool, or the end of exactly one of them (`000.png` for
/// `bottle/train/good/000.png`).
fn find(pool: &[Sample], path: &Path, name: &str) -> Result<usize, DatasetError> {
    if let Some(image_idx) = pool.iter().position(|sample| sample.name == name) {
        return Ok(image_idx);
    }
    let ends = |sample: &Sample| {
        sample.name.strip_suffix(name).is_some_and(|before| before.ends_with('/'))
    };
    let mut found = pool.iter().enumerate().filter(|(_, sample)| !name.is_empty() && ends(sample));
    match (found.next(), found.next()) {
        (Some((image_idx, _)), None) => Ok(image_idx),
        (Some((_, first)), Some((_, second))) => Err(bad(
            path,
            format!("`{name}` may be `{}` or `{}`; write the whole name", first.name, second.name),
        )),
        _ => Err(DatasetError::NotInPool {
            path: path.to_owned(),
            name: name.to_owned(),
            n_images: pool.len(),
        }),
    }
}

fn bad(path: &Path, message: String) -> DatasetError {
    DatasetError::BadManifest { path: path.to_owned(), message }
}

fn hex(digest: &[u8; 32]) -> String {
    blake3::Hash::from_bytes(*digest).to_hex().to_string()
}
