//! Whose threads a model computes on.

use loupe_kernels::Team;
use loupe_plugin::prelude::Host;
use rayon::prelude::*;

use crate::error::Result;

/// Threads of a model. candle's own products know none of this: they run on rayon's pool in this library.
#[derive(Clone, Copy, Debug)]
pub enum Threads {
    /// The engine's, which all plugins share.
    Host(Host),
    /// rayon's pool in this library: what candle's blocks use, and programs without an engine.
    Library,
}

impl Threads {
    /// Lends the threads to a kernel. Errors: `Host`, a panic in one of its loops.
    pub fn lend<T>(self, kernel: impl FnOnce(Team) -> T) -> Result<T> {
        match self {
            Threads::Host(host) => {
                let n_threads = host.n_threads();
                Ok(host.lend_threads(|par| kernel(Team { par, n_threads }))?)
            }
            Threads::Library => {
                let par = |n: usize, f: &(dyn Fn(usize) + Sync)| {
                    (0..n).into_par_iter().with_max_len(1).for_each(f);
                };
                Ok(kernel(Team { par: &par, n_threads: rayon::current_num_threads() }))
            }
        }
    }

    /// Before candle computes: the library's pool gets as many threads as the host grants, once.
    pub fn ready_library(self) {
        if let Threads::Host(host) = self {
            crate::init_threads(host.n_threads());
        }
    }
}
