//! What `loupe dataset check` tells: counts, what was not understood, and a fingerprint.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::dataset::{Class, Dataset, Sample};
use crate::error::DatasetError;

/// A data set in numbers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    pub layout: String,
    pub root: PathBuf,
    pub mask_above: u8,
    /// BLAKE3 over classes, roles, names and contents of all images and masks, in hexadecimal:
    /// equal fingerprints mean the same images in the same split, wherever they lie.
    pub fingerprint: String,
    /// Images with a role, each counted once.
    pub n_images: usize,
    pub classes: Vec<ClassCheck>,
    pub n_unmatched: usize,
    /// The first unmatched paths, below the root.
    pub unmatched: Vec<String>,
    pub warnings: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ClassCheck {
    pub name: String,
    pub display: String,
    pub train: Vec<KindCheck>,
    pub train_anomalous: Vec<KindCheck>,
    pub test: Vec<KindCheck>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct KindCheck {
    pub kind: String,
    pub anomalous: bool,
    pub n_images: usize,
    pub n_masks: usize,
}

impl Dataset {
    /// Counts every class, split and kind, lists the first `max_unmatched` stray files and reads
    /// every image once for the fingerprint. Errors: `Read`.
    pub fn check(&self, max_unmatched: usize) -> Result<Check, DatasetError> {
        let below = |path: &PathBuf| {
            path.strip_prefix(&self.root).unwrap_or(path).to_string_lossy().into_owned()
        };
        let (fingerprint, strange) = self.read_all()?;
        let mut warnings = self.warnings.clone();
        if let Some(first) = strange.first() {
            warnings.push(format!(
                "{} of the images and masks are no pictures (first: `{}`)",
                strange.len(),
                below(first)
            ));
        }
        Ok(Check {
            layout: self.layout.clone(),
            root: self.root.clone(),
            mask_above: self.mask_above,
            fingerprint,
            n_images: self.n_images(),
            classes: self.classes.iter().map(ClassCheck::of).collect(),
            n_unmatched: self.unmatched.len(),
            unmatched: self.unmatched.iter().take(max_unmatched).map(below).collect(),
            warnings,
        })
    }

    /// Images with a role, each counted once: in `folder`, good images are both pool and test.
    pub(crate) fn n_images(&self) -> usize {
        let roles = self.classes.iter().flat_map(Class::roles);
        let paths = roles.flat_map(|(_, samples)| samples).map(|sample| &sample.path);
        paths.collect::<BTreeSet<_>>().len()
    }

    /// The fingerprint of [`Check`] alone.
    pub fn fingerprint(&self) -> Result<String, DatasetError> {
        Ok(self.read_all()?.0)
    }

    /// The fingerprint of [`Check`], and the files that are no pictures by their first bytes.
    fn read_all(&self) -> Result<(String, Vec<PathBuf>), DatasetError> {
        let mut strange = Vec::new();
        let mut digest = |path: &PathBuf| {
            let bytes = read(path)?;
            if image::guess_format(&bytes).is_err() {
                strange.push(path.clone());
            }
            Ok::<_, DatasetError>(*blake3::hash(&bytes).as_bytes())
        };
        let mut hasher = blake3::Hasher::new();
        let mut field = |bytes: &[u8]| {
            hasher.update(&(bytes.len() as u64).to_le_bytes());
            hasher.update(bytes);
        };
        field(&[self.mask_above]);
        for class in &self.classes {
            field(class.name.as_bytes());
            for (role, samples) in class.roles() {
                field(role.as_bytes());
                for sample in samples {
                    field(sample.name.as_bytes());
                    field(sample.kind.as_bytes());
                    field(&digest(&sample.path)?);
                    match &sample.mask {
                        Some(mask) => field(&digest(mask)?),
                        None => field(&[]),
                    }
                }
            }
        }
        Ok((hasher.finalize().to_hex().to_string(), strange))
    }
}

impl Class {
    fn roles(&self) -> [(&'static str, &[Sample]); 3] {
        [
            ("train", self.train.as_slice()),
            ("train_anomalous", self.train_anomalous.as_slice()),
            ("test", self.test.as_slice()),
        ]
    }
}

impl ClassCheck {
    fn of(class: &Class) -> Self {
        Self {
            name: class.name.clone(),
            display: class.display.clone(),
            train: count_kinds(&class.train),
            train_anomalous: count_kinds(&class.train_anomalous),
            test: count_kinds(&class.test),
        }
    }
}

fn count_kinds(samples: &[Sample]) -> Vec<KindCheck> {
    let mut kinds: BTreeMap<&str, KindCheck> = BTreeMap::new();
    for sample in samples {
        let count = kinds.entry(&sample.kind).or_insert_with(|| KindCheck {
            kind: sample.kind.clone(),
            anomalous: sample.anomalous,
            n_images: 0,
            n_masks: 0,
        });
        count.n_images += 1;
        count.n_masks += usize::from(sample.mask.is_some());
    }
    kinds.into_values().collect()
}

/// BLAKE3 of a file's bytes.
pub(crate) fn digest(path: &Path) -> Result<[u8; 32], DatasetError> {
    Ok(*blake3::hash(&read(path)?).as_bytes())
}

fn read(path: &Path) -> Result<Vec<u8>, DatasetError> {
    std::fs::read(path).map_err(|source| DatasetError::Read { path: path.to_owned(), source })
}
