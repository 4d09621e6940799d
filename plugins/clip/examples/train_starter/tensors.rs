//! The values of candle's tensors as slices, which is how the fused operations see them.

use std::cell::RefCell;

use candle_core::{CpuStorage, Device, InplaceOp1, Layout, Storage, Tensor};

use crate::error::{Result, TrainError};

/// A tensor that owns `values`. Errors: `Candle` if their number is not the shape's.
pub fn own(values: Vec<f32>, shape: &[usize]) -> Result<Tensor> {
    Ok(Tensor::from_vec(values, shape, &Device::Cpu)?)
}

/// `read` on the row-major values, without copying them where they lie together.
pub fn with_values<T>(x: &Tensor, read: impl FnOnce(&[f32]) -> T) -> Result<T> {
    let x = x.contiguous()?;
    let (storage, layout) = x.storage_and_layout();
    let Storage::Cpu(storage) = &*storage else {
        return Err(TrainError::Internal { what: "a tensor is not on the CPU" });
    };
    let values = storage.as_slice::<f32>()?;
    let part = layout.contiguous_offsets().and_then(|(start, end)| values.get(start..end));
    part.map(read).ok_or(TrainError::Internal { what: "a tensor's values do not lie together" })
}

/// `change` on the values of a contiguous tensor that nobody else holds.
pub fn in_place(x: &Tensor, change: impl FnMut(&mut [f32])) -> Result<()> {
    Ok(x.inplace_op1(&Change(RefCell::new(change)))?)
}

/// `x += other`.
pub fn add_in_place(x: &Tensor, other: &Tensor) -> Result<()> {
    with_values(other, |other| {
        in_place(x, |x| x.iter_mut().zip(other).for_each(|(x, other)| *x += other))
    })?
}

struct Change<F>(RefCell<F>);

impl<F: FnMut(&mut [f32])> InplaceOp1 for Change<F> {
    fn name(&self) -> &'static str {
        "change"
    }

    fn cpu_fwd(&self, storage: &mut CpuStorage, layout: &Layout) -> candle_core::Result<()> {
        let CpuStorage::F32(values) = storage else {
            candle_core::bail!("a change in place wants f32 values");
        };
        match layout.contiguous_offsets().and_then(|(start, end)| values.get_mut(start..end)) {
            Some(values) => (self.0.borrow_mut())(values),
            None => candle_core::bail!("a change in place wants a contiguous tensor"),
        }
        Ok(())
    }
}
