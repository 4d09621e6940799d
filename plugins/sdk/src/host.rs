//! What a component may ask of the engine that runs it.

use std::ffi::{CString, c_void};
use std::ptr::NonNull;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::abi::{self, LoupeBytes, LoupeHost};
use crate::error::{Error, Result};
use crate::glue::guard;
use crate::glue::raw;

/// Loudness of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Level {
    Error = abi::LOUPE_LOG_ERROR,
    Warn = abi::LOUPE_LOG_WARN,
    Info = abi::LOUPE_LOG_INFO,
    Debug = abi::LOUPE_LOG_DEBUG,
}

/// Calls `f(0), .., f(n - 1)`, in any order and on any threads, and returns when all are done.
pub type ParallelLoop<'a> = dyn Fn(usize, &(dyn Fn(usize) + Sync)) + Sync + 'a;

/// Services of the engine. A handle: copy it, keep it in the instance, use it from any thread.
#[derive(Clone, Copy, Debug)]
pub struct Host {
    raw: NonNull<LoupeHost>,
}

// SAFETY: the boundary asks hosts to serve every instance on every thread they call it on, and
// never writes the table.
unsafe impl Send for Host {}
// SAFETY: as above.
unsafe impl Sync for Host {}

impl Host {
    /// # Safety
    /// `raw` is null or a table of services that outlives every copy of the result.
    pub(crate) unsafe fn from_raw(raw: *const LoupeHost) -> Result<Self> {
        let Some(host) = NonNull::new(raw.cast_mut()) else {
            return Err(Error::failed("the host passed no services"));
        };
        // SAFETY: not null, and the first two fields are there in every version.
        let (version, size) = unsafe { ((*raw).abi, (*raw).size as usize) };
        if version != abi::LOUPE_ABI || size < size_of::<LoupeHost>() {
            let want = format!("ABI {} with {} bytes", abi::LOUPE_ABI, size_of::<LoupeHost>());
            let got = format!("ABI {version} with {size} bytes");
            return Err(Error::failed(format!("host services: wants {want}, but got {got}")));
        }
        Ok(Host { raw: host })
    }

    pub fn log(&self, level: Level, text: &str) {
        if let Some(log) = self.table().log {
            // SAFETY: `ctx` is the host's own, `text` lives through the call.
            unsafe { log(self.table().ctx, level as u32, raw::text(text)) };
        }
    }

    /// `total` 0: unknown.
    pub fn progress(&self, done: u64, total: u64) {
        if let Some(progress) = self.table().progress {
            // SAFETY: `ctx` is the host's own.
            unsafe { progress(self.table().ctx, done, total) };
        }
    }

    pub fn cancelled(&self) -> bool {
        // SAFETY: `ctx` is the host's own.
        self.table().cancelled.is_some_and(|ask| unsafe { ask(self.table().ctx) } != 0)
    }

    /// For long loops: `host.stop_if_cancelled()?`. Errors: `Cancelled`.
    pub fn stop_if_cancelled(&self) -> Result<()> {
        if self.cancelled() { Err(Error::Cancelled) } else { Ok(()) }
    }

    /// Threads this component may use in all; at least 1.
    pub fn n_threads(&self) -> usize {
        // SAFETY: `ctx` is the host's own.
        self.table().n_threads.map_or(1, |ask| unsafe { ask(self.table().ctx) }).max(1) as usize
    }

    /// Calls `body(i)` for each i below n on the host's threads. A panic in one skips those not yet
    /// begun. Errors: `Panic`, with the first message.
    pub fn parallel_for(&self, n: usize, body: impl Fn(usize) + Sync) -> Result<()> {
        let loop_ = Loop { body, stop: AtomicBool::new(false), first: Mutex::new(None) };
        match self.table().parallel_for {
            Some(parallel_for) if n > 1 => {
                let arg = (&raw const loop_).cast_mut().cast();
                // SAFETY: `step` takes exactly this `arg`, does not unwind, and the host returns
                // when all are done.
                unsafe { parallel_for(self.table().ctx, n, Some(step_of(&loop_)), arg) };
            }
            _ => (0..n).for_each(|i| loop_.step(i)),
        }
        let first = loop_.first.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner());
        first.map_or(Ok(()), Err)
    }

    /// Lends the host's threads to a kernel, which owns none and asks for them by a plain function.
    /// Errors: as `parallel_for`, of the kernel's first loop that failed.
    pub fn lend_threads<T>(&self, kernel: impl FnOnce(&ParallelLoop<'_>) -> T) -> Result<T> {
        let first = Mutex::new(None);
        let made = kernel(&|n, body| {
            if let Err(error) = self.parallel_for(n, body) {
                first.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).get_or_insert(error);
            }
        });
        match first.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner()) {
            Some(error) => Err(error),
            None => Ok(made),
        }
    }

    /// `body(i)` for each i below n, in order. Errors: as `parallel_for`.
    pub fn parallel_map<T: Send>(
        &self,
        n: usize,
        body: impl Fn(usize) -> T + Sync,
    ) -> Result<Vec<T>> {
        let slots: Vec<Mutex<Option<T>>> = (0..n).map(|_| Mutex::new(None)).collect();
        self.parallel_for(n, |i| {
            let made = body(i);
            if let Ok(mut slot) = slots[i].lock() {
                *slot = Some(made);
            }
        })?;
        let made = slots.into_iter().map(|slot| slot.into_inner().ok().flatten());
        made.collect::<Option<Vec<T>>>()
            .ok_or_else(|| Error::failed("the host skipped a step of a parallel loop"))
    }

    /// `body(i, chunk)` for each chunk of `chunk_len` elements; the last may be shorter. Errors: as
    /// `parallel_for`.
    pub fn parallel_chunks<T: Send>(
        &self,
        values: &mut [T],
        chunk_len: usize,
        body: impl Fn(usize, &mut [T]) + Sync,
    ) -> Result<()> {
        let chunks: Vec<Mutex<&mut [T]>> =
            values.chunks_mut(chunk_len.max(1)).map(Mutex::new).collect();
        self.parallel_for(chunks.len(), |i| {
            if let Ok(mut chunk) = chunks[i].lock() {
                body(i, &mut chunk);
            }
        })
    }

    /// Random numbers of the run's seed and the stage's name: the same run draws the same ones. A component that draws
    /// any declares itself not deterministic (`PURITY`), so that seed and stage join the keys of what it makes.
    /// Zeros without a host that has them.
    pub fn random(&self, n: usize) -> Vec<u64> {
        let mut out = vec![0; n];
        if let Some(random) = self.table().random {
            // SAFETY: `out` has room for n numbers.
            unsafe { random(self.table().ctx, out.as_mut_ptr(), n) };
        }
        out
    }

    /// Random numbers, uniform in 0..1, of 53 bits each.
    pub fn random_units(&self, n: usize) -> Vec<f64> {
        let unit = 1.0 / (1_u64 << 53) as f64;
        self.random(n).into_iter().map(|bits| (bits >> 11) as f64 * unit).collect()
    }

    /// Read-only bytes of a file that a config key of format `loupe-file` names. Errors: the
    /// host's.
    pub fn open(&self, path: &str) -> Result<&'static [u8]> {
        let Some(open) = self.table().open else {
            return Err(Error::failed(format!(
                "this host opens no files, so `{path}` is out of reach"
            )));
        };
        let mut bytes = LoupeBytes { data: std::ptr::null(), len: 0 };
        let mut error = abi::LoupeError { len: 0, text: [0; 1020] };
        // SAFETY: all pointers live through the call.
        let status = unsafe { open(self.table().ctx, raw::text(path), &mut bytes, &mut error) };
        if status != abi::LOUPE_OK {
            return Err(Error::failed(raw::message(&error)));
        }
        // SAFETY: on success the bytes live as long as the host, which outlives all that is made
        // with it.
        unsafe { raw::slice(bytes.data, bytes.len) }
    }

    /// A later service by its id; its type is the id's.
    pub fn get_extension(&self, id: &str) -> Option<NonNull<c_void>> {
        let id = CString::new(id).ok()?;
        // SAFETY: `id` ends in NUL and lives through the call.
        let found = unsafe { self.table().get_extension?(self.table().ctx, id.as_ptr()) };
        NonNull::new(found.cast_mut())
    }

    pub(crate) fn table(&self) -> &LoupeHost {
        // SAFETY: checked for null and size in `from_raw`, whose caller promises its life.
        unsafe { self.raw.as_ref() }
    }
}

/// The closure of one parallel loop and its first panic.
struct Loop<F> {
    body: F,
    stop: AtomicBool,
    first: Mutex<Option<Error>>,
}

impl<F: Fn(usize) + Sync> Loop<F> {
    fn step(&self, i: usize) {
        if self.stop.load(Ordering::Relaxed) {
            return;
        }
        if let Err(error) = guard::catch(|| {
            (self.body)(i);
            Ok(())
        }) {
            self.stop.store(true, Ordering::Relaxed);
            if let Ok(mut first) = self.first.lock() {
                first.get_or_insert(error);
            }
        }
    }
}

/// Names the closure's type, which cannot be written down.
fn step_of<F: Fn(usize) + Sync>(_loop: &Loop<F>) -> unsafe extern "C" fn(*mut c_void, usize) {
    step::<F>
}

unsafe extern "C" fn step<F: Fn(usize) + Sync>(arg: *mut c_void, i: usize) {
    // SAFETY: `arg` is the `Loop<F>` on the stack of `parallel_for`, which waits for this.
    let loop_ = unsafe { &*arg.cast::<Loop<F>>() };
    loop_.step(i);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;

    #[test]
    fn a_kernel_runs_on_lent_threads_and_its_panic_is_an_error() {
        let host = crate::testing::host();
        let sum = AtomicUsize::new(0);
        let made = host.lend_threads(|threads| {
            threads(5, &|i| {
                sum.fetch_add(i, Ordering::Relaxed);
            });
            "made"
        });
        assert_eq!(made.unwrap(), "made");
        assert_eq!(sum.into_inner(), 10);
        let failed = host.lend_threads(|threads| threads(3, &|i| assert!(i != 1, "one is odd")));
        assert!(failed.unwrap_err().to_string().contains("one is odd"));
    }
}
