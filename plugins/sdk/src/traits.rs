//! The four kinds of component, and what some of them do besides: fit, be stepped, learn by gradients,
//! and answer questions about prompt caches.

use serde::de::DeserializeOwned;

use crate::error::{Error, Result};
use crate::host::Host;
use crate::inputs::Inputs;
use crate::outputs::{Outputs, Wanted};
use crate::port::Port;
use crate::schema::Schema;
use crate::tensor::Tensor;
use crate::values::{Facts, Sentence, State};

/// What a component promises of its outputs; the conformance checks hold it to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Purity {
    /// The same inputs give the same bytes.
    pub deterministic: bool,
    /// An image's outputs do not depend on its neighbours in the batch, to the last bit. An encoder that also
    /// tells `patch_size` and `n_prefix` in its facts gets several small images in a call.
    pub batch_invariant: bool,
    /// One instance may be called from several threads at once. The traits ask for `Sync`, so this
    /// holds unless the component drives something that is not.
    pub thread_safe: bool,
}

impl Purity {
    pub const ALL: Purity =
        Purity { deterministic: true, batch_invariant: true, thread_safe: true };
}

/// Makes one value out of several. Implement `fuse` for n parts of one shape, or `ports` and
/// `fuse_ports` for anything else.
pub trait Fusion: Sized + Send + Sync + 'static {
    type Config: DeserializeOwned + Schema;
    /// Raise it whenever outputs for the same inputs change; 0 while under development.
    const REVISION: u32 = 0;
    /// One sentence for listings; if empty, the description of the config.
    const ABOUT: &'static str = "";
    const PURITY: Purity = Purity::ALL;

    fn new(config: Self::Config, host: &Host) -> Result<Self>;

    /// Judges what a schema cannot, and tells sizes, without reading weights.
    fn check(_config: &Self::Config, _host: &Host) -> Result<Facts> {
        Ok(Facts::new())
    }

    fn ports() -> Vec<Port> {
        Port::fusion()
    }

    fn fuse(&self, _parts: &[Tensor]) -> Result<Tensor> {
        Err(Error::unsupported("fusing plain parts"))
    }

    fn fuse_ports(&self, inputs: &Inputs, _wanted: &Wanted) -> Result<Outputs> {
        Ok(Outputs::one("fused", self.fuse(inputs.tensors("parts")?)?))
    }
}

/// Gives features a score; higher is more anomalous.
pub trait Scorer: Sized + Send + Sync + 'static {
    type Config: DeserializeOwned + Schema;
    const REVISION: u32 = 0;
    const ABOUT: &'static str = "";
    const PURITY: Purity = Purity::ALL;

    fn new(config: Self::Config, host: &Host) -> Result<Self>;

    fn check(_config: &Self::Config, _host: &Host) -> Result<Facts> {
        Ok(Facts::new())
    }

    fn ports() -> Vec<Port> {
        Port::scorer()
    }

    fn score(&self, inputs: &Inputs, wanted: &Wanted) -> Result<Outputs>;
}

/// Writes sentences about a class.
pub trait PromptGenerator: Sized + Send + Sync + 'static {
    type Config: DeserializeOwned + Schema;
    const REVISION: u32 = 0;
    const ABOUT: &'static str = "";
    const PURITY: Purity = Purity::ALL;

    fn new(config: Self::Config, host: &Host) -> Result<Self>;

    fn check(_config: &Self::Config, _host: &Host) -> Result<Facts> {
        Ok(Facts::new())
    }

    fn ports() -> Vec<Port> {
        Port::prompts()
    }

    fn generate(&self, class_name: &str, synonyms: &[&str]) -> Result<Vec<Sentence>>;
}

/// Turns images, and sentences if it can, into vectors. Emits raw vectors: who compares them
/// normalises them.
pub trait Encoder: Sized + Send + Sync + 'static {
    type Config: DeserializeOwned + Schema;
    const REVISION: u32 = 0;
    const ABOUT: &'static str = "";
    const PURITY: Purity = Purity::ALL;

    fn new(config: Self::Config, host: &Host) -> Result<Self>;

    fn check(_config: &Self::Config, _host: &Host) -> Result<Facts> {
        Ok(Facts::new())
    }

    /// `Port::image()`, the outputs, and `Port::encode_text()` if it takes text, `Port::stream()`
    /// if it has taps.
    fn ports() -> Vec<Port>;

    /// `images [b, 3, h, w]` -> the wanted outputs.
    fn encode_images(&self, images: &Tensor, wanted: &Wanted) -> Result<Outputs>;

    /// Sentences -> `[n, d]`. Offered to the host if `ports` has those of `Port::encode_text`.
    fn encode_text(&self, _sentences: &[Sentence]) -> Result<Tensor> {
        Err(Error::unsupported("text"))
    }
}

/// For a component that learns something before it runs: a bank, a threshold, a text model. Several
/// fits may be open at once.
pub trait Fit: Sized + Send + Sync + 'static {
    type Session: Send + 'static;

    fn fit_open(&self) -> Result<Self::Session>;

    /// Called as often as needed, with the ports of `Verb::Fit`, in a stable order.
    fn fit_push(&self, session: &mut Self::Session, inputs: &Inputs) -> Result<()>;

    fn fit_close(&self, session: Self::Session) -> Result<State>;

    /// A new instance with the state in it.
    fn load(&self, state: &State) -> Result<Self>;
}

/// For an encoder that can be stepped from tap to tap. Streams are `[b, n_prefix + gh*gw, c]`;
/// between two steps the caller may rewrite them.
pub trait Taps: Encoder {
    type Session: Send + 'static;

    /// Runs the images to the first of `taps`, which ascend, and gives its stream.
    fn open(&self, taps: &[u32], train: bool, images: &Tensor) -> Result<(Self::Session, Tensor)>;

    /// Opens at the first of `taps` with the stream that an earlier pass gave there.
    fn open_at(
        &self,
        taps: &[u32],
        train: bool,
        images: &Tensor,
        stream: &Tensor,
    ) -> Result<Self::Session>;

    /// Takes the stream of the current tap and gives that of the next.
    fn resume(&self, session: &mut Self::Session, stream: &Tensor) -> Result<Tensor>;

    /// Takes the stream of the last tap and gives the wanted outputs.
    fn finish(&self, session: Self::Session, stream: &Tensor, wanted: &Wanted) -> Result<Outputs>;
}

/// For an encoder whose steps can be walked back, so that what stands between its taps can be trained.
/// The encoder itself does not learn.
pub trait Backward: Taps {
    /// The cotangent of the stream that `resume` number `segment` (from 0) gave -> of the stream it took.
    /// The session was opened with `train`; each segment is asked for once, from the last to the first.
    fn backward(
        &self,
        session: &mut Self::Session,
        segment: usize,
        cotangent: &Tensor,
    ) -> Result<Tensor>;
}

/// For a fusion that learns by gradients. The host owns the parameters, changes them between calls and
/// lends them. A state of parameters or gradients is written by `StateWriter`; names begin with that of
/// a head and `_` where one belongs to a head: `seg_adapters.0.weight`.
pub trait Train: Fusion {
    /// What `backward` needs of a forward pass.
    type Tape: Send + 'static;

    /// The parameters to begin with. `inputs` are those of one run and tell the sizes.
    fn parameters(&self, inputs: &Inputs) -> Result<State>;

    /// As `fuse_ports`, with `parameters` in the place of the component's own.
    fn forward(
        &self,
        parameters: &State,
        inputs: &Inputs,
        wanted: &Wanted,
    ) -> Result<(Outputs, Self::Tape)>;

    /// Cotangents of outputs, by the outputs' names, those left out being zero -> cotangents of inputs,
    /// put by the inputs' names, and the gradients of the parameters that got one.
    fn backward(&self, tape: Self::Tape, cotangents: &Inputs) -> Result<(Outputs, State)>;
}

/// For prompt generators whose sentences lie in prompt caches: how these are filled, listed, checked
/// and written. A pure function: the host opens files, sends requests and writes.
pub trait Tool: PromptGenerator {
    /// Answers a question, a JSON object whose `do` says what is wanted, with a JSON object.
    fn answer(question: &str) -> Result<String>;
}
