//! The shims of `loupe.train/1`.

use std::ffi::c_void;
use std::sync::Arc;

use crate::abi::{LoupeCall, LoupeError, LoupeState, LoupeTrain};
use crate::error::Error;
use crate::glue::component::{Instance, checked_call};
use crate::glue::sink::Sink;
use crate::glue::{call, guard, raw};
use crate::outputs::Wanted;
use crate::port::{Port, Verb};
use crate::traits::Train;

/// The extension's table for one type.
pub(crate) struct Table<T>(T);

impl<T: Train> Table<T> {
    pub(crate) const TABLE: &'static LoupeTrain = &LoupeTrain {
        size: size_of::<LoupeTrain>() as u32,
        reserved: 0,
        parameters: Some(parameters::<T>),
        forward: Some(forward::<T>),
        backward: Some(backward::<T>),
        tape_drop: Some(tape_drop::<T>),
    };
}

/// A forward pass that can go back. It holds the component, so the instance may go first.
struct Open<T: Train> {
    component: Arc<T>,
    /// The component's ports with their sides changed.
    ports: Vec<Port>,
    /// `None` once it has gone back.
    tape: Option<T::Tape>,
}

unsafe extern "C" fn parameters<T: Train>(
    instance: *mut c_void,
    call: *const LoupeCall,
    error: *mut LoupeError,
) -> i32 {
    let body = || {
        // SAFETY: what the boundary promises of the arguments.
        unsafe {
            let (instance, call) = (Instance::<T>::of(instance)?, checked_call(call)?);
            let inputs = call::inputs(call, &instance.ports)?;
            Sink::new(call.sink)?.put_state(&instance.component.parameters(&inputs)?)
        }
    };
    // SAFETY: `error` is null or writable.
    unsafe { guard::status(error, body) }
}

unsafe extern "C" fn forward<T: Train>(
    instance: *mut c_void,
    parameters: *const LoupeState,
    call: *const LoupeCall,
    tape: *mut *mut c_void,
    error: *mut LoupeError,
) -> i32 {
    let body = || {
        call::not_null(tape.cast(), "place for the tape")?;
        // SAFETY: what the boundary promises of the arguments.
        let (instance, call, parameters) = unsafe {
            raw::reference(parameters, "parameters")?;
            (Instance::<T>::of(instance)?, checked_call(call)?, call::read_state(parameters)?)
        };
        // SAFETY: as above.
        let (inputs, sink) =
            unsafe { (call::inputs(call, &instance.ports)?, Sink::new(call.sink)?) };
        let wanted = Wanted { ports: &instance.ports, verb: Verb::Run, mask: call.wanted };
        let (outputs, made) = instance.component.forward(&parameters, &inputs, &wanted)?;
        sink.put_all(outputs, &wanted)?;
        let turned = |port: &Port| Port { output: !port.output, ..port.clone() };
        let open: Open<T> = Open {
            component: Arc::clone(&instance.component),
            ports: instance.ports.iter().map(turned).collect(),
            tape: Some(made),
        };
        // SAFETY: not null, writable.
        unsafe { *tape = Box::into_raw(Box::new(open)).cast() };
        Ok(())
    };
    // SAFETY: `error` is null or writable.
    unsafe { guard::status(error, body) }
}

unsafe extern "C" fn backward<T: Train>(
    tape: *mut c_void,
    call: *const LoupeCall,
    error: *mut LoupeError,
) -> i32 {
    let body = || {
        call::not_null(tape, "tape")?;
        // SAFETY: not null; it came from `forward` for the same `T`, and nobody else uses it now.
        let (open, call) = unsafe { (&mut *tape.cast::<Open<T>>(), checked_call(call)?) };
        let gone = || Error::failed("this tape has gone back already; run forward again");
        let made = open.tape.take().ok_or_else(gone)?;
        // SAFETY: what the boundary promises of the call.
        let (cotangents, sink) =
            unsafe { (call::inputs(call, &open.ports)?, Sink::new(call.sink)?) };
        let (outputs, gradients) = open.component.backward(made, &cotangents)?;
        let wanted = Wanted { ports: &open.ports, verb: Verb::Run, mask: call.wanted };
        sink.put_all(outputs, &wanted)?;
        sink.put_state(&gradients)
    };
    // SAFETY: `error` is null or writable.
    unsafe { guard::status(error, body) }
}

unsafe extern "C" fn tape_drop<T: Train>(tape: *mut c_void) {
    if !tape.is_null() {
        // A panic of the author's `drop` has nobody to be told to.
        let _ = guard::catch(|| {
            // SAFETY: it came from `forward` and the host drops once.
            drop(unsafe { Box::from_raw(tape.cast::<Open<T>>()) });
            Ok(())
        });
    }
}
