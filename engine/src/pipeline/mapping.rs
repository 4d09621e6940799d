//! The engine's loop over lists: which stages are mapped, and which lists are folded.

use super::diagnostics::Diagnostic;
use super::model::Label;
use super::ports::{Fed, takes};
use super::stages::Draft;
use super::values::{self, Got};
use crate::plugin::info::ValueKind;

/// Over which labels a stage is mapped. A list at a port for one tensor maps; several lists at a
/// port for many map if their labels are equal; one list alone at such a port is folded instead.
pub fn mapping(draft: &Draft, fed: &[Fed<'_>]) -> Result<Vec<Label>, Diagnostic> {
    let mut leader: Option<&Got> = None;
    let mut alone: Vec<&Got> = Vec::new();
    for fed in fed.iter().filter(|fed| !takes(fed.port, ValueKind::Tensors)) {
        let is_list = |got: &&Got| got.out.kind == ValueKind::Tensors;
        let lists: Vec<&Got> = fed.values.iter().filter(is_list).collect();
        if fed.port.many && lists.len() == 1 && fed.values.len() == 1 {
            alone.extend(lists);
            continue;
        }
        if fed.port.many && !lists.is_empty() && lists.len() != fed.values.len() {
            let plain = fed.values.iter().find(|got| got.out.kind != ValueKind::Tensors);
            return Err(mixed(draft, lists[0], plain.unwrap_or(lists[0])));
        }
        for got in lists {
            match leader {
                None => leader = Some(got),
                Some(first) if same_labels(&first.out.labels, &got.out.labels) => {}
                Some(first) => return Err(unequal(draft, first, got)),
            }
        }
    }
    let Some(leader) = leader else { return Ok(Vec::new()) };
    // Beside a list that maps, a lone list is taken label by label too: a bank per size.
    match alone.iter().find(|got| !same_labels(&leader.out.labels, &got.out.labels)) {
        Some(other) => Err(unequal(draft, leader, other)),
        None => Ok(leader.out.labels.clone()),
    }
}

fn same_labels(a: &[Label], b: &[Label]) -> bool {
    a.len() == b.len() && a.iter().all(|label| b.contains(label))
}

fn unequal(draft: &Draft, first: &Got, second: &Got) -> Diagnostic {
    let message = format!(
        "{} is given `{}` at {}, but `{}` at {}",
        draft.called(),
        first.text,
        values::shown(&first.out.labels),
        second.text,
        values::shown(&second.out.labels)
    );
    let found = Diagnostic::error(second.at, message).label(values::shown(&second.out.labels));
    found
        .related(first.at, values::shown(&first.out.labels))
        .note("lists are taken tensor by tensor, so their labels must be equal; select some by `@`")
}

fn mixed(draft: &Draft, list: &Got, plain: &Got) -> Diagnostic {
    let labels = values::shown(&list.out.labels);
    let message = format!(
        "{} is given the list `{}` ({labels}) together with the single `{}`",
        draft.called(),
        list.text,
        plain.text
    );
    let mut found = Diagnostic::error(list.at, message).related(plain.at, "one tensor");
    if let Some(first) = list.out.labels.first() {
        found =
            found.hint(format!("name one of the list, as `{}{}`", list.text, values::label(first)));
    }
    found
}
