//! Names from a data set as file names: safe on every system, never outside the run folder, never
//! the same twice.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

/// Longest part of a path, in bytes, before it is cut. Systems take 255; the extension and a digest
/// come on top.
const MAX_PART: usize = 100;
/// Longest whole path, in bytes.
const MAX_PATH: usize = 200;
/// Names that Windows keeps for devices.
const DEVICES: [&str; 4] = ["con", "prn", "aux", "nul"];

/// Paths given out so far, below one folder.
#[derive(Debug, Default)]
pub struct Names {
    given: BTreeMap<String, PathBuf>,
    files: BTreeSet<String>,
    folders: BTreeSet<String>,
}

impl Names {
    /// Path of `name` with `extension` for its own, relative, with `/` between its parts. The same
    /// name gets the same path; another name never does, not even where upper and lower case are
    /// one.
    pub fn path(&mut self, name: &str, extension: &str) -> PathBuf {
        if let Some(path) = self.given.get(name) {
            return path.clone();
        }
        let plain = safe(name);
        let path = match plain.filter(|plain| self.is_free(&format!("{plain}.{extension}"))) {
            Some(plain) => format!("{plain}.{extension}"),
            None => self.marked(name, extension),
        };
        self.take(&path);
        self.given.insert(name.to_owned(), PathBuf::from(&path));
        PathBuf::from(path)
    }

    /// A flat name that ends with a digest of the whole name.
    fn marked(&self, name: &str, extension: &str) -> String {
        let digest = blake3::hash(name.as_bytes()).to_hex();
        let mut stem = part(strip_extension(name));
        cut(&mut stem, MAX_PART / 2);
        let mut path = format!("{stem}~{}.{extension}", digest.get(..16).unwrap_or_default());
        // Somebody may have named an image like this on purpose; there are finitely many of them.
        while !self.is_free(&path) {
            path.insert(0, '_');
        }
        path
    }

    fn is_free(&self, path: &str) -> bool {
        let key = path.to_lowercase();
        !self.files.contains(&key)
            && !self.folders.contains(&key)
            && !parents(&key).any(|parent| self.files.contains(parent))
    }

    fn take(&mut self, path: &str) {
        let key = path.to_lowercase();
        self.folders.extend(parents(&key).map(str::to_owned));
        self.files.insert(key);
    }
}

/// An image's name below a folder that has the class's name already. Names start with the class where the data
/// set's tree does.
pub fn below_class<'a>(class: &str, image: &'a str) -> &'a str {
    image.strip_prefix(class).and_then(|rest| rest.strip_prefix('/')).unwrap_or(image)
}

/// The name itself, without its extension, if it is a safe path as it stands.
fn safe(name: &str) -> Option<String> {
    let name = strip_extension(name);
    let is_safe = name.len() <= MAX_PATH && name.split('/').all(|text| part(text) == text);
    is_safe.then(|| name.to_owned())
}

/// `test/crack/000.png` -> `test/crack/000`: a map is not a PNG, though it belongs to one.
fn strip_extension(name: &str) -> &str {
    match name.rsplit_once('.') {
        Some((stem, extension))
            if !stem.is_empty()
                && !stem.ends_with('/')
                && (1..=5).contains(&extension.len())
                && extension.chars().all(|c| c.is_ascii_alphanumeric()) =>
        {
            stem
        }
        _ => name,
    }
}

/// One part of a path with everything replaced that some system gives a meaning to.
fn part(text: &str) -> String {
    let plain =
        |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | '+' | '=' | '@' | ' ');
    let mut safe: String = text.chars().map(|c| if plain(c) { c } else { '_' }).collect();
    cut(&mut safe, MAX_PART);
    if safe.starts_with(['.', ' ', '-']) {
        safe.replace_range(..1, "_");
    }
    if safe.ends_with(['.', ' ']) {
        safe.pop();
        safe.push('_');
    }
    let stem = safe.split('.').next().unwrap_or_default().to_ascii_lowercase();
    let numbered = |port| stem.strip_prefix(port).is_some_and(|n: &str| n.len() == 1);
    if safe.is_empty() || DEVICES.contains(&stem.as_str()) || numbered("com") || numbered("lpt") {
        safe.insert(0, '_');
    }
    safe
}

/// Keeps at most `limit` bytes, and whole characters.
fn cut(text: &mut String, limit: usize) {
    let mut end = limit.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
}

fn parents(path: &str) -> impl Iterator<Item = &str> {
    path.match_indices('/').filter_map(|(at, _)| path.get(..at))
}

#[cfg(test)]
mod tests {
    use std::path::{Component, Path};

    use super::*;

    fn check(names: &[&str], want: &[&str]) {
        let mut given = Names::default();
        let got: Vec<PathBuf> = names.iter().map(|name| given.path(name, "npy")).collect();
        let want: Vec<&Path> = want.iter().map(Path::new).collect();
        assert_eq!(got, want);
    }

    #[test]
    fn a_class_stands_once() {
        assert_eq!(below_class("tile", "tile/test/0.png"), "test/0.png");
        assert_eq!(below_class("tile", "tiles/0.png"), "tiles/0.png");
        assert_eq!(below_class("Brain", "Brain_AD/test/0.png"), "Brain_AD/test/0.png");
    }

    #[test]
    fn plain_names_keep_their_folders() {
        check(&["test/crack/000.png", "good/a b.JPG"], &["test/crack/000.npy", "good/a b.npy"]);
        check(&["v1.2/000", "größe/ü.png"], &["v1.2/000.npy", "größe/ü.npy"]);
    }

    #[test]
    fn the_same_name_gets_the_same_path_and_no_other_does() {
        check(&["a.png", "a.png"], &["a.npy", "a.npy"]);
        check(&["a.png", "a.jpg"], &["a.npy", "a~823a6d9fa016b87f.npy"]);
    }

    #[test]
    fn hostile_names_stay_below_their_folder_and_apart() {
        let long = format!("{}{}", "x/".repeat(300), "é".repeat(400));
        let hostile = [
            "../../etc/passwd",
            "/etc/passwd",
            "..",
            ".",
            "",
            "/",
            "a//b",
            "C:\\x",
            "a:b",
            "a\u{0}b",
            "nul.png",
            "COM1",
            "x.",
            "x ",
            "-rf",
            ".hidden",
            "a\nb",
            "<b>&\".png",
            "A.png",
            "a.png",
            "a.npy/b.png",
            "a.png/c",
            "~",
            "\u{202e}gnp.a",
            long.as_str(),
        ];
        let mut given = Names::default();
        let paths: Vec<PathBuf> = hostile.iter().map(|name| given.path(name, "npy")).collect();
        let folder = tempfile::tempdir().unwrap();
        for path in &paths {
            assert!(path.components().all(|part| matches!(part, Component::Normal(_))), "{path:?}");
            assert!(path.as_os_str().len() < 256 && path.extension().unwrap() == "npy", "{path:?}");
            crate::files::write_whole(&folder.path().join(path), b"x").unwrap();
        }
        let lower: BTreeSet<String> =
            paths.iter().map(|p| p.to_string_lossy().to_lowercase()).collect();
        assert_eq!(lower.len(), hostile.len());
    }
}
