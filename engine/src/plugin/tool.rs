//! What prompt generators do besides generating: answer questions about prompt caches.

use serde_json::{Value as Json, json};

use super::Loader;
use super::call::{absent, collector, place, settle};
use super::error::PluginError;
use super::info::{Kind, NamedCache};
use super::raw::{empty_error, lend_str};
use super::sink::Collector;

impl Loader {
    /// Whether a component answers questions about prompt caches.
    pub fn has_tool(&self, kind: Kind, name: &str) -> bool {
        self.get(kind, name).is_ok_and(|component| component.tool.is_some())
    }

    /// The component's answer to a question, both JSON objects.
    /// Errors: `Unknown`, `Unsupported` for a component without a tool, its own, `Output`.
    pub fn ask(&self, kind: Kind, name: &str, question: &Json) -> Result<Json, PluginError> {
        let component = self.get(kind, name)?;
        let at = || place(&component.info, "answer");
        let Some(answer) = component.tool.and_then(|tool| tool.answer) else {
            return Err(absent(at()));
        };
        let collector =
            Collector { takes_json: true, ..collector(&component.info, "answer", &[], 0) };
        let (question, mut error) = (question.to_string(), empty_error());
        // SAFETY: question, sink and error live through the call.
        let status = unsafe { answer(lend_str(&question), &collector.sink(), &mut error) };
        let found = settle(&collector, status, &error)?;
        let message = "it put no answer".to_owned();
        found.json.ok_or_else(|| PluginError::Output { at: at(), message })
    }
}

/// Prompt caches that a config names; none for a component without a tool, or where the config does
/// not tell.
pub(super) fn caches(loader: &Loader, kind: Kind, name: &str, config: &Json) -> Vec<NamedCache> {
    let question = json!({"do": "caches", "component": name, "config": config});
    if !loader.has_tool(kind, name) {
        return Vec::new();
    }
    let answer = loader.ask(kind, name, &question).unwrap_or_default();
    let list = |key: &str| -> Vec<&str> {
        answer[key].as_array().into_iter().flatten().filter_map(Json::as_str).collect()
    };
    let by_hand = list("by_hand");
    let cache = |path: &str| NamedCache { path: path.to_owned(), by_hand: by_hand.contains(&path) };
    list("caches").into_iter().map(cache).collect()
}
