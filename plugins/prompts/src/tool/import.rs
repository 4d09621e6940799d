//! Sentences of other files as an entry: prompt files in FADE's JSON schema, and plain lists.

use loupe_plugin::prelude::*;

use crate::ask::Template;
use crate::cache::Entry;
use crate::file::{from_file, from_list};
use crate::words::tidy;

/// A file: one of FADE's schema, which has both labels, or a list of one label.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct List {
    from: String,
    text: String,
    label: Option<Label>,
}

#[derive(Clone, Copy, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Label {
    Normal,
    Anomalous,
}

/// The sentences of the lists in order. Those that stand there twice stay: they weigh double.
/// Errors: `config`, naming the file.
pub(super) fn imported(
    lists: &[List],
    class: String,
    model: String,
    template: String,
) -> Result<Entry> {
    Template::named(&template).map_err(Error::config)?;
    let mut entry = Entry { class, model, template, ..Entry::default() };
    let mut sources = Vec::new();
    for List { from, text, label } in lists {
        let (source, normal, anomalous) = match label {
            None => {
                let set = from_file(from, text.as_bytes())?;
                (set.source, set.normal, set.anomalous)
            }
            Some(label) => {
                let (source, texts) = from_list(from, text)?;
                match label {
                    Label::Normal => (source, texts, Vec::new()),
                    Label::Anomalous => (source, Vec::new(), texts),
                }
            }
        };
        entry.normal.extend(normal.iter().map(|text| tidy(text)));
        entry.anomalous.extend(anomalous.iter().map(|text| tidy(text)));
        sources.push(source);
    }
    entry.note = Some(format!("imported from {}", sources.join(", ")));
    Ok(entry)
}
