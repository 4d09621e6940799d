//! Conformance checks for an author's own tests. They drive the component through the vtable a host
//! would use:
//!
//! ```text
//! #[test]
//! fn conforms() { loupe_plugin::testing::fusion::<Harmonic>("floor = 1e-6").check() }
//! ```
//!
//! The type must stand in the crate's `export!`. Inputs that are not given are made up from the
//! ports' shapes, with the sizes that `check` of the component tells.

mod checks;
mod drive;
mod foreign;
mod host;
mod learned;
mod samples;
mod training;

use std::collections::BTreeMap;
use std::ptr;

use serde_json::Value;

use crate::abi::{self, LoupeComponent, LoupeFit, LoupeTaps};
use crate::export::{self, EncoderKind, Exported, FusionKind, PromptsKind, ScorerKind};
use crate::glue::kinds::Kind;
use crate::port::{Port, Verb};
use crate::tensor::Tensor;
use crate::traits::{Encoder, Fusion, PromptGenerator, Scorer};
use crate::values::Sentence;
use drive::{Answer, Given, Live, Made};
pub use foreign::foreign;
use host::TestHost;
pub use host::host;
pub use training::training;

pub fn encoder<T: Encoder + Exported>(config: &str) -> Subject {
    Subject::new::<EncoderKind, T>(config)
}

pub fn prompts<T: PromptGenerator + Exported>(config: &str) -> Subject {
    Subject::new::<PromptsKind, T>(config)
}

pub fn scorer<T: Scorer + Exported>(config: &str) -> Subject {
    Subject::new::<ScorerKind, T>(config)
}

pub fn fusion<T: Fusion + Exported>(config: &str) -> Subject {
    Subject::new::<FusionKind, T>(config)
}

/// A component, a config and inputs, ready to be checked or run.
pub struct Subject {
    component: &'static LoupeComponent,
    fit: Option<&'static LoupeFit>,
    taps: Option<&'static LoupeTaps>,
    ports: Vec<Port>,
    schema: Value,
    config: Value,
    /// By port index. Ports not in it are filled with samples, but for optional ones.
    given: Vec<(u32, Given)>,
    /// Sizes of named dimensions in samples.
    dims: samples::Dims,
}

impl Subject {
    fn new<K: Kind<T>, T: Exported>(config: &str) -> Self {
        use crate::schema::Schema;
        let config: Value = match toml::from_str(config) {
            Ok(config) => config,
            Err(error) => panic!("the config under test is no TOML: {error}"),
        };
        let component = match export::describe::<K, T>() {
            // SAFETY: a descriptor is never freed.
            Ok(component) => unsafe { &*component },
            Err(error) => panic!("the component cannot describe itself: {error}"),
        };
        let (ports, schema) = (K::ports(), K::Config::schema());
        let given = Vec::new();
        let (fit, taps, dims) = (T::FIT, T::TAPS, BTreeMap::new());
        Subject { component, fit, taps, ports, schema, config, given, dims }
    }

    /// Gives a tensor to an input of the component's verb. Several to one port are its values, in
    /// order.
    pub fn input(self, port: &str, tensor: Tensor) -> Self {
        self.give(Verb::Run, port, Given::Tensor(tensor))
    }

    /// Gives a list of tensors, each under its label, as one value.
    pub fn inputs(self, port: &str, tensors: Vec<Tensor>) -> Self {
        self.give(Verb::Run, port, Given::Tensors(tensors))
    }

    pub fn text(self, port: &str, sentences: Vec<Sentence>) -> Self {
        self.give(Verb::Run, port, Given::Text(sentences))
    }

    pub fn embedded_text(self, port: &str, sentences: Vec<Sentence>, rows: Tensor) -> Self {
        self.give(Verb::Run, port, Given::Embedded(sentences, rows))
    }

    /// Gives a tensor to an input of the fit.
    pub fn fit(self, port: &str, tensor: Tensor) -> Self {
        self.give(Verb::Fit, port, Given::Tensor(tensor))
    }

    pub fn fit_embedded_text(self, port: &str, sentences: Vec<Sentence>, rows: Tensor) -> Self {
        self.give(Verb::Fit, port, Given::Embedded(sentences, rows))
    }

    /// The size of a named dimension in inputs that are made up.
    pub fn dim(mut self, name: &str, size: usize) -> Self {
        self.dims.insert(name.to_owned(), size);
        self
    }

    fn give(mut self, verb: Verb, port: &str, given: Given) -> Self {
        let is_it = |one: &Port| !one.output && self.reads(verb, one) && one.name == port;
        match self.ports.iter().position(is_it) {
            Some(index) => self.given.push((index as u32, given)),
            None => panic!("the component declares no input `{port}` of verb {verb:?}"),
        }
        self
    }

    /// Fits if the component fits, runs, and gives the outputs. Errors: the component's message.
    pub fn run(&self) -> Result<Ran, String> {
        let host = TestHost::new();
        let made =
            self.make(&host).and_then(|live| live.verb(false, &self.of(Verb::Run), u64::MAX));
        made.map(|made| Ran { made, ports: self.ports.clone() }).map_err(|answer| answer.message)
    }

    /// Runs every check and panics with the list of those that failed.
    pub fn check(mut self) {
        self.read_facts();
        let failures: Vec<String> = checks::ALL
            .iter()
            .filter_map(|(what, check)| check(&self).err().map(|why| format!("{what}: {why}")))
            .collect();
        assert!(failures.is_empty(), "the component does not conform\n  {}", failures.join("\n  "));
    }

    fn read_facts(&mut self) {
        let Ok(Some(facts)) = self.facts() else {
            return;
        };
        let dims = facts.get("dims").and_then(Value::as_object).into_iter().flatten();
        for (name, size) in dims {
            let size = size.as_u64().unwrap_or(1) as usize;
            self.dims.entry(name.clone()).or_insert(size);
        }
    }

    /// What the component says of its config; `None` if it has no `check`.
    fn facts(&self) -> Result<Option<Value>, Answer> {
        let Some(check) = self.component.check else {
            return Ok(None);
        };
        let (host, text) = (TestHost::new(), self.config.to_string());
        let made = drive::with_sink(|sink, error| {
            // SAFETY: all arguments live through the call.
            unsafe { check(host.raw(), crate::glue::raw::text(&text), sink, error) }
        })?;
        let json = made.json.first().ok_or_else(|| drive::absent("facts"))?;
        serde_json::from_str(json).map(Some).map_err(|error| Answer {
            status: abi::LOUPE_ERROR,
            message: format!("facts are no JSON: {error}"),
        })
    }

    /// An instance that can run: fitted, if the component has inputs to fit on.
    fn make(&self, host: &TestHost) -> Result<Live, Answer> {
        let plain = Live::create(self.component, &self.config, host)?;
        match self.fit {
            Some(fit) if self.ports.iter().any(|port| port.verb == Verb::Fit) => {
                let state = learned::fit(fit, &plain, &self.of(Verb::Fit))?;
                learned::load(fit, &plain, &state)
            }
            _ => Ok(plain),
        }
    }

    /// The inputs of a verb: those given, and samples for the rest.
    fn of(&self, verb: Verb) -> Vec<(u32, Given)> {
        let mut inputs = Vec::new();
        for (index, port) in self.ports.iter().enumerate() {
            if port.output || !self.reads(verb, port) {
                continue;
            }
            let index = index as u32;
            let given = self.given.iter().filter(|(at, _)| *at == index);
            let given: Vec<(u32, Given)> = given.cloned().collect();
            if given.is_empty() && port.flags & abi::LOUPE_PORT_OPTIONAL == 0 {
                let samples = samples::values(port, &self.dims);
                inputs.extend(samples.into_iter().map(|sample| (index, sample)));
            }
            inputs.extend(given);
        }
        inputs
    }

    /// Whether a verb reads a port. What a fusion reads between two taps comes with its one verb.
    fn reads(&self, verb: Verb, port: &Port) -> bool {
        port.verb == verb || (verb == Verb::Run && port.verb == Verb::Tap && self.taps.is_none())
    }

    /// Index of a port.
    fn index(&self, verb: Verb, output: bool, name: &str) -> Option<u32> {
        let found = self
            .ports
            .iter()
            .position(|port| port.verb == verb && port.output == output && port.name == name);
        found.map(|index| index as u32)
    }
}

/// The outputs of one run.
pub struct Ran {
    made: Made,
    ports: Vec<Port>,
}

impl Ran {
    /// The first tensor of an output. Panics if there is none: this is for tests.
    pub fn tensor(&self, port: &str) -> &Tensor {
        match self.tensors(port).first() {
            Some(tensor) => tensor,
            None => panic!("nothing was put into `{port}`"),
        }
    }

    pub fn tensors(&self, port: &str) -> Vec<&Tensor> {
        let made = self.made.tensors.iter();
        made.filter(|(index, _)| self.name(*index) == port).map(|(_, tensor)| tensor).collect()
    }

    pub fn sentences(&self, port: &str) -> Vec<&Sentence> {
        let made = self.made.texts.iter().filter(|(index, _)| self.name(*index) == port);
        made.flat_map(|(_, sentences)| sentences).collect()
    }

    fn name(&self, index: u32) -> &str {
        self.ports.get(index as usize).map_or("", |port| port.name.as_str())
    }
}

/// A place for an instance, fit or session that a call is to make.
fn place() -> *mut std::ffi::c_void {
    ptr::null_mut()
}
