//! Looking after a cache: list, count, verify, collect garbage.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};
use std::time::SystemTime;

use super::index::{Index, list};
use super::kept::{Shelf, is_kept, named, verified};
use super::read::Shard;
use super::seal::Refusal;
use super::store::Store;
use super::{Cache, CacheError};
use crate::files::lock_alone;

/// One line of `cache ls`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    pub stage: String,
    pub component: String,
    pub value: String,
    pub n_values: u64,
    pub n_bytes: u64,
}

impl Row {
    /// No stage's own: every stage that means the same bytes shares them.
    fn of_kept(name: &str, n_bytes: u64) -> Self {
        let (plugin, label) = name.split_once(": ").unwrap_or((name, ""));
        let [stage, component, value] = ["-", plugin, label].map(str::to_owned);
        Row { stage, component, value, n_values: 1, n_bytes }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stat {
    pub n_shards: u64,
    pub n_values: u64,
    /// Of the values alone.
    pub value_bytes: u64,
    /// Files that components keep, and their bytes.
    pub n_kept: u64,
    pub kept_bytes: u64,
    /// Of all files of the cache, set-aside and temporary ones too.
    pub disk_bytes: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadShard {
    pub path: PathBuf,
    pub why: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VerifyReport {
    pub n_shards: u64,
    pub n_values: u64,
    pub n_bytes: u64,
    pub bad: Vec<BadShard>,
}

/// What `gc` removed, or would remove in a dry run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GcReport {
    pub removed: Vec<PathBuf>,
    /// Those of them that had a whole file's name and were not whole.
    pub bad: Vec<BadShard>,
    pub freed_bytes: u64,
    pub kept_bytes: u64,
}

impl Cache {
    /// How many values each stage's output has, sorted by stage, component and value; then what components keep.
    pub fn ls(&self) -> Vec<Row> {
        let mut rows: BTreeMap<[String; 3], (u64, u64)> = BTreeMap::new();
        for shard in self.shards() {
            for group in &shard.groups {
                let id = [&group.stage, &group.component, &group.value].map(String::clone);
                let (n_values, n_bytes) = rows.entry(id).or_default();
                *n_values += group.keys.len() as u64;
                let bytes = (0..group.keys.len()).filter_map(|row| group.row_bytes(row));
                *n_bytes += bytes.sum::<u64>();
            }
        }
        let kept = self.store.iter().flat_map(|store| Shelf::of(store.dir()).files());
        let kept = kept.filter(|path| is_kept(path)).filter_map(|path| named(&path));
        let kept: Vec<Row> = kept.map(|(name, n_bytes)| Row::of_kept(&name, n_bytes)).collect();
        rows.into_iter()
            .map(|([stage, component, value], (n_values, n_bytes))| Row {
                stage,
                component,
                value,
                n_values,
                n_bytes,
            })
            .chain(kept)
            .collect()
    }

    pub fn stat(&self) -> Stat {
        let Some(store) = &self.store else {
            return Stat::default();
        };
        let shards = self.shards();
        let files = all_files(store.dir());
        let kept = || files.iter().filter(|path| is_kept(path));
        let groups = || shards.iter().flat_map(|shard| &shard.groups);
        Stat {
            n_shards: shards.len() as u64,
            n_values: groups().map(|group| group.keys.len() as u64).sum(),
            value_bytes: shards.iter().map(|shard| shard.n_bytes()).sum(),
            n_kept: kept().count() as u64,
            kept_bytes: kept().map(|path| file_bytes(path)).sum(),
            disk_bytes: files.iter().map(|path| file_bytes(path)).sum(),
        }
    }

    /// Reads every shard anew and checks seals and checksums; what was set aside since the cache
    /// was opened is bad too. `sample` in 0..=1 is the share of rows to read; which ones depends on
    /// their keys alone. What components keep is read whole. Nothing is changed.
    pub fn verify(&self, sample: f64) -> VerifyReport {
        let mut report = VerifyReport::default();
        let Some(store) = &self.store else {
            return report;
        };
        report.bad = store.state().set_aside.clone();
        report.bad.retain(|bad| !bad.path.exists());
        report.n_shards = report.bad.len() as u64;
        let files = all_files(store.dir());
        for path in files.iter().filter(|path| is_kept(path)) {
            report.n_shards += 1;
            match verified(path) {
                Ok(file) => {
                    (report.n_values, report.n_bytes) =
                        (report.n_values + 1, report.n_bytes + file.len)
                }
                Err(why) => report.bad.push(BadShard { path: path.clone(), why }),
            }
        }
        for path in files.into_iter().filter(|path| is_shard(path)) {
            report.n_shards += 1;
            let checked = Shard::open(&path).and_then(|shard| {
                let file = File::open(&path)?;
                verify_rows(&shard, &file, sample, &mut report)
            });
            if let Err(refusal) = checked {
                let why = match refusal {
                    Refusal::Schema(schema) => format!("it has schema {schema}"),
                    Refusal::Unreadable(why) | Refusal::Broken(why) => why,
                };
                report.bad.push(BadShard { path, why });
            }
        }
        report
    }

    /// Removes rejected files, temporary files of dead processes, kept files that are damaged and, those that were of
    /// no use for longest first, as many shards and kept files as it takes to keep at most `keep_bytes`.
    /// Errors: `Busy` if another run uses the cache; `Write` if a file cannot be removed.
    pub fn gc(&self, keep_bytes: Option<u64>, dry_run: bool) -> Result<GcReport, CacheError> {
        let Some(store) = &self.store else {
            return Ok(GcReport::default());
        };
        store.flush()?;
        let busy = || CacheError::Busy { path: store.dir().to_owned() };
        // A lock is not upgraded in place: it is given up and asked for anew.
        store.lock.unlock().map_err(|_| busy())?;
        let collected = match lock_alone(&store.lock) {
            Ok(true) => store.collect(keep_bytes, dry_run),
            Ok(false) | Err(_) => Err(busy()),
        };
        store.lock.unlock().and_then(|()| store.lock.lock_shared()).map_err(|_| busy())?;
        collected
    }

    fn shards(&self) -> Vec<Arc<Shard>> {
        let Some(store) = &self.store else {
            return Vec::new();
        };
        let mut state = store.state();
        state.refresh(store.dir());
        state.index.shards()
    }
}

impl Store {
    fn collect(&self, keep_bytes: Option<u64>, dry_run: bool) -> Result<GcReport, CacheError> {
        let _nobody_writes = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut report = GcReport::default();
        let mut shards = Vec::new();
        for path in all_files(self.dir()) {
            let why = if is_kept(&path) { verified(&path).err() } else { None };
            if let Some(why) = why {
                report.freed_bytes += file_bytes(&path);
                report.removed.push(path.clone());
                report.bad.push(BadShard { path, why });
            } else if is_shard(&path) || is_kept(&path) {
                let modified = fs::metadata(&path).and_then(|metadata| metadata.modified());
                shards.push((modified.unwrap_or(SystemTime::UNIX_EPOCH), path));
            } else if is_waste(&path) {
                report.freed_bytes += file_bytes(&path);
                report.removed.push(path);
            }
        }
        shards.sort();
        report.kept_bytes = shards.iter().map(|(_, path)| file_bytes(path)).sum();
        for (_, path) in shards {
            if keep_bytes.is_none_or(|keep| report.kept_bytes <= keep) {
                break;
            }
            let n_bytes = file_bytes(&path);
            report.kept_bytes -= n_bytes;
            report.freed_bytes += n_bytes;
            report.removed.push(path);
        }
        if !dry_run {
            for path in &report.removed {
                fs::remove_file(path).map_err(|error| CacheError::Write {
                    path: path.clone(),
                    cause: error.to_string(),
                })?;
            }
            let mut state = self.state();
            state.index = Index::default();
            state.refresh(self.dir());
        }
        Ok(report)
    }
}

fn verify_rows(
    shard: &Shard,
    file: &File,
    sample: f64,
    report: &mut VerifyReport,
) -> Result<(), Refusal> {
    for (g, group) in shard.groups.iter().enumerate() {
        for (row, key) in group.keys.iter().enumerate() {
            let rank = u32::from_le_bytes([key.0[0], key.0[1], key.0[2], key.0[3]]);
            if f64::from(rank) / 4_294_967_296.0 < sample {
                shard.read(file, g, row)?;
                report.n_values += 1;
                report.n_bytes += group.row_bytes(row).unwrap_or(0);
            }
        }
    }
    Ok(())
}

/// Every file of a cache, sorted within its folder.
fn all_files(dir: &Path) -> Vec<PathBuf> {
    let (shards, kept) = (dir.join("shards"), Shelf::of(dir).files());
    let folders = [dir.to_owned(), dir.join("fingerprints"), shards.clone()].into_iter();
    let folders = folders.chain(list(&shards).into_iter().filter(|path| path.is_dir()));
    let files = folders.flat_map(|folder| list(&folder)).chain(kept);
    files.filter(|path| path.is_file()).collect()
}

fn is_shard(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "h5")
}

fn is_waste(path: &Path) -> bool {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
    let name = name.unwrap_or_default();
    let process = name.rsplit_once(".tmp-").and_then(|(_, rest)| rest.split('-').next());
    name.ends_with(".rejected") || process.is_some_and(|process| !is_alive(process))
}

/// Under the lock nobody else writes, so a file under this process's own number is left from an
/// earlier one.
fn is_alive(process: &str) -> bool {
    process != std::process::id().to_string() && Path::new("/proc").join(process).exists()
}

fn file_bytes(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |metadata| metadata.len())
}
