//! Where plugins are looked for, in an order that never depends on the file system's own.

use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};

/// Variable that names further folders and files, separated by colons.
pub const PATH_VARIABLE: &str = "LOUPE_PLUGIN_PATH";

/// Plugin files in the order in which they are loaded, and places that were named but cannot be
/// used.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    pub files: Vec<PathBuf>,
    pub problems: Vec<(PathBuf, String)>,
}

/// Explicit places first, then `LOUPE_PLUGIN_PATH`, then what is installed or built beside the
/// program.
pub fn find(explicit: &[PathBuf]) -> Found {
    let variable = env::var_os(PATH_VARIABLE).unwrap_or_default();
    let mut named = explicit.to_vec();
    named.extend(env::split_paths(&variable).filter(|path| !path.as_os_str().is_empty()));
    let mut found = find_named(&named);
    if let Some(folder) = env::current_exe().ok().as_deref().and_then(Path::parent) {
        found.extend(beside(folder));
    }
    found
}

/// Only the places given: a folder stands for the `.so` files in it, by name.
pub fn find_named(places: &[PathBuf]) -> Found {
    let mut found = Found::default();
    for place in places {
        if place.is_dir() {
            found.extend(files_in(place, |_| true));
        } else if place.exists() {
            found.extend(vec![place.clone()]);
        } else {
            found.problems.push((place.clone(), "there is no such file or folder".to_owned()));
        }
    }
    found
}

/// What belongs to a program in `folder`: `lib/loupe` of an installation, or the libraries of the
/// same cargo build.
pub(super) fn beside(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for installed in [folder.join("../lib/loupe"), folder.join("lib/loupe")] {
        files.extend(files_in(&installed, |_| true));
    }
    // Programs of tests stand one folder deeper than what cargo builds for use.
    let built = if folder.ends_with("deps") { folder.parent() } else { Some(folder) };
    if let Some(built) = built.filter(|built| built.join(".cargo-lock").exists()) {
        files.extend(files_in(built, |name| name.starts_with("libloupe_")));
    }
    files
}

/// A folder that cannot be read has no plugins.
fn files_in(folder: &Path, wanted: impl Fn(&str) -> bool) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut files: Vec<PathBuf> = entries
        .map(|entry| entry.path())
        .filter(|path| {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            // Macros are libraries too, but the compiler's.
            let is_library = name.ends_with(".so") && !name.ends_with("_derive.so");
            is_library && wanted(name) && path.is_file()
        })
        .collect();
    files.sort();
    files
}

impl Found {
    /// Adds files that are not there yet under any other spelling of their path.
    fn extend(&mut self, files: Vec<PathBuf>) {
        let real = |path: &PathBuf| fs::canonicalize(path).unwrap_or_else(|_| path.clone());
        let mut known: BTreeSet<PathBuf> = self.files.iter().map(real).collect();
        self.files.extend(files.into_iter().filter(|file| known.insert(real(file))));
    }
}
