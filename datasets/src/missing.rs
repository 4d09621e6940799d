//! What a tree lacks: classes, splits, masks and images that its layout speaks of. Nothing here is
//! an error, since a part of a data set can be run; but nobody shall run a part unknowingly.

use std::collections::{BTreeMap, BTreeSet};

use crate::dataset::{Class, Sample};
use crate::layout::Layout;
use crate::pattern::Pattern;
use crate::roles::Roles;

/// The classes of the layout's own list that the tree has no image of.
pub(crate) fn classes(roles: &Roles, layout: &Layout) -> Option<String> {
    let known = layout.file.classes.as_ref()?;
    let has_image = |name: &str| roles.classes.get(name).is_some_and(|role| !role.is_empty());
    let absent: Vec<&str> =
        known.iter().map(String::as_str).filter(|name| !has_image(name)).collect();
    (!absent.is_empty()).then(|| {
        format!(
            "{} of the {} classes of layout `{}` are not there: {}",
            absent.len(),
            known.len(),
            layout.name,
            absent.join(", ")
        )
    })
}

/// What one class lacks; `shared_masks` fit several images by name and were given to none.
pub(crate) fn in_class(
    class: &Class,
    layout: &Layout,
    shared_masks: &BTreeSet<String>,
) -> Vec<String> {
    let mut warnings = splits(class, layout);
    for mask in shared_masks {
        warnings.push(format!(
            "mask `{mask}` fits several images by name and is used for none; \
             sort the masks into folders by kind"
        ));
    }
    warnings.extend(count(class, layout));
    for (role, samples, patterns) in [
        ("anomalous reference", &class.train_anomalous, &layout.train_mask),
        ("anomalous", &class.test, &layout.mask),
    ] {
        if !patterns.is_empty() || layout.file.split.is_some() {
            warnings.extend(masks(class, role, samples, patterns));
        }
    }
    warnings
}

fn splits(class: &Class, layout: &Layout) -> Vec<String> {
    let name = &class.name;
    let mut warnings = Vec::new();
    if class.train.is_empty() {
        warnings.push(format!(
            "class `{name}` has no normal reference image: it can only be run with 0 shots"
        ));
    }
    if class.train_anomalous.is_empty() && !layout.train_anomalous.is_empty() {
        warnings.push(format!("class `{name}` has no anomalous reference image"));
    }
    let n_anomalous = class.test.iter().filter(|sample| sample.anomalous).count();
    if class.test.is_empty() {
        warnings.push(format!("class `{name}` has no test image"));
    } else if n_anomalous == 0 || n_anomalous == class.test.len() {
        let lacking = if n_anomalous == 0 { "anomalous" } else { "normal" };
        warnings.push(format!(
            "class `{name}` has no {lacking} test image: image metrics are undefined for it"
        ));
    }
    for (role, samples) in [("reference", &class.train), ("test", &class.test)] {
        let kinds: BTreeSet<&str> =
            samples.iter().filter(|s| !s.anomalous).map(|sample| sample.kind.as_str()).collect();
        if kinds.len() > 1 {
            let kinds: Vec<&str> = kinds.into_iter().collect();
            warnings.push(format!(
                "class `{name}` has normal {role} images in `{}`; make sure that they are not the \
                 same images twice",
                kinds.join("` and in `")
            ));
        }
    }
    warnings
}

/// How the class differs in size from the published one, if the layout knows that.
fn count(class: &Class, layout: &Layout) -> Option<String> {
    let known = layout.file.class.get(&class.name)?;
    let differs = |want: Option<usize>, got: usize| want.is_some_and(|want| want != got);
    let part = |want: Option<usize>, got: usize, of: &str| {
        differs(want, got).then(|| format!("{got} of {} {of} images", want.unwrap_or_default()))
    };
    let parts = [
        part(known.n_train, class.train.len(), "reference"),
        part(known.n_test, class.test.len(), "test"),
    ];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    (!parts.is_empty()).then(|| {
        format!("class `{}` is not the published one: it has {}", class.name, parts.join(" and "))
    })
}

/// One warning per kind with anomalous images whose mask was not found.
fn masks(class: &Class, role: &str, samples: &[Sample], patterns: &[Pattern]) -> Vec<String> {
    let mut kinds: BTreeMap<&str, (usize, Vec<&str>)> = BTreeMap::new();
    for sample in samples.iter().filter(|sample| sample.anomalous) {
        let (n_images, missing) = kinds.entry(&sample.kind).or_default();
        *n_images += 1;
        if sample.mask.is_none() {
            missing.push(&sample.name);
        }
    }
    let warning = |(kind, (n_images, missing)): (&str, (usize, Vec<&str>))| {
        let first = missing.first()?;
        // Where not one mask was found, its folder may have another name than the layout thinks.
        let sought = match patterns.first() {
            Some(pattern) if missing.len() == n_images => {
                format!("; the layout looks for `{}`", pattern.text)
            }
            _ => String::new(),
        };
        Some(format!(
            "class `{}`: {} of {n_images} {role} images of kind `{kind}` have no mask (first: \
             `{first}`{sought}); pixel metrics are undefined for them",
            class.name,
            missing.len(),
        ))
    };
    kinds.into_iter().filter_map(warning).collect()
}
