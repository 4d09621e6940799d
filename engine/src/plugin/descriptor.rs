//! Reads a plugin's descriptor and believes none of it: every pointer, size, string and flag is
//! checked once, here.

use std::ffi::{c_char, c_void};
use std::path::Path;
use std::slice;

use loupe_plugin::abi::{
    LOUPE_ABI, LOUPE_ABORTS_ON_PANIC, LOUPE_BATCH_INVARIANT, LOUPE_CPU, LOUPE_CUDA,
    LOUPE_DETERMINISTIC, LOUPE_EXT_BACKWARD, LOUPE_EXT_FIT, LOUPE_EXT_TAPS, LOUPE_EXT_TOOL,
    LOUPE_EXT_TRAIN, LOUPE_THREAD_SAFE, LoupeBackward, LoupeComponent, LoupeFit, LoupePlugin,
    LoupePort, LoupeTaps, LoupeTool, LoupeTrain, LoupeVerbs,
};
use serde_json::Value;

use super::error::LoadError;
use super::info::{ComponentInfo, Kind, Port, Verb};
use super::port;
use super::shape::is_name;

const MAX_COMPONENTS: u32 = 256;
/// Ports are bits of the wanted mask.
const MAX_PORTS: u32 = 64;
const MAX_NAME: usize = 64;
const MAX_TEXT: usize = 4096;
const MAX_SCHEMA: usize = 1 << 20;

/// A component ready to be called. Its functions live as long as the process, since no plugin is
/// unloaded.
#[derive(Clone, Debug)]
pub(super) struct Component {
    pub info: ComponentInfo,
    pub table: LoupeComponent,
    pub verbs: LoupeVerbs,
    pub fit: Option<LoupeFit>,
    pub taps: Option<LoupeTaps>,
    pub backward: Option<LoupeBackward>,
    pub train: Option<LoupeTrain>,
    pub tool: Option<LoupeTool>,
}

// SAFETY: the tables hold pointers to functions and to constant data that live as long as the
// process.
unsafe impl Send for Component {}
// SAFETY: as above; nothing is written through them.
unsafe impl Sync for Component {}

/// The plugin's components, and what was skipped of them.
#[derive(Debug)]
pub(super) struct Contents {
    pub components: Vec<Component>,
    /// Components of a kind this engine does not know: a newer plugin may offer old kinds too.
    pub skipped: Vec<String>,
}

/// Errors: `Abi`, `AbortsOnPanic`, or `Descriptor` with the first thing that is wrong.
///
/// # Safety
/// `plugin` is null or what a plugin's entry gave, which lives as long as the process.
pub(super) unsafe fn read(
    plugin: *const LoupePlugin,
    path: &Path,
    binary: [u8; 32],
) -> Result<Contents, LoadError> {
    if plugin.is_null() {
        return wrong("its entry gave no descriptor");
    }
    // SAFETY: a descriptor of any boundary begins with its number.
    let abi = unsafe { plugin.cast::<u32>().read_unaligned() };
    if abi != LOUPE_ABI {
        return Err(LoadError::Abi { want: LOUPE_ABI, got: abi });
    }
    // SAFETY: a descriptor of this boundary has its size behind the number; zero bytes are a
    // `LoupePlugin`.
    let table: LoupePlugin = unsafe { sized(plugin, 4, "its descriptor") }.map_err(descriptor)?;
    if table.flags & LOUPE_ABORTS_ON_PANIC != 0 {
        return Err(LoadError::AbortsOnPanic);
    }
    // SAFETY: strings of a descriptor live as long as the plugin.
    let (name, version) = unsafe {
        (
            text(table.name, MAX_NAME, "its name").map_err(descriptor)?,
            text(table.version, MAX_NAME, "its version").map_err(descriptor)?,
        )
    };
    // SAFETY: the descriptor says so many pointers stand there.
    let tables = unsafe { pointers(table.components, table.n_components, MAX_COMPONENTS) }
        .map_err(|why| descriptor(format!("its list of components {why}")))?;
    let mut contents = Contents { components: Vec::new(), skipped: Vec::new() };
    for (idx, table) in tables.iter().enumerate() {
        // SAFETY: the table lives as long as the plugin.
        match unsafe { component(*table, idx) }.map_err(descriptor)? {
            Ok(mut found) => {
                found.info.plugin.clone_from(&name);
                found.info.plugin_version.clone_from(&version);
                found.info.path = path.to_owned();
                found.info.binary = binary;
                contents.add(found)?;
            }
            Err(skipped) => contents.skipped.push(skipped),
        }
    }
    Ok(contents)
}

impl Contents {
    fn add(&mut self, new: Component) -> Result<(), LoadError> {
        let same =
            |old: &Component| (old.info.kind, &old.info.name) == (new.info.kind, &new.info.name);
        if self.components.iter().any(same) {
            return wrong(&format!("it has two components {} `{}`", new.info.kind, new.info.name));
        }
        self.components.push(new);
        Ok(())
    }
}

fn descriptor(message: String) -> LoadError {
    LoadError::Descriptor { message }
}

fn wrong<T>(message: &str) -> Result<T, LoadError> {
    Err(descriptor(message.to_owned()))
}

/// The inner error is a component of an unknown kind, which is skipped.
///
/// # Safety
/// `table` is null or a component of a plugin.
unsafe fn component(
    table: *const LoupeComponent,
    idx: usize,
) -> Result<Result<Component, String>, String> {
    let what = format!("component {idx}");
    // SAFETY: the caller's promise; zero bytes are a `LoupeComponent`.
    let table: LoupeComponent = unsafe { sized(table, 0, &what) }?;
    // SAFETY: strings of a descriptor live as long as the plugin.
    let name = unsafe { text(table.name, MAX_NAME, &format!("the name of {what}")) }?;
    if !is_name(&name) {
        return Err(format!("{what} is named `{name}`; letters, digits, `-` and `_` are allowed"));
    }
    // SAFETY: as above.
    let id = unsafe { text(table.kind, MAX_NAME, &format!("the kind of `{name}`")) }?;
    let Some(kind) = Kind::ALL.into_iter().find(|kind| kind.id() == id) else {
        let known = Kind::ALL.map(|kind| format!("`{}`", kind.id())).join(", ");
        return Ok(Err(format!("`{name}` is of unknown kind `{id}`; this engine knows {known}")));
    };
    let what = format!("{kind} `{name}`");
    // SAFETY: the table is the plugin's.
    unsafe { functions(kind, name, &table) }.map(Ok).map_err(|why| format!("{what}: {why}"))
}

/// # Safety
/// `table` is what a plugin says of a component.
unsafe fn functions(kind: Kind, name: String, table: &LoupeComponent) -> Result<Component, String> {
    present(table.create.is_some(), "create")?;
    present(table.destroy.is_some(), "destroy")?;
    // SAFETY: zero bytes are a `LoupeVerbs`.
    let verbs: LoupeVerbs = unsafe { sized(table.verbs, 0, "its table of verbs") }?;
    present(verbs.run.is_some(), "run")?;
    // SAFETY: zero bytes are a `LoupeFit`.
    let fit = unsafe { extension::<LoupeFit>(table, LOUPE_EXT_FIT) }?;
    if let Some(fit) = &fit {
        present(fit.fit_open.is_some(), "fit_open")?;
        present(fit.fit_push.is_some(), "fit_push")?;
        present(fit.fit_close.is_some(), "fit_close")?;
        present(fit.fit_drop.is_some(), "fit_drop")?;
        present(fit.load.is_some(), "load")?;
    }
    // SAFETY: zero bytes are a `LoupeTaps`.
    let taps = unsafe { extension::<LoupeTaps>(table, LOUPE_EXT_TAPS) }?;
    if let Some(taps) = &taps {
        present(taps.open.is_some(), "open")?;
        present(taps.open_at.is_some(), "open_at")?;
        present(taps.resume.is_some(), "resume")?;
        present(taps.finish.is_some(), "finish")?;
        present(taps.drop.is_some(), "drop")?;
    }
    // SAFETY: zero bytes are a `LoupeBackward`.
    let backward = unsafe { extension::<LoupeBackward>(table, LOUPE_EXT_BACKWARD) }?;
    present(backward.is_none_or(|table| table.backward.is_some()), "backward")?;
    // SAFETY: zero bytes are a `LoupeTrain`.
    let train = unsafe { extension::<LoupeTrain>(table, LOUPE_EXT_TRAIN) }?;
    if let Some(train) = &train {
        present(train.parameters.is_some(), "parameters")?;
        present(train.forward.is_some(), "forward")?;
        present(train.backward.is_some(), "backward")?;
        present(train.tape_drop.is_some(), "tape_drop")?;
    }
    // SAFETY: zero bytes are a `LoupeTool`.
    let tool = unsafe { extension::<LoupeTool>(table, LOUPE_EXT_TOOL) }?;
    present(tool.is_none_or(|tool| tool.answer.is_some()), "answer")?;
    // SAFETY: the descriptor says so many pointers stand there.
    let ports = unsafe { ports(table) }?;
    let has = |verb: Verb| ports.iter().any(|port| port.verb == verb);
    present(verbs.encode_text.is_some() || !has(Verb::EncodeText), "encode_text")?;
    if fit.is_none() && has(Verb::Fit) {
        return Err(format!("it has ports for a fit, but no extension `{LOUPE_EXT_FIT}`"));
    }
    let encodes_text = kind == Kind::Encoder && verbs.encode_text.is_some();
    // SAFETY: the strings live as long as the plugin.
    let info = unsafe { facts(kind, name, table, ports) }?;
    let info = ComponentInfo {
        fits: fit.is_some(),
        taps: taps.is_some(),
        goes_back: backward.is_some(),
        trains: train.is_some(),
        encodes_text,
        ..info
    };
    Ok(Component { info, table: *table, verbs, fit, taps, backward, train, tool })
}

fn present(there: bool, function: &str) -> Result<(), String> {
    if there { Ok(()) } else { Err(format!("its function `{function}` is null")) }
}

/// # Safety
/// As `functions`.
unsafe fn ports(table: &LoupeComponent) -> Result<Vec<Port>, String> {
    // SAFETY: the descriptor says so many pointers stand there.
    let tables = unsafe { pointers(table.ports, table.n_ports, MAX_PORTS) }
        .map_err(|why| format!("its list of ports {why}"))?;
    let mut ports: Vec<Port> = Vec::with_capacity(tables.len());
    for (index, table) in (0_u32..).zip(tables) {
        let what = format!("port {index}");
        // SAFETY: the pointer is the plugin's; zero bytes are a `LoupePort`.
        let table: LoupePort = unsafe { sized(*table, 0, &what) }?;
        // SAFETY: strings of a descriptor live as long as the plugin.
        let (name, shape, about) = unsafe {
            (
                text(table.name, MAX_NAME, &format!("the name of {what}"))?,
                optional(table.shape, MAX_TEXT, &format!("the shape of {what}"))?,
                optional(table.about, MAX_TEXT, &format!("the text about {what}"))?,
            )
        };
        let about = about.unwrap_or_default();
        let port = port::read(index, name, shape, about, &table)?;
        let key = |port: &Port| (port.verb, port.output, port.name.clone());
        if ports.iter().any(|old| key(old) == key(&port)) {
            return Err(format!("it has two ports `{}` of one verb and direction", port.name));
        }
        ports.push(port);
    }
    if !ports.iter().any(|port| port.output && port.verb == Verb::Run) {
        return Err("it has no output port".to_owned());
    }
    Ok(ports)
}

/// # Safety
/// As `functions`.
unsafe fn facts(
    kind: Kind,
    name: String,
    table: &LoupeComponent,
    ports: Vec<Port>,
) -> Result<ComponentInfo, String> {
    // SAFETY: strings of a descriptor live as long as the plugin.
    let (about, schema) = unsafe {
        (
            optional(table.about, MAX_TEXT, "the text about it")?.unwrap_or_default(),
            text(table.config_schema, MAX_SCHEMA, "its schema")?,
        )
    };
    let schema: Value = serde_json::from_str(&schema)
        .map_err(|error| format!("its schema is not JSON: {error}"))?;
    if schema.get("type").and_then(Value::as_str) != Some("object") {
        return Err("its schema is not that of an object (`\"type\": \"object\"`)".to_owned());
    }
    let devices: Vec<&'static str> = [(LOUPE_CPU, "cpu"), (LOUPE_CUDA, "cuda")]
        .into_iter()
        .filter(|(bit, _)| table.devices & bit != 0)
        .map(|(_, name)| name)
        .collect();
    if devices.is_empty() {
        return Err("it names no device that this engine knows".to_owned());
    }
    let flag = |bit: u32| table.flags & bit != 0;
    Ok(ComponentInfo {
        kind,
        name,
        about,
        revision: table.revision,
        deterministic: flag(LOUPE_DETERMINISTIC),
        batch_invariant: flag(LOUPE_BATCH_INVARIANT),
        thread_safe: flag(LOUPE_THREAD_SAFE),
        devices,
        schema,
        ports,
        fits: false,
        taps: false,
        goes_back: false,
        trains: false,
        encodes_text: false,
        plugin: String::new(),
        plugin_version: String::new(),
        path: Default::default(),
        binary: [0; 32],
    })
}

/// # Safety
/// `T` is the struct of extension `id`; zero bytes are a `T`.
unsafe fn extension<T>(table: &LoupeComponent, id: &str) -> Result<Option<T>, String> {
    let Some(get) = table.get_extension else { return Ok(None) };
    let name = format!("{id}\0");
    // SAFETY: the plugin's own function, given a NUL-terminated name.
    let found: *const c_void = unsafe { get(name.as_ptr().cast()) };
    if found.is_null() {
        return Ok(None);
    }
    // SAFETY: the caller's promise.
    unsafe { sized(found.cast::<T>(), 0, &format!("its extension `{id}`")) }.map(Some)
}

/// A struct that may be shorter (made for an older header) or longer (a newer one) than ours: what
/// is missing is zero, what is unknown is left.
///
/// # Safety
/// `from` is null or begins with as many bytes as its size field, at byte `size_at`, says; zero
/// bytes are a `T`.
unsafe fn sized<T>(from: *const T, size_at: usize, what: &str) -> Result<T, String> {
    if from.is_null() {
        return Err(format!("{what} is null"));
    }
    let from = from.cast::<u8>();
    // SAFETY: every sized struct has its size field.
    let size = unsafe { from.add(size_at).cast::<u32>().read_unaligned() } as usize;
    if size < size_at + 4 {
        return Err(format!("{what} says that it has {size} bytes"));
    }
    // SAFETY: zero bytes are a `T`; at most `size` bytes are read and at most `size_of::<T>()` are
    // written.
    unsafe {
        let mut out: T = std::mem::zeroed();
        let n_bytes = size.min(size_of::<T>());
        std::ptr::copy_nonoverlapping(from, (&raw mut out).cast::<u8>(), n_bytes);
        Ok(out)
    }
}

/// # Safety
/// `list` is null or has `n` pointers that live as long as the process.
unsafe fn pointers<T>(
    list: *const *const T,
    n: u32,
    max: u32,
) -> Result<&'static [*const T], String> {
    if n == 0 {
        return Err("is empty".to_owned());
    }
    if n > max {
        return Err(format!("has {n} entries, at most {max} are allowed"));
    }
    if list.is_null() || !list.is_aligned() {
        return Err("is null or misaligned".to_owned());
    }
    // SAFETY: the caller's promise, and `list` is aligned.
    Ok(unsafe { slice::from_raw_parts(list, n as usize) })
}

/// # Safety
/// `from` is null or a NUL-terminated string.
unsafe fn text(from: *const c_char, max: usize, what: &str) -> Result<String, String> {
    // SAFETY: the caller's promise.
    match unsafe { optional(from, max, what) }? {
        Some(text) if !text.is_empty() => Ok(text),
        Some(_) => Err(format!("{what} is empty")),
        None => Err(format!("{what} is null")),
    }
}

/// # Safety
/// `from` is null or a NUL-terminated string.
unsafe fn optional(from: *const c_char, max: usize, what: &str) -> Result<Option<String>, String> {
    if from.is_null() {
        return Ok(None);
    }
    // SAFETY: `strnlen` stops at the NUL or at `max` bytes; so many bytes are there.
    let bytes = unsafe {
        let len = libc::strnlen(from, max + 1);
        slice::from_raw_parts(from.cast::<u8>(), len)
    };
    if bytes.len() > max {
        return Err(format!("{what} is longer than {max} bytes"));
    }
    match std::str::from_utf8(bytes) {
        Ok(text) => Ok(Some(text.to_owned())),
        Err(_) => Err(format!("{what} is not UTF-8")),
    }
}
