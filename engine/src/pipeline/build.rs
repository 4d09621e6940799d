//! What `run` reads of a pipeline that passed.

use serde_json::Value as Json;

use super::model::{
    Compat, Component, FitOn, Keep, Setting, Stage, StageOutput, Taps, Train, ValueRef,
};
use super::ports::Typed;
use super::sections;
use super::stages::Draft;
use super::tree::{Node, Table, Value};

/// The stages that are run, with indices into what is kept.
pub fn built(drafts: &[Draft], mut typed: Vec<Option<Typed>>, kept: &[usize]) -> Vec<Stage> {
    let place = |idx: usize| kept.iter().position(|other| *other == idx);
    let mut stages = Vec::new();
    for idx in kept {
        let (Some(draft), Some(typed)) = (drafts.get(*idx), typed.get_mut(*idx)) else { continue };
        let Some(mut typed) = typed.take() else { continue };
        for value in typed.inputs.iter_mut().flat_map(|input| &mut input.values) {
            value.stage = place(value.stage).unwrap_or_default();
        }
        let taps = typed
            .taps
            .map(|taps| Taps { encoder: place(taps.encoder).unwrap_or_default(), ..taps });
        let outputs = typed.outputs.into_iter().map(|out| StageOutput {
            name: out.name,
            port_index: out.port_index,
            kind: out.kind,
            scope: out.scope,
            labels: out.labels,
            shape: out.dims.map(|dims| dims.iter().map(ToString::to_string).collect()),
        });
        stages.push(Stage {
            name: draft.name.clone(),
            component: match draft.plugin_kind() {
                Some(kind) => Component::Plugin { kind, name: draft.component.clone() },
                None => sections::engine_component(draft.kind, &draft.component, &draft.config),
            },
            config: draft.config.clone(),
            files: draft.files.clone(),
            inputs: typed.inputs,
            fit_on: typed.fit_on,
            augment: draft.augment.map(|(augment, _)| augment),
            state: draft.state.clone(),
            trained: draft.trains && draft.state.is_some(),
            embed_with: typed.embed_with.and_then(place),
            taps,
            mapped: typed.mapped,
            outputs: outputs.collect(),
            facts: draft.facts.clone(),
        });
    }
    stages
}

pub fn moved(value: ValueRef, kept: &[usize]) -> Option<ValueRef> {
    let stage = kept.iter().position(|idx| *idx == value.stage)?;
    Some(ValueRef { stage, ..value })
}

/// The strongest label that a stage earns.
pub fn setting(
    stages: &[Stage],
    drafts: &[Draft],
    train: Option<&Train>,
    compat: Compat,
) -> Setting {
    // What is tested may have been learned from, with its label.
    if compat.test_learned {
        return Setting::Oracle;
    }
    let of_fit = |stage: &Stage| match stage.fit_on {
        Some(FitOn::AnomalousReferences) => Setting::FewShotWithAnomalies,
        Some(FitOn::Auxiliary) => Setting::AuxiliaryTrained,
        Some(FitOn::TestSet) => Setting::Transductive,
        Some(FitOn::TestLabels) => Setting::Oracle,
        Some(FitOn::References | FitOn::Inputs) | None => Setting::Inductive,
    };
    let batched = stages
        .iter()
        .any(|stage| drafts.iter().any(|draft| draft.name == stage.name && !draft.batch_invariant));
    let base = if batched { Setting::Batched } else { Setting::Inductive };
    // What was trained has seen anomalous references; the best epoch on the test set is an oracle's.
    let base = match train {
        Some(Train { keep: Keep::BestTest, .. }) => Setting::Oracle,
        Some(train) if !train.auxiliary.is_empty() => base.max(Setting::AuxiliaryTrained),
        Some(_) => base.max(Setting::FewShotWithAnomalies),
        None => base,
    };
    stages.iter().map(of_fit).fold(base, Setting::max)
}

/// `[[test]]` tables, as they stand.
pub fn tests(root: &Table) -> Vec<Json> {
    let Some(entry) = root.get("test") else { return Vec::new() };
    match &entry.node.value {
        Value::Array(items) => items.iter().map(Node::to_json).collect(),
        _ => vec![entry.node.to_json()],
    }
}
