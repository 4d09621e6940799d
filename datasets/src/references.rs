//! The references of one class in one run, normal and anomalous, and the images left to test.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::dataset::{Class, Sample};
use crate::error::DatasetError;
use crate::select::{Select, select};

/// What a method may see of a class before the test, in the order of choice.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct References {
    pub normal: Vec<Sample>,
    /// With their masks, where the data set has some: few-shot training.
    pub anomalous: Vec<Sample>,
}

impl Class {
    /// Chooses `shots` normal references and `n_anomalous` anomalous ones of each kind. The latter
    /// come from what the layout sets apart for that; where it sets nothing apart, from the test
    /// images, which [`Class::tests`] then leaves out. A manifest may list any kinds, and
    /// `n_anomalous` counts them all.
    ///
    /// `{class}` and `{shots}` in a manifest's path become the class's name and `shots`, or
    /// `n_anomalous` where no normal image is taken.
    ///
    /// Errors: those of [`select`], and `TooFewAnomalous` for a kind that has fewer images
    /// (`Torch` and `TorchLmfa` take all instead).
    pub fn references(
        &self,
        shots: usize,
        n_anomalous: usize,
        seed: u64,
        how: &Select,
    ) -> Result<References, DatasetError> {
        let how = how.for_class(&self.name).for_shots(if shots == 0 { n_anomalous } else { shots });
        let pick = |pool: &[Sample], chosen: Vec<usize>| -> Vec<Sample> {
            chosen.into_iter().filter_map(|image_idx| pool.get(image_idx).cloned()).collect()
        };
        let normal = pick(&self.train, select(&self.train, shots, seed, &how)?);
        if n_anomalous == 0 {
            return Ok(References { normal, anomalous: Vec::new() });
        }
        let mut anomalous = Vec::new();
        for (kind, pool) in self.anomalous_pools(&how) {
            let chosen = select(&pool, n_anomalous, seed, &how).map_err(|error| match error {
                DatasetError::TooFewReferences { shots: wanted, got } => {
                    DatasetError::TooFewAnomalous { wanted, kind, got }
                }
                other => other,
            })?;
            anomalous.extend(pick(&pool, chosen));
        }
        Ok(References { normal, anomalous })
    }

    /// The pools that each give their number of anomalous references, with their kinds in words:
    /// one pool a kind, but one for all where a list says what is taken or where there is no image.
    fn anomalous_pools(&self, how: &Select) -> BTreeMap<String, Vec<Sample>> {
        let pool = self.anomalous_pool();
        if pool.is_empty() || matches!(how, Select::Manifest(_)) {
            return BTreeMap::from([(String::new(), pool)]);
        }
        let mut pools: BTreeMap<String, Vec<Sample>> = BTreeMap::new();
        for sample in pool {
            pools.entry(format!(" of kind `{}`", sample.kind)).or_default().push(sample);
        }
        pools
    }

    /// The images that anomalous references are chosen from.
    pub fn anomalous_pool(&self) -> Vec<Sample> {
        match self.train_anomalous.as_slice() {
            [] => self.test.iter().filter(|sample| sample.anomalous).cloned().collect(),
            apart => apart.to_vec(),
        }
    }

    /// The test images that are no references: a pool may overlap the test images, and a run must
    /// not test what its method has seen.
    pub fn tests(&self, references: &References) -> Vec<&Sample> {
        self.test_except(references.normal.iter().chain(&references.anomalous))
    }

    /// [`Class::tests`] for normal references alone, as indices into `train`.
    pub fn test_without(&self, references: &[usize]) -> Vec<&Sample> {
        self.test_except(references.iter().filter_map(|&image_idx| self.train.get(image_idx)))
    }

    fn test_except<'a>(&self, seen: impl Iterator<Item = &'a Sample>) -> Vec<&Sample> {
        let seen: BTreeSet<&Path> = seen.map(|sample| sample.path.as_path()).collect();
        self.test.iter().filter(|sample| !seen.contains(sample.path.as_path())).collect()
    }
}
