//! An encoder stepped from tap to tap: between two steps the caller may rewrite the stream.

use std::ffi::c_void;
use std::ptr;
use std::sync::Arc;

use loupe_plugin::abi::LoupeTaps;

use super::call::{CallVerb, Core, Instance, Outputs, RUN, absent, place};
use super::error::PluginError;
use super::info::Verb;
use super::sink::bit;
use super::value::{Tensor, Value};

const TAP: &[Verb] = &[Verb::Tap];
const RUN_AND_TAP: &[Verb] = &[Verb::Run, Verb::Tap];
/// The port of verb `tap` that carries the trunk's stream.
const STREAM: &str = "stream";

/// A pass in progress.
pub struct Session {
    core: Arc<Core>,
    table: LoupeTaps,
    handle: *mut c_void,
}

// SAFETY: a plugin's session is used by one thread at a time, as `resume` and `finish` take it
// whole.
unsafe impl Send for Session {}

/// Where a stepped pass begins and what will be read at its end.
#[derive(Clone, Copy, Debug)]
pub struct Steps<'a> {
    /// Ascending.
    pub taps: &'a [u32],
    pub train: bool,
    /// Output ports of the encoder that are read after the last tap.
    pub wanted: &'a [u32],
}

impl Instance {
    /// Runs the images, given to the encoder's own ports, to the first tap: a session and the
    /// stream there, `[b, n_prefix + gh*gw, c]`.
    /// Errors: as `run`; `Unsupported` for a component without taps.
    pub fn taps_open(
        &self,
        steps: Steps<'_>,
        inputs: &[(u32, Value)],
    ) -> Result<(Session, Tensor), PluginError> {
        let table = self.taps_table("open")?;
        let Some(open) = table.open else { return Err(absent(place(self.info(), "open"))) };
        let verb = CallVerb { word: "open", reads: RUN, writes: RUN_AND_TAP };
        let (taps, train) = (numbers(steps.taps), i32::from(steps.train));
        let mut session = Session::new(&self.core, table);
        let (core, slot) = (&self.core, &mut session.handle);
        let stream = step(core, &verb, steps.wanted, inputs, |call, error| {
            // SAFETY: the instance is alive; all arguments live through the call.
            unsafe { open(core.handle(), taps.as_ptr(), taps.len(), train, call, slot, error) }
        })?;
        Ok((session, stream))
    }

    /// Opens at the first of the taps with the stream that an earlier pass gave there.
    /// Errors: as `taps_open`.
    pub fn taps_open_at(
        &self,
        steps: Steps<'_>,
        inputs: &[(u32, Value)],
        stream: Tensor,
    ) -> Result<Session, PluginError> {
        let table = self.taps_table("open_at")?;
        let Some(open) = table.open_at else { return Err(absent(place(self.info(), "open_at"))) };
        let verb = CallVerb { word: "open_at", reads: RUN_AND_TAP, writes: RUN_AND_TAP };
        let mut inputs = inputs.to_vec();
        inputs.push((stream_port(&self.core, false, verb.word)?, Value::Tensor(stream)));
        let (taps, train) = (numbers(steps.taps), i32::from(steps.train));
        let mut session = Session::new(&self.core, table);
        let (core, slot) = (&self.core, &mut session.handle);
        core.call(&verb, &inputs, core.mask(&verb, steps.wanted)?, 0, |call, error| {
            // SAFETY: the instance is alive; all arguments live through the call.
            unsafe { open(core.handle(), taps.as_ptr(), taps.len(), train, call, slot, error) }
        })?;
        Ok(session)
    }

    fn taps_table(&self, verb: &'static str) -> Result<LoupeTaps, PluginError> {
        self.core.component.taps.ok_or_else(|| PluginError::Unsupported {
            at: place(self.info(), verb),
            message: "it cannot be stepped from tap to tap".to_owned(),
        })
    }
}

impl Session {
    fn new(core: &Arc<Core>, table: LoupeTaps) -> Self {
        Self { core: Arc::clone(core), table, handle: ptr::null_mut() }
    }

    /// Takes the stream of the current tap and gives that of the next.
    /// Errors: as `Instance::run`.
    pub fn resume(&mut self, stream: Tensor) -> Result<Tensor, PluginError> {
        let verb = CallVerb { word: "resume", reads: TAP, writes: TAP };
        let core = &self.core;
        let Some(resume) = self.table.resume else {
            return Err(absent(place(&core.component.info, verb.word)));
        };
        let inputs = [(stream_port(core, false, verb.word)?, Value::Tensor(stream))];
        step(core, &verb, &[], &inputs, |call, error| {
            // SAFETY: the session is open; call and error live through the call.
            unsafe { resume(self.handle, call, error) }
        })
    }

    /// The cotangent of the stream that `resume` number `segment` (from 0) gave -> of the stream it took.
    /// The session was opened with `train`. Errors: as `Instance::run`; `Unsupported`.
    pub fn backward(&mut self, segment: usize, cotangent: Tensor) -> Result<Tensor, PluginError> {
        let verb = CallVerb { word: "backward", reads: TAP, writes: TAP };
        let core = &self.core;
        let Some(backward) = core.component.backward.and_then(|table| table.backward) else {
            return Err(PluginError::Unsupported {
                at: place(&core.component.info, verb.word),
                message: "it cannot be walked back, so nothing between its taps can be trained"
                    .to_owned(),
            });
        };
        let inputs = [(stream_port(core, false, verb.word)?, Value::Tensor(cotangent))];
        let segment = u32::try_from(segment).unwrap_or(u32::MAX);
        step(core, &verb, &[], &inputs, |call, error| {
            // SAFETY: the session is open; call and error live through the call.
            unsafe { backward(self.handle, segment, call, error) }
        })
    }

    /// Takes the stream of the last tap and gives the encoder's wanted outputs.
    /// Errors: as `Instance::run`.
    pub fn finish(self, stream: Tensor, wanted: &[u32]) -> Result<Outputs, PluginError> {
        let verb = CallVerb { word: "finish", reads: TAP, writes: RUN };
        let core = &self.core;
        let Some(finish) = self.table.finish else {
            return Err(absent(place(&core.component.info, verb.word)));
        };
        let inputs = [(stream_port(core, false, verb.word)?, Value::Tensor(stream))];
        let mask = core.mask(&verb, wanted)?;
        core.call(&verb, &inputs, mask, mask, |call, error| {
            // SAFETY: the session is open; call and error live through the call.
            unsafe { finish(self.handle, call, error) }
        })
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // A null handle is a session that was never opened.
        if let Some(end) = self.table.drop.filter(|_| !self.handle.is_null()) {
            // SAFETY: the session is open and nothing uses it any more.
            self.core.end(|| unsafe { end(self.handle) });
        }
    }
}

/// One step: only the stream must come of it; outputs that will be wanted at the end are announced.
fn step(
    core: &Core,
    verb: &CallVerb,
    wanted: &[u32],
    inputs: &[(u32, Value)],
    function: impl FnOnce(
        *const loupe_plugin::abi::LoupeCall,
        *mut loupe_plugin::abi::LoupeError,
    ) -> i32,
) -> Result<Tensor, PluginError> {
    let port = stream_port(core, true, verb.word)?;
    let wanted = core.mask(verb, wanted)? | bit(port);
    let mut outputs = core.call(verb, inputs, wanted, bit(port), function)?;
    match outputs.take(port) {
        Some(Value::Tensor(stream)) => Ok(stream),
        _ => Err(PluginError::Output {
            at: place(&core.component.info, verb.word),
            message: format!("port `{STREAM}` wants one tensor"),
        }),
    }
}

fn stream_port(core: &Core, output: bool, verb: &'static str) -> Result<u32, PluginError> {
    let info = &core.component.info;
    let mut ports = info.ports.iter();
    let port =
        ports.find(|port| port.verb == Verb::Tap && port.output == output && port.name == STREAM);
    port.map(|port| port.index).ok_or_else(|| PluginError::Unsupported {
        at: place(info, verb),
        message: format!("it has no port `{STREAM}` for a tap's stream"),
    })
}

fn numbers(taps: &[u32]) -> Vec<i32> {
    taps.iter().map(|tap| i32::try_from(*tap).unwrap_or(i32::MAX)).collect()
}
