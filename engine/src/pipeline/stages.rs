//! Reads the table of one stage: its kind, its wirings, the reserved keys, and the component's own.

use std::cmp::Reverse;
use std::path::{Path, PathBuf};

use serde_json::Value as Json;

use super::diagnostics::{Diagnostic, Severity, listed, nearest, with_article};
pub use super::draft::{Draft, Wire};
use super::files::{AbsentFile, Names};
use super::fill;
use super::model::{Augment, FitOn};
use super::reference::parse_ref;
use super::schema::Walk;
use super::sections;
use super::tree::{Entry, Node, Table, Value};
use crate::plugin::info::{Catalog, Kind};

/// Keys that say what a stage is.
pub const KIND_KEYS: [&str; 7] =
    ["encoder", "prompts", "scorer", "fusion", "prepare", "map", "pool"];

const RESERVED: [&str; 7] = ["fit_on", "augment", "state", "device", "taps", "at", "embed_with"];

const SOURCES: [(&str, FitOn); 5] = [
    ("references", FitOn::References),
    ("anomalous-references", FitOn::AnomalousReferences),
    ("auxiliary", FitOn::Auxiliary),
    ("test-set", FitOn::TestSet),
    ("test-labels", FitOn::TestLabels),
];

/// What reading a stage needs to know of the world.
pub struct Reader<'a> {
    pub catalog: &'a dyn Catalog,
    pub folders: &'a [PathBuf],
    /// So many of the texts are files, the rest changes.
    pub n_files: usize,
    pub names: Names<'a>,
    /// The command that fills prompt caches.
    pub fill: String,
    /// It is running, so that a prompt cache may be absent.
    pub fills: bool,
    /// The run's.
    pub seed: u64,
    pub found: Vec<Diagnostic>,
}

impl Reader<'_> {
    pub fn stage(&mut self, entry: &Entry) -> Draft {
        let mut draft = Draft::blank(entry);
        let before = self.found.len();
        match &entry.node.value {
            Value::Table(table) => self.fill(&mut draft, table),
            _ => {
                let message = format!("stage `{}` wants a table of keys", entry.key);
                let found = Diagnostic::error(entry.node.at, message).label(entry.node.describe());
                self.found.push(found);
            }
        }
        let is_error = |found: &Diagnostic| found.severity == Severity::Error;
        draft.broken = self.found.iter().skip(before).any(is_error);
        draft
    }

    fn fill(&mut self, draft: &mut Draft, table: &Table) {
        let Some(kind) = self.kind(draft, table) else { return };
        draft.kind = KIND_KEYS.iter().find(|key| **key == kind.key).copied().unwrap_or_default();
        draft.kind_at = kind.node.at;
        let Some(name) = kind.node.as_str() else {
            let message = format!("`{}` of {} wants a name", kind.key, draft.called());
            self.found.push(Diagnostic::error(kind.node.at, message).label(kind.node.describe()));
            return;
        };
        draft.component = name.to_string();
        let Some(schema) = self.component(draft) else { return };
        let mut own = Vec::new();
        for entry in table.entries.iter().filter(|entry| entry.key != kind.key) {
            if draft.wired_ports().any(|port| port.name == entry.key) {
                let wire = self.wire(draft, entry);
                draft.wires.extend(wire);
            } else if RESERVED.contains(&entry.key.as_str()) {
                // A component may ask for one of these by its schema: its own state, and the taps
                // that the engine walks.
                let (is_own, before) =
                    (schema["properties"].get(&entry.key).is_some(), self.found.len());
                let folder = entry.key == "state" && draft.trains && names_folder(&entry.node);
                if !is_own || entry.key == "at" || folder {
                    self.reserved(draft, entry);
                }
                if is_own && !folder && self.found.len() == before {
                    own.push(entry);
                }
            } else {
                own.push(entry);
            }
        }
        let ports: Vec<&str> = draft.wired_ports().map(|port| port.name.as_str()).collect();
        let owner = format!("{} ({} `{}`)", draft.called(), draft.kind, draft.component);
        let mut walk = Walk::new(owner, self.folders, self.names);
        let model = own.iter().find(|entry| entry.key == "model");
        walk.model = model.and_then(|entry| entry.node.as_str()).map(str::to_string);
        let mut config = walk.table(&own, &schema, draft.at, "", &ports);
        if draft.trains && draft.state.is_some() && schema["properties"].get("seed").is_some() {
            // What a seed draws is what training begins with, and has the sizes of what it ends with.
            config.entry("seed").or_insert(self.seed.into());
        }
        let is_error = |found: &Diagnostic| found.severity == Severity::Error;
        let failed = walk.found.iter().any(is_error) || !walk.absent.is_empty();
        let own_key = |found: &Diagnostic| own.iter().find(|entry| found.at == Some(entry.key_at));
        for found in &mut walk.found {
            if let Some(entry) = own_key(found)
                && self.rank(draft.kind_at.source) > self.rank(entry.key_at.source)
            {
                found.hint = Some(inherited(&entry.key, draft));
            }
        }
        // Weights of a known name that are not here yet: a component may know its sizes without them.
        let lacks = !walk.found.is_empty();
        self.found.append(&mut walk.found);
        draft.files = walk.files;
        draft.config = config;
        self.absent(draft, walk.absent);
        if let (Some(kind), false) = (draft.plugin_kind(), failed) {
            self.facts(draft, kind, &own, lacks);
        }
    }

    /// What stands in a text of higher rank was written later: changes, then the file, then what it extends.
    fn rank(&self, source: usize) -> (usize, Reverse<usize>) {
        if source < self.n_files { (0, Reverse(source)) } else { (source, Reverse(0)) }
    }

    fn kind<'t>(&mut self, draft: &Draft, table: &'t Table) -> Option<&'t Entry> {
        let is_kind = |entry: &&Entry| KIND_KEYS.contains(&entry.key.as_str());
        let kinds: Vec<&Entry> = table.entries.iter().filter(is_kind).collect();
        match kinds.as_slice() {
            [one] => Some(one),
            [] => {
                let message = format!("{} does not say what it is", draft.called());
                let slip = table.entries.iter().find_map(|entry| {
                    Some((entry, nearest(&entry.key, KIND_KEYS).filter(|_| entry.key.len() > 2)?))
                });
                let found = match slip {
                    Some((entry, kind)) => Diagnostic::error(entry.key_at, message)
                        .hint(format!("did you mean `{kind}`?")),
                    None => Diagnostic::error(draft.at, message),
                };
                self.found.push(found.note(format!("one key of {} says it", listed(KIND_KEYS))));
                None
            }
            [first, second, ..] => {
                let message = format!("{} has two kinds", draft.called());
                let found = Diagnostic::error(second.key_at, message);
                self.found.push(found.related(first.key_at, "the first"));
                None
            }
        }
    }

    /// Looks the component up; its schema, if it is there.
    fn component(&mut self, draft: &mut Draft) -> Option<Json> {
        let Some(kind) = draft.plugin_kind() else {
            let (schema, names) = sections::engine_kind(draft.kind);
            draft.ports = sections::engine_ports(draft.kind, &draft.component);
            draft.batch_invariant = true;
            if names.contains(&draft.component.as_str()) {
                return Some(schema);
            }
            let message = format!("there is no {} `{}`", draft.kind, draft.component);
            let found = Diagnostic::error(draft.kind_at, message);
            let found = found.near(&draft.component, names.iter().copied());
            self.found.push(found.note(format!("there are {}", listed(names.iter().copied()))));
            return None;
        };
        let Some(info) = self.catalog.component(kind, &draft.component) else {
            let found = self.no_component(draft, kind);
            self.found.push(found);
            return None;
        };
        draft.ports.clone_from(&info.ports);
        draft.fits = info.fits;
        draft.trains = info.trains;
        draft.goes_back = info.goes_back;
        draft.offers_taps = info.taps;
        draft.encodes_text = info.encodes_text;
        draft.batch_invariant = info.batch_invariant;
        Some(info.schema.clone())
    }

    fn no_component(&self, draft: &Draft, kind: Kind) -> Diagnostic {
        let name = draft.component.as_str();
        let names = self.catalog.names(kind);
        let message = format!("there is no {kind} `{name}`");
        let mut found = Diagnostic::error(draft.kind_at, message).near(name, names.iter().copied());
        let elsewhere = Kind::ALL
            .into_iter()
            .find(|other| *other != kind && self.catalog.component(*other, name).is_some());
        if let Some(other) = elsewhere {
            found = found.hint(format!(
                "`{name}` is {}: write `{other} = \"{name}\"`",
                with_article(other.key())
            ));
        }
        found = match names.is_empty() {
            true => {
                found.note(format!("no plugin that holds {} was found", with_article(kind.key())))
            }
            false => found.note(format!("there are {}", listed(names))),
        };
        for (path, why) in self.catalog.rejected() {
            found = found.note(format!("`{}` could not be loaded: {why}", path.display()));
        }
        found
    }

    fn facts(&mut self, draft: &mut Draft, kind: Kind, own: &[&Entry], lacks: bool) {
        let config = Json::Object(draft.config.clone());
        match self.catalog.facts(kind, &draft.component, &config) {
            Ok(facts) => draft.facts = facts,
            Err(_) if lacks => {}
            Err(why) => {
                let message =
                    format!("{} is refused by {kind} `{}`", draft.called(), draft.component);
                let at = named(own, &why).map_or(draft.at, |entry| entry.node.at);
                self.found.push(Diagnostic::error(at, message).label(why));
            }
        }
    }

    /// A prompt cache that is absent can be made; any other file is a mistake.
    fn absent(&mut self, draft: &Draft, absent: Vec<AbsentFile>) {
        let config = Json::Object(draft.config.clone());
        let caches = match draft.plugin_kind() {
            Some(kind) if !absent.is_empty() => {
                self.catalog.caches(kind, &draft.component, &config)
            }
            _ => Vec::new(),
        };
        for AbsentFile { file, found } in absent {
            let hint = match caches.iter().find(|cache| cache.path == file) {
                Some(_) if self.fills => continue,
                Some(cache) if cache.by_hand => format!(
                    "sentences without a `model` are written by hand: `loupe prompts import FILE \
                     --into {} --class NAME`; with a `model`, `{}` asks it",
                    fill::word(&file),
                    self.fill
                ),
                Some(_) => format!("make it with `{}`", self.fill),
                None => {
                    self.found.push(found);
                    continue;
                }
            };
            self.found.push(found.hint(hint));
        }
    }

    fn wire(&mut self, draft: &Draft, entry: &Entry) -> Option<Wire> {
        let nodes: Vec<&Node> = match &entry.node.value {
            Value::Array(items) => items.iter().collect(),
            _ => vec![&entry.node],
        };
        let mut refs = Vec::new();
        for node in nodes {
            let parsed = match node.as_str() {
                Some(text) => parse_ref(text, node.at),
                None => Err(format!("`{}` wants the name of a value", entry.key)),
            };
            match parsed {
                Ok(parsed) => refs.push(parsed),
                Err(why) => {
                    let found = Diagnostic::error(node.at, format!("{}: {why}", draft.called()));
                    let example = "a value is `stage`, `stage.value` or `stage.value@240`";
                    self.found.push(found.note(example));
                    return None;
                }
            }
        }
        if refs.is_empty() {
            let message = format!("`{}` of {} names no value", entry.key, draft.called());
            self.found.push(Diagnostic::error(entry.node.at, message));
            return None;
        }
        Some(Wire { key: entry.key.clone(), refs })
    }

    fn reserved(&mut self, draft: &mut Draft, entry: &Entry) {
        let at = entry.node.at;
        let name = || entry.node.as_str().map(|text| (text.to_string(), at));
        let wants = match entry.key.as_str() {
            "fit_on" => {
                let names = SOURCES.map(|(name, _)| name);
                let source = entry.node.as_str().unwrap_or_default();
                match SOURCES.iter().find(|(name, _)| *name == source) {
                    Some((_, fit_on)) => draft.fit_on = Some((*fit_on, at)),
                    None => {
                        let message = format!("`fit_on` of {} names no source", draft.called());
                        let found = Diagnostic::error(at, message).near(source, names);
                        self.found.push(found.note(format!("there are {}", listed(names))));
                    }
                }
                return;
            }
            "embed_with" if draft.kind == "prompts" => {
                draft.embed_with = name();
                draft.embed_with.is_none().then_some("the name of an encoder stage")
            }
            "taps" if draft.kind == "fusion" => {
                draft.taps = name();
                draft.taps.is_none().then_some("the name of an encoder stage")
            }
            "at" if draft.kind == "fusion" => {
                draft.tap_list = numbers(&entry.node).map(|taps| (taps, at));
                draft.tap_list.is_none().then_some("a list of taps, such as `[6, 12]`")
            }
            "augment" => {
                draft.augment = augment(&entry.node).map(|augment| (augment, at));
                draft.augment.is_none().then_some(AUGMENTS)
            }
            "state" if draft.fits || draft.trains => {
                let folder = self.folders.get(at.source).map_or(Path::new(""), PathBuf::as_path);
                draft.state = entry.node.as_str().map(|name| folder.join(name));
                draft.state.is_none().then_some("a folder")
            }
            "device" => {
                let message = format!("`{}` is not understood by this version yet", entry.key);
                let found = Diagnostic::error(entry.key_at, message);
                self.found
                    .push(found.note("the key is reserved for what trains and places stages"));
                return;
            }
            key => {
                let message =
                    format!("`{key}` means nothing to {} stage", with_article(draft.kind));
                self.found.push(Diagnostic::error(entry.key_at, message));
                return;
            }
        };
        if let Some(wants) = wants {
            let message = format!("`{}` of {} wants {wants}", entry.key, draft.called());
            self.found.push(Diagnostic::error(at, message).label(entry.node.describe()));
        }
    }
}

/// What to do with a key of the component that stood here before.
fn inherited(key: &str, draft: &Draft) -> String {
    let (name, kind, component) = (&draft.name, draft.kind, &draft.component);
    format!(
        "`{key}` was written for another {kind}, and a stage keeps its keys when `{kind}` alone is changed; \
         `--set 'stages.{name}={{ {kind} = \"{component}\", .. }}'` writes all of it anew"
    )
}

/// The first of the written keys that a component's message names in backticks: it knows no places.
fn named<'t>(own: &[&'t Entry], message: &str) -> Option<&'t Entry> {
    let key = |quoted: &str| quoted.split_once(' ').map_or(quoted, |(key, _)| key).to_owned();
    let mut keys = message.split('`').skip(1).step_by(2).map(key);
    keys.find_map(|key| own.iter().find(|entry| entry.key == key).copied())
}

/// A folder with a file a class, where a file's own name would end in what it is.
fn names_folder(node: &Node) -> bool {
    let endings = [".safetensors", ".pth", ".pt"];
    node.as_str().is_some_and(|name| !endings.iter().any(|ending| name.ends_with(ending)))
}

/// What `augment` takes.
pub const AUGMENTS: &str =
    "`\"mvfa-11\"`, or `{ defects = 16 }`, 1 to 1024 pictures an image, and perhaps a `seed`";

pub fn augment(node: &Node) -> Option<Augment> {
    if node.as_str() == Some("mvfa-11") {
        return Some(Augment::Mvfa11);
    }
    let Value::Table(table) = &node.value else { return None };
    let number = |key: &str| match table.get(key).map(|entry| &entry.node.value) {
        Some(Value::Integer(number)) => u64::try_from(*number).ok(),
        _ => None,
    };
    let known = table.entries.iter().all(|entry| matches!(entry.key.as_str(), "defects" | "seed"));
    let seed = if table.get("seed").is_some() { number("seed")? } else { 0 };
    let defects = number("defects").filter(|n| known && (1..=1024).contains(n))? as usize;
    Some(Augment::Painted { defects, seed })
}

fn numbers(node: &Node) -> Option<Vec<u32>> {
    let Value::Array(items) = &node.value else { return None };
    let number = |item: &Node| match item.value {
        Value::Integer(number) => u32::try_from(number).ok(),
        _ => None,
    };
    items.iter().map(number).collect()
}
