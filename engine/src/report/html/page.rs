//! The page around the classes: what was run, what came out, what it was made from.

use super::super::tables::{Rows, by_protocol, title};
use super::{ClassPage, class, escape, table};
use crate::experiment::{CellFacts, ClassRecord};
use crate::metrics::Value;
use crate::pipeline::model::Setting;

const STYLE: &str = include_str!("style.css");

/// The whole page. `resolved` is the pipeline as TOML; `pages` belong to `records`, in order.
pub fn page(
    facts: &CellFacts,
    complete: bool,
    resolved: &str,
    records: &[ClassRecord],
    pages: &[ClassPage],
) -> String {
    let rows = by_protocol(facts, records);
    let anchor =
        |(at, record): (usize, &ClassRecord)| (record.class.clone(), format!("class-{}", at + 1));
    let anchors: Vec<(String, String)> = records.iter().enumerate().map(anchor).collect();
    let mut html = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; img-src \
         data:; style-src 'unsafe-inline'\">\n\
         <title>{} · loupe</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n",
        escape(&facts.name)
    );
    html.push_str(&header(facts, complete, records, &rows));
    html.push_str("<main>\n<h2 id=\"results\">Results</h2>\n");
    rows.iter().for_each(|rows| html.push_str(&table::protocol(rows, &anchors, facts.setting)));
    if !records.is_empty() {
        html.push_str("<h2 id=\"classes\">Classes</h2>\n");
        html.push_str(&contents(&anchors));
    }
    let sections = records.iter().zip(pages).zip(&anchors);
    sections.for_each(|((record, page), (_, id))| html.push_str(&class::section(record, page, id)));
    html.push_str(&references(records));
    html.push_str(&origin(facts, resolved));
    html.push_str("</main>\n");
    html.push_str(&format!(
        "<footer>Written by loupe {}. Higher scores are more anomalous. The numbers with all \
         their digits are in \
         <code>results.json</code> and <code>results.csv</code>, scores of single images in \
         <code>images.csv</code>.</footer>\n\
         </body>\n</html>\n",
        escape(&facts.loupe)
    ));
    html
}

fn header(facts: &CellFacts, complete: bool, records: &[ClassRecord], rows: &[Rows]) -> String {
    let (name, about) = setting(facts.setting);
    let n_images: usize = records.iter().map(|record| record.images.len()).sum();
    let fact =
        |key: &str, value: &str| format!("<li><span>{key}</span><b>{}</b></li>", escape(value));
    let facts_list = [
        fact("data set", &facts.dataset),
        fact("shots", &facts.shots.to_string()),
        fact("seed", &facts.seed.to_string()),
        fact("setting", name),
        fact("classes", &records.len().to_string()),
        fact("images", &n_images.to_string()),
    ];
    let mut html = format!(
        "<header>\n<h1>{}</h1>\n<ul class=\"facts\">{}</ul>\n<p class=\"soft\">{about}</p>\n",
        escape(&facts.name),
        facts_list.concat()
    );
    if !complete {
        html.push_str(
            "<p class=\"warn\" role=\"note\"><b>This run did not come to its end.</b> It shows \
             the classes that were done; the \
             means are over these alone.</p>\n",
        );
    }
    html.push_str(&figures(rows, facts.setting));
    html + "</header>\n"
}

/// The first protocol's means, large.
fn figures(rows: &[Rows], setting: Setting) -> String {
    let Some((rows, mean)) = rows.first().and_then(|rows| Some((rows, rows.mean.as_ref()?))) else {
        return String::new();
    };
    let known = mean.values.iter().filter(|(_, value)| matches!(value, Value::Number(_)));
    let known: Vec<String> = known
        .map(|(name, value)| {
            let (level, metric) = title(name);
            let value = table::percent(Some(value));
            format!("<div><dt>{} {}</dt><dd>{value}</dd></div>", escape(level), escape(&metric))
        })
        .collect();
    if known.is_empty() {
        return String::new();
    }
    let of = match rows.classes.len() {
        1 => "One class".to_owned(),
        n => format!("Mean over {n} classes"),
    };
    format!(
        "<dl class=\"figures\">{}</dl>\n\
         <p class=\"soft\">{of}, in percent, protocol <code>{}</code>.{}</p>\n",
        known.concat(),
        escape(&rows.protocol),
        table::oracle(setting)
    )
}

fn contents(anchors: &[(String, String)]) -> String {
    if anchors.len() < 2 {
        return String::new();
    }
    let link = |(class, id): &(String, String)| {
        format!("<li><a href=\"#{id}\">{}</a></li>", escape(class))
    };
    let links: String = anchors.iter().map(link).collect();
    format!("<nav aria-label=\"Classes\"><ul class=\"classes\">{links}</ul></nav>\n")
}

fn references(records: &[ClassRecord]) -> String {
    let mut html = String::from("<h2 id=\"references\">References</h2>\n");
    if records.iter().all(|record| record.references.is_empty()) {
        return html + "<p>None: the pipeline saw no image of its classes before the test.</p>\n";
    }
    html.push_str(
        "<p class=\"soft\">What the pipeline was shown before the test, by content. The files in \
         <code>references/</code> are manifests that choose the same images again.</p>\n\
         <div class=\"scroll\"><table class=\"text\"><thead><tr><th scope=\"col\">class</th><th \
         scope=\"col\">image</th>\
         <th scope=\"col\">BLAKE3</th></tr></thead>\n<tbody>\n",
    );
    for record in records {
        for reference in &record.references {
            html.push_str(&format!(
                "<tr><td>{}</td><td>{}</td><td><code class=\"digest\">{}</code></td></tr>\n",
                escape(&record.class),
                escape(&reference.name),
                escape(&reference.blake3)
            ));
        }
    }
    html + "</tbody></table></div>\n"
}

/// Versions and digests: what it takes to run it again.
fn origin(facts: &CellFacts, resolved: &str) -> String {
    let mut html = format!(
        "<h2 id=\"origin\">What it was made with</h2>\n<ul \
         class=\"facts\"><li><span>loupe</span><b>{}</b></li>\
         <li><span>numerics</span><b>{}</b></li><li><span>data</span><b>{}</b></li></ul>\n",
        escape(&facts.loupe),
        escape(&facts.numerics),
        escape(&facts.root.display().to_string())
    );
    html.push_str(
        "<div class=\"scroll\"><table class=\"text\"><caption>Components</caption><thead><tr><th \
         scope=\"col\">component</th>\
         <th scope=\"col\">kind</th><th scope=\"col\">revision</th><th \
         scope=\"col\">plugin</th><th scope=\"col\">version</th>\
         </tr></thead>\n<tbody>\n",
    );
    for plugin in &facts.plugins {
        let revision = plugin.revision.to_string();
        let component = match &plugin.precision {
            Some(precision) => format!("{} in {precision}", plugin.component),
            None => plugin.component.clone(),
        };
        let cells = [&component, &plugin.kind, &revision, &plugin.plugin, &plugin.version];
        let cells: String = cells.iter().map(|cell| format!("<td>{}</td>", escape(cell))).collect();
        html.push_str(&format!("<tr>{cells}</tr>\n"));
    }
    html.push_str("</tbody></table></div>\n");
    if !facts.files.is_empty() {
        html.push_str(
            "<div class=\"scroll\"><table class=\"text\"><caption>Files</caption><thead><tr><th \
             scope=\"col\">stage</th>\
             <th scope=\"col\">file</th><th scope=\"col\">BLAKE3</th></tr></thead>\n<tbody>\n",
        );
        for file in &facts.files {
            html.push_str(&format!(
                "<tr><td>{}</td><td>{}</td><td><code class=\"digest\">{}</code></td></tr>\n",
                escape(&file.stage),
                escape(&file.file.display().to_string()),
                escape(&file.blake3)
            ));
        }
        html.push_str("</tbody></table></div>\n");
    }
    html.push_str(&format!(
        "<details><summary>The pipeline with all its keys</summary><pre>{}</pre></details>\n",
        escape(resolved)
    ));
    html
}

/// The setting's name and what it means for the numbers.
fn setting(setting: Setting) -> (&'static str, &'static str) {
    match setting {
        Setting::Inductive => (
            "inductive",
            "Each image was judged alone, from normal references and text at most: \
             what a user of one image would get.",
        ),
        Setting::FewShotWithAnomalies => (
            "few-shot with anomalies",
            "Besides normal references the pipeline saw anomalous images of the class with their \
             masks; compare only with \
             methods that see them too.",
        ),
        Setting::AuxiliaryTrained => (
            "auxiliary-trained",
            "Parts of the pipeline were trained on other data sets with their labels; the classes \
             tested here were not among \
             them.",
        ),
        Setting::Batched => (
            "batched",
            "Images were judged in groups, so that a score depends on what else was in its group.",
        ),
        Setting::Transductive => (
            "transductive",
            "The pipeline saw all test images, without labels, before it judged them; \
             compare only with methods that do too.",
        ),
        Setting::Oracle => {
            ("oracle", "The pipeline saw labels of the test set: an upper bound, not a result.")
        }
    }
}
