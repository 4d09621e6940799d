//! CLIP's text tower on rows of a short vocabulary, forward and backward.

use candle_core::Tensor;
use loupe_clip::config::TextConfig;

use crate::attention::Sequences;
use crate::block::{Block, BlockSizes, BlockTape, norm, norm_backward};
use crate::error::{Result, TrainError};
use crate::layout::{Layout, Pair, Parameter, Params, Start, accumulate};
use crate::rows::RowStatistics;
use crate::tensors::{own, with_values};
use crate::tower::Tower;

/// Sentences as rows of the token table, markers included. Tokens behind a sentence's end cannot
/// reach it, so a stack is only as long as its longest sentence.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sentences(pub Vec<Vec<u32>>);

/// The tower; its parameters lie elsewhere.
pub struct TextTower {
    config: TextConfig,
    layout: Layout,
    tokens: Parameter,
    positions: Parameter,
    projection: Parameter,
    blocks: Vec<Block>,
    ln_final: Pair,
}

/// What the backward needs of the forward.
pub struct TextTape {
    shape: Sequences,
    sentences: Sentences,
    blocks: Vec<BlockTape>,
    ends: Tensor,
    ln_final: RowStatistics,
    normed: Tensor,
}

impl TextTower {
    /// `n_rows` is the size of the short vocabulary with its last row, that of unlisted tokens.
    pub fn new(config: &TextConfig, n_rows: usize, embed_dim: usize) -> Self {
        let TextConfig { width, n_blocks, mlp_width, context_length, .. } = *config;
        let mut layout = Layout::default();
        let normal = Start::Normal;
        let deviation = (width as f32).powf(-0.5);
        let sizes = BlockSizes { width, mlp_width, n_blocks };
        Self {
            positions: layout.add("positional_embedding", &[context_length, width], normal(0.01)),
            projection: layout.add("text_projection", &[width, embed_dim], normal(deviation)),
            tokens: layout.add("token_embedding.weight", &[n_rows, width], normal(0.05)),
            blocks: (0..n_blocks).map(|index| Block::new(&mut layout, "", sizes, index)).collect(),
            ln_final: layout.norm("ln_final", width),
            config: config.clone(),
            layout,
        }
    }

    fn shape(&self, sentences: &Sentences) -> Sequences {
        Sequences {
            n_sequences: sentences.0.len(),
            length: sentences.0.iter().map(Vec::len).max().unwrap_or_default(),
            n_heads: self.config.n_heads,
            width: self.config.width,
            causal: true,
        }
    }

    /// Row in the stack of each sentence's last token.
    fn end_rows(sentences: &Sentences, length: usize) -> impl Iterator<Item = usize> {
        let ends = sentences.0.iter().enumerate();
        ends.map(move |(index, sentence)| index * length + sentence.len().saturating_sub(1))
    }
}

impl Tower for TextTower {
    type Input = Sentences;
    type Tape = TextTape;

    fn layout(&self) -> &Layout {
        &self.layout
    }

    /// One output: embeddings `[sentences, embed_dim]`.
    fn forward(&self, params: &Params, sentences: &Sentences) -> Result<(Vec<Tensor>, TextTape)> {
        let shape = self.shape(sentences);
        let width = self.config.width;
        let n_rows = self.tokens.range.len() / width.max(1);
        let mut all = sentences.0.iter().flatten();
        if shape.length > self.config.context_length || all.any(|row| *row as usize >= n_rows) {
            return Err(TrainError::Internal { what: "a sentence does not fit the text tower" });
        }
        let (table, positions) = (self.tokens.values(params), self.positions.values(params));
        let mut x = vec![0.0_f32; shape.n_sequences * shape.length * width];
        let stacks = x.chunks_exact_mut((shape.length * width).max(1));
        for (sentence, x) in sentences.0.iter().zip(stacks) {
            let rows = x.chunks_exact_mut(width).zip(positions.chunks_exact(width));
            for (token, (x, position)) in sentence.iter().zip(rows) {
                let embedding = table.get(*token as usize * width..).unwrap_or_default();
                for ((x, a), b) in x.iter_mut().zip(embedding).zip(position) {
                    *x = a + b;
                }
            }
        }
        let mut x = own(x, &[shape.n_sequences * shape.length, width])?;
        let mut blocks = Vec::new();
        for block in &self.blocks {
            let (y, tape) = block.forward(params, x, shape)?;
            blocks.push(tape);
            x = y;
        }
        let mut ends = Vec::with_capacity(shape.n_sequences * width);
        with_values(&x, |x| {
            for row in Self::end_rows(sentences, shape.length) {
                ends.extend_from_slice(x.get(row * width..(row + 1) * width).unwrap_or_default());
            }
        })?;
        let ends = own(ends, &[shape.n_sequences, width])?;
        let (normed, ln_final) = norm(&self.ln_final, params, &ends)?;
        let outputs = vec![normed.matmul(&self.projection.tensor(params)?)?];
        let sentences = sentences.clone();
        Ok((outputs, TextTape { shape, sentences, blocks, ends, ln_final, normed }))
    }

    fn backward(
        &self,
        params: &Params,
        tape: TextTape,
        doutputs: &[Tensor],
        gradients: &mut [f32],
    ) -> Result<()> {
        let [dy] = doutputs else {
            return Err(TrainError::Internal { what: "the text tower has one output" });
        };
        let (shape, width) = (tape.shape, self.config.width);
        accumulate(self.projection.gradient(gradients), &tape.normed.t()?.matmul(dy)?)?;
        let dnormed = dy.matmul(&self.projection.tensor(params)?.t()?)?;
        let dends = tape.ends.zeros_like()?;
        let ends = (&tape.ends, &tape.ln_final);
        norm_backward(&self.ln_final, params, ends, &dnormed, &dends, gradients)?;
        let mut dx = vec![0.0_f32; shape.n_sequences * shape.length * width];
        with_values(&dends, |dends| {
            let rows = Self::end_rows(&tape.sentences, shape.length);
            for (row, dend) in rows.zip(dends.chunks_exact(width)) {
                if let Some(slot) = dx.get_mut(row * width..(row + 1) * width) {
                    slot.copy_from_slice(dend);
                }
            }
        })?;
        let dx = own(dx, &[shape.n_sequences * shape.length, width])?;
        for (block, tape) in self.blocks.iter().zip(tape.blocks).rev() {
            block.backward(params, tape, &dx, shape, gradients)?;
        }
        with_values(&dx, |dx| {
            let stacks = dx.chunks_exact((shape.length * width).max(1));
            for (sentence, dx) in tape.sentences.0.iter().zip(stacks) {
                for (place, (token, dx)) in sentence.iter().zip(dx.chunks_exact(width)).enumerate()
                {
                    for (parameter, row) in
                        [(&self.tokens, *token as usize), (&self.positions, place)]
                    {
                        let sum = parameter.gradient(gradients).get_mut(row * width..);
                        sum.unwrap_or_default().iter_mut().zip(dx).for_each(|(s, d)| *s += d);
                    }
                }
            }
        })
    }
}
