//! Inputs of a call: judged against the ports, then lent for as long as the call lasts.

use std::marker::PhantomData;
use std::ptr;

use loupe_plugin::abi::{
    DL_CPU, DL_FLOAT, DLDataType, DLDevice, DLTensor, LOUPE_EMBEDDED_TEXT, LOUPE_STATE,
    LOUPE_TENSOR, LOUPE_TENSORS, LOUPE_TEXT, LoupeBytes, LoupeInput, LoupeLabel, LoupeSentence,
    LoupeState, LoupeTensor, LoupeValue,
};

use super::info::{ComponentInfo, Port, ValueKind, Verb};
use super::raw::lend_str;
use super::shape::{Bind, Bindings};
use super::value::{Device, Sentence, State, Tensor, Value};
use crate::pipeline::model::Label;

/// A list of tensors given alone to a port that takes many single ones stands for its tensors.
pub(super) fn fold(info: &ComponentInfo, inputs: &[(u32, Value)]) -> Vec<(u32, Value)> {
    let mut folded = Vec::with_capacity(inputs.len());
    for (index, value) in inputs {
        let port = info.ports.get(*index as usize);
        let folds = port.is_some_and(|port| port.many && !port.kinds.contains(&ValueKind::Tensors));
        match value {
            Value::Tensors(list) if folds => {
                folded.extend(list.iter().map(|item| (*index, Value::Tensor(item.1.clone()))));
            }
            value => folded.push((*index, value.clone())),
        }
    }
    folded
}

/// Sizes of the ports' dimensions in this call.
/// Errors: the first input that does not suit its port, or a port that was left out, in words.
pub(super) fn check(
    info: &ComponentInfo,
    reads: &[Verb],
    inputs: &[(u32, Value)],
) -> Result<Bindings, String> {
    let is_read = |port: &Port| !port.output && reads.contains(&port.verb);
    let mut bindings = Bindings::default();
    for (index, value) in inputs {
        let Some(port) = info.ports.get(*index as usize).filter(|port| is_read(port)) else {
            return Err(format!("port {index} is none of its inputs"));
        };
        suits(info, port, value).map_err(|why| format!("port `{}` {why}", port.name))?;
        let listed = port.many || matches!(value, Value::Tensors(_));
        let bind = if listed { Bind::Loose } else { Bind::Strict };
        for (_, tensor) in value.tensors() {
            let shape = port.shape.as_deref().unwrap_or("...");
            // A stream's widths differ from tap to tap, so that its names bind nothing.
            let fitted = match port.verb {
                Verb::Tap => Bindings::default().fit(shape, tensor.shape(), bind),
                _ => bindings.fit(shape, tensor.shape(), bind),
            };
            fitted.map_err(|why| format!("port `{}` {why}", port.name))?;
        }
    }
    for port in info.ports.iter().filter(|port| is_read(port)) {
        match inputs.iter().filter(|input| input.0 == port.index).count() {
            0 if !port.optional => return Err(format!("port `{}` was left out", port.name)),
            n if n > 1 && !port.many => {
                return Err(format!("port `{}` takes one value, but got {n}", port.name));
            }
            _ => {}
        }
    }
    Ok(bindings)
}

fn suits(info: &ComponentInfo, port: &Port, value: &Value) -> Result<(), String> {
    let kind = value.kind();
    if !port.kinds.contains(&kind) {
        let words: Vec<_> = port.kinds.iter().map(|kind| kind.word()).collect();
        return Err(format!("wants {}, but got {}", words.join(" or "), kind.word()));
    }
    for (_, tensor) in value.tensors() {
        if let Device::Cuda(_) = tensor.device() {
            let (device, takes) = (tensor.device(), info.devices.join(" or "));
            return Err(match info.devices.contains(&"cuda") {
                true => format!("was given a tensor on {device}, which this engine cannot lend"),
                false => format!(
                    "was given a tensor on {device}, but {} `{}` computes on {takes} only; \
                     copy it to the cpu first",
                    info.kind, info.name
                ),
            });
        }
        if !port.dtypes.contains(&"f32") {
            return Err(format!("takes {} only, but got f32", port.dtypes.join(" or ")));
        }
    }
    if let Value::EmbeddedText { sentences, embeddings } = value {
        let (n, shape) = (sentences.len(), embeddings.shape());
        if shape.first() != Some(&n) {
            return Err(format!("got {n} sentences with embeddings of shape {shape:?}"));
        }
    }
    Ok(())
}

/// Inputs in the boundary's layout. The lists own what their pointers lead to, beside the values
/// themselves.
pub(super) struct Lent<'a> {
    inputs: Vec<LoupeInput>,
    _lists: Vec<Lists>,
    _values: PhantomData<&'a [(u32, Value)]>,
}

#[derive(Default)]
struct Lists {
    shapes: Vec<Vec<i64>>,
    tensors: Vec<LoupeTensor>,
    sentences: Vec<LoupeSentence>,
    state: Option<Box<LoupeState>>,
}

impl<'a> Lent<'a> {
    /// `inputs` passed `check`, so that every tensor's numbers are here.
    pub fn new(inputs: &'a [(u32, Value)]) -> Self {
        let mut lent = Self { inputs: Vec::new(), _lists: Vec::new(), _values: PhantomData };
        for (port, value) in inputs {
            let lists = Lists::new(value);
            let value = lists.value(value.kind());
            lent.inputs.push(LoupeInput { port: *port, reserved: 0, value });
            lent._lists.push(lists);
        }
        lent
    }

    pub fn list(&self) -> &[LoupeInput] {
        &self.inputs
    }
}

impl Lists {
    fn new(value: &Value) -> Self {
        let mut lists = Self::default();
        let tensors = value.tensors();
        lists.shapes = tensors
            .iter()
            .map(|(_, tensor)| tensor.shape().iter().map(|dim| *dim as i64).collect())
            .collect();
        lists.tensors = tensors
            .iter()
            .zip(&mut lists.shapes)
            .map(|((label, tensor), shape)| lend_tensor(*label, tensor, shape))
            .collect();
        match value {
            Value::Text(sentences) | Value::EmbeddedText { sentences, .. } => {
                lists.sentences = sentences.iter().map(lend_sentence).collect();
            }
            Value::State(state) => lists.state = Some(Box::new(lend_state(state))),
            Value::Tensor(_) | Value::Tensors(_) => {}
        }
        lists
    }

    fn value(&self, kind: ValueKind) -> LoupeValue {
        LoupeValue {
            kind: match kind {
                ValueKind::Tensor => LOUPE_TENSOR,
                ValueKind::Tensors => LOUPE_TENSORS,
                ValueKind::Text => LOUPE_TEXT,
                ValueKind::EmbeddedText => LOUPE_EMBEDDED_TEXT,
                ValueKind::State => LOUPE_STATE,
            },
            reserved: 0,
            n_tensors: self.tensors.len(),
            tensors: non_empty(&self.tensors),
            n_sentences: self.sentences.len(),
            sentences: non_empty(&self.sentences),
            state: self.state.as_deref().map_or(ptr::null(), ptr::from_ref),
        }
    }
}

fn non_empty<T>(list: &[T]) -> *const T {
    if list.is_empty() { ptr::null() } else { list.as_ptr() }
}

fn lend_tensor(label: Label, tensor: &Tensor, shape: &mut [i64]) -> LoupeTensor {
    LoupeTensor {
        label: lend_label(label),
        dl: DLTensor {
            data: tensor.data().as_ptr().cast_mut().cast(),
            device: DLDevice { device_type: DL_CPU, device_id: 0 },
            ndim: shape.len() as i32,
            dtype: DLDataType { code: DL_FLOAT, bits: 32, lanes: 1 },
            shape: shape.as_mut_ptr(),
            strides: ptr::null_mut(),
            byte_offset: 0,
        },
    }
}

fn lend_label(label: Label) -> LoupeLabel {
    let number = |number: Option<u32>| number.and_then(|n| i32::try_from(n).ok()).unwrap_or(-1);
    LoupeLabel { size: number(label.size), tap: number(label.tap) }
}

fn lend_sentence(sentence: &Sentence) -> LoupeSentence {
    LoupeSentence {
        text: lend_str(&sentence.text),
        anomalous: i32::from(sentence.anomalous),
        weight: sentence.weight,
        source: lend_str(&sentence.source),
    }
}

pub(super) fn lend_state(state: &State) -> LoupeState {
    LoupeState {
        schema: lend_str(&state.schema),
        revision: state.revision,
        reserved: 0,
        bytes: LoupeBytes { data: state.bytes.as_ptr(), len: state.bytes.len() },
    }
}
