//! Bytes that components keep, such as packed weights: a file each, copied to where they are wanted.
//!
//! Layout: a head of magic, schema `u32`, 4 zeros, length `u64`, checksum `u64`, key and a name for people, then the
//! bytes. The checksum covers all the rest and is checked before a byte is handed out. It guards against cut and
//! damaged files, at the speed of memory; nobody is asked to trust a file that somebody else wrote.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use loupe_kernels::ParallelFor;

use super::index::list;
use super::key::Key;
use super::note_use;
use super::shard::temporary;

const FOLDER: &str = "kept";
const EXTENSION: &str = "kept";
const MAGIC: [u8; 8] = *b"LOUPE-KB";
const SCHEMA: u32 = 1;
const HEAD_BYTES: usize = 128;
const NAME_BYTES: usize = 64;
/// Bytes that are read and digested at a time: they stay in a core's own cache.
const PIECE: usize = 256 << 10;

/// The folder of kept bytes in a cache.
#[derive(Clone, Debug)]
pub struct Shelf {
    dir: PathBuf,
}

/// Kept bytes that were found whole.
#[derive(Debug)]
pub struct KeptFile {
    file: File,
    pub len: u64,
}

impl KeptFile {
    /// Fills `to` from `offset` on. Errors: the system's, and what reaches beyond the end.
    pub fn read(&self, offset: u64, to: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(to, (HEAD_BYTES as u64).saturating_add(offset))
    }
}

impl Shelf {
    pub(super) fn of(cache: &Path) -> Self {
        Shelf { dir: cache.join(FOLDER) }
    }

    /// The bytes of a key. Errors: why a file that is there is not taken.
    pub fn find(&self, key: &Key, par: ParallelFor) -> Result<Option<KeptFile>, String> {
        let path = self.path(key);
        let why = |error: io::Error| format!("`{}` cannot be read: {error}", path.display());
        match File::open(&path) {
            Ok(file) => {
                let found = checked(file, Some(key), par)
                    .map_err(|why| format!("`{}` is not taken: {why}", path.display()))?;
                note_use(&found.file);
                Ok(Some(found))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(why(error)),
        }
    }

    /// Keeps parts as one, in place of what was there. Nobody waits for the disk: what a crash of the machine cuts
    /// fails its checksum, and is made again. Errors: the system's.
    pub fn keep(
        &self,
        key: &Key,
        name: &str,
        parts: &[&[u8]],
        par: ParallelFor,
    ) -> Result<(), String> {
        let path = self.path(key);
        let temporary = temporary(&path);
        let written = fs::create_dir_all(&self.dir)
            .and_then(|()| write(&temporary, key, name, parts, par))
            .and_then(|()| fs::rename(&temporary, &path));
        written.map_err(|error| {
            // The first error is the one to report.
            let _ = fs::remove_file(&temporary);
            format!("`{}` cannot be written: {error}", path.display())
        })
    }

    fn path(&self, key: &Key) -> PathBuf {
        self.dir.join(format!("{key}.{EXTENSION}"))
    }

    /// Every file, temporary ones too.
    pub(super) fn files(&self) -> Vec<PathBuf> {
        list(&self.dir)
    }
}

/// Whose bytes a file has, and how many; its head alone is read.
pub(super) fn named(path: &Path) -> Option<(String, u64)> {
    let mut head = [0; HEAD_BYTES];
    File::open(path).and_then(|file| file.read_exact_at(&mut head, 0)).ok()?;
    (head[..8] == MAGIC).then(|| (name_in(&head), u64_at(&head, 16)))
}

pub(super) fn is_kept(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == EXTENSION)
}

/// A kept file under its own key, read from its first byte to its last. Errors: why it is not whole.
pub(super) fn verified(path: &Path) -> Result<KeptFile, String> {
    let file = File::open(path).map_err(|error| error.to_string())?;
    checked(file, None, &loupe_kernels::serial)
}

fn checked(file: File, key: Option<&Key>, par: ParallelFor) -> Result<KeptFile, String> {
    let mut head = [0; HEAD_BYTES];
    file.read_exact_at(&mut head, 0).map_err(|_| "it is too short".to_owned())?;
    let field = |at: usize| u64_at(&head, at);
    if head[..8] != MAGIC || field(8) != u64::from(SCHEMA) {
        return Err("another version wrote it".to_owned());
    }
    let on_disk = file.metadata().map_err(|error| error.to_string())?.len();
    let len = field(16);
    if len.checked_add(HEAD_BYTES as u64) != Some(on_disk) {
        return Err(format!("it has {on_disk} bytes, written were {len} and a head"));
    }
    if key.is_some_and(|key| head[32..64] != key.0) {
        return Err("it is of another key".to_owned());
    }
    let read = |at: u64, to: &mut [u8]| file.read_exact_at(to, HEAD_BYTES as u64 + at);
    let sum = checksum(&head, len, &read, par).map_err(|error| error.to_string())?;
    if sum != field(24) {
        return Err("its checksum is wrong".to_owned());
    }
    Ok(KeptFile { file, len })
}

fn name_in(head: &[u8; HEAD_BYTES]) -> String {
    String::from_utf8_lossy(&head[64..]).trim_end_matches('\0').to_owned()
}

fn write(path: &Path, key: &Key, name: &str, parts: &[&[u8]], par: ParallelFor) -> io::Result<()> {
    let len: usize = parts.iter().map(|part| part.len()).sum();
    let mut head = [0; HEAD_BYTES];
    head[..8].copy_from_slice(&MAGIC);
    head[8..12].copy_from_slice(&SCHEMA.to_le_bytes());
    head[16..24].copy_from_slice(&(len as u64).to_le_bytes());
    head[32..64].copy_from_slice(&key.0);
    let name = &name.as_bytes()[..name.floor_char_boundary(NAME_BYTES)];
    head[64..64 + name.len()].copy_from_slice(name);
    let read = |at: u64, to: &mut [u8]| gather(parts, at as usize, to);
    let sum = checksum(&head, len as u64, &read, par)?;
    head[24..32].copy_from_slice(&sum.to_le_bytes());
    let mut file = BufWriter::new(File::create_new(path)?);
    file.write_all(&head)?;
    for part in parts {
        file.write_all(part)?;
    }
    file.flush()
}

/// Bytes of the parts as if they stood one behind the other.
fn gather(parts: &[&[u8]], mut at: usize, mut to: &mut [u8]) -> io::Result<()> {
    for part in parts {
        let from = part.get(at..).unwrap_or_default();
        let (now, rest) = to.split_at_mut(from.len().min(to.len()));
        now.copy_from_slice(&from[..now.len()]);
        (at, to) = (at.saturating_sub(part.len()), rest);
    }
    if to.is_empty() { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

/// Of a head without its own place, and of `len` bytes. Pieces are digested on any thread and joined in order.
fn checksum(
    head: &[u8; HEAD_BYTES],
    len: u64,
    read: &(dyn Fn(u64, &mut [u8]) -> io::Result<()> + Sync),
    par: ParallelFor,
) -> io::Result<u64> {
    let sums: Vec<AtomicU64> = (0..len.div_ceil(PIECE as u64)).map(|_| AtomicU64::new(0)).collect();
    let n_left = AtomicU64::new(sums.len() as u64);
    let failed = Mutex::new(None);
    par(sums.len(), &|i| {
        let at = (i * PIECE) as u64;
        let mut piece = vec![0; (len - at).min(PIECE as u64) as usize];
        match read(at, &mut piece) {
            Ok(()) => {
                sums[i].store(digest(&piece), Ordering::Relaxed);
                n_left.fetch_sub(1, Ordering::Relaxed);
            }
            Err(error) => *failed.lock().unwrap_or_else(PoisonError::into_inner) = Some(error),
        }
    });
    if n_left.into_inner() > 0 {
        let failed = failed.into_inner().unwrap_or_else(PoisonError::into_inner);
        return Err(failed.unwrap_or_else(|| io::Error::other("not all of it was read")));
    }
    let sums = sums.into_iter().map(AtomicU64::into_inner);
    let head = [digest(&head[..24]), digest(&head[32..])];
    Ok(head.into_iter().chain(sums).fold(len, step))
}

/// Eight lanes of words: each step is a bijection of what was there, so no changed word is lost.
fn digest(bytes: &[u8]) -> u64 {
    let mut lanes = [1, 2, 3, 4, 5, 6, 7, 8];
    let (groups, rest) = bytes.as_chunks::<64>();
    let mut last = [0; 64];
    last[..rest.len()].copy_from_slice(rest);
    for group in groups.iter().chain([&last]) {
        for (lane, word) in lanes.iter_mut().zip(group.as_chunks::<8>().0) {
            *lane = step(*lane, u64::from_le_bytes(*word));
        }
    }
    lanes.into_iter().fold(bytes.len() as u64, step)
}

fn step(sum: u64, word: u64) -> u64 {
    (sum ^ word).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(31)
}

fn u64_at(bytes: &[u8; HEAD_BYTES], at: usize) -> u64 {
    let word = bytes.get(at..).and_then(|rest| rest.first_chunk());
    word.map_or(0, |word| u64::from_le_bytes(*word))
}
