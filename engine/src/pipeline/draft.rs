//! A stage as its table says it.

use std::path::PathBuf;

use serde_json::{Map, Value as Json};

use super::model::{Augment, FitOn};
use super::reference::RefText;
use super::tree::{At, Entry};
use crate::plugin::info::{Facts, Kind, Port, Verb};

/// A stage as read, before names are resolved.
#[derive(Clone, Debug)]
pub struct Draft {
    pub name: String,
    pub at: At,
    /// `encoder`, ..., `pool`; empty if unknown.
    pub kind: &'static str,
    pub kind_at: At,
    pub component: String,
    pub ports: Vec<Port>,
    pub config: Map<String, Json>,
    pub files: Vec<String>,
    pub wires: Vec<Wire>,
    pub fit_on: Option<(FitOn, At)>,
    pub augment: Option<(Augment, At)>,
    pub state: Option<PathBuf>,
    pub fits: bool,
    /// It learns by gradients.
    pub trains: bool,
    /// Its steps can be walked back.
    pub goes_back: bool,
    pub embed_with: Option<(String, At)>,
    pub taps: Option<(String, At)>,
    pub tap_list: Option<(Vec<u32>, At)>,
    pub offers_taps: bool,
    pub encodes_text: bool,
    pub batch_invariant: bool,
    pub facts: Facts,
    /// It has an error of its own: what follows from that is not reported.
    pub broken: bool,
}

/// The values wired to the ports of one name.
#[derive(Clone, Debug)]
pub struct Wire {
    pub key: String,
    pub refs: Vec<RefText>,
}

impl Draft {
    /// Nothing but its name is known.
    pub fn blank(entry: &Entry) -> Self {
        Self {
            name: entry.key.clone(),
            at: entry.key_at,
            kind: "",
            kind_at: entry.key_at,
            component: String::new(),
            ports: Vec::new(),
            config: Map::new(),
            files: Vec::new(),
            wires: Vec::new(),
            fit_on: None,
            augment: None,
            state: None,
            fits: false,
            trains: false,
            goes_back: false,
            embed_with: None,
            taps: None,
            tap_list: None,
            offers_taps: false,
            encodes_text: false,
            batch_invariant: true,
            facts: Facts::default(),
            broken: false,
        }
    }

    /// `` stage `differs` ``
    pub fn called(&self) -> String {
        format!("stage `{}`", self.name)
    }

    pub fn plugin_kind(&self) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| kind.key() == self.kind)
    }

    /// Ports that the user wires: those of a class name and of a tap are the engine's to fill.
    pub fn wired_ports(&self) -> impl Iterator<Item = &Port> {
        let is_prompts = self.kind == "prompts";
        self.ports.iter().filter(move |port| {
            !port.output
                && matches!(port.verb, Verb::Run | Verb::Fit)
                && !(is_prompts && port.name == "class")
        })
    }

    /// Ports whose values other stages may read. What a tap puts is a value only of a fusion that
    /// stands on taps.
    pub fn outputs(&self) -> impl Iterator<Item = &Port> {
        let on_taps = self.taps.is_some();
        self.ports.iter().filter(move |port| {
            port.output && (port.verb == Verb::Run || (on_taps && port.verb == Verb::Tap))
        })
    }

    /// Where a fusion reads what flows between two taps.
    pub fn stream(&self) -> Option<&Port> {
        let mut ports = self.ports.iter().filter(|_| self.kind == "fusion");
        ports.find(|port| port.name == "stream" && port.verb == Verb::Tap && !port.output)
    }

    pub fn wire(&self, key: &str) -> Option<&Wire> {
        self.wires.iter().find(|wire| wire.key == key)
    }
}
