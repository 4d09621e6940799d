//! Safe calls of a component: what goes in and what comes out is judged here, and a panic ends the
//! instance only.

use std::ffi::c_void;
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use loupe_plugin::abi::{
    LOUPE_BAD_CONFIG, LOUPE_BAD_INPUT, LOUPE_CANCELLED, LOUPE_ERROR, LOUPE_OK, LOUPE_PANIC,
    LOUPE_UNSUPPORTED, LoupeCall, LoupeError,
};

use super::descriptor::Component;
use super::error::{Place, PluginError};
use super::host::{HostServices, HostTable};
use super::info::{ComponentInfo, Facts, Kind, Verb};
use super::lend::{self, Lent};
use super::raw::{empty_error, lend_str, message_of};
use super::sink::{Collector, Found, bit};
use super::value::{Sentence, State, Tensor, Value};

/// A component made with a config. Calls of one that is not thread-safe wait for each other.
pub struct Instance {
    pub(super) core: Arc<Core>,
}

/// What a call gave: one value for each wanted output port, in the order of the ports.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outputs {
    pub values: Vec<(u32, Value)>,
}

impl Outputs {
    pub fn take(&mut self, port: u32) -> Option<Value> {
        let idx = self.values.iter().position(|value| value.0 == port)?;
        Some(self.values.remove(idx).1)
    }
}

impl Instance {
    /// Errors: `Config`, `Panic`, `Unsupported`, `Failed`, `Cancelled`.
    pub(super) fn create(
        component: Arc<Component>,
        config: &serde_json::Value,
        services: Arc<dyn HostServices>,
    ) -> Result<Self, PluginError> {
        let host = HostTable::new(services);
        let config = config.to_string();
        let place = |verb| place(&component.info, verb);
        let Some(create) = component.table.create else { return Err(absent(place("create"))) };
        let (mut handle, mut error) = (ptr::null_mut(), empty_error());
        // SAFETY: the arguments live through the call, the host for as long as the instance.
        let status = unsafe { create(&host.table, lend_str(&config), &mut handle, &mut error) };
        judge(status, &error, place("create"))?;
        Ok(Self { core: Core::new(component, host, handle) })
    }

    pub fn info(&self) -> &ComponentInfo {
        &self.core.component.info
    }

    /// Calls `encode_images`, `generate`, `score` or `fuse`. Inputs name ports by index, several
    /// times where a port takes many values.
    /// Errors: `Input` before the call, `Output` after it, the component's own, `Poisoned` after a
    /// panic.
    pub fn run(&self, inputs: &[(u32, Value)], wanted: &[u32]) -> Result<Outputs, PluginError> {
        let kind = self.info().kind;
        // A fusion that stands on taps is run once a tap, with the stream beside its other inputs.
        let ports = if kind == Kind::Fusion { FUSE } else { RUN };
        let verb = CallVerb { word: run_word(kind), reads: ports, writes: ports };
        let mask = self.core.mask(&verb, wanted)?;
        let Some(run) = self.core.component.verbs.run else {
            return Err(absent(place(self.info(), verb.word)));
        };
        let handle = self.core.handle();
        // SAFETY: the instance is alive; call and error live through the call.
        self.core.call(&verb, inputs, mask, mask, |call, error| unsafe { run(handle, call, error) })
    }

    /// Embeddings `[n, d]` of n sentences, by an encoder that takes text.
    /// Errors: as `run`; `Unsupported` for a component without a text tower.
    pub fn encode_text(&self, sentences: &[Sentence]) -> Result<Tensor, PluginError> {
        let verb = CallVerb { word: "encode_text", reads: TEXT, writes: TEXT };
        let at = || place(self.info(), verb.word);
        let port = |output: bool| {
            let mut ports = self.info().ports.iter();
            ports.find(|port| port.verb == Verb::EncodeText && port.output == output)
        };
        let encode = self.core.component.verbs.encode_text;
        let (Some(encode), Some(from), Some(to)) = (encode, port(false), port(true)) else {
            let message = "it takes no text".to_owned();
            return Err(PluginError::Unsupported { at: at(), message });
        };
        let inputs = [(from.index, Value::Text(Arc::new(sentences.to_vec())))];
        let (handle, mask) = (self.core.handle(), bit(to.index));
        // SAFETY: the instance is alive; call and error live through the call.
        let call = |call: *const _, error: *mut _| unsafe { encode(handle, call, error) };
        let mut outputs = self.core.call(&verb, &inputs, mask, mask, call)?;
        match outputs.take(to.index) {
            Some(Value::Tensor(tensor)) if tensor.shape().first() == Some(&sentences.len()) => {
                Ok(tensor)
            }
            other => {
                let (name, n) = (&to.name, sentences.len());
                let got = other.map_or(Vec::new(), |value| {
                    value.tensors().iter().map(|item| item.1.shape().to_vec()).collect()
                });
                let message =
                    format!("port `{name}` wants {n} rows for {n} sentences, got {got:?}");
                Err(PluginError::Output { at: at(), message })
            }
        }
    }
}

/// Judges a config without making an instance. Errors: as `create`, and `Output` for facts that
/// cannot be read.
pub(super) fn facts(
    component: &Component,
    config: &serde_json::Value,
    services: Arc<dyn HostServices>,
) -> Result<Facts, PluginError> {
    let Some(check) = component.table.check else { return Ok(Facts::default()) };
    let host = HostTable::new(services);
    let collector = Collector { takes_json: true, ..collector(&component.info, "check", &[], 0) };
    let (config, mut error) = (config.to_string(), empty_error());
    // SAFETY: all arguments live through the call.
    let status = unsafe { check(&host.table, lend_str(&config), &collector.sink(), &mut error) };
    let mut found = settle(&collector, status, &error)?;
    let all = found.json.take().unwrap_or_default();
    let wrong = |message: &str| PluginError::Output {
        at: place(&component.info, "check"),
        message: message.to_owned(),
    };
    let mut facts = Facts::default();
    if let Some(dims) = all.get("dims") {
        facts.dims = serde_json::from_value(dims.clone())
            .map_err(|_| wrong("its fact `dims` is not an object of sizes"))?;
    }
    if let Some(taps) = all.get("taps") {
        facts.taps = serde_json::from_value(taps.clone())
            .map_err(|_| wrong("its fact `taps` is not a list of numbers"))?;
    }
    facts.all = all;
    Ok(facts)
}

pub(super) const RUN: &[Verb] = &[Verb::Run];
pub(super) const FUSE: &[Verb] = &[Verb::Run, Verb::Tap];
const TEXT: &[Verb] = &[Verb::EncodeText];

/// A function of a component and the ports it works on.
pub(super) struct CallVerb {
    pub word: &'static str,
    pub reads: &'static [Verb],
    pub writes: &'static [Verb],
}

/// The instance itself, shared by its fits and sessions, which cannot outlive it.
pub(super) struct Core {
    pub component: Arc<Component>,
    pub host: Arc<HostTable>,
    /// Never changes. A plugin's instance may be used from any thread; `gate` keeps calls apart.
    handle: AtomicPtr<c_void>,
    /// Held through each call of a component that is not thread-safe.
    gate: Mutex<()>,
    /// The verb in which it panicked.
    panicked_in: Mutex<Option<&'static str>>,
}

impl Core {
    pub fn new(component: Arc<Component>, host: Arc<HostTable>, handle: *mut c_void) -> Arc<Self> {
        let (gate, panicked_in) = (Mutex::default(), Mutex::default());
        Arc::new(Self { component, host, handle: AtomicPtr::new(handle), gate, panicked_in })
    }

    pub fn handle(&self) -> *mut c_void {
        self.handle.load(Ordering::Relaxed)
    }

    /// The wanted ports as bits. Errors: `Input` for one that the verb does not write.
    pub fn mask(&self, verb: &CallVerb, ports: &[u32]) -> Result<u64, PluginError> {
        let info = &self.component.info;
        let is_written = |port: &u32| {
            let found = info.ports.get(*port as usize);
            found.is_some_and(|found| found.output && verb.writes.contains(&found.verb))
        };
        match ports.iter().find(|port| !is_written(port)) {
            None => Ok(ports.iter().fold(0, |mask, port| mask | bit(*port))),
            Some(port) => Err(PluginError::Input {
                at: place(info, verb.word),
                message: format!("port {port} is wanted, but is none of its outputs"),
            }),
        }
    }

    /// Checks and lends the inputs, calls, judges the status and what was put.
    pub fn call(
        &self,
        verb: &CallVerb,
        inputs: &[(u32, Value)],
        wanted: u64,
        required: u64,
        function: impl FnOnce(*const LoupeCall, *mut LoupeError) -> i32,
    ) -> Result<Outputs, PluginError> {
        let collector = collector(&self.component.info, verb.word, verb.writes, wanted);
        Ok(self.collect(collector, verb, inputs, required, function)?.0)
    }

    /// As `call`, into a collector of its own kind, whose ports count; beside the outputs, the state.
    pub fn collect(
        &self,
        collector: Collector<'_>,
        verb: &CallVerb,
        inputs: &[(u32, Value)],
        required: u64,
        function: impl FnOnce(*const LoupeCall, *mut LoupeError) -> i32,
    ) -> Result<(Outputs, Option<State>), PluginError> {
        let info = collector.info;
        let input_error = |message| PluginError::Input { at: place(info, verb.word), message };
        let inputs = lend::fold(info, inputs);
        let bindings = lend::check(info, verb.reads, &inputs).map_err(input_error)?;
        let lent = Lent::new(&inputs);
        let found = Mutex::new(Found { bindings, ..Found::default() });
        let collector = Collector { found, ..collector };
        let sink = collector.sink();
        let call = LoupeCall {
            size: size_of::<LoupeCall>() as u32,
            n_inputs: u32::try_from(lent.list().len()).unwrap_or(u32::MAX),
            inputs: lent.list().as_ptr(),
            wanted: collector.wanted,
            sink: &sink,
            stream: ptr::null_mut(),
        };
        let mut found = self.guarded(&collector, |error| function(&call, error))?;
        let values = collector.values(&mut found, required);
        let values = values
            .map_err(|message| PluginError::Output { at: place(info, verb.word), message })?;
        Ok((Outputs { values }, found.state))
    }

    /// Calls a function of the instance, one at a time if it must be, and none after a panic.
    pub fn guarded(
        &self,
        collector: &Collector<'_>,
        function: impl FnOnce(*mut LoupeError) -> i32,
    ) -> Result<Found, PluginError> {
        let mut error = empty_error();
        let status = {
            let serial = !self.component.info.thread_safe;
            let _gate = serial.then(|| self.gate.lock().unwrap_or_else(PoisonError::into_inner));
            if let Some(verb) = *self.panicked() {
                let at = place(&self.component.info, collector.word);
                return Err(PluginError::Poisoned { at, verb });
            }
            let status = function(&mut error);
            if status == LOUPE_PANIC {
                self.panicked().get_or_insert(collector.word);
            }
            status
        };
        settle(collector, status, &error)
    }

    /// Ends a fit or a session, which is due even after a panic.
    pub fn end(&self, function: impl FnOnce()) {
        let serial = !self.component.info.thread_safe;
        let _gate = serial.then(|| self.gate.lock().unwrap_or_else(PoisonError::into_inner));
        function();
    }

    fn panicked(&self) -> std::sync::MutexGuard<'_, Option<&'static str>> {
        self.panicked_in.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Core {
    fn drop(&mut self) {
        if let Some(destroy) = self.component.table.destroy {
            // SAFETY: the handle came from `create` or `load`, and nothing uses it any more.
            unsafe { destroy(self.handle()) }
        }
    }
}

/// A collector that takes only the outputs of `writes`.
pub(super) fn collector<'a>(
    info: &'a ComponentInfo,
    word: &'static str,
    writes: &'static [Verb],
    wanted: u64,
) -> Collector<'a> {
    let found = Mutex::default();
    Collector { info, word, writes, wanted, takes_state: false, takes_json: false, found }
}

/// The status first, then what was wrong with a result: a component that fails because the sink
/// refused it is to blame for the result.
pub(super) fn settle(
    collector: &Collector<'_>,
    status: i32,
    error: &LoupeError,
) -> Result<Found, PluginError> {
    let mut found = collector.found.lock().unwrap_or_else(PoisonError::into_inner);
    let mut found = std::mem::take(&mut *found);
    if status != LOUPE_PANIC
        && let Some(message) = found.error.take()
    {
        return Err(PluginError::Output { at: place(collector.info, collector.word), message });
    }
    judge(status, error, place(collector.info, collector.word)).map(|()| found)
}

pub(super) fn judge(status: i32, error: &LoupeError, at: Box<Place>) -> Result<(), PluginError> {
    let message = message_of(error);
    Err(match status {
        LOUPE_OK => return Ok(()),
        LOUPE_ERROR => PluginError::Failed { at, message },
        LOUPE_BAD_CONFIG => PluginError::Config { at, message },
        LOUPE_BAD_INPUT => PluginError::Input { at, message },
        LOUPE_PANIC => {
            let message = message.strip_prefix("panicked: ").unwrap_or(&message).to_owned();
            PluginError::Panic { at, message }
        }
        LOUPE_UNSUPPORTED => PluginError::Unsupported { at, message },
        LOUPE_CANCELLED => PluginError::Cancelled { at },
        other => PluginError::Failed { at, message: format!("unknown status {other}: {message}") },
    })
}

pub(super) fn place(info: &ComponentInfo, verb: &'static str) -> Box<Place> {
    let (plugin, component) = (info.plugin.clone(), info.name.clone());
    Box::new(Place { plugin, kind: info.kind, component, verb })
}

/// The loader refuses components without their functions, so that this is not met.
pub(super) fn absent(at: Box<Place>) -> PluginError {
    PluginError::Unsupported { at, message: "it has no such function".to_owned() }
}

pub(super) fn run_word(kind: Kind) -> &'static str {
    match kind {
        Kind::Encoder => "encode_images",
        Kind::Prompts => "generate",
        Kind::Scorer => "score",
        Kind::Fusion => "fuse",
    }
}
