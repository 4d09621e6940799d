//! No panic crosses the boundary: it is caught, and its message and place are kept.
//!
//! A plugin carries its own copy of the standard library, so the host's panic hook does not see its
//! panics. The hook set here records what it is told while a shim runs on the thread, and passes
//! all else on to the hook it found.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;

use crate::abi::{self, LoupeError};
use crate::error::{Error, Result};
use crate::glue::raw;

thread_local! {
    /// Shims that are running on this thread.
    static DEPTH: Cell<usize> = const { Cell::new(0) };
    static LAST: RefCell<Option<String>> = const { RefCell::new(None) };
}

static HOOK: Once = Once::new();

/// Runs `body`; a panic becomes `Error::Panic` with its message and place.
pub(crate) fn catch<T>(body: impl FnOnce() -> Result<T>) -> Result<T> {
    HOOK.call_once(install);
    DEPTH.set(DEPTH.get() + 1);
    // Whatever the body left half-done is not looked at again: instances are shared and immutable,
    // sessions dropped.
    let done = panic::catch_unwind(AssertUnwindSafe(body));
    DEPTH.set(DEPTH.get() - 1);
    done.unwrap_or_else(|payload| {
        let message = LAST.take().unwrap_or_else(|| payload_text(&*payload).to_owned());
        // Dropping a payload may panic again, so it is left alone.
        std::mem::forget(payload);
        Err(Error::Panic { message })
    })
}

/// A shim's body: its error goes into `error`, its status is returned.
///
/// # Safety
/// `error` is null or writable.
pub(crate) unsafe fn status(error: *mut LoupeError, body: impl FnOnce() -> Result<()>) -> i32 {
    match catch(body) {
        Ok(()) => abi::LOUPE_OK,
        Err(failure) => {
            // SAFETY: the caller's promise.
            unsafe { raw::write_error(error, &failure.to_string()) };
            failure.status()
        }
    }
}

fn install() {
    let previous = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        // `try_with`: a thread that is ending has no such variables any more.
        if DEPTH.try_with(Cell::get).unwrap_or(0) == 0 {
            return previous(info);
        }
        let text = payload_text(info.payload());
        let text = info.location().map_or(text.to_owned(), |at| format!("{text} (at {at})"));
        let _ = LAST.try_with(|last| last.replace(Some(text)));
    }));
}

fn payload_text(payload: &(dyn Any + Send)) -> &str {
    match payload.downcast_ref::<&str>() {
        Some(text) => text,
        None => payload.downcast_ref::<String>().map_or("without a message", String::as_str),
    }
}
