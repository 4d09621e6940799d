//! Packed blocks as bytes that outlive the process, and back.
//!
//! Weights are copied to huge pages and not computed with where they were mapped: with small pages a pass
//! takes a third longer.

use super::block::Block;
use super::buffer::{Buffer, Plain, bytes_of, bytes_of_mut};
use super::product::{Packed, Team};
use super::tile::Tile;
use super::tower::BlockShape;
use crate::error::KernelError;

/// How packed blocks lie in memory. To be raised when the bytes for the same weights become others.
pub const PACKED_LAYOUT: u32 = 1;

/// Reads as many bytes as it is given room for, from a place on. Errors: what went wrong, in words.
pub type ReadAt<'a> = &'a (dyn Fn(u64, &mut [u8]) -> Result<(), String> + Sync);

impl<T: Tile> Block<T> {
    /// In the order in which `blocks` takes them.
    pub(super) fn parts(&self) -> Vec<&[u8]> {
        let Block { ln_1, qkv, out, ln_2, fc, proj } = self;
        let norms = [ln_1, ln_2].into_iter().flatten().map(|values| bytes_of(values));
        let layers = [qkv, out, fc, proj];
        let layers = layers.into_iter().flat_map(|p| [bytes_of(&p.panels), bytes_of(&p.bias)]);
        norms.chain(layers).collect()
    }
}

/// Blocks of a shape whose heads are whole, from `len` bytes that `Block::parts` gave for as many.
/// Errors: `Shape` for another length, `Read`.
pub(super) fn blocks<T: Tile>(
    shape: BlockShape,
    n_blocks: usize,
    len: u64,
    read: ReadAt,
    team: Team,
) -> Result<Vec<Block<T>>, KernelError> {
    // Nothing is taken from memory before the length is known to be right.
    let want = n_blocks as u128 * n_bytes::<T>(shape);
    if want != u128::from(len) {
        let (want, got) = (format!("{want} bytes"), len.to_string());
        return Err(KernelError::Shape { op: "blocks", input: "packed weights", want, got });
    }
    let mut reader = Reader { at: 0, read, team };
    (0..n_blocks).map(|_| reader.block(shape)).collect()
}

/// Columns and rows of the layers of a block: `[n_out, n_in]`, places of heads padded.
fn sides<T: Tile>(shape: BlockShape) -> [[usize; 2]; 4] {
    let BlockShape { width, n_heads, mlp_width, .. } = shape;
    let wide = n_heads * shape.head_places::<T>();
    [[3 * wide, width], [width, wide], [mlp_width, width], [width, mlp_width]]
}

/// Columns of the panels, and values along k.
fn padded<T: Tile>([n_out, n_in]: [usize; 2]) -> [usize; 2] {
    [n_out.next_multiple_of(T::NR), n_in.next_multiple_of(T::KU)]
}

fn n_bytes<T: Tile>(shape: BlockShape) -> u128 {
    let layer = |sides| {
        let [n_columns, k_len] = padded::<T>(sides).map(|side| side as u128);
        n_columns * (k_len * size_of::<T::Elem>() as u128 + size_of::<f32>() as u128)
    };
    let norms = 4 * shape.width as u128 * size_of::<f32>() as u128;
    norms + sides::<T>(shape).into_iter().map(layer).sum::<u128>()
}

struct Reader<'a> {
    at: u64,
    read: ReadAt<'a>,
    team: Team<'a>,
}

impl Reader<'_> {
    fn block<T: Tile>(&mut self, shape: BlockShape) -> Result<Block<T>, KernelError> {
        let mut norm = || Ok([self.values(shape.width)?, self.values(shape.width)?]);
        let (ln_1, ln_2) = (norm()?, norm()?);
        let mut layer = |sides| {
            let [n_columns, k_len] = padded::<T>(sides);
            let panels = self.buffer(n_columns * k_len)?;
            Ok(Packed { panels, bias: self.values(n_columns)?, k_len })
        };
        let [qkv, out, fc, proj] = sides::<T>(shape);
        let (qkv, out, fc, proj) = (layer(qkv)?, layer(out)?, layer(fc)?, layer(proj)?);
        Ok(Block { ln_1, qkv, out, ln_2, fc, proj })
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
