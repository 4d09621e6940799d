//! The second half of the boundary: what a host offers, and what a plugin is made of.

use core::ffi::{c_char, c_void};

use super::{
    DLManagedTensorVersioned, LoupeBytes, LoupeError, LoupeInput, LoupeLabel, LoupeSentence,
    LoupeState, LoupeStr,
};

/// Where a call puts what it made. Every function copies or takes ownership at once and returns a
/// status.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct LoupeSink {
    pub size: u32,
    pub reserved: u32,
    pub ctx: *mut c_void,
    /// `label` tells the tensors of a list apart; for a single tensor it is {-1, -1}. Where the host maps
    /// the component over a list, the host's own label stands.
    pub put_tensor: Option<
        unsafe extern "C" fn(
            ctx: *mut c_void,
            port: u32,
            label: LoupeLabel,
            tensor: *mut DLManagedTensorVersioned,
        ) -> i32,
    >,
    pub put_text: Option<
        unsafe extern "C" fn(
            ctx: *mut c_void,
            port: u32,
            sentences: *const LoupeSentence,
            n_sentences: usize,
        ) -> i32,
    >,
    pub put_state: Option<unsafe extern "C" fn(ctx: *mut c_void, state: *const LoupeState) -> i32>,
    /// Facts, as one JSON object.
    pub put_json: Option<unsafe extern "C" fn(ctx: *mut c_void, json: LoupeStr) -> i32>,
}

/// What a verb is given.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct LoupeCall {
    pub size: u32,
    pub n_inputs: u32,
    pub inputs: *const LoupeInput,
    /// Bit i: the output port with index i is read by somebody. What nobody reads need not be made.
    pub wanted: u64,
    pub sink: *const LoupeSink,
    /// The CUDA stream to enqueue on; null on the CPU.
    pub stream: *mut c_void,
}

/// Services of the host. It outlives every instance made with it.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct LoupeHost {
    pub abi: u32,
    pub size: u32,
    pub ctx: *mut c_void,
    pub log: Option<unsafe extern "C" fn(ctx: *mut c_void, level: u32, text: LoupeStr)>,
    /// `total` 0: unknown.
    pub progress: Option<unsafe extern "C" fn(ctx: *mut c_void, done: u64, total: u64)>,
    /// Not 0: the user wants to stop; return `LOUPE_CANCELLED` soon.
    pub cancelled: Option<unsafe extern "C" fn(ctx: *mut c_void) -> i32>,
    /// Threads this component may use in all.
    pub n_threads: Option<unsafe extern "C" fn(ctx: *mut c_void) -> u32>,
    /// Calls `body(arg, i)` for each i below n on the host's threads and returns when all are done.
    /// `body` must not unwind.
    pub parallel_for: Option<
        unsafe extern "C" fn(
            ctx: *mut c_void,
            n: usize,
            body: Option<unsafe extern "C" fn(arg: *mut c_void, i: usize)>,
            arg: *mut c_void,
        ),
    >,
    /// Fills `out` from a stream seeded by the run's seed and the stage's name: the same run draws
    /// the same numbers. A component that uses it does not declare `LOUPE_DETERMINISTIC`.
    pub random: Option<unsafe extern "C" fn(ctx: *mut c_void, out: *mut u64, n: usize)>,
    /// Read-only bytes of a file named by a config key of format `loupe-file`; they live as long as
    /// the host.
    pub open: Option<
        unsafe extern "C" fn(
            ctx: *mut c_void,
            path: LoupeStr,
            out: *mut LoupeBytes,
            error: *mut LoupeError,
        ) -> i32,
    >,
    pub get_extension:
        Option<unsafe extern "C" fn(ctx: *mut c_void, id: *const c_char) -> *const c_void>,
}

/// One input or output of a component. Every component has an output of verb `LOUPE_VERB_RUN`.
/// The host feeds some inputs by their names: `class` of prompts (the class's name, then its
/// synonyms), `image` of an encoder, `stream` of what stands between two taps.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct LoupePort {
    pub size: u32,
    pub verb: u32,
    pub direction: u32,
    pub kind: u32,
    pub dtype: u32,
    pub scope: u32,
    pub flags: u32,
    pub reserved: u32,
    pub name: *const c_char,
    /// Names of dimensions separated by spaces, a number where fixed, `...` for any leading ones:
    /// `b gh gw d`. Null where the kind has no shape.
    pub shape: *const c_char,
    pub about: *const c_char,
}

/// The verbs every kind has. `encode_text` is null but for encoders that take text.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct LoupeVerbs {
    pub size: u32,
    pub reserved: u32,
    pub run: Option<
        unsafe extern "C" fn(
            instance: *mut c_void,
            call: *const LoupeCall,
            error: *mut LoupeError,
        ) -> i32,
    >,
    pub encode_text: Option<
        unsafe extern "C" fn(
            instance: *mut c_void,
            call: *const LoupeCall,
            error: *mut LoupeError,
        ) -> i32,
    >,
}

/// One component: a kind, a name, a schema, ports and verbs.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct LoupeComponent {
    pub size: u32,
    /// Raised whenever the outputs for the same inputs change; 0 while under development.
    pub revision: u32,
    pub flags: u32,
    pub devices: u32,
    /// `loupe.encoder/1`, `loupe.prompts/1`, `loupe.scorer/1` or `loupe.fusion/1`.
    pub kind: *const c_char,
    pub name: *const c_char,
    pub about: *const c_char,
    /// JSON Schema of the config, an object. Of the keywords these are understood: `type`
    /// (`object array string number integer boolean`), `description`, `default`, `properties`,
    /// `required`, `additionalProperties`, `enum`, `items`, `minItems`, `maxItems`, `minimum`,
    /// `maximum`, `exclusiveMinimum`, `anyOf`, `format` (`loupe-file` for a file the host opens)
    /// and beside it `x-names` (strings that are no files).
    pub config_schema: *const c_char,
    pub n_ports: u32,
    pub reserved: u32,
    pub ports: *const *const LoupePort,
    pub verbs: *const LoupeVerbs,
    /// `config` is a JSON object that the engine has checked against the schema; it lives for the
    /// call, `host` for as long as the instance.
    pub create: Option<
        unsafe extern "C" fn(
            host: *const LoupeHost,
            config: LoupeStr,
            instance: *mut *mut c_void,
            error: *mut LoupeError,
        ) -> i32,
    >,
    pub destroy: Option<unsafe extern "C" fn(instance: *mut c_void)>,
    /// Judges what a schema cannot and puts facts as JSON, without reading weights: `{"dims": {"d":
    /// 640, "patch": 16}, "taps": [1, 2]}`; `patch` is an encoder's pixels per patch. `"learns":
    /// {"from": ["rows"], "instead": "name a file as `weights`"}` names ports of the fit without
    /// which there is nothing to run with, and what does instead. `"precision": "bf16"` is what a
    /// key `precision` became, and stands for it in the keys of the cache. May be null.
    pub check: Option<
        unsafe extern "C" fn(
            host: *const LoupeHost,
            config: LoupeStr,
            sink: *const LoupeSink,
            error: *mut LoupeError,
        ) -> i32,
    >,
    /// May be null. The result lives as long as the plugin.
    pub get_extension: Option<unsafe extern "C" fn(id: *const c_char) -> *const c_void>,
}

/// The descriptor behind the one symbol.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct LoupePlugin {
    /// `LOUPE_ABI`. First for ever, so that any host can refuse any plugin in words.
    pub abi: u32,
    pub size: u32,
    pub flags: u32,
    pub n_components: u32,
    pub name: *const c_char,
    pub version: *const c_char,
    pub components: *const *const LoupeComponent,
    pub get_extension: Option<unsafe extern "C" fn(id: *const c_char) -> *const c_void>,
}

pub type LoupeEntry = Option<unsafe extern "C" fn() -> *const LoupePlugin>;

/// Id of `LoupeFit`.
pub const LOUPE_EXT_FIT: &str = "loupe.fit/1";

/// Extension of a component that learns something before it runs. Several fits may be open at once.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct LoupeFit {
    pub size: u32,
    pub reserved: u32,
    pub fit_open: Option<
        unsafe extern "C" fn(
            instance: *mut c_void,
            fit: *mut *mut c_void,
            error: *mut LoupeError,
        ) -> i32,
    >,
    /// Called as often as needed, with the ports of verb `LOUPE_VERB_FIT`, in a stable order.
    pub fit_push: Option<
        unsafe extern "C" fn(
            fit: *mut c_void,
            call: *const LoupeCall,
            error: *mut LoupeError,
        ) -> i32,
    >,
    /// Puts one state. `fit_drop` still follows.
    pub fit_close: Option<
        unsafe extern "C" fn(
            fit: *mut c_void,
            sink: *const LoupeSink,
            error: *mut LoupeError,
        ) -> i32,
    >,
    pub fit_drop: Option<unsafe extern "C" fn(fit: *mut c_void)>,
    /// A new instance with the state in it, ended with `destroy`; `instance` stays usable.
    pub load: Option<
        unsafe extern "C" fn(
            instance: *mut c_void,
            state: *const LoupeState,
            loaded: *mut *mut c_void,
            error: *mut LoupeError,
        ) -> i32,
    >,
}

/// Id of `LoupeTaps`.
pub const LOUPE_EXT_TAPS: &str = "loupe.taps/1";

/// Extension of an encoder that can be stepped from tap to tap. Streams are `[b, n_prefix + gh*gw,
/// c]`, f32, in the port `stream` of verb `LOUPE_VERB_TAP`; between two steps the caller may
/// rewrite them.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct LoupeTaps {
    pub size: u32,
    pub reserved: u32,
    /// Runs the images to the first tap and puts its stream. `taps` ascend.
    pub open: Option<
        unsafe extern "C" fn(
            instance: *mut c_void,
            taps: *const i32,
            n_taps: usize,
            train: i32,
            call: *const LoupeCall,
            session: *mut *mut c_void,
            error: *mut LoupeError,
        ) -> i32,
    >,
    /// Opens at taps[0] with the stream that an earlier pass gave there, given in the port `stream`
    /// with the image.
    pub open_at: Option<
        unsafe extern "C" fn(
            instance: *mut c_void,
            taps: *const i32,
            n_taps: usize,
            train: i32,
            call: *const LoupeCall,
            session: *mut *mut c_void,
            error: *mut LoupeError,
        ) -> i32,
    >,
    /// Takes the stream of the current tap and puts the stream of the next.
    pub resume: Option<
        unsafe extern "C" fn(
            session: *mut c_void,
            call: *const LoupeCall,
            error: *mut LoupeError,
        ) -> i32,
    >,
    /// Takes the stream of the last tap and puts the encoder's wanted outputs.
    pub finish: Option<
        unsafe extern "C" fn(
            session: *mut c_void,
            call: *const LoupeCall,
            error: *mut LoupeError,
        ) -> i32,
    >,
    pub drop: Option<unsafe extern "C" fn(session: *mut c_void)>,
}

/// Id of `LoupeBackward`.
pub const LOUPE_EXT_BACKWARD: &str = "loupe.taps.backward/1";

/// Extension of an encoder with `loupe.taps/1` whose steps can be walked back; its parameters stay as
/// they are.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct LoupeBackward {
    pub size: u32,
    pub reserved: u32,
    /// In the port `stream`, takes the cotangent of the stream that `resume` number `segment` of this
    /// session put (from 0) and puts that of the stream it took. The session was opened with `train`;
    /// each segment is asked for once, from the last to the first.
    pub backward: Option<
        unsafe extern "C" fn(
            session: *mut c_void,
            segment: u32,
            call: *const LoupeCall,
            error: *mut LoupeError,
        ) -> i32,
    >,
}

/// Id of `LoupeTrain`.
pub const LOUPE_EXT_TRAIN: &str = "loupe.train/1";

/// Extension of a fusion that learns by gradients. The host owns the parameters, changes them between
/// calls and lends them; a state of parameters or gradients is a safetensors file of f32 arrays, whose
/// names begin with that of a head and `_` where one belongs to a head (`seg_adapters.0.weight`).
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct LoupeTrain {
    pub size: u32,
    pub reserved: u32,
    /// Puts the parameters to begin with, as a state. The call is that of one `run`, for its sizes;
    /// between taps, that of the first tap.
    pub parameters: Option<
        unsafe extern "C" fn(
            instance: *mut c_void,
            call: *const LoupeCall,
            error: *mut LoupeError,
        ) -> i32,
    >,
    /// As `run`, with the lent parameters in the place of its own. The tape keeps what `backward`
    /// needs; the parameters need not live longer than the call.
    pub forward: Option<
        unsafe extern "C" fn(
            instance: *mut c_void,
            parameters: *const LoupeState,
            call: *const LoupeCall,
            tape: *mut *mut c_void,
            error: *mut LoupeError,
        ) -> i32,
    >,
    /// Here the ports change sides: what is given are cotangents of outputs, those left out are zero;
    /// what is put are the cotangents of the inputs that are wanted. Beside them one state is put: the
    /// gradients of parameters, as far as they got one. A tape goes back once; `tape_drop` still follows.
    pub backward: Option<
        unsafe extern "C" fn(
            tape: *mut c_void,
            call: *const LoupeCall,
            error: *mut LoupeError,
        ) -> i32,
    >,
    pub tape_drop: Option<unsafe extern "C" fn(tape: *mut c_void)>,
}

/// Id of `LoupeTool`.
pub const LOUPE_EXT_TOOL: &str = "loupe.prompts.tool/1";

/// Extension of a prompt generator that reads and writes prompt caches, and makes the requests that
/// fill them. It opens no file and sends nothing: texts and replies stand in the questions. The
/// generators of a plugin share one tool.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct LoupeTool {
    pub size: u32,
    pub reserved: u32,
    /// Takes a question, a JSON object whose `do` says what is wanted, and puts the answer, a JSON
    /// object. May be called from several threads at once.
    pub answer: Option<
        unsafe extern "C" fn(
            question: LoupeStr,
            sink: *const LoupeSink,
            error: *mut LoupeError,
        ) -> i32,
    >,
}
