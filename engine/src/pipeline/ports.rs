//! Types every stage in running order: what feeds its ports, over which labels it is mapped, what
//! it fits on, and what its outputs are.

use std::collections::BTreeMap;

use super::diagnostics::Diagnostic;
use super::fits;
use super::mapping::mapping;
use super::model::{FitOn, Input, Label, Select, Taps, ValueRef};
use super::reference::RefText;
use super::shapes::{Bindings, Bound, Dim, by_size, shown_pattern};
use super::stages::Draft;
use super::tree::At;
use super::values::{self, Got, Out, resolve};
use crate::plugin::info::{Port, Scope, ValueKind, Verb};

/// What is known of a stage once its inputs are.
#[derive(Clone, Debug, Default)]
pub struct Typed {
    pub inputs: Vec<Input>,
    pub outputs: Vec<Out>,
    pub mapped: Vec<Label>,
    pub embed_with: Option<usize>,
    pub taps: Option<Taps>,
    pub fit_on: Option<FitOn>,
    pub bindings: Bindings,
}

/// The values at one port.
pub struct Fed<'a> {
    pub port: &'a Port,
    pub values: Vec<Got>,
}

pub struct Typer<'a> {
    pub drafts: &'a [Draft],
    pub typed: Vec<Option<Typed>>,
    pub found: Vec<Diagnostic>,
}

impl<'a> Typer<'a> {
    pub fn new(drafts: &'a [Draft]) -> Self {
        Self { drafts, typed: vec![None; drafts.len()], found: Vec::new() }
    }

    /// Types one stage; those it reads are typed already, unless they are broken.
    pub fn stage(&mut self, stage_idx: usize) {
        let Some(draft) = self.drafts.get(stage_idx) else { return };
        if draft.broken {
            return;
        }
        let before = self.found.len();
        let typed = self.typed_stage(draft);
        if self.found.len() == before {
            self.typed[stage_idx] = typed;
        }
    }

    pub fn value(&self, reader: &str, reference: &RefText) -> Result<Got, Option<Diagnostic>> {
        let outputs = |idx: usize| Some(self.typed.get(idx)?.as_ref()?.outputs.clone());
        resolve(reader, reference, self.drafts, &outputs)
    }

    fn typed_stage(&mut self, draft: &'a Draft) -> Option<Typed> {
        let mut typed = Typed::default();
        for (name, number) in &draft.facts.dims {
            let dim = Dim::Known(*number as u64);
            let by = format!("{} `{}`", draft.kind, draft.component);
            typed.bindings.bind(name, Bound { dim, by, at: draft.kind_at });
        }
        typed.embed_with = self.embedder(draft)?;
        self.stand_on_taps(draft, &mut typed)?;
        let fed = self.feed(draft)?;
        self.judge(draft, &fed, &mut typed)?;
        self.shapes(draft, &fed, &mut typed);
        if draft.kind == "prepare" {
            bind_sizes(draft, &mut typed);
        }
        grid(draft, &mut typed);
        typed.outputs = self.outputs(draft, &fed, &typed);
        typed.inputs = fed.into_iter().map(Fed::input).collect();
        Some(typed)
    }

    /// All that comes before shapes. `None`: something is wrong, and shapes would only echo it.
    fn judge(&mut self, draft: &Draft, fed: &[Fed<'_>], typed: &mut Typed) -> Option<()> {
        let before = self.found.len();
        self.found.extend(fits::kinds(draft, fed));
        if self.found.len() > before {
            return None;
        }
        self.found.extend(fits::scopes(draft, fed));
        self.found.extend(fits::learns(draft, fed, self.drafts));
        match fits::source(draft, fed) {
            Ok(fit_on) => typed.fit_on = fit_on,
            Err(found) => self.found.push(found),
        }
        match mapping(draft, fed) {
            Ok(mapped) if typed.taps.is_none() => typed.mapped = mapped,
            Ok(_) => {}
            Err(found) => self.found.push(found),
        }
        (self.found.len() == before).then_some(())
    }

    /// The encoder that embeds a prompts stage's sentences. `None`: something is wrong.
    #[allow(clippy::option_option)]
    fn embedder(&mut self, draft: &Draft) -> Option<Option<usize>> {
        let Some((name, at)) = &draft.embed_with else { return Some(None) };
        let idx = self.encoder(draft, "embed_with", name, *at)?;
        if !self.drafts[idx].encodes_text {
            let message = format!("encoder `{}` takes no text", self.drafts[idx].component);
            self.found.push(Diagnostic::error(*at, message));
            return None;
        }
        Some(Some(idx))
    }

    fn encoder(&mut self, draft: &Draft, key: &str, name: &str, at: At) -> Option<usize> {
        let idx = self.drafts.iter().position(|other| other.name == name)?;
        let other = self.drafts.get(idx)?;
        if other.kind == "encoder" {
            self.typed.get(idx)?.as_ref()?;
            return Some(idx);
        }
        if !other.kind.is_empty() {
            let message = format!("`{key}` of {} wants an encoder stage", draft.called());
            let label = format!("`{name}` is a {} stage", other.kind);
            self.found.push(Diagnostic::error(at, message).label(label));
        }
        None
    }

    /// `taps` and `at` of a fusion. `None`: something is wrong.
    fn stand_on_taps(&mut self, draft: &Draft, typed: &mut Typed) -> Option<()> {
        let (called, stream) = (draft.called(), draft.stream());
        let (name, at) = match (&draft.taps, &draft.tap_list) {
            (None, None) if stream.is_some_and(|port| !port.optional) => {
                let message = format!("{called} works between taps, but does not say of what");
                let hint = "add `taps = \"ENCODER\", at = [..]`, an encoder stage and its taps";
                self.found.push(Diagnostic::error(draft.kind_at, message).hint(hint));
                return None;
            }
            (None, None) => return Some(()),
            (Some((_, at)), _) if stream.is_none() => {
                let message = format!("fusion `{}` does not work between taps", draft.component);
                self.found.push(Diagnostic::error(*at, message).hint("leave out `taps` and `at`"));
                return None;
            }
            (Some((name, at)), _) => (name, *at),
            (None, Some((_, at))) => {
                let message = format!("{} says `at` without `taps`", draft.called());
                self.found.push(Diagnostic::error(*at, message));
                return None;
            }
        };
        let idx = self.encoder(draft, "taps", name, at)?;
        let encoder = &self.drafts[idx];
        let offered = &encoder.facts.taps;
        if !encoder.offers_taps || offered.is_empty() {
            let message = format!("{} stands on taps that `{name}` does not offer", draft.called());
            let label = format!("encoder `{}` cannot be stepped", encoder.component);
            self.found.push(Diagnostic::error(at, message).label(label));
            return None;
        }
        let Some((taps, list_at)) = &draft.tap_list else {
            let message = format!("{} says `taps` without `at`", draft.called());
            let found = Diagnostic::error(at, message);
            self.found.push(found.hint(format!("`{name}` offers the taps {offered:?}")));
            return None;
        };
        if let Some(tap) = taps.iter().find(|tap| !offered.contains(tap)) {
            let message = format!("`{name}` has no tap {tap}");
            let found = Diagnostic::error(*list_at, message);
            self.found.push(found.note(format!("it offers the taps {offered:?}")));
            return None;
        }
        if taps.is_empty() || taps.windows(2).any(|pair| pair[0] >= pair[1]) {
            let message = format!("`at` of {} wants taps that ascend", draft.called());
            self.found.push(Diagnostic::error(*list_at, message));
            return None;
        }
        let below = self.typed[idx].as_ref()?;
        let own = std::mem::replace(&mut typed.bindings, below.bindings.clone());
        typed.bindings.over(own);
        let sizes: Vec<Option<u32>> = match below.mapped.as_slice() {
            [] => vec![None],
            labels => labels.iter().map(|label| label.size).collect(),
        };
        let pairs = sizes.iter().flat_map(|size| taps.iter().map(move |tap| (*size, *tap)));
        typed.mapped = pairs.map(|(size, tap)| Label { size, tap: Some(tap) }).collect();
        typed.taps = Some(Taps { encoder: idx, at: taps.clone() });
        Some(())
    }

    /// Resolves what is wired to each port. `None` if a value is unknown, said or not.
    fn feed(&mut self, draft: &'a Draft) -> Option<Vec<Fed<'a>>> {
        let mut fed = Vec::new();
        let mut whole = true;
        for port in draft.wired_ports() {
            let Some(wire) = draft.wire(&port.name) else {
                match self.default_input(draft, port) {
                    Ok(Some(one)) => fed.push(one),
                    Ok(None) => {}
                    Err(found) => {
                        whole = false;
                        self.found.extend(found);
                    }
                }
                continue;
            };
            let mut values = Vec::new();
            for reference in &wire.refs {
                match self.value(&draft.called(), reference) {
                    Ok(got) => values.push(got),
                    Err(found) => {
                        whole = false;
                        self.found.extend(found);
                    }
                }
            }
            fed.push(Fed { port, values });
        }
        whole.then_some(fed)
    }

    /// An encoder reads the only prepare stage; other ports have no default.
    fn default_input(
        &self,
        draft: &Draft,
        port: &'a Port,
    ) -> Result<Option<Fed<'a>>, Option<Diagnostic>> {
        let at = draft.at;
        if draft.kind == "encoder" && port.verb == Verb::Run {
            let prepares: Vec<&Draft> =
                self.drafts.iter().filter(|other| other.kind == "prepare").collect();
            if let [one] = prepares.as_slice() {
                let (stage, text) = (one.name.clone(), one.name.clone());
                let reference = RefText { at, text, stage, output: None, select: None };
                let got = self.value(&draft.called(), &reference)?;
                return Ok(Some(Fed { port, values: vec![got] }));
            }
        }
        if port.optional {
            return Ok(None);
        }
        let message = format!("{} lacks its input `{}`", draft.called(), port.name);
        let kind = port.kinds.first().copied().map_or("a value", values::kind);
        let shape = port.shape.as_deref().map(shown_pattern).unwrap_or_default();
        let note = format!("`{}` wants {kind} {shape}", port.name);
        Err(Some(Diagnostic::error(at, message).note(note.trim_end())))
    }

    fn shapes(&mut self, draft: &Draft, fed: &[Fed<'_>], typed: &mut Typed) {
        let alternatives = |value: &ValueRef| -> Vec<Out> {
            let stage = self.typed.get(value.stage).and_then(Option::as_ref);
            stage.map(|stage| stage.outputs.clone()).unwrap_or_default()
        };
        let is_mapped = !typed.mapped.is_empty();
        let found = fits::shapes(draft, fed, is_mapped, &mut typed.bindings, &alternatives);
        self.found.extend(found);
    }

    fn outputs(&self, draft: &Draft, fed: &[Fed<'_>], typed: &Typed) -> Vec<Out> {
        let list_labels = || {
            let lists = fed.iter().filter(|fed| takes(fed.port, ValueKind::Tensors));
            let mut values = lists.flat_map(|fed| &fed.values);
            values.next().map(|got| got.out.labels.clone()).unwrap_or_default()
        };
        let embed_dim = typed.embed_with.and_then(|idx| {
            let encoder = self.drafts.get(idx)?;
            encoder.facts.dims.get("d").map(|number| Dim::Known(*number as u64))
        });
        let one = |port: &Port| {
            let kind = port.kinds.first().copied().unwrap_or(ValueKind::Tensor);
            let mut dims = port.shape.as_deref().and_then(|shape| typed.bindings.apply(shape));
            let (kind, labels) = match kind {
                ValueKind::Tensor if !typed.mapped.is_empty() => {
                    (ValueKind::Tensors, typed.mapped.clone())
                }
                ValueKind::Tensors if draft.kind == "prepare" => (kind, typed.mapped.clone()),
                ValueKind::Tensors if typed.mapped.is_empty() => (kind, list_labels()),
                ValueKind::Tensors => (kind, typed.mapped.clone()),
                ValueKind::Text if draft.embed_with.is_some() => {
                    let width = embed_dim.clone().unwrap_or_else(|| Dim::Named("d".to_string()));
                    dims = Some(vec![Dim::Named("n".to_string()), width]);
                    (ValueKind::EmbeddedText, Vec::new())
                }
                kind => (kind, Vec::new()),
            };
            if kind == ValueKind::Tensor {
                // One tensor out of several sizes: the component alone knows at which grid.
                let names = port.shape.iter().flat_map(|shape| shape.split_whitespace());
                for (dim, name) in dims.iter_mut().flatten().zip(names) {
                    if matches!(dim, Dim::BySize(_)) {
                        *dim = Dim::Named(name.to_string());
                    }
                }
            }
            Out {
                name: port.name.clone(),
                about: port.about.clone(),
                port_index: port.index,
                kind,
                scope: port.scope,
                labels,
                dims,
                dtypes: port.dtypes.clone(),
            }
        };
        draft.outputs().map(one).collect()
    }
}

impl Fed<'_> {
    fn input(self) -> Input {
        Input {
            port: self.port.name.clone(),
            port_index: self.port.index,
            verb: self.port.verb,
            values: self.values.into_iter().map(|got| got.value).collect(),
        }
    }
}

pub fn takes(port: &Port, kind: ValueKind) -> bool {
    port.kinds.contains(&kind)
}

/// Sides of the prepared images, per size; unknown where the shape of the image is kept.
fn bind_sizes(draft: &Draft, typed: &mut Typed) {
    let sizes = super::sections::sizes(&draft.config);
    typed.mapped = sizes.iter().map(|size| Label { size: Some(*size), tap: None }).collect();
    if matches!(draft.component.as_str(), "square" | super::model::PAINTED_MASK) {
        let sides: BTreeMap<u32, u64> =
            sizes.iter().map(|size| (*size, u64::from(*size))).collect();
        for name in ["h", "w"] {
            let bound =
                Bound { dim: by_size(sides.clone()), by: "`sizes`".to_string(), at: draft.at };
            typed.bindings.bind(name, bound);
        }
    }
}

/// The grid of an encoder with square patches: whole patches only, the rest of the image is unused.
fn grid(draft: &Draft, typed: &mut Typed) {
    if draft.kind != "encoder" {
        return;
    }
    let facts = &draft.facts;
    let patch = facts.dims.get("patch").map(|side| *side as u64);
    let Some(patch) = patch.or_else(|| facts.all["patch_size"].as_u64()).filter(|p| *p > 0) else {
        return;
    };
    for (side, name) in [("h", "gh"), ("w", "gw")] {
        let dim = match typed.bindings.get(side) {
            Some(Dim::Known(side)) => Dim::Known(side / patch),
            Some(Dim::BySize(sides)) => {
                by_size(sides.iter().map(|(size, side)| (*size, side / patch)).collect())
            }
            _ => continue,
        };
        let by = format!("encoder `{}`", draft.component);
        typed.bindings.bind(name, Bound { dim, by, at: draft.kind_at });
    }
}

/// A value that is the map or the score: one tensor per image, with so many dimensions.
pub fn output(
    typer: &Typer<'_>,
    key: &str,
    reference: &RefText,
) -> Result<ValueRef, Option<Diagnostic>> {
    let mut got = typer.value(&format!("`{key}` of `[output]`"), reference)?;
    let (rank, shape) = if key == "anomaly_map" { (3, "[b, h, w]") } else { (1, "[b]") };
    let wrong = |label: String| {
        let message = format!("`{key}` wants one tensor {shape} per image, not `{}`", got.text);
        Some(Diagnostic::error(got.at, message).label(label))
    };
    match got.out.kind {
        ValueKind::Tensor => {}
        ValueKind::Tensors if got.out.labels.len() == 1 => {}
        ValueKind::Tensors => {
            let labels = values::shown(&got.out.labels);
            return Err(wrong(format!("it is a list: {labels}")));
        }
        kind => return Err(wrong(format!("it is {}", values::kind(kind)))),
    }
    if got.out.scope != Scope::Image {
        return Err(wrong(format!("it is made {}", values::scope(got.out.scope))));
    }
    if let Some(dims) = got.out.dims.as_ref().filter(|dims| dims.len() != rank) {
        return Err(wrong(format!("it is {}", super::shapes::shown(dims))));
    }
    if let [only] = got.out.labels.as_slice() {
        let part = |number: Option<u32>| number.map(|number| vec![number]);
        got.value.select = Select { sizes: part(only.size), taps: part(only.tap), single: true };
    }
    Ok(got.value)
}
