//! The values that are not tensors: labels, sentences, states, facts.

use std::fmt;

use serde_json::{Map, Value};

use crate::abi;
use crate::buf::Buf;
use crate::tensor::Tensor;

/// Which tensor of a list this is: the image size it was made at, the tap it was read from, or
/// both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Label {
    pub size: Option<u32>,
    pub tap: Option<u32>,
}

impl Label {
    pub const NONE: Label = Label { size: None, tap: None };

    pub fn size(size: u32) -> Self {
        Label { size: Some(size), tap: None }
    }

    pub fn tap(tap: u32) -> Self {
        Label { size: None, tap: Some(tap) }
    }

    pub(crate) fn from_abi(label: abi::LoupeLabel) -> Self {
        Label { size: u32::try_from(label.size).ok(), tap: u32::try_from(label.tap).ok() }
    }

    pub(crate) fn to_abi(self) -> abi::LoupeLabel {
        let raw = |part: Option<u32>| part.and_then(|part| i32::try_from(part).ok()).unwrap_or(-1);
        abi::LoupeLabel { size: raw(self.size), tap: raw(self.tap) }
    }
}

/// `@240`, `@6`, `@240.6`, or nothing.
impl fmt::Display for Label {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.size, self.tap) {
            (None, None) => Ok(()),
            (Some(one), None) | (None, Some(one)) => write!(out, "@{one}"),
            (Some(size), Some(tap)) => write!(out, "@{size}.{tap}"),
        }
    }
}

/// One sentence of a text.
#[derive(Clone, Debug, PartialEq)]
pub struct Sentence {
    pub text: String,
    pub anomalous: bool,
    pub weight: f32,
    /// Where it comes from: the name of a set, a cache, a file.
    pub source: String,
}

impl Sentence {
    pub fn new(text: impl Into<String>, anomalous: bool, source: impl Into<String>) -> Self {
        Sentence { text: text.into(), anomalous, weight: 1.0, source: source.into() }
    }
}

/// Sentences and their embeddings `[n, d]`, row by row.
#[derive(Clone, Copy, Debug)]
pub struct EmbeddedText<'a> {
    pub sentences: &'a [Sentence],
    pub embeddings: &'a Tensor,
}

/// What a fit learned: bytes that the same component reads again. `schema` and `revision` tell
/// their layout.
#[derive(Clone)]
pub struct State {
    pub schema: String,
    pub revision: u32,
    pub(crate) bytes: Buf<u8>,
}

impl State {
    pub fn new(schema: impl Into<String>, revision: u32, bytes: Vec<u8>) -> Self {
        State { schema: schema.into(), revision, bytes: Buf::Owned(bytes) }
    }

    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

impl fmt::Debug for State {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "State({}/{}, {} bytes)", self.schema, self.revision, self.bytes.len())
    }
}

/// What `check` says of a config: sizes of the dimensions that ports name, taps, and whatever a
/// kind asks for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Facts {
    dims: Map<String, Value>,
    taps: Vec<u32>,
    more: Map<String, Value>,
}

impl Facts {
    pub fn new() -> Self {
        Facts::default()
    }

    pub fn dim(mut self, name: &str, size: usize) -> Self {
        self.dims.insert(name.to_owned(), size.into());
        self
    }

    /// Where the encoder can be stepped, ascending.
    pub fn taps(mut self, taps: impl IntoIterator<Item = u32>) -> Self {
        self.taps = taps.into_iter().collect();
        self
    }

    pub fn fact(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.more.insert(name.to_owned(), value.into());
        self
    }

    /// What the products are rounded to, as the key `precision` names it: what `auto` became. Cache keys, reports and
    /// ceilings go by it.
    pub fn precision(self, name: &str) -> Self {
        self.fact("precision", name)
    }

    /// Under this config there is nothing to run with but what a fit learns from these ports: the
    /// engine refuses a stage that leaves one of them out. `instead` says how to do without a fit.
    pub fn learns(self, ports: &[&str], instead: &str) -> Self {
        self.fact("learns", serde_json::json!({ "from": ports, "instead": instead }))
    }

    pub(crate) fn to_json(&self) -> Value {
        let mut all = self.more.clone();
        if !self.dims.is_empty() {
            all.insert("dims".to_owned(), Value::Object(self.dims.clone()));
        }
        if !self.taps.is_empty() {
            all.insert("taps".to_owned(), self.taps.clone().into());
        }
        Value::Object(all)
    }
}
