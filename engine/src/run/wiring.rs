//! How often a stage's component is called for an image and with what: once, once per label of a mapped list, or once
//! with a list folded into the values of one port. It follows from the checked pipeline alone, no image is needed.

use super::RunError;
use super::reads::select;
use crate::pipeline::model::{Component, Input, Label, Pipeline, Stage, StageOutput, ValueRef};
use crate::plugin::info::{Catalog, Scope, ValueKind, Verb};

/// One call of a component.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Call {
    /// The label that the outputs carry; empty when nothing is mapped.
    pub(super) label: Label,
    pub(super) feeds: Vec<Feed>,
}

/// One value given to a port.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Feed {
    pub(super) port: u32,
    pub(super) stage: usize,
    pub(super) output: String,
    pub(super) form: Form,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Form {
    /// One tensor of an image.
    Tensor(Label),
    /// A list of tensors of an image, whole.
    Tensors(Vec<Label>),
    /// A value of the class.
    Class,
}

/// All calls of one stage: those that learn and those that run.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Wiring {
    pub(super) fits: Vec<Call>,
    pub(super) runs: Vec<Call>,
}

impl Wiring {
    /// The fit whose state a call with this label uses.
    pub(super) fn fit_of(&self, label: Label) -> Option<&Call> {
        match self.fits.as_slice() {
            [one] if one.label == Label::default() => Some(one),
            fits => fits.iter().find(|fit| fit.label == label),
        }
    }

    /// The call that makes the tensor with this label: of a stage that steps through taps, the one with its size.
    pub(super) fn run_of(&self, label: Label) -> Option<&Call> {
        let same = |call: &&Call| call.label == label;
        let same_size = |call: &&Call| call.label == Label { tap: None, ..label };
        self.runs.iter().find(same).or_else(|| self.runs.iter().find(same_size))
    }
}

/// Wiring of every stage.
/// Errors: `Wiring` where a component is not loaded.
pub(super) fn wire(pipeline: &Pipeline, catalog: &dyn Catalog) -> Result<Vec<Wiring>, RunError> {
    pipeline.stages.iter().map(|stage| wire_stage(pipeline, stage, catalog)).collect()
}

fn wire_stage(
    pipeline: &Pipeline,
    stage: &Stage,
    catalog: &dyn Catalog,
) -> Result<Wiring, RunError> {
    if let Component::Prepare(prepare) = &stage.component {
        let label = |size: &u32| Label { size: Some(*size), tap: None };
        let call = |size| Call { label: label(size), feeds: Vec::new() };
        return Ok(Wiring { fits: Vec::new(), runs: prepare.sizes.iter().map(call).collect() });
    }
    let ports = ports(stage, catalog)?;
    let inputs = |verb: Verb| stage.inputs.iter().filter(move |input| input.verb == verb);
    let runs: Vec<Wire> = inputs(Verb::Run)
        .chain(inputs(Verb::Tap))
        .map(|input| Wire::new(pipeline, input, &ports))
        .collect();
    let fits: Vec<Wire> =
        inputs(Verb::Fit).map(|input| Wire::new(pipeline, input, &ports)).collect();
    let mapped = mapped_labels(stage);
    let fit_lists = fits.iter().flat_map(|wire| &wire.values).any(|value| value.list);
    let fits = match fits.is_empty() {
        true => Vec::new(),
        false if fit_lists && !mapped.is_empty() => {
            mapped.iter().map(|label| call(*label, &fits, true)).collect()
        }
        false => vec![call(Label::default(), &fits, false)],
    };
    let runs = match mapped.is_empty() {
        true => vec![call(Label::default(), &runs, false)],
        false => mapped.iter().map(|label| call(*label, &runs, true)).collect(),
    };
    Ok(Wiring { fits, runs })
}

/// The values of one input with what the port makes of lists.
struct Wire {
    port: u32,
    takes_lists: bool,
    values: Vec<Given>,
}

struct Given {
    stage: usize,
    output: String,
    labels: Vec<Label>,
    list: bool,
    class: bool,
}

struct PortKind {
    name: String,
    verb: Verb,
    takes_lists: bool,
}

fn ports(stage: &Stage, catalog: &dyn Catalog) -> Result<Vec<PortKind>, RunError> {
    let Component::Plugin { kind, name } = &stage.component else {
        let port =
            |name: &str| PortKind { name: name.to_owned(), verb: Verb::Run, takes_lists: false };
        return Ok(vec![port("of")]);
    };
    let info = catalog.component(*kind, name).ok_or_else(|| RunError::Wiring {
        stage: stage.name.clone(),
        message: format!("the {kind} `{name}` is not loaded"),
    })?;
    let port = |port: &crate::plugin::info::Port| PortKind {
        name: port.name.clone(),
        verb: port.verb,
        takes_lists: port.kinds.contains(&ValueKind::Tensors),
    };
    Ok(info.ports.iter().filter(|port| !port.output).map(port).collect())
}

impl Wire {
    fn new(pipeline: &Pipeline, input: &Input, ports: &[PortKind]) -> Wire {
        let port = ports.iter().find(|port| port.name == input.port && port.verb == input.verb);
        Wire {
            port: input.port_index,
            takes_lists: port.is_some_and(|port| port.takes_lists),
            values: input.values.iter().map(|value| given(pipeline, value)).collect(),
        }
    }
}

fn given(pipeline: &Pipeline, value: &ValueRef) -> Given {
    let output = output_of(pipeline, value);
    let labels = output.map_or(Vec::new(), |output| output.labels.clone());
    let list = output.is_some_and(|output| output.kind == ValueKind::Tensors);
    Given {
        stage: value.stage,
        output: value.output.clone(),
        labels: if list { select(value, &labels) } else { vec![Label::default()] },
        list: list && !value.select.single,
        class: output.is_some_and(|output| output.scope != Scope::Image),
    }
}

/// The output that a reference names.
pub(super) fn output_of<'p>(pipeline: &'p Pipeline, value: &ValueRef) -> Option<&'p StageOutput> {
    let stage = pipeline.stages.get(value.stage)?;
    stage.outputs.iter().find(|output| output.name == value.output)
}

/// Labels of the stage's calls, as `check` found them. A fusion on taps is called once per image size: the taps of one
/// size are one pass.
fn mapped_labels(stage: &Stage) -> Vec<Label> {
    let mut labels = stage.mapped.clone();
    if stage.taps.is_some() {
        labels.iter_mut().for_each(|label| label.tap = None);
        labels.dedup();
    }
    labels
}

fn call(label: Label, wires: &[Wire], mapped: bool) -> Call {
    let feeds = wires.iter().flat_map(|wire| {
        wire.values.iter().flat_map(move |value| {
            let feed = |form| Feed {
                port: wire.port,
                stage: value.stage,
                output: value.output.clone(),
                form,
            };
            if value.class {
                vec![feed(Form::Class)]
            } else if wire.takes_lists && value.list {
                vec![feed(Form::Tensors(value.labels.clone()))]
            } else if mapped && value.list && value.labels.contains(&label) {
                vec![feed(Form::Tensor(label))]
            } else {
                value.labels.iter().map(|label| feed(Form::Tensor(*label))).collect()
            }
        })
    });
    Call { label, feeds: feeds.collect() }
}
