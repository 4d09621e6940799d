//! The few-shot files of MVFA: which images of a medical set are the references of a run.
//!
//! A line `n-0: name name ..` lists normal images, a line `a-0: name name ..` anomalous ones, in
//! either order; a file may hold several numbered choices. Source: `dataset/fewshot_seed` of MVFA,
//! arXiv:2403.12570.

use std::collections::BTreeMap;
use std::path::Path;

use crate::error::DatasetError;
use crate::files::read_text;

/// A few-shot file: numbered lists of file names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SeedFile {
    /// The lists `n-<number>`.
    pub normal: BTreeMap<u64, Vec<String>>,
    /// The lists `a-<number>`.
    pub anomalous: BTreeMap<u64, Vec<String>>,
}

impl SeedFile {
    /// Errors: `Read`; `BadManifest` for a line of another form or one that is there twice.
    pub fn read(path: &Path) -> Result<Self, DatasetError> {
        Self::parse(path, &read_text(path)?)
    }

    /// Reads the text of a file; `path` names it in errors.
    pub(crate) fn parse(path: &Path, text: &str) -> Result<Self, DatasetError> {
        let mut file = Self::default();
        let lines = text.trim_start_matches('\u{feff}').lines().enumerate();
        for (number, line) in lines.filter(|(_, line)| !line.trim().is_empty()) {
            let (lists, key, names) = parse_line(&mut file, line).ok_or_else(|| {
                let message = format!(
                    "neither JSON, nor is line {} of the form `n-0: name name ..` or `a-0: ..`",
                    number + 1
                );
                DatasetError::BadManifest { path: path.to_owned(), message }
            })?;
            if lists.insert(key, names).is_some() {
                let message = format!("line {} repeats the list of an earlier line", number + 1);
                return Err(DatasetError::BadManifest { path: path.to_owned(), message });
            }
        }
        Ok(file)
    }

    /// The list numbered `seed`, or the only one there is: the files of MVFA hold one, numbered 0.
    ///
    /// Errors: `BadManifest` if there is no such list.
    pub(crate) fn list(
        &self,
        path: &Path,
        anomalous: bool,
        seed: u64,
    ) -> Result<&[String], DatasetError> {
        let (letter, lists) = match anomalous {
            true => ('a', &self.anomalous),
            false => ('n', &self.normal),
        };
        let only = || lists.values().next().filter(|_| lists.len() == 1);
        if let Some(names) = lists.get(&seed).or_else(only) {
            return Ok(names);
        }
        let known: Vec<String> = lists.keys().map(|key| format!("`{letter}-{key}`")).collect();
        let message = match known.is_empty() {
            true => format!("it has no line `{letter}-0: name name ..`"),
            false => format!(
                "seed {seed} wants a line `{letter}-{seed}: name name ..`; lines: {}",
                known.join(", ")
            ),
        };
        Err(DatasetError::BadManifest { path: path.to_owned(), message })
    }
}

type Lists = BTreeMap<u64, Vec<String>>;

fn parse_line<'a>(file: &'a mut SeedFile, line: &str) -> Option<(&'a mut Lists, u64, Vec<String>)> {
    let (key, names) = line.trim().split_once(':')?;
    let (letter, number) = key.split_once('-')?;
    let lists = match letter {
        "n" => &mut file.normal,
        "a" => &mut file.anomalous,
        _ => return None,
    };
    let names = names.split_whitespace().map(str::to_owned).collect();
    Some((lists, number.parse().ok()?, names))
}
