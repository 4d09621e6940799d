//! Pre-norm transformer blocks: the residual stream is f32, everything between is packed for the next
//! product as it is made.

use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use super::block::{Block, Normed, Pass, Space};
use super::buffer::Buffer;
use super::bytes::{ByteRows, ByteWeights};
use super::choose::{ForTile, Precision, for_tile};
use super::isa::Isa;
use super::kept::{self, Layout, ReadAt};
use super::product::{Layer, Packed, Team};
use super::tile::{LANES, Tile};
use crate::error::KernelError;
use crate::gelu::Activation;

/// What is the same in every block of a tower.
#[derive(Clone, Copy, Debug)]
pub struct BlockShape {
    pub width: usize,
    pub n_heads: usize,
    pub mlp_width: usize,
    pub activation: Activation,
    pub causal: bool,
}

impl BlockShape {
    /// Places of a head's channels: what is read of them at a time, whole.
    pub(super) fn head_places<T: Tile>(&self) -> usize {
        (self.width / self.n_heads).next_multiple_of(LANES.max(T::KU))
    }
}

/// One block's parameters as they stand in files: weights `[n_out, n_in]`, row-major; `qkv` in that
/// order.
pub struct BlockWeights<'a> {
    pub ln_1: [&'a [f32]; 2],
    pub qkv: [&'a [f32]; 2],
    pub out: [&'a [f32]; 2],
    pub ln_2: [&'a [f32]; 2],
    pub fc: [&'a [f32]; 2],
    pub proj: [&'a [f32]; 2],
}

/// GEM's stream beside the tokens', and how much alike tokens must be. Source: GEM, arXiv:2312.00878,
/// with the order of operations of gem-torch 1.0.1.
pub struct AlikePass<'a> {
    /// `[b*n, c]`; what a block adds is added here.
    pub stream: &'a mut [f32],
    /// Multiplies the cosine of two tokens; by itself the mean length of the normalised tokens over the
    /// root of a head's width.
    pub temperature: Option<f32>,
    pub n_iterations: usize,
}

/// Blocks with packed weights.
pub trait Blocks: Send + Sync {
    /// Packs a block behind those there are. Errors: `Shape`.
    fn push(&mut self, weights: &BlockWeights, team: Team) -> Result<(), KernelError>;

    /// What is packed, as bytes to be put one behind the other. They fit this shape, these instructions, this
    /// precision and `PACKED_LAYOUT`, and nothing in them says so.
    fn bytes(&self) -> Vec<&[u8]>;

    /// Blocks in place of those there are, from `len` bytes that `bytes` gave for as many.
    /// Errors: `Shape` for another length, `Read`.
    fn take_up(
        &mut self,
        n_blocks: usize,
        len: u64,
        read: ReadAt,
        team: Team,
    ) -> Result<(), KernelError>;

    /// Runs `tokens [batch, n, c]` through these blocks, in place. Errors: `Shape`.
    fn run(
        &self,
        blocks: Range<usize>,
        tokens: &mut [f32],
        batch: usize,
        alike: Option<AlikePass>,
        team: Team,
    ) -> Result<(), KernelError>;

    /// FLOP a second that this machine's inner loop of products reaches now, on all threads, with
    /// nothing to fetch: what `run` can be held against.
    fn ceiling(&self, team: Team) -> f64;

    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn len(&self) -> usize;
}

/// No blocks yet, for these instructions or the most that this machine has of them.
pub fn blocks(shape: BlockShape, isa: Isa, precision: Precision) -> Box<dyn Blocks> {
    for_tile(isa, precision, Make { shape, is_bytes: precision == Precision::Int8 })
}

struct Make {
    shape: BlockShape,
    is_bytes: bool,
}

impl ForTile for Make {
    type Made = Box<dyn Blocks>;

    fn make<T: Tile>(self) -> Box<dyn Blocks> {
        let Make { shape, is_bytes } = self;
        Box::new(Tower::<T> { shape, is_bytes, blocks: Vec::new(), free: Mutex::new(Vec::new()) })
    }
}

struct Tower<T: Tile> {
    shape: BlockShape,
    /// Whether layers behind a normalisation are of bytes.
    is_bytes: bool,
    blocks: Vec<Block<T>>,
    /// Memory of passes that have ended, for the next ones.
    free: Mutex<Vec<Space<T>>>,
}

impl<T: Tile> Tower<T> {
    fn space(&self, m: usize) -> Space<T> {
        let rows = m.next_multiple_of(T::MR);
        let BlockShape { width, n_heads, mlp_width, .. } = self.shape;
        let wide = n_heads * self.shape.head_places::<T>();
        let n_normed = if self.is_bytes { 0 } else { rows };
        let kept = self.free.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let fits = |space: &Space<T>| space.lengths.len() >= rows;
        kept.filter(fits).unwrap_or_else(|| Space {
            normed: Buffer::zeroed(n_normed * width.next_multiple_of(T::KU)),
            bytes: ByteRows::zeroed(rows - n_normed, width),
            heads: Buffer::zeroed(3 * wide * rows),
            attended: Buffer::zeroed(rows * wide.next_multiple_of(T::KU)),
            hidden: Buffer::zeroed(rows * mlp_width.next_multiple_of(T::KU)),
            lengths: Buffer::zeroed(rows),
        })
    }

    fn check_heads(&self) -> Result<(), KernelError> {
        let BlockShape { width, mlp_width, n_heads, .. } = self.shape;
        if n_heads == 0 || !width.is_multiple_of(n_heads) || mlp_width == 0 {
            let (want, got) = ("whole heads".to_string(), format!("{width} / {n_heads}"));
            return Err(KernelError::Shape { op: "blocks", input: "width", want, got });
        }
        Ok(())
    }

    /// Each head's outputs or inputs in whole panels.
    fn of_heads(&self, first: usize) -> impl Iterator<Item = Option<usize>> {
        let (narrow, wide) = (self.shape.width / self.shape.n_heads, self.shape.head_places::<T>());
        (0..self.shape.n_heads * wide)
            .map(move |i| (i % wide < narrow).then(|| first + i / wide * narrow + i % wide))
    }
}

impl<T: Tile> Blocks for Tower<T> {
    fn push(&mut self, weights: &BlockWeights, team: Team) -> Result<(), KernelError> {
        self.check_heads()?;
        let BlockShape { width, mlp_width, .. } = self.shape;
        let plain = |n: usize| (0..n).map(Some).collect::<Vec<_>>();
        let normed = |layer: Layer| match self.is_bytes {
            true => Normed::Bytes(ByteWeights::new(&layer, team)),
            false => Normed::Plain(Packed::new(&layer, team)),
        };
        let norm = |name, [weight, bias]: [&[f32]; 2]| {
            sized(name, weight, width)?;
            sized(name, bias, width)?;
            Ok([weight.to_vec(), bias.to_vec()])
        };
        let qkv = (0..3).flat_map(|which| self.of_heads(which * width)).collect();
        let heads = self.of_heads(0).collect();
        let (c, h) = (width, mlp_width);
        let qkv = checked("qkv", weights.qkv, [c, 3 * c], [qkv, plain(c)])?;
        let out = checked("out", weights.out, [c, c], [plain(c), heads])?;
        let fc = checked("fc", weights.fc, [c, h], [plain(h), plain(c)])?;
        let proj = checked("proj", weights.proj, [h, c], [plain(c), plain(h)])?;
        let block = Block {
            ln_1: norm("ln_1", weights.ln_1)?,
            qkv: normed(qkv),
            out: Packed::new(&out, team),
            ln_2: norm("ln_2", weights.ln_2)?,
            fc: normed(fc),
            proj: Packed::new(&proj, team),
        };
        self.blocks.push(block);
        Ok(())
    }

    fn bytes(&self) -> Vec<&[u8]> {
        self.blocks.iter().flat_map(Block::parts).collect()
    }

    fn take_up(
        &mut self,
        n_blocks: usize,
        len: u64,
        read: ReadAt,
        team: Team,
    ) -> Result<(), KernelError> {
        self.check_heads()?;
        let layout = Layout { shape: self.shape, is_bytes: self.is_bytes };
        self.blocks = kept::blocks(layout, n_blocks, len, read, team)?;
        Ok(())
    }

    fn run(
        &self,
        blocks: Range<usize>,
        tokens: &mut [f32],
        batch: usize,
        mut alike: Option<AlikePass>,
        team: Team,
    ) -> Result<(), KernelError> {
        let m = tokens.len() / self.shape.width;
        let n = m / batch.max(1);
        sized("tokens", tokens, batch * n * self.shape.width)?;
        if let Some(alike) = &alike {
            sized("stream", alike.stream, tokens.len())?;
        }
        if m == 0 {
            return Ok(());
        }
        let mut space = self.space(m);
        let pass = Pass { shape: self.shape, batch, n, team };
        for block in self.blocks.get(blocks).into_iter().flatten() {
            // SAFETY: `blocks` made this tower for instructions that the machine has.
            unsafe { block.apply(&mut space, tokens, alike.as_mut(), pass) };
        }
        self.free.lock().unwrap_or_else(PoisonError::into_inner).push(space);
        Ok(())
    }

    fn ceiling(&self, team: Team) -> f64 {
        // SAFETY: `blocks` made this tower for instructions that the machine has.
        unsafe { super::ceiling::rate::<T>(team) }
    }

    fn len(&self) -> usize {
        self.blocks.len()
    }
}

/// A layer whose places are these inputs and outputs. Errors: `Shape`.
fn checked<'a>(
    name: &'static str,
    [weight, bias]: [&'a [f32]; 2],
    [n_in, n_out]: [usize; 2],
    [outputs, inputs]: [Vec<Option<usize>>; 2],
) -> Result<Layer<'a>, KernelError> {
    sized(name, weight, n_in * n_out)?;
    sized(name, bias, n_out)?;
    Ok(Layer { weight, bias, n_in, outputs, inputs })
}

pub(super) fn sized(input: &'static str, values: &[f32], want: usize) -> Result<(), KernelError> {
    if values.len() == want {
        return Ok(());
    }
    let (want, got) = (format!("{want} values"), values.len().to_string());
    Err(KernelError::Shape { op: "blocks", input, want, got })
}
