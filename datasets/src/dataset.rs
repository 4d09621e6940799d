//! A tree of images read under a layout: classes, samples and their roles, in one stable order.

use std::path::{Path, PathBuf};

use crate::error::{DatasetError, did_you_mean};
use crate::layout::Layout;
use crate::missing;
use crate::pattern::Pattern;
use crate::roles::{Role, Roles};
use crate::split;
use crate::tree::{Tree, walk};

/// One image with what the tree says of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    pub path: PathBuf,
    /// The path below the root with its extension, `/` separated: the image's name in every output.
    pub name: String,
    pub kind: String,
    pub anomalous: bool,
    /// Always `None` for a normal image, whose mask is empty by definition. `None` for an anomalous
    /// image means that its mask is unknown: pixel metrics are undefined for it, never zero.
    pub mask: Option<PathBuf>,
}

/// The images of one class by role; each list is sorted by kind, then by name, in byte order
/// (a split table's rows keep their order within a kind).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Class {
    pub name: String,
    /// How the class is called in a sentence: `metal nut`.
    pub display: String,
    pub synonyms: Vec<String>,
    /// The pool of normal references.
    pub train: Vec<Sample>,
    /// Anomalous references for few-shot training; empty in layouts that set none apart.
    pub train_anomalous: Vec<Sample>,
    pub test: Vec<Sample>,
}

/// A data set as found on disk. What was not understood is in `unmatched` and `warnings`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dataset {
    pub layout: String,
    pub root: PathBuf,
    /// Mask values above this are anomalous.
    pub mask_above: u8,
    /// Sorted by name, in byte order.
    pub classes: Vec<Class>,
    /// Files and folders no pattern asked for, sorted.
    pub unmatched: Vec<PathBuf>,
    pub warnings: Vec<String>,
}

impl Dataset {
    /// Reads the tree below `root`. `classes` keeps only those; `mask_above` overrules the
    /// layout's.
    ///
    /// Errors: `NotAFolder`, `Read` (a folder that cannot be listed), `UnknownClass`, and
    /// `NoImages` when no image has a role. A missing mask, pool or test split is a warning, a
    /// stray file is listed as unmatched.
    pub fn open(
        root: &Path,
        layout: &Layout,
        classes: Option<&[String]>,
        mask_above: Option<u8>,
    ) -> Result<Self, DatasetError> {
        if !root.is_dir() {
            let layout = layout.name.clone();
            return Err(DatasetError::NotAFolder { root: root.to_owned(), layout });
        }
        let (mut roles, tree) = match &layout.file.split {
            Some(split) => split::read(root, layout, split)?,
            None => {
                let tree = walk(root, layout)?;
                (Roles::assign(root, layout, &tree), tree)
            }
        };
        if roles.classes.values().all(Role::is_empty) {
            return Err(no_images(root, layout, &tree));
        }
        let unmatched = roles.unmatched(&tree);
        let mut warnings = tree.warnings;
        match classes {
            Some(wanted) => keep_classes(root, &mut roles, wanted)?,
            None => warnings.extend(missing::classes(&roles, layout)),
        }
        let mut dataset = Self {
            layout: layout.name.clone(),
            root: root.to_owned(),
            mask_above: mask_above.unwrap_or(layout.mask_above),
            classes: Vec::new(),
            unmatched,
            warnings,
        };
        for (name, role) in roles.classes {
            let (class, shared_masks) = role.into_class(name, layout);
            dataset.warnings.extend(missing::in_class(&class, layout, &shared_masks));
            dataset.classes.push(class);
        }
        dataset.unmatched.sort();
        Ok(dataset)
    }
}

fn keep_classes(root: &Path, roles: &mut Roles, wanted: &[String]) -> Result<(), DatasetError> {
    let known = roles.classes.keys().map(String::as_str);
    if let Some(class) = wanted.iter().find(|class| !roles.classes.contains_key(*class)) {
        return Err(DatasetError::UnknownClass {
            root: root.to_owned(),
            class: class.clone(),
            hint: did_you_mean(class, known.clone()),
            known: known.collect::<Vec<_>>().join(", "),
        });
    }
    roles.classes.retain(|class, _| wanted.contains(class));
    Ok(())
}

fn no_images(root: &Path, layout: &Layout, tree: &Tree) -> DatasetError {
    let table = layout.file.split.as_ref().map(|split| split.file.as_str());
    let wanted: Vec<&str> =
        layout.train.iter().chain(&layout.test).map(|pattern| pattern.text.as_str()).collect();
    let first = tree.unmatched.iter().chain(tree.files.iter().map(|entry| &entry.path)).next();
    let below = |pattern: &Pattern| pattern.below_class().is_some_and(|f| root.join(f).is_dir());
    let is_class = layout.train.iter().chain(&layout.test).any(below);
    DatasetError::NoImages {
        root: root.to_owned(),
        layout: layout.name.clone(),
        wanted: table.map_or_else(|| wanted.join("` or `"), |t| format!("a row in {t}")),
        found: first.map_or_else(
            || "nothing at all".to_owned(),
            |path| format!("`{}`, for one", path.strip_prefix(root).unwrap_or(path).display()),
        ),
        hint: match (is_class, tree.warnings.first()) {
            (true, _) => "; this looks like the folder of one class: give its parent".to_owned(),
            (false, Some(warning)) => format!("; {warning}"),
            (false, None) => String::new(),
        },
    }
}
