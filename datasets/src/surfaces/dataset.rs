//! Whole data sets of surfaces, as trees in `mvtec-ad` layout.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use image::ImageEncoder;
use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use image::{ColorType, ExtendedColorType};

use super::captions::{Sentences, captions};
use super::plan::{Job, plan};
use super::{Defect, Family, Picture, Product, SIZES, SurfaceError, defects, families};

/// Which families and defects there are to choose from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Set {
    #[default]
    All,
    /// Families and defects that may be trained on.
    Training,
    /// Families that training never sees, with all defects.
    HeldOut,
}

impl Set {
    pub const NAMES: [&str; 3] = ["all", "training", "held-out"];

    /// The set of a name. Errors: `Unknown`.
    pub fn find(name: &str) -> Result<Self, SurfaceError> {
        match name {
            "all" => Ok(Self::All),
            "training" => Ok(Self::Training),
            "held-out" => Ok(Self::HeldOut),
            other => Err(super::unknown("set", other, Self::NAMES.into_iter())),
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Training => "training",
            Self::HeldOut => "held-out",
        }
    }

    pub(super) fn has_family(self, family: &Family) -> bool {
        match self {
            Self::All => true,
            Self::Training => !family.held_out,
            Self::HeldOut => family.held_out,
        }
    }

    pub(super) fn has_defect(self, defect: &Defect) -> bool {
        self != Self::Training || !defect.held_out
    }
}

/// What to make. Every image depends on its own seed, drawn from `seed`, class and role: asking for
/// more images, families or defects changes none of the others.
#[derive(Clone, Debug)]
pub struct Options {
    pub set: Set,
    /// Family names, of the set; empty means all of it.
    pub families: Vec<String>,
    /// Defect names, of the set; empty means all of it. A defect that a family cannot have is left
    /// out.
    pub defects: Vec<String>,
    /// Products of each family (`N_PRODUCTS`), one class each: `FAMILY` for one, `FAMILY_NN` for more.
    pub n_products: usize,
    /// Of the defects, so many a product, drawn by the seed; none means all.
    pub n_defects: Option<usize>,
    pub n_train: usize,
    pub n_test_good: usize,
    pub n_test_per_defect: usize,
    /// Side of the pictures in pixels.
    pub size: u32,
    pub seed: u64,
    /// How much the light varies, 0 to 1.
    pub light: f32,
    /// Whether to write `captions.csv` and `sentences.json`.
    pub captions: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            set: Set::All,
            families: Vec::new(),
            defects: Vec::new(),
            n_products: 1,
            n_defects: None,
            n_train: 8,
            n_test_good: 6,
            n_test_per_defect: 3,
            size: 256,
            seed: 0,
            light: 0.3,
            captions: false,
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
    /// Pairs of a family and a defect that was asked for by name and cannot be: the family has no
    /// cells.
    pub left_out: Vec<(String, String)>,
}

/// Writes a tree in `mvtec-ad` layout to `out`, which must not exist or be empty. The tree is made
/// beside it and moved into place when complete, so `out` is whole or absent.
///
/// Errors: `Unknown`, `NotInSet`, `Size`, `Light`, `Products`, `TooMany`, `Nothing`, `Unsuited`,
/// `TargetNotEmpty`, `Write`, `Encode`, `Invisible`.
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
        let class = work.join(&job.class);
        create(&class.join(&job.folder))?;
        if let Some(defect) = job.defect {
            create(&class.join("ground_truth").join(defect.name))?;
        }
    }
    let next = AtomicUsize::new(0);
    let failed = Mutex::new(None);
    let lines = Mutex::new(Vec::new());
    let run = || loop {
        let number = next.fetch_add(1, Ordering::Relaxed);
        let Some(job) = jobs.get(number) else { break };
        match make(work, options, job) {
            Ok(said) => locked(&lines).push((number, said)),
            Err(error) => {
                next.store(jobs.len(), Ordering::Relaxed);
                locked(&failed).get_or_insert(error);
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
    if let Some(error) = locked(&failed).take() {
        return Err(error);
    }
    if options.captions {
        write_captions(work, jobs, std::mem::take(&mut *locked(&lines)))?;
    }
    Ok(())
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// `captions.csv` in the order of the jobs, and the lists its sentences are made of.
fn write_captions(
    work: &Path,
    jobs: &[Job],
    mut lines: Vec<(usize, String)>,
) -> Result<(), SurfaceError> {
    lines.sort_unstable_by_key(|(number, _)| *number);
    let body: String = lines.into_iter().map(|(_, said)| said).collect();
    let path = work.join("captions.csv");
    fs::write(&path, format!("image,caption\n{body}"))
        .map_err(|source| write_error(&path, source))?;
    let used_family = |family: &&Family| jobs.iter().any(|job| job.family.name == family.name);
    let used_defect = |defect: &&Defect| {
        jobs.iter().filter_map(|job| job.defect).any(|used| used.name == defect.name)
    };
    let sentences = Sentences::of(families().filter(used_family), defects().filter(used_defect));
    let path = work.join("sentences.json");
    let text = serde_json::to_string_pretty(&sentences)
        .map_err(|error| write_error(&path, std::io::Error::other(error)))?;
    fs::write(&path, text + "\n").map_err(|source| write_error(&path, source))
}

/// Writes one picture, and its mask; the lines of its captions, if they are wanted.
fn make(work: &Path, options: &Options, job: &Job) -> Result<String, SurfaceError> {
    let product = Product::new(job.family.name, job.product_seed)?;
    let digest = blake3::hash(format!("{} {}", job.folder, job.number).as_bytes());
    let mut first = [0; 8];
    first.copy_from_slice(&digest.as_bytes()[..8]);
    let image_seed = u64::from_le_bytes(first);
    let name = format!("{}/{}/{:03}.png", job.class, job.folder, job.number);
    let path = work.join(&name);
    let (size, light) = (options.size, options.light);
    let said = |damage| {
        if !options.captions {
            return String::new();
        }
        let said = captions(&product, image_seed, damage, size);
        said.iter().map(|caption| format!("{name},{caption}\n")).collect()
    };
    let Some(defect) = job.defect else {
        let Picture { rgb, .. } = product.good(image_seed, size, light)?;
        write_png(&path, size, &rgb, ColorType::Rgb8)?;
        return Ok(said(None));
    };
    let made = product.defective(image_seed, defect.name, size, light)?;
    write_png(&path, size, &made.image.rgb, ColorType::Rgb8)?;
    let mask = work.join(&job.class).join("ground_truth").join(defect.name);
    let mask = mask.join(format!("{:03}_mask.png", job.number));
    write_png(&mask, size, &made.mask, ColorType::L8)?;
    Ok(said(Some((defect, made.mask.as_slice()))))
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
