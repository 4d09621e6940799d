//! Whole data sets of surfaces, as trees in `mvtec-ad` layout.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use image::ImageEncoder;
use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use image::{ColorType, ExtendedColorType};

use super::{DEFECTS, Defect, FAMILIES, Family, Picture, Product, SIZES, SurfaceError, unknown};

/// What to make. Every image depends on its own seed, drawn from `seed`, class and role: asking for
/// more images, families or defects changes none of the others.
#[derive(Clone, Debug)]
pub struct Options {
    /// Family names, one class each; empty means all.
    pub families: Vec<String>,
    /// Defect names; empty means all. A defect that a family cannot have is left out of that class.
    pub defects: Vec<String>,
    pub n_train: usize,
    pub n_test_good: usize,
    pub n_test_per_defect: usize,
    /// Side of the pictures in pixels.
    pub size: u32,
    pub seed: u64,
    /// How much the light varies, 0 to 1.
    pub light: f32,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            families: Vec::new(),
            defects: Vec::new(),
            n_train: 8,
            n_test_good: 6,
            n_test_per_defect: 3,
            size: 256,
            seed: 0,
            light: 0.3,
        }
    }
}

/// What was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    pub root: PathBuf,
    pub classes: Vec<String>,
    pub n_images: usize,
    pub n_masks: usize,
    /// Pairs of class and defect that were asked for and cannot be: the class has no cells.
    pub left_out: Vec<(String, String)>,
}

/// One picture to make.
struct Job {
    family: &'static Family,
    /// Folder and number: `test/good` and 3.
    folder: String,
    number: usize,
    defect: Option<&'static Defect>,
}

/// Writes a tree in `mvtec-ad` layout to `out`, which must not exist or be empty. The tree is made
/// beside it and moved into place when complete, so `out` is whole or absent.
///
/// Errors: `Unknown`, `Size`, `Light`, `Nothing`, `TargetNotEmpty`, `Write`, `Encode`, `Invisible`.
pub fn make_dataset(out: &Path, options: &Options) -> Result<Summary, SurfaceError> {
    if !SIZES.contains(&options.size) {
        return Err(SurfaceError::Size { size: options.size });
    }
    if !(0.0..=1.0).contains(&options.light) {
        return Err(SurfaceError::Light { light: options.light });
    }
    if fs::read_dir(out).is_ok_and(|mut entries| entries.next().is_some()) || out.is_file() {
        return Err(SurfaceError::TargetNotEmpty { path: out.to_owned() });
    }
    let (jobs, mut summary) = plan(out, options)?;
    let work = beside(out)?;
    let made = make_all(&work, options, &jobs).and_then(|()| {
        if out.is_dir() {
            fs::remove_dir(out).map_err(|source| write_error(out, source))?;
        }
        fs::rename(&work, out).map_err(|source| write_error(out, source))
    });
    if let Err(error) = made {
        // The first error is the one to tell; a folder that cannot be removed adds nothing to it.
        let _ = fs::remove_dir_all(&work);
        return Err(error);
    }
    summary.n_images = jobs.len();
    summary.n_masks = jobs.iter().filter(|job| job.defect.is_some()).count();
    Ok(summary)
}

fn plan(out: &Path, options: &Options) -> Result<(Vec<Job>, Summary), SurfaceError> {
    let families = chosen(&options.families, FAMILIES, |family| family.name, "surface family")?;
    let defects = chosen(&options.defects, DEFECTS, |defect| defect.name, "defect")?;
    let mut jobs = Vec::new();
    let mut left_out = Vec::new();
    for &family in &families {
        let mut add = |folder: &str, n: usize, defect: Option<&'static Defect>| {
            let job = |number| Job { family, folder: folder.to_owned(), number, defect };
            jobs.extend((0..n).map(job));
        };
        add("train/good", options.n_train, None);
        add("test/good", options.n_test_good, None);
        for &defect in &defects {
            if defect.needs_cells && !family.has_cells {
                left_out.push((family.name.to_owned(), defect.name.to_owned()));
            } else {
                add(&format!("test/{}", defect.name), options.n_test_per_defect, Some(defect));
            }
        }
    }
    if jobs.is_empty() {
        return Err(SurfaceError::Nothing { message: "all counts of images are 0" });
    }
    let classes = families.iter().map(|family| family.name.to_owned()).collect();
    let root = out.to_owned();
    Ok((jobs, Summary { root, classes, n_images: 0, n_masks: 0, left_out }))
}

/// The named entries of a table, once each and in its order, or all of them for no names.
fn chosen<T>(
    names: &[String],
    table: &'static [T],
    name_of: impl Fn(&T) -> &'static str,
    what: &'static str,
) -> Result<Vec<&'static T>, SurfaceError> {
    let known: Vec<&str> = table.iter().map(&name_of).collect();
    if let Some(name) = names.iter().find(|name| !known.contains(&name.as_str())) {
        return Err(unknown(what, name, known.iter().copied()));
    }
    let wanted = |entry: &&T| names.is_empty() || names.iter().any(|name| name == name_of(entry));
    Ok(table.iter().filter(wanted).collect())
}

/// A new folder beside `out`, on the same file system, so that it can be renamed to `out`.
fn beside(out: &Path) -> Result<PathBuf, SurfaceError> {
    let name = out.file_name().ok_or_else(|| {
        write_error(out, std::io::Error::other("the path has no last part to name the folder"))
    })?;
    let mut temporary = std::ffi::OsString::from(".");
    temporary.push(name);
    temporary.push(format!(".tmp-{}", std::process::id()));
    let work = out.with_file_name(temporary);
    if work.exists() {
        // Left by a killed process that had the same id.
        fs::remove_dir_all(&work).map_err(|source| write_error(&work, source))?;
    }
    fs::create_dir_all(&work).map_err(|source| write_error(&work, source))?;
    Ok(work)
}

/// Makes all pictures on all cores; the first error stops the rest.
fn make_all(work: &Path, options: &Options, jobs: &[Job]) -> Result<(), SurfaceError> {
    for job in jobs.iter().filter(|job| job.number == 0) {
        let class = work.join(job.family.name);
        create(&class.join(&job.folder))?;
        if let Some(defect) = job.defect {
            create(&class.join("ground_truth").join(defect.name))?;
        }
    }
    let next = AtomicUsize::new(0);
    let failed = Mutex::new(None);
    let run = || {
        while let Some(job) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
            if let Err(error) = make(work, options, job) {
                next.store(jobs.len(), Ordering::Relaxed);
                failed.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).get_or_insert(error);
            }
        }
    };
    let n_threads = std::thread::available_parallelism().map_or(1, |n| n.get());
    std::thread::scope(|scope| {
        (1..n_threads.min(jobs.len())).for_each(|_| {
            scope.spawn(run);
        });
        run();
    });
    match failed.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner()) {
        Some(error) => Err(error),
        None => Ok(()),
    }
}

fn make(work: &Path, options: &Options, job: &Job) -> Result<(), SurfaceError> {
    let product = Product::new(job.family.name, options.seed)?;
    let digest = blake3::hash(format!("{} {}", job.folder, job.number).as_bytes());
    let mut first = [0; 8];
    first.copy_from_slice(&digest.as_bytes()[..8]);
    let image_seed = u64::from_le_bytes(first);
    let class = work.join(job.family.name);
    let path = class.join(&job.folder).join(format!("{:03}.png", job.number));
    let (size, light) = (options.size, options.light);
    let Some(defect) = job.defect else {
        let Picture { rgb, .. } = product.good(image_seed, size, light)?;
        return write_png(&path, size, &rgb, ColorType::Rgb8);
    };
    let made = product.defective(image_seed, defect.name, size, light)?;
    write_png(&path, size, &made.image.rgb, ColorType::Rgb8)?;
    let mask = class.join("ground_truth").join(defect.name);
    write_png(&mask.join(format!("{:03}_mask.png", job.number)), size, &made.mask, ColorType::L8)
}

fn write_png(path: &Path, size: u32, pixels: &[u8], color: ColorType) -> Result<(), SurfaceError> {
    let mut bytes = Vec::new();
    PngEncoder::new_with_quality(&mut bytes, CompressionType::Fast, FilterType::Adaptive)
        .write_image(pixels, size, size, ExtendedColorType::from(color))
        .map_err(|error| SurfaceError::Encode {
            path: path.to_owned(),
            message: error.to_string(),
        })?;
    fs::write(path, bytes).map_err(|source| write_error(path, source))
}

fn create(folder: &Path) -> Result<(), SurfaceError> {
    fs::create_dir_all(folder).map_err(|source| write_error(folder, source))
}

fn write_error(path: &Path, source: std::io::Error) -> SurfaceError {
    SurfaceError::Write { path: path.to_owned(), source }
}
