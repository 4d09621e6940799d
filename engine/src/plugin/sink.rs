//! Where a component puts what it made: owned, judged and copied at once.

use std::ffi::c_void;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};

use loupe_plugin::abi::{
    DLManagedTensorVersioned, LOUPE_ERROR, LOUPE_OK, LoupeLabel, LoupeSentence, LoupeSink,
    LoupeState, LoupeStr,
};

use super::info::{ComponentInfo, Port, ValueKind, Verb};
use super::raw::{Given, bytes_of, sentences_of, str_of};
use super::shape::{Bind, Bindings};
use super::value::{Sentence, State, Tensor, Value};
use crate::pipeline::model::Label;

/// What one call may put.
pub(super) struct Collector<'a> {
    pub info: &'a ComponentInfo,
    /// The verb's name, for messages.
    pub word: &'static str,
    pub writes: &'static [Verb],
    /// Bits of the output ports that somebody reads.
    pub wanted: u64,
    pub takes_state: bool,
    pub takes_json: bool,
    pub found: Mutex<Found>,
}

#[derive(Default)]
pub(super) struct Found {
    pub bindings: Bindings,
    pub tensors: Vec<(u32, Label, Tensor)>,
    pub texts: Vec<(u32, Vec<Sentence>)>,
    pub state: Option<State>,
    pub json: Option<serde_json::Value>,
    /// The first thing that was wrong.
    pub error: Option<String>,
}

impl Collector<'_> {
    pub fn sink(&self) -> LoupeSink {
        LoupeSink {
            size: size_of::<LoupeSink>() as u32,
            reserved: 0,
            ctx: std::ptr::from_ref(self).cast_mut().cast(),
            put_tensor: Some(put_tensor),
            put_text: Some(put_text),
            put_state: Some(put_state),
            put_json: Some(put_json),
        }
    }

    /// The values of the wanted ports, in the order of the ports.
    /// Errors: a wanted port got nothing, and is not one that a component may lack under its config.
    pub fn values(&self, found: &mut Found, required: u64) -> Result<Vec<(u32, Value)>, String> {
        let mut values = Vec::new();
        for port in &self.info.ports {
            if self.wanted & bit(port.index) == 0 {
                continue;
            }
            match value(port, found) {
                Some(value) => values.push((port.index, value)),
                None if port.optional || required & bit(port.index) == 0 => {}
                None => return Err(format!("it put nothing into port `{}`", port.name)),
            }
        }
        Ok(values)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Found> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `None`: an output that nobody reads.
    fn port(&self, index: u32) -> Result<Option<&Port>, String> {
        let ports = self.info.ports.iter();
        let mut ports = ports.filter(|port| port.output && self.writes.contains(&port.verb));
        match ports.find(|port| port.index == index) {
            Some(port) => Ok(Some(port).filter(|_| self.wanted & bit(index) != 0)),
            None => Err(format!("port {index} is no output of `{}`", self.word)),
        }
    }

    fn tensor(&self, index: u32, label: LoupeLabel, given: &Given) -> Result<(), String> {
        let Some(port) = self.port(index)? else { return Ok(()) };
        let label = label_of(label);
        let wrong = |why: String| format!("port `{}`{}: {why}", port.name, suffix(label));
        let shape = port.shape.as_deref().ok_or_else(|| wrong("it takes no tensor".to_owned()))?;
        let dims = given.dims().map_err(wrong)?;
        let listed = port.kinds.contains(&ValueKind::Tensors);
        {
            let mut found = self.lock();
            let bind = if listed { Bind::Check } else { Bind::Strict };
            // A stream's widths differ from tap to tap, so that its names bind nothing.
            let fitted = match port.verb {
                Verb::Tap => Bindings::default().fit(shape, &dims, bind),
                _ => found.bindings.fit(shape, &dims, bind),
            };
            fitted.map_err(|why| wrong(format!("it {why}")))?;
            if found.tensors.iter().any(|old| (old.0, old.1) == (index, label)) {
                return Err(wrong("it was given twice".to_owned()));
            }
            if !listed && found.tensors.iter().any(|old| old.0 == index) {
                return Err(wrong("it takes one tensor, but got a second".to_owned()));
            }
        }
        let tensor = given.read(dims).map_err(wrong)?;
        self.lock().tensors.push((index, label, tensor));
        Ok(())
    }

    fn text(&self, index: u32, read: Result<Vec<Sentence>, String>) -> Result<(), String> {
        let Some(port) = self.port(index)? else { return Ok(()) };
        let wrong = |why: String| format!("port `{}`: {why}", port.name);
        let takes = |kind: &ValueKind| matches!(kind, ValueKind::Text | ValueKind::EmbeddedText);
        if !port.kinds.iter().any(takes) {
            return Err(wrong("it takes no text".to_owned()));
        }
        let sentences = read.map_err(wrong)?;
        let mut found = self.lock();
        if found.texts.iter().any(|old| old.0 == index) {
            return Err(wrong("it was given twice".to_owned()));
        }
        found.texts.push((index, sentences));
        Ok(())
    }

    fn state(&self, read: Result<State, String>) -> Result<(), String> {
        if !self.takes_state {
            return Err(format!("`{}` makes no state", self.word));
        }
        let state = read.map_err(|why| format!("its state: {why}"))?;
        match self.lock().state.replace(state) {
            Some(_) => Err("it put two states".to_owned()),
            None => Ok(()),
        }
    }

    fn json(&self, read: Result<String, String>) -> Result<(), String> {
        if !self.takes_json {
            return Err(format!("`{}` puts no JSON", self.word));
        }
        let json: serde_json::Value = serde_json::from_str(&read?)
            .map_err(|error| format!("its JSON cannot be read: {error}"))?;
        if !json.is_object() {
            return Err("its JSON is no object".to_owned());
        }
        match self.lock().json.replace(json) {
            Some(_) => Err("it put its JSON twice".to_owned()),
            None => Ok(()),
        }
    }
}

/// A bit of the wanted mask.
pub(super) fn bit(port: u32) -> u64 {
    1_u64.checked_shl(port).unwrap_or(0)
}

/// Errors: bytes that cannot be read, or a schema that is not a text.
///
/// # Safety
/// `state` is null or has the text and bytes it says.
unsafe fn state_of(state: *const LoupeState) -> Result<State, String> {
    if state.is_null() {
        return Err("it is null".to_owned());
    }
    // SAFETY: the caller's promise.
    unsafe {
        let raw = state.read_unaligned();
        let (schema, bytes) = (str_of(raw.schema)?, Arc::new(bytes_of(raw.bytes)?));
        Ok(State { schema, revision: raw.revision, bytes })
    }
}

fn value(port: &Port, found: &mut Found) -> Option<Value> {
    let text = found.texts.iter().position(|text| text.0 == port.index);
    let text = text.map(|idx| Arc::new(found.texts.swap_remove(idx).1));
    let (mine, others) = found.tensors.drain(..).partition(|tensor| tensor.0 == port.index);
    found.tensors = others;
    let mut mine: Vec<(u32, Label, Tensor)> = mine;
    let takes = |kind: ValueKind| port.kinds.contains(&kind);
    match (text, mine.len()) {
        (Some(sentences), 1) if takes(ValueKind::EmbeddedText) => {
            mine.pop().map(|(_, _, embeddings)| Value::EmbeddedText { sentences, embeddings })
        }
        (Some(sentences), _) => Some(Value::Text(sentences)),
        (None, 0) => None,
        (None, 1) if !takes(ValueKind::Tensors) => mine.pop().map(|item| Value::Tensor(item.2)),
        (None, _) => Some(Value::Tensors(mine.into_iter().map(|item| (item.1, item.2)).collect())),
    }
}

fn label_of(label: LoupeLabel) -> Label {
    Label { size: u32::try_from(label.size).ok(), tap: u32::try_from(label.tap).ok() }
}

fn suffix(label: Label) -> String {
    match (label.size, label.tap) {
        (None, None) => String::new(),
        (Some(one), None) | (None, Some(one)) => format!(" @{one}"),
        (Some(size), Some(tap)) => format!(" @{size}.{tap}"),
    }
}

/// Takes something from a plugin; what is wrong with it is kept as the call's error, whatever the
/// plugin does next.
///
/// # Safety
/// `ctx` is the context of a sink whose call has not ended.
unsafe fn take(ctx: *mut c_void, work: impl FnOnce(&Collector<'_>) -> Result<(), String>) -> i32 {
    if ctx.is_null() {
        return LOUPE_ERROR;
    }
    // SAFETY: the caller's promise.
    let collector = unsafe { &*ctx.cast::<Collector<'_>>() };
    let panicked = || Err("the engine failed while it took a result".to_owned());
    match catch_unwind(AssertUnwindSafe(|| work(collector))).unwrap_or_else(|_| panicked()) {
        Ok(()) => LOUPE_OK,
        Err(message) => {
            collector.lock().error.get_or_insert(message);
            LOUPE_ERROR
        }
    }
}

unsafe extern "C" fn put_tensor(
    ctx: *mut c_void,
    port: u32,
    label: LoupeLabel,
    tensor: *mut DLManagedTensorVersioned,
) -> i32 {
    // SAFETY: the plugin gives the tensor up, whatever comes of it, and passes its call's context.
    unsafe {
        let given = Given::take(tensor);
        take(ctx, |collector| match &given {
            Ok(given) => collector.tensor(port, label, given),
            Err(why) => {
                let name = collector.info.ports.get(port as usize).map_or("?", |port| &port.name);
                Err(format!("port `{name}`{}: {why}", suffix(label_of(label))))
            }
        })
    }
}

unsafe extern "C" fn put_text(
    ctx: *mut c_void,
    port: u32,
    sentences: *const LoupeSentence,
    n_sentences: usize,
) -> i32 {
    // SAFETY: the plugin passes its call's context and sentences that live through the call.
    unsafe { take(ctx, |collector| collector.text(port, sentences_of(sentences, n_sentences))) }
}

unsafe extern "C" fn put_state(ctx: *mut c_void, state: *const LoupeState) -> i32 {
    // SAFETY: the plugin passes its call's context and a state that lives through the call.
    unsafe { take(ctx, |collector| collector.state(state_of(state))) }
}

unsafe extern "C" fn put_json(ctx: *mut c_void, json: LoupeStr) -> i32 {
    // SAFETY: the plugin passes its call's context and a text that lives through the call.
    unsafe { take(ctx, |collector| collector.json(str_of(json))) }
}
