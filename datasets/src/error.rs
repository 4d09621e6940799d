//! Everything that can be wrong with a layout, a tree of images or a choice of references.

use std::path::PathBuf;

/// What went wrong while reading a layout, opening a data set or choosing references.
#[derive(Debug, thiserror::Error)]
pub enum DatasetError {
    #[error(
        "no layout is called `{name}`{hint}; known layouts: {known}, or give a path to a .toml"
    )]
    UnknownLayout { name: String, hint: String, known: String },
    #[error("layout `{name}`: {message}")]
    BadLayout { name: String, message: String },
    #[error("cannot read `{}`: {source}", path.display())]
    Read { path: PathBuf, source: std::io::Error },
    #[error("cannot write `{}`: {source}", path.display())]
    Write { path: PathBuf, source: std::io::Error },
    #[error("`{}` is not a folder; a data set is a folder in layout `{layout}`", root.display())]
    NotAFolder { root: PathBuf, layout: String },
    #[error(
        "no image in `{}` matches layout `{layout}`, which wants `{wanted}`; found {found}{hint}",
        root.display()
    )]
    NoImages { root: PathBuf, layout: String, wanted: String, found: String, hint: String },
    #[error("`{}` has no class `{class}`{hint}; classes: {known}", root.display())]
    UnknownClass { root: PathBuf, class: String, hint: String, known: String },
    #[error("split table `{}`: {message}", path.display())]
    BadSplit { path: PathBuf, message: String },
    #[error("{shots} references are wanted, but the class has {got} normal images to take from")]
    TooFewReferences { shots: usize, got: usize },
    #[error(
        "{wanted} anomalous references{kind} are wanted, but the class has {got} such images to \
         take from"
    )]
    TooFewAnomalous { wanted: usize, kind: String, got: usize },
    #[error("manifest `{}`: {message}", path.display())]
    BadManifest { path: PathBuf, message: String },
    #[error(
        "manifest `{}` lists `{name}`, which is not among the {n_images} images of the pool",
        path.display()
    )]
    NotInPool { path: PathBuf, name: String, n_images: usize },
    #[error(
        "`{name}` is not the image of manifest `{}`: wants BLAKE3 {want}, got {got}; \
         the file changed, or the manifest belongs to another copy of the data",
        path.display()
    )]
    ContentMismatch { path: PathBuf, name: String, want: String, got: String },
    #[error("{shots} references are wanted, but manifest `{}` lists {got}", path.display())]
    ShortManifest { path: PathBuf, shots: usize, got: usize },
}

/// `; did you mean `x`?` for the nearest of `known`, or nothing when none is near.
pub(crate) fn did_you_mean<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> String {
    let limit = 1 + word.chars().count() / 4;
    known
        .map(|name| (edit_distance(word, name), name))
        .filter(|(distance, _)| *distance <= limit)
        .min()
        .map_or_else(String::new, |(_, name)| format!(" (did you mean `{name}`?)"))
}

/// Levenshtein distance in characters, one row at a time.
fn edit_distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.chars().enumerate() {
        let mut next = Vec::with_capacity(row.len());
        next.push(i + 1);
        for (cb, (diagonal, above)) in b.iter().zip(row.iter().zip(row.iter().skip(1))) {
            let left = next.last().copied().unwrap_or(i + 1);
            let replaced = diagonal + usize::from(ca != *cb);
            next.push(replaced.min(above + 1).min(left + 1));
        }
        row = next;
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edit_distances() {
        for (a, b, want) in [("", "abc", 3), ("kitten", "sitting", 3), ("same", "same", 0)] {
            assert_eq!(edit_distance(a, b), want, "{a} {b}");
        }
    }

    #[test]
    fn a_far_word_gets_no_hint() {
        let known = ["folder", "mvtec-ad"];
        assert_eq!(did_you_mean("mvtec-da", known.into_iter()), " (did you mean `mvtec-ad`?)");
        assert_eq!(did_you_mean("cityscapes", known.into_iter()), "");
    }
}
