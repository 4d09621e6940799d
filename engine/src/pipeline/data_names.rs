//! What `[data]` names beside images: a layout, a manifest.

use serde_json::{Map, Value as Json};

use super::check::Checker;
use super::diagnostics::{Diagnostic, listed};

impl Checker<'_> {
    pub(super) fn data_names(&mut self, data: Option<&Map<String, Json>>) {
        let Some(node) = self.node("data.dataset") else { return };
        let (Some(_), Some(name)) = (data, node.as_str()) else { return };
        let at = node.at;
        if self.options.layouts.contains(&name) {
            return;
        }
        let known = self.options.layouts.iter().copied();
        let found = if name.contains('/') || name.ends_with(".toml") {
            let path = self.path("data.dataset", name);
            if path.is_file() {
                return;
            }
            Diagnostic::error(at, format!("there is no layout file `{}`", path.display()))
        } else {
            Diagnostic::error(at, format!("there is no data set layout `{name}`"))
                .near(name, known.clone())
        };
        self.report.push(
            found.note(format!(
                "there are {}; the path of a layout file is taken too",
                listed(known)
            )),
        );
    }

    /// A choice by manifest needs one that is there.
    pub(super) fn manifest(&mut self, data: Option<&Map<String, Json>>) {
        let references = data.and_then(|data| data.get("references"));
        let by_manifest = references.is_some_and(|r| r["select"] == "manifest");
        let key = "data.references.manifest";
        match self.node(key).and_then(|node| Some((node.at, node.as_str()?))) {
            Some((at, text)) => {
                let path = self.path(key, text);
                // A file per class or number of shots is looked for when those are known.
                let is_pattern = ["{class}", "{shots}"].iter().any(|part| text.contains(part));
                if !is_pattern && !path.is_file() {
                    let message = format!("there is no manifest `{}`", path.display());
                    self.report.push(Diagnostic::error(at, message));
                }
            }
            None if by_manifest => {
                let at = self.node("data.references.select").map(|node| node.at);
                let message = "`select = \"manifest\"` wants the key `manifest`, a file";
                self.report.list.extend(at.map(|at| Diagnostic::error(at, message)));
            }
            None => {}
        }
    }
}
