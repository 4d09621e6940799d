//! Layouts as data: a descriptor says where a kind of data set keeps images, masks and classes.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

use crate::error::{DatasetError, did_you_mean};
use crate::files::read_text;
use crate::pattern::Pattern;
use crate::split::Split;

/// The layouts that ship with the crate: the general ones, then those of one data set.
const BUILT_IN: &[(&str, &str)] = &[
    ("mvtec-ad", include_str!("../layouts/mvtec-ad.toml")),
    ("folder", include_str!("../layouts/folder.toml")),
    ("visa", include_str!("../layouts/visa.toml")),
    ("mvtec-3d", include_str!("../layouts/mvtec-3d.toml")),
    ("mpdd", include_str!("../layouts/mpdd.toml")),
    ("btad", include_str!("../layouts/btad.toml")),
    ("brain", include_str!("../layouts/brain.toml")),
    ("liver", include_str!("../layouts/liver.toml")),
    ("retina-resc", include_str!("../layouts/retina-resc.toml")),
    ("retina-oct", include_str!("../layouts/retina-oct.toml")),
    ("chest", include_str!("../layouts/chest.toml")),
    ("histopathology", include_str!("../layouts/histopathology.toml")),
];

/// What a layout says of one class: how it is written in a sentence, by which other words, and how
/// many images the published data set has of it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClassFacts {
    /// The name in a sentence (`metal nut`); without it, the folder name with spaces for `_`.
    pub display: Option<String>,
    #[serde(default)]
    pub synonyms: Vec<String>,
    /// Normal references. A tree with another number of them is warned about, and read.
    pub n_train: Option<usize>,
    /// Test images, of all kinds.
    pub n_test: Option<usize>,
}

/// A layout descriptor. Its patterns are relative to the root, with `/` on every system.
#[derive(Clone, Debug)]
pub struct Layout {
    pub name: String,
    pub about: String,
    /// Mask values above this are anomalous, unless the run says otherwise.
    pub mask_above: u8,
    pub(crate) file: File,
    pub(crate) train: Vec<Pattern>,
    pub(crate) train_anomalous: Vec<Pattern>,
    pub(crate) test: Vec<Pattern>,
    pub(crate) mask: Vec<Pattern>,
    pub(crate) train_mask: Vec<Pattern>,
    pub(crate) ignore: Vec<Pattern>,
}

/// The text of a descriptor, key by key.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct File {
    layout: u32,
    name: String,
    about: String,
    /// Normal references; the first pattern that finds an image of a class is used for that class.
    #[serde(default)]
    train: Vec<String>,
    /// Anomalous references for few-shot training (images of kinds that are not normal).
    #[serde(default)]
    train_anomalous: Vec<String>,
    /// Test images; all patterns count.
    #[serde(default)]
    test: Vec<String>,
    /// Masks of test images, tried in order; empty if the data set has none.
    #[serde(default)]
    mask: Vec<String>,
    /// Masks of anomalous references.
    #[serde(default)]
    train_mask: Vec<String>,
    /// A table that says all of this instead of patterns.
    pub(crate) split: Option<Split>,
    /// Kinds that mean "nothing wrong"; the first names images whose pattern has no `{kind}`.
    pub(crate) normal: Vec<String>,
    /// Folder names that `{kind}` never matches.
    #[serde(default)]
    pub(crate) not_kinds: Vec<String>,
    /// File name extensions of images and masks, compared without case.
    pub(crate) extensions: Vec<String>,
    #[serde(default)]
    mask_above: u8,
    /// File and folder names that are passed over in silence.
    #[serde(default)]
    ignore: Vec<String>,
    /// The classes, if the data set has a fixed list: other folders are then not classes.
    pub(crate) classes: Option<Vec<String>>,
    #[serde(default)]
    pub(crate) class: BTreeMap<String, ClassFacts>,
}

impl Layout {
    /// The names of the layouts that ship with the crate, the general ones first.
    pub fn names() -> Vec<&'static str> {
        BUILT_IN.iter().map(|(name, _)| *name).collect()
    }

    /// A built-in layout by name, or a descriptor file by path (anything with `/` or ending
    /// `.toml`).
    ///
    /// Errors: `UnknownLayout` with the nearest name, `Read`, `BadLayout` with the mistake's place.
    pub fn find(name_or_path: &str) -> Result<Self, DatasetError> {
        if let Some((name, text)) = BUILT_IN.iter().find(|(name, _)| *name == name_or_path) {
            return Self::parse(name, text);
        }
        if name_or_path.contains(['/', '\\']) || name_or_path.ends_with(".toml") {
            let path = Path::new(name_or_path);
            return Self::parse(name_or_path, &read_text(path)?);
        }
        Err(DatasetError::UnknownLayout {
            name: name_or_path.to_owned(),
            hint: did_you_mean(name_or_path, Self::names().into_iter()),
            known: Self::names().join(", "),
        })
    }

    /// Reads a descriptor from text; `origin` names it in errors.
    pub fn parse(origin: &str, text: &str) -> Result<Self, DatasetError> {
        let bad = |message: String| DatasetError::BadLayout { name: origin.to_owned(), message };
        let file: File = toml::from_str(text).map_err(|error| bad(error.to_string()))?;
        if file.layout != 1 {
            return Err(bad(format!(
                "`layout = {}` is not known here; write `layout = 1`",
                file.layout
            )));
        }
        let patterns = |texts: &[String]| {
            texts
                .iter()
                .map(|text| Pattern::parse(text).map_err(bad))
                .collect::<Result<Vec<_>, _>>()
        };
        let layout = Self {
            name: file.name.clone(),
            about: file.about.clone(),
            mask_above: file.mask_above,
            train: patterns(&file.train)?,
            train_anomalous: patterns(&file.train_anomalous)?,
            test: patterns(&file.test)?,
            mask: patterns(&file.mask)?,
            train_mask: patterns(&file.train_mask)?,
            ignore: patterns(&file.ignore)?,
            file,
        };
        layout.validate().map_err(bad)?;
        Ok(layout)
    }

    fn validate(&self) -> Result<(), String> {
        if (self.train.is_empty() && self.test.is_empty()) == self.file.split.is_none() {
            return Err("give patterns in `train` and `test`, or a table in `split`".to_owned());
        }
        if self.file.normal.is_empty() {
            return Err("`normal` is empty; name the kind of images with nothing wrong".to_owned());
        }
        if self.file.extensions.is_empty() {
            return Err("`extensions` is empty; name at least `png`".to_owned());
        }
        if let Some(pattern) = self.mask_patterns().find(|pattern| !pattern.names_stem()) {
            return Err(format!(
                "mask pattern `{}` has no `{{stem}}`; masks pair with images by file name",
                pattern.text
            ));
        }
        let images = || self.train.iter().chain(&self.train_anomalous).chain(&self.test);
        let with_class = images().filter(|pattern| pattern.names_class()).count();
        if with_class != 0 && with_class != images().count() {
            return Err("`{class}` must stand in all image patterns or in none".to_owned());
        }
        if let Some(class) = self.file.class.keys().find(|class| !self.lists(class)) {
            return Err(format!("`class.{class}` speaks of a class that is not in `classes`"));
        }
        Ok(())
    }

    pub(crate) fn mask_patterns(&self) -> impl Iterator<Item = &Pattern> {
        self.mask.iter().chain(&self.train_mask)
    }

    pub(crate) fn all_patterns(&self) -> impl Iterator<Item = &Pattern> {
        self.train.iter().chain(&self.train_anomalous).chain(&self.test).chain(self.mask_patterns())
    }

    pub(crate) fn is_normal(&self, kind: &str) -> bool {
        self.file.normal.iter().any(|normal| normal == kind)
    }

    /// The classes of the published data set, where it has a fixed list: name, display name and
    /// synonyms of each.
    pub fn published(&self) -> Vec<(String, String, Vec<String>)> {
        let known = self.file.classes.iter().flatten();
        let words = |class: &String| {
            let (display, synonyms) = self.words(class);
            (class.clone(), display, synonyms)
        };
        known.map(words).collect()
    }

    /// Whether a folder name may be a class.
    pub(crate) fn lists(&self, class: &str) -> bool {
        self.file.classes.as_ref().is_none_or(|known| known.iter().any(|name| name == class))
    }

    /// The display name and synonyms of a class; spaces for `_` when the layout says nothing.
    pub(crate) fn words(&self, class: &str) -> (String, Vec<String>) {
        let words = self.file.class.get(class).cloned().unwrap_or_default();
        (words.display.unwrap_or_else(|| class.replace('_', " ")), words.synonyms)
    }
}
