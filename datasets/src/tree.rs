//! One walk through a tree: every file is an image, a mask, passed over by rule, or unmatched.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::error::DatasetError;
use crate::layout::Layout;
use crate::pattern::{Captures, Pattern};

/// A file of the tree that may be an image or a mask.
pub(crate) struct Entry {
    pub(crate) path: PathBuf,
    /// Path segments below the root.
    pub(crate) segments: Vec<String>,
}

impl Entry {
    /// The path below the root, `/` separated, with its extension.
    pub(crate) fn name(&self) -> String {
        self.segments.join("/")
    }

    /// The file name without its last extension.
    pub(crate) fn stem(&self) -> &str {
        let name = self.segments.last().map_or("", String::as_str);
        name.rsplit_once('.').map_or(name, |(stem, _)| stem)
    }
}

#[derive(Default)]
pub(crate) struct Tree {
    pub(crate) files: Vec<Entry>,
    pub(crate) unmatched: Vec<PathBuf>,
    pub(crate) warnings: Vec<String>,
}

/// Lists the files of `root` that the layout's patterns could mean, sorted by path. A folder that
/// no pattern leads into is listed as unmatched and not entered, so a wrong root costs little time.
pub(crate) fn walk(root: &Path, layout: &Layout) -> Result<Tree, DatasetError> {
    let mut tree = Tree::default();
    walk_folder(root, &mut Vec::new(), layout, &mut tree)?;
    Ok(tree)
}

fn walk_folder(
    folder: &Path,
    segments: &mut Vec<String>,
    layout: &Layout,
    tree: &mut Tree,
) -> Result<(), DatasetError> {
    let read = |source| DatasetError::Read { path: folder.to_owned(), source };
    let mut entries: Vec<PathBuf> = Vec::new();
    for entry in fs::read_dir(folder).map_err(read)? {
        entries.push(entry.map_err(read)?.path());
    }
    entries.sort();
    for path in entries {
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
            tree.warnings.push(format!(
                "`{}` is left out: its name is not valid UTF-8; rename it",
                path.display()
            ));
            tree.unmatched.push(path);
            continue;
        };
        segments.push(name.to_owned());
        if !is_ignored(layout, name) {
            visit(path, segments, layout, tree)?;
        }
        segments.pop();
    }
    Ok(())
}

fn is_ignored(layout: &Layout, name: &str) -> bool {
    let name = [name.to_owned()];
    layout.ignore.iter().any(|pattern| pattern.matches(&name).is_some())
}

fn visit(
    path: PathBuf,
    segments: &mut Vec<String>,
    layout: &Layout,
    tree: &mut Tree,
) -> Result<(), DatasetError> {
    match fs::metadata(&path) {
        Ok(data) if data.is_dir() => {
            if layout.all_patterns().any(|pattern| pattern.enters(segments)) {
                walk_folder(&path, segments, layout, tree)?;
            } else {
                tree.unmatched.push(path);
            }
        }
        Ok(data) if data.is_file() && has_extension(&path, &layout.file.extensions) => {
            tree.files.push(Entry { path, segments: segments.clone() });
        }
        Ok(_) => tree.unmatched.push(path),
        Err(error) => {
            tree.warnings.push(format!("`{}` is left out: {error}", path.display()));
            tree.unmatched.push(path);
        }
    }
    Ok(())
}

pub(crate) fn has_extension(path: &Path, extensions: &[String]) -> bool {
    let extension = path.extension().and_then(|extension| extension.to_str());
    extension.is_some_and(|got| extensions.iter().any(|want| want.eq_ignore_ascii_case(got)))
}

/// Masks by what they are masks of. A pattern finds a mask only for the names it captures.
pub(crate) struct Masks<'a> {
    patterns: &'a [Pattern],
    found: BTreeMap<(usize, Captures), &'a Entry>,
}

impl<'a> Masks<'a> {
    pub(crate) fn index(patterns: &'a [Pattern], files: &'a [Entry]) -> Self {
        let mut found = BTreeMap::new();
        for entry in files {
            for (number, pattern) in patterns.iter().enumerate() {
                if let Some(captures) = pattern.matches(&entry.segments) {
                    found.entry((number, captures)).or_insert(entry);
                }
            }
        }
        Self { patterns, found }
    }

    /// The mask of an image: the first pattern that has one with the same class, kind and stem.
    pub(crate) fn of(&self, class: &str, kind: &str, stem: &str) -> Option<&'a Entry> {
        let class = Some(class.to_owned());
        let kind = Some(kind.to_owned());
        let stem = Some(stem.to_owned());
        (0..self.patterns.len()).find_map(|number| {
            let keys = [(&class, &kind), (&None, &kind), (&class, &None), (&None, &None)];
            keys.into_iter().find_map(|(class, kind)| {
                let captures =
                    Captures { class: class.clone(), kind: kind.clone(), stem: stem.clone() };
                self.found.get(&(number, captures)).copied()
            })
        })
    }
}
