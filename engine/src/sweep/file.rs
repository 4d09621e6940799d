//! What a sweep file says.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::SweepError;

/// Number of the sweep language.
const LANGUAGE: u32 = 1;

/// How variants and axes are combined.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Design {
    /// Every variant with every combination of the axes' values.
    #[default]
    Grid,
    /// Every variant alone, and every value of every axis alone on the baseline.
    OneAtATime,
}

/// A sweep, as its file has it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SweepFile {
    /// Number of the language; comes first.
    pub sweep: u32,
    pub name: Option<String>,
    /// The pipeline that is varied, from where the sweep file lies.
    pub base: PathBuf,
    #[serde(default)]
    pub design: Design,
    /// What is not given is the pipeline's.
    pub shots: Option<Vec<usize>>,
    pub seeds: Option<Vec<u64>>,
    pub classes: Option<Vec<String>>,
    /// Without any there is one, `base`, which changes nothing.
    #[serde(default, rename = "variant")]
    pub variants: Vec<Variant>,
    #[serde(default, rename = "axis")]
    pub axes: Vec<Axis>,
}

/// The base with some keys changed.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Variant {
    pub name: String,
    /// What tables call it; the name if absent.
    pub label: Option<String>,
    /// Another pipeline in the place of `base`.
    pub base: Option<PathBuf>,
    #[serde(default)]
    pub set: toml::Table,
    /// The others are compared with it, and axes vary it; the first variant if none says so.
    #[serde(default)]
    pub baseline: bool,
    /// In the place of the file's.
    pub shots: Option<Vec<usize>>,
    pub seeds: Option<Vec<u64>>,
}

/// One key with the values it takes.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Axis {
    pub name: String,
    pub key: String,
    pub values: Vec<toml::Value>,
}

impl SweepFile {
    /// Reads a sweep file. Paths in it become relative to where it lies.
    /// Errors: `Read`, `Syntax` with the place, `Content`.
    pub fn read(path: &Path) -> Result<SweepFile, SweepError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| SweepError::Read { path: path.to_owned(), source })?;
        let mut file: SweepFile = toml::from_str(&text).map_err(|error| {
            let message = error.to_string().trim_end().to_owned();
            SweepError::Syntax { path: path.to_owned(), message }
        })?;
        file.judge().map_err(|message| SweepError::Content { path: path.to_owned(), message })?;
        let folder = path.parent().unwrap_or(Path::new(""));
        file.base = folder.join(&file.base);
        for variant in &mut file.variants {
            variant.base = variant.base.as_ref().map(|base| folder.join(base));
        }
        if file.variants.is_empty() {
            file.variants.push(Variant { name: "base".to_owned(), ..Variant::default() });
        }
        if !file.variants.iter().any(|variant| variant.baseline) {
            file.variants[0].baseline = true;
        }
        file.name.get_or_insert_with(|| {
            path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
        });
        Ok(file)
    }

    /// What the types cannot say.
    fn judge(&self) -> Result<(), String> {
        if self.sweep != LANGUAGE {
            return Err(format!(
                "it is written in sweep language {}, and this program reads `sweep = {LANGUAGE}`",
                self.sweep
            ));
        }
        let variants: Vec<&str> = self.variants.iter().map(|it| it.name.as_str()).collect();
        let axes: Vec<&str> = self.axes.iter().map(|it| it.name.as_str()).collect();
        for (what, names) in [("variant", variants), ("axis", axes)] {
            let mut seen = BTreeSet::new();
            for name in names {
                if name.trim().is_empty() {
                    return Err(format!("a {what} has an empty `name`"));
                }
                if !seen.insert(name) {
                    return Err(format!("two of `[[{what}]]` are called `{name}`"));
                }
            }
        }
        if self.variants.iter().filter(|variant| variant.baseline).count() > 1 {
            return Err("more than one variant says `baseline = true`".to_owned());
        }
        if let Some(axis) = self.axes.iter().find(|axis| axis.values.is_empty()) {
            return Err(format!("axis `{}` has no `values`", axis.name));
        }
        let lists = self.variants.iter().map(|it| (&it.shots, &it.seeds));
        for (shots, seeds) in lists.chain([(&self.shots, &self.seeds)]) {
            for (what, list) in [
                ("shots", shots.as_ref().map(|list| repeats(list))),
                ("seeds", seeds.as_ref().map(|list| repeats(list))),
            ] {
                match list {
                    Some(None) => return Err(format!("`{what}` is an empty list")),
                    // A number that stands twice would count as two samples.
                    Some(Some(true)) => return Err(format!("`{what}` names a number twice")),
                    _ => {}
                }
            }
        }
        Ok(())
    }
}

/// Whether a number stands twice; `None` for an empty list.
fn repeats<T: Ord>(list: &[T]) -> Option<bool> {
    let distinct: BTreeSet<&T> = list.iter().collect();
    (!list.is_empty()).then_some(distinct.len() < list.len())
}
