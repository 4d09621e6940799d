//! Sorted scores in bounded memory: full buffers are sorted, and spilled to unnamed temporary
//! files once the memory budget is used, so a class of any size can be evaluated exactly.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::os::unix::fs::FileExt;

use rayon::slice::ParallelSliceMut;

use super::MetricError;

/// Values read from a spilled run at a time, per cursor.
const BLOCK: usize = 16 * 1024;

/// A record of a run: an integer whose order is the order of evaluation.
pub(crate) trait Record: Copy + Ord + Send + Sync + 'static {
    const BYTES: usize;
    fn write(self, out: &mut [u8]);
    fn read(bytes: &[u8]) -> Option<Self>;
    /// The rank key of the record's score.
    fn key(self) -> u32;
    fn sort(values: &mut [Self]);
}

impl Record for u32 {
    const BYTES: usize = 4;
    fn write(self, out: &mut [u8]) {
        out.copy_from_slice(&self.to_le_bytes());
    }
    fn read(bytes: &[u8]) -> Option<Self> {
        Some(u32::from_le_bytes(bytes.try_into().ok()?))
    }
    fn key(self) -> u32 {
        self
    }
    fn sort(values: &mut [Self]) {
        radix_sort(values);
    }
}

/// A rank key in the high half, the size of the pixel's region in the low half.
impl Record for u64 {
    const BYTES: usize = 8;
    fn write(self, out: &mut [u8]) {
        out.copy_from_slice(&self.to_le_bytes());
    }
    fn read(bytes: &[u8]) -> Option<Self> {
        Some(u64::from_le_bytes(bytes.try_into().ok()?))
    }
    fn key(self) -> u32 {
        (self >> 32) as u32
    }
    fn sort(values: &mut [Self]) {
        values.par_sort_unstable();
    }
}

/// Sorts by 11 bits at a time, from the lowest, with one buffer of the same length: several times
/// quicker than comparisons, and normal pixels are most of what is sorted.
fn radix_sort(values: &mut [u32]) {
    const BITS: u32 = 11;
    const MASK: u32 = (1 << BITS) - 1;
    let mut counts = [[0_usize; 1 << BITS]; 3];
    for &value in values.iter() {
        for (pass, counts) in (0..).zip(&mut counts) {
            counts[(value >> (pass * BITS) & MASK) as usize] += 1;
        }
    }
    let mut buffer = vec![0_u32; values.len()];
    let (mut from, mut to): (&mut [u32], &mut [u32]) = (values, &mut buffer);
    let mut in_buffer = false;
    for (pass, counts) in (0..).zip(&mut counts) {
        // A digit that all values share moves nothing.
        if counts.contains(&from.len()) {
            continue;
        }
        let mut start = 0;
        for count in counts.iter_mut() {
            (start, *count) = (start + *count, start);
        }
        for &value in from.iter() {
            let place = &mut counts[(value >> (pass * BITS) & MASK) as usize];
            to[*place] = value;
            *place += 1;
        }
        (from, to) = (to, from);
        in_buffer = !in_buffer;
    }
    if in_buffer {
        to.copy_from_slice(from);
    }
}

/// The rank key of a finite score: the smaller, the more anomalous. -0 and 0 have one key.
pub(crate) fn rank_key(score: f32) -> u32 {
    let bits = (score + 0.0).to_bits();
    let ascending = if bits >> 31 == 1 { !bits } else { bits | 0x8000_0000 };
    !ascending
}

/// The score of a rank key.
pub(crate) fn score_of(key: u32) -> f32 {
    let ascending = !key;
    let positive = ascending >> 31 == 1;
    f32::from_bits(if positive { ascending & 0x7fff_ffff } else { !ascending })
}

enum Run<T> {
    Memory(Vec<T>),
    Disk { file: File, len: usize },
}

/// Unordered in, ordered out. `run_len` records are sorted at a time; at most `memory_runs` sorted
/// runs stay in memory beside the one being filled.
pub(crate) struct Runs<T> {
    open: Vec<T>,
    closed: Vec<Run<T>>,
    len: u64,
    run_len: usize,
    memory_runs: usize,
}

impl<T: Record> Runs<T> {
    /// `budget_bytes` bounds what this store keeps in memory; at least two small runs are kept.
    pub(crate) fn new(budget_bytes: usize) -> Self {
        let run_bytes = (budget_bytes / 4).clamp(64 * 1024, 64 << 20);
        let memory_runs = (budget_bytes / run_bytes).saturating_sub(1).max(1);
        let run_len = run_bytes / T::BYTES;
        Runs { open: Vec::new(), closed: Vec::new(), len: 0, run_len, memory_runs }
    }

    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// Adds one record for each score.
    pub(crate) fn extend(
        &mut self,
        mut scores: &[f32],
        record: impl Fn(f32) -> T,
    ) -> Result<(), MetricError> {
        while !scores.is_empty() {
            let (now, later) = scores.split_at(scores.len().min(self.run_len - self.open.len()));
            self.open.extend(now.iter().map(|&score| record(score)));
            self.len += now.len() as u64;
            scores = later;
            if self.open.len() >= self.run_len {
                self.close()?;
            }
        }
        Ok(())
    }

    /// Takes over another store's records.
    pub(crate) fn merge(&mut self, other: Self) -> Result<(), MetricError> {
        self.len += other.len;
        for run in other.closed {
            self.keep(run)?;
        }
        for record in other.open {
            self.open.push(record);
            if self.open.len() >= self.run_len {
                self.close()?;
            }
        }
        Ok(())
    }

    /// Sorts what is still unsorted; only then may cursors be taken.
    pub(crate) fn seal(&mut self) -> Result<(), MetricError> {
        if self.open.is_empty() { Ok(()) } else { self.close() }
    }

    pub(crate) fn cursor(&self) -> Cursor<'_, T> {
        Cursor { heads: self.closed.iter().map(Head::new).collect() }
    }

    fn close(&mut self) -> Result<(), MetricError> {
        T::sort(&mut self.open);
        if self.is_full() {
            self.closed.push(spill(&self.open)?);
            self.open.clear();
        } else {
            self.closed.push(Run::Memory(std::mem::take(&mut self.open)));
        }
        Ok(())
    }

    fn keep(&mut self, run: Run<T>) -> Result<(), MetricError> {
        let run = match run {
            Run::Memory(values) if self.is_full() => spill(&values)?,
            run => run,
        };
        self.closed.push(run);
        Ok(())
    }

    fn is_full(&self) -> bool {
        let in_memory = self.closed.iter().filter(|run| matches!(run, Run::Memory(_)));
        in_memory.count() >= self.memory_runs
    }
}

fn spill<T: Record>(values: &[T]) -> Result<Run<T>, MetricError> {
    write(values).map_err(|source| MetricError::Spill { source })
}

fn write<T: Record>(values: &[T]) -> std::io::Result<Run<T>> {
    let mut writer = BufWriter::with_capacity(1 << 16, tempfile::tempfile()?);
    let mut bytes = vec![0_u8; BLOCK * T::BYTES];
    for block in values.chunks(BLOCK) {
        for (value, slot) in block.iter().zip(bytes.chunks_exact_mut(T::BYTES)) {
            value.write(slot);
        }
        writer.write_all(&bytes[..block.len() * T::BYTES])?;
    }
    let file = writer.into_inner().map_err(std::io::IntoInnerError::into_error)?;
    Ok(Run::Disk { file, len: values.len() })
}

enum Block<'a, T> {
    Borrowed(&'a [T]),
    Owned { values: Vec<T>, file: &'a File, read: usize, len: usize },
}

/// The unread part of one run.
struct Head<'a, T> {
    block: Block<'a, T>,
    position: usize,
}

impl<'a, T: Record> Head<'a, T> {
    fn new(run: &'a Run<T>) -> Self {
        let block = match run {
            Run::Memory(values) => Block::Borrowed(values),
            Run::Disk { file, len } => {
                Block::Owned { values: Vec::new(), file, read: 0, len: *len }
            }
        };
        Head { block, position: 0 }
    }

    /// The records read but not yet consumed; empty at the end of the run only.
    fn window(&mut self) -> Result<&[T], MetricError> {
        if let Block::Owned { values, file, read, len } = &mut self.block
            && self.position >= values.len()
            && *read < *len
        {
            let count = BLOCK.min(*len - *read);
            let mut bytes = vec![0_u8; count * T::BYTES];
            file.read_exact_at(&mut bytes, (*read * T::BYTES) as u64)
                .map_err(|source| MetricError::Spill { source })?;
            values.clear();
            values.extend(bytes.chunks_exact(T::BYTES).filter_map(T::read));
            *read += count;
            self.position = 0;
        }
        let values = match &self.block {
            Block::Borrowed(values) => values,
            Block::Owned { values, .. } => values.as_slice(),
        };
        Ok(values.get(self.position..).unwrap_or_default())
    }

    /// Consumes the records whose key is below `bound` (`inclusive`: not above), handing runs of
    /// them to `visit`.
    fn advance(
        &mut self,
        bound: u32,
        inclusive: bool,
        visit: &mut impl FnMut(&[T]),
    ) -> Result<(), MetricError> {
        loop {
            let window = self.window()?;
            let wanted = |record: &T| record.key() < bound || (inclusive && record.key() == bound);
            let count = gallop(window, wanted);
            visit(&window[..count]);
            let more = count > 0 && count == window.len();
            self.position += count;
            if !more {
                return Ok(());
            }
        }
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

/// Walks all runs at once, from the highest score to the lowest.
pub(crate) struct Cursor<'a, T> {
    heads: Vec<Head<'a, T>>,
}

impl<T: Record> Cursor<'_, T> {
    /// Number of records consumed that score above `bound` (`inclusive`: at least `bound`).
    pub(crate) fn count(&mut self, bound: u32, inclusive: bool) -> Result<u64, MetricError> {
        let mut count = 0_u64;
        self.visit(bound, inclusive, |records| count += records.len() as u64)?;
        Ok(count)
    }

    pub(crate) fn visit(
        &mut self,
        bound: u32,
        inclusive: bool,
        mut visit: impl FnMut(&[T]),
    ) -> Result<(), MetricError> {
        for head in &mut self.heads {
            head.advance(bound, inclusive, &mut visit)?;
        }
        Ok(())
    }

    /// The key of the highest score not yet consumed.
    pub(crate) fn peek(&mut self) -> Result<Option<u32>, MetricError> {
        let mut best = None;
        for head in &mut self.heads {
            if let Some(record) = head.window()?.first() {
                let key = record.key();
                best = Some(best.map_or(key, |best: u32| best.min(key)));
            }
        }
        Ok(best)
    }

    /// The next distinct score's key and how many records have it.
    pub(crate) fn next_group(&mut self) -> Result<Option<(u32, u64)>, MetricError> {
        let Some(key) = self.peek()? else { return Ok(None) };
        Ok(Some((key, self.count(key, true)?)))
    }
}
