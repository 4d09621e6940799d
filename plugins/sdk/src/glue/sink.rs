//! Giving a call's results to the host.

use std::ffi::c_void;

use serde_json::Value;

use crate::abi::{self, DLManagedTensorVersioned, DLTensor, LoupeSentence, LoupeSink, LoupeState};
use crate::error::{Error, Result};
use crate::glue::raw;
use crate::inputs::{no_port, output_index};
use crate::outputs::{Made, Outputs, Wanted};
use crate::tensor::Tensor;
use crate::values::{Sentence, State};

/// The sink of one call.
pub(crate) struct Sink<'a> {
    raw: &'a LoupeSink,
}

impl Sink<'_> {
    /// # Safety
    /// `sink` is null or as the boundary says while the result lives.
    pub(crate) unsafe fn new<'a>(sink: *const LoupeSink) -> Result<Sink<'a>> {
        // SAFETY: the caller's promise.
        let raw = unsafe { raw::reference(sink, "sink") }?;
        if (raw.size as usize) < size_of::<LoupeSink>() {
            let want = format!("{} bytes", size_of::<LoupeSink>());
            return Err(Error::shape("the host's sink", want, format!("{} bytes", raw.size)));
        }
        Ok(Sink { raw })
    }

    /// Puts what is wanted and drops the rest. Errors: `NoPort` for a name that the verb does not
    /// declare.
    pub(crate) fn put_all(&self, outputs: Outputs, wanted: &Wanted) -> Result<()> {
        for (name, made) in outputs.made {
            let index = output_index(wanted.ports, wanted.verb, &name)
                .ok_or_else(|| no_port(wanted.ports, &name, true))?;
            if !wanted.has_index(index) {
                continue;
            }
            match made {
                Made::Tensor(tensor) => self.put_tensor(index, tensor)?,
                Made::Text(sentences) => self.put_text(index, &sentences)?,
            }
        }
        Ok(())
    }

    pub(crate) fn put_tensor(&self, index: usize, tensor: Tensor) -> Result<()> {
        let put = self.raw.put_tensor.ok_or_else(|| no_function("put_tensor"))?;
        let label = tensor.label().to_abi();
        let managed = manage(tensor)?;
        // SAFETY: the sink owns the tensor from here on, whatever it answers.
        accepted(unsafe { put(self.raw.ctx, index as u32, label, managed) }, "tensor")
    }

    pub(crate) fn put_text(&self, index: usize, sentences: &[Sentence]) -> Result<()> {
        let put = self.raw.put_text.ok_or_else(|| no_function("put_text"))?;
        let raw: Vec<LoupeSentence> = sentences.iter().map(to_raw).collect();
        // SAFETY: all texts live through the call, in which the host copies them.
        accepted(unsafe { put(self.raw.ctx, index as u32, raw.as_ptr(), raw.len()) }, "text")
    }

    pub(crate) fn put_state(&self, state: &State) -> Result<()> {
        let put = self.raw.put_state.ok_or_else(|| no_function("put_state"))?;
        let bytes = state.bytes();
        let raw = LoupeState {
            schema: raw::text(&state.schema),
            revision: state.revision,
            reserved: 0,
            bytes: abi::LoupeBytes { data: bytes.as_ptr(), len: bytes.len() },
        };
        // SAFETY: everything lives through the call, in which the host copies it.
        accepted(unsafe { put(self.raw.ctx, &raw) }, "state")
    }

    pub(crate) fn put_json(&self, json: &Value) -> Result<()> {
        self.put_json_text(&json.to_string())
    }

    pub(crate) fn put_json_text(&self, text: &str) -> Result<()> {
        let put = self.raw.put_json.ok_or_else(|| no_function("put_json"))?;
        // SAFETY: the text lives through the call, in which the host copies it.
        accepted(unsafe { put(self.raw.ctx, raw::text(text)) }, "json")
    }
}

pub(crate) fn to_raw(sentence: &Sentence) -> LoupeSentence {
    LoupeSentence {
        text: raw::text(&sentence.text),
        anomalous: i32::from(sentence.anomalous),
        weight: sentence.weight,
        source: raw::text(&sentence.source),
    }
}

fn no_function(name: &str) -> Error {
    Error::failed(format!("the host's sink has no `{name}`"))
}

fn accepted(status: i32, what: &str) -> Result<()> {
    match status {
        abi::LOUPE_OK => Ok(()),
        abi::LOUPE_CANCELLED => Err(Error::Cancelled),
        other => Err(Error::failed(format!("the host refused the {what} (status {other})"))),
    }
}

/// A tensor and the memory it stands on, in one allocation that the host frees through `deleter`.
struct Managed {
    tensor: DLManagedTensorVersioned,
    shape: Vec<i64>,
    values: Vec<f32>,
}

/// The tensor as DLPack wants it, owning its memory.
/// Errors: `Device` if the values are not in the CPU's memory.
pub(crate) fn manage(tensor: Tensor) -> Result<*mut DLManagedTensorVersioned> {
    let shape: Vec<i64> = tensor.dims().iter().map(|dim| *dim as i64).collect();
    let dl_tensor = DLTensor {
        data: std::ptr::null_mut(),
        device: abi::DLDevice { device_type: abi::DL_CPU, device_id: 0 },
        ndim: shape.len() as i32,
        dtype: abi::DLDataType { code: abi::DL_FLOAT, bits: 32, lanes: 1 },
        shape: std::ptr::null_mut(),
        strides: std::ptr::null_mut(),
        byte_offset: 0,
    };
    let header = DLManagedTensorVersioned {
        version: abi::DLPackVersion { major: 1, minor: 0 },
        manager_ctx: std::ptr::null_mut(),
        deleter: Some(delete),
        flags: 0,
        dl_tensor,
    };
    let values = tensor.into_f32s()?;
    let managed = Box::into_raw(Box::new(Managed { tensor: header, shape, values }));
    // SAFETY: just made; the vectors do not move while the box lives.
    unsafe {
        (*managed).tensor.dl_tensor.data = (*managed).values.as_mut_ptr().cast::<c_void>();
        (*managed).tensor.dl_tensor.shape = (*managed).shape.as_mut_ptr();
        (*managed).tensor.manager_ctx = managed.cast::<c_void>();
        Ok(&raw mut (*managed).tensor)
    }
}

unsafe extern "C" fn delete(tensor: *mut DLManagedTensorVersioned) {
    if tensor.is_null() {
        return;
    }
    // SAFETY: `manager_ctx` is the box that `manage` leaked, and the owner deletes once.
    drop(unsafe { Box::from_raw((*tensor).manager_ctx.cast::<Managed>()) });
}
