//! The same checks for a component that another language made, from its descriptor alone.

use std::ffi::{CStr, CString, c_char};

use serde_json::Value;

use crate::abi::{self, LoupeComponent, LoupePort};
use crate::glue::raw;
use crate::port::{Port, Scope, Verb};
use crate::testing::{Subject, samples};

/// A component of a loaded library. Errors: what its descriptor lacks.
///
/// # Safety
/// `component` is as the boundary says and its library is never unloaded.
pub unsafe fn foreign(component: *const LoupeComponent, config: &str) -> Result<Subject, String> {
    // SAFETY: the caller's promise, here and below.
    let component: &'static LoupeComponent =
        unsafe { raw::reference(component, "component") }.map_err(|error| error.to_string())?;
    // SAFETY: the caller's promise.
    let ports = unsafe { raw::slice(component.ports, component.n_ports as usize) };
    let ports = ports.map_err(|error| error.to_string())?;
    // SAFETY: the caller's promise.
    let read = |port: &*const LoupePort| unsafe { read_port(*port) };
    let ports = ports.iter().map(read).collect::<Result<Vec<_>, String>>()?;
    let find = |id: &str| {
        let id = CString::new(id).ok()?;
        // SAFETY: `id` ends in NUL and lives through the call.
        Some(unsafe { component.get_extension?(id.as_ptr()) })
    };
    // SAFETY: what an id names has the type of the id, for as long as the library is there.
    let (fit, taps) = unsafe {
        let fit = find(abi::LOUPE_EXT_FIT).and_then(|table| table.cast::<abi::LoupeFit>().as_ref());
        (fit, find(abi::LOUPE_EXT_TAPS).and_then(|table| table.cast::<abi::LoupeTaps>().as_ref()))
    };
    // SAFETY: the caller's promise.
    let schema = unsafe { text(component.config_schema) };
    let schema: Value = serde_json::from_str(&schema).map_err(|error| error.to_string())?;
    let config = toml::from_str(config).map_err(|error| error.to_string())?;
    let (given, dims) = (Vec::new(), samples::Dims::new());
    Ok(Subject { component, fit, taps, ports, schema, config, given, dims })
}

/// # Safety
/// `port` is as the boundary says.
unsafe fn read_port(port: *const LoupePort) -> Result<Port, String> {
    // SAFETY: the caller's promise.
    let port = unsafe { raw::reference(port, "port") }.map_err(|error| error.to_string())?;
    let verb = match port.verb {
        abi::LOUPE_VERB_RUN => Verb::Run,
        abi::LOUPE_VERB_FIT => Verb::Fit,
        abi::LOUPE_VERB_ENCODE_TEXT => Verb::EncodeText,
        abi::LOUPE_VERB_TAP => Verb::Tap,
        other => return Err(format!("a port has the unknown verb {other}")),
    };
    let scope = match port.scope {
        abi::LOUPE_SCOPE_IMAGE => Scope::Image,
        abi::LOUPE_SCOPE_CLASS => Scope::Class,
        abi::LOUPE_SCOPE_RUN => Scope::Run,
        other => return Err(format!("a port has the unknown scope {other}")),
    };
    // SAFETY: the caller's promise.
    let (name, about, shape) = unsafe { (text(port.name), text(port.about), text(port.shape)) };
    Ok(Port {
        name,
        about,
        shape: if port.shape.is_null() { None } else { Some(shape) },
        verb,
        output: port.direction == abi::LOUPE_OUT,
        kind: port.kind,
        dtypes: port.dtype,
        scope,
        flags: port.flags,
    })
}

/// # Safety
/// `text` is null or ends in NUL.
unsafe fn text(text: *const c_char) -> String {
    match text.is_null() {
        true => String::new(),
        // SAFETY: not null; the caller's promise.
        false => unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned(),
    }
}
