//! A fusion that learns by gradients: its first parameters, a forward pass that leaves a tape, and the
//! way back over it. The engine owns the parameters and lends them.

use std::ffi::c_void;
use std::ptr;
use std::sync::Arc;

use loupe_plugin::abi::LoupeTrain;

use super::call::{CallVerb, Core, FUSE, Instance, Outputs, absent, collector, place};
use super::error::PluginError;
use super::info::ComponentInfo;
use super::lend::lend_state;
use super::sink::{Collector, bit};
use super::value::{State, Value};

/// What a forward pass left for the way back.
pub struct Tape {
    core: Arc<Core>,
    table: LoupeTrain,
    handle: *mut c_void,
}

// SAFETY: a plugin's tape is used by one thread at a time, as `backward` takes it whole.
unsafe impl Send for Tape {}

impl Instance {
    /// The parameters that training begins with; `inputs` are those of one run.
    /// Errors: as `run`; `Unsupported` for a component that does not learn by gradients.
    pub fn parameters(&self, inputs: &[(u32, Value)]) -> Result<State, PluginError> {
        let verb = CallVerb { word: "parameters", reads: FUSE, writes: &[] };
        let (core, info) = (&self.core, self.info());
        let table = self.train_table(verb.word)?;
        let Some(parameters) = table.parameters else {
            return Err(absent(place(info, verb.word)));
        };
        let takes = Collector { takes_state: true, ..collector(info, verb.word, verb.writes, 0) };
        let (_, state) = core.collect(takes, &verb, inputs, 0, |call, error| {
            // SAFETY: the instance is alive; call and error live through the call.
            unsafe { parameters(core.handle(), call, error) }
        })?;
        state.ok_or_else(|| no_state(info, verb.word, "parameters"))
    }

    /// As `run`, with these parameters. Errors: as `run`; `Unsupported`.
    pub fn forward(
        &self,
        parameters: &State,
        inputs: &[(u32, Value)],
        wanted: &[u32],
    ) -> Result<(Outputs, Tape), PluginError> {
        let verb = CallVerb { word: "forward", reads: FUSE, writes: FUSE };
        let core = &self.core;
        let table = self.train_table(verb.word)?;
        let Some(forward) = table.forward else {
            return Err(absent(place(self.info(), verb.word)));
        };
        let (mask, lent) = (core.mask(&verb, wanted)?, lend_state(parameters));
        let mut tape = Tape { core: Arc::clone(core), table, handle: ptr::null_mut() };
        let slot = &mut tape.handle;
        let outputs = core.call(&verb, inputs, mask, mask, |call, error| {
            // SAFETY: the instance is alive; all arguments live through the call.
            unsafe { forward(core.handle(), &lent, call, slot, error) }
        })?;
        Ok((outputs, tape))
    }

    fn train_table(&self, verb: &'static str) -> Result<LoupeTrain, PluginError> {
        self.core.component.train.ok_or_else(|| PluginError::Unsupported {
            at: place(self.info(), verb),
            message: "it does not learn by gradients (extension `loupe.train/1`)".to_owned(),
        })
    }
}

impl Tape {
    /// Cotangents by the numbers of output ports -> those of the `wanted` input ports, and the gradients
    /// of parameters. Errors: as `Instance::run`.
    pub fn backward(
        self,
        cotangents: &[(u32, Value)],
        wanted: &[u32],
    ) -> Result<(Outputs, State), PluginError> {
        let verb = CallVerb { word: "backward", reads: FUSE, writes: FUSE };
        let turned = turned(&self.core.component.info);
        let Some(backward) = self.table.backward else {
            return Err(absent(place(&turned, verb.word)));
        };
        let mask = wanted.iter().fold(0, |mask, port| mask | bit(*port));
        let takes =
            Collector { takes_state: true, ..collector(&turned, verb.word, verb.writes, mask) };
        let (outputs, state) =
            self.core.collect(takes, &verb, cotangents, mask, |call, error| {
                // SAFETY: the tape is open; call and error live through the call.
                unsafe { backward(self.handle, call, error) }
            })?;
        Ok((outputs, state.ok_or_else(|| no_state(&turned, verb.word, "gradients"))?))
    }
}

impl Drop for Tape {
    fn drop(&mut self) {
        // A null handle is a tape that was never made.
        if let Some(end) = self.table.tape_drop.filter(|_| !self.handle.is_null()) {
            // SAFETY: the tape is open and nothing uses it any more.
            self.core.end(|| unsafe { end(self.handle) });
        }
    }
}

/// The component with the sides of its ports changed: cotangents go in where values came out. One that is
/// left out is zero.
fn turned(info: &ComponentInfo) -> ComponentInfo {
    let mut turned = info.clone();
    for port in &mut turned.ports {
        port.output = !port.output;
        port.optional |= !port.output;
    }
    turned
}

fn no_state(info: &ComponentInfo, verb: &'static str, what: &str) -> PluginError {
    PluginError::Output { at: place(info, verb), message: format!("it put no {what}") }
}
