//! What a sweep file says.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::SweepError;
use crate::pipeline::diagnostics::nearest;

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
    /// Lines of the table that are means over lines of variants.
    #[serde(default, rename = "mean")]
    pub means: Vec<Mean>,
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
    /// Tables mark it, and one at a time axes vary it: the first variant if none says so.
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

/// Variants whose figures are averaged, such as those of data sets of one kind.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mean {
    /// What tables call it.
    pub label: String,
    /// Names of variants.
    pub of: Vec<String>,
    /// Those of them whose pixel columns are averaged, since their data sets have masks; all if
    /// absent.
    pub pixel: Option<Vec<String>>,
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
        let varies_one = file.design == Design::OneAtATime;
        if varies_one && !file.variants.iter().any(|variant| variant.baseline) {
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
        let means: Vec<&str> = self.means.iter().map(|it| it.label.as_str()).collect();
        for (what, names) in [("variant", variants), ("axis", axes), ("mean", means)] {
            let mut seen = BTreeSet::new();
            for name in names {
                if name.trim().is_empty() {
                    return Err(format!("one of `[[{what}]]` has no name"));
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
        self.means.iter().try_for_each(|mean| self.judge_mean(mean))
    }

    /// A mean is of variants that there are, each once, and that run with the same shots and seeds.
    fn judge_mean(&self, mean: &Mean) -> Result<(), String> {
        let label = &mean.label;
        let known = || self.variants.iter().map(|variant| variant.name.as_str());
        let of: Vec<&str> = mean.of.iter().map(String::as_str).collect();
        names("of", label, &mean.of, &known().collect::<Vec<_>>(), "variant")?;
        if let Some(pixel) = &mean.pixel {
            names("pixel", label, pixel, &of, "name in `of`")?;
        }
        let mut runs = self.variants.iter().filter(|variant| of.contains(&variant.name.as_str()));
        let of_variant = |it: &Variant| {
            let (shots, seeds) = (it.shots.as_ref(), it.seeds.as_ref());
            let sorted = |mut list: Vec<u64>| {
                list.sort_unstable();
                list
            };
            let shots = shots.or(self.shots.as_ref());
            let shots = shots.map(|list| sorted(list.iter().map(|n| *n as u64).collect()));
            (shots, seeds.or(self.seeds.as_ref()).map(|list| sorted(list.clone())))
        };
        let Some(first) = runs.next() else { return Ok(()) };
        match runs.find(|other| of_variant(other) != of_variant(first)) {
            Some(other) => Err(format!(
                "`[[mean]]` `{label}` wants variants of the same `shots` and `seeds`, and those of \
                 `{}` and `{}` differ",
                first.name, other.name
            )),
            None => Ok(()),
        }
    }
}

/// Names in a list of a mean: some, each once, each of `known`.
fn names(
    key: &str,
    label: &str,
    list: &[String],
    known: &[&str],
    what: &str,
) -> Result<(), String> {
    let said = format!("`{key}` of `[[mean]]` `{label}`");
    if list.is_empty() {
        return Err(format!("{said} is an empty list"));
    }
    let mut seen = BTreeSet::new();
    for name in list {
        if !known.contains(&name.as_str()) {
            let near = nearest(name, known.iter().copied());
            let near = near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
            return Err(format!("{said} names `{name}`, which is no {what}{near}"));
        }
        if !seen.insert(name) {
            return Err(format!("{said} names `{name}` twice"));
        }
    }
    Ok(())
}

/// Whether a number stands twice; `None` for an empty list.
fn repeats<T: Ord>(list: &[T]) -> Option<bool> {
    let distinct: BTreeSet<&T> = list.iter().collect();
    (!list.is_empty()).then_some(distinct.len() < list.len())
}
