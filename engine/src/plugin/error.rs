//! What goes wrong with plugins, in words: while a file is loaded, and while a component is called.

use std::fmt;
use std::io;

use thiserror::Error;

use super::elf::ElfError;
use super::info::Kind;

/// Why a file was not loaded. It never ends the program: the loader keeps the reason and goes on.
#[derive(Debug, Error)]
pub enum LoadError {
    #[error("cannot be read: {source}")]
    Read { source: io::Error },
    #[error(transparent)]
    Elf(#[from] ElfError),
    #[error("cannot be copied into memory: {source}")]
    Copy { source: io::Error },
    #[error("cannot be linked: {message}")]
    Link { message: String },
    #[error("is not a loupe plugin: the symbol `{symbol}` is missing")]
    Symbol { symbol: &'static str },
    #[error("speaks plugin boundary {got}, but this engine speaks {want}; rebuild the plugin")]
    Abi { want: u32, got: u32 },
    #[error(
        "was built with `panic = \"abort\"`, so that a panic in it would end the engine; \
         build it with `panic = \"unwind\"`"
    )]
    AbortsOnPanic,
    #[error("{message}")]
    Descriptor { message: String },
    #[error("crashed while loading (signal {signal})")]
    Crashed { signal: i32 },
    #[error("did not load within {seconds} s and was stopped")]
    TimedOut { seconds: f32 },
    #[error("ended the process that loaded it ({status})")]
    Exited { status: String },
    #[error("cannot be tried: `{program}`: {source}")]
    Probe { program: String, source: io::Error },
}

/// A component and the verb it was called with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    pub plugin: String,
    pub kind: Kind,
    pub component: String,
    pub verb: &'static str,
}

impl fmt::Display for Place {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { plugin, kind, component, verb } = self;
        write!(out, "{kind} `{component}` (plugin `{plugin}`), `{verb}`")
    }
}

/// Why a call failed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PluginError {
    #[error("no plugin has the {kind} `{component}`; `loupe inspect` lists what there is")]
    Unknown { kind: Kind, component: String },
    #[error("{at} refuses its config: {message}")]
    Config { at: Box<Place>, message: String },
    #[error("{at} refuses its input: {message}")]
    Input { at: Box<Place>, message: String },
    /// The result broke a promise of the component's ports.
    #[error("{at} gave a wrong result: {message}")]
    Output { at: Box<Place>, message: String },
    #[error("{at} panicked: {message}")]
    Panic { at: Box<Place>, message: String },
    #[error("{at} was not called, because it panicked before in `{verb}`; make it anew")]
    Poisoned { at: Box<Place>, verb: &'static str },
    #[error("{at} was cancelled")]
    Cancelled { at: Box<Place> },
    #[error("{at} is not supported: {message}")]
    Unsupported { at: Box<Place>, message: String },
    #[error("{at} failed: {message}")]
    Failed { at: Box<Place>, message: String },
}
