//! The section of one class.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::super::pictures::RANGE;
use super::super::tables::title;
use super::{ClassPage, Group, Shown, escape, plots, score, table};
use crate::experiment::{ClassRecord, TrainingRecord};
use crate::metrics::Value;
use crate::train::HELD_OUT;

/// Numbers, plots and pictures of a class under the anchor `id`.
pub fn section(record: &ClassRecord, page: &ClassPage, id: &str) -> String {
    let n_anomalous = record.images.iter().filter(|image| image.anomalous).count();
    let mut html = format!(
        "<section class=\"class\" id=\"{id}\" aria-labelledby=\"{id}-title\">\n<h3 \
         id=\"{id}-title\">{}</h3>\n<p>{}{} images, \
         {n_anomalous} of them anomalous; {}.</p>\n",
        escape(&record.class),
        shown_as(record),
        record.images.len(),
        headline(record)
    );
    let scored =
        record.images.iter().filter_map(|image| Some((image.anomaly_score?, image.anomalous)));
    let scores: Vec<(f64, bool)> = scored.filter(|score| score.0.is_finite()).collect();
    if scores.is_empty() {
        html.push_str("<p class=\"soft\">No image has a score.</p>\n");
    } else {
        html.push_str("<div class=\"plots\">\n<figure>");
        html.push_str(&plots::histogram(&scores));
        html.push_str("<figcaption>Image scores, as shares of each group</figcaption></figure>\n");
        if let Some(svg) = plots::roc(&scores) {
            html.push_str(&format!("<figure>{svg}<figcaption>ROC curve</figcaption></figure>\n"));
        }
        html.push_str("</div>\n");
    }
    record.training.iter().for_each(|training| html.push_str(&learned(training)));
    if let Some(range) = page.range {
        html.push_str(&scale(range));
    }
    page.groups.iter().for_each(|shown| html.push_str(&group(shown)));
    html + "<p class=\"jump\"><a href=\"#results\">Back to the results</a></p>\n</section>\n"
}

/// How the losses of the class's training fell, and which epoch was kept.
fn learned(training: &TrainingRecord) -> String {
    let column = |name: &str| -> Vec<f64> {
        let idx = training.names.iter().position(|known| known == name);
        idx.map_or(Vec::new(), |idx| {
            training.epochs.iter().filter_map(|epoch| epoch.get(idx).copied()).collect()
        })
    };
    let (losses, held_out) = (column("loss"), column(HELD_OUT));
    let Some(svg) = plots::losses(&losses, &held_out, training.kept_epoch) else {
        return String::new();
    };
    let dashed = if held_out.is_empty() { "" } else { "; dashed: what was held out" };
    let kept = training.kept_epoch.map_or_else(String::new, |epoch| {
        let why =
            if training.oracle { ", an <b>oracle</b>’s: chosen by the test set" } else { "" };
        format!("; kept: epoch {epoch}{why}")
    });
    let ends = training.epochs.first().zip(training.epochs.last());
    let part = |(idx, name): (usize, &String)| {
        let (first, last) =
            ends.and_then(|(first, last)| Some((first.get(idx)?, last.get(idx)?)))?;
        Some(format!("{} {} → {}", escape(name), score(*first), score(*last)))
    };
    let parts: Vec<String> = training.names.iter().enumerate().filter_map(part).collect();
    format!(
        "<div class=\"plots\">\n<figure>{svg}<figcaption>Training, mean over an epoch’s samples{dashed}{kept}<br>{}\
         </figcaption></figure>\n</div>\n",
        parts.join(", ")
    )
}

fn shown_as(record: &ClassRecord) -> String {
    match record.display == record.class {
        true => String::new(),
        false => format!("Called “{}” in sentences. ", escape(&record.display)),
    }
}

/// The first protocol's numbers in a sentence.
fn headline(record: &ClassRecord) -> String {
    let Some(row) = record.metrics.first() else { return "not measured".to_owned() };
    let known = row.values.iter().filter(|(_, value)| matches!(value, Value::Number(_)));
    let known: Vec<String> = known
        .map(|(name, value)| {
            let (level, metric) = title(name);
            let value = table::percent(Some(value));
            format!("{} {} <b>{value}</b>", escape(level), escape(&metric))
        })
        .collect();
    match known.is_empty() {
        true => "no metric is defined for it".to_owned(),
        false => known.join(", "),
    }
}

fn scale([low, high]: [f32; 2]) -> String {
    format!(
        "<div class=\"scale\"><span>{}</span><i role=\"img\" aria-label=\"scale of colours from \
         dark to light\"></i>\
         <span>{}</span><span>One scale for all pictures of this class: the ends are the {} and \
         {} % quantiles of its \
         maps.</span></div>\n",
        score(f64::from(low)),
        score(f64::from(high)),
        RANGE[0] * 100.0,
        RANGE[1] * 100.0,
    )
}

fn group(group: &Group) -> String {
    let shown: String = group.shown.iter().map(picture).collect();
    format!("<h4>{}</h4>\n<div class=\"pictures\">\n{shown}</div>\n", escape(group.title))
}

fn picture(shown: &Shown) -> String {
    let name = escape(&shown.name);
    let mut html = String::from("<figure class=\"shown\"><div class=\"tiles\">");
    for tile in &shown.tiles {
        let alt = escape(&format!("{}: {}", shown.name, tile.alt));
        let data = STANDARD.encode(&tile.jpeg);
        html.push_str(&format!("<img alt=\"{alt}\" src=\"data:image/jpeg;base64,{data}\">"));
    }
    html.push_str("</div>");
    if let Some(note) = &shown.note {
        html.push_str(&format!("<p class=\"soft\">Cannot be shown: {}</p>", escape(note)));
    }
    let score = shown.score.map_or_else(|| "–".to_owned(), score);
    html + format!("<figcaption><span>{name}</span><b>score {score}</b></figcaption></figure>\n")
        .as_str()
}
