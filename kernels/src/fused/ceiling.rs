//! What the products' inner loop reaches where nothing has to be fetched: the ceiling of everything
//! else, at the speed that the machine has at this moment.

use std::time::Instant;

use super::buffer::Buffer;
use super::product::Team;
use super::tile::{Panel, Tile, Work};

/// Values along k of panels that fit there.
const K: usize = 256;
/// Products of a panel that stays in the nearest cache, for a task.
const REPEATS: usize = 20_000;

struct Repeat<T: Tile> {
    a: Buffer<T::Elem>,
    b: Buffer<T::Elem>,
    c: Buffer<f32>,
}

impl<T: Tile> Work for &mut Repeat<T> {
    #[inline(always)]
    fn run(self) {
        let (a, b) = (self.a.as_ptr(), self.b.as_ptr());
        for _ in 0..REPEATS {
            let [a, b] = [a, b].map(|at| Panel { at, k_len: K });
            // SAFETY: both operands hold one panel, `c` its product; `rate`'s caller asked the CPU.
            unsafe { T::multiply(a, b, K, self.c.as_mut_ptr(), false) };
        }
    }
}

/// FLOP a second of all threads together.
///
/// # Safety
/// The CPU has the instructions of `T`.
pub(super) unsafe fn rate<T: Tile>(team: Team) -> f64 {
    let start = Instant::now();
    (team.par)(team.n_threads, &|_| {
        let mut work = Repeat::<T> {
            a: Buffer::zeroed(T::MR * K),
            b: Buffer::zeroed(T::NR * K),
            c: Buffer::zeroed(T::MR * T::NR),
        };
        // SAFETY: the caller's.
        unsafe { T::with(&mut work) };
    });
    let flop = 2 * T::MR * T::NR * K * REPEATS * team.n_threads;
    flop as f64 / start.elapsed().as_secs_f64()
}
