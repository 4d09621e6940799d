//! `loupe graph`: the pipeline as a picture, in Mermaid or Graphviz text.

use super::model::{Component, Label, Pipeline, Select, Stage, ValueRef};
use crate::plugin::info::Verb;

struct Edge {
    from: usize,
    to: usize,
    label: String,
    /// Feeds a fit, not the verb.
    fits: bool,
}

/// A Mermaid flow chart; what feeds a fit is dotted.
pub fn mermaid(pipeline: &Pipeline) -> String {
    let mut text = String::from("flowchart LR\n");
    for (idx, stage) in pipeline.stages.iter().enumerate() {
        let (open, close) = brackets(stage);
        let title = format!("{}<br/>{}", escaped(&stage.name), escaped(&title(stage)));
        text.push_str(&format!("  s{idx}{open}\"{title}\"{close}\n"));
    }
    for edge in edges(pipeline) {
        let arrow = if edge.fits { "-.->" } else { "-->" };
        let label = escaped(&edge.label);
        let label = if label.is_empty() { label } else { format!("|\"{label}\"|") };
        text.push_str(&format!("  s{} {arrow}{label} s{}\n", edge.from, edge.to));
    }
    for (name, value) in results(pipeline) {
        text.push_str(&format!("  {name}([{name}])\n  s{} --> {name}\n", value.stage));
    }
    text
}

/// A Graphviz digraph; what feeds a fit is dashed.
pub fn dot(pipeline: &Pipeline) -> String {
    let mut text = String::from("digraph pipeline {\n  rankdir = LR;\n  node [shape = box];\n");
    for (idx, stage) in pipeline.stages.iter().enumerate() {
        let label = format!("{}\\n{}", quoted(&stage.name), quoted(&title(stage)));
        text.push_str(&format!("  s{idx} [label = \"{label}\"];\n"));
    }
    for edge in edges(pipeline) {
        let style = if edge.fits { ", style = dashed" } else { "" };
        let label = quoted(&edge.label);
        text.push_str(&format!("  s{} -> s{} [label = \"{label}\"{style}];\n", edge.from, edge.to));
    }
    for (name, value) in results(pipeline) {
        text.push_str(&format!("  {name} [shape = oval];\n  s{} -> {name};\n", value.stage));
    }
    text.push_str("}\n");
    text
}

fn results(pipeline: &Pipeline) -> Vec<(&'static str, &ValueRef)> {
    let output = &pipeline.output;
    let named = [("anomaly_map", &output.anomaly_map), ("anomaly_score", &output.anomaly_score)];
    named.into_iter().filter_map(|(name, value)| Some((name, value.as_ref()?))).collect()
}

fn edges(pipeline: &Pipeline) -> Vec<Edge> {
    let mut edges: Vec<Edge> = Vec::new();
    for (to, stage) in pipeline.stages.iter().enumerate() {
        for input in &stage.inputs {
            for value in &input.values {
                let label = value_label(pipeline, value);
                let edge = Edge { from: value.stage, to, label, fits: input.verb == Verb::Fit };
                let is_same = |other: &Edge| {
                    (other.from, other.to, &other.label) == (edge.from, edge.to, &edge.label)
                };
                match edges.iter_mut().find(|other| is_same(other)) {
                    // One arrow for a value that is both asked and fitted.
                    Some(other) => other.fits &= edge.fits,
                    None => edges.push(edge),
                }
            }
        }
        let named =
            [(stage.embed_with, "embeds"), (stage.taps.as_ref().map(|t| t.encoder), "taps")];
        for (from, label) in named {
            let label = label.to_string();
            edges.extend(from.map(|from| Edge { from, to, label, fits: false }));
        }
    }
    edges
}

/// The output's name if the stage has several, and the selector.
fn value_label(pipeline: &Pipeline, value: &ValueRef) -> String {
    let several = pipeline.stages.get(value.stage).is_some_and(|stage| stage.outputs.len() > 1);
    let name = if several { value.output.as_str() } else { "" };
    format!("{name}{}", selector(&value.select))
}

fn selector(select: &Select) -> String {
    let part = |numbers: &Option<Vec<u32>>| match numbers.as_deref() {
        None => "*".to_string(),
        Some([one]) => one.to_string(),
        Some(many) => format!("{many:?}").replace(' ', ""),
    };
    match (&select.sizes, &select.taps) {
        (None, None) => String::new(),
        (sizes, None) => format!("@{}", part(sizes)),
        (sizes, taps) => format!("@{}.{}", part(sizes), part(taps)),
    }
}

fn title(stage: &Stage) -> String {
    let labels = match stage.mapped.as_slice() {
        [] => String::new(),
        labels => format!(" {}", labels.iter().map(shown).collect::<Vec<_>>().join(" ")),
    };
    let name = match &stage.component {
        Component::Plugin { kind, name } => format!("{kind} {name}"),
        Component::Prepare(prepare) => format!("prepare {}", prepare.geometry),
        Component::Map(map) => format!("map {} to {}", map.mode, map.size),
        Component::Pool(pool) => format!("pool {}", pool.rule),
    };
    name + labels.as_str()
}

fn shown(label: &Label) -> String {
    super::values::label(label)
}

fn brackets(stage: &Stage) -> (&'static str, &'static str) {
    match &stage.component {
        Component::Plugin { .. } => ("[", "]"),
        _ => ("(", ")"),
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('"', "&quot;").replace('<', "&lt;")
}

fn quoted(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"")
}
