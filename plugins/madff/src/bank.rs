//! The adapters of all heads and taps, and one step of a pass over some rows of a stream, forth and
//! back.

use std::borrow::Cow;

use loupe_kernels::{Isa, Precision, Team};

use crate::error::MadffError;
use crate::gradient::{Parameter, Share};
use crate::layers::{Linear, add_to, add_weighed};
use crate::spectrum::Spectrum;
use crate::weights::{Drawn, Weights};

/// Rows of one image's stream, and what every head reads of them.
pub struct Tile<'a> {
    /// `[t, width]`.
    pub rows: &'a [f32],
    pub width: usize,
    /// `|FFT|` of each row, `[t, width]`; empty if no adapter reads it.
    pub magnitudes: Cow<'a, [f32]>,
}

impl<'a> Tile<'a> {
    pub fn new(rows: &'a [f32], width: usize, spectrum: Option<&Spectrum>) -> Self {
        let magnitudes = spectrum.map_or(Vec::new(), |spectrum| spectrum.magnitudes(rows));
        Tile { rows, width, magnitudes: magnitudes.into() }
    }

    pub fn n_rows(&self) -> usize {
        self.rows.len().checked_div(self.width).unwrap_or(0)
    }
}

/// What an adapter makes of a tile.
pub struct Adapted<T> {
    /// `[t, bottleneck]`.
    pub tokens: Vec<f32>,
    /// `[t, width]`, if it was asked for and the adapter feeds back.
    pub stream: Option<Vec<f32>>,
    /// What the way back needs besides.
    pub tape: T,
}

/// What is kept of a tile that an adapter has seen.
pub struct Kept<T> {
    pub tokens: Vec<f32>,
    pub tape: T,
}

/// Cotangents of what an adapter made of a tile; `None` is zero.
#[derive(Clone, Copy)]
pub struct Cotangents<'a> {
    /// `[t, bottleneck]`.
    pub tokens: Option<&'a [f32]>,
    /// `[t, width]`.
    pub stream: Option<&'a [f32]>,
}

impl Cotangents<'_> {
    pub fn tokens_or_zeros(&self, tokens: &[f32]) -> Vec<f32> {
        self.tokens.map_or_else(|| vec![0.0; tokens.len()], <[f32]>::to_vec)
    }
}

/// What an adapter's way back ends in.
pub struct PulledBack<'a> {
    /// `[t, width]`, of the tile's rows but for what its magnitudes say of them.
    pub rows: Vec<f32>,
    /// `[t, width]`, of the tile's magnitudes, if the adapter reads them.
    pub magnitudes: Option<Vec<f32>>,
    pub shares: Vec<Share<'a>>,
}

/// What stands at one tap for one head.
pub trait Adapter: Sized + Send + Sync + 'static {
    type Keys: Send + Sync + 'static;
    /// What `pull_back` needs of a tile beside its rows and tokens.
    type Tape: Send + Sync + 'static;
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
    fn forward(&self, tile: &Tile, wants_stream: bool) -> Result<Adapted<Self::Tape>, MadffError>;

    /// The way back from the tokens, and from the stream if `forward` made it. Parameters that neither
    /// depends on have no share. Errors: `Kernel` for cotangents of another size.
    fn pull_back<'a>(
        &'a self,
        tile: &'a Tile<'a>,
        kept: &'a Kept<Self::Tape>,
        cotangents: Cotangents<'_>,
    ) -> Result<PulledBack<'a>, MadffError>;

    /// The layers that `forward` goes through.
    fn layers(&mut self) -> Vec<&mut Linear>;

    /// All that training may change.
    fn parameters(&self) -> Vec<Parameter<'_>>;
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

    /// As `read`, of one tap of the list alone, which is tap 0 of the bank.
    pub fn read_tap(
        weights: &Weights,
        heads: &[&str],
        tap: usize,
        drawn: Drawn,
        keys: &A::Keys,
    ) -> Result<Self, MadffError> {
        let sizes = Bank::<A>::sizes(weights, heads, drawn)?;
        let read_head = |head: &&str| {
            Ok(vec![A::read(weights, &format!("{head}_{}.{tap}", A::GROUP), sizes, keys)?])
        };
        let heads = heads.iter().map(read_head).collect::<Result<_, MadffError>>()?;
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

    /// Packs the weights of every layer. Errors: `Kernel`.
    pub fn pack(&mut self, isa: Isa, precision: Precision, team: Team) -> Result<(), MadffError> {
        let adapters = self.heads.iter_mut().flatten();
        adapters.flat_map(A::layers).try_for_each(|layer| layer.pack(isa, precision, team))
    }

    pub fn width(&self) -> usize {
        self.sizes.width
    }

    pub fn bottleneck(&self) -> usize {
        self.sizes.bottleneck
    }

    /// The adapters by head, then by tap.
    pub fn adapters(&self) -> &[Vec<A>] {
        &self.heads
    }

    /// One step at tap number `tap` of the list over `rows [t, width]`. Heads that nobody reads are not
    /// computed. Errors: `Kernel` for rows of another width.
    pub fn step(&self, tap: usize, rows: &[f32], ask: &Ask<'_>) -> Result<Made, MadffError> {
        let tile = Tile::new(rows, self.sizes.width, self.spectrum.as_ref());
        let (adapted, stream) = self.adapt(tap, &tile, ask)?;
        let read = |(adapted, is_read): (Option<Adapted<_>>, &bool)| {
            adapted.filter(|_| *is_read).map(|adapted| adapted.tokens)
        };
        Ok(Made { tokens: adapted.into_iter().zip(ask.tokens).map(read).collect(), stream })
    }

    /// As `step`, with what `pull_back` needs.
    pub fn step_kept(
        &self,
        tap: usize,
        rows: &[f32],
        ask: &Ask<'_>,
    ) -> Result<(Made, TileTape<A::Tape>), MadffError> {
        let tile = Tile::new(rows, self.sizes.width, self.spectrum.as_ref());
        let (adapted, stream) = self.adapt(tap, &tile, ask)?;
        let read = |(adapted, is_read): (&Option<Adapted<_>>, &bool)| {
            adapted.as_ref().filter(|_| *is_read).map(|adapted| adapted.tokens.clone())
        };
        let tokens = adapted.iter().zip(ask.tokens).map(read).collect();
        let kept = |adapted: Adapted<_>| Kept { tokens: adapted.tokens, tape: adapted.tape };
        let heads = adapted.into_iter().map(|adapted| adapted.map(kept)).collect();
        let (rows, magnitudes) = (rows.to_vec(), tile.magnitudes.into_owned());
        Ok((Made { tokens, stream }, TileTape { rows, magnitudes, heads }))
    }

    fn adapt(&self, tap: usize, tile: &Tile, ask: &Ask<'_>) -> Result<Stepped<A>, MadffError> {
        let mut stream =
            ask.mix.map(|(kept, _)| tile.rows.iter().map(|x| kept * x).collect::<Vec<_>>());
        let mut all = Vec::with_capacity(self.heads.len());
        for (head, adapters) in self.heads.iter().enumerate() {
            let (is_read, share) =
                (ask.tokens.get(head).copied().unwrap_or_default(), ask.share(head));
            let Some(adapter) = adapters.get(tap).filter(|_| is_read || share != 0.0) else {
                all.push(None);
                continue;
            };
            let adapted = adapter.forward(tile, share != 0.0)?;
            if let (Some(stream), Some(back)) = (&mut stream, &adapted.stream) {
                add_weighed(stream, share, back);
            }
            all.push(Some(adapted));
        }
        Ok((all, stream))
    }

    /// The way back of one tile: cotangents `[t, bottleneck]` of the tokens by head and `[t, width]` of
    /// the next stream -> those of the rows, and by head the tile's shares in the gradients.
    /// Errors: `Kernel` for cotangents of another size.
    pub fn pull_back<'a>(
        &'a self,
        tap: usize,
        tile: &'a Tile<'a>,
        kept: &'a [Option<Kept<A::Tape>>],
        (tokens, next): (&[Option<&[f32]>], Option<&[f32]>),
        ask: &Ask<'_>,
    ) -> Result<(Vec<f32>, Vec<Vec<Share<'a>>>), MadffError> {
        let next = next.zip(ask.mix).map(|(next, (share, _))| (next, share));
        let mut rows = vec![0.0; tile.rows.len()];
        if let Some((next, share)) = next {
            rows.iter_mut().zip(next).for_each(|(sum, c)| *sum = share * c);
        }
        let (mut of_magnitudes, mut shares) = (None::<Vec<f32>>, Vec::new());
        for (head, (adapters, kept)) in self.heads.iter().zip(kept).enumerate() {
            let tokens = tokens.get(head).copied().flatten();
            let stream = next.map(|(next, _)| next).filter(|_| ask.share(head) != 0.0);
            let (Some(adapter), Some(kept)) = (adapters.get(tap), kept) else {
                shares.push(Vec::new());
                continue;
            };
            if tokens.is_none() && stream.is_none() {
                shares.push(Vec::new());
                continue;
            }
            let stream: Option<Vec<f32>> =
                stream.map(|next| next.iter().map(|c| ask.share(head) * c).collect());
            let cotangents = Cotangents { tokens, stream: stream.as_deref() };
            let back = adapter.pull_back(tile, kept, cotangents)?;
            add_to(&mut rows, &back.rows);
            match (&mut of_magnitudes, back.magnitudes) {
                (Some(sum), Some(more)) => add_to(sum, &more),
                (sum, more) => *sum = sum.take().or(more),
            }
            shares.push(back.shares);
        }
        if let (Some(spectrum), Some(of_magnitudes)) = (&self.spectrum, of_magnitudes) {
            add_to(&mut rows, &spectrum.pull_back(tile.rows, &of_magnitudes));
        }
        Ok((rows, shares))
    }
}

/// What the heads made of a tile, and the stream that flows on.
type Stepped<A> = (Vec<Option<Adapted<<A as Adapter>::Tape>>>, Option<Vec<f32>>);

/// What is kept of a tile for the way back.
pub struct TileTape<T> {
    /// `[t, width]`.
    pub rows: Vec<f32>,
    /// As in `Tile`.
    pub magnitudes: Vec<f32>,
    /// By head; `None` where nothing was computed.
    pub heads: Vec<Option<Kept<T>>>,
}

impl<T> TileTape<T> {
    pub fn tile(&self, width: usize) -> Tile<'_> {
        Tile { rows: &self.rows, width, magnitudes: Cow::Borrowed(&self.magnitudes) }
    }
}

impl Ask<'_> {
    fn share(&self, head: usize) -> f32 {
        self.mix.map_or(0.0, |(_, shares)| shares.get(head).copied().unwrap_or_default())
    }
}
