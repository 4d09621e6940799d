//! The cache: a content-addressed store of features, states and stage outputs in HDF5 shards.
//!
//! The engine makes the keys; the cache keeps values. It never updates a file: a shard is written
//! under a temporary name, synced and renamed, so a crash loses what was not flushed and nothing
//! else. It trusts no file: a shard whose seal, `complete` mark or checksum is wrong is set aside
//! with a warning and its values are missed. Several processes may use one folder; values stored
//! twice are equal, so duplicates are harmless.
//!
//! ```text
//! DIR/CACHE.toml    DIR/lock    DIR/shards/XX/NAME.h5    DIR/fingerprints/KEY.json
//! ```
//! A writer that meets `RLIMIT_FSIZE` gets an error only if the process ignores SIGXFSZ: the
//! program does so.

mod fingerprint;
mod index;
mod key;
mod read;
mod seal;
mod shard;
#[cfg(test)]
mod tests;
mod upkeep;
mod value;

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub use fingerprint::Fingerprint;
pub use key::{Key, KeyBuilder};
pub use upkeep::{BadShard, GcReport, Row, Stat, VerifyReport};
pub use value::{Array, Dtype, Meta, Sentence, Stored, quantise};

use index::Index;
use seal::{Refusal, SCHEMA};
use value::Entry;

/// Values that wait in memory are written when they exceed this.
const BUFFER_BYTES: usize = 32 << 20;

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

#[derive(Debug)]
struct Store {
    dir: PathBuf,
    /// Held shared as long as the cache is open; `gc` asks for it alone.
    lock: File,
    state: Mutex<State>,
    /// Held while a shard is written, so that flushes follow one another.
    writing: Mutex<()>,
}

#[derive(Debug, Default)]
struct State {
    index: Index,
    /// Not yet in a shard; what is being written stays here until it can be read.
    pending: std::collections::HashMap<Key, Arc<Entry>>,
    queue: Vec<Arc<Entry>>,
    queue_bytes: usize,
    warnings: Vec<String>,
    /// Damaged files that lost their name: `verify` cannot find them any more.
    set_aside: Vec<BadShard>,
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
        let (state, writing) = (Mutex::new(state), Mutex::new(()));
        let store = Store { dir: dir.to_owned(), lock, state, writing };
        Ok(Self { store: Some(store) })
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
        self.store.as_ref().is_some_and(|store| store.state().knows(key, &store.dir))
    }

    /// Keeps a value; a key that is there already is left as it is. What waits in memory is written
    /// once it exceeds 32 MiB. Errors: `Value` if data and shape disagree; `Write` if a shard could
    /// not be written: the waiting values are given up then, and the caller may go on.
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
        if store.state().knows(&key, &store.dir) {
            return Ok(());
        }
        let entry = Arc::new(Entry::encode(meta, key, &stored, dtype)?);
        let full = store.state().enqueue(entry);
        if full { store.flush() } else { Ok(()) }
    }

    /// Writes what waits in memory. When it returns, the values survive a crash.
    pub fn flush(&self) -> Result<(), CacheError> {
        self.store.as_ref().map_or(Ok(()), Store::flush)
    }

    /// What was set aside or ignored since the last call, one sentence each.
    pub fn take_warnings(&self) -> Vec<String> {
        self.store
            .as_ref()
            .map(|store| std::mem::take(&mut store.state().warnings))
            .unwrap_or_default()
    }
}

impl Drop for Store {
    /// A last chance for a caller that forgot to flush; the error has nobody left to go to but
    /// stderr.
    fn drop(&mut self) {
        if let Err(error) = self.flush() {
            eprintln!("warning: {error}");
        }
    }
}

impl Store {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn get(&self, key: &Key) -> Result<Option<Stored>, CacheError> {
        let (shard, group, row) = {
            let mut state = self.state();
            if let Some(entry) = state.pending.get(key).cloned() {
                drop(state);
                return Ok(value::decode(&entry.layout, entry.dtype, &entry.parts));
            }
            if !state.knows(key, &self.dir) {
                return Ok(None);
            }
            match state.index.find(key) {
                Some(found) => found,
                None => return Ok(None),
            }
        };
        let read = File::open(&shard.path)
            .map_err(|error| match error.kind() {
                io::ErrorKind::NotFound => Refusal::Broken("it is gone".to_owned()),
                _ => Refusal::from(error),
            })
            .and_then(|file| shard.read(&file, group, row));
        match read {
            Ok(stored) => Ok(Some(stored)),
            Err(Refusal::Unreadable(cause)) => {
                Err(CacheError::Read { path: shard.path.clone(), cause })
            }
            Err(refusal) => {
                let mut state = self.state();
                state.index.remove(&shard.path);
                state.refuse(&shard.path, refusal);
                Ok(None)
            }
        }
    }

    fn flush(&self) -> Result<(), CacheError> {
        let _one_at_a_time = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let entries = {
            let mut state = self.state();
            state.queue_bytes = 0;
            std::mem::take(&mut state.queue)
        };
        if entries.is_empty() {
            return Ok(());
        }
        let written = shard::write(&self.dir.join("shards"), &entries);
        let mut state = self.state();
        let result = written.map_err(|(path, cause)| CacheError::Write { path, cause });
        if let Ok(path) = &result {
            state.add(path);
        }
        for entry in &entries {
            state.pending.remove(&entry.key);
        }
        result.map(drop)
    }
}

impl State {
    /// Looks in memory first, then at shards that other processes have added.
    fn knows(&mut self, key: &Key, dir: &Path) -> bool {
        if self.pending.contains_key(key) || self.index.contains(key) {
            return true;
        }
        self.refresh(dir);
        self.index.contains(key)
    }

    /// True if the queue is due to be written.
    fn enqueue(&mut self, entry: Arc<Entry>) -> bool {
        if self.pending.insert(entry.key, entry.clone()).is_none() {
            self.queue_bytes += entry.n_bytes();
            self.queue.push(entry);
        }
        self.queue_bytes > BUFFER_BYTES
    }

    fn refresh(&mut self, dir: &Path) {
        for path in self.index.new_shards(&dir.join("shards")) {
            self.add(&path);
        }
    }

    fn add(&mut self, path: &Path) {
        if let Err(refusal) = self.index.add(path) {
            self.refuse(path, refusal);
        }
    }

    /// A damaged shard is renamed, so that nobody opens it again; `gc` removes it.
    fn refuse(&mut self, path: &Path, refusal: Refusal) {
        let why = match refusal {
            Refusal::Schema(schema) => format!("it has schema {schema}, not {SCHEMA}"),
            Refusal::Unreadable(why) => why,
            Refusal::Broken(why) => {
                let mut aside = path.as_os_str().to_owned();
                aside.push(".rejected");
                // If it cannot be renamed it is refused again at the next opening: safe, only
                // slower.
                let _ = fs::rename(path, aside);
                self.set_aside.push(BadShard { path: path.to_owned(), why: why.clone() });
                why
            }
        };
        self.warnings.push(format!("the cache ignores `{}`: {why}", path.display()));
    }
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
