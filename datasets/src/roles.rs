//! What every file of a tree is for: pools of references, test images, and the masks they have.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::dataset::{Class, Sample};
use crate::layout::Layout;
use crate::pattern::Pattern;
use crate::tree::{Entry, Masks, Tree};

/// What every file of the tree is for.
#[derive(Default)]
pub(crate) struct Roles {
    pub(crate) classes: BTreeMap<String, Role>,
    /// Files with a role, masks included, and files of classes that were not asked for.
    used: BTreeSet<PathBuf>,
}

/// A row of a split table whose image is there.
pub(crate) struct Row {
    pub(crate) image: Entry,
    pub(crate) mask: Option<Entry>,
    pub(crate) kind: String,
    pub(crate) anomalous: bool,
}

#[derive(Default)]
pub(crate) struct Role {
    /// One list per pattern of `train`: the first that is not empty is the pool.
    pools: Vec<Vec<Sample>>,
    train_anomalous: Vec<Sample>,
    test: Vec<Sample>,
    /// Masks that two images of different kinds would share, by name.
    ambiguous: BTreeSet<String>,
}

impl Roles {
    pub(crate) fn assign(root: &Path, layout: &Layout, tree: &Tree) -> Self {
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
    /// Gives `false`, and adds nothing, if an earlier row named the image.
    pub(crate) fn add(&mut self, class: &str, is_train: bool, mut row: Row) -> bool {
        if self.used.contains(&row.image.path) {
            return false;
        }
        let mask = row.mask.take();
        self.used.extend(mask.iter().map(|mask| mask.path.clone()));
        let mut sample = sample(&row.image, row.kind, row.anomalous);
        sample.mask = mask.filter(|_| sample.anomalous).map(|mask| mask.path);
        let role = self.role(class.to_owned(), &row.image);
        match (is_train, sample.anomalous) {
            (true, false) => {
                role.pools.resize(1, Vec::new());
                role.pools.iter_mut().for_each(|pool| pool.push(sample.clone()));
            }
            (true, true) => role.train_anomalous.push(sample),
            (false, _) => role.test.push(sample),
        }
        true
    }

    /// A file that is known and has no role.
    pub(crate) fn pass_over(&mut self, entry: &Entry) {
        self.used.insert(entry.path.clone());
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

    pub(crate) fn unmatched(&self, tree: &Tree) -> Vec<PathBuf> {
        let files = tree.files.iter().map(|entry| &entry.path);
        let stray = files.filter(|path| !self.used.contains(*path));
        tree.unmatched.iter().chain(stray).cloned().collect()
    }
}

impl Role {
    fn may_have_masks(&mut self) -> impl Iterator<Item = &mut Sample> {
        self.train_anomalous.iter_mut().chain(self.test.iter_mut())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.pools.iter().all(Vec::is_empty)
            && self.train_anomalous.is_empty()
            && self.test.is_empty()
    }

    /// The class with its lists in order, and the masks that fit several images.
    pub(crate) fn into_class(self, name: String, layout: &Layout) -> (Class, BTreeSet<String>) {
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
        (class, self.ambiguous)
    }
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
