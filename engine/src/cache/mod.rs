//! The cache: a content-addressed store of features, states and stage outputs in HDF5 shards.
//!
//! The engine makes the keys; the cache keeps values. It never updates a file: a shard is written
//! under a temporary name, synced and renamed, so a crash loses what was not flushed and nothing
//! else. It trusts no file: a shard whose seal, `complete` mark or checksum is wrong is set aside
//! with a warning and its values are missed. Several processes may use one folder; values stored
//! twice are equal, so duplicates are harmless.
//!
//! ```text
//! DIR/CACHE.toml    DIR/lock    DIR/shards/XX/NAME.h5    DIR/fingerprints/KEY.json    DIR/kept/KEY.kept
//! ```
//! A writer that meets `RLIMIT_FSIZE` gets an error only if the process ignores SIGXFSZ: the
//! program does so.

mod fingerprint;
mod index;
mod kept;
mod key;
mod read;
mod seal;
mod shard;
mod store;
#[cfg(test)]
mod tests;
mod upkeep;
mod value;

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

pub use fingerprint::Fingerprint;
pub use kept::{KeptFile, Shelf};
pub use key::{Key, KeyBuilder};
pub use upkeep::{BadShard, GcReport, Row, Stat, VerifyReport};
pub use value::{Array, Dtype, Meta, Sentence, Stored, quantise};

use seal::SCHEMA;
use store::{State, Store};
use value::Entry;

pub use store::MEMORY_BYTES;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    ReadWrite,
    /// Finds nothing and keeps nothing; touches no file.
    Off,
}

#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    #[error(
        "cannot open the cache `{}`: {cause}; choose another folder, or turn the cache off",
        path.display()
    )]
    Open { path: PathBuf, cause: String },
    #[error(
        "cannot write `{}`: {cause}; free space or turn the cache off: results do not need it",
        path.display()
    )]
    Write { path: PathBuf, cause: String },
    #[error("cannot read `{}`: {cause}", path.display())]
    Read { path: PathBuf, cause: String },
    #[error("`{value}` cannot be stored: wants {want}, got {got}")]
    Value { value: String, want: String, got: String },
    #[error("the cache `{}` is in use by another run; wait until it has ended", path.display())]
    Busy { path: PathBuf },
    #[error(
        "`{}` is a cache of schema {got}, this program reads schema {SCHEMA}; choose another one",
        path.display()
    )]
    Schema { path: PathBuf, got: String },
}

/// Version of the HDF5 library that reads and writes the shards.
pub fn hdf5_version() -> String {
    let (major, minor, patch) = hdf5::library_version();
    format!("{major}.{minor}.{patch}")
}

/// One open cache folder. All methods may be called from several threads.
#[derive(Debug)]
pub struct Cache {
    /// `None` when the mode is `Off`.
    store: Option<Store>,
}

impl Cache {
    /// Opens `dir`, makes it if needed, and reads the keys of all shards.
    /// Errors: `Open` if the folder cannot be made, written or locked; `Schema` if another version
    /// made it.
    pub fn open(dir: &Path, mode: Mode) -> Result<Self, CacheError> {
        if mode == Mode::Off {
            return Ok(Self { store: None });
        }
        let fail =
            |error: io::Error| CacheError::Open { path: dir.to_owned(), cause: error.to_string() };
        for folder in ["shards", "fingerprints"] {
            fs::create_dir_all(dir.join(folder)).map_err(fail)?;
        }
        check_schema(dir)?;
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(dir.join("lock"))
            .map_err(fail)?;
        let mut state = State::default();
        if let Err(error) = lock.lock_shared() {
            let warning = format!("the cache `{}` cannot be locked: {error}", dir.display());
            state.warnings.push(warning);
        }
        state.refresh(dir);
        Ok(Self { store: Some(Store::new(dir, lock, state)) })
    }

    /// The value of `key`, or `None`. A damaged value is `None` too, with a warning.
    /// Errors: `Read` if a shard is there but the system refuses to read it.
    pub fn get(&self, key: &Key) -> Result<Option<Stored>, CacheError> {
        match &self.store {
            Some(store) => store.get(key),
            None => Ok(None),
        }
    }

    /// Whether a reader would find `key`; the value itself is not checked.
    pub fn contains(&self, key: &Key) -> bool {
        self.store.as_ref().is_some_and(|store| store.state().knows(key, store.dir()))
    }

    /// Keeps a value; a key that is there already is left as it is. What waits in memory is written
    /// by a thread of its own once it exceeds 32 MiB; the caller waits only where the 32 MiB before
    /// are not written yet. Errors: `Value` if data and shape disagree; `Write` if a shard could
    /// not be written, maybe by an earlier call: its values are given up then, and the caller may
    /// go on.
    pub fn put(
        &self,
        meta: &Meta,
        key: Key,
        stored: Stored,
        dtype: Dtype,
    ) -> Result<(), CacheError> {
        let Some(store) = &self.store else {
            return Ok(());
        };
        if store.state().knows(&key, store.dir()) {
            return Ok(());
        }
        let entry = Arc::new(Entry::encode(meta, key, &stored, dtype)?);
        let full = store.state().enqueue(entry);
        if full { store.write_behind() } else { Ok(()) }
    }

    /// Where components' bytes are kept, unless the mode is `Off`.
    pub fn shelf(&self) -> Option<Shelf> {
        self.store.as_ref().map(|store| Shelf::of(store.dir()))
    }

    /// Writes what waits in memory. When it returns, the values survive a crash.
    pub fn flush(&self) -> Result<(), CacheError> {
        self.store.as_ref().map_or(Ok(()), Store::flush)
    }

    /// Has what waits in memory written by a thread of its own. Errors: as `put`.
    pub fn write_behind(&self) -> Result<(), CacheError> {
        self.store.as_ref().map_or(Ok(()), Store::write_behind)
    }

    /// Shards written since the last call: seconds and bytes of values, one by one.
    pub fn take_written(&self) -> Vec<(f32, u64)> {
        let store = self.store.as_ref();
        store.map(|store| std::mem::take(&mut store.state().written)).unwrap_or_default()
    }

    /// What was set aside or ignored since the last call, one sentence each.
    pub fn take_warnings(&self) -> Vec<String> {
        self.store
            .as_ref()
            .map(|store| std::mem::take(&mut store.state().warnings))
            .unwrap_or_default()
    }
}

/// Notes that a file was of use: `gc` removes first what was of none for longest. Where that cannot be written, its age
/// counts.
fn note_use(file: &File) {
    let _ = file.set_modified(SystemTime::now());
}

fn check_schema(dir: &Path) -> Result<(), CacheError> {
    let path = dir.join("CACHE.toml");
    let want = format!("# A cache of loupe; `loupe cache ls` lists it.\nschema = {SCHEMA}\n");
    match fs::read_to_string(&path) {
        Ok(text) if text.lines().any(|line| line == format!("schema = {SCHEMA}")) => Ok(()),
        Ok(text) if text.lines().any(|line| line.starts_with("schema = ")) => {
            let got = text.lines().find_map(|line| line.strip_prefix("schema = "));
            Err(CacheError::Schema { path: dir.to_owned(), got: got.unwrap_or("?").to_owned() })
        }
        _ => write_file(&path, want.as_bytes())
            .map_err(|error| CacheError::Open { path, cause: error.to_string() }),
    }
}

/// Replaces a small file whole: a reader sees the old bytes or the new ones.
fn write_file(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = shard::temporary(path);
    let written = File::create_new(&temporary)
        .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()))
        .and_then(|()| shard::publish(&temporary, path));
    if written.is_err() {
        // The first error is the one to report.
        let _ = fs::remove_file(&temporary);
    }
    written
}
