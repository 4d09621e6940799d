//! Scores in bounded memory, in order when they are asked for. They are laid apart by the upper half
//! of their rank keys as they come; the lower halves of a part are counted or sorted when it is read, in
//! the nearest caches. Beyond the budget, all parts go to an unnamed temporary file, so that a class of
//! any size is evaluated exactly.

use std::fs::File;
use std::os::unix::fs::FileExt;

use rayon::prelude::*;

use super::MetricError;

/// Lower halves of a key.
const HALF: usize = 1 << 16;
/// A list that takes more than its counts would is counted when memory is short.
const COUNTS_BYTES: usize = HALF * size_of::<u32>();
const BLOCK: usize = 32;
const LEAST_BUDGET: usize = 64 << 10;

/// What is kept of a pixel beside the upper half of its key.
pub(crate) trait Entry: Copy + Ord + Send + Sync + 'static {
    /// Equal ones are counted rather than listed where there are many.
    const COUNTED: bool;
    const BYTES: usize;
    /// What a part is read as, in the order of scores.
    type Item: Copy + Send + Sync;
    fn low(self) -> u16;
    fn write(self, out: &mut Vec<u8>);
    fn parse(bytes: &[u8]) -> Option<Self>;
    /// Leaves the counts 0.
    fn items(listed: Vec<Self>, counts: &mut [u64]) -> Vec<Self::Item>;
    fn item_low(item: Self::Item) -> u16;
    fn item_count(item: Self::Item) -> u64;
}

/// A lower half, of which only the number matters.
impl Entry for u16 {
    const COUNTED: bool = true;
    const BYTES: usize = 2;
    type Item = (u16, u64);
    fn low(self) -> u16 {
        self
    }
    fn write(self, out: &mut Vec<u8>) {
        out.extend(self.to_le_bytes());
    }
    fn parse(bytes: &[u8]) -> Option<Self> {
        Some(u16::from_le_bytes(bytes.try_into().ok()?))
    }
    fn items(_: Vec<Self>, counts: &mut [u64]) -> Vec<(u16, u64)> {
        let mut items = Vec::new();
        for (block, counts) in counts.chunks_mut(BLOCK).enumerate() {
            // Most blocks of a part that few pixels fall in are passed at once.
            if counts.iter().fold(0, |any, count| any | count) == 0 {
                continue;
            }
            for (low, count) in (block * BLOCK..).zip(counts) {
                if *count > 0 {
                    items.push((low as u16, std::mem::take(count)));
                }
            }
        }
        items
    }
    fn item_low(item: Self::Item) -> u16 {
        item.0
    }
    fn item_count(item: Self::Item) -> u64 {
        item.1
    }
}

/// The lower half, and in the lower 32 bits the size of the pixel's region.
impl Entry for u64 {
    const COUNTED: bool = false;
    const BYTES: usize = 8;
    type Item = u64;
    fn low(self) -> u16 {
        (self >> 32) as u16
    }
    fn write(self, out: &mut Vec<u8>) {
        out.extend(self.to_le_bytes());
    }
    fn parse(bytes: &[u8]) -> Option<Self> {
        Some(u64::from_le_bytes(bytes.try_into().ok()?))
    }
    fn items(mut listed: Vec<Self>, _: &mut [u64]) -> Vec<u64> {
        listed.sort_unstable();
        listed
    }
    fn item_low(item: u64) -> u16 {
        item.low()
    }
    fn item_count(_: u64) -> u64 {
        1
    }
}

/// Entries with one upper half.
struct Part<E> {
    upper: u16,
    len: u64,
    listed: Vec<E>,
    /// How often each lower half came, or empty.
    counts: Vec<u32>,
    n_counted: u64,
    on_disk: Vec<Extent>,
}

/// Where a part's entries, or its counts, lie in the file.
struct Extent {
    at: u64,
    n_bytes: usize,
    counts: bool,
}

/// Unordered in, ordered out.
pub(crate) struct Levels<E> {
    /// 1 more than the place of each upper half's part; 0 where none came.
    places: Vec<u32>,
    parts: Vec<Part<E>>,
    len: u64,
    held_bytes: usize,
    budget_bytes: usize,
    file: Option<File>,
    file_bytes: u64,
}

impl<E: Entry> Levels<E> {
    /// `budget_bytes` bounds what this store keeps in memory, as far as 64 KiB allow.
    pub(crate) fn new(budget_bytes: usize) -> Self {
        Levels {
            places: vec![0; HALF],
            parts: Vec::new(),
            len: 0,
            held_bytes: 0,
            budget_bytes: budget_bytes.max(LEAST_BUDGET),
            file: None,
            file_bytes: 0,
        }
    }

    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// Adds entries of one upper half. Errors: `Spill`.
    pub(crate) fn extend(&mut self, upper: u16, entries: &[E]) -> Result<(), MetricError> {
        let place = self.place(upper);
        let Some(part) = self.parts.get_mut(place) else { return Ok(()) };
        let before = part.bytes();
        part.listed.extend_from_slice(entries);
        part.len += entries.len() as u64;
        self.len += entries.len() as u64;
        self.held_bytes += part.bytes() - before;
        if self.held_bytes > self.budget_bytes { self.shrink() } else { Ok(()) }
    }

    /// Counts what is listed; where that does not halve what is held, all goes to the file.
    fn shrink(&mut self) -> Result<(), MetricError> {
        if E::COUNTED {
            self.parts.par_iter_mut().for_each(Part::count_listed);
            self.held_bytes = self.parts.iter().map(Part::bytes).sum();
        }
        if self.held_bytes > self.budget_bytes / 2 { self.spill() } else { Ok(()) }
    }

    /// The upper halves that came, in the order of scores, each with its number of entries.
    pub(crate) fn uppers(&self) -> Vec<(u16, u64)> {
        let mut uppers: Vec<_> = self.parts.iter().map(|part| (part.upper, part.len)).collect();
        uppers.sort_unstable();
        uppers
    }

    /// The entries with an upper half, in the order of scores. `counts` is room to count in, the same from
    /// call to call. Errors: `Spill`.
    pub(crate) fn read(
        &self,
        upper: u16,
        counts: &mut Vec<u64>,
    ) -> Result<Vec<E::Item>, MetricError> {
        let place = self.places.get(usize::from(upper)).map_or(0, |place| *place as usize);
        let Some(part) = place.checked_sub(1).and_then(|place| self.parts.get(place)) else {
            return Ok(Vec::new());
        };
        counts.resize(HALF, 0);
        let mut listed = Vec::new();
        let mut list = |entries: &[E], counts: &mut [u64]| {
            if E::COUNTED {
                entries.iter().for_each(|entry| counts[usize::from(entry.low())] += 1);
            } else {
                listed.extend_from_slice(entries);
            }
        };
        let add = |more: &mut dyn Iterator<Item = u32>, counts: &mut [u64]| {
            counts.iter_mut().zip(more).for_each(|(count, more)| *count += u64::from(more));
        };
        list(&part.listed, counts);
        add(&mut part.counts.iter().copied(), counts);
        for extent in &part.on_disk {
            let bytes = self.fetch(extent).map_err(|source| MetricError::Spill { source })?;
            if extent.counts {
                let words = bytes.as_chunks::<4>().0.iter();
                add(&mut words.map(|word| u32::from_le_bytes(*word)), counts);
            } else {
                let entries: Vec<E> = bytes.chunks_exact(E::BYTES).filter_map(E::parse).collect();
                list(&entries, counts);
            }
        }
        Ok(E::items(listed, counts))
    }

    pub(crate) fn cursor(&self) -> Cursor<'_, E> {
        let (uppers, counts) = (self.uppers(), Vec::new());
        Cursor { levels: self, uppers, part: 0, items: None, position: 0, counts }
    }

    fn place(&mut self, upper: u16) -> usize {
        let Some(place) = self.places.get_mut(usize::from(upper)) else { return 0 };
        if *place == 0 {
            let (listed, counts, on_disk) = (Vec::new(), Vec::new(), Vec::new());
            self.parts.push(Part { upper, len: 0, listed, counts, n_counted: 0, on_disk });
            *place = self.parts.len() as u32;
        }
        *place as usize - 1
    }

    /// Moves all that is held to the file.
    fn spill(&mut self) -> Result<(), MetricError> {
        let mut bytes = Vec::new();
        for part in &mut self.parts {
            let at = self.file_bytes + bytes.len() as u64;
            std::mem::take(&mut part.listed).into_iter().for_each(|entry| entry.write(&mut bytes));
            let end = self.file_bytes + bytes.len() as u64;
            part.on_disk.push(Extent { at, n_bytes: (end - at) as usize, counts: false });
            let counts = std::mem::take(&mut part.counts);
            let n_bytes = counts.len() * size_of::<u32>();
            bytes.extend(counts.into_iter().flat_map(u32::to_le_bytes));
            part.on_disk.push(Extent { at: end, n_bytes, counts: true });
            part.on_disk.retain(|extent| extent.n_bytes > 0);
            part.n_counted = 0;
        }
        self.append(&bytes).map_err(|source| MetricError::Spill { source })?;
        self.held_bytes = 0;
        Ok(())
    }

    fn append(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        let file = match &self.file {
            Some(file) => file,
            None => self.file.insert(tempfile::tempfile()?),
        };
        file.write_all_at(bytes, self.file_bytes)?;
        self.file_bytes += bytes.len() as u64;
        Ok(())
    }

    fn fetch(&self, extent: &Extent) -> std::io::Result<Vec<u8>> {
        let mut bytes = vec![0; extent.n_bytes];
        if let Some(file) = &self.file {
            file.read_exact_at(&mut bytes, extent.at)?;
        }
        Ok(bytes)
    }
}

impl<E: Entry> Part<E> {
    fn bytes(&self) -> usize {
        self.listed.capacity() * E::BYTES + self.counts.len() * size_of::<u32>()
    }

    fn count_listed(&mut self) {
        let is_long = self.listed.len() * E::BYTES > COUNTS_BYTES;
        // Counts are 32 bits wide; what they cannot hold stays listed, and goes to the file.
        let total = self.n_counted + self.listed.len() as u64;
        if (self.counts.is_empty() && !is_long) || total > u64::from(u32::MAX) {
            return;
        }
        self.counts.resize(HALF, 0);
        if let Some(counts) = self.counts.first_chunk_mut::<HALF>() {
            for entry in std::mem::take(&mut self.listed) {
                let count = &mut counts[usize::from(entry.low())];
                *count = count.wrapping_add(1);
            }
        }
        self.n_counted = total;
    }
}

/// Walks a store from the highest score to the lowest.
pub(crate) struct Cursor<'a, E: Entry> {
    levels: &'a Levels<E>,
    uppers: Vec<(u16, u64)>,
    part: usize,
    /// Of the part, once they are asked for.
    items: Option<Vec<E::Item>>,
    position: usize,
    counts: Vec<u64>,
}

impl<E: Entry> Cursor<'_, E> {
    /// Number of entries passed that score above `bound` (`inclusive`: at least `bound`).
    pub(crate) fn count(&mut self, bound: u32, inclusive: bool) -> Result<u64, MetricError> {
        let mut count = 0;
        // Parts that lie above as a whole need not be read.
        while let (Some(&(upper, len)), None) = (self.uppers.get(self.part), &self.items)
            && u32::from(upper) < bound >> 16
        {
            count += len;
            self.part += 1;
        }
        self.visit(bound, inclusive, |items| {
            count += items.iter().copied().map(E::item_count).sum::<u64>();
        })?;
        Ok(count)
    }

    pub(crate) fn visit(
        &mut self,
        bound: u32,
        inclusive: bool,
        mut visit: impl FnMut(&[E::Item]),
    ) -> Result<(), MetricError> {
        let (bound_upper, bound_low) = ((bound >> 16) as u16, bound as u16);
        while let Some(&(upper, _)) = self.uppers.get(self.part)
            && upper <= bound_upper
        {
            let position = self.position;
            let items = self.items()?;
            let wanted = |item: &E::Item| {
                let low = E::item_low(*item);
                upper < bound_upper || low < bound_low || (inclusive && low == bound_low)
            };
            let rest = items.get(position..).unwrap_or_default();
            let (count, all) = (gallop(rest, wanted), rest.len());
            visit(rest.get(..count).unwrap_or_default());
            self.position += count;
            if count < all {
                return Ok(());
            }
            self.next_part();
        }
        Ok(())
    }

    /// The key of the highest score not yet passed.
    pub(crate) fn peek(&mut self) -> Result<Option<u32>, MetricError> {
        while let Some(&(upper, _)) = self.uppers.get(self.part) {
            let position = self.position;
            if let Some(item) = self.items()?.get(position) {
                return Ok(Some(u32::from(upper) << 16 | u32::from(E::item_low(*item))));
            }
            self.next_part();
        }
        Ok(None)
    }

    /// The next distinct score's key and how many entries have it.
    pub(crate) fn next_group(&mut self) -> Result<Option<(u32, u64)>, MetricError> {
        let Some(key) = self.peek()? else { return Ok(None) };
        Ok(Some((key, self.count(key, true)?)))
    }

    fn next_part(&mut self) {
        (self.items, self.position) = (None, 0);
        self.part += 1;
    }

    fn items(&mut self) -> Result<&[E::Item], MetricError> {
        if self.items.is_none() {
            let upper = self.uppers.get(self.part).map_or(0, |part| part.0);
            self.items = Some(self.levels.read(upper, &mut self.counts)?);
        }
        Ok(self.items.as_deref().unwrap_or_default())
    }
}

/// How many leading values satisfy `wanted`, which holds for a prefix; quick when they are few.
fn gallop<T>(values: &[T], wanted: impl Fn(&T) -> bool) -> usize {
    let mut step = 8;
    while values.get(step - 1).is_some_and(&wanted) {
        step *= 2;
    }
    let end = step.min(values.len());
    let start = (step / 2).min(end);
    let start = if step == 8 { 0 } else { start };
    start + values[start..end].partition_point(wanted)
}
