//! CLIP's image tower on square crops, forward and backward.

use candle_core::Tensor;
use loupe_clip::config::VisionConfig;

use crate::attention::Sequences;
use crate::block::{Block, BlockSizes, BlockTape, norm, norm_backward};
use crate::error::{Result, TrainError};
use crate::layout::{Layout, Pair, Parameter, Params, Start, accumulate};
use crate::rows::RowStatistics;
use crate::tensors::{add_in_place, own, with_values};
use crate::tower::Tower;

/// Crops of equal size. A crop's tokens take their positions from a window of the position table,
/// so that every part of the table is trained though crops are smaller than the table.
#[derive(Clone, Debug)]
pub struct Crops {
    /// Tokens along a side.
    pub grid: usize,
    /// First row and column of each crop's window in the position table.
    pub windows: Vec<(usize, usize)>,
    /// Patches in the order of the convolution's weight: `[crops, grid*grid, 3*p*p]`.
    pub patches: Vec<f32>,
}

/// The tower; its parameters lie elsewhere.
pub struct ImageTower {
    config: VisionConfig,
    layout: Layout,
    /// Numbers of the blocks, from 1, whose streams are put out before the projected tokens.
    taps: Vec<usize>,
    class: Parameter,
    positions: Parameter,
    projection: Parameter,
    patch: Parameter,
    ln_pre: Pair,
    blocks: Vec<Block>,
    ln_post: Pair,
}

/// What the backward needs of the forward.
pub struct ImageTape {
    shape: Sequences,
    patches: Tensor,
    windows: Vec<(usize, usize)>,
    grid: usize,
    stem: Tensor,
    ln_pre: RowStatistics,
    blocks: Vec<BlockTape>,
    last: Tensor,
    ln_post: RowStatistics,
    normed: Tensor,
}

impl ImageTower {
    pub fn new(config: &VisionConfig, embed_dim: usize, taps: &[usize]) -> Self {
        let VisionConfig { width, patch_size, n_blocks, mlp_width, .. } = *config;
        let mut layout = Layout::default();
        let deviation = (width as f32).powf(-0.5);
        let normal = Start::Normal(deviation);
        let fan_in = (3 * patch_size * patch_size) as f32;
        let tokens = 1 + config.native_grid().pow(2);
        let patch_shape = [width, 3, patch_size, patch_size];
        let sizes = BlockSizes { width, mlp_width, n_blocks };
        Self {
            class: layout.add("visual.class_embedding", &[width], normal),
            positions: layout.add(
                "visual.positional_embedding",
                &[tokens, width],
                Start::Normal(0.02),
            ),
            projection: layout.add("visual.proj", &[width, embed_dim], normal),
            patch: layout.add(
                "visual.conv1.weight",
                &patch_shape,
                Start::Normal((3.0 * fan_in).powf(-0.5)),
            ),
            ln_pre: layout.norm("visual.ln_pre", width),
            blocks: (0..n_blocks)
                .map(|index| Block::new(&mut layout, "visual.", sizes, index))
                .collect(),
            ln_post: layout.norm("visual.ln_post", width),
            config: config.clone(),
            taps: taps.to_vec(),
            layout,
        }
    }

    fn shape(&self, crops: &Crops) -> Sequences {
        Sequences {
            n_sequences: crops.windows.len(),
            length: 1 + crops.grid * crops.grid,
            n_heads: self.config.n_heads,
            width: self.config.width,
            causal: false,
        }
    }

    /// Row of the position table for each token of a crop.
    fn position_rows(&self, (top, left): (usize, usize), grid: usize) -> Vec<usize> {
        let native = self.config.native_grid();
        let patches = (0..grid * grid).map(|i| 1 + (top + i / grid) * native + left + i % grid);
        std::iter::once(0).chain(patches).collect()
    }

    /// Class token and patches with their positions.
    fn stem(&self, params: &Params, crops: &Crops, patches: &Tensor) -> Result<Tensor> {
        let width = self.config.width;
        let shape = self.shape(crops);
        let (class, positions) = (self.class.values(params), self.positions.values(params));
        let tokens = patches.matmul(&self.patch.matrix(params)?.t()?)?;
        let mut x = Vec::with_capacity(shape.n_sequences * shape.length * width);
        with_values(&tokens, |tokens| {
            let of_crops = tokens.chunks_exact(crops.grid * crops.grid * width);
            for (window, tokens) in crops.windows.iter().zip(of_crops) {
                let rows = std::iter::once(class).chain(tokens.chunks_exact(width));
                for (position, row) in self.position_rows(*window, crops.grid).iter().zip(rows) {
                    let position = positions.get(position * width..).unwrap_or_default();
                    x.extend(row.iter().zip(position).map(|(a, b)| a + b));
                }
            }
        })?;
        own(x, &[shape.n_sequences * shape.length, width])
    }

    fn stem_backward(&self, tape: &ImageTape, dx: &Tensor, gradients: &mut [f32]) -> Result<()> {
        let width = self.config.width;
        let n_patches = tape.grid * tape.grid;
        let mut dtokens = Vec::with_capacity(tape.windows.len() * n_patches * width);
        with_values(dx, |dx| {
            let of_crops = dx.chunks_exact((1 + n_patches) * width);
            for (window, dx) in tape.windows.iter().zip(of_crops) {
                let positions = self.positions.gradient(gradients);
                let rows = self.position_rows(*window, tape.grid);
                for (row, dx) in rows.iter().zip(dx.chunks_exact(width)) {
                    let position = positions.get_mut(row * width..).unwrap_or_default();
                    position.iter_mut().zip(dx).for_each(|(sum, dx)| *sum += dx);
                }
                let (class, patches) = dx.split_at(width);
                let sum = self.class.gradient(gradients);
                sum.iter_mut().zip(class).for_each(|(sum, dx)| *sum += dx);
                dtokens.extend_from_slice(patches);
            }
        })?;
        let dtokens = own(dtokens, &[tape.windows.len() * n_patches, width])?;
        accumulate(self.patch.gradient(gradients), &dtokens.t()?.matmul(&tape.patches)?)
    }
}

impl Tower for ImageTower {
    type Input = Crops;
    type Tape = ImageTape;

    fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Outputs: the stream `[crops*tokens, width]` at each tap, the tokens behind the last norm
    /// `[crops*tokens, width]`, and these projected `[crops*tokens, embed_dim]`.
    fn forward(&self, params: &Params, crops: &Crops) -> Result<(Vec<Tensor>, ImageTape)> {
        let shape = self.shape(crops);
        let (native, patch) = (self.config.native_grid(), self.config.patch_size);
        let rows = shape.n_sequences * crops.grid * crops.grid;
        let fits = |(top, left): &(usize, usize)| top.max(left) + crops.grid <= native;
        if crops.patches.len() != rows * 3 * patch * patch || !crops.windows.iter().all(fits) {
            return Err(TrainError::Internal { what: "crops do not fit the position table" });
        }
        let patches = own(crops.patches.clone(), &[rows, 3 * patch * patch])?;
        let stem = self.stem(params, crops, &patches)?;
        let (mut x, ln_pre) = norm(&self.ln_pre, params, &stem)?;
        let (mut outputs, mut blocks) = (Vec::new(), Vec::new());
        for (index, block) in self.blocks.iter().enumerate() {
            let (y, tape) = block.forward(params, x, shape)?;
            if self.taps.contains(&(index + 1)) {
                outputs.push(y.clone());
            }
            blocks.push(tape);
            x = y;
        }
        let (normed, ln_post) = norm(&self.ln_post, params, &x)?;
        outputs.push(normed.clone());
        outputs.push(normed.matmul(&self.projection.tensor(params)?)?);
        let windows = crops.windows.clone();
        let grid = crops.grid;
        let tape = ImageTape {
            shape,
            patches,
            windows,
            grid,
            stem,
            ln_pre,
            blocks,
            last: x,
            ln_post,
            normed,
        };
        Ok((outputs, tape))
    }

    fn backward(
        &self,
        params: &Params,
        mut tape: ImageTape,
        doutputs: &[Tensor],
        gradients: &mut [f32],
    ) -> Result<()> {
        let [dtaps @ .., dnormed_too, dprojected] = doutputs else {
            return Err(TrainError::Internal { what: "the image tower got too few gradients" });
        };
        let dprojection = tape.normed.t()?.matmul(dprojected)?;
        accumulate(self.projection.gradient(gradients), &dprojection)?;
        let dnormed = dprojected.matmul(&self.projection.tensor(params)?.t()?)?;
        add_in_place(&dnormed, dnormed_too)?;
        let dx = tape.last.zeros_like()?;
        norm_backward(
            &self.ln_post,
            params,
            (&tape.last, &tape.ln_post),
            &dnormed,
            &dx,
            gradients,
        )?;
        let blocks = std::mem::take(&mut tape.blocks);
        for (index, (block, block_tape)) in self.blocks.iter().zip(blocks).enumerate().rev() {
            if let Some(place) = self.taps.iter().position(|tap| *tap == index + 1) {
                let dtap = dtaps.get(place);
                let dtap = dtap.ok_or(TrainError::Internal { what: "a tap got no gradient" })?;
                add_in_place(&dx, dtap)?;
            }
            block.backward(params, block_tape, &dx, tape.shape, gradients)?;
        }
        let dstem = tape.stem.zeros_like()?;
        norm_backward(&self.ln_pre, params, (&tape.stem, &tape.ln_pre), &dx, &dstem, gradients)?;
        self.stem_backward(&tape, &dstem, gradients)
    }
}
