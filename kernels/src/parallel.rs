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

/// Values below which a line's work is not worth a thread's waking.
const LEAST_VALUES: usize = 1 << 14;

/// Gives each line of `values`, with its index, to `f`; as many at a time as are worth a thread, so
/// that small work stays with who asks for it.
pub(crate) fn for_each_line<T: Send>(
    values: &mut [T],
    line_len: usize,
    par: ParallelFor,
    f: impl Fn(usize, &mut [T]) + Sync,
) {
    let line_len = line_len.max(1);
    let n_lines = LEAST_VALUES.div_ceil(line_len);
    for_each_chunk(values, n_lines * line_len, par, |i, lines| {
        for (j, line) in lines.chunks_mut(line_len).enumerate() {
            f(i * n_lines + j, line);
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
    fn lines_keep_their_indices_and_a_few_stay_on_the_callers_thread() {
        let numbered = |n_lines: usize, par: ParallelFor| {
            let mut values = vec![0; n_lines * 100];
            for_each_line(&mut values, 100, par, |i, line| line.fill(i));
            values.chunks(100).enumerate().all(|(i, line)| line == [i; 100])
        };
        assert!(numbered(500, &backwards_on_two_threads));
        assert!(numbered(164, &|n, f| {
            assert_eq!(n, 1);
            f(0);
        }));
    }

    #[test]
    fn no_values_mean_no_calls() {
        for_each_chunk(&mut [0_u8; 0], 0, &serial, |_, _| panic!("called"));
    }
}
