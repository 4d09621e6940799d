//! Data sets whose split is a table: one row an image, with its class, role, kind and mask.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Component, Path, PathBuf};

use serde::Deserialize;

use crate::error::DatasetError;
use crate::files::read_text;
use crate::layout::Layout;
use crate::roles::{Roles, Row};
use crate::tree::{Entry, Tree, has_extension};

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

/// Reads the table into roles, in the order of its rows. The tree holds the images beside listed
/// ones that the table does not name, and a warning for all that it names and that is not there.
pub(crate) fn read(
    root: &Path,
    layout: &Layout,
    split: &Split,
) -> Result<(Roles, Tree), DatasetError> {
    let path = root.join(&split.file);
    let text = read_text(&path)?;
    let table = Table::parse(&path, &text, split)?;
    let (mut roles, mut tally) = (Roles::default(), Tally::default());
    let mut folders = BTreeSet::new();
    for row in table.rows {
        let [class, role, kind, image_text, mask_text] = row.cells.each_ref().map(String::as_str);
        let (image, mask) = (entry(root, image_text), entry(root, mask_text));
        for file in image.iter().chain(&mask) {
            folders.extend(file.path.parent().map(Path::to_owned));
        }
        let is_train = role == split.train;
        if (!is_train && role != split.test) || !layout.lists(class) {
            tally.other(role, is_train || role == split.test, class, row.line);
            image.iter().chain(&mask).for_each(|file| roles.pass_over(file));
            continue;
        }
        let n_listed = tally.listed.entry((class.to_owned(), role.to_owned())).or_default();
        *n_listed += 1;
        if mask.is_none() && !mask_text.is_empty() {
            tally.note(class, Wrong::NoMask, row.line, mask_text);
        }
        let Some(image) = image else {
            tally.note(class, Wrong::NoImage(role.to_owned()), row.line, image_text);
            continue;
        };
        let kind = kind.to_owned();
        let anomalous = !layout.is_normal(&kind);
        if !roles.add(class, is_train, Row { image, mask, kind, anomalous }) {
            tally.note(class, Wrong::Repeated, row.line, image_text);
        }
    }
    let mut tree = Tree { warnings: tally.warnings(&split.file), ..Tree::default() };
    for folder in folders {
        list_images(root, &folder, layout, &mut tree)?;
    }
    Ok((roles, tree))
}

struct Table {
    rows: Vec<TableRow>,
}

struct TableRow {
    /// Counted from 1, with the header.
    line: usize,
    /// Class, role, kind, image, mask.
    cells: [String; 5],
}

impl Table {
    /// Errors: `BadSplit` for a column that is not there and a row of another length.
    fn parse(path: &Path, text: &str, split: &Split) -> Result<Self, DatasetError> {
        let bad = |message: String| DatasetError::BadSplit { path: path.to_owned(), message };
        let mut lines = text.trim_start_matches('\u{feff}').lines().enumerate();
        let header = lines.next().map(|(_, line)| cells(line));
        let header = header.ok_or_else(|| bad("it is empty; wants a header line".to_owned()))?;
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
        let mut rows = Vec::new();
        for (number, line) in lines.filter(|(_, line)| !line.trim().is_empty()) {
            let row = cells(line);
            if row.len() != header.len() {
                let (want, got) = (header.len(), row.len());
                return Err(bad(format!("line {} has {got} cells, wants {want}", number + 1)));
            }
            let cells = columns.map(|column| row.get(column).cloned().unwrap_or_default());
            rows.push(TableRow { line: number + 1, cells });
        }
        Ok(Self { rows })
    }
}

/// What is wrong with a row.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Wrong {
    /// Of an image of this split.
    NoImage(String),
    NoMask,
    Repeated,
}

/// Rows that could not be used, by class and by what is wrong with them.
#[derive(Default)]
struct Tally {
    /// Rows of a class and role.
    listed: BTreeMap<(String, String), usize>,
    /// How many, and the first of them: line and path.
    notes: BTreeMap<(String, Wrong), (usize, usize, String)>,
    /// Roles and classes that mean nothing here: how many rows, and the first line.
    others: BTreeMap<String, (usize, usize)>,
}

impl Tally {
    fn note(&mut self, class: &str, wrong: Wrong, line: usize, path: &str) {
        let key = (class.to_owned(), wrong);
        self.notes.entry(key).or_insert_with(|| (0, line, path.to_owned())).0 += 1;
    }

    fn other(&mut self, role: &str, known_role: bool, class: &str, line: usize) {
        let what = match known_role {
            true => format!("of class `{class}`, which the layout does not list"),
            false => format!("of split `{role}`, which is neither training nor test"),
        };
        self.others.entry(what).or_insert((0, line)).0 += 1;
    }

    fn warnings(self, file: &str) -> Vec<String> {
        let mut warnings = Vec::new();
        for ((class, wrong), (n, line, path)) in self.notes {
            let what = match wrong {
                Wrong::NoImage(role) => {
                    let n_listed = self.listed.get(&(class.clone(), role.clone())).unwrap_or(&n);
                    format!(
                        "{n} of the {n_listed} `{role}` images of `{file}` cannot be found below \
                         the root"
                    )
                }
                Wrong::NoMask => {
                    format!("{} of `{file}` cannot be found below the root", count(n, "mask"))
                }
                Wrong::Repeated => {
                    format!("`{file}` repeats the image of an earlier row in {}", count(n, "row"))
                }
            };
            warnings.push(format!("class `{class}`: {what} (first: line {line}, `{path}`)"));
        }
        for (what, (n, line)) in self.others {
            let rows = count(n, "row");
            warnings.push(format!("`{file}` has {rows} {what} (first: line {line})"));
        }
        warnings
    }
}

fn count(n: usize, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}

/// The cells of a line; quotes around a cell are taken off.
fn cells(line: &str) -> Vec<String> {
    line.split(',').map(|cell| cell.trim().trim_matches('"').to_owned()).collect()
}

/// A file below the root; paths that lead elsewhere are refused.
fn entry(root: &Path, below: &str) -> Option<Entry> {
    let path = root.join(below);
    let segments = segments(Path::new(below))?;
    path.is_file().then_some(Entry { path, segments })
}

fn segments(below: &Path) -> Option<Vec<String>> {
    let part = |part| match part {
        Component::Normal(name) => name.to_str().map(str::to_owned),
        _ => None,
    };
    below.components().map(part).collect()
}

/// Adds the images of one folder to the tree, so that those without a row can be told.
fn list_images(
    root: &Path,
    folder: &Path,
    layout: &Layout,
    tree: &mut Tree,
) -> Result<(), DatasetError> {
    let read = |source| DatasetError::Read { path: folder.to_owned(), source };
    let mut paths: Vec<PathBuf> = Vec::new();
    for entry in fs::read_dir(folder).map_err(read)? {
        paths.push(entry.map_err(read)?.path());
    }
    for path in paths {
        let below = path.strip_prefix(root).ok().and_then(segments);
        if let Some(segments) = below
            && has_extension(&path, &layout.file.extensions)
            && path.is_file()
        {
            tree.files.push(Entry { path, segments });
        }
    }
    Ok(())
}
