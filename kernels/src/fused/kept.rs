//! Packed blocks as bytes that outlive the process, and back.
//!
//! Weights are copied to huge pages and not computed with where they were mapped: with small pages a pass
//! takes longer.

use super::block::{Block, Normed};
use super::buffer::{Buffer, Plain, bytes_of, bytes_of_mut};
use super::bytes::ByteWeights;
use super::product::{Packed, Team};
use super::tile::{Multiply, Tile};
use super::tower::BlockShape;
use crate::error::KernelError;

/// How packed blocks lie in memory. To be raised when the bytes for the same weights become others.
pub const PACKED_LAYOUT: u32 = 2;

/// Reads as many bytes as it is given room for, from a place on. Errors: what went wrong, in words.
pub type ReadAt<'a> = &'a (dyn Fn(u64, &mut [u8]) -> Result<(), String> + Sync);

impl<T: Tile> Block<T> {
    /// In the order in which `blocks` takes them.
    pub(super) fn parts(&self) -> Vec<&[u8]> {
        let Block { ln_1, qkv, out, ln_2, fc, proj } = self;
        let norms = [ln_1, ln_2].into_iter().flatten().map(|values| bytes_of(values));
        let layers = [normed_parts(qkv), packed_parts(out), normed_parts(fc), packed_parts(proj)];
        norms.chain(layers.into_iter().flatten()).collect()
    }
}

fn packed_parts<T: Multiply>(packed: &Packed<T>) -> Vec<&[u8]> {
    vec![bytes_of(&packed.panels), bytes_of(&packed.bias)]
}

fn normed_parts<T: Tile>(layer: &Normed<T>) -> Vec<&[u8]> {
    match layer {
        Normed::Plain(packed) => packed_parts(packed),
        Normed::Bytes(ByteWeights { packed, steps, bias }) => {
            [packed_parts(packed), vec![bytes_of(steps), bytes_of(bias)]].concat()
        }
    }
}

/// What says how large a block's parts are.
#[derive(Clone, Copy)]
pub(super) struct Layout {
    pub(super) shape: BlockShape,
    /// Whether layers behind a normalisation are of bytes.
    pub(super) is_bytes: bool,
}

/// Blocks of a shape whose heads are whole, from `len` bytes that `Block::parts` gave for as many.
/// Errors: `Shape` for another length, `Read`.
pub(super) fn blocks<T: Tile>(
    layout: Layout,
    n_blocks: usize,
    len: u64,
    read: ReadAt,
    team: Team,
) -> Result<Vec<Block<T>>, KernelError> {
    // Nothing is taken from memory before the length is known to be right.
    let want = n_blocks as u128 * n_bytes::<T>(layout);
    if want != u128::from(len) {
        let (want, got) = (format!("{want} bytes"), len.to_string());
        return Err(KernelError::Shape { op: "blocks", input: "packed weights", want, got });
    }
    let mut reader = Reader { at: 0, read, team };
    (0..n_blocks).map(|_| reader.block(layout)).collect()
}

/// Columns and rows of the layers of a block: `[n_out, n_in]`, places of heads padded.
fn sides<T: Tile>(shape: BlockShape) -> [[usize; 2]; 4] {
    let BlockShape { width, n_heads, mlp_width, .. } = shape;
    let wide = n_heads * shape.head_places::<T>();
    [[3 * wide, width], [width, wide], [mlp_width, width], [width, mlp_width]]
}

/// Columns of the panels, and values along k.
fn padded<T: Multiply>([n_out, n_in]: [usize; 2]) -> [usize; 2] {
    [n_out.next_multiple_of(T::NR), n_in.next_multiple_of(T::KU)]
}

fn n_bytes<T: Tile>(Layout { shape, is_bytes }: Layout) -> u128 {
    let [qkv, out, fc, proj] = sides::<T>(shape);
    let plain: u128 = [out, proj].into_iter().map(packed_len::<T>).sum();
    let normed = [qkv, fc].into_iter().map(|sides| match is_bytes {
        true => packed_len::<T::Bytes>(sides) + 2 * f32_len(padded::<T::Bytes>(sides)[0]),
        false => packed_len::<T>(sides),
    });
    f32_len(4 * shape.width) + plain + normed.sum::<u128>()
}

fn packed_len<T: Multiply>(sides: [usize; 2]) -> u128 {
    let [n_columns, k_len] = padded::<T>(sides);
    n_columns as u128 * k_len as u128 * size_of::<T::Elem>() as u128 + f32_len(n_columns)
}

fn f32_len(n: usize) -> u128 {
    n as u128 * size_of::<f32>() as u128
}

struct Reader<'a> {
    at: u64,
    read: ReadAt<'a>,
    team: Team<'a>,
}

impl Reader<'_> {
    fn block<T: Tile>(&mut self, layout: Layout) -> Result<Block<T>, KernelError> {
        let Layout { shape, is_bytes } = layout;
        let mut norm = || Ok([self.values(shape.width)?, self.values(shape.width)?]);
        let (ln_1, ln_2) = (norm()?, norm()?);
        let [qkv, out, fc, proj] = sides::<T>(shape);
        let qkv = self.normed(qkv, is_bytes)?;
        let out = self.packed(out)?;
        let fc = self.normed(fc, is_bytes)?;
        Ok(Block { ln_1, qkv, out, ln_2, fc, proj: self.packed(proj)? })
    }

    fn packed<T: Multiply>(&mut self, sides: [usize; 2]) -> Result<Packed<T>, KernelError> {
        let [n_columns, k_len] = padded::<T>(sides);
        let panels = self.buffer(n_columns * k_len)?;
        Ok(Packed { panels, bias: self.values(n_columns)?, k_len })
    }

    fn normed<T: Tile>(
        &mut self,
        sides: [usize; 2],
        is_bytes: bool,
    ) -> Result<Normed<T>, KernelError> {
        if !is_bytes {
            return Ok(Normed::Plain(self.packed(sides)?));
        }
        let packed: Packed<T::Bytes> = self.packed(sides)?;
        let n_columns = packed.bias.len();
        let (steps, bias) = (self.values(n_columns)?, self.values(n_columns)?);
        Ok(Normed::Bytes(ByteWeights { packed, steps, bias }))
    }

    fn values(&mut self, len: usize) -> Result<Vec<f32>, KernelError> {
        let mut values = vec![0.0; len];
        let bytes = bytes_of_mut(&mut values);
        (self.read)(self.at, bytes).map_err(|message| KernelError::Read { message })?;
        self.at += bytes.len() as u64;
        Ok(values)
    }

    fn buffer<E: Plain>(&mut self, len: usize) -> Result<Buffer<E>, KernelError> {
        let first = self.at;
        self.at += (len * size_of::<E>()) as u64;
        let fill = |at: usize, bytes: &mut [u8]| (self.read)(first + at as u64, bytes);
        Buffer::filled(len, self.team.par, fill).map_err(|message| KernelError::Read { message })
    }
}
