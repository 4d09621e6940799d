//! Parallelism given by the caller.

use std::sync::{Mutex, PoisonError};

/// Runs `f(0), .., f(n - 1)`, in any order and on any threads, and returns when all are done.
/// A plugin passes its host's service here; the engine passes its thread pool.
pub type ParallelFor<'a> = &'a (dyn Fn(usize, &(dyn Fn(usize) + Sync)) + Sync);

/// The `ParallelFor` of one thread.
pub fn serial(n: usize, f: &(dyn Fn(usize) + Sync)) {
    for i in 0..n {
        f(i);
    }
}

/// Cuts `values` into chunks of `chunk_len` (the last may be shorter) and gives each, with its
/// index, to `f`. Each chunk has a lock of its own that nobody else asks for: that is what lets
/// safe code hand out disjoint parts through a shared reference.
pub fn for_each_chunk<T: Send>(
    values: &mut [T],
    chunk_len: usize,
    par: ParallelFor,
    f: impl Fn(usize, &mut [T]) + Sync,
) {
    let chunks: Vec<Mutex<&mut [T]>> =
        values.chunks_mut(chunk_len.max(1)).map(Mutex::new).collect();
    par(chunks.len(), &|i| {
        if let Some(chunk) = chunks.get(i) {
            f(i, &mut chunk.lock().unwrap_or_else(PoisonError::into_inner));
        }
    });
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Runs from the last index to the first on two threads: order must not matter.
    pub(crate) fn backwards_on_two_threads(n: usize, f: &(dyn Fn(usize) + Sync)) {
        std::thread::scope(|scope| {
            scope.spawn(|| (0..n).rev().filter(|i| i % 2 == 0).for_each(f));
            (0..n).rev().filter(|i| i % 2 == 1).for_each(f);
        });
    }

    #[test]
    fn every_chunk_is_visited_once_with_its_index() {
        for par in [&serial as ParallelFor, &backwards_on_two_threads] {
            let mut values = vec![0_usize; 10];
            for_each_chunk(&mut values, 4, par, |i, chunk| {
                chunk.iter_mut().for_each(|value| *value += 10 * i + chunk_len(i));
            });
            assert_eq!(values, [4, 4, 4, 4, 14, 14, 14, 14, 22, 22]);
        }
        fn chunk_len(i: usize) -> usize {
            if i == 2 { 2 } else { 4 }
        }
    }

    #[test]
    fn no_values_mean_no_calls() {
        for_each_chunk(&mut [0_u8; 0], 0, &serial, |_, _| panic!("called"));
    }
}
