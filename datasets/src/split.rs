//! Data sets whose split is a table: one row an image, with its class, role, kind and mask.

use std::fs;
use std::path::{Component, Path};

use serde::Deserialize;

use crate::dataset::Roles;
use crate::error::DatasetError;
use crate::layout::Layout;
use crate::tree::Entry;

/// Where the table is, what its columns are called, and how it writes the roles.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Split {
    /// The table below the root: comma-separated, with a header line.
    pub(crate) file: String,
    class: String,
    role: String,
    kind: String,
    image: String,
    mask: Option<String>,
    /// The role column's values.
    train: String,
    test: String,
}

/// Reads the table into roles, in the order of its rows, and notes rows that cannot be used.
pub(crate) fn read(
    root: &Path,
    layout: &Layout,
    split: &Split,
) -> Result<(Roles, Vec<String>), DatasetError> {
    let path = root.join(&split.file);
    let text = fs::read_to_string(&path)
        .map_err(|source| DatasetError::Read { path: path.clone(), source })?;
    let bad = |message: String| DatasetError::BadSplit { path: path.clone(), message };
    let mut lines = text.trim_start_matches('\u{feff}').lines().enumerate();
    let header: Vec<String> = lines.next().map(|(_, line)| cells(line)).unwrap_or_default();
    let column = |name: &String| {
        let found = header.iter().position(|cell| cell == name);
        found.ok_or_else(|| {
            bad(format!("no column is called `{name}`; columns: {}", header.join(", ")))
        })
    };
    let columns = [
        column(&split.class)?,
        column(&split.role)?,
        column(&split.kind)?,
        column(&split.image)?,
        split.mask.as_ref().map_or(Ok(usize::MAX), column)?,
    ];
    let (mut roles, mut warnings) = (Roles::default(), Vec::new());
    for (number, line) in lines.filter(|(_, line)| !line.trim().is_empty()) {
        let row = cells(line);
        if row.len() != header.len() {
            let (want, got) = (header.len(), row.len());
            return Err(bad(format!("line {} has {got} cells, wants {want}", number + 1)));
        }
        let [class, role, kind, image, mask] =
            columns.map(|column| row.get(column).map_or("", String::as_str));
        let is_train = role == split.train;
        if (!is_train && role != split.test) || !layout.lists(class) {
            continue;
        }
        match (entry(root, image), entry(root, mask)) {
            (Some(image), mask) => roles.add(layout, class, kind, is_train, &image, mask),
            (None, _) => warnings.push(format!(
                "line {} of `{}` is left out: `{image}` is not a file below the root",
                number + 1,
                split.file
            )),
        }
    }
    Ok((roles, warnings))
}

/// The cells of a line; quotes around a cell are taken off.
fn cells(line: &str) -> Vec<String> {
    line.split(',').map(|cell| cell.trim().trim_matches('"').to_owned()).collect()
}

/// A file below the root; paths that lead elsewhere are refused.
fn entry(root: &Path, below: &str) -> Option<Entry> {
    let parts = Path::new(below).components().map(|part| match part {
        Component::Normal(name) => name.to_str().map(str::to_owned),
        _ => None,
    });
    let segments = parts.collect::<Option<Vec<String>>>()?;
    let path = root.join(below);
    path.is_file().then_some(Entry { path, segments })
}
