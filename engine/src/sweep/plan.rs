//! From a sweep file to its cells, in the order in which they run.

use std::path::{Path, PathBuf};

use super::{Axis, Design, MOST_CELLS, SweepError, SweepFile, Variant};
use crate::pipeline::Change;

/// One pipeline of the sweep: a variant at one value of each axis. Its cells share what it loaded.
#[derive(Clone, Debug, PartialEq)]
pub struct Setup {
    pub pipeline: PathBuf,
    /// What the variant and the axes change in it, in order.
    pub sets: Vec<Change>,
    pub variant: String,
    /// What tables call the variant.
    pub label: String,
    pub baseline: bool,
    /// Axis and value, for the axes that this setup varies.
    pub at: Vec<(String, String)>,
    pub shots: Option<Vec<usize>>,
    pub seeds: Option<Vec<u64>>,
}

/// One run: a setup with its shots and its seed.
#[derive(Clone, Debug, PartialEq)]
pub struct CellPlan {
    /// Its folder's name, unique in the sweep.
    pub name: String,
    pub shots: usize,
    pub seed: u64,
}

/// The setups of a file. Errors: `Content` if there are too many.
pub fn plan(path: &Path, file: &SweepFile) -> Result<Vec<Setup>, SweepError> {
    let too_many = || SweepError::Content {
        path: path.to_owned(),
        message: format!("it asks for more than {MOST_CELLS} cells"),
    };
    let mut setups = Vec::new();
    match file.design {
        Design::Grid => {
            let n_points = file.axes.iter().try_fold(1_usize, |n, axis| {
                n.checked_mul(axis.values.len()).filter(|n| *n <= MOST_CELLS)
            });
            let n_points = n_points.ok_or_else(too_many)?;
            for variant in &file.variants {
                setups.extend(
                    (0..n_points).map(|point| setup(path, file, variant, &at(file, point))),
                );
                if setups.len() > MOST_CELLS {
                    return Err(too_many());
                }
            }
        }
        Design::OneAtATime => {
            setups.extend(file.variants.iter().map(|variant| setup(path, file, variant, &[])));
            if let Some(baseline) = file.variants.iter().find(|variant| variant.baseline) {
                for axis in &file.axes {
                    let alone = |value| setup(path, file, baseline, &[(axis, value)]);
                    setups.extend(axis.values.iter().map(alone));
                }
            }
        }
    }
    let n_runs = |setup: &Setup| {
        let shots = setup.shots.as_ref().map_or(1, Vec::len);
        shots.saturating_mul(setup.seeds.as_ref().map_or(1, Vec::len))
    };
    let n_cells = setups.iter().map(n_runs).fold(0_usize, usize::saturating_add);
    if n_cells > MOST_CELLS { Err(too_many()) } else { Ok(setups) }
}

/// The values of all axes at a point of their grid; the last axis moves fastest.
fn at(file: &SweepFile, mut point: usize) -> Vec<(&Axis, &toml::Value)> {
    let mut values = Vec::new();
    for axis in file.axes.iter().rev() {
        values.extend(axis.values.get(point % axis.values.len()).map(|value| (axis, value)));
        point /= axis.values.len();
    }
    values.reverse();
    values
}

fn setup(path: &Path, file: &SweepFile, variant: &Variant, at: &[(&Axis, &toml::Value)]) -> Setup {
    let change = |key: &String, value: &toml::Value, what: &str, name: &str| Change {
        key: key.clone(),
        value: value.to_string(),
        by: format!("{}, {what} `{name}`", path.display()),
    };
    let own = variant.set.iter().map(|(key, value)| change(key, value, "variant", &variant.name));
    let axes = at.iter().map(|(axis, value)| change(&axis.key, value, "axis", &axis.name));
    Setup {
        pipeline: variant.base.clone().unwrap_or_else(|| file.base.clone()),
        sets: own.chain(axes).collect(),
        variant: variant.name.clone(),
        label: variant.label.clone().unwrap_or_else(|| variant.name.clone()),
        baseline: variant.baseline && at.is_empty(),
        at: at.iter().map(|(axis, value)| (axis.name.clone(), value.to_string())).collect(),
        shots: variant.shots.clone().or_else(|| file.shots.clone()),
        seeds: variant.seeds.clone().or_else(|| file.seeds.clone()),
    }
}

impl Setup {
    /// The cells: shots times seeds, `one` standing for what the sweep leaves to the pipeline.
    pub fn cells(&self, one: (usize, u64)) -> Vec<CellPlan> {
        let shots = self.shots.clone().unwrap_or_else(|| vec![one.0]);
        let seeds = self.seeds.clone().unwrap_or_else(|| vec![one.1]);
        let stem = self.stem();
        let cell = |shots: usize, seed: u64| CellPlan {
            name: format!("{stem}-s{shots}-seed{seed}"),
            shots,
            seed,
        };
        shots.iter().flat_map(|n| seeds.iter().map(move |seed| cell(*n, *seed))).collect()
    }

    /// What a table's line is called: the variant, then the axes' values.
    pub fn title(&self) -> String {
        let at = self.at.iter().map(|(axis, value)| format!("{axis} = {value}"));
        [self.label.clone()].into_iter().chain(at).collect::<Vec<_>>().join(", ")
    }

    /// A name for files. What a file's name cannot hold is told apart by a digest.
    fn stem(&self) -> String {
        let at = self.at.iter().map(|(axis, value)| format!("-{axis}={value}"));
        let whole = [self.variant.clone()].into_iter().chain(at).collect::<String>();
        let plain = |c: char| match c.is_ascii_alphanumeric() || "-_.=".contains(c) {
            true => c,
            false => '_',
        };
        let stem: String = whole.chars().map(plain).take(80).collect();
        if stem == whole && !stem.starts_with('.') {
            return stem;
        }
        let digest = blake3::hash(whole.as_bytes()).to_hex();
        format!("{}-{}", stem.trim_start_matches('.'), &digest[..8])
    }
}
