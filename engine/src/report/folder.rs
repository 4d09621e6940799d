//! The run folder on disk, filled class by class.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use loupe_datasets::Sample;
use serde::Serialize;
use serde_json::Value;

use super::html::{self, ClassPage};
use super::names::{Names, below_class};
use super::original::{self, Modes, Originals};
use super::pictures::{self, ClassMaps};
use super::toml_text::as_toml;
use super::{ReportError, tables};
use crate::eval::AnomalyMap;
use crate::experiment::{CellFacts, ClassRecord};
use crate::files::{lock_alone, npy_f32, sync, write_soon, write_whole};
use crate::image::{Mask, decode_rgb};

/// What `run.json` says of itself; a folder without it is not ours to replace.
const KIND: &str = "loupe-run";
/// All that a run writes. `run.json` stays to the last: with it the folder is ours, whatever else
/// is gone.
const FOLDERS: [&str; 8] =
    ["classes", "references", "maps", "pictures", "panels", "result", "segmentations", "images"];
const FILES: [&str; 6] =
    ["pipeline.toml", "results.json", "results.csv", "images.csv", "timings.csv", "report.html"];
const RUN: &str = "run.json";

/// How pictures are made.
#[derive(Clone, Copy, Debug, Default)]
pub struct PictureOptions {
    /// Grey value above which a mask's pixel is anomalous, as the data set has it.
    pub mask_above: u8,
    /// Every image with its map over it, as a PNG of its own under `pictures/`.
    pub all_overlays: bool,
    /// Image, mask, overlay, map and thresholded map of every image side by side, under `panels/`.
    pub panels: bool,
    /// What the original program leaves behind.
    pub originals: Originals,
}

/// A run folder that is being filled.
pub struct RunFolder {
    /// Held as long as the folder is being filled.
    _lock: File,
    path: PathBuf,
    facts: CellFacts,
    resolved: String,
    options: PictureOptions,
    modes: Modes,
    names: Names,
    /// Files of the originals' maps and panels.
    original_names: Names,
    /// Maps of the classes that are not written yet.
    maps: BTreeMap<String, ClassMaps>,
    /// Files of maps that a crash of the machine would still lose.
    unsynced: Vec<PathBuf>,
    classes: Vec<ClassRecord>,
    pages: Vec<ClassPage>,
}

#[derive(Serialize)]
struct RunFile<'a> {
    kind: &'static str,
    complete: bool,
    #[serde(flatten)]
    facts: &'a CellFacts,
}

impl RunFolder {
    /// Makes the folder, or empties one of an earlier run; files that no run writes stay as they
    /// are. `resolved` is the pipeline with its defaults.
    /// Errors: `NotOurs`, `NotAFolder`, `Folder`, `Write`.
    pub fn create(path: &Path, facts: &CellFacts, resolved: &Value) -> Result<Self, ReportError> {
        claim(path)?;
        let lock = lock(path)?;
        let folder = Self {
            _lock: lock,
            path: path.to_owned(),
            facts: facts.clone(),
            resolved: as_toml(resolved),
            options: PictureOptions::default(),
            modes: Modes::of(resolved),
            names: Names::default(),
            original_names: Names::default(),
            maps: BTreeMap::new(),
            unsynced: Vec::new(),
            classes: Vec::new(),
            pages: Vec::new(),
        };
        folder.write_run(false)?;
        remove_results(path)?;
        write_whole(&path.join("pipeline.toml"), folder.resolved.as_bytes())?;
        Ok(folder)
    }

    pub fn set_pictures(&mut self, options: PictureOptions) {
        self.options = options;
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes one map as NumPy reads it: f32 on its own grid, `[height,width]`. Gives the file's
    /// path in the folder, with `/` between its parts. The map itself is not kept in memory.
    /// Errors: `MapSize`, `Write`.
    pub fn save_map(
        &mut self,
        class: &str,
        image: &str,
        map_hw: [usize; 2],
        map: &[f32],
    ) -> Result<PathBuf, ReportError> {
        let [height, width] = map_hw;
        if height.checked_mul(width) != Some(map.len()) || map.is_empty() {
            let (image, got) = (image.to_owned(), map.len());
            return Err(ReportError::MapSize { image, height, width, got });
        }
        let below = self.names.path(class, "npy").with_extension("");
        let maps = self.maps.entry(class.to_owned()).or_default();
        let inner = maps.names.path(below_class(class, image), "npy");
        let file = Path::new("maps").join(below).join(inner);
        let path = self.path.join(&file);
        write_soon(&path, &npy_f32(&map_hw, map))?;
        self.unsynced.push(path);
        maps.add(image, file.clone(), map_hw, map);
        Ok(file)
    }

    /// Whether `save_originals` has anything to do.
    pub fn wants_originals(&self) -> bool {
        let Originals { maps, panels, .. } = self.options.originals;
        maps || panels
    }

    /// Writes an image's map and panels as the original program does, as far as they are wanted.
    /// Errors: `Draw`, `Write`.
    pub fn save_originals(
        &mut self,
        sample: &Sample,
        mask: Option<&Mask>,
        map: &AnomalyMap,
    ) -> Result<(), ReportError> {
        let Originals { maps, panels, .. } = self.options.originals;
        let file = self.original_names.path(&sample.name, "png");
        let failed = |message| ReportError::Draw { image: sample.name.clone(), message };
        let mut files = Vec::new();
        if maps {
            files.push(("segmentations", original::map_png(map).map_err(failed)?));
        }
        if panels {
            let bytes = fs::read(&sample.path).map_err(|error| failed(error.to_string()))?;
            let rgb =
                decode_rgb(&bytes, &sample.name).map_err(|error| failed(error.to_string()))?;
            files.push(("images", original::panels_png(&rgb, mask, map).map_err(failed)?));
        }
        for (folder, bytes) in files {
            let path = self.path.join(folder).join(&file);
            write_soon(&path, &bytes)?;
            self.unsynced.push(path);
        }
        Ok(())
    }

    /// Writes a class that is done and everything that sums over classes. An image without a score
    /// of its own is judged by the maximum of its map, here as in the metrics. An image that cannot
    /// be shown in the report is named there.
    /// Errors: `Json`, `Write`.
    pub fn add_class(&mut self, mut record: ClassRecord) -> Result<(), ReportError> {
        let maps = self.maps.remove(&record.class).unwrap_or_default();
        sync(&self.unsynced)?;
        self.unsynced.clear();
        for image in &mut record.images {
            image.anomaly_score = image.anomaly_score.or_else(|| maps.peak(&image.name));
        }
        let file = self.names.path(&record.class, "npy").with_extension("");
        let below = |folder: &str, end: &str| {
            let mut name = file.clone().into_os_string();
            name.push(end);
            self.path.join(folder).join(name)
        };
        write_whole(&below("classes", ".json"), &tables::json("classes", &record)?)?;
        write_whole(&below("references", ".json"), &tables::manifest(&record)?)?;
        if self.options.all_overlays {
            let folder = below("pictures", "");
            pictures::save_overlays(&folder, &self.path, &record, &maps)?;
        }
        if self.options.panels {
            let (folder, mask_above) = (below("panels", ""), self.options.mask_above);
            pictures::save_panels(&folder, &self.path, &record, &maps, mask_above)?;
        }
        self.pages.push(pictures::class_page(&self.path, &record, &maps, self.options.mask_above));
        self.classes.push(record);
        self.write_tables()
    }

    /// Writes `report.html` and, last of all, whether the run came to its end.
    /// Errors: `Json`, `Write`.
    pub fn finish(&mut self, complete: bool) -> Result<(), ReportError> {
        let page = html::page(&self.facts, complete, &self.resolved, &self.classes, &self.pages);
        write_whole(&self.path.join("report.html"), page.as_bytes())?;
        self.write_tables()?;
        self.write_run(complete)
    }

    fn write_tables(&self) -> Result<(), ReportError> {
        let write = |name: &str, bytes: &[u8]| write_whole(&self.path.join(name), bytes);
        write("images.csv", tables::images_csv(&self.classes).as_bytes())?;
        write("timings.csv", tables::timings_csv(&self.classes).as_bytes())?;
        write("results.csv", tables::results_csv(&self.facts, &self.classes).as_bytes())?;
        write("results.json", &tables::results_json(&self.facts, &self.classes)?)?;
        let Originals { tables, panels, .. } = self.options.originals;
        if tables {
            let evaluation = original::evaluation_csv(&self.classes, self.modes);
            write("result/evaluation_results.csv", evaluation.as_bytes())?;
            let plot = original::plot_csv(&self.classes, self.modes, panels);
            write("result/plot_results.csv", plot.as_bytes())?;
        }
        Ok(())
    }

    fn write_run(&self, complete: bool) -> Result<(), ReportError> {
        let run = RunFile { kind: KIND, complete, facts: &self.facts };
        Ok(write_whole(&self.path.join(RUN), &tables::json(RUN, &run)?)?)
    }
}

/// Whether we may write here: nothing there, an empty folder, or a run of ours.
fn claim(path: &Path) -> Result<(), ReportError> {
    match fs::metadata(path) {
        Ok(facts) if !facts.is_dir() => {
            return Err(ReportError::NotAFolder { path: path.to_owned() });
        }
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => {
            return Err(ReportError::Folder { action: "look at", path: path.to_owned(), source });
        }
    }
    if is_ours(&path.join(RUN)) {
        return Ok(());
    }
    // A run that died at its very first file leaves only that file's temporary.
    let other = entries(path)?.into_iter().find(|name| !is_temporary(name));
    match other {
        Some(holds) => Err(ReportError::NotOurs { path: path.to_owned(), holds }),
        None => Ok(()),
    }
}

/// Keeps a second run out of the folder while the first one fills it; the system lets go of it with the process.
fn lock(path: &Path) -> Result<File, ReportError> {
    let fail = |source| ReportError::Folder { action: "lock", path: path.to_owned(), source };
    fs::create_dir_all(path).map_err(fail)?;
    // The folder itself is locked, so that no file for it stays behind.
    let lock = File::open(path).map_err(fail)?;
    match lock_alone(&lock).map_err(fail)? {
        true => Ok(lock),
        false => Err(ReportError::Busy { path: path.to_owned() }),
    }
}

fn is_ours(run: &Path) -> bool {
    let parsed = fs::read(run).ok().and_then(|bytes| serde_json::from_slice::<Value>(&bytes).ok());
    parsed.is_some_and(|run| run.get("kind").and_then(Value::as_str) == Some(KIND))
}

fn remove_results(path: &Path) -> Result<(), ReportError> {
    for name in entries(path)? {
        let file = path.join(&name);
        let is_folder = FOLDERS.contains(&name.as_str());
        let is_ours = is_folder || FILES.contains(&name.as_str()) || is_temporary(&name);
        if !is_ours {
            continue;
        }
        // A link to a folder is removed, and not what it leads to.
        let removed = match is_folder && !file.is_symlink() && file.is_dir() {
            true => fs::remove_dir_all(&file),
            false => fs::remove_file(&file),
        };
        removed.map_err(|source| ReportError::Folder { action: "remove", path: file, source })?;
    }
    Ok(())
}

/// Left by a run that was killed while it wrote.
fn is_temporary(name: &str) -> bool {
    let ours = |file: &str| name.strip_prefix(file).is_some_and(|end| end.starts_with(".tmp-"));
    FILES.iter().any(|file| ours(file)) || ours(RUN)
}

/// Names in a folder, in order, so that messages do not depend on the file system.
fn entries(path: &Path) -> Result<Vec<String>, ReportError> {
    let fail = |source| ReportError::Folder { action: "list", path: path.to_owned(), source };
    let mut names = Vec::new();
    for entry in fs::read_dir(path).map_err(fail)? {
        names.push(entry.map_err(fail)?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}
