//! One pre-norm block, step by step.

use std::ops::Range;

use super::alike::AlikeHead;
use super::attention::{Rule, Scratch, Take};
use super::buffer::Buffer;
use super::bytes::{ByteRows, ByteWeights, SharedRows};
use super::operands::Vectors;
use super::product::{Packed, Sink, Team};
use super::scratch::Kept;
use super::tile::{LANES, Shared, Tile, Work, put_row, with_lanes};
use super::tower::{AlikePass, BlockShape};
use crate::gelu::Activation;

/// Parameters of a block.
pub(super) struct Block<T: Tile> {
    pub(super) ln_1: [Vec<f32>; 2],
    pub(super) qkv: Normed<T>,
    pub(super) out: Packed<T>,
    pub(super) ln_2: [Vec<f32>; 2],
    pub(super) fc: Normed<T>,
    pub(super) proj: Packed<T>,
}

/// A layer behind a normalisation.
pub(super) enum Normed<T: Tile> {
    Plain(Packed<T>),
    Bytes(ByteWeights<T>),
}

impl<T: Tile> Normed<T> {
    /// Of the tokens that `norm` left in `space`.
    ///
    /// # Safety
    /// As `Block::apply`.
    unsafe fn product(&self, space: &Space<T>, m: usize, team: Team, sink: &impl Sink) {
        // SAFETY: the caller's.
        unsafe {
            match self {
                Normed::Plain(weights) => weights.product(&space.normed, m, team, sink),
                Normed::Bytes(weights) => weights.product(&space.bytes, m, team, sink),
            }
        }
    }
}

/// What lies between the steps of a block.
pub(super) struct Space<T: Tile> {
    /// Left operand: normalised tokens; empty where `bytes` has them.
    pub(super) normed: Buffer<T::Elem>,
    /// The same for layers of bytes.
    pub(super) bytes: ByteRows<T>,
    /// Euclidean lengths of the normalised tokens.
    pub(super) lengths: Buffer<f32>,
    /// Queries, keys and values: `[3, heads, batch * n, width of a head]`.
    pub(super) heads: Buffer<T::Elem>,
    /// Left operand: what the heads gave.
    pub(super) attended: Buffer<T::Elem>,
    /// Left operand: the MLP's inner values.
    pub(super) hidden: Buffer<T::Elem>,
}

/// What one pass says of every block.
#[derive(Clone, Copy)]
pub(super) struct Pass<'a> {
    pub(super) shape: BlockShape,
    pub(super) batch: usize,
    /// Tokens of one image.
    pub(super) n: usize,
    pub(super) team: Team<'a>,
}

impl Pass<'_> {
    /// Vectors of a head of an image: 0 queries, 1 keys, 2 values.
    pub(super) fn vectors<'s, T: Tile>(
        &self,
        heads: &'s [T::Elem],
        which: usize,
        head: usize,
        image: usize,
    ) -> Vectors<'s, T::Elem> {
        let (width, n) = (self.shape.head_places::<T>(), self.n);
        let first = ((which * self.shape.n_heads + head) * self.batch + image) * n * width;
        Vectors { values: &heads[first..first + n * width], n, width }
    }
}

impl<T: Tile> Block<T> {
    /// Runs the tokens of all images through this block, and adds what GEM gives to its stream.
    ///
    /// # Safety
    /// The CPU has the instructions of `T`.
    pub(super) unsafe fn apply(
        &self,
        space: &mut Space<T>,
        tokens: &mut [f32],
        alike: Option<&mut AlikePass>,
        pass: Pass,
    ) {
        let Pass { shape, batch, n, team } = pass;
        let (m, width) = (batch * n, shape.width);
        // SAFETY: the caller's, in all of it.
        unsafe {
            norm(&self.ln_1, tokens, space, pass);
            let (to, places) = (Shared::new(&mut space.heads), shape.head_places::<T>());
            let n_columns = 3 * shape.n_heads * places;
            self.qkv.product(space, m, team, &HeadSink::<T> { to, m, places, n_columns });
            if let Some(alike) = alike {
                attend_alike(space, alike, pass);
                let to = Shared::new(alike.stream);
                self.out.product(&space.attended, m, team, &AddSink { to, width });
            }
            attend(space, pass);
            let add = AddSink { to: Shared::new(tokens), width };
            self.out.product(&space.attended, m, team, &add);
            norm(&self.ln_2, tokens, space, pass);
            let (to, k_len) = (Shared::new(&mut space.hidden), self.proj.k_len());
            let sink = HiddenSink::<T> { to, k_len, activation: shape.activation };
            self.fc.product(space, m, team, &sink);
            let add = AddSink { to: Shared::new(tokens), width };
            self.proj.product(&space.hidden, m, team, &add);
        }
    }
}

/// Queries, keys and values, head by head.
struct HeadSink<T: Tile> {
    to: Shared<T::Elem>,
    m: usize,
    /// Of a head.
    places: usize,
    /// Of all heads; what a panel has beyond is padding.
    n_columns: usize,
}

impl<T: Tile> Sink for HeadSink<T> {
    #[inline(always)]
    fn put(&self, row: usize, column: usize, line: &mut [f32]) {
        let (mut head, mut channel) = (column / self.places, column % self.places);
        let n_columns = self.n_columns.saturating_sub(column);
        for lanes in line.as_chunks::<LANES>().0.iter().take(n_columns / LANES) {
            let at = (head * self.m + row) * self.places + channel;
            // SAFETY: columns of this row of a head, which are this call's; heads have whole lanes.
            unsafe { T::put_lanes(self.to.at(at), lanes) };
            channel += LANES;
            if channel == self.places {
                (head, channel) = (head + 1, 0);
            }
        }
    }
}

/// `to += line`, row-major.
struct AddSink {
    to: Shared<f32>,
    width: usize,
}

impl Sink for AddSink {
    #[inline(always)]
    fn put(&self, row: usize, column: usize, line: &mut [f32]) {
        let n = line.len().min(self.width - column);
        // SAFETY: columns of this row, which are this call's.
        let to =
            unsafe { std::slice::from_raw_parts_mut(self.to.at(row * self.width + column), n) };
        let (to_lanes, to_rest) = to.as_chunks_mut::<LANES>();
        let (lanes, _) = line.as_chunks::<LANES>();
        for (to, lanes) in to_lanes.iter_mut().zip(lanes) {
            with_lanes(to, lanes, |sum, value| sum + value);
        }
        let rest = &line[n - to_rest.len()..n];
        to_rest.iter_mut().zip(rest).for_each(|(sum, value)| *sum += value);
    }

    #[inline(always)]
    fn expect(&self, rows: Range<usize>, columns: Range<usize>) {
        for row in rows {
            for column in columns.clone().step_by(LANES) {
                self.to.expect(row * self.width + column);
            }
        }
    }
}

/// Activated, as left operand.
struct HiddenSink<T: Tile> {
    to: Shared<T::Elem>,
    k_len: usize,
    activation: Activation,
}

impl<T: Tile> Sink for HiddenSink<T> {
    #[inline(always)]
    fn put(&self, row: usize, column: usize, line: &mut [f32]) {
        T::activate(self.activation, line);
        let n = line.len().min(self.k_len - column);
        // SAFETY: columns of this row, which are this call's.
        unsafe { put_row::<T>(self.to.at(0), row, column, self.k_len, &line[..n]) };
    }
}

/// Rows that a task normalises.
const ROWS: usize = 16;

/// Normalised tokens as left operand, and their lengths.
///
/// # Safety
/// As `Block::apply`.
unsafe fn norm<T: Tile>(
    parameters: &[Vec<f32>; 2],
    tokens: &[f32],
    space: &mut Space<T>,
    pass: Pass,
) {
    let m = pass.batch * pass.n;
    let lengths = Shared::new(&mut space.lengths);
    let to = match space.normed.is_empty() {
        true => NormedRows::Bytes(space.bytes.shared()),
        false => NormedRows::Plain(Shared::new(&mut space.normed)),
    };
    let to = &to;
    (pass.team.par)(m.div_ceil(ROWS), &|task| {
        let rows = task * ROWS..((task + 1) * ROWS).min(m);
        let work = NormRows::<T> { parameters, tokens, rows, to, lengths };
        // SAFETY: the caller's.
        unsafe { T::with(work) };
    });
}

/// Where tasks put rows, each its own.
enum NormedRows<T: Tile> {
    Plain(Shared<T::Elem>),
    Bytes(SharedRows<T>),
}

struct NormRows<'a, T: Tile> {
    parameters: &'a [Vec<f32>; 2],
    tokens: &'a [f32],
    rows: Range<usize>,
    to: &'a NormedRows<T>,
    lengths: Shared<f32>,
}

impl<T: Tile> Work for NormRows<'_, T> {
    #[inline(always)]
    fn run(self) {
        let width = self.parameters[0].len();
        let k_len = width.next_multiple_of(T::KU);
        let mut kept = Kept::take(width);
        for row in self.rows {
            let x = &self.tokens[row * width..(row + 1) * width];
            let length = norm_row(x, self.parameters, kept.values());
            // SAFETY: this row's places, which are this task's.
            unsafe {
                *self.lengths.at(row) = length;
                match self.to {
                    NormedRows::Plain(to) => {
                        put_row::<T>(to.at(0), row, 0, k_len, kept.values());
                    }
                    NormedRows::Bytes(to) => to.put(row, kept.values()),
                }
            }
        }
    }
}

/// Layer normalisation of a row, and the result's Euclidean length. The variance is taken around the
/// mean in a second walk: the one-walk form loses digits where a channel is far larger than the others.
#[inline(always)]
fn norm_row(x: &[f32], [weight, bias]: &[Vec<f32>; 2], to: &mut [f32]) -> f32 {
    /// Every published CLIP adds this to the variance.
    const EPS: f32 = 1e-5;
    let n = x.len() as f32;
    let mean = sum_of_powers(x, 0.0, 1) / n;
    let scale = 1.0 / (sum_of_powers(x, mean, 2) / n + EPS).sqrt();
    for (((to, x), weight), bias) in to.iter_mut().zip(x).zip(weight).zip(bias) {
        *to = (x - mean) * scale * weight + bias;
    }
    sum_of_powers(to, 0.0, 2).sqrt()
}

/// Sum of `(x - shift)^power` for the powers 1 and 2.
#[inline(always)]
pub(super) fn sum_of_powers(values: &[f32], shift: f32, power: u32) -> f32 {
    let mut lanes = [0.0_f32; LANES];
    let (groups, rest) = values.as_chunks::<LANES>();
    for group in groups {
        for lane in 0..LANES {
            let value = group[lane] - shift;
            lanes[lane] += if power == 2 { value * value } else { value };
        }
    }
    let mut sum: f32 = lanes.iter().sum();
    for value in rest {
        let value = value - shift;
        sum += if power == 2 { value * value } else { value };
    }
    sum
}

/// Attention of all heads, as left operand of the projection behind it.
///
/// # Safety
/// As `Block::apply`.
unsafe fn attend<T: Tile>(space: &mut Space<T>, pass: Pass) {
    let Pass { shape, batch, n, team } = pass;
    let n_heads = shape.n_heads;
    let scale = 1.0 / ((shape.width / n_heads) as f32).sqrt();
    let rule = Rule { scale, causal: shape.causal };
    let (heads, to) = (&*space.heads, Shared::new(&mut space.attended));
    (team.par)(batch * n_heads, &|task| {
        let (image, head) = (task / n_heads, task % n_heads);
        let vectors = [0, 1, 2].map(|which| pass.vectors::<T>(heads, which, head, image));
        let taker = HeadTaker::<T>::new(to, image * n, head, pass);
        // SAFETY: the caller's.
        unsafe { T::with(AttendHead { vectors, rule, taker }) };
    });
}

struct AttendHead<'a, T: Tile> {
    vectors: [Vectors<'a, T::Elem>; 3],
    rule: Rule,
    taker: HeadTaker<T>,
}

impl<T: Tile> Work for AttendHead<'_, T> {
    #[inline(always)]
    fn run(mut self) {
        let [queries, keys, values] = self.vectors;
        let mut kept = Kept::take(Scratch::len::<T>(keys.n, keys.width));
        let mut scratch = Scratch::carve::<T>(kept.values(), keys.n, keys.width);
        scratch.put::<T>(keys, values);
        // SAFETY: within `T::with`.
        unsafe { scratch.attend::<T>(queries, self.rule, &mut self.taker) };
    }
}

/// Results of one head of an image as part of the left operand of the projection behind it.
pub(super) struct HeadTaker<T: Tile> {
    to: Shared<T::Elem>,
    first_row: usize,
    first_place: usize,
    k_len: usize,
}

impl<T: Tile> HeadTaker<T> {
    pub(super) fn new(to: Shared<T::Elem>, first_row: usize, head: usize, pass: Pass) -> Self {
        let places = pass.shape.head_places::<T>();
        let k_len = (pass.shape.n_heads * places).next_multiple_of(T::KU);
        HeadTaker { to, first_row, first_place: head * places, k_len }
    }
}

impl<T: Tile> Take for HeadTaker<T> {
    #[inline(always)]
    fn take(&mut self, query: usize, values: &[f32]) {
        let row = self.first_row + query;
        // SAFETY: this head's places in a row of its image: one task's.
        unsafe { put_row::<T>(self.to.at(0), row, self.first_place, self.k_len, values) };
    }
}

/// GEM's attention of all heads of all images, as left operand of the projection behind it.
///
/// # Safety
/// As `Block::apply`.
unsafe fn attend_alike<T: Tile>(space: &mut Space<T>, alike: &AlikePass, pass: Pass) {
    let Pass { shape, batch, n, team } = pass;
    let n_heads = shape.n_heads;
    let root = ((shape.width / n_heads) as f32).sqrt();
    let (heads, to) = (&*space.heads, Shared::new(&mut space.attended));
    let lengths = &*space.lengths;
    (team.par)(batch * n_heads, &|task| {
        let (image, head) = (task / n_heads, task % n_heads);
        let lengths = &lengths[image * n..(image + 1) * n];
        let mean = lengths.iter().map(|length| f64::from(*length)).sum::<f64>() / n as f64;
        let scale = alike.temperature.unwrap_or(mean as f32 / root);
        let work = AlikeHead {
            vectors: [0, 1, 2].map(|which| pass.vectors::<T>(heads, which, head, image)),
            rule: Rule { scale, causal: false },
            n_iterations: alike.n_iterations,
            taker: HeadTaker::<T>::new(to, image * n, head, pass),
        };
        // SAFETY: the caller's.
        unsafe { T::with(work) };
    });
}
