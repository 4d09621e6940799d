//! The adapters of all heads and taps, and one step of a pass over some rows of a stream.

use crate::error::MadffError;
use crate::spectrum::Spectrum;
use crate::weights::{Drawn, Weights};

/// Rows of one image's stream, and what every head reads of them.
pub struct Tile<'a> {
    /// `[t, width]`.
    pub rows: &'a [f32],
    pub width: usize,
    /// `|FFT|` of each row, `[t, width]`; empty if no adapter reads it.
    pub magnitudes: Vec<f32>,
}

impl<'a> Tile<'a> {
    pub fn new(rows: &'a [f32], width: usize, spectrum: Option<&Spectrum>) -> Self {
        let magnitudes = spectrum.map_or(Vec::new(), |spectrum| spectrum.magnitudes(rows));
        Tile { rows, width, magnitudes }
    }

    pub fn n_rows(&self) -> usize {
        self.rows.len().checked_div(self.width).unwrap_or(0)
    }
}

/// What an adapter makes of a tile.
pub struct Adapted {
    /// `[t, bottleneck]`.
    pub tokens: Vec<f32>,
    /// `[t, width]`, if it was asked for and the adapter feeds back.
    pub stream: Option<Vec<f32>>,
}

/// What stands at one tap for one head.
pub trait Adapter: Sized + Send + Sync + 'static {
    type Keys: Send + Sync + 'static;
    /// Adapter j of head `seg` has the tensors `seg_GROUP.j.*`.
    const GROUP: &'static str;
    /// The tensor `[bottleneck, width]` that tells a file's sizes.
    const FIRST: &'static str;

    /// Errors: as `Weights::tensor`.
    fn read(
        weights: &Weights,
        name: &str,
        sizes: Drawn,
        keys: &Self::Keys,
    ) -> Result<Self, MadffError>;

    fn reads_spectrum(_keys: &Self::Keys) -> bool {
        false
    }

    /// Errors: `Kernel` for rows of another width.
    fn forward(&self, tile: &Tile, wants_stream: bool) -> Result<Adapted, MadffError>;
}

/// One adapter for each head and tap.
pub struct Bank<A> {
    /// By head, then by tap.
    heads: Vec<Vec<A>>,
    spectrum: Option<Spectrum>,
    sizes: Drawn,
}

/// What is asked of one step.
pub struct Ask<'a> {
    /// For each head, whether its tokens are read.
    pub tokens: &'a [bool],
    /// Shares of the stream and of each head in the next stream; `None` if it is not read.
    pub mix: Option<(f32, &'a [f32])>,
}

/// What one step makes of a tile.
pub struct Made {
    /// By head, `[t, bottleneck]`.
    pub tokens: Vec<Option<Vec<f32>>>,
    /// `[t, width]`.
    pub stream: Option<Vec<f32>>,
}

impl<A: Adapter> Bank<A> {
    /// `drawn` sizes what a seed makes; a file tells its own sizes, the same for all adapters.
    /// Errors: as `Weights::tensor` and `Weights::check_taps`.
    pub fn read(
        weights: &Weights,
        heads: &[&str],
        at: &[u32],
        drawn: Drawn,
        keys: &A::Keys,
    ) -> Result<Self, MadffError> {
        let sizes = Bank::<A>::sizes(weights, heads, drawn)?;
        let read_head = |head: &&str| {
            let group = format!("{head}_{}", A::GROUP);
            weights.check_taps(&group, at)?;
            let read = |tap: usize| A::read(weights, &format!("{group}.{tap}"), sizes, keys);
            (0..at.len()).map(read).collect::<Result<Vec<A>, MadffError>>()
        };
        let heads = heads.iter().map(read_head).collect::<Result<_, _>>()?;
        let spectrum = A::reads_spectrum(keys).then(|| Spectrum::new(sizes.width));
        Ok(Bank { heads, spectrum, sizes })
    }

    /// The sizes of a file's first adapter, or those that a seed would make. Errors: `Missing`, `Tensor`.
    pub fn sizes(weights: &Weights, heads: &[&str], drawn: Drawn) -> Result<Drawn, MadffError> {
        let Some(head) = heads.first() else { return Ok(drawn) };
        let first = format!("{head}_{}.0.{}", A::GROUP, A::FIRST);
        let [bottleneck, width] = weights.sizes(&first, [drawn.bottleneck, drawn.width])?;
        Ok(Drawn { width, bottleneck })
    }

    pub fn width(&self) -> usize {
        self.sizes.width
    }

    pub fn bottleneck(&self) -> usize {
        self.sizes.bottleneck
    }

    /// One step at tap number `tap` of the list over `rows [t, width]`. Heads that nobody reads are not
    /// computed. Errors: `Kernel` for rows of another width.
    pub fn step(&self, tap: usize, rows: &[f32], ask: &Ask<'_>) -> Result<Made, MadffError> {
        let share = |head: usize| {
            ask.mix.map_or(0.0, |(_, shares)| shares.get(head).copied().unwrap_or_default())
        };
        let tile = Tile::new(rows, self.sizes.width, self.spectrum.as_ref());
        let mut stream = ask.mix.map(|(kept, _)| rows.iter().map(|x| kept * x).collect::<Vec<_>>());
        let mut tokens = Vec::with_capacity(self.heads.len());
        for (head, adapters) in self.heads.iter().enumerate() {
            let is_read = ask.tokens.get(head).copied().unwrap_or_default();
            let Some(adapter) = adapters.get(tap).filter(|_| is_read || share(head) != 0.0) else {
                tokens.push(None);
                continue;
            };
            let adapted = adapter.forward(&tile, share(head) != 0.0)?;
            if let (Some(stream), Some(back)) = (&mut stream, &adapted.stream) {
                stream.iter_mut().zip(back).for_each(|(x, back)| *x += share(head) * back);
            }
            tokens.push(Some(adapted.tokens).filter(|_| is_read));
        }
        Ok(Made { tokens, stream })
    }
}
