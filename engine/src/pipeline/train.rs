//! `[train]`: how the adapters of a stage on taps learn.

use serde_json::{Map, Value as Json, json};

use super::check::Checker;
use super::diagnostics::{Diagnostic, listed};
use super::draft::Draft;
use super::model::{Adam, HeadLosses, Keep, Loss, MaskFilter, Patience, Train};
use super::sections;
use super::stages::{AUGMENTS, augment};
use super::tree::{At, Value};

/// Ends the outputs that losses read: head `seg` emits `seg_tokens`.
pub const TOKENS: &str = "_tokens";

const LOSSES: [(&str, Loss); 3] =
    [("bce-on-probability", Loss::BceOnProbability), ("focal", Loss::Focal), ("dice", Loss::Dice)];

/// The schema of the section.
pub fn schema() -> Json {
    let names = LOSSES.map(|(name, _)| name);
    json!({
        "type": "object", "additionalProperties": false, "required": ["stage", "text", "loss"],
        "properties": {
            "stage": {"type": "string", "description": "The fusion on taps that learns."},
            "text": {"type": "string",
                "description": "The prompts stage whose embeddings its tokens are compared with."},
            "augment": {"description": "What each reference becomes.",
                "anyOf": [{"type": "string", "enum": ["mvfa-11", "none"]}, {
                    "type": "object", "additionalProperties": false, "required": ["defects"],
                    "properties": {
                        "defects": {"type": "integer", "minimum": 1, "maximum": 1024},
                        "seed": {"type": "integer", "minimum": 0}
                    }
                }]},
            "auxiliary": {"type": "array", "default": [], "items": auxiliary(),
                "description": "Other data sets whose test images are learned from."},
            "loss": {"type": "object", "description": "Losses of each head's tokens.",
                "additionalProperties": {"anyOf": [
                    {"type": "string", "enum": names},
                    {"type": "array", "minItems": 1, "items": {"type": "string", "enum": names}}]}},
            "optimizer": {
                "type": "object", "additionalProperties": false, "default": {},
                "properties": {
                    "name": {"type": "string", "enum": ["adam"], "default": "adam"},
                    "lr": {"type": "number", "exclusiveMinimum": 0, "default": 1e-3},
                    "betas": {"type": "array", "minItems": 2, "maxItems": 2, "default": [0.5, 0.999],
                        "items": {"type": "number", "minimum": 0, "maximum": 1}},
                    "eps": {"type": "number", "exclusiveMinimum": 0, "default": 1e-8}
                }
            },
            "scale": {"type": "number", "exclusiveMinimum": 0, "default": 100.0,
                "description": "Multiplies the cosine of a token and a text embedding."},
            "masks": {"type": "string", "enum": ["nearest", "smooth"], "default": "nearest",
                "description": "How masks come to the side of the prepared images."},
            "epochs": {"type": "integer", "minimum": 1, "maximum": 100_000, "default": 50,
                "description": "Epochs at most; `patience` may end it earlier."},
            "keep": {"type": "string", "enum": ["last", "best-held-out", "best-test"],
                "default": "last",
                "description": "The epoch that is kept; `best-test` makes the run an oracle's."},
            "held_out": {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1,
                "description": "Share of the references that is not learned from, but watched."},
            "patience": {"type": "integer", "minimum": 1, "maximum": 100_000,
                "description": "Training ends after so many epochs without a lower loss: that of \
                                what is held out, or else of what is learned from."},
            "min_delta": {"type": "number", "minimum": 0, "default": 0.0,
                "description": "The loss is lower if it is lower by more than this."}
        }
    })
}

/// One of `auxiliary`: `[data]` without references.
fn auxiliary() -> Json {
    let mut data = sections::data();
    if let Some(keys) = data.get_mut("properties").and_then(Json::as_object_mut) {
        keys.remove("references");
    }
    data
}

/// The section with the stages it names, as indices into the drafts.
pub(super) struct Found {
    stage: (usize, At),
    /// Needed whether an output reads it or not.
    pub(super) text: usize,
    train: Train,
}

impl Checker<'_> {
    /// Reads `[train]` and judges it against the stages; `None` if there is none or it is wrong.
    pub(super) fn train(&mut self, drafts: &[Draft]) -> Option<(Map<String, Json>, Found)> {
        self.node("train")?;
        let section = self.section("train", &schema())?;
        let (learns, at) = self.named(drafts, "stage")?;
        let (words, text_at) = self.named(drafts, "text")?;
        let draft = drafts.get(learns)?;
        if let Some(found) = refused(draft, drafts, at) {
            self.report.push(found);
            return None;
        }
        if drafts.get(words).is_some_and(|draft| draft.embed_with.is_none()) {
            let message = "`text` of `[train]` wants a prompts stage with embeddings";
            let found = Diagnostic::error(text_at, message);
            self.report.push(found.hint("add `embed_with = \"ENCODER\"` to that stage"));
            return None;
        }
        let losses = self.losses(&section, draft)?;
        let augment = match self.node("train.augment") {
            Some(node) if node.as_str() == Some("none") => None,
            Some(node) => match augment(node) {
                Some(augment) => Some(augment),
                None => {
                    let message = format!("`augment` of `[train]` wants {AUGMENTS}");
                    self.report.push(Diagnostic::error(node.at, message));
                    return None;
                }
            },
            None => None,
        };
        let sets = section.get("auxiliary").and_then(Json::as_array);
        let set = |set: &Json| {
            let path = |_: &str, text: &str| self.path("train.auxiliary", text);
            Some(sections::typed_data(set.as_object()?, &path))
        };
        let auxiliary = sets.into_iter().flatten().filter_map(set).collect();
        let train = Train { augment, auxiliary, losses, ..typed(&section) };
        if let Some(found) = self.ending(&train) {
            self.report.push(found);
            return None;
        }
        Some((section, Found { stage: (learns, at), text: words, train }))
    }

    /// With indices into the stages that are run.
    pub(super) fn needed_train(&mut self, found: &Found, kept: &[usize]) -> Option<Train> {
        let place = |idx: usize| kept.iter().position(|other| *other == idx);
        let (learns, at) = found.stage;
        match (place(learns), place(found.text)) {
            (Some(stage), Some(text)) => Some(Train { stage, text, ..found.train.clone() }),
            _ => {
                let message = "`[train]` names a stage that no output needs";
                self.report.push(Diagnostic::error(at, message));
                None
            }
        }
    }

    fn named(&mut self, drafts: &[Draft], key: &str) -> Option<(usize, At)> {
        let node = self.node(&format!("train.{key}"))?;
        let (name, at) = (node.as_str()?, node.at);
        let found = drafts.iter().position(|draft| draft.name == name);
        if found.is_none() {
            let names: Vec<&str> = drafts.iter().map(|draft| draft.name.as_str()).collect();
            let message = format!("`{key}` of `[train]`: there is no stage `{name}`");
            self.report.push(Diagnostic::error(at, message).near(name, names));
        }
        found.map(|idx| (idx, at))
    }

    /// What is wrong with the keys that end a training and choose its epoch.
    fn ending(&self, train: &Train) -> Option<Diagnostic> {
        let at = |key: &str| self.node(&format!("train.{key}")).map(|node| node.at);
        let said = |key: &str, message: &str, hint: &str| {
            at(key).map(|at| Diagnostic::error(at, message).hint(hint))
        };
        if train.patience.is_none() && at("min_delta").is_some() {
            let message = "`min_delta` of `[train]` means nothing without `patience`";
            return said("min_delta", message, "add `patience = 5`, or take it away");
        }
        if train.held_out.is_none() {
            let message = "`keep = \"best-held-out\"` of `[train]` wants `held_out`";
            let hint =
                "add `held_out = 0.25`, the share of the references that is not learned from";
            return (train.keep == Keep::BestHeldOut).then(|| said("keep", message, hint))?;
        }
        if train.keep != Keep::BestHeldOut && train.patience.is_none() {
            let message = "`held_out` of `[train]` decides nothing";
            let hint = "add `keep = \"best-held-out\"` or `patience = 5`, or take it away";
            return said("held_out", message, hint);
        }
        let shots = self.node("data.references.shots").map(|node| &node.value);
        if train.auxiliary.is_empty() && shots == Some(&Value::Integer(1)) {
            let message = "`held_out` of `[train]` wants two normal references or more, and \
                           `shots` is 1";
            return said("held_out", message, "set `shots` to 2 or more, or take it away");
        }
        None
    }

    fn losses(&mut self, section: &Map<String, Json>, draft: &Draft) -> Option<Vec<HeadLosses>> {
        let mut losses = Vec::new();
        for (head, of) in section.get("loss")?.as_object()? {
            let port = format!("{head}{TOKENS}");
            if !draft.outputs().any(|output| output.name == port) {
                let at = self.node(&format!("train.loss.{head}")).map(|node| node.at)?;
                let heads = draft.outputs().filter_map(|port| port.name.strip_suffix(TOKENS));
                let message = format!("{} has no output `{port}`", draft.called());
                let note = format!("its heads are {}", listed(heads));
                self.report.push(Diagnostic::error(at, message).note(note));
                return None;
            }
            let names = match of {
                Json::Array(names) => names.iter().filter_map(Json::as_str).collect(),
                one => Vec::from_iter(one.as_str()),
            };
            let loss = |name: &str| LOSSES.iter().find(|known| known.0 == name).map(|l| l.1);
            let of = names.into_iter().filter_map(loss).collect();
            losses.push(HeadLosses { head: head.clone(), of });
        }
        if losses.is_empty() {
            let at = self.node("train.loss").map(|node| node.at)?;
            let found = Diagnostic::error(at, "`loss` of `[train]` names no head");
            let hint =
                "such as `loss = { det = \"bce-on-probability\", seg = [\"focal\", \"dice\"] }`";
            self.report.push(found.hint(hint));
            return None;
        }
        Some(losses)
    }
}

/// Why a stage cannot learn.
fn refused(draft: &Draft, drafts: &[Draft], at: At) -> Option<Diagnostic> {
    let (called, component) = (draft.called(), &draft.component);
    if !draft.trains {
        let message = format!(
            "{called} cannot be trained: {} `{component}` learns nothing by gradients",
            draft.kind
        );
        return Some(Diagnostic::error(at, message));
    }
    let Some((encoder, _)) = &draft.taps else {
        let found = Diagnostic::error(at, format!("{called} stands on no taps"));
        return Some(found.hint("add `taps = \"ENCODER\"` and `at = [6, 12]` to it"));
    };
    if drafts.iter().any(|other| other.name == *encoder && !other.goes_back) {
        let message =
            format!("{called} cannot be trained: its encoder `{encoder}` offers no gradients");
        return Some(Diagnostic::error(at, message));
    }
    // A file is read, and only `loupe train` wants a place to write to.
    if draft.state.is_none() && draft.config.get("state").is_none_or(Json::is_null) {
        let found = Diagnostic::error(at, format!("{called} has no place for what it learns"));
        return Some(found.hint("add `state = \"FOLDER\"` to it"));
    }
    None
}

fn typed(section: &Map<String, Json>) -> Train {
    let empty = Map::new();
    let optimizer = section.get("optimizer").and_then(Json::as_object).unwrap_or(&empty);
    let number = |from: &Map<String, Json>, key: &str| from.get(key).and_then(Json::as_f64);
    let beta = |idx: usize| optimizer.get("betas").and_then(|betas| betas.get(idx)?.as_f64());
    Train {
        stage: 0,
        text: 0,
        augment: None,
        auxiliary: Vec::new(),
        losses: Vec::new(),
        optimizer: Adam {
            lr: number(optimizer, "lr").unwrap_or_default(),
            betas: [beta(0).unwrap_or_default(), beta(1).unwrap_or_default()],
            eps: number(optimizer, "eps").unwrap_or_default(),
        },
        scale: number(section, "scale").unwrap_or_default(),
        masks: match section.get("masks").and_then(Json::as_str) {
            Some("smooth") => MaskFilter::Smooth,
            _ => MaskFilter::Nearest,
        },
        epochs: section.get("epochs").and_then(Json::as_u64).unwrap_or_default() as usize,
        keep: match section.get("keep").and_then(Json::as_str) {
            Some("best-held-out") => Keep::BestHeldOut,
            Some("best-test") => Keep::BestTest,
            _ => Keep::Last,
        },
        held_out: number(section, "held_out"),
        patience: section.get("patience").and_then(Json::as_u64).map(|epochs| Patience {
            epochs: epochs as usize,
            min_delta: number(section, "min_delta").unwrap_or_default(),
        }),
    }
}
