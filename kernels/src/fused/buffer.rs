//! Memory for packed numbers: on cache lines, and on huge pages where it is large.

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

const LINE: usize = 64;
const HUGE_PAGE: usize = 2 << 20;

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

/// Numbers that any bits are one of.
pub(super) trait Plain: Copy + Send + Sync + 'static {}

impl Plain for f32 {}
impl Plain for u16 {}

impl<T: Plain> Buffer<T> {
    pub(super) fn zeroed(len: usize) -> Self {
        let Some(layout) = layout::<T>(len) else {
            return Buffer { values: NonNull::dangling(), len: 0 };
        };
        // SAFETY: the layout is not empty.
        let Some(values) = NonNull::new(unsafe { alloc(layout) }) else {
            handle_alloc_error(layout);
        };
        advise(values, layout);
        // SAFETY: as many bytes were given, and a `Plain` number may be all zero bits.
        unsafe { values.write_bytes(0, layout.size()) };
        Buffer { values: values.cast(), len }
    }
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
