//! Memory for packed numbers: on cache lines, and on huge pages where it is large.

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use super::tile::Shared;
use crate::parallel::ParallelFor;

const LINE: usize = 64;
const HUGE_PAGE: usize = 2 << 20;
/// Bytes that a task fills: they are still in the cache when they are written a second time.
const FILL: usize = 1 << 20;

/// Numbers that start as 0. A product reads megabytes of weights in order: with small pages the
/// translation of addresses takes a good part of its time.
pub(super) struct Buffer<T> {
    values: NonNull<T>,
    len: usize,
}

// SAFETY: it owns its values, as a `Vec` does.
unsafe impl<T: Send> Send for Buffer<T> {}
// SAFETY: as above.
unsafe impl<T: Sync> Sync for Buffer<T> {}

/// Numbers that any bits are one of, without padding.
pub(crate) trait Plain: Copy + Send + Sync + 'static {}

impl Plain for f32 {}
impl Plain for u16 {}
impl Plain for i8 {}

impl<T: Plain> Buffer<T> {
    pub(super) fn zeroed(len: usize) -> Self {
        Self::set(len, |bytes, n| {
            // SAFETY: as many bytes were given.
            unsafe { bytes.write_bytes(0, n) };
        })
    }

    /// Bytes that `fill` writes, piece by piece on these threads; what it leaves is 0. Errors: of `fill`.
    pub(super) fn filled(
        len: usize,
        par: ParallelFor,
        fill: impl Fn(usize, &mut [u8]) -> Result<(), String> + Sync,
    ) -> Result<Self, String> {
        let n_left = AtomicUsize::new((len * size_of::<T>()).div_ceil(FILL));
        let failed = Mutex::new(String::new());
        let buffer = Self::set(len, |bytes, n| {
            let to = Shared::of(bytes);
            par(n.div_ceil(FILL), &|task| {
                let at = task * FILL;
                // SAFETY: this task's piece of what was given, which is written before it is read.
                let piece = unsafe {
                    to.at(at).write_bytes(0, FILL.min(n - at));
                    std::slice::from_raw_parts_mut(to.at(at), FILL.min(n - at))
                };
                match fill(at, piece) {
                    Ok(()) => {
                        n_left.fetch_sub(1, Ordering::Relaxed);
                    }
                    Err(error) => {
                        *failed.lock().unwrap_or_else(PoisonError::into_inner) = error;
                    }
                }
            });
        });
        // Threads that give up halfway leave pieces that nobody wrote: nobody may read them either.
        match n_left.into_inner() {
            0 => Ok(buffer),
            _ => Err(failed.into_inner().unwrap_or_else(PoisonError::into_inner)),
        }
    }

    /// `write` is given the memory, and sets all of its bytes before somebody reads them.
    fn set(len: usize, write: impl FnOnce(NonNull<u8>, usize)) -> Self {
        let Some(layout) = layout::<T>(len) else {
            return Buffer { values: NonNull::dangling(), len: 0 };
        };
        // SAFETY: the layout is not empty.
        let Some(values) = NonNull::new(unsafe { alloc(layout) }) else {
            handle_alloc_error(layout);
        };
        advise(values, layout);
        write(values, layout.size());
        Buffer { values: values.cast(), len }
    }
}

/// The bytes of numbers, as they lie in memory.
pub(super) fn bytes_of<T: Plain>(values: &[T]) -> &[u8] {
    // SAFETY: a `Plain` number has no padding.
    unsafe { std::slice::from_raw_parts(values.as_ptr().cast(), size_of_val(values)) }
}

/// As `bytes_of`; any bytes are numbers.
pub(crate) fn bytes_of_mut<T: Plain>(values: &mut [T]) -> &mut [u8] {
    // SAFETY: a `Plain` number has no padding and may have any bits.
    unsafe { std::slice::from_raw_parts_mut(values.as_mut_ptr().cast(), size_of_val(values)) }
}

impl<T> Deref for Buffer<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        // SAFETY: `len` values were written, or there are none.
        unsafe { std::slice::from_raw_parts(self.values.as_ptr(), self.len) }
    }
}

impl<T> DerefMut for Buffer<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as above, and `self` is borrowed alone.
        unsafe { std::slice::from_raw_parts_mut(self.values.as_ptr(), self.len) }
    }
}

impl<T> Drop for Buffer<T> {
    fn drop(&mut self) {
        if let Some(layout) = layout::<T>(self.len) {
            // SAFETY: `zeroed` took it with this layout.
            unsafe { dealloc(self.values.as_ptr().cast(), layout) };
        }
    }
}

/// `None` if there is nothing to hold.
fn layout<T>(len: usize) -> Option<Layout> {
    let size = len.checked_mul(size_of::<T>()).filter(|size| *size > 0)?;
    let align = if size >= HUGE_PAGE { HUGE_PAGE } else { LINE };
    Layout::from_size_align(size, align).ok()
}

#[cfg(target_os = "linux")]
fn advise(values: NonNull<u8>, layout: Layout) {
    if layout.align() == HUGE_PAGE {
        // A system that refuses leaves small pages, which hold the same numbers.
        // SAFETY: the range is ours and starts on a page.
        unsafe { libc::madvise(values.as_ptr().cast(), layout.size(), libc::MADV_HUGEPAGE) };
    }
}

#[cfg(not(target_os = "linux"))]
fn advise(_: NonNull<u8>, _: Layout) {}
