//! Reading a call: the host's values as the author's.

use std::ffi::c_void;

use crate::abi::{self, DLDataType, DLTensor, LoupeCall, LoupeInput, LoupeState, LoupeValue};
use crate::buf::Buf;
use crate::error::{Error, Result};
use crate::glue::raw;
use crate::inputs::{Given, Inputs};
use crate::port::Port;
use crate::shape::Shape;
use crate::tensor::{Data, Tensor};
use crate::values::{Label, Sentence, State};

/// More dimensions than any value has; a larger number is a broken header.
const MAX_RANK: i32 = 32;

/// The inputs of a call.
///
/// # Safety `call` and all it points to are as the boundary says and unwritten while the result
/// lives, which must not outlive the call.
pub(crate) unsafe fn inputs<'a>(call: &LoupeCall, ports: &'a [Port]) -> Result<Inputs<'a>> {
    // SAFETY: the caller's promise.
    let values = unsafe { raw::slice(call.inputs, call.n_inputs as usize) }?;
    let mut given: Vec<Given> = Vec::new();
    for input in values {
        let index = input.port as usize;
        if ports.get(index).is_none_or(|port| port.output) {
            return Err(Error::input(format!("the host gave a value to port {index}, no input")));
        }
        let at = given.iter().position(|given| given.port == index).unwrap_or_else(|| {
            given.push(Given { port: index, ..Given::default() });
            given.len() - 1
        });
        if let Some(given) = given.get_mut(at) {
            // SAFETY: the caller's promise.
            unsafe { read_value(input, &ports[index].name, given) }?;
        }
    }
    Ok(Inputs { ports, given })
}

/// # Safety
/// As `inputs`.
unsafe fn read_value(input: &LoupeInput, name: &str, given: &mut Given) -> Result<()> {
    let LoupeValue { kind, n_tensors, tensors, n_sentences, sentences, state, .. } = input.value;
    let (has_tensors, has_text, has_state) = match kind {
        abi::LOUPE_TENSOR | abi::LOUPE_TENSORS => (true, false, false),
        abi::LOUPE_TEXT => (false, true, false),
        abi::LOUPE_EMBEDDED_TEXT => (true, true, false),
        abi::LOUPE_STATE => (false, false, true),
        other => return Err(Error::input(format!("input `{name}` is of unknown kind {other}"))),
    };
    if kind == abi::LOUPE_TENSOR && n_tensors != 1 {
        return Err(Error::shape(name, "1 tensor", format!("{n_tensors} tensors")));
    }
    if has_tensors {
        // SAFETY: the caller's promise.
        for tensor in unsafe { raw::slice(tensors, n_tensors) }? {
            let label = Label::from_abi(tensor.label);
            // SAFETY: the caller's promise.
            let tensor = unsafe { read_tensor(&tensor.dl, name) }?;
            given.tensors.push(tensor.with_label(label));
        }
        given.groups.push(n_tensors);
    }
    if has_text {
        // SAFETY: the caller's promise.
        given.sentences.extend(unsafe { read_sentences(sentences, n_sentences) }?);
    }
    if has_state {
        // SAFETY: the caller's promise.
        given.states.push(unsafe { read_state(state) }?);
    }
    Ok(())
}

/// # Safety
/// `sentences` is as `raw::slice` asks.
pub(crate) unsafe fn read_sentences(
    sentences: *const abi::LoupeSentence,
    n: usize,
) -> Result<Vec<Sentence>> {
    // SAFETY: the caller's promise.
    let sentences = unsafe { raw::slice(sentences, n) }?;
    let read = |sentence: &abi::LoupeSentence| {
        Ok(Sentence {
            // SAFETY: the caller's promise.
            text: unsafe { raw::str(sentence.text) }?.to_owned(),
            anomalous: sentence.anomalous != 0,
            weight: sentence.weight,
            // SAFETY: the caller's promise.
            source: unsafe { raw::str(sentence.source) }?.to_owned(),
        })
    };
    sentences.iter().map(read).collect()
}

/// # Safety
/// As `inputs`.
pub(crate) unsafe fn read_state(state: *const LoupeState) -> Result<State> {
    // SAFETY: the caller's promise.
    unsafe {
        let state = raw::reference(state, "state")?;
        let bytes = raw::slice(state.bytes.data, state.bytes.len)?;
        Ok(State {
            schema: raw::str(state.schema)?.to_owned(),
            revision: state.revision,
            bytes: Buf::borrow(bytes.as_ptr(), bytes.len()),
        })
    }
}

/// A tensor of any layout as f32 in row-major order, in place where it already is.
///
/// # Safety
/// As `inputs`.
pub(crate) unsafe fn read_tensor(dl: &DLTensor, name: &str) -> Result<Tensor> {
    let bad = |what: String| Error::input(format!("input `{name}` {what}"));
    if !(0..=MAX_RANK).contains(&dl.ndim) {
        return Err(bad(format!("claims {} dimensions", dl.ndim)));
    }
    // SAFETY: the caller's promise.
    let dims = unsafe { raw::slice(dl.shape, dl.ndim as usize) }?;
    let dims: Option<Vec<usize>> = dims.iter().map(|dim| usize::try_from(*dim).ok()).collect();
    let shape = Shape::from(dims.ok_or_else(|| bad("has a negative dimension".to_owned()))?);
    if dl.device.device_type != abi::DL_CPU {
        let device = device_name(dl);
        return Ok(Tensor { shape, label: Label::NONE, data: Data::Elsewhere(device) });
    }
    let element = Element::of(dl.dtype).ok_or_else(|| bad(dtype_problem(dl.dtype)))?;
    if shape.len() > isize::MAX as usize / 8 {
        return Err(bad(format!("claims the shape {shape}, larger than any memory")));
    }
    let data = match shape.len() {
        0 => Buf::Owned(Vec::new()),
        // SAFETY: the caller's promise.
        _ => unsafe { read_elements(dl, &shape, element) }?,
    };
    Ok(Tensor { shape, label: Label::NONE, data: Data::Cpu(data) })
}

/// # Safety
/// As `inputs`; the shape has elements.
unsafe fn read_elements(dl: &DLTensor, shape: &Shape, element: Element) -> Result<Buf<f32>> {
    if dl.data.is_null() {
        return Err(Error::input("the host passed a tensor without data"));
    }
    // SAFETY: data and offset are the host's; the elements lie within what it allocated.
    let base = unsafe { dl.data.cast::<u8>().add(dl.byte_offset as usize) };
    let row_major = row_major(shape.dims());
    let strides = match dl.strides.is_null() {
        true => row_major.clone(),
        // SAFETY: the caller's promise.
        false => unsafe { raw::slice(dl.strides, shape.rank()) }?.to_vec(),
    };
    let same = |(axis, dim): (usize, &usize)| *dim == 1 || strides[axis] == row_major[axis];
    let contiguous = shape.dims().iter().enumerate().all(same);
    let aligned = base.cast::<f32>().is_aligned();
    if contiguous && aligned && matches!(element, Element::F32) {
        // SAFETY: aligned, in order, and readable by the caller's promise.
        return Ok(unsafe { Buf::borrow(base.cast::<f32>(), shape.len()) });
    }
    let mut values = Vec::with_capacity(shape.len());
    let mut index = vec![0_usize; shape.rank()];
    for _ in 0..shape.len() {
        let steps = index.iter().zip(&strides).map(|(i, stride)| *i as isize * *stride as isize);
        // SAFETY: the element at `index` lies within the host's tensor; `read` asks for no
        // alignment.
        values.push(unsafe { element.read(base.offset(steps.sum::<isize>() * element.size())) });
        for axis in (0..index.len()).rev() {
            index[axis] += 1;
            if index[axis] < shape.dims()[axis] {
                break;
            }
            index[axis] = 0;
        }
    }
    Ok(Buf::Owned(values))
}

fn row_major(dims: &[usize]) -> Vec<i64> {
    let mut strides = vec![1_i64; dims.len()];
    for axis in (1..dims.len()).rev() {
        strides[axis - 1] = strides[axis] * dims[axis].max(1) as i64;
    }
    strides
}

#[derive(Clone, Copy)]
enum Element {
    F32,
    F16,
    Bf16,
    F64,
    U8,
    I64,
}

impl Element {
    fn of(dtype: DLDataType) -> Option<Self> {
        match (dtype.code, dtype.bits, dtype.lanes) {
            (abi::DL_FLOAT, 32, 1) => Some(Element::F32),
            (abi::DL_FLOAT, 16, 1) => Some(Element::F16),
            (abi::DL_BFLOAT, 16, 1) => Some(Element::Bf16),
            (abi::DL_FLOAT, 64, 1) => Some(Element::F64),
            (abi::DL_UINT, 8, 1) => Some(Element::U8),
            (abi::DL_INT, 64, 1) => Some(Element::I64),
            _ => None,
        }
    }

    fn size(self) -> isize {
        match self {
            Element::U8 => 1,
            Element::F16 | Element::Bf16 => 2,
            Element::F32 => 4,
            Element::F64 | Element::I64 => 8,
        }
    }

    /// # Safety
    /// `at` is readable for the element's size.
    unsafe fn read(self, at: *const u8) -> f32 {
        // SAFETY: the caller's promise; no read asks for alignment.
        unsafe {
            match self {
                Element::F32 => at.cast::<f32>().read_unaligned(),
                Element::F16 => half_to_f32(at.cast::<u16>().read_unaligned()),
                Element::Bf16 => f32::from_bits(u32::from(at.cast::<u16>().read_unaligned()) << 16),
                Element::F64 => at.cast::<f64>().read_unaligned() as f32,
                Element::U8 => f32::from(at.read()),
                Element::I64 => at.cast::<i64>().read_unaligned() as f32,
            }
        }
    }
}

/// IEEE 754 binary16, every value exact in f32.
fn half_to_f32(half: u16) -> f32 {
    let sign = if half & 0x8000 == 0 { 1.0 } else { -1.0 };
    let fraction = f32::from(half & 0x3ff);
    match (half >> 10) & 0x1f {
        0 => sign * fraction * 2.0_f32.powi(-24),
        0x1f if fraction == 0.0 => sign * f32::INFINITY,
        0x1f => f32::NAN,
        exponent => sign * (1.0 + fraction / 1024.0) * 2.0_f32.powi(i32::from(exponent) - 15),
    }
}

fn device_name(dl: &DLTensor) -> String {
    match dl.device.device_type {
        abi::DL_CUDA => format!("CUDA device {}", dl.device.device_id),
        other => format!("device {} of DLPack type {other}", dl.device.device_id),
    }
}

fn dtype_problem(dtype: DLDataType) -> String {
    let DLDataType { code, bits, lanes } = dtype;
    format!("has elements of DLPack type {code} with {bits} bits and {lanes} lanes; wants f32")
}

/// The pointer a shim was given as a plain number of bytes; null is refused in words.
pub(crate) fn not_null(pointer: *mut c_void, what: &str) -> Result<()> {
    match pointer.is_null() {
        true => Err(Error::input(format!("the host passed no {what}"))),
        false => Ok(()),
    }
}

#[cfg(test)]
#[path = "call_tests.rs"]
mod tests;
