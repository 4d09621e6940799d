//! Pillow's 8-bit resize, bit exact: `Image.resize(size, filter)` of 8-bit images.
//!
//! Source: Pillow's documented behaviour (a convolution whose window grows with the down-scaling
//! factor), 22-bit fixed-point weights, x before y, rounded to 8 bits between the passes. Other
//! libraries differ by up to 10 levels, which moves the scores of every method prepared with
//! Pillow. This is every Pillow before 13: from there on y comes first where the height shrinks much
//! more than the width (its pull request 9549), which moves such images by 1 or 2 levels.

use crate::error::{KernelError, check_shape, volume};
use crate::parallel::{ParallelFor, for_each_chunk};

/// Bits after the point of a weight; with 8 for the pixel and 2 to spare for negative lobes it
/// fills i32.
const WEIGHT_BITS: u32 = 32 - 8 - 2;
/// Rows that the pass along x takes together: their pixels lie side by side and fill a vector.
const LANES: usize = 16;
/// Values that the pass along y sums together.
const BLOCK: usize = 64;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Filter {
    /// The pixel under the output pixel's centre.
    Nearest,
    Box,
    Bilinear,
    /// Cubic with a = -0.5.
    Bicubic,
    Lanczos,
}

impl Filter {
    /// Half width of the window in source pixels, before it is widened for down-scaling.
    fn support(self) -> f64 {
        match self {
            Filter::Nearest | Filter::Box => 0.5,
            Filter::Bilinear => 1.0,
            Filter::Bicubic => 2.0,
            Filter::Lanczos => 3.0,
        }
    }

    fn weight(self, x: f64) -> f64 {
        const A: f64 = -0.5;
        let distance = x.abs();
        match self {
            Filter::Nearest | Filter::Box => f64::from(u8::from(x > -0.5 && x <= 0.5)),
            Filter::Bilinear => (1.0 - distance).max(0.0),
            Filter::Bicubic if distance < 1.0 => {
                ((A + 2.0) * distance - (A + 3.0)) * distance * distance + 1.0
            }
            Filter::Bicubic if distance < 2.0 => {
                (((distance - 5.0) * distance + 8.0) * distance - 4.0) * A
            }
            Filter::Lanczos if (-3.0..3.0).contains(&x) => sinc(x) * sinc(x / 3.0),
            Filter::Bicubic | Filter::Lanczos => 0.0,
        }
    }
}

/// Shapes: `pixels [h,w,channels]` interleaved, 1, 3 or 4 channels -> `[out_h,out_w,channels]`.
/// A pass whose size does not change is skipped, as in Pillow. Four channels are four planes: alpha
/// is not multiplied in. Errors: `Shape`, `Empty`, `Range` (channels), `TooLarge`.
pub fn resize_u8(
    pixels: &[u8],
    in_hw: [usize; 2],
    channels: usize,
    out_hw: [usize; 2],
    filter: Filter,
    par: ParallelFor,
) -> Result<Vec<u8>, KernelError> {
    check(pixels, in_hw, channels, out_hw)?;
    let ([h, w], [out_h, out_w]) = (in_hw, out_hw);
    if filter == Filter::Nearest {
        return Ok(nearest(pixels, in_hw, channels, out_hw, par));
    }
    let wide = match w == out_w {
        true => None,
        false => Some(along_x(pixels, [h, w, channels], &Table::new(w, out_w, filter), par)),
    };
    let wide = wide.as_deref().unwrap_or(pixels);
    if h == out_h {
        return Ok(wide.to_vec());
    }
    Ok(along_y(wide, h, out_w * channels, &Table::new(h, out_h, filter), par))
}

/// The same by definition, one output value at a time: what the fast form is held against.
pub fn resize_u8_reference(
    pixels: &[u8],
    in_hw: [usize; 2],
    channels: usize,
    out_hw: [usize; 2],
    filter: Filter,
) -> Result<Vec<u8>, KernelError> {
    check(pixels, in_hw, channels, out_hw)?;
    let ([h, w], [out_h, out_w]) = (in_hw, out_hw);
    let pass = |x: &[u8], n_outer: usize, n_in: usize, n_out: usize, inner: usize| {
        if n_in == n_out {
            return x.to_vec();
        }
        let table = Table::new(n_in, n_out, filter);
        let mut out = Vec::with_capacity(n_outer * n_out * inner);
        for outer in 0..n_outer {
            for i in 0..n_out {
                let (start, weights) = table.at(i);
                for c in 0..inner {
                    let at = |j: usize| i64::from(x[(outer * n_in + start + j) * inner + c]);
                    let sum: i64 =
                        weights.iter().enumerate().map(|(j, k)| at(j) * i64::from(*k)).sum();
                    out.push(((sum + (1 << (WEIGHT_BITS - 1))) >> WEIGHT_BITS).clamp(0, 255) as u8);
                }
            }
        }
        out
    };
    if filter == Filter::Nearest {
        return Ok(nearest(pixels, in_hw, channels, out_hw, &crate::serial));
    }
    let wide = pass(pixels, h, w, out_w, channels);
    Ok(pass(&wide, 1, h, out_h, out_w * channels))
}

fn check(
    pixels: &[u8],
    [h, w]: [usize; 2],
    channels: usize,
    [out_h, out_w]: [usize; 2],
) -> Result<(), KernelError> {
    const OP: &str = "resize_u8";
    if !matches!(channels, 1 | 3 | 4) {
        let got = channels as f64;
        return Err(KernelError::Range { op: OP, key: "channels", want: "1, 3 or 4", got });
    }
    check_shape(OP, "pixels", pixels.len(), &[h, w, channels])?;
    if volume(OP, "output", &[out_h.max(h), out_w.max(w), channels])? == 0 || out_h * out_w == 0 {
        return Err(KernelError::Empty { op: OP, input: "output" });
    }
    Ok(())
}

/// Positions are summed up step by step, as Pillow does: the rounding decides ties.
fn nearest(
    pixels: &[u8],
    [h, w]: [usize; 2],
    channels: usize,
    [out_h, out_w]: [usize; 2],
    par: ParallelFor,
) -> Vec<u8> {
    let positions = |n_in: usize, n_out: usize| -> Vec<usize> {
        let step = n_in as f64 / n_out as f64;
        let mut at = step * 0.5;
        let mut next = || {
            let here = at as usize;
            at += step;
            here.min(n_in - 1)
        };
        (0..n_out).map(|_| next()).collect()
    };
    let (columns, rows) = (positions(w, out_w), positions(h, out_h));
    let mut out = vec![0_u8; out_h * out_w * channels];
    for_each_chunk(&mut out, out_w * channels, par, |y, line| {
        let line_in = &pixels[rows[y] * w * channels..][..w * channels];
        for (pixel, column) in line.chunks_exact_mut(channels).zip(&columns) {
            pixel.copy_from_slice(&line_in[column * channels..][..channels]);
        }
    });
    out
}

/// Where each output's window starts, and its fixed-point weights.
struct Table {
    start: Vec<usize>,
    weights: Vec<Vec<i32>>,
}

impl Table {
    fn new(n_in: usize, n_out: usize, filter: Filter) -> Self {
        let scale = n_in as f64 / n_out as f64;
        let stretch = scale.max(1.0);
        let support = filter.support() * stretch;
        let mut table = Table { start: vec![], weights: vec![] };
        for i in 0..n_out {
            let centre = (i as f64 + 0.5) * scale;
            let start = ((centre - support + 0.5) as i64).max(0);
            let end = ((centre + support + 0.5) as i64).min(n_in as i64);
            let inverse = 1.0 / stretch;
            let exact: Vec<f64> = (0..end - start)
                .map(|j| filter.weight(((j + start) as f64 - centre + 0.5) * inverse))
                .collect();
            let total: f64 = exact.iter().sum();
            let total = if total == 0.0 { 1.0 } else { total };
            let fixed =
                |weight: &f64| (weight / total * f64::from(1 << WEIGHT_BITS)).round() as i32;
            table.start.push(start as usize);
            table.weights.push(exact.iter().map(fixed).collect());
        }
        table
    }

    fn at(&self, i: usize) -> (usize, &[i32]) {
        (self.start[i], &self.weights[i])
    }
}

fn along_x(
    pixels: &[u8],
    [h, w, channels]: [usize; 3],
    table: &Table,
    par: ParallelFor,
) -> Vec<u8> {
    let (line_in, line_out) = (w * channels, table.start.len() * channels);
    let mut out = vec![0_u8; h * line_out];
    for_each_chunk(&mut out, LANES * line_out, par, |block, lines_out| {
        let lines_in = &pixels[block * LANES * line_in..];
        let lines_in = &lines_in[..lines_in.len().min(LANES * line_in)];
        // Side by side: value `x` of all lanes' lines is one vector.
        let mut lanes = vec![[0_u8; LANES]; line_in];
        for (lane, line) in lines_in.chunks_exact(line_in).enumerate() {
            lanes.iter_mut().zip(line).for_each(|(vector, value)| vector[lane] = *value);
        }
        let mut lanes_out = vec![[0_u8; LANES]; line_out];
        x_kernel(&lanes, &mut lanes_out, channels, table);
        for (lane, line) in lines_out.chunks_exact_mut(line_out).enumerate() {
            line.iter_mut().zip(&lanes_out).for_each(|(value, vector)| *value = vector[lane]);
        }
    });
    out
}

vectorised! {
    fn x_kernel(lanes: &[[u8; LANES]], out: &mut [[u8; LANES]], channels: usize, table: &Table) {
        for (i, pixel) in out.chunks_exact_mut(channels).enumerate() {
            let (start, weights) = table.at(i);
            for (c, vector) in pixel.iter_mut().enumerate() {
                let mut sums = [1_i32 << (WEIGHT_BITS - 1); LANES];
                let inputs = lanes[start * channels + c..].iter().step_by(channels);
                for (weight, input) in weights.iter().zip(inputs) {
                    add_scaled(&mut sums, input, *weight);
                }
                round_into(vector, &sums);
            }
        }
    }
}

fn along_y(pixels: &[u8], h: usize, line: usize, table: &Table, par: ParallelFor) -> Vec<u8> {
    let mut out = vec![0_u8; table.start.len() * line];
    for_each_chunk(&mut out, line, par, |y, line_out| {
        let (start, weights) = table.at(y);
        let rows = &pixels[start * line..][..weights.len().min(h - start) * line];
        y_kernel(rows, line_out, weights);
    });
    out
}

vectorised! {
    fn y_kernel(rows: &[u8], line_out: &mut [u8], weights: &[i32]) {
        let line = line_out.len();
        for (block, values) in line_out.chunks_mut(BLOCK).enumerate() {
            let mut sums = [1_i32 << (WEIGHT_BITS - 1); BLOCK];
            for (weight, row) in weights.iter().zip(rows.chunks_exact(line)) {
                match row[block * BLOCK..].first_chunk::<BLOCK>() {
                    Some(inputs) => add_scaled(&mut sums, inputs, *weight),
                    None => add_scaled(&mut sums, &row[block * BLOCK..], *weight),
                }
            }
            round_into(values, &sums);
        }
    }
}

/// The sums cannot overflow (see `WEIGHT_BITS`); the wrapping forms only keep the check out of the
/// loop.
#[inline(always)]
fn add_scaled(sums: &mut [i32], inputs: &[u8], weight: i32) {
    for (sum, input) in sums.iter_mut().zip(inputs) {
        *sum = sum.wrapping_add(i32::from(*input).wrapping_mul(weight));
    }
}

#[inline(always)]
fn round_into(values: &mut [u8], sums: &[i32]) {
    for (value, sum) in values.iter_mut().zip(sums) {
        *value = (sum >> WEIGHT_BITS).clamp(0, 255) as u8;
    }
}

fn sinc(x: f64) -> f64 {
    let angle = x * std::f64::consts::PI;
    if angle == 0.0 { 1.0 } else { angle.sin() / angle }
}

#[cfg(test)]
mod tests;
