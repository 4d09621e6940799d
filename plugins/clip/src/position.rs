//! The position table on another grid than it was trained for.

use std::sync::{Mutex, PoisonError};

use candle_core::Tensor;

use crate::error::{ClipError, Result};
use crate::ops;

/// Grids that are kept: those of a few image sizes.
const MAX_GRIDS: usize = 8;

/// A position table, on its own grid and on those that were asked for.
pub struct Positions {
    /// `[1 + native*native, width]`
    table: Vec<f32>,
    width: usize,
    native: usize,
    on_grids: Mutex<Vec<((usize, usize), Tensor)>>,
}

impl Positions {
    pub fn new(table: Vec<f32>, width: usize, native: usize) -> Self {
        Positions { table, width, native, on_grids: Mutex::default() }
    }

    /// Positions of a grid, `[1 + rows*cols, width]`. Errors: `Shape`.
    pub fn on(&self, rows: usize, cols: usize) -> Result<Tensor> {
        let kept = || self.on_grids.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, positions)) = kept().iter().find(|(grid, _)| *grid == (rows, cols)) {
            return Ok(positions.clone());
        }
        let resized = resize_positions(&self.table, self.width, self.native, rows, cols)?;
        let positions = ops::from_vec(resized, &[1 + rows * cols, self.width])?;
        let mut kept = kept();
        if kept.len() == MAX_GRIDS {
            kept.remove(0);
        }
        kept.push(((rows, cols), positions.clone()));
        Ok(positions)
    }
}

/// Resamples the grid rows of a position table; the first row belongs to CLS and stays.
/// Shapes: `table [1 + old*old, c]` -> `[1 + rows*cols, c]`; f32, row-major; a copy if equal.
/// The filter is bicubic with antialias (a = -0.5), as the original resizes in one step per axis.
pub fn resize_positions(
    table: &[f32],
    width: usize,
    old: usize,
    rows: usize,
    cols: usize,
) -> Result<Vec<f32>> {
    if table.len() != (1 + old * old) * width || old == 0 || rows == 0 || cols == 0 {
        return Err(ClipError::Shape {
            what: "position table",
            want: format!("1 + {old} x {old} rows of {width} and a grid of 1 x 1 or more"),
            got: format!("{} values for a grid of {rows} x {cols}", table.len()),
        });
    }
    let (prefix, grid) = table.split_at(width);
    let resized = loupe_kernels::antialias_bicubic(
        grid,
        [old, old, width],
        [rows, cols],
        &loupe_kernels::serial,
    )
    .map_err(|error| ClipError::Tensor { message: error.to_string() })?;
    Ok([prefix, &resized].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Recorded from torch 2.15 for `sin(24 i + j)` from 24 x 24 to 17 x 17.
    #[test]
    fn a_smaller_grid_equals_torch() {
        let mut table = vec![9.0_f32];
        table.extend((0..24 * 24).map(|i| (i as f32).sin()));
        let got = resize_positions(&table, 1, 24, 17, 17).unwrap();
        let near = |index: usize, want: f32| {
            assert!((got[index] - want).abs() < 4e-6, "{index}: {} is not {want}", got[index])
        };
        near(0, 9.0);
        near(1, -0.034_626_82);
        near(17, -0.375_108_54);
        near(1 + 8 * 17 + 3, -0.668_099_9);
        near(1 + 16 * 17 + 16, -0.112_106_5);
        let sum: f32 = got[1..].iter().sum();
        assert!((sum - 0.988_500_4).abs() < 1e-4, "{sum}");
    }

    #[test]
    fn a_rectangular_grid_resamples_each_axis_on_its_own() {
        let mut table = vec![0.0_f32];
        table.extend((0..9).map(|i| (i / 3) as f32));
        let got = resize_positions(&table, 1, 3, 3, 6).unwrap();
        assert_eq!(got.len(), 1 + 18);
        for (index, value) in got[1..].iter().enumerate() {
            assert!((value - (index / 6) as f32).abs() < 1e-6, "{index}: {value}");
        }
        assert!(resize_positions(&table, 1, 3, 0, 6).is_err());
        assert!(resize_positions(&table[1..], 1, 3, 3, 6).is_err());
    }
}
