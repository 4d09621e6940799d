//! What a component reads and makes: its ports, built by name.

use crate::abi;

/// The verb that reads or writes a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Verb {
    /// `encode_images`, `generate`, `score` or `fuse`.
    Run = abi::LOUPE_VERB_RUN,
    /// What `fit_push` reads.
    Fit = abi::LOUPE_VERB_FIT,
    EncodeText = abi::LOUPE_VERB_ENCODE_TEXT,
    /// What a stepped pass reads and writes between two taps.
    Tap = abi::LOUPE_VERB_TAP,
}

/// What a value belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Scope {
    Image = abi::LOUPE_SCOPE_IMAGE,
    Class = abi::LOUPE_SCOPE_CLASS,
    Run = abi::LOUPE_SCOPE_RUN,
}

/// One input or output. Its place in the list that `ports` returns is its index.
#[derive(Clone, Debug, PartialEq)]
pub struct Port {
    pub(crate) name: String,
    pub(crate) about: String,
    pub(crate) shape: Option<String>,
    pub(crate) verb: Verb,
    pub(crate) output: bool,
    pub(crate) kind: u32,
    pub(crate) dtypes: u32,
    pub(crate) scope: Scope,
    pub(crate) flags: u32,
}

impl Port {
    pub fn input(name: &str) -> Self {
        Port {
            name: name.to_owned(),
            about: String::new(),
            shape: None,
            verb: Verb::Run,
            output: false,
            kind: 0,
            dtypes: 0,
            scope: Scope::Image,
            flags: 0,
        }
    }

    pub fn output(name: &str) -> Self {
        Port { output: true, ..Port::input(name) }
    }

    /// One f32 tensor. `shape`: names of dimensions separated by spaces, a number where fixed,
    /// `...` for any leading ones: `b gh gw d`.
    pub fn tensor(self, shape: &str) -> Self {
        self.shaped(abi::LOUPE_TENSOR, shape)
    }

    /// A list of f32 tensors with a label each, handed over whole.
    pub fn tensors(self, shape: &str) -> Self {
        self.shaped(abi::LOUPE_TENSORS, shape)
    }

    /// Sentences, of the class.
    pub fn text(mut self) -> Self {
        self.kind |= abi::LOUPE_TEXT;
        self.scope = Scope::Class;
        self
    }

    /// Sentences with their embeddings, of the class. `shape` is that of the embeddings: `n d`.
    pub fn embedded_text(self, shape: &str) -> Self {
        self.shaped(abi::LOUPE_EMBEDDED_TEXT, shape).scope(Scope::Class)
    }

    pub fn state(mut self) -> Self {
        self.kind |= abi::LOUPE_STATE;
        self
    }

    /// The port takes several values.
    pub fn many(mut self) -> Self {
        self.flags |= abi::LOUPE_PORT_MANY;
        self
    }

    pub fn optional(mut self) -> Self {
        self.flags |= abi::LOUPE_PORT_OPTIONAL;
        self
    }

    pub fn scope(mut self, scope: Scope) -> Self {
        self.scope = scope;
        self
    }

    pub fn verb(mut self, verb: Verb) -> Self {
        self.verb = verb;
        self
    }

    /// Element types the port takes, a set of `LOUPE_F32` and its like.
    pub fn dtypes(mut self, dtypes: u32) -> Self {
        self.dtypes = dtypes;
        self
    }

    pub fn about(mut self, about: &str) -> Self {
        self.about = about.to_owned();
        self
    }

    fn shaped(mut self, kind: u32, shape: &str) -> Self {
        self.kind |= kind;
        self.dtypes |= abi::LOUPE_F32;
        self.shape = Some(shape.to_owned());
        self
    }
}

/// What each kind reads and makes unless it says otherwise.
impl Port {
    /// `parts -> fused`, of one shape.
    pub fn fusion() -> Vec<Port> {
        vec![Port::input("parts").tensor("...").many(), Port::output("fused").tensor("...")]
    }

    /// `query [..., d] -> patch_scores [...]`.
    pub fn scorer() -> Vec<Port> {
        vec![Port::input("query").tensor("... d"), Port::output("patch_scores").tensor("...")]
    }

    /// `class -> text`; the first sentence of `class` is the display name, the rest are synonyms.
    pub fn prompts() -> Vec<Port> {
        vec![Port::input("class").text(), Port::output("text").text()]
    }

    /// `image [b, 3, h, w]`.
    pub fn image() -> Port {
        Port::input("image").tensor("b 3 h w")
    }

    /// `text -> text_embeddings [n, d]`: an encoder with these two offers `encode_text`.
    pub fn encode_text() -> [Port; 2] {
        [
            Port::input("text").text().verb(Verb::EncodeText),
            Port::output("text_embeddings")
                .tensor("n d")
                .scope(Scope::Class)
                .verb(Verb::EncodeText),
        ]
    }

    /// `stream [b, t, c]` in and out: an encoder that implements `Taps` has these two.
    pub fn stream() -> [Port; 2] {
        [
            Port::input("stream").tensor("b t c").verb(Verb::Tap),
            Port::output("stream").tensor("b t c").verb(Verb::Tap),
        ]
    }
}
