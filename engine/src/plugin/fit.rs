//! A component that learns something before it runs, and an instance with what was learned in it.

use std::ffi::c_void;
use std::ptr;
use std::sync::Arc;

use loupe_plugin::abi::LoupeFit;

use super::call::{CallVerb, Core, Instance, absent, collector, place};
use super::error::PluginError;
use super::info::Verb;
use super::lend::lend_state;
use super::sink::Collector;
use super::value::{State, Value};

const FIT: &[Verb] = &[Verb::Fit];

/// A fit in progress. Several of one instance may be open at once.
pub struct Fit {
    core: Arc<Core>,
    table: LoupeFit,
    handle: *mut c_void,
}

// SAFETY: a plugin's fit is used by one thread at a time, as `push` and `close` take it whole.
unsafe impl Send for Fit {}

impl Instance {
    /// Errors: `Unsupported` for a component that fits nothing, its own, `Poisoned`.
    pub fn fit(&self) -> Result<Fit, PluginError> {
        let (core, table) = (Arc::clone(&self.core), self.fit_table("fit_open")?);
        let Some(open) = table.fit_open else { return Err(absent(place(self.info(), "fit_open"))) };
        let mut handle = ptr::null_mut();
        let nothing = collector(self.info(), "fit_open", &[], 0);
        // SAFETY: the instance is alive; the handle and the error live through the call.
        core.guarded(&nothing, |error| unsafe { open(core.handle(), &mut handle, error) })?;
        Ok(Fit { core: Arc::clone(&core), table, handle })
    }

    /// A new instance with the state in it; this one stays usable.
    /// Errors: `Unsupported` for a component that fits nothing, its own, `Poisoned`.
    pub fn load(&self, state: &State) -> Result<Instance, PluginError> {
        let (core, table) = (&self.core, self.fit_table("load")?);
        let Some(load) = table.load else { return Err(absent(place(self.info(), "load"))) };
        let (mut handle, raw) = (ptr::null_mut(), lend_state(state));
        let nothing = collector(self.info(), "load", &[], 0);
        core.guarded(&nothing, |error| {
            // SAFETY: the instance is alive; the state, the handle and the error live through the
            // call.
            unsafe { load(core.handle(), &raw, &mut handle, error) }
        })?;
        let (component, host) = (Arc::clone(&core.component), Arc::clone(&core.host));
        Ok(Instance { core: Core::new(component, host, handle) })
    }

    fn fit_table(&self, verb: &'static str) -> Result<LoupeFit, PluginError> {
        self.core.component.fit.ok_or_else(|| PluginError::Unsupported {
            at: place(self.info(), verb),
            message: "it has nothing to fit".to_owned(),
        })
    }
}

impl Fit {
    /// Gives the fit more to learn from, in a stable order.
    /// Errors: as `Instance::run`.
    pub fn push(&mut self, inputs: &[(u32, Value)]) -> Result<(), PluginError> {
        let verb = CallVerb { word: "fit_push", reads: FIT, writes: &[] };
        let Some(push) = self.table.fit_push else {
            return Err(absent(place(&self.core.component.info, verb.word)));
        };
        let handle = self.handle;
        // SAFETY: the fit is open; call and error live through the call.
        let function = |call: *const _, error: *mut _| unsafe { push(handle, call, error) };
        self.core.call(&verb, inputs, 0, 0, function).map(|_| ())
    }

    /// Errors: the component's own; `Output` if it put no state.
    pub fn close(self) -> Result<State, PluginError> {
        let info = &self.core.component.info;
        let at = || place(info, "fit_close");
        let Some(close) = self.table.fit_close else { return Err(absent(at())) };
        let collector = Collector { takes_state: true, ..collector(info, "fit_close", &[], 0) };
        let sink = collector.sink();
        // SAFETY: the fit is open; sink and error live through the call.
        let function = |error: *mut _| unsafe { close(self.handle, &sink, error) };
        let found = self.core.guarded(&collector, function)?;
        let message = "it put no state".to_owned();
        found.state.ok_or_else(|| PluginError::Output { at: at(), message })
    }
}

impl Drop for Fit {
    fn drop(&mut self) {
        if let Some(end) = self.table.fit_drop {
            // SAFETY: the fit is open and nothing uses it any more.
            self.core.end(|| unsafe { end(self.handle) });
        }
    }
}
