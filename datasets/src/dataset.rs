//! A tree of images read under a layout: classes, samples and their roles, in one stable order.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::error::{DatasetError, did_you_mean};
use crate::layout::Layout;
use crate::pattern::Pattern;
use crate::split;
use crate::tree::{Entry, Masks, Tree, walk};

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

impl Class {
    /// The test images that are not among `references` (indices into `train`): a layout whose pool
    /// overlaps its test images (`folder`) must not test what a method has seen.
    pub fn test_without(&self, references: &[usize]) -> Vec<&Sample> {
        let seen: BTreeSet<&Path> = references
            .iter()
            .filter_map(|&i| self.train.get(i))
            .map(|s| s.path.as_path())
            .collect();
        self.test.iter().filter(|sample| !seen.contains(sample.path.as_path())).collect()
    }
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
            Some(split) => {
                let (roles, warnings) = split::read(root, layout, split)?;
                (roles, Tree { warnings, ..Tree::default() })
            }
            None => {
                let tree = walk(root, layout)?;
                (Roles::assign(root, layout, &tree), tree)
            }
        };
        if roles.classes.values().all(Role::is_empty) {
            return Err(no_images(root, layout, &tree));
        }
        if let Some(wanted) = classes {
            keep_classes(root, &mut roles, wanted)?;
        }
        let mut dataset = Self {
            layout: layout.name.clone(),
            root: root.to_owned(),
            mask_above: mask_above.unwrap_or(layout.mask_above),
            classes: Vec::new(),
            unmatched: roles.unmatched(&tree),
            warnings: tree.warnings.clone(),
        };
        for (name, role) in roles.classes {
            let (class, warnings) = role.into_class(name, layout);
            dataset.warnings.extend(warnings);
            dataset.classes.push(class);
        }
        dataset.unmatched.sort();
        Ok(dataset)
    }
}

/// What every file of the tree is for.
#[derive(Default)]
pub(crate) struct Roles {
    classes: BTreeMap<String, Role>,
    /// Files with a role, masks included, and files of classes that were not asked for.
    used: BTreeSet<PathBuf>,
}

#[derive(Default)]
struct Role {
    /// One list per pattern of `train`: the first that is not empty is the pool.
    pools: Vec<Vec<Sample>>,
    train_anomalous: Vec<Sample>,
    test: Vec<Sample>,
    /// Masks that two images of different kinds would share, by name.
    ambiguous: BTreeSet<String>,
}

impl Roles {
    fn assign(root: &Path, layout: &Layout, tree: &Tree) -> Self {
        let mut roles = Self::default();
        let test_masks = Masks::index(&layout.mask, &tree.files);
        let train_masks = Masks::index(&layout.train_mask, &tree.files);
        for entry in &tree.files {
            roles.assign_test(root, layout, entry, &test_masks);
            for (number, pattern) in layout.train.iter().enumerate() {
                let Some((class, kind)) = image(root, layout, pattern, entry) else {
                    continue;
                };
                if layout.is_normal(&kind) {
                    let role = roles.role(class, entry);
                    role.pools.resize(layout.train.len(), Vec::new());
                    if let Some(pool) = role.pools.get_mut(number) {
                        pool.push(sample(entry, kind, false));
                    }
                }
            }
            for pattern in &layout.train_anomalous {
                let Some((class, kind)) = image(root, layout, pattern, entry) else {
                    continue;
                };
                if !layout.is_normal(&kind) {
                    let mut sample = sample(entry, kind, true);
                    roles.attach(&class, &mut sample, entry, &train_masks);
                    roles.role(class, entry).train_anomalous.push(sample);
                    break;
                }
            }
        }
        roles.drop_shared_masks();
        roles
    }

    fn assign_test(&mut self, root: &Path, layout: &Layout, entry: &Entry, masks: &Masks) {
        for pattern in &layout.test {
            let Some((class, kind)) = image(root, layout, pattern, entry) else {
                continue;
            };
            let anomalous = !layout.is_normal(&kind);
            let mut sample = sample(entry, kind, anomalous);
            self.attach(&class, &mut sample, entry, masks);
            self.role(class, entry).test.push(sample);
            return;
        }
    }

    /// Adds a row of a split table; anomalous images of the training split are references too.
    pub(crate) fn add(
        &mut self,
        layout: &Layout,
        class: &str,
        kind: &str,
        is_train: bool,
        image: &Entry,
        mask: Option<Entry>,
    ) {
        let mut sample = sample(image, kind.to_owned(), !layout.is_normal(kind));
        sample.mask = mask.filter(|_| sample.anomalous).map(|mask| mask.path);
        let role = self.role(class.to_owned(), image);
        match (is_train, sample.anomalous) {
            (true, false) => {
                role.pools.resize(1, Vec::new());
                role.pools.iter_mut().for_each(|pool| pool.push(sample.clone()));
            }
            (true, true) => role.train_anomalous.push(sample),
            (false, _) => role.test.push(sample),
        }
    }

    fn role(&mut self, class: String, entry: &Entry) -> &mut Role {
        self.used.insert(entry.path.clone());
        self.classes.entry(class).or_default()
    }

    fn attach(&mut self, class: &str, sample: &mut Sample, entry: &Entry, masks: &Masks) {
        if let Some(mask) = masks.of(class, &sample.kind, entry.stem()) {
            self.used.insert(mask.path.clone());
            sample.mask = sample.anomalous.then(|| mask.path.clone());
        }
    }

    /// A mask found by stem alone may fit two images (`scratch/000` and `stain/000`): it is then
    /// neither's, since a guess would be wrong for one of them.
    fn drop_shared_masks(&mut self) {
        let mut users: BTreeMap<PathBuf, usize> = BTreeMap::new();
        for role in self.classes.values_mut() {
            let mut seen = BTreeSet::new();
            for sample in role.may_have_masks() {
                if let Some(mask) = &sample.mask
                    && seen.insert((mask.clone(), sample.path.clone()))
                {
                    *users.entry(mask.clone()).or_default() += 1;
                }
            }
        }
        for role in self.classes.values_mut() {
            let mut ambiguous = BTreeSet::new();
            for sample in role.may_have_masks() {
                if let Some(mask) = sample.mask.take_if(|mask| users.get(mask) > Some(&1)) {
                    ambiguous.insert(mask.display().to_string());
                }
            }
            role.ambiguous = ambiguous;
        }
    }

    fn unmatched(&self, tree: &Tree) -> Vec<PathBuf> {
        let files = tree.files.iter().map(|entry| &entry.path);
        let stray = files.filter(|path| !self.used.contains(*path));
        tree.unmatched.iter().chain(stray).cloned().collect()
    }
}

impl Role {
    fn may_have_masks(&mut self) -> impl Iterator<Item = &mut Sample> {
        self.train_anomalous.iter_mut().chain(self.test.iter_mut())
    }

    fn is_empty(&self) -> bool {
        self.pools.iter().all(Vec::is_empty)
            && self.train_anomalous.is_empty()
            && self.test.is_empty()
    }

    /// The class, and what is missing in it.
    fn into_class(self, name: String, layout: &Layout) -> (Class, Vec<String>) {
        let (display, synonyms) = layout.words(&name);
        let train = self.pools.into_iter().find(|pool| !pool.is_empty()).unwrap_or_default();
        let (train_anomalous, test) = (self.train_anomalous, self.test);
        let mut class = Class { name, display, synonyms, train, train_anomalous, test };
        for list in [&mut class.train, &mut class.train_anomalous, &mut class.test] {
            match layout.file.split {
                Some(_) => list.sort_by(|a, b| a.kind.cmp(&b.kind)),
                None => list.sort_by(|a, b| (&a.kind, &a.name).cmp(&(&b.kind, &b.name))),
            }
        }
        let mut warnings = Vec::new();
        if class.train.is_empty() {
            warnings.push(format!(
                "class `{}` has no normal reference image: it can only be run with 0 shots",
                class.name
            ));
        }
        if class.test.is_empty() {
            warnings.push(format!("class `{}` has no test image", class.name));
        }
        for mask in &self.ambiguous {
            warnings.push(format!(
                "mask `{mask}` fits several images by name and is used for none; \
                 sort the masks into folders by kind"
            ));
        }
        if !layout.mask.is_empty() || layout.file.split.is_some() {
            warnings.extend(missing_masks(&class));
        }
        (class, warnings)
    }
}

/// One warning per kind with anomalous test images whose mask was not found.
fn missing_masks(class: &Class) -> Vec<String> {
    let mut kinds: BTreeMap<&str, (usize, Vec<&str>)> = BTreeMap::new();
    for sample in class.test.iter().filter(|sample| sample.anomalous) {
        let (n_images, missing) = kinds.entry(&sample.kind).or_default();
        *n_images += 1;
        if sample.mask.is_none() {
            missing.push(&sample.name);
        }
    }
    let warning = |(kind, (n_images, missing)): (&str, (usize, Vec<&str>))| {
        let first = missing.first()?;
        Some(format!(
            "class `{}`: {} of {n_images} anomalous images of kind `{kind}` have no mask (first: \
             `{first}`); pixel metrics are undefined for them",
            class.name,
            missing.len(),
        ))
    };
    kinds.into_iter().filter_map(warning).collect()
}

/// Class and kind of an image, if the pattern means it.
fn image(
    root: &Path,
    layout: &Layout,
    pattern: &Pattern,
    entry: &Entry,
) -> Option<(String, String)> {
    let captures = pattern.matches(&entry.segments)?;
    let class = captures.class.unwrap_or_else(|| folder_name(root));
    let kind = captures.kind.or_else(|| layout.file.normal.first().cloned())?;
    (layout.lists(&class) && !layout.file.not_kinds.contains(&kind)).then_some((class, kind))
}

/// The root's own name is the class where a layout has no `{class}`.
fn folder_name(root: &Path) -> String {
    let full = std::fs::canonicalize(root).unwrap_or_else(|_| root.to_owned());
    full.file_name().map_or_else(|| "object".to_owned(), |name| name.to_string_lossy().into_owned())
}

fn sample(entry: &Entry, kind: String, anomalous: bool) -> Sample {
    Sample { path: entry.path.clone(), name: entry.name(), kind, anomalous, mask: None }
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
        hint: match is_class {
            true => "; this looks like the folder of one class: give its parent".to_owned(),
            false => String::new(),
        },
    }
}
