//! The shim of `loupe.prompts.tool/1`.

use crate::abi::{LoupeError, LoupeSink, LoupeStr, LoupeTool};
use crate::glue::sink::Sink;
use crate::glue::{guard, raw};
use crate::traits::Tool;

/// The extension's table for one type.
pub(crate) struct Table<T>(T);

impl<T: Tool> Table<T> {
    pub(crate) const TABLE: &'static LoupeTool =
        &LoupeTool { size: size_of::<LoupeTool>() as u32, reserved: 0, answer: Some(answer::<T>) };
}

unsafe extern "C" fn answer<T: Tool>(
    question: LoupeStr,
    sink: *const LoupeSink,
    error: *mut LoupeError,
) -> i32 {
    let body = || {
        // SAFETY: what the boundary promises of the arguments.
        let (sink, question) = unsafe { (Sink::new(sink)?, raw::str(question)?) };
        sink.put_json_text(&T::answer(question)?)
    };
    // SAFETY: `error` is null or writable.
    unsafe { guard::status(error, body) }
}
