//! Finds maps and the mask of each. Both trees may be MVTec's layout or leave levels out.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::{EvalError, EvalOptions};

const EXTENSIONS: [&str; 4] = ["tiff", "tif", "npy", "png"];

/// One map and its mask.
pub(crate) struct Pair {
    pub map: PathBuf,
    /// Below the map folder, with `/`.
    pub relative: String,
    pub mask: Option<PathBuf>,
    /// Lies in a folder of normal images.
    pub normal: bool,
}

pub(crate) struct Class {
    pub name: String,
    pub pairs: Vec<Pair>,
    /// Height and width that all masks of the class share: the size of normal images too.
    pub mask_size: Option<[usize; 2]>,
}

pub(crate) struct Found {
    pub classes: Vec<Class>,
    pub notes: Vec<String>,
}

/// A map's place: `[class/][test/]kind/stem`.
struct Place {
    class: Option<String>,
    kind: String,
    stem: String,
}

/// Classes and maps in sorted order. Errors: `NoMaps`, `Place`, `Twice`, `NoMask`, `Read`, `Mask`.
pub(crate) fn find(options: &EvalOptions) -> Result<Found, EvalError> {
    let mut places = Vec::new();
    for path in files(&options.maps, &EXTENSIONS)? {
        let place =
            place(&options.maps, &path).ok_or_else(|| EvalError::Place { path: path.clone() })?;
        places.push((place, path));
    }
    if places.is_empty() {
        return Err(EvalError::NoMaps { path: options.maps.clone() });
    }
    let names: BTreeSet<Option<String>> =
        places.iter().map(|(place, _)| place.class.clone()).collect();
    let one_class = names.len() == 1;
    let mut seen: BTreeMap<(Option<String>, String, String), PathBuf> = BTreeMap::new();
    let mut classes: BTreeMap<String, Vec<Pair>> = BTreeMap::new();
    for (place, map) in places {
        let key = (place.class.clone(), place.kind.clone(), place.stem.clone());
        if let Some(one) = seen.insert(key, map.clone()) {
            return Err(EvalError::Twice { one, other: map });
        }
        let pair = pair(options, &place, map, one_class)?;
        let name = place.class.unwrap_or_else(|| root_name(&options.maps));
        classes.entry(name).or_default().push(pair);
    }
    let notes = unused(options, &classes)?;
    let class = |(name, pairs): (String, Vec<Pair>)| {
        let mask_size = common_size(&pairs);
        Class { name, pairs, mask_size }
    };
    Ok(Found { classes: classes.into_iter().map(class).collect(), notes })
}

fn root_name(root: &Path) -> String {
    root.file_name().map_or_else(|| "all".to_string(), |name| name.to_string_lossy().into_owned())
}

fn place(root: &Path, path: &Path) -> Option<Place> {
    let relative = path.strip_prefix(root).ok()?;
    let mut folders: Vec<String> = relative
        .parent()?
        .components()
        .map(|component| component.as_os_str().to_string_lossy().into_owned())
        .collect();
    let kind = folders.pop()?;
    if folders.last().is_some_and(|folder| folder == "test") {
        folders.pop();
    }
    let class = folders.pop();
    let stem = path.file_stem()?.to_string_lossy().into_owned();
    folders.is_empty().then_some(Place { class, kind, stem })
}

fn pair(
    options: &EvalOptions,
    place: &Place,
    map: PathBuf,
    one_class: bool,
) -> Result<Pair, EvalError> {
    let mut roots = Vec::new();
    if let Some(class) = &place.class {
        roots.push(options.masks.join(class));
    }
    // A single class may be given by its own mask folder.
    if place.class.is_none() || one_class {
        roots.push(options.masks.clone());
    }
    let mut candidates = Vec::new();
    for root in roots {
        for folder in [root.join("ground_truth"), root] {
            let kind = folder.join(&place.kind);
            candidates.push(kind.join(format!("{}_mask.png", place.stem)));
            candidates.push(kind.join(format!("{}.png", place.stem)));
        }
    }
    let normal = options.normal_kinds.contains(&place.kind);
    // A map that lies where masks are looked for is not its own mask.
    let mask = candidates.iter().find(|path| **path != map && path.is_file()).cloned();
    if mask.is_none() && !normal {
        return Err(EvalError::NoMask {
            map,
            wanted: candidates.into_iter().next().unwrap_or_default(),
            kind: place.kind.clone(),
            normal: options.normal_kinds.join(", "),
        });
    }
    let relative = map.strip_prefix(&options.maps).unwrap_or(&map);
    let parts = relative.components().map(|part| part.as_os_str().to_string_lossy());
    let relative = parts.collect::<Vec<_>>().join("/");
    Ok(Pair { map, relative, mask, normal })
}

/// Only headers are read; a mask that cannot be read is reported when it is decoded.
fn common_size(pairs: &[Pair]) -> Option<[usize; 2]> {
    let mut masks = pairs.iter().filter_map(|pair| pair.mask.as_deref());
    let size = |path: &Path| {
        let (width, height) = image::image_dimensions(path).ok()?;
        Some([height as usize, width as usize])
    };
    let first = size(masks.next()?)?;
    masks.all(|path| size(path) == Some(first)).then_some(first)
}

/// Masks of the evaluated classes that have no map: an incomplete set of maps is worth a word.
fn unused(
    options: &EvalOptions,
    classes: &BTreeMap<String, Vec<Pair>>,
) -> Result<Vec<String>, EvalError> {
    let mut notes = Vec::new();
    for (class, pairs) in classes {
        let folder = options.masks.join(class).join("ground_truth");
        if !folder.is_dir() {
            continue;
        }
        let used: BTreeSet<&Path> = pairs.iter().filter_map(|pair| pair.mask.as_deref()).collect();
        let masks = files(&folder, &["png"])?;
        let mut left = masks.iter().filter(|path| !used.contains(path.as_path()));
        if let Some(first) = left.next() {
            let n = 1 + left.count();
            let path = first.display();
            notes.push(format!("`{class}`: {n} masks have no map, the first is `{path}`"));
        }
    }
    Ok(notes)
}

/// All files below `root` with one of the extensions, sorted.
fn files(root: &Path, extensions: &[&str]) -> Result<Vec<PathBuf>, EvalError> {
    let mut found = Vec::new();
    let mut folders = vec![root.to_path_buf()];
    while let Some(folder) = folders.pop() {
        let refuse = |source| EvalError::Read { path: folder.clone(), source };
        for entry in std::fs::read_dir(&folder).map_err(refuse)? {
            let entry = entry.map_err(refuse)?;
            let (path, kind) = (entry.path(), entry.file_type().map_err(refuse)?);
            let extension = path.extension().and_then(|extension| extension.to_str());
            let wanted =
                extension.is_some_and(|e| extensions.contains(&e.to_ascii_lowercase().as_str()));
            // A linked folder is not entered, so a loop of links cannot trap the walk.
            if kind.is_dir() {
                folders.push(path);
            } else if wanted && path.is_file() {
                found.push(path);
            }
        }
    }
    found.sort_unstable();
    Ok(found)
}
