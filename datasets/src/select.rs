//! Which images of a pool a few-shot run takes as references.

use std::path::PathBuf;

use crate::check::digest;
use crate::dataset::Sample;
use crate::error::DatasetError;
use crate::{manifest, torch};

/// How references are chosen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Select {
    /// By rank of a hash over the seed and each image's content: nested in the number of shots, and
    /// the same images whatever they are called and wherever they lie.
    #[default]
    Seeded,
    /// The first in the pool's order; the seed has no effect.
    First,
    /// As FADE's shuffled PyTorch loader, bit for bit: depends on the seed and the pool's size.
    Torch,
    /// As CLIP-LMFA's: the same loader, after the random numbers of a training that comes to
    /// nothing (its network on a GPU, eight epochs).
    TorchLmfa,
    /// The first of a list: JSON with content hashes, or a few-shot file of MVFA, whose list the
    /// seed names if it has several.
    Manifest(PathBuf),
}

impl Select {
    /// This choice for one class: `{class}` in a manifest's path becomes the class's name.
    pub fn for_class(&self, class: &str) -> Self {
        self.with("{class}", class)
    }

    /// This choice for a number of shots: `{shots}` in a manifest's path becomes that number.
    pub(crate) fn for_shots(&self, shots: usize) -> Self {
        self.with("{shots}", &shots.to_string())
    }

    fn with(&self, name: &str, value: &str) -> Self {
        match self {
            Self::Manifest(path) => {
                Self::Manifest(path.to_string_lossy().replace(name, value).into())
            }
            other => other.clone(),
        }
    }
}

/// Indices into `pool` of the `shots` references, in the order of choice; a run with fewer shots
/// and the same `seed` takes a prefix of them (of a manifest, if it is the same one: `{shots}` in
/// its path becomes the number of shots).
///
/// Errors: `TooFewReferences` if the pool is smaller than `shots` (`Torch` and `TorchLmfa` take all
/// of it instead, as the originals do), `Read`, and what a manifest can get wrong.
pub fn select(
    pool: &[Sample],
    shots: usize,
    seed: u64,
    how: &Select,
) -> Result<Vec<usize>, DatasetError> {
    let takes_all = matches!(how, Select::Torch | Select::TorchLmfa);
    if shots > pool.len() && !takes_all {
        return Err(DatasetError::TooFewReferences { shots, got: pool.len() });
    }
    if shots == 0 {
        return Ok(Vec::new());
    }
    let mut order = match how.for_shots(shots) {
        Select::Seeded => ranked(pool, seed)?,
        Select::First => (0..pool.len()).collect(),
        Select::Torch => torch::permutation(pool.len(), seed),
        Select::TorchLmfa => torch::permutation_lmfa(pool.len(), seed, torch::LMFA_EPOCHS),
        Select::Manifest(path) => manifest::listed(pool, shots, seed, &path)?,
    };
    order.truncate(shots);
    Ok(order)
}

/// All indices, sorted by BLAKE3 of the seed's little-endian bytes and the content's digest. Equal
/// contents keep the pool's order: whichever is taken, the run sees the same pixels.
fn ranked(pool: &[Sample], seed: u64) -> Result<Vec<usize>, DatasetError> {
    let mut ranks = Vec::with_capacity(pool.len());
    for (image_idx, sample) in pool.iter().enumerate() {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&seed.to_le_bytes());
        hasher.update(&digest(&sample.path)?);
        ranks.push((*hasher.finalize().as_bytes(), image_idx));
    }
    ranks.sort_unstable();
    Ok(ranks.into_iter().map(|(_, image_idx)| image_idx).collect())
}
