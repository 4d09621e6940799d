//! A tower as one operation of candle's autograd: forward and backward of the whole tower are
//! written by hand, candle differentiates what stands on top of it.
//!
//! Work is cut into stacks by the data alone, never by the number of threads, and their gradients
//! are summed in order: the bytes do not depend on the threads.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use candle_core::{CpuStorage, CustomOp1, Layout as Strides, Shape, Tensor};

use crate::error::{Result, TrainError};
use crate::layout::{Layout, Params};
use crate::tensors::{own, with_values};

/// Forward and backward of a tower on one stack of inputs.
pub trait Tower: Send + Sync + 'static {
    type Input: Send + Sync + 'static;
    type Tape: Send + 'static;

    fn layout(&self) -> &Layout;

    fn forward(&self, params: &Params, input: &Self::Input) -> Result<(Vec<Tensor>, Self::Tape)>;

    /// Adds to `gradients`, which is laid out as the parameters are.
    fn backward(
        &self,
        params: &Params,
        tape: Self::Tape,
        doutputs: &[Tensor],
        gradients: &mut [f32],
    ) -> Result<()>;
}

/// Runs `tower` on every stack; output `k` is that of all stacks, one below the other, and can be
/// differentiated by `params`, the tower's parameters side by side.
pub fn run<T: Tower>(
    tower: &Arc<T>,
    params: &Tensor,
    stacks: &[T::Input],
    n_threads: usize,
) -> Result<Vec<Tensor>> {
    let results = with_values(params, |values| {
        let detached = params.detach();
        let params = Params { flat: &detached, values };
        on_threads(stacks.len(), n_threads, |i| match stacks.get(i) {
            Some(stack) => tower.forward(&params, stack),
            None => Err(TrainError::Internal { what: "no such stack" }),
        })
    })??;
    let (mut outputs, mut tapes) = (Vec::new(), Vec::new());
    for (of_stack, tape) in results {
        outputs.push(of_stack);
        tapes.push(tape);
    }
    let n_kinds = outputs.first().map_or(0, Vec::len);
    let (mut joined, mut shapes) = (Vec::new(), Vec::new());
    for kind in 0..n_kinds {
        let mut n_rows = Vec::new();
        let mut width = 0;
        for output in outputs.iter().filter_map(|of_stack| of_stack.get(kind)) {
            let (rows, columns) = output.dims2()?;
            n_rows.push(rows);
            width = columns;
            with_values(output, |values| joined.extend_from_slice(values))?;
        }
        shapes.push(Kind { n_rows, width });
    }
    let operation = Backward {
        tower: Arc::clone(tower),
        tapes: Mutex::new(tapes),
        joined: Mutex::new(joined),
        kinds: shapes.clone(),
        n_threads,
    };
    let flat = params.apply_op1(operation)?;
    let mut first = 0;
    let mut split = Vec::with_capacity(n_kinds);
    for kind in &shapes {
        let rows: usize = kind.n_rows.iter().sum();
        split.push(flat.narrow(0, first, rows * kind.width)?.reshape((rows, kind.width))?);
        first += rows * kind.width;
    }
    Ok(split)
}

/// One output over all stacks.
#[derive(Clone)]
struct Kind {
    /// Rows of each stack.
    n_rows: Vec<usize>,
    width: usize,
}

struct Backward<T: Tower> {
    tower: Arc<T>,
    tapes: Mutex<Vec<T::Tape>>,
    joined: Mutex<Vec<f32>>,
    kinds: Vec<Kind>,
    n_threads: usize,
}

impl<T: Tower> Backward<T> {
    /// The part of the gradient that belongs to each stack.
    fn split(&self, gradient: &[f32], n_stacks: usize) -> Result<Vec<Vec<Tensor>>> {
        let mut stacks: Vec<Vec<Tensor>> = (0..n_stacks).map(|_| Vec::new()).collect();
        let mut rest = gradient;
        for kind in &self.kinds {
            for (n_rows, stack) in kind.n_rows.iter().zip(&mut stacks) {
                let (part, behind) = rest.split_at((n_rows * kind.width).min(rest.len()));
                stack.push(own(part.to_vec(), &[*n_rows, kind.width])?);
                rest = behind;
            }
        }
        Ok(stacks)
    }

    fn gradient(&self, params: &Tensor, gradient: &Tensor) -> Result<Tensor> {
        let tapes = std::mem::take(&mut *self.tapes.lock().unwrap_or_else(PoisonError::into_inner));
        let n_values = self.tower.layout().len();
        let n_stacks = tapes.len();
        let doutputs = with_values(gradient, |values| self.split(values, n_stacks))??;
        let work: Vec<_> = tapes.into_iter().zip(doutputs).map(|w| Mutex::new(Some(w))).collect();
        let detached = params.detach();
        let parts = with_values(&detached, |values| {
            let params = Params { flat: &detached, values };
            on_threads(n_stacks, self.n_threads, |i| {
                let taken = work
                    .get(i)
                    .and_then(|work| work.lock().unwrap_or_else(PoisonError::into_inner).take());
                let (tape, doutputs) =
                    taken.ok_or(TrainError::Internal { what: "a stack was run backward twice" })?;
                let mut gradients = vec![0.0_f32; n_values];
                self.tower.backward(&params, tape, &doutputs, &mut gradients)?;
                Ok(gradients)
            })
        })??;
        let mut parts = parts.into_iter();
        let mut sum = parts.next().unwrap_or_else(|| vec![0.0; n_values]);
        for part in parts {
            sum.iter_mut().zip(&part).for_each(|(sum, value)| *sum += value);
        }
        own(sum, &[n_values])
    }
}

impl<T: Tower> CustomOp1 for Backward<T> {
    fn name(&self) -> &'static str {
        "tower"
    }

    /// The outputs were computed before; here they enter the graph.
    fn cpu_fwd(&self, _: &CpuStorage, _: &Strides) -> candle_core::Result<(CpuStorage, Shape)> {
        let mut joined = self.joined.lock().unwrap_or_else(PoisonError::into_inner);
        let values = std::mem::take(&mut *joined);
        let shape = Shape::from(values.len());
        Ok((CpuStorage::F32(values), shape))
    }

    fn bwd(
        &self,
        params: &Tensor,
        _: &Tensor,
        gradient: &Tensor,
    ) -> candle_core::Result<Option<Tensor>> {
        self.gradient(params, gradient).map(Some).map_err(candle_core::Error::wrap)
    }
}

/// `f(0), .., f(n - 1)` on `n_threads` threads; the results stand in order.
pub fn on_threads<R: Send>(
    n: usize,
    n_threads: usize,
    f: impl Fn(usize) -> Result<R> + Sync,
) -> Result<Vec<R>> {
    if n_threads <= 1 || n <= 1 {
        return (0..n).map(f).collect();
    }
    let next = AtomicUsize::new(0);
    let slots: Vec<Mutex<Option<Result<R>>>> = (0..n).map(|_| Mutex::new(None)).collect();
    let work = || {
        loop {
            let i = next.fetch_add(1, Ordering::Relaxed);
            let Some(slot) = slots.get(i) else { break };
            let result = f(i);
            *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(result);
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..n_threads.min(n) {
            scope.spawn(work);
        }
        work();
    });
    let missing = || Err(TrainError::Internal { what: "a task gave no result" });
    let take = |slot: Mutex<Option<Result<R>>>| {
        slot.into_inner().unwrap_or_else(PoisonError::into_inner).unwrap_or_else(missing)
    };
    slots.into_iter().map(take).collect()
}
