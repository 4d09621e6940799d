//! Rows scaled to length 1 as an operation of candle's autograd, in one walk each way.

use candle_core::{CpuStorage, CustomOp1, Layout, Shape, Tensor};

use crate::error::Result;
use crate::tensors::{own, with_values};
use loupe_kernels::approx::sum_of;

/// Smallest divisor, as in torch's `normalize`.
const SHORTEST: f32 = 1e-12;

struct UnitRows;

/// Shapes: `x [.., c]`, contiguous -> the same, every row of Euclidean length 1.
pub fn unit_rows(x: &Tensor) -> candle_core::Result<Tensor> {
    x.apply_op1(UnitRows)
}

fn length(row: &[f32]) -> f32 {
    sum_of(row, |v| v * v).sqrt().max(SHORTEST)
}

impl CustomOp1 for UnitRows {
    fn name(&self) -> &'static str {
        "unit-rows"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> candle_core::Result<(CpuStorage, Shape)> {
        let values = x.as_slice::<f32>()?;
        let part = layout.contiguous_offsets().and_then(|(start, end)| values.get(start..end));
        let (Some(values), Some(width)) = (part, layout.dims().last()) else {
            candle_core::bail!("unit rows are made of contiguous rows");
        };
        let mut y = Vec::with_capacity(values.len());
        for row in values.chunks_exact((*width).max(1)) {
            let scale = 1.0 / length(row);
            y.extend(row.iter().map(|v| v * scale));
        }
        Ok((CpuStorage::F32(y), layout.shape().clone()))
    }

    fn bwd(&self, x: &Tensor, y: &Tensor, dy: &Tensor) -> candle_core::Result<Option<Tensor>> {
        backward(x, y, dy).map(Some).map_err(candle_core::Error::wrap)
    }
}

fn backward(x: &Tensor, y: &Tensor, dy: &Tensor) -> Result<Tensor> {
    let width = x.dim(candle_core::D::Minus1)?.max(1);
    let lengths: Vec<f32> = with_values(x, |x| x.chunks_exact(width).map(length).collect())?;
    let mut dx = Vec::with_capacity(x.elem_count());
    with_values(y, |y| {
        with_values(dy, |dy| {
            let rows = y.chunks_exact(width).zip(dy.chunks_exact(width));
            for ((y, dy), length) in rows.zip(lengths) {
                let along: f32 = y.iter().zip(dy).map(|(y, dy)| y * dy).sum();
                dx.extend(y.iter().zip(dy).map(|(y, dy)| (dy - y * along) / length));
            }
        })
    })??;
    own(dx, x.dims())
}
