//! Fingerprints: what guards the cache against a component that changed while its revision did not.
//!
//! A key holds a component's name, revision and config, not its binary, so that a rebuild re-encodes nothing. The price
//! is paid here, once per binary: the component runs on a fixed probe, and its outputs must be those of the binary that
//! filled the cache.

use std::sync::Arc;

use super::engine::Engine;
use super::wiring::{Call, Feed, Form};
use super::{RunError, batch};
use crate::cache::{Fingerprint, Key, KeyBuilder};
use crate::pipeline::model::{Component, Label};
use crate::plugin::info::{ComponentInfo, Kind, Port, ValueKind, Verb};
use crate::plugin::{Instance, PluginError, Sentence, Tensor, Value};

/// Counts the changes of what a component is probed with: outputs of two probes are no two builds'.
const PROBE: u64 = 2;
/// Sides of the probes, tried in this order: a component may want more than a few rows.
const SIDES: [usize; 2] = [3, 16];
/// Width where neither the config nor a neighbour fixes one.
const WIDTH: usize = 8;

/// Compares the outputs of this binary with those that the cache was filled with; remembers a binary that agrees.
/// Errors: `Fingerprint` if they differ.
pub(super) fn compare(
    engine: &Engine<'_>,
    stage: usize,
    info: &ComponentInfo,
    instance: &Instance,
) -> Result<(), RunError> {
    if info.revision == 0 || engine.dtype(stage).is_none() || !engine.caches() {
        return Ok(());
    }
    let key = key(engine, stage);
    let known = engine.cache.fingerprint_get(&key);
    if known.as_ref().is_some_and(|known| known.binaries.contains(&info.binary)) {
        return Ok(());
    }
    let outputs = probe(engine, stage, info, instance);
    // A component that was told to stop gave no answer to remember.
    engine.stop_if_cancelled()?;
    let mut binaries = Vec::new();
    if let Some(known) = known {
        if known.outputs != outputs {
            return Err(RunError::Fingerprint {
                kind: info.kind.to_string(),
                component: info.name.clone(),
                revision: info.revision,
            });
        }
        binaries = known.binaries;
    }
    binaries.push(info.binary);
    let fingerprint = Fingerprint { outputs, binaries };
    if let Err(error) = engine.cache.fingerprint_put(&key, &fingerprint) {
        engine.note_cache_failure(&error.to_string());
    }
    Ok(())
}

/// Compares every component whose binary is new to a cache that holds values of it. A run that finds
/// all it needs calls nothing, and would serve another build's values unasked.
/// Errors: as `Engine::instance`.
pub(super) fn compare_new_binaries(engine: &Engine<'_>) -> Result<(), RunError> {
    for (stage, described) in engine.pipeline.stages.iter().enumerate() {
        if !matches!(described.component, Component::Plugin { .. }) || !engine.caches() {
            continue;
        }
        let info = engine.info(stage)?;
        let known = engine.cache.fingerprint_get(&key(engine, stage));
        let is_new = known.is_some_and(|known| !known.binaries.contains(&info.binary));
        if is_new && info.revision != 0 && engine.dtype(stage).is_some() {
            engine.instance(stage)?;
        }
    }
    Ok(())
}

fn key(engine: &Engine<'_>, stage: usize) -> Key {
    KeyBuilder::new("fingerprint").u64("probe", PROBE).key("stage", &engine.keys[stage]).finish()
}

/// The component that is probed and the sizes of what it is given.
struct Probe<'a> {
    engine: &'a Engine<'a>,
    stage: usize,
    info: &'a ComponentInfo,
    /// Side of every grid and the length of every unnamed dimension.
    side: usize,
}

/// Digest of everything the component gives for the first probe that it takes. A component that takes none cannot be
/// compared: the binary stands for its outputs, and another build of the same revision is refused.
fn probe(engine: &Engine<'_>, stage: usize, info: &ComponentInfo, instance: &Instance) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    let values =
        SIDES.iter().find_map(|&side| verbs(&Probe { engine, stage, info, side }, instance).ok());
    match values {
        Some(values) => values.iter().for_each(|value| hash(&mut hasher, value)),
        None => {
            hasher.update(b"refused").update(&info.binary);
        }
    }
    *hasher.finalize().as_bytes()
}

fn verbs(probe: &Probe<'_>, instance: &Instance) -> Result<Vec<Value>, PluginError> {
    let info = probe.info;
    let wiring = &probe.engine.wiring[probe.stage];
    let mut values = Vec::new();
    if info.encodes_text {
        values.push(Value::Tensor(instance.encode_text(&sentences())?));
    }
    let Some(call) = wiring.runs.first() else { return Ok(values) };
    let loaded = match wiring.fit_of(call.label) {
        Some(fit) => {
            let mut session = instance.fit()?;
            session.push(&inputs(probe, fit, Verb::Fit))?;
            Some(instance.load(&session.close()?)?)
        }
        None => None,
    };
    let written = |port: &&Port| port.output && (port.verb == Verb::Run || is_stepped(info, port));
    let wanted: Vec<u32> = info.ports.iter().filter(written).map(|port| port.index).collect();
    let inputs = inputs(probe, call, Verb::Run);
    let outputs = loaded.as_ref().unwrap_or(instance).run(&inputs, &wanted)?;
    values.extend(outputs.values.into_iter().map(|(_, value)| value));
    Ok(values)
}

/// What a fusion reads and writes between taps passes through its one verb; an encoder's taps have verbs of their own.
fn is_stepped(info: &ComponentInfo, port: &Port) -> bool {
    info.kind == Kind::Fusion && port.verb == Verb::Tap
}

fn inputs(probe: &Probe<'_>, call: &Call, verb: Verb) -> Vec<(u32, Value)> {
    let info = probe.info;
    let mut inputs: Vec<(u32, Value)> =
        call.feeds.iter().map(|feed| (feed.port, value(probe, feed))).collect();
    // What the engine feeds by itself: a generator's class name, a stepped fusion's stream.
    for port in info.ports.iter().filter(|port| !port.output && !port.optional) {
        let by_engine = port.verb == verb || (verb == Verb::Run && is_stepped(info, port));
        if by_engine && !inputs.iter().any(|(given, _)| *given == port.index) {
            let feed = Feed {
                port: port.index,
                stage: probe.stage,
                output: String::new(),
                form: Form::Class,
            };
            inputs.push((port.index, value(probe, &feed)));
        }
    }
    inputs
}

fn value(probe: &Probe<'_>, feed: &Feed) -> Value {
    let port = probe.info.ports.iter().find(|port| port.index == feed.port);
    let has = |kind| port.is_some_and(|port| port.kinds.contains(&kind));
    let tensor = |label: Label, nth: usize| tensor(probe, port, label, nth);
    match &feed.form {
        Form::Tensor(label) => Value::Tensor(tensor(*label, 0)),
        Form::Tensors(labels) => Value::Tensors(
            labels.iter().enumerate().map(|(nth, label)| (*label, tensor(*label, nth))).collect(),
        ),
        Form::Class if has(ValueKind::EmbeddedText) => {
            let sentences = Arc::new(sentences());
            let width = dim(probe, "d", Label::default());
            let embeddings = numbers(vec![sentences.len(), width], 7);
            Value::EmbeddedText { sentences, embeddings }
        }
        Form::Class if has(ValueKind::Tensors) => Value::Tensors(vec![first_tap(probe, port)]),
        Form::Class if has(ValueKind::Text) => Value::Text(Arc::new(sentences())),
        Form::Class => Value::Tensor(tensor(Label::default(), 0)),
    }
}

/// The stream at the first tap of a fusion that asks where it stands.
fn first_tap(probe: &Probe<'_>, port: Option<&Port>) -> (Label, Tensor) {
    let taps = probe.engine.pipeline.stages[probe.stage].taps.as_ref();
    let tap = taps.and_then(|taps| taps.at.first().copied());
    (Label { tap, ..Label::default() }, tensor(probe, port, Label::default(), 0))
}

fn tensor(probe: &Probe<'_>, port: Option<&Port>, label: Label, nth: usize) -> Tensor {
    let shape = port.and_then(|port| port.shape.as_deref()).unwrap_or("...");
    let mut dims = Vec::new();
    for name in shape.split_whitespace() {
        match name {
            "..." => dims.extend([1, probe.side, probe.side]),
            name => dims.push(dim(probe, name, label)),
        }
    }
    numbers(dims, nth as u64)
}

fn dim(probe: &Probe<'_>, name: &str, label: Label) -> usize {
    let stages = &probe.engine.pipeline.stages;
    let described = &stages[probe.stage];
    let encoder = described.taps.as_ref().map(|taps| &stages[taps.encoder].facts);
    let known =
        described.facts.dims.get(name).or_else(|| encoder.and_then(|facts| facts.dims.get(name)));
    match (name, known, name.parse::<usize>()) {
        (_, Some(known), _) => *known,
        (_, _, Ok(fixed)) => fixed,
        ("b", ..) => 1,
        ("h" | "w", ..) => label.size.map_or(probe.side, |size| size as usize),
        ("c" | "d", ..) => WIDTH,
        ("t", ..) => n_tokens(probe).unwrap_or(probe.side),
        _ => probe.side,
    }
}

/// Tokens of the stream at the tap that a fusion stands on, for an image of the size of its first call. `None` if the
/// encoder does not tell its patches.
fn n_tokens(probe: &Probe<'_>) -> Option<usize> {
    let stages = &probe.engine.pipeline.stages;
    let facts = &stages[stages[probe.stage].taps.as_ref()?.encoder].facts.all;
    let size = probe.engine.wiring[probe.stage].runs.first()?.label.size? as usize;
    batch::n_tokens(facts, [size, size])
}

fn sentences() -> Vec<Sentence> {
    let sentence = |(text, anomalous): (&str, bool)| Sentence {
        text: text.to_owned(),
        anomalous,
        weight: 1.0,
        source: "probe".to_owned(),
    };
    [("a clean surface", false), ("a smooth tile", false), ("a broken edge", true), ("rust", true)]
        .map(sentence)
        .to_vec()
}

/// Numbers in 0..1 from a counter, the same on every machine.
fn numbers(shape: Vec<usize>, seed: u64) -> Tensor {
    let n: usize = shape.iter().product();
    let number = |i: usize| {
        let mut z = (i as u64).wrapping_add(seed << 32).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        z = (z ^ (z >> 31)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        ((z ^ (z >> 29)) >> 40) as f32 / (1_u64 << 24) as f32
    };
    let data = (0..n).map(number).collect();
    // The count is the shape's own product, so the shape always holds it.
    Tensor::new(shape, data).unwrap_or_else(|_| Tensor::on_cuda(Vec::new(), 0))
}

fn hash(hasher: &mut blake3::Hasher, value: &Value) {
    for (label, tensor) in value.tensors() {
        hasher.update(format!("{label:?} {:?}", tensor.shape()).as_bytes());
        for number in tensor.data() {
            hasher.update(&number.to_bits().to_le_bytes());
        }
    }
    if let Value::Text(sentences) = value {
        for sentence in sentences.iter() {
            hasher.update(format!("{sentence:?}").as_bytes());
        }
    }
}
