//! Raw pieces of the boundary to and from Rust.

use std::ffi::c_char;

use crate::abi::{LoupeError, LoupeStr};
use crate::error::{Error, Result};

/// Room for a message in `LoupeError`.
const MESSAGE_BYTES: usize = size_of::<LoupeError>() - size_of::<u32>();

pub(crate) fn text(text: &str) -> LoupeStr {
    LoupeStr { data: text.as_ptr().cast::<c_char>(), len: text.len() }
}

/// # Safety
/// `data` is null or readable and unwritten for `len` elements while `'a` lasts.
pub(crate) unsafe fn slice<'a, T>(data: *const T, len: usize) -> Result<&'a [T]> {
    if len == 0 {
        return Ok(&[]);
    }
    if data.is_null() || !data.is_aligned() || len > isize::MAX as usize / size_of::<T>().max(1) {
        return Err(Error::input(format!("the host passed a bad pointer for {len} elements")));
    }
    // SAFETY: not null, aligned, of a possible size; readable by the caller's promise.
    Ok(unsafe { std::slice::from_raw_parts(data, len) })
}

/// # Safety
/// As `slice`.
pub(crate) unsafe fn str<'a>(text: LoupeStr) -> Result<&'a str> {
    // SAFETY: the caller's promise.
    let bytes = unsafe { slice(text.data.cast::<u8>(), text.len) }?;
    std::str::from_utf8(bytes).map_err(|_| Error::input("the host passed text that is not UTF-8"))
}

/// # Safety
/// `value` is null or points to a readable `T` that nobody writes while `'a` lasts.
pub(crate) unsafe fn reference<'a, T>(value: *const T, what: &str) -> Result<&'a T> {
    if value.is_null() || !value.is_aligned() {
        return Err(Error::input(format!("the host passed no {what}")));
    }
    // SAFETY: not null, aligned; readable by the caller's promise.
    Ok(unsafe { &*value })
}

/// The text of a message that somebody else wrote.
pub(crate) fn message(error: &LoupeError) -> String {
    let len = (error.len as usize).min(error.text.len());
    String::from_utf8_lossy(&error.text[..len]).into_owned()
}

/// Writes a message, cut at a character where it is too long.
///
/// # Safety
/// `out` is null or writable.
pub(crate) unsafe fn write_error(out: *mut LoupeError, message: &str) {
    if out.is_null() {
        return;
    }
    let fits = message.char_indices().map(|(at, letter)| at + letter.len_utf8());
    let len = fits.take_while(|end| *end <= MESSAGE_BYTES).last().unwrap_or(0);
    // SAFETY: not null, writable by the caller's promise, and `len` bytes fit. No reference is
    // made, because the caller need not have filled the memory.
    unsafe {
        std::ptr::copy_nonoverlapping(message.as_ptr(), (&raw mut (*out).text).cast::<u8>(), len);
        (&raw mut (*out).len).write(len as u32);
    }
}
