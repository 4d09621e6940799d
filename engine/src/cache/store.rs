//! What one open cache folder holds in memory: the index of its shards, and values on their way into
//! one. A queue that is full is written by a thread of its own while the run goes on.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use super::index::Index;
use super::read::Shard;
use super::seal::{Refusal, SCHEMA};
use super::value::{self, Entry};
use super::{BadShard, CacheError, Key, Stored, shard};

/// Values that wait in memory are written when they exceed this.
const BUFFER_BYTES: usize = 32 << 20;
/// What may be in memory at once: a queue that is written, and the next one that fills.
pub const MEMORY_BYTES: usize = 2 * BUFFER_BYTES;

type Written = Result<(), CacheError>;

#[derive(Debug)]
pub(super) struct Store {
    folder: Arc<Folder>,
    /// Held shared as long as the cache is open; `gc` asks for it alone.
    pub(super) lock: File,
    /// The thread that writes a shard. Held by who starts, joins or forbids one, so that writes
    /// follow one another.
    pub(super) writing: Mutex<Option<JoinHandle<Written>>>,
}

/// What those who read share with the thread that writes.
#[derive(Debug)]
struct Folder {
    dir: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) index: Index,
    /// Not yet in a shard; what is being written stays here until it can be read.
    pending: HashMap<Key, Arc<Entry>>,
    queue: Vec<Arc<Entry>>,
    queue_bytes: usize,
    /// Seconds and bytes of each shard that was written.
    pub(super) written: Vec<(f32, u64)>,
    pub(super) warnings: Vec<String>,
    /// Damaged files that lost their name: `verify` cannot find them any more.
    pub(super) set_aside: Vec<BadShard>,
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
    pub(super) fn new(dir: &Path, lock: File, state: State) -> Store {
        let folder = Folder { dir: dir.to_owned(), state: Mutex::new(state) };
        Store { folder: Arc::new(folder), lock, writing: Mutex::default() }
    }

    pub(super) fn dir(&self) -> &Path {
        &self.folder.dir
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.folder.state()
    }

    pub(super) fn get(&self, key: &Key) -> Result<Option<Stored>, CacheError> {
        let (shard, group, row) = {
            let mut state = self.state();
            if let Some(entry) = state.pending.get(key).cloned() {
                drop(state);
                return Ok(value::decode(&entry.layout, entry.dtype, &entry.parts));
            }
            if !state.knows(key, self.dir()) {
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
            .and_then(|file| {
                let stored = shard.read(&file, group, row)?;
                shard.note_use(&file);
                Ok(stored)
            });
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

    /// Has the queue written while the caller goes on, once the queue before it is written: so
    /// memory is bounded. Errors: those of the queue before it.
    pub(super) fn write_behind(&self) -> Written {
        let mut writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.join(writing.take());
        let entries = self.state().take_queue();
        if entries.is_empty() {
            return before;
        }
        let (folder, theirs) = (self.folder.clone(), entries.clone());
        let thread = thread::Builder::new().name("loupe-cache".to_owned());
        match thread.spawn(move || folder.write(&theirs)) {
            Ok(handle) => *writing = Some(handle),
            // Where no thread is to be had, the caller writes.
            Err(_) => return before.and(self.folder.write(&entries)),
        }
        before
    }

    /// Writes what waits, and waits for what is being written.
    pub(super) fn flush(&self) -> Written {
        let mut writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.join(writing.take());
        let entries = self.state().take_queue();
        before.and(self.folder.write(&entries))
    }

    fn join(&self, handle: Option<JoinHandle<Written>>) -> Written {
        let cause = "the thread that writes it has panicked".to_owned();
        let panicked = |_| Err(CacheError::Write { path: self.dir().to_owned(), cause });
        handle.map_or(Ok(()), |handle| handle.join().unwrap_or_else(panicked))
    }
}

impl Folder {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Errors: `Write` naming the file and the first of the values, which are given up.
    fn write(&self, entries: &[Arc<Entry>]) -> Written {
        let Some(first) = entries.first() else { return Ok(()) };
        let start = Instant::now();
        let written = shard::write(&self.dir.join("shards"), entries);
        let seconds = start.elapsed().as_secs_f32();
        // Opened before the lock is asked for: readers need not wait for it.
        let opened = written.as_ref().ok().map(|path| Shard::open(path));
        let mut state = self.state();
        if let (Ok(path), Some(opened)) = (&written, opened) {
            state.add(path, opened);
            let n_bytes = entries.iter().map(|entry| entry.n_bytes() as u64).sum();
            state.written.push((seconds, n_bytes));
        }
        for entry in entries {
            state.pending.remove(&entry.key);
        }
        let lost = |cause: String| {
            let (n, meta, key) = (entries.len(), &first.meta, first.key);
            let (stage, value) = (&meta.stage, &meta.value);
            format!("{cause} (lost: {n} values, the first `{stage}.{value}`, key {key})")
        };
        written.map(drop).map_err(|(path, cause)| CacheError::Write { path, cause: lost(cause) })
    }
}

impl State {
    /// Looks in memory first, then at shards that other processes have added.
    pub(super) fn knows(&mut self, key: &Key, dir: &Path) -> bool {
        if self.pending.contains_key(key) || self.index.contains(key) {
            return true;
        }
        self.refresh(dir);
        self.index.contains(key)
    }

    /// True if the queue is due to be written.
    pub(super) fn enqueue(&mut self, entry: Arc<Entry>) -> bool {
        if self.pending.insert(entry.key, entry.clone()).is_none() {
            self.queue_bytes += entry.n_bytes();
            self.queue.push(entry);
        }
        self.queue_bytes > BUFFER_BYTES
    }

    pub(super) fn refresh(&mut self, dir: &Path) {
        for path in self.index.new_shards(&dir.join("shards")) {
            let opened = Shard::open(&path);
            self.add(&path, opened);
        }
    }

    fn take_queue(&mut self) -> Vec<Arc<Entry>> {
        self.queue_bytes = 0;
        std::mem::take(&mut self.queue)
    }

    fn add(&mut self, path: &Path, opened: Result<Shard, Refusal>) {
        if let Err(refusal) = self.index.add(path, opened) {
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
