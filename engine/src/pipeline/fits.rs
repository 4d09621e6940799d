//! Whether values fit ports: kind, element type, scope, shape, and what a fit sees.

use super::diagnostics::{Diagnostic, listed};
use super::model::{FitOn, PAINTED_MASK, ValueRef};
use super::ports::{Fed, takes};
use super::shapes::{Bindings, Dim, Misfit, shown, shown_pattern};
use super::stages::Draft;
use super::values::{self, Got, Out};
use crate::plugin::info::{Port, Scope, ValueKind, Verb};

/// Kinds, element types and counts.
pub fn kinds(draft: &Draft, fed: &[Fed<'_>]) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    for Fed { port, values, .. } in fed {
        if !port.many
            && let [_, second, ..] = values.as_slice()
        {
            let message = format!("`{}` of {} takes one value", port.name, draft.called());
            found.push(Diagnostic::error(second.at, message));
        }
        for got in values {
            found.extend(kind(draft, port, got));
        }
    }
    found
}

fn kind(draft: &Draft, port: &Port, got: &Got) -> Option<Diagnostic> {
    let Got { at, text, out, .. } = got;
    let fits = match out.kind {
        ValueKind::Tensors => takes(port, ValueKind::Tensors) || takes(port, ValueKind::Tensor),
        ValueKind::EmbeddedText => {
            takes(port, ValueKind::EmbeddedText) || takes(port, ValueKind::Text)
        }
        kind => takes(port, kind),
    };
    if fits {
        let is_typed = |types: &[&str]| types.iter().any(|name| *name != "any");
        let both = is_typed(&port.dtypes) && is_typed(&out.dtypes);
        if !both || port.dtypes.iter().any(|dtype| out.dtypes.contains(dtype)) {
            return None;
        }
        let (want, is) = (port.dtypes.join(" or "), out.dtypes.join(" or "));
        let message =
            format!("`{}` of {} wants {want}, but `{text}` is {is}", port.name, draft.called());
        return Some(Diagnostic::error(*at, message));
    }
    let want: Vec<&str> = port.kinds.iter().map(|kind| values::kind(*kind)).collect();
    let message = format!(
        "`{}` of {} wants {}, but `{text}` is {}",
        port.name,
        draft.called(),
        want.join(" or "),
        values::kind(out.kind)
    );
    let mut found = Diagnostic::error(*at, message);
    if out.kind == ValueKind::Text && takes(port, ValueKind::EmbeddedText) {
        let stage = text.split(['.', '@']).next().unwrap_or(text);
        found = found
            .hint(format!("give stage `{stage}` the key `embed_with`, naming an encoder stage"));
    }
    if out.kind == ValueKind::Tensor && takes(port, ValueKind::Tensors) {
        found = found.hint("a list has one tensor per size or tap; `@[240]` selects a list of one");
    }
    Some(found)
}

/// A value that is made more often than its reader runs.
pub fn scopes(draft: &Draft, fed: &[Fed<'_>]) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    for Fed { port, values, .. } in fed.iter().filter(|fed| fed.port.verb == Verb::Run) {
        for got in values.iter().filter(|got| got.out.scope > port.scope) {
            let message = format!(
                "`{}` of {} is read {}, but `{}` is made {}",
                port.name,
                draft.called(),
                values::scope(port.scope),
                got.text,
                values::scope(got.out.scope)
            );
            found.push(Diagnostic::error(got.at, message));
        }
    }
    found
}

/// What the fit sees.
pub fn source(draft: &Draft, fed: &[Fed<'_>]) -> Result<Option<FitOn>, Diagnostic> {
    let fitted: Vec<(&Port, &Got)> = fed
        .iter()
        .filter(|fed| fed.port.verb == Verb::Fit)
        .flat_map(|fed| fed.values.iter().map(|got| (fed.port, got)))
        .collect();
    let per_image = fitted.iter().find(|(_, got)| got.out.scope == Scope::Image);
    if let (Some((_, at)), false) =
        (draft.augment, matches!(draft.fit_on, Some((FitOn::References, _))))
    {
        let message = format!("{} augments a fit that does not see references", draft.called());
        return Err(Diagnostic::error(at, message)
            .hint("defects are painted on normal images: add `fit_on = \"references\"`"));
    }
    match (draft.fit_on, per_image) {
        (Some((_, at)), _) if !draft.fits => {
            let message = format!("{} `{}` fits nothing", draft.kind, draft.component);
            Err(Diagnostic::error(at, message).hint("leave `fit_on` out"))
        }
        (Some((fit_on, _)), Some(_)) => Ok(Some(fit_on)),
        (Some((_, at)), None) => {
            let message = format!("{} fits on nothing that an image has", draft.called());
            Err(Diagnostic::error(at, message).hint("leave `fit_on` out"))
        }
        (None, Some((port, got))) => {
            let message = match port.scope {
                Scope::Image => format!(
                    "{} fits on `{}` but does not say of which images",
                    draft.called(),
                    got.text
                ),
                scope => format!(
                    "{} fits {}, but `{}` is made once per image",
                    draft.called(),
                    values::scope(scope),
                    got.text
                ),
            };
            let found = Diagnostic::error(got.at, message).hint("add `fit_on = \"references\"`");
            Err(found.note(
                "sources are `references`, `anomalous-references`, `auxiliary`, `test-set` and \
                 `test-labels`; the last two label the run transductive and oracle",
            ))
        }
        (None, None) if fitted.is_empty() => Ok(None),
        (None, None) => Ok(Some(FitOn::Inputs)),
    }
}

/// A component that has learned nothing, as its fact `learns` says, without all that it would
/// learn from; and a fit that is shown where defects are painted, where none is.
pub fn learns(draft: &Draft, fed: &[Fed<'_>], drafts: &[Draft]) -> Option<Diagnostic> {
    let fits = || fed.iter().filter(|fed| fed.port.verb == Verb::Fit);
    let learns = &draft.facts.all["learns"];
    let from: Vec<&str> =
        learns["from"].as_array().into_iter().flatten().filter_map(|name| name.as_str()).collect();
    let lacks = |name: &&str| !fits().any(|fed| fed.port.name == *name);
    let lacking: Vec<&str> = from.iter().copied().filter(lacks).collect();
    if !lacking.is_empty() {
        let message = format!(
            "{} has learned nothing, and nothing to learn from is wired to {}",
            draft.called(),
            listed(lacking)
        );
        let hint = format!(
            "{}; or let it learn: wire {}, with `fit_on = \"references\"` and `augment = {{ defects \
             = 16 }}`",
            learns["instead"].as_str().unwrap_or("give it what was learned"),
            listed(from)
        );
        return Some(Diagnostic::error(draft.kind_at, message).hint(hint));
    }
    let is_painted = |got: &&Got| {
        drafts.get(got.value.stage).is_some_and(|stage| stage.component == PAINTED_MASK)
    };
    let mask = fits().flat_map(|fed| &fed.values).find(is_painted)?;
    if draft.augment.is_some() || draft.fit_on.is_none() {
        return None;
    }
    let message = format!("{} fits on `{}`, but nothing is painted", draft.called(), mask.text);
    let hint = "add `augment = { defects = 16 }`: without it such a mask is 0 everywhere";
    Some(Diagnostic::error(mask.at, message).hint(hint))
}

/// Matches every value against its port's pattern. `alternatives` are the outputs beside a value,
/// for hints.
pub fn shapes(
    draft: &Draft,
    fed: &[Fed<'_>],
    is_mapped: bool,
    bindings: &mut Bindings,
    alternatives: &dyn Fn(&ValueRef) -> Vec<Out>,
) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    // Run ports first: what a fit sees is judged by what is asked of it.
    let mut ordered: Vec<&Fed<'_>> = fed.iter().collect();
    ordered.sort_by_key(|fed| fed.port.verb);
    for Fed { port, values, .. } in ordered {
        for (value_idx, got) in values.iter().enumerate() {
            let Some(pattern) = pattern(port, got.out.kind) else { continue };
            let space = match port.verb {
                Verb::Fit => format!("fit {}.{value_idx} ", port.name),
                _ => String::new(),
            };
            for dims in items(port, got, is_mapped) {
                let by = match got.out.about.as_str() {
                    "" => format!("`{}`", got.text),
                    about => format!("`{}`, {about}", got.text),
                };
                if let Err(misfit) = bindings.fit(pattern, &dims, &by, got.at, &space) {
                    let others = alternatives(&got.value);
                    found
                        .push(explain(draft, port, pattern, got, &dims, misfit, &others, bindings));
                    break;
                }
            }
        }
    }
    found
}

/// A port's pattern; embedded sentences are `[n, d]` even where the port does not say so.
fn pattern(port: &Port, kind: ValueKind) -> Option<&str> {
    match (port.shape.as_deref(), kind) {
        (Some(shape), _) => Some(shape),
        (None, ValueKind::EmbeddedText) if takes(port, ValueKind::EmbeddedText) => Some("n d"),
        (None, _) => None,
    }
}

/// The shapes that a port sees: a list that is folded shows each of its items.
fn items(port: &Port, got: &Got, is_mapped: bool) -> Vec<Vec<Dim>> {
    let Some(dims) = &got.out.dims else { return Vec::new() };
    let folds = got.out.kind == ValueKind::Tensors
        && port.many
        && !is_mapped
        && !takes(port, ValueKind::Tensors);
    if !folds {
        return vec![dims.clone()];
    }
    let sizes = got.out.labels.iter().filter_map(|label| label.size);
    let each: Vec<Vec<Dim>> =
        sizes.map(|size| dims.iter().map(|dim| dim.at_sizes(&[size])).collect()).collect();
    if each.is_empty() { vec![dims.clone()] } else { each }
}

#[allow(clippy::too_many_arguments)]
fn explain(
    draft: &Draft,
    port: &Port,
    pattern: &str,
    got: &Got,
    dims: &[Dim],
    misfit: Misfit,
    others: &[Out],
    bindings: &Bindings,
) -> Diagnostic {
    let (name, called, text) = (&port.name, draft.called(), &got.text);
    let mut found = match misfit {
        Misfit::Rank => {
            let want = shown_pattern(pattern);
            let message =
                format!("`{name}` of {called} wants {want}, but `{text}` is {}", shown(dims));
            Diagnostic::error(got.at, message)
        }
        Misfit::Fixed { want, got: is } => {
            let shape = shown_pattern(pattern);
            let message =
                format!("`{name}` of {called} wants {shape}, but `{text}` is {}", shown(dims));
            Diagnostic::error(got.at, message).label(format!("{is} where {want} is wanted"))
        }
        Misfit::Leading { bound } => {
            let message = format!(
                "`{name}` of {called} wants values of one shape, but `{text}` is {} beside {}",
                shown(dims),
                shown(&bound)
            );
            Diagnostic::error(got.at, message)
        }
        Misfit::Name { name: dim, bound, got: is } => {
            let want = shown_pattern(pattern);
            let message = format!(
                "`{name}` of {called} wants {want} with `{dim}` = {}, but `{text}` is {}",
                bound.dim,
                shown(dims)
            );
            let found = Diagnostic::error(got.at, message).label(format!("`{dim}` is {is} here"));
            let other = format!("`{dim}` is {} by {}", bound.dim, bound.by);
            if bound.at == got.at { found.note(other) } else { found.related(bound.at, other) }
        }
    };
    if !got.out.about.is_empty() {
        found = found.note(format!("`{}` is {}", got.out.name, got.out.about));
    }
    let fits = |other: &&Out| {
        other.name != got.out.name
            && other.dims.as_ref().is_some_and(|dims| {
                bindings.clone().fit(pattern, dims, "", got.at, "trial ").is_ok()
            })
    };
    let near = others
        .iter()
        .filter(fits)
        .min_by_key(|other| strsim::damerau_levenshtein(&other.name, &got.out.name));
    if let (Some(other), Some((stage, _))) = (near, text.split_once('.')) {
        let selector = text.find('@').map(|at| &text[at..]).unwrap_or_default();
        let shape = other.dims.as_deref().map(shown).unwrap_or_default();
        found =
            found.hint(format!("did you mean `{stage}.{}{selector}`? it is {shape}", other.name));
    }
    found
}
