//! Memory that a thread keeps between calls: a fresh one would be paged in each time.

use std::cell::Cell;

use super::buffer::{Buffer, Plain};

thread_local! {
    static FREE: Cell<Option<Buffer<f32>>> = const { Cell::new(None) };
}

/// A thread's scratch, given back when dropped. Its values are what the last user left.
pub(super) struct Kept {
    buffer: Option<Buffer<f32>>,
    len: usize,
}

impl Kept {
    pub(super) fn take(len: usize) -> Self {
        let free = FREE.take().filter(|free| free.len() >= len);
        Kept { buffer: Some(free.unwrap_or_else(|| Buffer::zeroed(len))), len }
    }

    pub(super) fn values(&mut self) -> &mut [f32] {
        match &mut self.buffer {
            Some(buffer) => &mut buffer[..self.len],
            None => &mut [],
        }
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        FREE.set(self.buffer.take());
    }
}

/// f32 values that `carve` takes for `len` elements: whole cache lines, so that what follows starts on
/// one.
pub(super) fn lines_of<E>(len: usize) -> usize {
    (len * size_of::<E>()).div_ceil(size_of::<f32>()).next_multiple_of(16)
}

/// `len` elements from the front of `free`, and the rest.
pub(super) fn carve<E: Plain>(free: &mut [f32], len: usize) -> (&mut [E], &mut [f32]) {
    const { assert!(align_of::<E>() <= align_of::<f32>()) };
    let (front, rest) = free.split_at_mut(lines_of::<E>(len));
    // SAFETY: `front` holds as many bytes, aligned as f32 are, and any bits are a `Plain` number.
    (unsafe { std::slice::from_raw_parts_mut(front.as_mut_ptr().cast(), len) }, rest)
}
