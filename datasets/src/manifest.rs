//! Manifests of references: a JSON list with content hashes, and the plain lists of MVFA.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::check::digest;
use crate::dataset::Sample;
use crate::error::DatasetError;

const SCHEMA: u32 = 1;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Manifest {
    schema: u32,
    class: String,
    images: Vec<Image>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Image {
    name: String,
    blake3: String,
}

/// Writes the images at `indices` of `pool` as a manifest that [`crate::select`] reads back.
///
/// Errors: `Read` for an image, `Write` for the manifest; an index outside the pool is
/// `BadManifest`.
pub fn write_manifest(
    path: &Path,
    class: &str,
    pool: &[Sample],
    indices: &[usize],
) -> Result<(), DatasetError> {
    let mut images = Vec::with_capacity(indices.len());
    for &image_idx in indices {
        let sample = pool.get(image_idx).ok_or_else(|| {
            bad(path, format!("index {image_idx} is outside the pool of {} images", pool.len()))
        })?;
        let blake3 = hex(&digest(&sample.path)?);
        images.push(Image { name: sample.name.clone(), blake3 });
    }
    let manifest = Manifest { schema: SCHEMA, class: class.to_owned(), images };
    let mut text =
        serde_json::to_string_pretty(&manifest).map_err(|error| bad(path, error.to_string()))?;
    text.push('\n');
    std::fs::write(path, text)
        .map_err(|source| DatasetError::Write { path: path.to_owned(), source })
}

/// Indices of the first `shots` images of a manifest, found by name and checked by content.
pub(crate) fn listed(
    pool: &[Sample],
    shots: usize,
    path: &Path,
) -> Result<Vec<usize>, DatasetError> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| DatasetError::Read { path: path.to_owned(), source })?;
    let images = if text.trim_start().starts_with('{') {
        parse_json(path, &text)?
    } else {
        parse_plain(path, &text, pool.first().is_some_and(|sample| sample.anomalous))?
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

fn parse_json(path: &Path, text: &str) -> Result<Listed, DatasetError> {
    let manifest: Manifest =
        serde_json::from_str(text).map_err(|error| bad(path, error.to_string()))?;
    if manifest.schema != SCHEMA {
        return Err(bad(path, format!("schema {} is not known; wants {SCHEMA}", manifest.schema)));
    }
    Ok(manifest.images.into_iter().map(|image| (image.name, Some(image.blake3))).collect())
}

/// MVFA's few-shot files: a line `n-0: name name ..` of normal and a line `a-0: ..` of anomalous
/// images, in either order; the pool says which is meant. Source: its `dataset/fewshot_seed`.
fn parse_plain(path: &Path, text: &str, anomalous: bool) -> Result<Listed, DatasetError> {
    let prefix = if anomalous { "a-" } else { "n-" };
    let line = text.lines().map(str::trim).find(|line| line.starts_with(prefix));
    let (_, names) = line.and_then(|line| line.split_once(':')).ok_or_else(|| {
        bad(path, format!("neither JSON nor a text with a line `{prefix}0: name name ..`"))
    })?;
    Ok(names.split_whitespace().map(|name| (name.to_owned(), None)).collect())
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
