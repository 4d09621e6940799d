//! Writing a shard: one HDF5 file that is complete from the moment it has its name.
//!
//! ```text
//! /                        attrs: schema, complete = 1
//! /0000.clip.patch_tokens  attrs: stage, component, value, kind, dtype; bytes: schema_id, revision
//!     data  [n, ...]       one row an entry; lists: `data_0`, `data_1`, ..; attrs: name, size, tap
//!     keys  [n, 32] u8     sums [n, parts, 16] u8 (BLAKE3)     class, image [n] text
//! ```
//! Values of varying length (`bytes`, `text`) lie end to end in a flat `data`, with `ends [n]`.
//! Rows are contiguous, so each has a fixed address and is read without HDF5 and without its global
//! lock.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use half::f16;
use hdf5::dataset::{AllocTime, Layout as Placement};
use hdf5::types::VarLenUnicode;
use hdf5::{Dataset, Group, H5Type};

use super::seal::{self, Extent, SCHEMA};
use super::value::{Dtype, Entry, Label, Layout};

/// Entries that share their datasets, in the order of their keys.
struct Rows<'a> {
    layout: &'a Layout,
    dtype: Dtype,
    entries: Vec<&'a Entry>,
}

type GroupId<'a> = (&'a str, &'a str, &'a str, Dtype, &'a Layout);

/// Writes `entries` as one shard below `shards` and gives its path.
/// Equal entries give an equal name and equal datasets. On an error no file is left behind.
pub(super) fn write(shards: &Path, entries: &[Arc<Entry>]) -> Result<PathBuf, (PathBuf, String)> {
    let groups = group(entries);
    let name = name(&groups);
    let dir = shards.join(&name[..2]);
    let path = dir.join(format!("{name}.h5"));
    // It moves from the folder of folders into one of them: so a look at the former's time tells
    // whether anything is new.
    let temporary = temporary(&shards.join(format!("{name}.h5")));
    let written = fs::create_dir_all(&dir)
        .map_err(|error| error.to_string())
        .and_then(|()| write_temporary(&temporary, &groups))
        .and_then(|()| publish(&temporary, &path).map_err(|error| error.to_string()));
    written.map(|()| path.clone()).map_err(|cause| {
        // The error that is reported is the first one; a file that never came to be cannot be
        // removed.
        let _ = fs::remove_file(&temporary);
        (path, cause)
    })
}

/// `NAME.tmp-PID-N`, near the final file, so that the rename stays in one file system.
pub(super) fn temporary(path: &Path) -> PathBuf {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let n = COUNT.fetch_add(1, Ordering::Relaxed);
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".tmp-{}-{n}", std::process::id()));
    PathBuf::from(name)
}

/// Gives a synced temporary file its name and syncs the folders, so that the name survives a crash
/// too.
pub(super) fn publish(temporary: &Path, path: &Path) -> io::Result<()> {
    fs::rename(temporary, path)?;
    for folder in path.ancestors().skip(1).take(2) {
        // The folder above a relative path's first part has no name of its own.
        let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        File::open(folder)?.sync_all()?;
    }
    Ok(())
}

pub(super) fn data_name(part: usize, n_parts: usize) -> String {
    if n_parts == 1 { "data".to_owned() } else { format!("data_{part}") }
}

fn group(entries: &[Arc<Entry>]) -> BTreeMap<GroupId<'_>, Rows<'_>> {
    let mut groups: BTreeMap<GroupId, Rows> = BTreeMap::new();
    for entry in entries {
        let meta = &entry.meta;
        let id = (&*meta.stage, &*meta.component, &*meta.value, entry.dtype, &entry.layout);
        groups
            .entry(id)
            .or_insert_with(|| Rows {
                layout: &entry.layout,
                dtype: entry.dtype,
                entries: Vec::new(),
            })
            .entries
            .push(entry);
    }
    for rows in groups.values_mut() {
        rows.entries.sort_by_key(|entry| entry.key);
    }
    groups
}

fn name(groups: &BTreeMap<GroupId<'_>, Rows<'_>>) -> String {
    let mut hasher = blake3::Hasher::new();
    for (id, rows) in groups {
        hasher.update(format!("{id:?} {}", rows.entries.len()).as_bytes());
        for entry in &rows.entries {
            hasher.update(&entry.key.0);
            hasher.update(format!("{:?}", entry.meta).as_bytes());
            entry.sums().iter().for_each(|sum| {
                hasher.update(sum);
            });
        }
    }
    hasher.finalize().to_hex()[..32].to_owned()
}

fn write_temporary(path: &Path, groups: &BTreeMap<GroupId<'_>, Rows<'_>>) -> Result<(), String> {
    reserve(path, groups).map_err(|error| error.to_string())?;
    let extents = write_structure(path, groups).map_err(|error| said(&error))?;
    write_rows(path, groups, extents).map_err(|error| error.to_string())
}

/// The system's words for a failed write. HDF5 hides them among its own, with a time and an address.
fn said(error: &hdf5::Error) -> String {
    let text = error.to_string();
    let quoted = text.split_once("error message = '").and_then(|(_, rest)| rest.split_once('\''));
    quoted.map_or_else(|| text.replace('\n', " "), |(cause, _)| cause.to_owned())
}

/// Writes and drops about as many bytes as the structure takes: a full disk or a size limit then
/// shows here, as a plain error, and not inside the HDF5 library, which cannot always close a file
/// that it failed to write.
fn reserve(path: &Path, groups: &BTreeMap<GroupId<'_>, Rows<'_>>) -> io::Result<()> {
    let n_entries: usize = groups.values().map(|rows| rows.entries.len()).sum();
    let n_parts: usize = groups.values().map(|rows| rows.layout.n_parts()).sum();
    let mut file = OpenOptions::new().write(true).create_new(true).open(path)?;
    file.write_all(&vec![0; 16_384 + n_parts * 1_024 + groups.len() * 16_384 + n_entries * 512])?;
    file.sync_data()
}

fn write_structure(
    path: &Path,
    groups: &BTreeMap<GroupId<'_>, Rows<'_>>,
) -> hdf5::Result<Vec<Vec<Extent>>> {
    let n_extents = groups.values().map(|rows| rows.layout.n_parts()).sum();
    let user_block = seal::user_block_bytes(n_extents);
    let file = seal::hdf5_options()
        .with_fcpl(|list| list.userblock(user_block).obj_track_times(false))
        .create(path)?;
    number(&file, "schema", i64::from(SCHEMA))?;
    let mut extents = Vec::new();
    for (i, (id, rows)) in groups.iter().enumerate() {
        let (stage, component, value, dtype, layout) = id;
        let label: String = format!("{i:04}.{stage}.{value}").replace(['/', '\0'], "_");
        let group = file.create_group(&label)?;
        text(&group, "stage", stage)?;
        text(&group, "component", component)?;
        text(&group, "value", value)?;
        text(&group, "kind", layout.kind())?;
        text(&group, "dtype", dtype.name())?;
        if let Layout::Bytes { schema, revision } = layout {
            text(&group, "schema_id", schema)?;
            number(&group, "revision", i64::from(*revision))?;
        }
        extents.push(data_sets(&group, rows)?);
        index_sets(&group, rows)?;
    }
    number(&file, "complete", 1)?;
    file.flush()?;
    file.close()?;
    Ok(extents)
}

/// Creates the datasets of the rows, allocated but not written: their bytes do not pass through
/// HDF5.
fn data_sets(group: &Group, rows: &Rows<'_>) -> hdf5::Result<Vec<Extent>> {
    let n = rows.entries.len();
    let n_parts = rows.layout.n_parts();
    let mut extents = Vec::with_capacity(n_parts);
    for part in 0..n_parts {
        let name = data_name(part, n_parts);
        let part_bytes = |entry: &&Entry| entry.parts.get(part).map_or(0, Vec::len);
        let n_bytes: usize = rows.entries.iter().map(part_bytes).sum();
        let data = match rows.layout {
            Layout::Arrays(labels) => {
                let label = &labels[part];
                let shape = [&[n][..], &label.shape].concat();
                let data = match rows.dtype {
                    Dtype::F32 => create::<f32>(group, &name, shape)?,
                    Dtype::F16 => create::<f16>(group, &name, shape)?,
                };
                describe(&data, label)?;
                data
            }
            Layout::Bytes { .. } | Layout::Text => create::<u8>(group, &name, vec![n_bytes])?,
        };
        let n_bytes = n_bytes as u64;
        let offset = if n_bytes == 0 { Some(0) } else { data.offset() };
        let offset = offset.ok_or_else(|| hdf5::Error::from("a dataset was not allocated"))?;
        extents.push(Extent { offset, n_bytes });
    }
    Ok(extents)
}

fn index_sets(group: &Group, rows: &Rows<'_>) -> hdf5::Result<()> {
    let n = rows.entries.len();
    let n_parts = rows.layout.n_parts();
    let keys: Vec<u8> = rows.entries.iter().flat_map(|entry| entry.key.0).collect();
    create::<u8>(group, "keys", vec![n, 32])?.write_raw(&keys)?;
    let sums = rows.entries.iter().flat_map(|entry| entry.sums().as_flattened());
    let sums: Vec<u8> = sums.copied().collect();
    create::<u8>(group, "sums", vec![n, n_parts, 16])?.write_raw(&sums)?;
    if !matches!(rows.layout, Layout::Arrays(_)) {
        let lengths = rows.entries.iter().map(|entry| entry.n_bytes() as u64);
        let ends: Vec<u64> = lengths
            .scan(0, |end, length| {
                *end += length;
                Some(*end)
            })
            .collect();
        create::<u64>(group, "ends", vec![n])?.write_raw(&ends)?;
    }
    for (name, get) in [
        ("class", (|entry| &entry.meta.class) as fn(&Entry) -> &String),
        ("image", |entry| &entry.meta.image),
    ] {
        let column: hdf5::Result<Vec<_>> =
            rows.entries.iter().map(|entry| unicode(get(entry))).collect();
        create::<VarLenUnicode>(group, name, vec![n])?.write_raw(&column?)?;
    }
    Ok(())
}

fn write_rows(
    path: &Path,
    groups: &BTreeMap<GroupId<'_>, Rows<'_>>,
    extents: Vec<Vec<Extent>>,
) -> io::Result<()> {
    let file = OpenOptions::new().read(true).write(true).open(path)?;
    let mut writer = BufWriter::with_capacity(1 << 20, &file);
    for (rows, extents) in groups.values().zip(&extents) {
        for (part, extent) in extents.iter().enumerate().filter(|(_, extent)| extent.n_bytes > 0) {
            writer.seek(SeekFrom::Start(extent.offset))?;
            for bytes in rows.entries.iter().filter_map(|entry| entry.parts.get(part)) {
                writer.write_all(bytes)?;
            }
        }
    }
    writer.flush()?;
    drop(writer);
    seal::write(&file, extents.concat())?;
    file.sync_all()
}

fn create<T: H5Type>(group: &Group, name: &str, shape: Vec<usize>) -> hdf5::Result<Dataset> {
    group
        .new_dataset::<T>()
        .no_chunk()
        .layout(Placement::Contiguous)
        .alloc_time(Some(AllocTime::Early))
        .obj_track_times(false)
        .shape(shape)
        .create(name)
}

/// Absent labels are stored as -1.
fn describe(data: &Dataset, label: &Label) -> hdf5::Result<()> {
    data.new_attr::<VarLenUnicode>().create("name")?.write_scalar(&unicode(&label.name)?)?;
    for (name, value) in [("size", label.size), ("tap", label.tap)] {
        let value = value.map_or(-1, i64::from);
        data.new_attr::<i64>().create(name)?.write_scalar(&value)?;
    }
    Ok(())
}

fn text(group: &Group, name: &str, value: &str) -> hdf5::Result<()> {
    group.new_attr::<VarLenUnicode>().create(name)?.write_scalar(&unicode(value)?)
}

fn number(group: &Group, name: &str, value: i64) -> hdf5::Result<()> {
    group.new_attr::<i64>().create(name)?.write_scalar(&value)
}

fn unicode(value: &str) -> hdf5::Result<VarLenUnicode> {
    value
        .replace('\0', "\u{fffd}")
        .parse()
        .map_err(|error| hdf5::Error::from(format!("`{value}` cannot be stored: {error}")))
}
