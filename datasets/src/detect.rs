//! Which layout a tree may have: every built-in one is tried, and what it makes of the tree counts.

use std::cmp::Reverse;
use std::io::ErrorKind;
use std::path::Path;

use serde::Serialize;

use crate::dataset::{Class, Dataset};
use crate::error::DatasetError;
use crate::layout::Layout;

/// What one layout makes of a tree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Fit {
    pub layout: String,
    pub about: String,
    pub n_classes: usize,
    /// Images with a role, each counted once, and their masks.
    pub n_images: usize,
    pub n_masks: usize,
    /// Files and whole folders that mean nothing to the layout.
    pub n_unmatched: usize,
    pub n_warnings: usize,
}

impl Layout {
    /// The built-in layouts that find an image below `root`, the likeliest first: the one that
    /// understands most files; of equals, the one made for just these classes, then the one with
    /// the least left over. No file is opened, but for the tables that say a split.
    ///
    /// Errors: `NotAFolder`, and `Read` for a folder that may not be listed. A tree that fits no
    /// layout gives an empty list.
    pub fn detect(root: &Path) -> Result<Vec<Fit>, DatasetError> {
        let mut fits = Vec::new();
        for name in Self::names() {
            let layout = Self::find(name)?;
            match Dataset::open(root, &layout, None, None) {
                Ok(dataset) => fits.push(fit(&layout, &dataset)),
                Err(error @ DatasetError::NotAFolder { .. }) => return Err(error),
                Err(DatasetError::Read { path, source })
                    if source.kind() == ErrorKind::PermissionDenied =>
                {
                    return Err(DatasetError::Read { path, source });
                }
                Err(_) => {}
            }
        }
        fits.sort_by_key(|(is_whole, fit)| {
            let n_matched = fit.n_images + fit.n_masks;
            (Reverse(n_matched), !is_whole, fit.n_unmatched, fit.n_warnings, fit.layout.clone())
        });
        Ok(fits.into_iter().map(|(_, fit)| fit).collect())
    }
}

/// The fit, and whether the tree has all classes of a layout that lists its classes.
fn fit(layout: &Layout, dataset: &Dataset) -> (bool, Fit) {
    let classes = layout.file.classes.as_deref().unwrap_or_default();
    let is_there = |name: &String| dataset.classes.iter().any(|class| class.name == *name);
    let is_whole = !classes.is_empty() && classes.iter().all(is_there);
    let masks = |class: &Class| {
        let samples = class.train_anomalous.iter().chain(&class.test);
        samples.filter(|sample| sample.mask.is_some()).count()
    };
    let fit = Fit {
        layout: layout.name.clone(),
        about: layout.about.clone(),
        n_classes: dataset.classes.len(),
        n_images: dataset.n_images(),
        n_masks: dataset.classes.iter().map(masks).sum(),
        n_unmatched: dataset.unmatched.len(),
        n_warnings: dataset.warnings.len(),
    };
    (is_whole, fit)
}
