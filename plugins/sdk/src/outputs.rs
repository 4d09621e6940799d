//! What a verb makes, by port name, and what of it anybody reads.

use crate::inputs::output_index;
use crate::port::{Port, Verb};
use crate::tensor::Tensor;
use crate::values::{Label, Sentence};

/// Which outputs somebody reads. What nobody reads need not be made.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    pub(crate) ports: &'a [Port],
    pub(crate) verb: Verb,
    pub(crate) mask: u64,
}

impl Wanted<'_> {
    /// Whether somebody reads the output; no for a name that is not declared.
    pub fn has(&self, name: &str) -> bool {
        output_index(self.ports, self.verb, name).is_some_and(|index| self.has_index(index))
    }

    pub(crate) fn has_index(&self, index: usize) -> bool {
        index < 64 && self.mask & (1 << index) != 0
    }
}

/// The values a verb made. Those that nobody reads are dropped on the way out.
#[derive(Debug, Default)]
pub struct Outputs {
    pub(crate) made: Vec<(String, Made)>,
}

#[derive(Debug)]
pub(crate) enum Made {
    Tensor(Tensor),
    Text(Vec<Sentence>),
}

impl Outputs {
    pub fn new() -> Self {
        Outputs::default()
    }

    /// The outputs of a verb that makes one tensor.
    pub fn one(name: &str, tensor: Tensor) -> Self {
        Outputs::new().put(name, tensor)
    }

    /// Adds a tensor under its own label. A list is several of these, in order.
    pub fn put(mut self, name: &str, tensor: Tensor) -> Self {
        self.made.push((name.to_owned(), Made::Tensor(tensor)));
        self
    }

    pub fn put_labelled(self, name: &str, label: Label, tensor: Tensor) -> Self {
        self.put(name, tensor.with_label(label))
    }

    pub fn put_text(mut self, name: &str, sentences: Vec<Sentence>) -> Self {
        self.made.push((name.to_owned(), Made::Text(sentences)));
        self
    }
}
