//! A stepped pass, cut into tiles for the host's threads.

use std::sync::OnceLock;

use loupe_kernels::{Isa, Precision, Team};
use loupe_plugin::prelude::*;

use super::keys::{Common, Head};
use crate::bank::{Adapter, Ask, Bank, Made};
use crate::error::MadffError;
use crate::weights::{Drawn, Weights};

/// Rows of a tile at most: one unit of parallel work. Tiles are cut by the image alone, so that bytes
/// depend neither on threads nor on what else is in the batch.
const TILE: usize = 160;

/// What the three components share: the adapters on their taps.
pub struct Stage<A: Adapter> {
    pub(super) common: Common,
    pub(super) keys: A::Keys,
    weights: Weights<'static>,
    /// A seed's adapters are drawn when the first stream tells its width.
    bank: OnceLock<Bank<A>>,
    pub(super) host: Host,
}

impl<A: Adapter> Stage<A> {
    /// Errors: `Config`: keys that contradict each other, a file that is not of these adapters.
    pub fn new(common: Common, keys: A::Keys, host: &Host) -> Result<Self> {
        if common.at.is_empty() {
            return Err(Error::config("`at` names no tap; write the taps, such as `[6, 12]`"));
        }
        let weights = common.weights(host)?;
        let stage = Stage { common, keys, weights, bank: OnceLock::new(), host: *host };
        if let Weights::File { .. } = stage.weights {
            stage.bank(0)?;
        }
        Ok(stage)
    }

    pub fn weights(&self) -> &Weights<'static> {
        &self.weights
    }

    /// The adapters; `width` is what a seed makes them for.
    pub fn bank(&self, width: usize) -> Result<&Bank<A>> {
        let Common { at, .. } = &self.common;
        let read = || {
            let drawn = Drawn { width, bottleneck: self.common.drawn_bottleneck() };
            let heads = self.common.head_names();
            let mut bank = Bank::<A>::read(&self.weights, &heads, at, drawn, &self.keys)?;
            self.pack(&mut bank, self.common.precision()?)?;
            Ok::<_, Error>(bank)
        };
        let bank = get_or_try(&self.bank, read)?;
        self.common.agrees(bank.bottleneck())?;
        Ok(bank)
    }

    /// Errors: `Config` for an unknown `LOUPE_CPU`.
    pub fn pack(&self, bank: &mut Bank<A>, precision: Precision) -> Result<()> {
        let (isa, n_threads) = (Isa::best().map_err(MadffError::from)?, self.host.n_threads());
        let host = &self.host;
        Ok(host.lend_threads(|par| bank.pack(isa, precision, Team { par, n_threads }))??)
    }

    pub fn bottleneck(&self) -> Result<usize> {
        let of_bank = self.bank.get().map(Bank::bottleneck);
        Ok(of_bank.unwrap_or(self.common.drawn_bottleneck()))
    }

    /// One step: the stream at a tap and the image -> tokens of each head, and the stream that flows on.
    pub fn fuse(&self, inputs: &Inputs, wanted: &Wanted) -> Result<Outputs> {
        let step = self.step(inputs, wanted)?;
        let bank = self.bank(step.width())?;
        step.check_width(bank.width())?;
        let mix = self.common.mix().filter(|_| step.flows && !self.common.passes());
        let ask = Ask { tokens: &step.reads, mix };
        if mix.is_none() && !step.reads.contains(&true) {
            return step.outputs(&self.common.heads, &[], bank.bottleneck());
        }
        let tiles = step.cut(step.stream.f32s()?, bank.width());
        let made = self.host.parallel_map(tiles.len(), |i| bank.step(step.tap, tiles[i], &ask))?;
        let made = made.into_iter().collect::<Result<Vec<_>, _>>()?;
        step.outputs(&self.common.heads, &made, bank.bottleneck())
    }

    /// What one call is about. Errors: `Shape`, `Input`.
    pub fn step<'a>(&self, inputs: &'a Inputs, wanted: &Wanted) -> Result<Step<'a>> {
        let [stream] = inputs.tensors("stream")? else {
            return Err(Error::shape("stream", "the stream of one tap", "another number"));
        };
        let [batch, n_tokens, width] = stream.dims_n("stream")?;
        let [of_images, _, height, columns] = inputs.tensor("image")?.dims_n("image")?;
        if of_images != batch || width == 0 {
            let want = format!("one image of {of_images} each, with channels");
            return Err(Error::shape("stream", want, stream.shape()));
        }
        let n_prefix = self.common.n_prefix;
        let n_patches = n_tokens.saturating_sub(n_prefix);
        let grid = patch_grid(n_patches, [height, columns]).ok_or_else(|| {
            let want = format!(
                "{n_prefix} tokens (`n_prefix`), then a grid of square patches of {height} x \
                 {columns} pixels"
            );
            Error::shape("stream", want, format!("{n_tokens} tokens"))
        })?;
        let is_read = |head: &Head| head.outputs().iter().any(|name| wanted.has(name));
        Ok(Step {
            stream,
            sizes: [batch, n_tokens, width],
            grid,
            tap: self.common.tap_idx(stream.label())?,
            reads: self.common.heads.iter().map(is_read).collect(),
            flows: wanted.has("stream"),
        })
    }
}

/// One call: a stream at a tap, and what is read of it.
pub struct Step<'a> {
    pub stream: &'a Tensor,
    /// Images, tokens of each, channels.
    pub sizes: [usize; 3],
    /// Rows and columns of patches.
    pub grid: [usize; 2],
    /// Which of `at`.
    pub tap: usize,
    /// By head, whether its tokens are read.
    pub reads: Vec<bool>,
    /// Whether the next stream is read.
    pub flows: bool,
}

impl Step<'_> {
    pub fn width(&self) -> usize {
        self.sizes[2]
    }

    /// Errors: `Shape` for adapters of another width.
    pub fn check_width(&self, of_adapters: usize) -> Result<()> {
        if of_adapters == self.width() {
            return Ok(());
        }
        let want = format!("{of_adapters} channels, as the adapters have");
        let got = format!("{}; take a state that was trained on this encoder", self.width());
        Err(Error::shape("stream", want, got))
    }

    /// The tiles of `values [b, t, width]`.
    pub fn cut<'v>(&self, values: &'v [f32], width: usize) -> Vec<&'v [f32]> {
        cut(values, self.sizes[1], width)
    }

    /// Tokens of the heads that are read: patches on their grid, and what stands before them; and the
    /// stream that flows on, which is the one that came where nothing was made.
    pub fn outputs(&self, heads: &[Head], made: &[Made], bottleneck: usize) -> Result<Outputs> {
        let ([batch, n_tokens, _], [rows, cols]) = (self.sizes, self.grid);
        let mut outputs = Outputs::new();
        for (head_idx, head) in heads.iter().enumerate() {
            let tiles = made.iter().filter_map(|tile| tile.tokens.get(head_idx)?.as_deref());
            let tiles: Vec<&[f32]> = tiles.collect();
            if tiles.is_empty() {
                continue;
            }
            let all = tiles.concat();
            let n_prefix = n_tokens - rows * cols;
            let (mut before, mut patches) = (Vec::new(), Vec::new());
            for image in all.chunks_exact((n_tokens * bottleneck).max(1)) {
                let (first, rest) = image.split_at(n_prefix * bottleneck);
                before.extend_from_slice(first);
                patches.extend_from_slice(rest);
            }
            let [of_patches, of_prefix] = head.outputs();
            outputs = outputs
                .put(of_patches, Tensor::new([batch, rows, cols, bottleneck], patches)?)
                .put(of_prefix, Tensor::new([batch, n_prefix, bottleneck], before)?);
        }
        if !self.flows {
            return Ok(outputs);
        }
        let streams: Vec<&[f32]> = made.iter().filter_map(|m| m.stream.as_deref()).collect();
        let next = match streams.is_empty() {
            false => Tensor::new(self.stream.shape(), streams.concat())?,
            true => self.stream.clone(),
        };
        Ok(outputs.put("stream", next))
    }
}

/// The tiles of `values [b, t, width]`, image by image.
pub fn cut(values: &[f32], n_tokens: usize, width: usize) -> Vec<&[f32]> {
    let n_tiles = n_tokens.div_ceil(TILE).max(1);
    let (image, tile) = (n_tokens * width, n_tokens.div_ceil(n_tiles) * width);
    let images = values.chunks_exact(image.max(1));
    images.flat_map(|image| image.chunks(tile.max(1))).collect()
}

/// Fills the cell unless it is full. Two threads may both make the value, which is the same.
pub fn get_or_try<T, E>(cell: &OnceLock<T>, make: impl FnOnce() -> Result<T, E>) -> Result<&T, E> {
    if let Some(known) = cell.get() {
        return Ok(known);
    }
    let made = make()?;
    Ok(cell.get_or_init(|| made))
}
