//! The shims of `loupe.fit/1`.

use std::ffi::c_void;
use std::sync::Arc;

use crate::abi::{LoupeCall, LoupeError, LoupeFit, LoupeSink, LoupeState};
use crate::error::{Error, Result};
use crate::glue::component::{Instance, checked_call};
use crate::glue::sink::Sink;
use crate::glue::{call, guard, raw};
use crate::port::Port;
use crate::traits::Fit;

/// The extension's table for one type.
pub(crate) struct Table<T>(T);

impl<T: Fit> Table<T> {
    pub(crate) const TABLE: &'static LoupeFit = &LoupeFit {
        size: size_of::<LoupeFit>() as u32,
        reserved: 0,
        fit_open: Some(open::<T>),
        fit_push: Some(push::<T>),
        fit_close: Some(close::<T>),
        fit_drop: Some(drop_fit::<T>),
        load: Some(load::<T>),
    };
}

/// An open fit. It holds the component, so the instance may go first.
struct Open<T: Fit> {
    component: Arc<T>,
    ports: Arc<[Port]>,
    /// `None` once closed or failed.
    session: Option<T::Session>,
}

/// # Safety
/// `fit` is null or came from `open` for the same `T`, and nobody else uses it now.
unsafe fn opened<'a, T: Fit>(fit: *mut c_void) -> Result<&'a mut Open<T>> {
    call::not_null(fit, "fit")?;
    // SAFETY: not null; the caller's promise.
    Ok(unsafe { &mut *fit.cast::<Open<T>>() })
}

fn ended() -> Error {
    Error::failed("this fit has been closed or has failed; open another")
}

unsafe extern "C" fn open<T: Fit>(
    instance: *mut c_void,
    fit: *mut *mut c_void,
    error: *mut LoupeError,
) -> i32 {
    let body = || {
        call::not_null(fit.cast(), "place for the fit")?;
        // SAFETY: what the boundary promises of the instance.
        let instance = unsafe { Instance::<T>::of(instance) }?;
        let session = Some(instance.component.fit_open()?);
        let (component, ports) = (instance.component.clone(), instance.ports.clone());
        let made: *mut Open<T> = Box::into_raw(Box::new(Open { component, ports, session }));
        // SAFETY: not null, writable.
        unsafe { *fit = made.cast() };
        Ok(())
    };
    // SAFETY: `error` is null or writable.
    unsafe { guard::status(error, body) }
}

unsafe extern "C" fn push<T: Fit>(
    fit: *mut c_void,
    call: *const LoupeCall,
    error: *mut LoupeError,
) -> i32 {
    let body = || {
        // SAFETY: what the boundary promises of the arguments.
        let (fit, call) = unsafe { (opened::<T>(fit)?, checked_call(call)?) };
        // Taken out while it is worked on: after an error or a panic it is gone.
        let mut session = fit.session.take().ok_or_else(ended)?;
        // SAFETY: as above.
        let inputs = unsafe { call::inputs(call, &fit.ports) }?;
        fit.component.fit_push(&mut session, &inputs)?;
        fit.session = Some(session);
        Ok(())
    };
    // SAFETY: `error` is null or writable.
    unsafe { guard::status(error, body) }
}

unsafe extern "C" fn close<T: Fit>(
    fit: *mut c_void,
    sink: *const LoupeSink,
    error: *mut LoupeError,
) -> i32 {
    let body = || {
        // SAFETY: what the boundary promises of the arguments.
        let (fit, sink) = unsafe { (opened::<T>(fit)?, Sink::new(sink)?) };
        let session = fit.session.take().ok_or_else(ended)?;
        sink.put_state(&fit.component.fit_close(session)?)
    };
    // SAFETY: `error` is null or writable.
    unsafe { guard::status(error, body) }
}

unsafe extern "C" fn drop_fit<T: Fit>(fit: *mut c_void) {
    if !fit.is_null() {
        // A panic of the author's `drop` has nobody to be told to.
        let _ = guard::catch(|| {
            // SAFETY: it came from `open` and the host drops once.
            drop(unsafe { Box::from_raw(fit.cast::<Open<T>>()) });
            Ok(())
        });
    }
}

unsafe extern "C" fn load<T: Fit>(
    instance: *mut c_void,
    state: *const LoupeState,
    loaded: *mut *mut c_void,
    error: *mut LoupeError,
) -> i32 {
    let body = || {
        call::not_null(loaded.cast(), "place for the instance")?;
        // SAFETY: what the boundary promises of the arguments.
        let (instance, state) = unsafe {
            raw::reference(state, "state")?;
            (Instance::<T>::of(instance)?, call::read_state(state)?)
        };
        let made = Instance::leak(instance.component.load(&state)?, instance.ports.clone());
        // SAFETY: not null, writable.
        unsafe { *loaded = made };
        Ok(())
    };
    // SAFETY: `error` is null or writable.
    unsafe { guard::status(error, body) }
}
