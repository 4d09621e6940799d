//! What a verb reads, by port name.

use crate::error::{Error, Result};
use crate::port::{Port, Verb};
use crate::tensor::Tensor;
use crate::values::{EmbeddedText, Sentence, State};

/// The values given to one call. Every accessor errs with the port's name: `NoPort` if the
/// component declares no such input, `Missing` if nothing was given, `Shape` if another number or
/// kind of values was.
#[derive(Debug)]
pub struct Inputs<'a> {
    pub(crate) ports: &'a [Port],
    pub(crate) given: Vec<Given>,
}

/// All that was given to one port.
#[derive(Debug, Default)]
pub(crate) struct Given {
    pub(crate) port: usize,
    pub(crate) tensors: Vec<Tensor>,
    /// Number of tensors of each value, in order.
    pub(crate) groups: Vec<usize>,
    pub(crate) sentences: Vec<Sentence>,
    pub(crate) states: Vec<State>,
}

impl Inputs<'_> {
    pub fn has(&self, name: &str) -> bool {
        matches!(self.find(name), Ok(Some(_)))
    }

    /// The one tensor of a port.
    pub fn tensor(&self, name: &str) -> Result<&Tensor> {
        self.tensor_opt(name)?.ok_or_else(|| missing(name))
    }

    /// The one tensor of an optional port.
    pub fn tensor_opt(&self, name: &str) -> Result<Option<&Tensor>> {
        let Some(given) = self.find(name)? else {
            return Ok(None);
        };
        match given.tensors.as_slice() {
            [tensor] => Ok(Some(tensor)),
            [] if given.groups.is_empty() => Err(Error::shape(name, "a tensor", "another value")),
            tensors => Err(Error::shape(name, "1 tensor", format!("{} tensors", tensors.len()))),
        }
    }

    /// All tensors of a port, value after value. Each carries its label.
    pub fn tensors(&self, name: &str) -> Result<&[Tensor]> {
        Ok(&self.given(name)?.tensors)
    }

    /// The tensors of a port, value by value.
    pub fn groups(&self, name: &str) -> Result<Vec<&[Tensor]>> {
        let given = self.given(name)?;
        let mut rest = given.tensors.as_slice();
        let mut groups = Vec::with_capacity(given.groups.len());
        for size in &given.groups {
            let (group, tail) = rest.split_at((*size).min(rest.len()));
            groups.push(group);
            rest = tail;
        }
        Ok(groups)
    }

    pub fn sentences(&self, name: &str) -> Result<&[Sentence]> {
        Ok(&self.given(name)?.sentences)
    }

    /// Sentences with their embeddings. Errors: `Shape` too if the rows are not as many as the
    /// sentences.
    pub fn embedded_text(&self, name: &str) -> Result<EmbeddedText<'_>> {
        let given = self.given(name)?;
        let [embeddings] = given.tensors.as_slice() else {
            let got = format!("{} tensors", given.tensors.len());
            return Err(Error::shape(name, "sentences with one tensor of embeddings", got));
        };
        let [n_rows, _] = embeddings.dims_n::<2>(name)?;
        if n_rows != given.sentences.len() {
            let want = format!("one row for each of {} sentences", given.sentences.len());
            return Err(Error::shape(name, want, embeddings.shape()));
        }
        Ok(EmbeddedText { sentences: &given.sentences, embeddings })
    }

    pub fn state(&self, name: &str) -> Result<&State> {
        match self.given(name)?.states.as_slice() {
            [state] => Ok(state),
            states => Err(Error::shape(name, "1 state", format!("{} states", states.len()))),
        }
    }

    fn given(&self, name: &str) -> Result<&Given> {
        self.find(name)?.ok_or_else(|| missing(name))
    }

    /// `None` if the port exists and nothing was given to it.
    fn find(&self, name: &str) -> Result<Option<&Given>> {
        if !self.ports.iter().any(|port| !port.output && port.name == name) {
            return Err(no_port(self.ports, name, false));
        }
        // One name may stand for two ports of different verbs; a call fills those of its own.
        Ok(self.given.iter().find(|given| {
            self.ports.get(given.port).is_some_and(|port| !port.output && port.name == name)
        }))
    }
}

pub(crate) fn missing(name: &str) -> Error {
    Error::Missing { port: name.to_owned() }
}

pub(crate) fn no_port(ports: &[Port], name: &str, output: bool) -> Error {
    let names =
        ports.iter().filter(|port| port.output == output).map(|port| format!("`{}`", port.name));
    let declared = names.collect::<Vec<_>>().join(", ");
    Error::NoPort {
        port: name.to_owned(),
        direction: if output { "output" } else { "input" },
        declared: if declared.is_empty() { "none".to_owned() } else { declared },
    }
}

/// Index of the output port that a verb calls `name`. What a fusion writes between two taps is put by
/// its one verb.
pub(crate) fn output_index(ports: &[Port], verb: Verb, name: &str) -> Option<usize> {
    let of = |verb: Verb| {
        ports.iter().position(|port| port.output && port.verb == verb && port.name == name)
    };
    of(verb).or_else(|| of(Verb::Tap).filter(|_| verb == Verb::Run))
}
