//! Painted masks on the grid of what is learned from them.

use loupe_plugin::prelude::*;

/// A place is damaged if at least this share of it is: a scratch is thinner than a patch. It is sound
/// if none is; what is between counts for neither.
pub const DAMAGED: f32 = 0.125;

/// The share of each cell that a mask covers.
/// Shapes: `mask [b, 1, h, w]` -> `[b * rows * columns]`. Errors: `Shape` if `b` is not `batch`, or a
/// side is smaller than the grid's.
pub fn onto_grid(mask: &Tensor, batch: usize, [rows, columns]: [usize; 2]) -> Result<Vec<f32>> {
    let [n, one, height, width] = mask.dims_n("mask")?;
    if n != batch || one != 1 || rows == 0 || columns == 0 || height < rows || width < columns {
        let want = format!("[{batch}, 1, h, w] of at least {rows} x {columns} pixels");
        return Err(Error::shape("mask", want, mask.shape()));
    }
    let values = mask.f32s()?;
    let span = |i: usize, of: usize, n: usize| i * of / n..(i + 1) * of / n;
    let mut shares = Vec::with_capacity(batch * rows * columns);
    for plane in values.chunks_exact(height * width) {
        for cell in 0..rows * columns {
            let (ys, xs) =
                (span(cell / columns, height, rows), span(cell % columns, width, columns));
            let n = (ys.len() * xs.len()) as f32;
            let sum: f32 = ys.map(|y| plane[y * width..][xs.clone()].iter().sum::<f32>()).sum();
            shares.push(sum / n);
        }
    }
    Ok(shares)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_has_the_share_that_is_covered() {
        let mask = Tensor::new([1, 1, 2, 4], [1.0, 1.0, 0.0, 1.0, 1.0, 1.0, 0.0, 0.0]).unwrap();
        assert_eq!(onto_grid(&mask, 1, [1, 2]).unwrap(), [1.0, 0.25]);
        assert_eq!(onto_grid(&mask, 1, [2, 1]).unwrap(), [0.75, 0.5]);
        let message = onto_grid(&mask, 1, [3, 1]).unwrap_err().to_string();
        assert!(message.contains("`mask` wants [1, 1, h, w] of at least 3 x 1"), "{message}");
        assert!(onto_grid(&mask, 2, [1, 1]).is_err());
    }
}
