//! The seal: a digest in the HDF5 user block over every byte of a shard but the rows of data.
//!
//! It is checked before the HDF5 library sees the file, because that library may misread, or crash
//! on, a damaged one. The rows have checksums of their own, so opening a shard costs its few small
//! bytes only.
//! Layout: magic, schema `u32`, number of extents `u32`, file size `u64`, (offset, length) `u64`
//! each, digest.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

pub(super) const SCHEMA: u32 = 1;
const MAGIC: [u8; 8] = *b"LOUPE-H5";
const HEAD_BYTES: u64 = 24;
const DIGEST_BYTES: u64 = 32;
const MAX_EXTENTS: u64 = 1 << 16;

/// Where one dataset of rows lies in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Extent {
    pub offset: u64,
    pub n_bytes: u64,
}

/// Why a file is not taken.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// Gone, or not readable now: not this file's fault.
    Unreadable(String),
    /// Written by another version: left alone.
    Schema(u32),
    /// Damaged or not ours.
    Broken(String),
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Self::Broken("it is too short".to_owned()),
            _ => Self::Unreadable(error.to_string()),
        }
    }
}

/// HDF5's own file locks are off (HDF5 1.10.7 or later): a shard never changes once it has its
/// name, and the folder has a lock. They would be inherited by a process that another thread is
/// starting at that moment, outlive the closing of the file, and hide a whole shard.
pub(super) fn hdf5_options() -> hdf5::file::FileBuilder {
    let mut options = hdf5::File::with_options();
    options.with_fapl(|list| list.file_locking(false));
    options
}

/// Room for the seal of a file with `n_extents` datasets: HDF5 wants a power of two from 512 on.
pub(super) fn user_block_bytes(n_extents: usize) -> u64 {
    seal_bytes(n_extents as u64).next_power_of_two().max(512)
}

/// Writes the seal of a finished file. Shapes: `extents` may come in any order.
pub(super) fn write(file: &File, mut extents: Vec<Extent>) -> io::Result<()> {
    extents.retain(|extent| extent.n_bytes > 0);
    extents.sort();
    let file_bytes = file.metadata()?.len();
    let mut seal = Vec::new();
    seal.extend(MAGIC);
    seal.extend(SCHEMA.to_le_bytes());
    seal.extend((extents.len() as u32).to_le_bytes());
    seal.extend(file_bytes.to_le_bytes());
    for extent in &extents {
        seal.extend(extent.offset.to_le_bytes());
        seal.extend(extent.n_bytes.to_le_bytes());
    }
    let digest = digest(file, &seal, &extents, file_bytes).map_err(|refusal| match refusal {
        Refusal::Unreadable(why) | Refusal::Broken(why) => io::Error::other(why),
        Refusal::Schema(schema) => io::Error::other(format!("schema {schema}")),
    })?;
    seal.extend(digest);
    file.write_all_at(&seal, 0)
}

/// Reads and checks the seal; gives the extents of the rows, sorted.
pub(super) fn check(file: &File) -> Result<Vec<Extent>, Refusal> {
    let file_bytes = file.metadata()?.len();
    let mut seal = read(file, 0, HEAD_BYTES)?;
    if !seal.starts_with(&MAGIC) {
        return Err(Refusal::Broken("it has no seal".to_owned()));
    }
    let schema = u32_at(&seal, 8);
    if schema != SCHEMA {
        return Err(Refusal::Schema(schema));
    }
    let n_extents = u64::from(u32_at(&seal, 12));
    let sealed_bytes = u64_at(&seal, 16);
    if sealed_bytes != file_bytes {
        let why = format!("it has {file_bytes} bytes, sealed were {sealed_bytes}");
        return Err(Refusal::Broken(why));
    }
    if n_extents > MAX_EXTENTS {
        return Err(Refusal::Broken("its seal is damaged".to_owned()));
    }
    seal.extend(read(file, HEAD_BYTES, n_extents * 16)?);
    let extents: Vec<Extent> = seal[HEAD_BYTES as usize..]
        .chunks_exact(16)
        .map(|pair| Extent { offset: u64_at(pair, 0), n_bytes: u64_at(pair, 8) })
        .collect();
    let want = read(file, HEAD_BYTES + n_extents * 16, DIGEST_BYTES)?;
    if digest(file, &seal, &extents, file_bytes)?[..] != want[..] {
        return Err(Refusal::Broken("its structure does not match its seal".to_owned()));
    }
    Ok(extents)
}

fn seal_bytes(n_extents: u64) -> u64 {
    HEAD_BYTES + n_extents * 16 + DIGEST_BYTES
}

/// Digest of the seal so far and of all bytes between the extents.
fn digest(
    file: &File,
    seal: &[u8],
    extents: &[Extent],
    file_bytes: u64,
) -> Result<[u8; 32], Refusal> {
    let damaged = || Refusal::Broken("its seal is damaged".to_owned());
    let mut hasher = blake3::Hasher::new();
    hasher.update(seal);
    let mut at = seal_bytes(extents.len() as u64);
    let end = Extent { offset: file_bytes, n_bytes: 0 };
    for extent in extents.iter().chain([&end]) {
        let gap = extent.offset.checked_sub(at).ok_or_else(damaged)?;
        if extent.offset > file_bytes {
            return Err(damaged());
        }
        hasher.update(&read(file, at, gap)?);
        at = extent.offset.checked_add(extent.n_bytes).ok_or_else(damaged)?;
    }
    Ok(*hasher.finalize().as_bytes())
}

fn read(file: &File, offset: u64, n_bytes: u64) -> Result<Vec<u8>, Refusal> {
    let mut bytes = vec![0; n_bytes as usize];
    file.read_exact_at(&mut bytes, offset)?;
    Ok(bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u64_at(bytes, at) as u32
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut word = [0; 8];
    for (to, from) in word.iter_mut().zip(bytes.iter().skip(at)) {
        *to = *from;
    }
    u64::from_le_bytes(word)
}
