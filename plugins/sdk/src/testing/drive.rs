//! Calling a component as a host does: through its vtable and nothing else.

use std::ffi::c_void;
use std::ptr;

use serde_json::Value;

use crate::abi::{
    self, DLManagedTensorVersioned, DLTensor, LoupeCall, LoupeComponent, LoupeError, LoupeInput,
    LoupeLabel, LoupeSentence, LoupeSink, LoupeState, LoupeStr, LoupeTensor, LoupeValue,
};
use crate::glue::{call, raw, sink};
use crate::tensor::Tensor;
use crate::testing::host::TestHost;
use crate::values::{Sentence, State};

/// A value for an input.
#[derive(Clone, Debug)]
pub(crate) enum Given {
    Tensor(Tensor),
    Tensors(Vec<Tensor>),
    Text(Vec<Sentence>),
    Embedded(Vec<Sentence>, Tensor),
}

/// What a component answered instead of doing what it was asked.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: i32,
    pub(crate) message: String,
}

/// Status and message of one call into the plugin.
pub(crate) fn answered(made: impl FnOnce(*mut LoupeError) -> i32) -> Result<(), Answer> {
    let mut error = LoupeError { len: 0, text: [0; 1020] };
    match made(&mut error) {
        abi::LOUPE_OK => Ok(()),
        status => Err(Answer { status, message: raw::message(&error) }),
    }
}

/// A living instance.
pub(crate) struct Live {
    pub(crate) component: &'static LoupeComponent,
    pub(crate) raw: *mut c_void,
}

impl Live {
    pub(crate) fn create(
        component: &'static LoupeComponent,
        config: &Value,
        host: &TestHost,
    ) -> Result<Self, Answer> {
        let create = component.create.ok_or_else(|| absent("create"))?;
        let (text, mut made) = (config.to_string(), ptr::null_mut());
        // SAFETY: all arguments live through the call.
        answered(|error| unsafe { create(host.raw(), raw::text(&text), &mut made, error) })?;
        Ok(Live { component, raw: made })
    }

    /// Runs a verb of the vtable on inputs by port index.
    pub(crate) fn verb(
        &self,
        encode_text: bool,
        inputs: &[(u32, Given)],
        wanted: u64,
    ) -> Result<Made, Answer> {
        // SAFETY: a described component's table lives for ever.
        let verbs = unsafe { self.component.verbs.as_ref() }.ok_or_else(|| absent("verbs"))?;
        let verb = if encode_text { verbs.encode_text } else { verbs.run };
        let verb = verb.ok_or_else(|| absent("the verb"))?;
        // SAFETY: the instance is alive, and `with_call` passes a whole call.
        with_call(inputs, wanted, |call, error| unsafe { verb(self.raw, call, error) })
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        if let Some(destroy) = self.component.destroy {
            // SAFETY: made by `create` or `load`, and destroyed once.
            unsafe { destroy(self.raw) };
        }
    }
}

/// A state as a call takes it, which must not outlive it.
pub(crate) fn lend(state: &State) -> LoupeState {
    LoupeState {
        schema: raw::text(&state.schema),
        revision: state.revision,
        reserved: 0,
        bytes: abi::LoupeBytes { data: state.bytes().as_ptr(), len: state.bytes().len() },
    }
}

pub(crate) fn absent(what: &str) -> Answer {
    Answer { status: abi::LOUPE_ERROR, message: format!("the component has no {what}") }
}

/// All that a call put into its sink.
#[derive(Clone, Debug, Default)]
pub(crate) struct Made {
    pub(crate) tensors: Vec<(u32, Tensor)>,
    pub(crate) texts: Vec<(u32, Vec<Sentence>)>,
    pub(crate) states: Vec<State>,
    pub(crate) json: Vec<String>,
    /// Why something put could not be read.
    pub(crate) bad: Option<String>,
}

impl Made {
    /// Whether two calls made the same bytes.
    pub(crate) fn same(&self, other: &Made) -> bool {
        let bits = |tensor: &Tensor| -> Vec<u32> {
            tensor.f32s().unwrap_or_default().iter().map(|value| value.to_bits()).collect()
        };
        let tensors = self.tensors.len() == other.tensors.len()
            && self.tensors.iter().zip(&other.tensors).all(|((i, a), (j, b))| {
                i == j && a.shape() == b.shape() && a.label() == b.label() && bits(a) == bits(b)
            });
        tensors && self.texts == other.texts
    }

    /// What was put into one port.
    pub(crate) fn only(&self, port: u32) -> Made {
        let tensors = self.tensors.iter().filter(|(index, _)| *index == port).cloned();
        let texts = self.texts.iter().filter(|(index, _)| *index == port).cloned();
        Made { tensors: tensors.collect(), texts: texts.collect(), ..Made::default() }
    }
}

/// Builds a call around the inputs, makes it, and gives what came out.
pub(crate) fn with_call(
    inputs: &[(u32, Given)],
    wanted: u64,
    body: impl FnOnce(*const LoupeCall, *mut LoupeError) -> i32,
) -> Result<Made, Answer> {
    let packed: Vec<Packed> = inputs.iter().map(|(_, given)| Packed::new(given)).collect();
    let values = inputs.iter().zip(&packed).map(|((port, given), packed)| LoupeInput {
        port: *port,
        reserved: 0,
        value: packed.value(given),
    });
    let values: Vec<LoupeInput> = values.collect();
    with_sink(|sink, error| {
        let call = LoupeCall {
            size: size_of::<LoupeCall>() as u32,
            n_inputs: values.len() as u32,
            inputs: values.as_ptr(),
            wanted,
            sink,
            stream: ptr::null_mut(),
        };
        body(&call, error)
    })
}

pub(crate) fn with_sink(
    body: impl FnOnce(*const LoupeSink, *mut LoupeError) -> i32,
) -> Result<Made, Answer> {
    let mut made = Made::default();
    let sink = LoupeSink {
        size: size_of::<LoupeSink>() as u32,
        reserved: 0,
        ctx: (&raw mut made).cast(),
        put_tensor: Some(put_tensor),
        put_text: Some(put_text),
        put_state: Some(put_state),
        put_json: Some(put_json),
    };
    answered(|error| body(&sink, error))?;
    match made.bad.take() {
        Some(message) => Err(Answer { status: abi::LOUPE_ERROR, message }),
        None => Ok(made),
    }
}

/// The raw arrays behind one value.
struct Packed {
    /// Owned by the tensors below.
    _shapes: Vec<Vec<i64>>,
    tensors: Vec<LoupeTensor>,
    sentences: Vec<LoupeSentence>,
}

impl Packed {
    fn new(given: &Given) -> Self {
        let (tensors, sentences): (&[Tensor], &[Sentence]) = match given {
            Given::Tensor(tensor) => (std::slice::from_ref(tensor), &[]),
            Given::Tensors(tensors) => (tensors, &[]),
            Given::Text(sentences) => (&[], sentences),
            Given::Embedded(sentences, tensor) => (std::slice::from_ref(tensor), sentences),
        };
        let dims = |tensor: &Tensor| tensor.dims().iter().map(|dim| *dim as i64).collect();
        let mut shapes: Vec<Vec<i64>> = tensors.iter().map(dims).collect();
        let pack = |(tensor, shape): (&Tensor, &mut Vec<i64>)| LoupeTensor {
            label: tensor.label().to_abi(),
            dl: DLTensor {
                data: tensor.f32s().unwrap_or_default().as_ptr().cast_mut().cast(),
                device: abi::DLDevice { device_type: abi::DL_CPU, device_id: 0 },
                ndim: shape.len() as i32,
                dtype: abi::DLDataType { code: abi::DL_FLOAT, bits: 32, lanes: 1 },
                shape: shape.as_mut_ptr(),
                strides: ptr::null_mut(),
                byte_offset: 0,
            },
        };
        let tensors = tensors.iter().zip(&mut shapes).map(pack).collect();
        let sentences = sentences.iter().map(sink::to_raw).collect();
        Packed { _shapes: shapes, tensors, sentences }
    }

    fn value(&self, given: &Given) -> LoupeValue {
        LoupeValue {
            kind: match given {
                Given::Tensor(_) => abi::LOUPE_TENSOR,
                Given::Tensors(_) => abi::LOUPE_TENSORS,
                Given::Text(_) => abi::LOUPE_TEXT,
                Given::Embedded(..) => abi::LOUPE_EMBEDDED_TEXT,
            },
            reserved: 0,
            n_tensors: self.tensors.len(),
            tensors: self.tensors.as_ptr(),
            n_sentences: self.sentences.len(),
            sentences: self.sentences.as_ptr(),
            state: ptr::null(),
        }
    }
}

/// # Safety
/// `ctx` is the `Made` of the running call.
unsafe fn collect(ctx: *mut c_void, put: impl FnOnce(&mut Made) -> Result<(), String>) -> i32 {
    // SAFETY: the caller's promise; calls into a sink come one after the other.
    let made = unsafe { &mut *ctx.cast::<Made>() };
    match put(made) {
        Ok(()) => abi::LOUPE_OK,
        Err(message) => {
            made.bad.get_or_insert(message);
            abi::LOUPE_ERROR
        }
    }
}

unsafe extern "C" fn put_tensor(
    ctx: *mut c_void,
    port: u32,
    label: LoupeLabel,
    tensor: *mut DLManagedTensorVersioned,
) -> i32 {
    // SAFETY: what the boundary promises a sink: a whole tensor, ours from now on. It is copied,
    // then deleted.
    unsafe {
        collect(ctx, |made| {
            let managed = tensor.as_ref().ok_or("a null tensor was put")?;
            let read = call::read_tensor(&managed.dl_tensor, "output");
            let copy =
                read.map(|read| read.with_label(crate::values::Label::from_abi(label)).clone());
            if let Some(delete) = managed.deleter {
                delete(tensor);
            }
            made.tensors.push((port, copy.map_err(|error| error.to_string())?));
            Ok(())
        })
    }
}

unsafe extern "C" fn put_text(
    ctx: *mut c_void,
    port: u32,
    sentences: *const LoupeSentence,
    n_sentences: usize,
) -> i32 {
    // SAFETY: what the boundary promises a sink.
    unsafe {
        collect(ctx, |made| {
            let read = call::read_sentences(sentences, n_sentences);
            made.texts.push((port, read.map_err(|error| error.to_string())?));
            Ok(())
        })
    }
}

unsafe extern "C" fn put_state(ctx: *mut c_void, state: *const LoupeState) -> i32 {
    // SAFETY: what the boundary promises a sink. The clone owns its bytes.
    unsafe {
        collect(ctx, |made| {
            let read = call::read_state(state).map_err(|error| error.to_string())?;
            made.states.push(read.clone());
            Ok(())
        })
    }
}

unsafe extern "C" fn put_json(ctx: *mut c_void, json: LoupeStr) -> i32 {
    // SAFETY: what the boundary promises a sink.
    unsafe {
        collect(ctx, |made| {
            made.json.push(raw::str(json).map_err(|error| error.to_string())?.to_owned());
            Ok(())
        })
    }
}
