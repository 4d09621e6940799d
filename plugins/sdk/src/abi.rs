//! The plugin boundary, in plain C. Everything a host and a plugin share crosses here and nowhere
//! else.
//!
//! What is published never changes: structs that may grow carry their size first, arrays of them
//! are arrays of pointers, and whatever comes later is asked for by name through `get_extension`.
//! The C header `include/loupe_plugin.h` is generated from this file and a test compares the two.
//!
//! Ownership: inputs are borrowed for the call; a tensor given to a sink is owned by the host from
//! then on, whether or not the sink accepts it; text, states and messages are copied. Nothing is
//! unwound across the boundary.

use core::ffi::{c_char, c_void};

mod component;

pub use component::*;

/// Number of this boundary. It changes only when a published layout changes, never with a release
/// of the engine.
pub const LOUPE_ABI: u32 = 1;
/// Name of the one symbol a plugin exports, of type `LoupeEntry`.
pub const LOUPE_ENTRY_SYMBOL: &str = "loupe_plugin";

// Status of a call. Raw integers cross, because an unknown value of an enum would be undefined
// behaviour.
pub const LOUPE_OK: i32 = 0;
pub const LOUPE_ERROR: i32 = 1;
pub const LOUPE_BAD_CONFIG: i32 = 2;
pub const LOUPE_BAD_INPUT: i32 = 3;
pub const LOUPE_PANIC: i32 = 4;
pub const LOUPE_UNSUPPORTED: i32 = 5;
pub const LOUPE_CANCELLED: i32 = 6;

// Kinds of value; a port may take several.
/// One tensor. A component that declares it is mapped by the engine over a list of tensors.
pub const LOUPE_TENSOR: u32 = 1;
/// An ordered list of tensors, each with its label, handed over whole.
pub const LOUPE_TENSORS: u32 = 2;
/// Sentences.
pub const LOUPE_TEXT: u32 = 4;
/// Sentences together with their embeddings `[n, d]`: `sentences` and `tensors[0]` are both set.
pub const LOUPE_EMBEDDED_TEXT: u32 = 8;
/// What a fit learned, as portable bytes.
pub const LOUPE_STATE: u32 = 16;

// Element types a port takes, as a set.
pub const LOUPE_F32: u32 = 1;
pub const LOUPE_F16: u32 = 2;
pub const LOUPE_BF16: u32 = 4;
pub const LOUPE_F64: u32 = 8;
pub const LOUPE_U8: u32 = 16;
pub const LOUPE_I64: u32 = 32;

// What a value belongs to.
pub const LOUPE_SCOPE_IMAGE: u32 = 0;
pub const LOUPE_SCOPE_CLASS: u32 = 1;
pub const LOUPE_SCOPE_RUN: u32 = 2;

// The verb that reads or writes a port.
/// `encode_images`, `generate`, `score` or `fuse`.
pub const LOUPE_VERB_RUN: u32 = 0;
/// What `fit_push` reads.
pub const LOUPE_VERB_FIT: u32 = 1;
pub const LOUPE_VERB_ENCODE_TEXT: u32 = 2;
/// What a stepped pass reads and writes between two taps.
pub const LOUPE_VERB_TAP: u32 = 3;

pub const LOUPE_IN: u32 = 0;
pub const LOUPE_OUT: u32 = 1;

// Flags of a port.
pub const LOUPE_PORT_OPTIONAL: u32 = 1;
/// The port takes several values. One value that is a list of tensors is folded: its tensors are
/// the values. Several values that are lists with equal labels are mapped label by label.
pub const LOUPE_PORT_MANY: u32 = 2;

// What a component declares of itself, tested by the conformance suite.
pub const LOUPE_DETERMINISTIC: u32 = 1;
pub const LOUPE_BATCH_INVARIANT: u32 = 2;
/// Verbs may be called on one instance from several threads at once; without it they follow one
/// another. An instance may be used on another thread than the one that made it in either case.
pub const LOUPE_THREAD_SAFE: u32 = 4;

// Where a component computes, as a set.
pub const LOUPE_CPU: u32 = 1;
pub const LOUPE_CUDA: u32 = 2;

// Flags of a plugin.
/// The plugin was built with `panic = "abort"`: a panic in it would end the host, so the host
/// refuses it.
pub const LOUPE_ABORTS_ON_PANIC: u32 = 1;

pub const LOUPE_LOG_ERROR: u32 = 1;
pub const LOUPE_LOG_WARN: u32 = 2;
pub const LOUPE_LOG_INFO: u32 = 3;
pub const LOUPE_LOG_DEBUG: u32 = 4;

// DLPack 1.x, laid out as in dlpack.h.
pub const DL_CPU: i32 = 1;
pub const DL_CUDA: i32 = 2;
pub const DL_INT: u8 = 0;
pub const DL_UINT: u8 = 1;
pub const DL_FLOAT: u8 = 2;
pub const DL_BFLOAT: u8 = 4;
pub const DL_FLAG_READ_ONLY: u64 = 1;

#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DLDevice {
    pub device_type: i32,
    pub device_id: i32,
}

#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DLDataType {
    pub code: u8,
    pub bits: u8,
    pub lanes: u16,
}

/// `strides` may be null (row-major); `data` is not promised to be aligned.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct DLTensor {
    pub data: *mut c_void,
    pub device: DLDevice,
    pub ndim: i32,
    pub dtype: DLDataType,
    pub shape: *mut i64,
    pub strides: *mut i64,
    pub byte_offset: u64,
}

#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DLPackVersion {
    pub major: u32,
    pub minor: u32,
}

#[repr(C)]
#[derive(Debug)]
pub struct DLManagedTensorVersioned {
    pub version: DLPackVersion,
    pub manager_ctx: *mut c_void,
    pub deleter: Option<unsafe extern "C" fn(tensor: *mut DLManagedTensorVersioned)>,
    pub flags: u64,
    pub dl_tensor: DLTensor,
}

/// UTF-8 text, not NUL-terminated.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct LoupeStr {
    pub data: *const c_char,
    pub len: usize,
}

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct LoupeBytes {
    pub data: *const u8,
    pub len: usize,
}

/// Which tensor of a list this is: the image size it was made at, the tap it was read from, or
/// both; -1 for neither.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoupeLabel {
    pub size: i32,
    pub tap: i32,
}

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct LoupeTensor {
    pub label: LoupeLabel,
    pub dl: DLTensor,
}

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct LoupeSentence {
    pub text: LoupeStr,
    /// 0 normal, 1 anomalous.
    pub anomalous: i32,
    pub weight: f32,
    /// Where the sentence comes from: the name of a set, a cache, a file.
    pub source: LoupeStr,
}

/// Bytes made by the component that reads them. `schema` and `revision` tell their layout.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct LoupeState {
    pub schema: LoupeStr,
    pub revision: u32,
    pub reserved: u32,
    pub bytes: LoupeBytes,
}

/// One value of one of the kinds above; what its kind does not use is null.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct LoupeValue {
    pub kind: u32,
    pub reserved: u32,
    pub n_tensors: usize,
    pub tensors: *const LoupeTensor,
    pub n_sentences: usize,
    pub sentences: *const LoupeSentence,
    pub state: *const LoupeState,
}

/// One value given to a port. A port that takes many has several of these, in order.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct LoupeInput {
    /// Index into the component's ports.
    pub port: u32,
    pub reserved: u32,
    pub value: LoupeValue,
}

/// A message in the caller's memory, so that no allocation crosses.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct LoupeError {
    pub len: u32,
    pub text: [u8; 1020],
}

/// Id of `LoupeKeep`.
pub const LOUPE_EXT_KEEP: &str = "loupe.keep/1";

/// Extension of a host that keeps a component's bytes from run to run, such as weights in the form that
/// this CPU computes with; absent where nothing is kept. What is kept has a label and a config, JSON
/// that says everything the bytes depend on. The host adds what it knows better: the plugin, the CPU's
/// arithmetic and, in the place of a string that is a file of the stage's own config, the file's
/// content. `ctx` is the host's; all functions may be called from any thread.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct LoupeKeep {
    pub size: u32,
    pub reserved: u32,
    /// Sets `kept` to a number for `read`, valid until `end`, or to 0 if there is nothing whole, and
    /// `len` to how many bytes there are.
    pub find: Option<
        unsafe extern "C" fn(
            ctx: *mut c_void,
            label: LoupeStr,
            config: LoupeStr,
            kept: *mut u64,
            len: *mut u64,
        ),
    >,
    /// Copies `n` bytes from `offset` on.
    pub read: Option<
        unsafe extern "C" fn(
            ctx: *mut c_void,
            kept: u64,
            offset: u64,
            to: *mut u8,
            n: usize,
            error: *mut LoupeError,
        ) -> i32,
    >,
    pub end: Option<unsafe extern "C" fn(ctx: *mut c_void, kept: u64)>,
    /// Keeps parts as one, one behind the other. Where this fails nothing is lost but time.
    pub keep: Option<
        unsafe extern "C" fn(
            ctx: *mut c_void,
            label: LoupeStr,
            config: LoupeStr,
            n_parts: usize,
            parts: *const LoupeBytes,
            error: *mut LoupeError,
        ) -> i32,
    >,
}

const _: () = {
    assert!(size_of::<DLTensor>() == 48);
    assert!(size_of::<DLManagedTensorVersioned>() == 80);
    assert!(size_of::<LoupeError>() == 1024);
};
