//! Finds the value that `stage.value@label` names among the outputs of the stages before.

use super::diagnostics::{Diagnostic, listed};
use super::model::{Label, Select, ValueRef};
use super::reference::{RefText, SelectText};
use super::shapes::Dim;
use super::stages::Draft;
use super::tree::At;
use crate::plugin::info::{Scope, ValueKind};

/// An output of a stage, typed.
#[derive(Clone, Debug)]
pub struct Out {
    pub name: String,
    pub about: String,
    pub port_index: u32,
    pub kind: ValueKind,
    pub scope: Scope,
    pub labels: Vec<Label>,
    pub dims: Option<Vec<Dim>>,
    pub dtypes: Vec<&'static str>,
}

/// A value as some stage reads it: its selector is applied.
#[derive(Clone, Debug)]
pub struct Got {
    pub value: ValueRef,
    pub at: At,
    pub text: String,
    pub out: Out,
}

/// Resolves a reference. `outputs` holds those of every stage that is known to be right;
/// `Err(None)` if the stage has an error of its own.
pub fn resolve(
    reader: &str,
    reference: &RefText,
    drafts: &[Draft],
    outputs: &dyn Fn(usize) -> Option<Vec<Out>>,
) -> Result<Got, Option<Diagnostic>> {
    let RefText { at, text, .. } = reference;
    let stage_idx = drafts.iter().position(|draft| draft.name == reference.stage);
    let Some((stage_idx, outs)) = stage_idx.and_then(|idx| Some((idx, outputs(idx)?))) else {
        return Err(None);
    };
    let names: Vec<&str> = outs.iter().map(|out| out.name.as_str()).collect();
    let draft = drafts.get(stage_idx).ok_or(None)?;
    let makes = format!(
        "`{}` ({} `{}`) makes {}",
        draft.name,
        draft.kind,
        draft.component,
        listed(names.iter().copied())
    );
    let out = match &reference.output {
        Some(name) => outs.iter().find(|out| out.name == *name).ok_or_else(|| {
            let message = format!("{reader} reads `{text}`, which no stage makes");
            let mut found = Diagnostic::error(*at, message);
            if let Some(near) = super::diagnostics::nearest(name, names.iter().copied()) {
                found = found.hint(format!("did you mean `{}.{near}`?", reference.stage));
            }
            found.note(makes.clone())
        })?,
        None => match outs.as_slice() {
            [one] => one,
            [] => {
                let message = format!("{reader} reads `{text}`, which makes no value");
                return Err(Some(Diagnostic::error(*at, message)));
            }
            [first, ..] => {
                let message = format!("{reader} reads `{text}`, which makes several values");
                let hint =
                    format!("name one of them, such as `{}.{}`", reference.stage, first.name);
                return Err(Some(Diagnostic::error(*at, message).hint(hint).note(makes)));
            }
        },
    };
    let mut out = out.clone();
    let select = match &reference.select {
        None => Select::default(),
        Some(select) => narrow(&mut out, select).map_err(|why| {
            let message = format!("{reader} reads `{text}`, which is not there");
            Some(Diagnostic::error(*at, message).label(why))
        })?,
    };
    let value = ValueRef { stage: stage_idx, output: out.name.clone(), select };
    Ok(Got { value, at: *at, text: text.clone(), out })
}

/// Applies a selector to an output; an error is a sentence.
fn narrow(out: &mut Out, select: &SelectText) -> Result<Select, String> {
    if out.kind != ValueKind::Tensors {
        return Err("the value is no list, so it has no labels".to_string());
    }
    let has = |of: fn(&Label) -> Option<u32>, wanted: &[u32]| {
        wanted.iter().all(|number| out.labels.iter().any(|label| of(label) == Some(*number)))
    };
    let (sizes, taps, single) = match select {
        SelectText::Two { sizes, taps, single } => (sizes.clone(), taps.clone(), *single),
        SelectText::One(wanted, single) => {
            let by_size = has(|label| label.size, wanted);
            let by_tap = has(|label| label.tap, wanted);
            match (by_size, by_tap) {
                (true, true) => {
                    return Err("could be a size or a tap: write `@240.*` or `@*.6`".to_string());
                }
                (true, false) => (Some(wanted.clone()), None, *single),
                (false, true) => (None, Some(wanted.clone()), *single),
                (false, false) => return Err(format!("its labels are {}", shown(&out.labels))),
            }
        }
    };
    let known = sizes.as_ref().is_none_or(|wanted| has(|label| label.size, wanted))
        && taps.as_ref().is_none_or(|wanted| has(|label| label.tap, wanted));
    let keeps = |part: &Option<Vec<u32>>, number: Option<u32>| {
        part.as_ref().is_none_or(|wanted| number.is_some_and(|number| wanted.contains(&number)))
    };
    let kept: Vec<Label> = out
        .labels
        .iter()
        .copied()
        .filter(|label| keeps(&sizes, label.size) && keeps(&taps, label.tap))
        .collect();
    if !known || kept.is_empty() {
        return Err(format!("its labels are {}", shown(&out.labels)));
    }
    let single = single && kept.len() == 1;
    let kept_sizes: Vec<u32> = kept.iter().filter_map(|label| label.size).collect();
    if let Some(dims) = &mut out.dims {
        dims.iter_mut().for_each(|dim| *dim = dim.at_sizes(&kept_sizes));
    }
    out.labels = if single { Vec::new() } else { kept };
    if single {
        out.kind = ValueKind::Tensor;
    }
    Ok(Select { sizes, taps, single })
}

/// `@240, @448`
pub fn shown(labels: &[Label]) -> String {
    let words: Vec<String> = labels.iter().map(label).collect();
    words.join(", ")
}

/// `@240`, `@6` or `@240.6`
pub fn label(label: &Label) -> String {
    match (label.size, label.tap) {
        (Some(size), Some(tap)) => format!("@{size}.{tap}"),
        (Some(number), None) | (None, Some(number)) => format!("@{number}"),
        (None, None) => "@".to_string(),
    }
}

/// A kind in words.
pub fn kind(kind: ValueKind) -> &'static str {
    match kind {
        ValueKind::Tensor => "a tensor",
        ValueKind::Tensors => "a list of tensors",
        ValueKind::Text => "plain sentences",
        ValueKind::EmbeddedText => "embedded sentences",
        ValueKind::State => "a state",
    }
}

/// How often a value is made, in words.
pub fn scope(scope: Scope) -> &'static str {
    match scope {
        Scope::Run => "once per run",
        Scope::Class => "once per class",
        Scope::Image => "once per image",
    }
}
