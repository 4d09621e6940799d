//! Memory that is either owned or borrowed from the host for the length of a call.
//!
//! The borrowed form carries no lifetime, so that `Tensor` needs none. This is sound because safe
//! code only ever gets references to borrowed buffers, as long as the call: it cannot move one out,
//! and a clone is a copy.

use std::ops::Deref;
use std::ptr::NonNull;

pub(crate) enum Buf<T> {
    Owned(Vec<T>),
    Borrowed(NonNull<T>, usize),
}

// SAFETY: a borrowed buffer is memory that nobody writes while it is borrowed, so it behaves as
// `&[T]`.
unsafe impl<T: Send + Sync> Send for Buf<T> {}
// SAFETY: as above; no interior mutability.
unsafe impl<T: Sync> Sync for Buf<T> {}

impl<T> Buf<T> {
    /// # Safety `data` is aligned and readable for `len` elements which nobody writes while the
    /// result lives, and the result is handed to others as a reference only.
    pub(crate) unsafe fn borrow(data: *const T, len: usize) -> Self {
        match NonNull::new(data.cast_mut()) {
            Some(data) if len > 0 => Buf::Borrowed(data, len),
            _ => Buf::Owned(Vec::new()),
        }
    }
}

impl<T> Deref for Buf<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        match self {
            Buf::Owned(values) => values,
            // SAFETY: promised by the caller of `borrow`.
            Buf::Borrowed(data, len) => unsafe { std::slice::from_raw_parts(data.as_ptr(), *len) },
        }
    }
}

impl<T: Clone> Clone for Buf<T> {
    fn clone(&self) -> Self {
        Buf::Owned(self.to_vec())
    }
}

impl<T: Clone> Buf<T> {
    pub(crate) fn into_vec(self) -> Vec<T> {
        match self {
            Buf::Owned(values) => values,
            Buf::Borrowed(..) => self.to_vec(),
        }
    }
}
