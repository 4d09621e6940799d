//! A whole CLIP: both towers, what can be asked of them, and the stepping from tap to tap.

use std::sync::{Arc, OnceLock};

use candle_core::Tensor;

use crate::assemble::{Source, text_tower, vision_tower};
use crate::backward::Tape;
use crate::config::ModelConfig;
use crate::error::{ClipError, Result};
use crate::ops;
use crate::text::TextTower;
use crate::tokenizer::Tokenizer;
use crate::trunk::Packing;
use crate::vision::{Gem, N_PREFIX, Stream, VisionTower};
use crate::weights::Weights;

/// Tokens that one pass over packed blocks takes together: memory between two products grows with it.
const MAX_BATCH_TOKENS: usize = 8_192;

/// A model ready to embed images and text.
pub struct Clip {
    pub config: ModelConfig,
    pub vision: VisionTower,
    pub text: Option<TextTower>,
    tokenizer: OnceLock<Tokenizer>,
}

/// Which outputs somebody reads; nothing else is computed.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Wanted {
    pub image_embedding: bool,
    pub patch_tokens: bool,
    pub patch_embeddings: bool,
    pub gem_image_embedding: bool,
    pub gem_patch_tokens: bool,
    pub gem_patch_embeddings: bool,
}

impl Wanted {
    /// Whether GEM's stream must be walked at all.
    pub fn gem(self) -> bool {
        self.gem_image_embedding || self.gem_patch_tokens || self.gem_patch_embeddings
    }
}

/// The outputs of one trunk, raw (not of unit length); `None` where not wanted.
#[derive(Clone, Default)]
pub struct Outputs {
    /// `[b, d]`, from CLS.
    pub image_embedding: Option<Tensor>,
    /// `[b, gh, gw, c]`, behind the last normalisation.
    pub patch_tokens: Option<Tensor>,
    /// `[b, gh, gw, d]`, comparable with text.
    pub patch_embeddings: Option<Tensor>,
}

/// What `encode` yields.
pub struct Encoded {
    pub clip: Outputs,
    pub gem: Outputs,
    /// For each tap asked for, `[b, 1 + gh*gw, c]`.
    pub taps: Vec<Tensor>,
}

/// Where a stepped pass stands.
pub struct Session {
    taps: Vec<usize>,
    /// Blocks done.
    position: usize,
    grid: (usize, usize),
    gem: Option<Gem>,
    /// GEM's streams, one an image, once reached.
    gem_streams: Vec<Option<Tensor>>,
    /// What `backward` needs of the segments between taps, if the pass was opened for it.
    pub(crate) tape: Option<Tape>,
}

impl Session {
    pub fn grid(&self) -> (usize, usize) {
        self.grid
    }

    /// The tap at which the stream in hand was taken.
    pub fn tap(&self) -> usize {
        self.position
    }
}

/// What a plain pass computes.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// Ascending numbers of blocks done: tap 6 is the stream behind the sixth block.
    pub taps: Vec<usize>,
    pub wanted: Wanted,
    /// Needed for the `gem_*` outputs.
    pub gem: Gem,
}

impl Clip {
    /// Both towers on candle, in f32; the text tower only where the weights have one.
    pub fn new(config: ModelConfig, weights: &dyn Weights) -> Result<Self> {
        Self::from_source(config, &Source::Plain(weights))
    }

    /// Both towers on packed weights. Passes that are walked back run on candle all the same, on blocks
    /// that the first of them makes.
    pub fn packed(
        config: ModelConfig,
        weights: &Arc<dyn Weights + Send + Sync>,
        packing: &Packing,
    ) -> Result<Self> {
        Self::from_source(config, &Source::Packed(weights, packing))
    }

    fn from_source(config: ModelConfig, source: &Source) -> Result<Self> {
        let vision = vision_tower(&config, source)?;
        let has_text = source.weights().has_text();
        let text = has_text.then(|| text_tower(&config, source)).transpose()?;
        Ok(Self { config, vision, text, tokenizer: OnceLock::new() })
    }

    /// Raw text embeddings `[n, d]` of sentences. Errors: `NoText`.
    pub fn encode_text(&self, sentences: &[&str]) -> Result<Tensor> {
        let tokenizer = self.tokenizer.get_or_init(Tokenizer::default);
        let context = self.config.text.context_length;
        let tokens: Vec<_> = sentences.iter().map(|s| tokenizer.encode(s, context)).collect();
        self.encode_tokens(&tokens)
    }

    /// Raw text embeddings `[n, d]` of token sequences. Errors: `NoText`, `Token`, `Shape`.
    pub fn encode_tokens(&self, tokens: &[Vec<u32>]) -> Result<Tensor> {
        let no_text = || ClipError::NoText { model: self.config.name.clone() };
        self.text.as_ref().ok_or_else(no_text)?.encode(tokens, &self.config.name)
    }

    /// The plain pass. Shapes: `images [b,3,h,w]`, f32, already normalised.
    pub fn encode(&self, images: &Tensor, request: Request) -> Result<Encoded> {
        let Request { taps: at, wanted, gem } = request;
        let n_taps = at.len();
        let mut taps = Vec::with_capacity(n_taps);
        let (mut session, mut stream) =
            self.open(images, at, wanted.gem().then_some(gem), false)?;
        for index in 0..n_taps {
            taps.push(stream.clone());
            if index + 1 < n_taps {
                stream = self.resume(&mut session, &stream)?;
            }
        }
        let (clip, gem) = self.finish(session, &stream, wanted)?;
        Ok(Encoded { clip, gem, taps })
    }

    /// Runs to the first tap (or no block at all if there is none) and hands out its stream
    /// `[b, 1 + gh*gw, c]`. With `gem`, its stream is walked beside. With `train`, every `resume`
    /// keeps what `backward` needs; it runs on candle, so packed blocks of f32 give the same up to rounding. Errors: `Shape`, `Tap`.
    pub fn open(
        &self,
        images: &Tensor,
        taps: Vec<usize>,
        gem: Option<Gem>,
        train: bool,
    ) -> Result<(Session, Tensor)> {
        let (batch, channels, height, width) = images.dims4()?;
        if channels != 3 {
            return Err(ClipError::Shape {
                what: "image",
                want: "3 channels".to_string(),
                got: format!("{channels}"),
            });
        }
        let grid = self.vision.grid(height, width)?;
        let mut session = self.session(taps, gem, grid, batch)?;
        let pixels = ops::to_vec(images)?;
        let stems = pixels
            .chunks_exact(channels * height * width)
            .map(|pixels| self.vision.stem(pixels, height, width))
            .collect::<Result<Vec<_>>>()?;
        let to = session.taps.first().copied().unwrap_or(0);
        let stream = self.advance(&mut session, stems, to)?;
        session.tape = train.then(Tape::default);
        Ok((session, stream))
    }

    /// Starts behind block `tap` from a stream `[b, 1 + gh*gw, c]` that was kept; `taps` are those
    /// still to come. GEM's stream is not part of what is kept, so its outputs need a tap before
    /// GEM's first block: behind it the session goes on without GEM.
    /// Errors: `Tap`, `Stepping`, `Shape`.
    pub fn open_at(
        &self,
        tap: usize,
        grid: (usize, usize),
        stream: &Tensor,
        taps: Vec<usize>,
        gem: Option<Gem>,
        train: bool,
    ) -> Result<Session> {
        let gem = gem.filter(|gem| tap <= self.vision.first_gem_block(gem));
        let all = [vec![tap], taps].concat();
        let mut session = self.session(all, gem, grid, stream.dim(0)?)?;
        session.position = tap;
        session.tape = train.then(Tape::default);
        self.check_stream(&session, stream)?;
        Ok(session)
    }

    /// Runs on with `stream`, which the caller may have rewritten, to the next tap.
    pub fn resume(&self, session: &mut Session, stream: &Tensor) -> Result<Tensor> {
        let next = session.taps.iter().copied().find(|tap| *tap > session.position);
        let to = next.ok_or_else(|| ClipError::Stepping {
            problem: format!("tap {} was the last; finish the session", session.position),
        })?;
        let streams = self.check_stream(session, stream)?;
        self.advance(session, streams, to)
    }

    /// Runs the blocks that remain and reads the outputs: of CLIP's stream and of GEM's.
    /// Errors: `Stepping` if GEM's outputs are wanted of a session without GEM; `Shape`.
    pub fn finish(
        &self,
        mut session: Session,
        stream: &Tensor,
        wanted: Wanted,
    ) -> Result<(Outputs, Outputs)> {
        if wanted.gem() && session.gem.is_none() {
            return Err(ClipError::Stepping {
                problem:
                    "GEM's outputs are wanted, but this pass was opened without GEM or behind \
                          its first block; open it at an earlier tap"
                        .to_string(),
            });
        }
        let streams = self.check_stream(&session, stream)?;
        let n_blocks = self.vision.trunk.len();
        session.tape = None;
        if !wanted.gem() {
            session.gem = None;
        }
        let tokens = self.walk(&mut session, streams, n_blocks)?;
        let Wanted { image_embedding, patch_tokens, patch_embeddings, .. } = wanted;
        let of_clip = [image_embedding, patch_tokens, patch_embeddings];
        let clip = self.outputs(&tokens, session.grid, of_clip)?;
        let gem_tokens: Vec<Tensor> = session
            .gem_streams
            .into_iter()
            .zip(tokens)
            .map(|(gem, tokens)| gem.unwrap_or(tokens))
            .collect();
        let of_gem =
            [wanted.gem_image_embedding, wanted.gem_patch_tokens, wanted.gem_patch_embeddings];
        Ok((clip, self.outputs(&gem_tokens, session.grid, of_gem)?))
    }

    fn session(
        &self,
        taps: Vec<usize>,
        gem: Option<Gem>,
        grid: (usize, usize),
        batch: usize,
    ) -> Result<Session> {
        let n_blocks = self.vision.trunk.len();
        let mut last = 0;
        for tap in &taps {
            if *tap == 0 || *tap > n_blocks {
                let model = self.config.name.clone();
                return Err(ClipError::Tap { tap: *tap, model, n_blocks });
            }
            if *tap <= last {
                return Err(ClipError::Stepping {
                    problem: format!("taps must ascend, but {tap} stands behind {last}"),
                });
            }
            last = *tap;
        }
        let gem_streams = vec![None; batch];
        Ok(Session { taps, position: 0, grid, gem, gem_streams, tape: None })
    }

    /// Splits a stream into images. Errors: `Shape` if it is not of the session's shape.
    pub(crate) fn check_stream(&self, session: &Session, stream: &Tensor) -> Result<Vec<Tensor>> {
        let (rows, cols) = session.grid;
        let batch = session.gem_streams.len();
        let want = [batch, N_PREFIX + rows * cols, self.config.vision.width];
        if stream.dims() != want {
            return Err(ClipError::Shape {
                what: "stream",
                want: format!("{want:?}"),
                got: format!("{:?}", stream.dims()),
            });
        }
        (0..batch).map(|index| Ok(stream.get(index)?.contiguous()?)).collect()
    }

    fn advance(&self, session: &mut Session, streams: Vec<Tensor>, to: usize) -> Result<Tensor> {
        let streams = self.walk(session, streams, to)?;
        if streams.is_empty() {
            let (rows, cols) = session.grid;
            let shape = [0, N_PREFIX + rows * cols, self.config.vision.width];
            return ops::from_vec(Vec::new(), &shape);
        }
        Ok(Tensor::stack(&streams, 0)?)
    }

    fn walk(&self, session: &mut Session, streams: Vec<Tensor>, to: usize) -> Result<Vec<Tensor>> {
        let (from, gem) = (session.position, session.gem);
        session.position = to.max(from);
        if session.tape.is_none() && self.vision.trunk.is_packed() {
            return self.walk_together(session, streams, (from, to));
        }
        let mut kept = session.tape.is_some().then(Vec::new);
        let mut walk_one = |(tokens, of_gem): (Tensor, &mut Option<Tensor>)| {
            let stream = Stream { tokens, gem: of_gem.take() };
            let mut tape = kept.as_ref().map(|_| Vec::new());
            let stream = self.vision.walk(stream, from, to, gem.as_ref(), tape.as_mut())?;
            *of_gem = stream.gem;
            if let (Some(kept), Some(tape)) = (&mut kept, tape) {
                kept.push(tape);
            }
            Ok(stream.tokens)
        };
        let walked = streams.into_iter().zip(&mut session.gem_streams).map(&mut walk_one);
        let walked = walked.collect::<Result<_>>()?;
        if let (Some(tape), Some(kept)) = (&mut session.tape, kept) {
            tape.push(from, kept);
        }
        Ok(walked)
    }

    /// On packed weights, as many images at a time as `MAX_BATCH_TOKENS` lets: weights are read once
    /// for all of them, and no image's bytes depend on the others.
    fn walk_together(
        &self,
        session: &mut Session,
        streams: Vec<Tensor>,
        (from, to): (usize, usize),
    ) -> Result<Vec<Tensor>> {
        let (rows, cols) = session.grid;
        let n = N_PREFIX + rows * cols;
        let batch = (MAX_BATCH_TOKENS / n).max(1);
        let mut walked = Vec::with_capacity(streams.len());
        for (streams, of_gem) in streams.chunks(batch).zip(session.gem_streams.chunks_mut(batch)) {
            let known: Vec<Tensor> = of_gem.iter_mut().filter_map(Option::take).collect();
            let gem = (!known.is_empty()).then(|| Tensor::cat(&known, 0)).transpose()?;
            let stream = Stream { tokens: Tensor::cat(streams, 0)?, gem };
            let n_images = streams.len();
            let range = (from, to);
            let stream = self.vision.walk_packed(stream, n_images, range, session.gem.as_ref())?;
            for (image, of_gem) in of_gem.iter_mut().enumerate() {
                walked.push(stream.tokens.narrow(0, image * n, n)?);
                *of_gem = stream.gem.as_ref().map(|gem| gem.narrow(0, image * n, n)).transpose()?;
            }
        }
        Ok(walked)
    }

    /// `wanted`: image embedding, patch tokens, patch embeddings.
    fn outputs(
        &self,
        streams: &[Tensor],
        (rows, cols): (usize, usize),
        [image, tokens, embeddings]: [bool; 3],
    ) -> Result<Outputs> {
        let (mut pooled, mut normed_patches, mut projected) = (Vec::new(), Vec::new(), Vec::new());
        if !(image || tokens || embeddings) {
            return Ok(Outputs::default());
        }
        for stream in streams {
            let normed = self.vision.normed(stream)?;
            let patches = normed.narrow(0, N_PREFIX, rows * cols)?;
            // CLS is projected on its own, so that its bits do not depend on what else is wanted.
            if image {
                pooled.push(self.vision.project(&normed.narrow(0, 0, N_PREFIX)?)?.squeeze(0)?);
            }
            if embeddings {
                let embeddings = self.vision.project(&patches)?;
                projected.push(embeddings.reshape((rows, cols, self.config.embed_dim))?);
            }
            if tokens {
                normed_patches.push(patches.reshape((rows, cols, self.config.vision.width))?);
            }
        }
        let (c, d) = (self.config.vision.width, self.config.embed_dim);
        let stacked = |wanted: bool, parts: Vec<Tensor>, empty: &[usize]| match parts.as_slice() {
            _ if !wanted => Ok(None),
            [] => ops::from_vec(Vec::new(), empty).map(Some),
            parts => Ok(Some(Tensor::stack(parts, 0)?)),
        };
        Ok(Outputs {
            image_embedding: stacked(image, pooled, &[0, d])?,
            patch_tokens: stacked(tokens, normed_patches, &[0, rows, cols, c])?,
            patch_embeddings: stacked(embeddings, projected, &[0, rows, cols, d])?,
        })
    }
}
