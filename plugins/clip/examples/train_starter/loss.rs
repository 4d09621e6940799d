//! The losses, on what the two towers put out. candle differentiates them: they are small.

use candle_core::{D, Tensor};

use crate::error::Result;
use crate::tensors::own;
use crate::unit_rows::unit_rows;

/// How much each loss counts.
const WEIGHTS: [(&str, f64); 5] =
    [("dense", 1.0), ("class", 0.5), ("memory", 1.0), ("neutral", 0.3), ("caption", 0.5)];
/// A patch is damaged from this part of it on; one less damaged, but not whole, is left out.
const DAMAGED_PATCH: f32 = 0.1;
/// Damaged patches, together, from which on a crop counts as damaged.
const DAMAGED_CROP: f32 = 0.5;
/// Weight of a damaged patch.
const BALANCE: f32 = 2.0;

/// What the towers put out for a step of `n` triples: crops stand as references, then undamaged,
/// then damaged.
pub struct Seen {
    /// Streams that the memory loss looks at: `[3n, 1 + t, c]` each.
    pub streams: Vec<Tensor>,
    /// Projected tokens: `[3n, 1 + t, e]`.
    pub projected: Tensor,
    /// Embeddings `[m, e]` of: ensembles of normal sentences, of anomalous ones, two neutral
    /// sentences for each triple, a caption for each crop.
    pub text: Tensor,
}

/// What is known of a step.
pub struct Known {
    /// Damaged part of each patch of the damaged crops: `[n, t]`.
    pub coverage: Vec<Vec<f32>>,
    /// Sentences in each triple's ensembles.
    pub n_prompts: Vec<usize>,
    /// 1 where the caption (column) fits the crop (row): `[3n, 3n]`.
    pub matches: Vec<f32>,
}

/// The total, and each part with its name, unweighted.
pub struct Losses {
    pub total: Tensor,
    pub parts: Vec<(&'static str, Tensor)>,
}

/// `scale`: the logarithm of the logits' scale `[1]`; `memory`: gain and bias of each stream's
/// memory loss, one pair after the other.
pub fn losses(seen: &Seen, known: &Known, scale: &Tensor, memory: &Tensor) -> Result<Losses> {
    let n = known.coverage.len();
    let n_tokens = known.coverage.first().map_or(0, Vec::len);
    let coverage = own(known.coverage.concat(), &[n, n_tokens])?;
    let undamaged = coverage.zeros_like()?;
    let of_crops = Tensor::cat(&[&undamaged, &undamaged, &coverage], 0)?;
    let scale = scale.exp()?.minimum(100.0)?;
    let projected = unit_rows(&seen.projected)?;
    let patches = projected.narrow(1, 1, n_tokens)?;
    let class = projected.narrow(1, 0, 1)?.squeeze(1)?;
    let text = Text::new(&unit_rows(&seen.text)?, &known.n_prompts)?;

    let axis = Tensor::cat(&[&text.axis, &text.axis, &text.axis], 0)?;
    let logits = patches.matmul(&axis.unsqueeze(2)?)?.squeeze(2)?.broadcast_mul(&scale)?;
    let dense = patch_loss(&logits, &of_crops)?;
    let logits = class.mul(&axis)?.sum(1)?.broadcast_mul(&scale)?;
    let class_loss = class_loss(&logits, &of_crops)?;
    let mut of_streams = Vec::new();
    for (index, stream) in seen.streams.iter().enumerate() {
        let gain = memory.narrow(0, 2 * index, 1)?;
        let bias = memory.narrow(0, 2 * index + 1, 1)?;
        of_streams.push(memory_loss(&unit_rows(stream)?, &coverage, (&gain, &bias))?);
    }
    let memory = (Tensor::stack(&of_streams, 0)?.sum_all()? / seen.streams.len().max(1) as f64)?;
    let queries = Tensor::cat(&[patches.narrow(0, n, n)?, patches.narrow(0, 2 * n, n)?], 1)?;
    let mask = Tensor::cat(&[&undamaged, &coverage], 1)?;
    let neutral = neutral_loss(&queries, &text.idle, &mask, &scale)?;
    let logits = class.matmul(&text.captions.t()?)?.broadcast_mul(&scale)?;
    let caption = caption_loss(&logits, &own(known.matches.clone(), &[3 * n, 3 * n])?)?;

    let values = [dense, class_loss, memory, neutral, caption];
    let mut weighted = Vec::new();
    let mut parts = Vec::new();
    for ((name, weight), value) in WEIGHTS.into_iter().zip(values) {
        weighted.push((&value * weight)?);
        parts.push((name, value));
    }
    Ok(Losses { total: Tensor::stack(&weighted, 0)?.sum_all()?, parts })
}

/// The sentences of a step, as unit vectors.
struct Text {
    /// From normal to anomalous, for each triple: `[n, e]`.
    axis: Tensor,
    /// Difference of two sentences that say nothing of a state: `[n, e]`.
    idle: Tensor,
    /// `[3n, e]`
    captions: Tensor,
}

impl Text {
    fn new(unit: &Tensor, n_prompts: &[usize]) -> Result<Self> {
        let n = n_prompts.len();
        let n_sentences: usize = n_prompts.iter().sum();
        let mut sums = Vec::with_capacity(n * n_sentences);
        let mut first = 0;
        for count in n_prompts {
            let own = first..first + count;
            sums.extend((0..n_sentences).map(|i| f32::from(u8::from(own.contains(&i)))));
            first += count;
        }
        let sums = own(sums, &[n, n_sentences])?;
        let mean = |start: usize| -> Result<Tensor> {
            Ok(unit_rows(&sums.matmul(&unit.narrow(0, start, n_sentences)?)?)?)
        };
        let first = 2 * n_sentences;
        Ok(Self {
            axis: (mean(n_sentences)? - mean(0)?)?,
            idle: (unit.narrow(0, first, n)? - unit.narrow(0, first + n, n)?)?,
            captions: unit.narrow(0, first + 2 * n, 3 * n)?,
        })
    }
}

/// Binary cross entropy of logits, for each value.
fn cross_entropy(logits: &Tensor, target: &Tensor) -> Result<Tensor> {
    let tail = (logits.abs()?.neg()?.exp()? + 1.0)?.log()?;
    Ok(((logits.relu()? - logits.mul(target)?)? + tail)?)
}

/// As `value` where `test` holds of it.
fn map(x: &Tensor, f: impl Fn(f32) -> f32) -> Result<Tensor> {
    let values = crate::tensors::with_values(x, |x| x.iter().map(|v| f(*v)).collect::<Vec<f32>>())?;
    own(values, x.dims())
}

/// Mean over patches; those that the mask hardly touches are left out. Shapes: both `[.., t]`.
fn patch_loss(logits: &Tensor, coverage: &Tensor) -> Result<Tensor> {
    let target = map(coverage, |c| f32::from(u8::from(c >= DAMAGED_PATCH)))?;
    let weight = map(coverage, |c| match c {
        c if c >= DAMAGED_PATCH => BALANCE,
        0.0 => 1.0,
        _ => 0.0,
    })?;
    let sum = cross_entropy(logits, &target)?.mul(&weight)?.sum_all()?;
    Ok(sum.div(&weight.sum_all()?)?)
}

/// Shapes: `logits [3n]`, `coverage [3n, t]`.
fn class_loss(logits: &Tensor, coverage: &Tensor) -> Result<Tensor> {
    let damage = coverage.sum(1)?;
    let target = map(&damage, |sum| f32::from(u8::from(sum >= DAMAGED_CROP)))?;
    let weight = map(&damage, |sum| match sum {
        sum if sum >= DAMAGED_CROP => 1.5,
        0.0 => 0.75,
        _ => 0.0,
    })?;
    Ok(cross_entropy(logits, &target)?.mul(&weight)?.mean_all()?)
}

/// Patches against the nearest patch of the reference of the same product.
/// Shapes: `unit [3n, 1 + t, c]`, `coverage [n, t]`.
fn memory_loss(
    unit: &Tensor,
    coverage: &Tensor,
    (gain, bias): (&Tensor, &Tensor),
) -> Result<Tensor> {
    let (n, n_tokens) = coverage.dims2()?;
    let patches = unit.narrow(1, 1, n_tokens)?;
    let reference = patches.narrow(0, 0, n)?.transpose(1, 2)?;
    let nearest = |first: usize| -> Result<Tensor> {
        Ok(patches.narrow(0, first, n)?.matmul(&reference)?.max(D::Minus1)?)
    };
    let nearest = Tensor::cat(&[nearest(n)?, nearest(2 * n)?], 1)?;
    let distance = nearest.affine(-4.0, 4.0)?;
    let logits = distance.broadcast_mul(&gain.exp()?)?.broadcast_sub(bias)?;
    patch_loss(&logits, &Tensor::cat(&[&coverage.zeros_like()?, coverage], 1)?)
}

/// Two sentences that say nothing of a state must not tell patches apart: their difference is to
/// be small, and unrelated to the mask.
/// Shapes: `patches [n, 2t, e]`, `idle [n, e]`, `mask [n, 2t]`.
fn neutral_loss(patches: &Tensor, idle: &Tensor, mask: &Tensor, scale: &Tensor) -> Result<Tensor> {
    let margin = patches.matmul(&idle.unsqueeze(2)?)?.squeeze(2)?.broadcast_mul(scale)?;
    let centred = |x: &Tensor| x.broadcast_sub(&x.mean_keepdim(1)?);
    let (distance, mask) = (centred(&margin)?, centred(mask)?);
    let length = |x: &Tensor| (x.sqr()?.sum(1)? + 1e-12)?.sqrt();
    let lengths = (length(&distance)?.mul(&length(&mask)?)? + 1e-3)?;
    let linked = distance.mul(&mask)?.sum(1)?.div(&lengths)?;
    Ok(((margin.sqr()?.mean_all()? * 0.1)? + linked.sqr()?.mean_all()?)?)
}

/// Crops to captions and back; several captions may fit a crop. Shapes: both `[3n, 3n]`.
fn caption_loss(logits: &Tensor, matches: &Tensor) -> Result<Tensor> {
    let one_way = |logits: &Tensor, matches: &Tensor| -> Result<Tensor> {
        let n_fitting = matches.sum_keepdim(1)?.maximum(1.0)?;
        let share = matches.broadcast_div(&n_fitting)?;
        let largest = logits.max_keepdim(1)?.detach();
        let shifted = logits.broadcast_sub(&largest)?;
        let log_softmax = shifted.broadcast_sub(&shifted.exp()?.sum_keepdim(1)?.log()?)?;
        Ok(share.mul(&log_softmax)?.sum(1)?.mean_all()?.neg()?)
    };
    let forth = one_way(logits, matches)?;
    let back = one_way(&logits.t()?.contiguous()?, &matches.t()?.contiguous()?)?;
    Ok(((forth + back)? * 0.5)?)
}
