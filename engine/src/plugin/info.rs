//! What the engine knows of a component before it runs: read once from its descriptor, then plain Rust.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use serde::Serialize;
use serde_json::Value;

/// The four kinds of component a plugin may hold. `id` is the boundary's word, `key` the pipeline's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    Encoder,
    Prompts,
    Scorer,
    Fusion,
}

impl Kind {
    pub const ALL: [Kind; 4] = [Kind::Encoder, Kind::Prompts, Kind::Scorer, Kind::Fusion];

    pub fn id(self) -> &'static str {
        match self {
            Kind::Encoder => "loupe.encoder/1",
            Kind::Prompts => "loupe.prompts/1",
            Kind::Scorer => "loupe.scorer/1",
            Kind::Fusion => "loupe.fusion/1",
        }
    }

    pub fn key(self) -> &'static str {
        match self {
            Kind::Encoder => "encoder",
            Kind::Prompts => "prompts",
            Kind::Scorer => "scorer",
            Kind::Fusion => "fusion",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.key())
    }
}

/// What a value is. A port lists the kinds it takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ValueKind {
    Tensor,
    Tensors,
    Text,
    EmbeddedText,
    State,
}

/// What a value belongs to: it is computed once per image, once per class or once per run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scope {
    Run,
    Class,
    Image,
}

/// The verb that reads or writes a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verb {
    Run,
    Fit,
    EncodeText,
    Tap,
}

/// One input or output of a component. `index` is its place in the descriptor: calls and `wanted` masks use it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Port {
    pub index: u32,
    pub name: String,
    pub about: String,
    pub verb: Verb,
    pub output: bool,
    pub kinds: Vec<ValueKind>,
    /// Names of the element types it takes, such as `f32`.
    pub dtypes: Vec<&'static str>,
    pub scope: Scope,
    pub optional: bool,
    pub many: bool,
    /// `b gh gw d`; `None` where the kind has no shape.
    pub shape: Option<String>,
}

/// A component as its plugin describes it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ComponentInfo {
    pub kind: Kind,
    pub name: String,
    pub about: String,
    /// 0 while under development: the digest of the binary then joins every key.
    pub revision: u32,
    pub deterministic: bool,
    pub batch_invariant: bool,
    pub thread_safe: bool,
    pub devices: Vec<&'static str>,
    /// JSON Schema of its config.
    pub schema: Value,
    pub ports: Vec<Port>,
    pub fits: bool,
    pub taps: bool,
    /// Its stepped pass can be walked back.
    pub goes_back: bool,
    /// It learns by gradients.
    pub trains: bool,
    pub encodes_text: bool,
    pub plugin: String,
    pub plugin_version: String,
    pub path: PathBuf,
    /// BLAKE3 of the plugin's file.
    #[serde(skip)]
    pub binary: [u8; 32],
}

/// What a component says of one config without reading weights.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Facts {
    /// Values of symbolic dimensions, such as `d` = 640.
    pub dims: BTreeMap<String, usize>,
    /// Taps at which an encoder can be stepped.
    pub taps: Vec<u32>,
    /// The whole object, for what else is in it.
    pub all: Value,
}

/// A prompt cache in a config.
#[derive(Clone, Debug, PartialEq)]
pub struct NamedCache {
    pub path: String,
    /// People write it: no model is asked for what it lacks.
    pub by_hand: bool,
}

/// The components at hand. The loader is one; tests make their own.
pub trait Catalog {
    fn component(&self, kind: Kind, name: &str) -> Option<&ComponentInfo>;
    /// Names of a kind's components, sorted.
    fn names(&self, kind: Kind) -> Vec<&str>;
    /// Facts about a config that passed the schema.
    /// Errors: the component's own message.
    fn facts(&self, kind: Kind, name: &str, config: &Value) -> Result<Facts, String>;
    /// The prompt caches that a config names.
    fn caches(&self, _kind: Kind, _name: &str, _config: &Value) -> Vec<NamedCache> {
        Vec::new()
    }
    /// Why a component of this kind and name could not be loaded, if a file that was refused held it or might.
    fn rejected(&self) -> Vec<(PathBuf, String)>;
}
