//! Reading a shard: the structure once through HDF5, the rows at their addresses without it.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use hdf5::types::VarLenUnicode;
use hdf5::{Dataset, Group};
use loupe_kernels::bytes_of;

use super::seal::{self, Extent, Refusal};
use super::shard::data_name;
use super::value::{Dtype, Label, Layout, Stored, decode, first_half};
use super::{Key, note_use};

/// A multiple of every element's size, small enough for the caches of one core.
const BLOCK_BYTES: u64 = 128 << 10;

/// An opened shard: everything but the rows.
#[derive(Debug)]
pub(super) struct Shard {
    pub path: PathBuf,
    pub groups: Vec<Section>,
    /// That it was of use has been noted.
    used: AtomicBool,
}

/// One group of a shard. Rows are `0..keys.len()`.
#[derive(Debug)]
pub(super) struct Section {
    pub stage: String,
    pub component: String,
    pub value: String,
    pub dtype: Dtype,
    pub layout: Layout,
    pub keys: Vec<Key>,
    parts: Vec<Part>,
    /// Row by row, part by part.
    sums: Vec<[u8; 16]>,
}

/// Where the rows of one part lie.
#[derive(Debug)]
struct Part {
    offset: u64,
    rows: RowEnds,
}

#[derive(Debug)]
enum RowEnds {
    Equal(usize),
    Varying(Vec<u64>),
}

impl Shard {
    /// Errors: what makes the file unfit; it is never read further then. What HDF5 says about a
    /// file whose seal is whole is no proof of damage.
    pub fn open(path: &Path) -> Result<Self, Refusal> {
        let extents = seal::check(&File::open(path)?)?;
        let groups = read_groups(path, &extents)
            .map_err(|error| Refusal::Unreadable(error.to_string()))?
            .ok_or_else(|| {
                Refusal::Broken(
                    "it has no `complete` mark, or not the structure of a shard".to_owned(),
                )
            })?;
        Ok(Self { path: path.to_owned(), groups, used: AtomicBool::new(false) })
    }

    /// Notes at its first row that the shard was of use.
    pub fn note_use(&self, file: &File) {
        if !self.used.swap(true, Ordering::Relaxed) {
            note_use(file);
        }
    }

    pub fn n_bytes(&self) -> u64 {
        let rows = self
            .groups
            .iter()
            .flat_map(|group| (0..group.keys.len()).filter_map(|row| group.row_bytes(row)));
        rows.sum()
    }

    /// Reads one row and checks it. Errors: `Broken` if the bytes do not have the stored checksum.
    pub fn read(&self, file: &File, group: usize, row: usize) -> Result<Stored, Refusal> {
        let broken = |why: &str| Refusal::Broken(format!("row {row} of group {group} {why}"));
        let group = self.groups.get(group).ok_or_else(|| broken("does not exist"))?;
        let extent = |part: usize| {
            let found = group.parts.get(part).and_then(|part| part.row(row));
            found.ok_or_else(|| broken("does not exist"))
        };
        let whole =
            |part: usize, sum: [u8; 16]| match group.sums.get(row * group.parts.len() + part)
                == Some(&sum)
            {
                true => Ok(()),
                false => Err(broken("does not match its checksum")),
            };
        let Layout::Arrays(labels) = &group.layout else {
            let mut bytes = Vec::new();
            whole(0, blocks(file, extent(0)?, |block| bytes.extend_from_slice(block))?)?;
            let stored = decode(&group.layout, group.dtype, &[bytes]);
            return stored.ok_or_else(|| broken("cannot be decoded"));
        };
        let mut arrays = Vec::with_capacity(labels.len());
        for (part, label) in labels.iter().enumerate() {
            let extent = extent(part)?;
            if label.row_bytes(group.dtype).map(|n_bytes| n_bytes as u64) != Some(extent.n_bytes) {
                return Err(broken("cannot be decoded"));
            }
            let (sum, numbers) = match group.dtype {
                Dtype::F32 => numbers(file, extent)?,
                Dtype::F16 => {
                    let mut numbers = Vec::with_capacity(extent.n_bytes as usize / 2);
                    let take = |block: &[u8]| group.dtype.decode(block, &mut numbers);
                    (blocks(file, extent, take)?, numbers)
                }
            };
            whole(part, sum)?;
            arrays.push(label.array(numbers));
        }
        Ok(Stored::Arrays(arrays))
    }
}

/// Gives the bytes of an extent to `take`, block by block: what is read stays in the nearest caches
/// while it is digested and decoded. Gives their checksum.
fn blocks(file: &File, extent: Extent, mut take: impl FnMut(&[u8])) -> std::io::Result<[u8; 16]> {
    let mut buffer = vec![0; extent.n_bytes.min(BLOCK_BYTES) as usize];
    let mut hasher = blake3::Hasher::new();
    let mut at = 0;
    while at < extent.n_bytes {
        let n_bytes = (extent.n_bytes - at).min(BLOCK_BYTES) as usize;
        let block = &mut buffer[..n_bytes];
        file.read_exact_at(block, extent.offset + at)?;
        hasher.update(block);
        take(block);
        at += n_bytes as u64;
    }
    Ok(first_half(&hasher.finalize()))
}

/// As `blocks`, of f32 numbers, which are read to where they stay. Gives the checksum and the numbers.
fn numbers(file: &File, extent: Extent) -> std::io::Result<([u8; 16], Vec<f32>)> {
    let n = extent.n_bytes as usize / size_of::<f32>();
    let mut numbers = Vec::with_capacity(n);
    let mut hasher = blake3::Hasher::new();
    while numbers.len() < n {
        let from = numbers.len();
        numbers.resize(n.min(from + BLOCK_BYTES as usize / size_of::<f32>()), 0.0);
        let block = numbers.get_mut(from..).unwrap_or_default();
        let at = (from * size_of::<f32>()) as u64;
        file.read_exact_at(bytes_of(block), extent.offset + at)?;
        hasher.update(bytes_of(block));
        let in_order = |number: &mut f32| *number = f32::from_bits(u32::from_le(number.to_bits()));
        block.iter_mut().for_each(in_order);
    }
    Ok((first_half(&hasher.finalize()), numbers))
}

impl Section {
    pub fn row_bytes(&self, row: usize) -> Option<u64> {
        self.parts.iter().map(|part| part.row(row).map(|extent| extent.n_bytes)).sum()
    }
}

impl Part {
    fn row(&self, row: usize) -> Option<Extent> {
        let (start, end) = match &self.rows {
            RowEnds::Equal(n_bytes) => {
                let start = (row as u64).checked_mul(*n_bytes as u64)?;
                (start, start.checked_add(*n_bytes as u64)?)
            }
            RowEnds::Varying(ends) => {
                let before = row.checked_sub(1).map_or(Some(0), |before| ends.get(before).copied());
                (before?, *ends.get(row)?)
            }
        };
        Some(Extent { offset: self.offset.checked_add(start)?, n_bytes: end.checked_sub(start)? })
    }
}

/// `None` if something does not fit together.
fn read_groups(path: &Path, extents: &[Extent]) -> hdf5::Result<Option<Vec<Section>>> {
    let file = seal::hdf5_options().open(path)?;
    if number(&file, "complete").ok() != Some(1) {
        return Ok(None);
    }
    let mut groups = Vec::new();
    for name in file.member_names()? {
        match read_group(&file.group(&name)?, extents)? {
            Some(group) => groups.push(group),
            None => return Ok(None),
        }
    }
    file.close()?;
    Ok(Some(groups))
}

fn read_group(group: &Group, extents: &[Extent]) -> hdf5::Result<Option<Section>> {
    let keys: Vec<Key> = rows_of(&group.dataset("keys")?.read_raw::<u8>()?).map(Key).collect();
    let sums: Vec<[u8; 16]> = rows_of(&group.dataset("sums")?.read_raw::<u8>()?).collect();
    let Some(dtype) = Dtype::parse(&text(group, "dtype")?) else {
        return Ok(None);
    };
    let layout = match text(group, "kind")?.as_str() {
        "arrays" => Layout::Arrays(labels(group)?),
        "bytes" => Layout::Bytes {
            schema: text(group, "schema_id")?,
            revision: number(group, "revision")? as u32,
        },
        "text" => Layout::Text,
        _ => return Ok(None),
    };
    let n_parts = layout.n_parts();
    let mut parts = Vec::with_capacity(n_parts);
    for i in 0..n_parts {
        let data = group.dataset(&data_name(i, n_parts))?;
        let rows = match &layout {
            Layout::Arrays(labels) => {
                match labels.get(i).and_then(|label| label.row_bytes(dtype)) {
                    Some(n_bytes) => RowEnds::Equal(n_bytes),
                    None => return Ok(None),
                }
            }
            Layout::Bytes { .. } | Layout::Text => {
                RowEnds::Varying(group.dataset("ends")?.read_raw::<u64>()?)
            }
        };
        let part = Part { offset: data.offset().unwrap_or(0), rows };
        if !part.fits(keys.len(), extents) {
            return Ok(None);
        }
        parts.push(part);
    }
    let whole = sums.len() == keys.len() * n_parts;
    Ok(whole.then_some(Section {
        stage: text(group, "stage")?,
        component: text(group, "component")?,
        value: text(group, "value")?,
        dtype,
        layout,
        keys,
        parts,
        sums,
    }))
}

impl Part {
    /// Whether all rows together are one of the sealed extents (or nothing).
    fn fits(&self, n_rows: usize, extents: &[Extent]) -> bool {
        let Some(last) = n_rows.checked_sub(1) else {
            return true;
        };
        let increasing = match &self.rows {
            RowEnds::Equal(_) => true,
            RowEnds::Varying(ends) => ends.len() == n_rows && ends.is_sorted(),
        };
        let end = self.row(last).and_then(|row| row.offset.checked_add(row.n_bytes));
        let n_bytes = end.and_then(|end| end.checked_sub(self.offset));
        let whole = n_bytes.map(|n_bytes| Extent { offset: self.offset, n_bytes });
        increasing && whole.is_some_and(|whole| whole.n_bytes == 0 || extents.contains(&whole))
    }
}

/// Array datasets in their order: `data`, or `data_0`, `data_1`, ..
fn labels(group: &Group) -> hdf5::Result<Vec<Label>> {
    let names = group.member_names()?;
    let n_parts = names.iter().filter(|name| name.starts_with("data")).count();
    let label = |i| {
        let data = group.dataset(&data_name(i, n_parts))?;
        Ok(Label {
            name: data_text(&data, "name")?,
            size: optional(data_number(&data, "size")?),
            tap: optional(data_number(&data, "tap")?),
            shape: data.shape().get(1..).unwrap_or_default().to_vec(),
        })
    };
    (0..n_parts).map(label).collect()
}

fn optional(label: i64) -> Option<u32> {
    u32::try_from(label).ok()
}

fn rows_of<const N: usize>(bytes: &[u8]) -> impl Iterator<Item = [u8; N]> {
    bytes.as_chunks::<N>().0.iter().copied()
}

fn text(group: &Group, name: &str) -> hdf5::Result<String> {
    Ok(group.attr(name)?.read_scalar::<VarLenUnicode>()?.to_string())
}

fn number(group: &Group, name: &str) -> hdf5::Result<i64> {
    group.attr(name)?.read_scalar()
}

fn data_text(data: &Dataset, name: &str) -> hdf5::Result<String> {
    Ok(data.attr(name)?.read_scalar::<VarLenUnicode>()?.to_string())
}

fn data_number(data: &Dataset, name: &str) -> hdf5::Result<i64> {
    data.attr(name)?.read_scalar()
}
