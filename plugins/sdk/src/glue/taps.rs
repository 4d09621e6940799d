//! The shims of `loupe.taps/1` and `loupe.taps.backward/1`.

use std::ffi::c_void;
use std::sync::Arc;

use crate::abi::{LoupeBackward, LoupeCall, LoupeError, LoupeTaps};
use crate::error::{Error, Result};
use crate::glue::component::{Instance, verb};
use crate::glue::{call, guard, raw};
use crate::inputs::Inputs;
use crate::outputs::{Outputs, Wanted};
use crate::port::{Port, Verb};
use crate::traits::{Backward, Taps};

/// The extension's table for one type.
pub(crate) struct Table<T>(T);

impl<T: Taps> Table<T> {
    pub(crate) const TABLE: &'static LoupeTaps = &LoupeTaps {
        size: size_of::<LoupeTaps>() as u32,
        reserved: 0,
        open: Some(open::<T>),
        open_at: Some(open_at::<T>),
        resume: Some(resume::<T>),
        finish: Some(finish::<T>),
        drop: Some(drop_session::<T>),
    };
}

impl<T: Backward> Table<T> {
    pub(crate) const BACKWARD: &'static LoupeBackward = &LoupeBackward {
        size: size_of::<LoupeBackward>() as u32,
        reserved: 0,
        backward: Some(backward::<T>),
    };
}

/// A pass that stands at a tap. It holds the component, so the instance may go first.
struct Open<T: Taps> {
    component: Arc<T>,
    ports: Arc<[Port]>,
    /// `None` once finished or failed.
    session: Option<T::Session>,
}

unsafe extern "C" fn open<T: Taps>(
    instance: *mut c_void,
    taps: *const i32,
    n_taps: usize,
    train: i32,
    call: *const LoupeCall,
    session: *mut *mut c_void,
    error: *mut LoupeError,
) -> i32 {
    let body = || {
        // SAFETY: what the boundary promises of the arguments.
        unsafe {
            begin::<T>(instance, taps, n_taps, call, session, |encoder, taps, inputs| {
                let image = inputs.tensor("image")?;
                let (session, stream) = encoder.open(taps, train != 0, image)?;
                Ok((session, Outputs::one("stream", stream)))
            })
        }
    };
    // SAFETY: `error` is null or writable.
    unsafe { guard::status(error, body) }
}

unsafe extern "C" fn open_at<T: Taps>(
    instance: *mut c_void,
    taps: *const i32,
    n_taps: usize,
    train: i32,
    call: *const LoupeCall,
    session: *mut *mut c_void,
    error: *mut LoupeError,
) -> i32 {
    let body = || {
        // SAFETY: what the boundary promises of the arguments.
        unsafe {
            begin::<T>(instance, taps, n_taps, call, session, |encoder, taps, inputs| {
                let (image, stream) = (inputs.tensor("image")?, inputs.tensor("stream")?);
                let session = encoder.open_at(taps, train != 0, image, stream)?;
                Ok((session, Outputs::new()))
            })
        }
    };
    // SAFETY: `error` is null or writable.
    unsafe { guard::status(error, body) }
}

/// # Safety
/// The arguments are as the boundary says.
unsafe fn begin<T: Taps>(
    instance: *mut c_void,
    taps: *const i32,
    n_taps: usize,
    call: *const LoupeCall,
    out: *mut *mut c_void,
    start: impl FnOnce(&T, &[u32], &Inputs) -> Result<(T::Session, Outputs)>,
) -> Result<()> {
    call::not_null(out.cast(), "place for the session")?;
    // SAFETY: the caller's promise.
    let (instance, taps) = unsafe { (Instance::<T>::of(instance)?, raw::slice(taps, n_taps)?) };
    let taps: Vec<u32> = taps.iter().filter_map(|tap| u32::try_from(*tap).ok()).collect();
    if taps.len() != n_taps || taps.is_empty() || !taps.is_sorted_by(|a, b| a < b) {
        return Err(Error::shape(
            "taps",
            "at least one, ascending, none negative",
            format!("{taps:?}"),
        ));
    }
    let mut session = None;
    // SAFETY: the caller's promise.
    unsafe {
        verb(&instance.ports, Verb::Tap, call, |inputs, _| {
            let (started, outputs) = start(&instance.component, &taps, inputs)?;
            session = Some(started);
            Ok(outputs)
        })?;
    }
    let (component, ports) = (instance.component.clone(), instance.ports.clone());
    let made: *mut Open<T> = Box::into_raw(Box::new(Open { component, ports, session }));
    // SAFETY: not null, writable.
    unsafe { *out = made.cast() };
    Ok(())
}

unsafe extern "C" fn resume<T: Taps>(
    session: *mut c_void,
    call: *const LoupeCall,
    error: *mut LoupeError,
) -> i32 {
    let body = || {
        // SAFETY: what the boundary promises of the arguments.
        unsafe {
            step::<T>(session, call, Verb::Tap, |open, mut session, inputs, _| {
                let stream = open.component.resume(&mut session, inputs.tensor("stream")?)?;
                open.session = Some(session);
                Ok(Outputs::one("stream", stream))
            })
        }
    };
    // SAFETY: `error` is null or writable.
    unsafe { guard::status(error, body) }
}

unsafe extern "C" fn backward<T: Backward>(
    session: *mut c_void,
    segment: u32,
    call: *const LoupeCall,
    error: *mut LoupeError,
) -> i32 {
    let body = || {
        // SAFETY: what the boundary promises of the arguments.
        unsafe {
            step::<T>(session, call, Verb::Tap, |open, mut session, inputs, _| {
                let cotangent = inputs.tensor("stream")?;
                let stream = open.component.backward(&mut session, segment as usize, cotangent)?;
                open.session = Some(session);
                Ok(Outputs::one("stream", stream))
            })
        }
    };
    // SAFETY: `error` is null or writable.
    unsafe { guard::status(error, body) }
}

unsafe extern "C" fn finish<T: Taps>(
    session: *mut c_void,
    call: *const LoupeCall,
    error: *mut LoupeError,
) -> i32 {
    let body = || {
        // SAFETY: what the boundary promises of the arguments.
        unsafe {
            step::<T>(session, call, Verb::Run, |open, session, inputs, wanted| {
                open.component.finish(session, inputs.tensor("stream")?, wanted)
            })
        }
    };
    // SAFETY: `error` is null or writable.
    unsafe { guard::status(error, body) }
}

/// # Safety
/// The arguments are as the boundary says.
unsafe fn step<T: Taps>(
    session: *mut c_void,
    call: *const LoupeCall,
    outputs_of: Verb,
    body: impl FnOnce(&mut Open<T>, T::Session, &Inputs, &Wanted) -> Result<Outputs>,
) -> Result<()> {
    call::not_null(session, "session")?;
    // SAFETY: not null; it came from `begin` for the same `T`, and nobody else uses it now.
    let open = unsafe { &mut *session.cast::<Open<T>>() };
    // Taken out while it is worked on: after an error or a panic it is gone.
    let session = open
        .session
        .take()
        .ok_or_else(|| Error::failed("this pass has been finished or has failed; open another"))?;
    let ports = open.ports.clone();
    // SAFETY: the caller's promise.
    unsafe { verb(&ports, outputs_of, call, |inputs, wanted| body(open, session, inputs, wanted)) }
}

unsafe extern "C" fn drop_session<T: Taps>(session: *mut c_void) {
    if !session.is_null() {
        // A panic of the author's `drop` has nobody to be told to.
        let _ = guard::catch(|| {
            // SAFETY: it came from `begin` and the host drops once.
            drop(unsafe { Box::from_raw(session.cast::<Open<T>>()) });
            Ok(())
        });
    }
}
