//! The shims of a component's own vtable: create, check, run, encode_text, destroy.

use std::ffi::{CStr, c_char, c_void};
use std::sync::Arc;

use crate::abi::{self, LoupeCall, LoupeError, LoupeHost, LoupeSink, LoupeStr};
use crate::error::{Error, Result};
use crate::export::Exported;
use crate::glue::kinds::Kind;
use crate::glue::sink::Sink;
use crate::glue::{call, guard, raw};
use crate::host::Host;
use crate::inputs::Inputs;
use crate::outputs::{Outputs, Wanted};
use crate::port::{Port, Verb};

/// What an instance pointer points to. Fits and sessions hold the component too, so it outlives
/// them.
pub(crate) struct Instance<T> {
    pub(crate) component: Arc<T>,
    pub(crate) ports: Arc<[Port]>,
}

impl<T> Instance<T> {
    pub(crate) fn leak(component: T, ports: Arc<[Port]>) -> *mut c_void {
        let instance = Instance { component: Arc::new(component), ports };
        Box::into_raw(Box::new(instance)).cast()
    }

    /// # Safety `instance` is null or came from `leak` for the same `T` and is not destroyed while
    /// the result lives.
    pub(crate) unsafe fn of<'a>(instance: *mut c_void) -> Result<&'a Self> {
        // SAFETY: the caller's promise.
        unsafe { raw::reference(instance.cast::<Instance<T>>(), "instance") }
    }
}

pub(crate) unsafe extern "C" fn create<K: Kind<T>, T: Exported>(
    host: *const LoupeHost,
    config: LoupeStr,
    instance: *mut *mut c_void,
    error: *mut LoupeError,
) -> i32 {
    let body = || {
        call::not_null(instance.cast(), "place for the instance")?;
        // SAFETY: what the boundary promises of the arguments of `create`.
        let host = unsafe { Host::from_raw(host) }?;
        // SAFETY: as above.
        let config = parse::<K, T>(unsafe { raw::str(config) }?)?;
        let made = Instance::leak(K::make(config, &host)?, K::ports().into());
        // SAFETY: not null, writable.
        unsafe { *instance = made };
        Ok(())
    };
    // SAFETY: `error` is null or writable.
    unsafe { guard::status(error, body) }
}

pub(crate) unsafe extern "C" fn check<K: Kind<T>, T: Exported>(
    host: *const LoupeHost,
    config: LoupeStr,
    sink: *const LoupeSink,
    error: *mut LoupeError,
) -> i32 {
    let body = || {
        // SAFETY: what the boundary promises of the arguments of `check`.
        let (host, sink) = unsafe { (Host::from_raw(host)?, Sink::new(sink)?) };
        // SAFETY: as above.
        let config = parse::<K, T>(unsafe { raw::str(config) }?)?;
        sink.put_json(&K::check(&config, &host)?.to_json())
    };
    // SAFETY: `error` is null or writable.
    unsafe { guard::status(error, body) }
}

pub(crate) unsafe extern "C" fn destroy<T: Exported>(instance: *mut c_void) {
    if !instance.is_null() {
        // A panic of the author's `drop` has nobody to be told to.
        let _ = guard::catch(|| {
            // SAFETY: it came from `leak` and the host destroys once.
            drop(unsafe { Box::from_raw(instance.cast::<Instance<T>>()) });
            Ok(())
        });
    }
}

pub(crate) unsafe extern "C" fn run<K: Kind<T>, T: Exported>(
    instance: *mut c_void,
    call: *const LoupeCall,
    error: *mut LoupeError,
) -> i32 {
    let body = || {
        // SAFETY: what the boundary promises of the arguments of a verb.
        unsafe {
            let instance = Instance::<T>::of(instance)?;
            verb(&instance.ports, Verb::Run, call, |inputs, wanted| {
                K::run(&instance.component, inputs, wanted)
            })
        }
    };
    // SAFETY: `error` is null or writable.
    unsafe { guard::status(error, body) }
}

pub(crate) unsafe extern "C" fn encode_text<K: Kind<T>, T: Exported>(
    instance: *mut c_void,
    call: *const LoupeCall,
    error: *mut LoupeError,
) -> i32 {
    let body = || {
        // SAFETY: what the boundary promises of the arguments of a verb.
        unsafe {
            let instance = Instance::<T>::of(instance)?;
            verb(&instance.ports, Verb::EncodeText, call, |inputs, _| {
                let text = inputs.sentences("text")?;
                let embeddings = K::encode_text(&instance.component, text)?;
                Ok(Outputs::one("text_embeddings", embeddings))
            })
        }
    };
    // SAFETY: `error` is null or writable.
    unsafe { guard::status(error, body) }
}

pub(crate) unsafe extern "C" fn get_extension<T: Exported>(id: *const c_char) -> *const c_void {
    if id.is_null() {
        return std::ptr::null();
    }
    // SAFETY: not null, ends in NUL.
    let id = unsafe { CStr::from_ptr(id) };
    match id.to_str() {
        Ok(abi::LOUPE_EXT_FIT) => address(T::FIT),
        Ok(abi::LOUPE_EXT_TAPS) => address(T::TAPS),
        Ok(abi::LOUPE_EXT_BACKWARD) => address(T::BACKWARD),
        Ok(abi::LOUPE_EXT_TRAIN) => address(T::TRAIN),
        Ok(abi::LOUPE_EXT_TOOL) => address(T::TOOL),
        _ => std::ptr::null(),
    }
}

fn address<T>(table: Option<&'static T>) -> *const c_void {
    table.map_or(std::ptr::null(), |table| std::ptr::from_ref(table).cast())
}

/// Reads a call, runs the verb on it and puts what it made.
///
/// # Safety
/// `call` is null or as the boundary says.
pub(crate) unsafe fn verb(
    ports: &[Port],
    verb: Verb,
    call: *const LoupeCall,
    body: impl FnOnce(&Inputs, &Wanted) -> Result<Outputs>,
) -> Result<()> {
    // SAFETY: the caller's promise.
    let (call, sink) = unsafe {
        let call = checked_call(call)?;
        (call, Sink::new(call.sink)?)
    };
    // SAFETY: the caller's promise.
    let inputs = unsafe { call::inputs(call, ports) }?;
    // A step of a pass has one output, the stream, and is never asked for without it.
    let mask = if verb == Verb::Tap { u64::MAX } else { call.wanted };
    let wanted = Wanted { ports, verb, mask };
    sink.put_all(body(&inputs, &wanted)?, &wanted)
}

/// # Safety
/// `call` is null or as the boundary says.
pub(crate) unsafe fn checked_call<'a>(call: *const LoupeCall) -> Result<&'a LoupeCall> {
    // SAFETY: the caller's promise.
    let call = unsafe { raw::reference(call, "call") }?;
    if (call.size as usize) < size_of::<LoupeCall>() {
        let want = format!("{} bytes", size_of::<LoupeCall>());
        return Err(Error::shape("the host's call", want, format!("{} bytes", call.size)));
    }
    Ok(call)
}

fn parse<K: Kind<T>, T: Exported>(config: &str) -> Result<K::Config> {
    let config = if config.trim().is_empty() { "{}" } else { config };
    serde_json::from_str(config).map_err(Error::config)
}
