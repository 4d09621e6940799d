//! Sides of prepared images, and of the grid of patches that an encoder makes of them.

use std::collections::BTreeMap;

use super::diagnostics::Diagnostic;
use super::draft::Draft;
use super::model::{Label, PAINTED_MASK};
use super::ports::Typed;
use super::sections;
use super::shapes::{Bound, Dim, by_size};

/// Sides of the prepared images, per size; unknown where the shape of the image is kept.
pub(super) fn bind_sizes(draft: &Draft, typed: &mut Typed) {
    let sizes = sections::sizes(&draft.config);
    typed.mapped = sizes.iter().map(|size| Label { size: Some(*size), tap: None }).collect();
    if matches!(draft.component.as_str(), "square" | PAINTED_MASK) {
        let sides: BTreeMap<u32, u64> =
            sizes.iter().map(|size| (*size, u64::from(*size))).collect();
        for name in ["h", "w"] {
            let bound =
                Bound { dim: by_size(sides.clone()), by: "`sizes`".to_string(), at: draft.at };
            typed.bindings.bind(name, bound);
        }
    }
}

/// The grid of an encoder with square patches, which it tells of as a fact. Only whole patches are
/// read, as in the encoders of the papers: that part of an image is cut off is a warning, that
/// nothing is left of it an error.
pub(super) fn bind_patches(draft: &Draft, typed: &mut Typed) -> Vec<Diagnostic> {
    if draft.kind != "encoder" {
        return Vec::new();
    }
    let facts = &draft.facts;
    let patch = facts.dims.get("patch").map(|side| *side as u64);
    let Some(patch) = patch.or_else(|| facts.all["patch_size"].as_u64()).filter(|p| *p > 0) else {
        return Vec::new();
    };
    let mut sides = Vec::new();
    for (side, name) in [("h", "gh"), ("w", "gw")] {
        let dim = match typed.bindings.get(side) {
            Some(Dim::Known(side)) => {
                sides.push(*side);
                Dim::Known(side / patch)
            }
            Some(Dim::BySize(by)) => {
                sides.extend(by.values());
                by_size(by.iter().map(|(size, side)| (*size, side / patch)).collect())
            }
            _ => continue,
        };
        let by = format!("encoder `{}`", draft.component);
        typed.bindings.bind(name, Bound { dim, by, at: draft.kind_at });
    }
    sides.sort_unstable();
    sides.dedup();
    sides.iter().filter_map(|side| judged(draft, *side, patch)).collect()
}

/// What is wrong with images of this side, if anything is.
fn judged(draft: &Draft, side: u64, patch: u64) -> Option<Diagnostic> {
    let encoder = &draft.component;
    let n_patches = side / patch;
    if n_patches == 0 {
        let message = format!("an image of size {side} has no whole patch for encoder `{encoder}`");
        let found = Diagnostic::error(draft.kind_at, message);
        return Some(
            found
                .label(format!("its patches are {patch} x {patch} pixels"))
                .hint(format!("give `sizes` of {patch} or more")),
        );
    }
    let read = n_patches * patch;
    (read < side).then(|| {
        let message =
            format!("encoder `{encoder}` reads {read} x {read} pixels of an image of size {side}");
        Diagnostic::warning(draft.kind_at, message)
            .label(format!("its patches are {patch} x {patch} pixels, the rest is cut off"))
            .hint(format!("size {read} or {} is whole patches", read + patch))
            .note("a map is stretched over the whole image, so it is off by up to what is cut off")
    })
}
