//! Resizes of f32 maps and position embeddings, and OpenCV's 8-bit linear resize.
//!
//! All but the last are one separable pass along x, then one along y, that differ in their tables
//! only (`taps`): rounding to f32 happens between the passes, as in the programs they follow.

use crate::error::{KernelError, check_finite, check_shape, volume};
use crate::parallel::{ParallelFor, for_each_line};
use crate::taps::{self, Taps, Window};

/// OpenCV's `resize(INTER_LINEAR)` on f32: half-pixel centres, no antialias, border repeated.
/// Within 1.2e-7 of its x86 packages on maps in 0..=1.
/// Shapes: `maps [n,h,w]` -> `[n,out_h,out_w]`. Errors: `Shape`, `Empty`, `TooLarge`,
/// `NotFinite`.
/// Source: FADE joins its scales' patch grids with it.
pub fn opencv_bilinear(
    maps: &[f32],
    in_nhw: [usize; 3],
    out_hw: [usize; 2],
    par: ParallelFor,
) -> Result<Vec<f32>, KernelError> {
    resize_maps("opencv_bilinear", maps, in_nhw, out_hw, taps::opencv, par)
}

/// torch's `interpolate(mode="bilinear", align_corners=False)`, no antialias.
/// Shapes: `maps [n,h,w]` -> `[n,out_h,out_w]`. Errors: `Shape`, `Empty`, `TooLarge`,
/// `NotFinite`.
pub fn bilinear(
    maps: &[f32],
    in_nhw: [usize; 3],
    out_hw: [usize; 2],
    par: ParallelFor,
) -> Result<Vec<f32>, KernelError> {
    resize_maps("bilinear", maps, in_nhw, out_hw, taps::half_pixel, par)
}

/// torch's `interpolate(mode="bilinear", align_corners=True)`.
/// Shapes: `maps [n,h,w]` -> `[n,out_h,out_w]`. Errors: `Shape`, `Empty`, `TooLarge`,
/// `NotFinite`.
pub fn bilinear_align_corners(
    maps: &[f32],
    in_nhw: [usize; 3],
    out_hw: [usize; 2],
    par: ParallelFor,
) -> Result<Vec<f32>, KernelError> {
    resize_maps("bilinear_align_corners", maps, in_nhw, out_hw, taps::align_corners, par)
}

/// torchvision's resize of a float tensor (bilinear, antialias on, >= 0.17): what protocols resize
/// masks with before they take `> 0.5`.
/// Shapes: `maps [n,h,w]` -> `[n,out_h,out_w]`. Errors: `Shape`, `Empty`, `TooLarge`,
/// `NotFinite`.
pub fn antialias_bilinear(
    maps: &[f32],
    in_nhw: [usize; 3],
    out_hw: [usize; 2],
    par: ParallelFor,
) -> Result<Vec<f32>, KernelError> {
    let table = |n_in, n_out| taps::antialias(n_in, n_out, Window::Triangle);
    resize_maps("antialias_bilinear", maps, in_nhw, out_hw, table, par)
}

/// Antialiased bicubic, a = -0.5, of a position embedding's grid (its prefix rows stay with the
/// caller).
/// Shapes: `grid [h,w,c]` -> `[out_h,out_w,c]`, channels last. Errors: `Shape`, `Empty`,
/// `TooLarge`.
/// Source: open_clip's resize of position embeddings, torch's `interpolate(antialias=True)`.
pub fn antialias_bicubic(
    grid: &[f32],
    in_hwc: [usize; 3],
    out_hw: [usize; 2],
    par: ParallelFor,
) -> Result<Vec<f32>, KernelError> {
    const OP: &str = "antialias_bicubic";
    let ([h, w, c], [out_h, out_w]) = (in_hwc, out_hw);
    check_shape(OP, "grid", grid.len(), &in_hwc)?;
    check_sizes(OP, &[h, w, c], &[out_h, out_w, c])?;
    if [h, w] == out_hw {
        return Ok(grid.to_vec());
    }
    let (along_x, along_y) =
        (taps::antialias(w, out_w, Window::Cubic), taps::antialias(h, out_h, Window::Cubic));
    let wide = apply(grid, [h, w, c], &along_x, par);
    Ok(apply(&wide, [1, h, out_w * c], &along_y, par))
}

/// OpenCV's `resize(INTER_LINEAR)` on 8-bit maps, bit exact: 11-bit coefficients rounded half to
/// even, and the vertical sum's two shifts. Shapes: `maps [n,h,w]` -> `[n,out_h,out_w]`.
/// Errors: `Shape`, `Empty`, `TooLarge`. Source: FADE brings its maps to the evaluation size with
/// it.
pub fn opencv_bilinear_u8(
    maps: &[u8],
    in_nhw: [usize; 3],
    out_hw: [usize; 2],
    par: ParallelFor,
) -> Result<Vec<u8>, KernelError> {
    const OP: &str = "opencv_bilinear_u8";
    let ([n, h, w], [out_h, out_w]) = (in_nhw, out_hw);
    check_shape(OP, "maps", maps.len(), &in_nhw)?;
    check_sizes(OP, &in_nhw, &[n, out_h, out_w])?;
    if [h, w] == out_hw {
        return Ok(maps.to_vec());
    }
    let (columns, rows) = (fixed_table(w, out_w, true), fixed_table(h, out_h, false));
    let mut out = vec![0_u8; n * out_h * out_w];
    for_each_line(&mut out, out_w, par, |i, line| {
        let plane = &maps[i / out_h * h * w..][..h * w];
        let row = &rows[i % out_h];
        let (top, bottom) = (&plane[row.low * w..][..w], &plane[row.high * w..][..w]);
        for (value, column) in line.iter_mut().zip(&columns) {
            let mix = |line: &[u8]| {
                let (low, high) = (i64::from(line[column.low]), i64::from(line[column.high]));
                (low * column.weights[0] + high * column.weights[1]) >> 4
            };
            let sum =
                ((row.weights[0] * mix(top)) >> 16) + ((row.weights[1] * mix(bottom)) >> 16) + 2;
            *value = (sum >> 2).clamp(0, 255) as u8;
        }
    });
    Ok(out)
}

struct FixedTap {
    low: usize,
    high: usize,
    weights: [i64; 2],
}

/// Along x the fraction is dropped at the border, along y it is kept and both rows are the same
/// one.
fn fixed_table(n_in: usize, n_out: usize, drop_at_border: bool) -> Vec<FixedTap> {
    let last = n_in as i64 - 1;
    let tap = |i| {
        let (i0, mut frac) = taps::opencv_position(i, n_in, n_out);
        if drop_at_border && (i0 < 0 || i0 >= last) {
            frac = 0.0;
        }
        let fixed = |weight: f32| (weight * 2048.0).round_ties_even() as i64;
        let (low, high) = (i0.clamp(0, last) as usize, (i0 + 1).clamp(0, last) as usize);
        FixedTap { low, high, weights: [fixed(1.0 - frac), fixed(frac)] }
    };
    (0..n_out).map(tap).collect()
}

fn resize_maps(
    op: &'static str,
    maps: &[f32],
    in_nhw: [usize; 3],
    out_hw: [usize; 2],
    table: impl Fn(usize, usize) -> Taps,
    par: ParallelFor,
) -> Result<Vec<f32>, KernelError> {
    let ([n, h, w], [out_h, out_w]) = (in_nhw, out_hw);
    check_shape(op, "maps", maps.len(), &in_nhw)?;
    check_sizes(op, &in_nhw, &[n, out_h, out_w])?;
    check_finite(op, "maps", maps)?;
    if [h, w] == out_hw {
        return Ok(maps.to_vec());
    }
    let wide = apply(maps, [n * h, w, 1], &table(w, out_w), par);
    Ok(apply(&wide, [n, h, out_w], &table(h, out_h), par))
}

fn check_sizes(op: &'static str, from: &[usize; 3], to: &[usize; 3]) -> Result<(), KernelError> {
    // The largest intermediate has the larger of each pair of sides.
    let sides: Vec<usize> = from.iter().zip(to).map(|(a, b)| *a.max(b)).collect();
    volume(op, "output", &sides)?;
    if to.contains(&0) {
        return Err(KernelError::Empty { op, input: "output" });
    }
    Ok(())
}

/// One pass along the middle axis: `[outer, n_in, inner]` -> `[outer, n_out, inner]`.
fn apply(x: &[f32], [_, n_in, inner]: [usize; 3], taps: &Taps, par: ParallelFor) -> Vec<f32> {
    let n_outer = x.len() / (n_in * inner);
    let n_out = taps.n_out();
    let mut out = vec![0.0_f32; n_outer * n_out * inner];
    if inner == 1 && taps.width == 2 {
        // Where one input is the whole output, it stands there twice, once with weight 0.
        let pairs: Vec<_> = (0..n_out)
            .map(|i| match taps.at(i) {
                (start, &[low, high, ..]) => (start, start + 1, [low, high]),
                (start, _) => (start, start, [1.0, 0.0]),
            })
            .collect();
        for_each_line(&mut out, n_out, par, |outer, line| {
            let line_in = &x[outer * n_in..][..n_in];
            for (value, (low, high, weights)) in line.iter_mut().zip(&pairs) {
                *value = line_in[*low] * weights[0] + line_in[*high] * weights[1];
            }
        });
        return out;
    }
    if inner == 1 {
        for_each_line(&mut out, n_out, par, |outer, line| {
            let line_in = &x[outer * n_in..][..n_in];
            for (i, value) in line.iter_mut().enumerate() {
                let (start, weights) = taps.at(i);
                let inputs = &line_in[start..][..weights.len()];
                *value = inputs.iter().zip(weights).map(|(x, weight)| x * weight).sum();
            }
        });
        return out;
    }
    for_each_line(&mut out, inner, par, |i, line| {
        let (start, weights) = taps.at(i % n_out);
        let plane = &x[i / n_out * n_in * inner..][..n_in * inner];
        for (j, weight) in weights.iter().enumerate() {
            let line_in = &plane[(start + j) * inner..][..inner];
            for (value, x) in line.iter_mut().zip(line_in) {
                *value += weight * x;
            }
        }
    });
    out
}

#[cfg(test)]
mod tests;
