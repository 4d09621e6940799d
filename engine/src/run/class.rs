//! One class under evaluation: tensors are asked for by stage, output and label, taken from memory or the cache where
//! they are there, and computed, with everything they need, where they are not.

use std::collections::{HashMap, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use serde_json::{Value as Json, json};

use super::ahead::Coming;
use super::engine::Engine;
use super::keys::{call_key, item_key};
use super::reads::select;
use super::source::{ClassImages, Image};
use super::wiring::{Call, Feed, Form, output_of};
use super::{RunError, compute, text};
use crate::cache::{Key, KeyBuilder};
use crate::hooks;
use crate::image::Rgb;
use crate::pipeline::model::{Component, Label, ValueRef};
use crate::plugin::{Instance, Tensor, Value};

/// Bytes of fit inputs kept between the two passes over a test set, so that nothing is computed twice without a cache.
pub(super) const KEPT_BYTES: usize = 256 << 20;

/// What one image got.
#[derive(Clone, Debug)]
pub struct Scored {
    pub anomaly_map: Option<Tensor>,
    pub anomaly_score: Option<f64>,
    /// No encoder ran for it.
    pub from_cache: bool,
    pub ms: f64,
}

/// Name of a stage's hook in a script.
pub(super) fn hook(seam: &str, stage: &str) -> String {
    format!("{seam}_{}", stage.replace('-', "_"))
}

/// What `on_class` makes of a class's names: it gets `name`, `display` and `synonyms` and may return them changed.
/// Errors: `Hook`.
pub fn renamed(hooks: &hooks::Hooks, mut class: ClassImages) -> Result<ClassImages, RunError> {
    let names = json!({ "name": class.name, "display": class.display, "synonyms": class.synonyms });
    let Some(changed) = hooks.on_class(&names)? else { return Ok(class) };
    if let Some(display) = changed.get("display").and_then(Json::as_str) {
        class.display = display.to_owned();
    }
    if let Some(synonyms) = changed.get("synonyms").and_then(Json::as_array) {
        class.synonyms = synonyms.iter().filter_map(Json::as_str).map(str::to_owned).collect();
    }
    Ok(class)
}

/// Evaluates the images of one class.
pub struct ClassRun<'e> {
    pub(super) engine: &'e Engine<'e>,
    pub(super) class: ClassImages,
    class_values: HashMap<usize, (Key, Value)>,
    state_keys: HashMap<(usize, Label), Key>,
    pub(super) loaded: HashMap<Key, Arc<Instance>>,
    /// By stage, what `loupe train` left for this class.
    pub(super) trained_states: HashMap<usize, (PathBuf, [u8; 32])>,
    call_keys: HashMap<(usize, Label, [u8; 32]), Key>,
    pub(super) memo: HashMap<Key, Tensor>,
    pub(super) kept: HashMap<Key, Tensor>,
    kept_bytes: usize,
    decoded: Option<([u8; 32], Arc<Rgb>)>,
    /// In a walk, the images behind the one at work.
    pub(super) coming: VecDeque<Coming>,
    /// Digests of the images for which an encoder ran, with what their times lack, in milliseconds: their share of
    /// calls at other images' turns, less the others' share of calls at theirs.
    encoded: HashMap<[u8; 32], f64>,
}

impl<'e> ClassRun<'e> {
    /// Errors: `Hook` from `on_class`, which may change how the class is called.
    pub fn new(engine: &'e Engine<'e>, class: ClassImages) -> Result<ClassRun<'e>, RunError> {
        let class = match &engine.hooks {
            Some(hooks) => renamed(hooks, class)?,
            None => class,
        };
        Ok(ClassRun {
            engine,
            class,
            class_values: HashMap::new(),
            state_keys: HashMap::new(),
            loaded: HashMap::new(),
            trained_states: HashMap::new(),
            call_keys: HashMap::new(),
            memo: HashMap::new(),
            kept: HashMap::new(),
            kept_bytes: 0,
            decoded: None,
            coming: VecDeque::new(),
            encoded: HashMap::new(),
        })
    }

    pub fn class(&self) -> &ClassImages {
        &self.class
    }

    /// Map and score of one image, as `[output]` names them.
    /// Errors: whatever a stage or a file on the way reports.
    pub fn score(&mut self, image: &Image) -> Result<Scored, RunError> {
        let start = Instant::now();
        let output = &self.engine.pipeline.output;
        let anomaly_map =
            output.anomaly_map.as_ref().map(|value| self.value(image, value)).transpose()?;
        let score =
            output.anomaly_score.as_ref().map(|value| self.value(image, value)).transpose()?;
        let score = score.map(|score| compute::scalar(&score)).transpose()?;
        let anomaly_score = self.hooked_score(anomaly_map.as_ref(), score)?;
        // Images may come without end (`predict -`): what belonged to this one is forgotten.
        self.memo.clear();
        self.call_keys.retain(|(_, _, digest), _| *digest != image.digest);
        self.observe_image(image, anomaly_score)?;
        let shared = self.encoded.remove(&image.digest);
        Ok(Scored {
            anomaly_map,
            anomaly_score,
            from_cache: shared.is_none(),
            ms: start.elapsed().as_secs_f64() * 1e3 + shared.unwrap_or_default(),
        })
    }

    fn hooked_score(
        &self,
        map: Option<&Tensor>,
        score: Option<f64>,
    ) -> Result<Option<f64>, RunError> {
        let Some(hooks) = &self.engine.hooks else { return Ok(score) };
        // A pipeline without a map shows the hook an empty one.
        let (shape, data) = match map {
            Some(map) => (map.shape().to_vec(), map.data().to_vec()),
            None => (vec![0], Vec::new()),
        };
        let scores = score.map(|score| ("anomaly_score".to_owned(), score)).into_iter().collect();
        Ok(hooks.score_image(hooks::Tensor::new(shape, data)?, &scores)?.or(score))
    }

    fn observe_image(&self, image: &Image, score: Option<f64>) -> Result<(), RunError> {
        let Some(hooks) = &self.engine.hooks else { return Ok(()) };
        let shown =
            json!({ "image": image.name, "class": self.class.name, "anomaly_score": score });
        Ok(hooks.observe("image", hooks::Shown::Value(shown))?)
    }

    /// The one tensor that a reference names.
    fn value(&mut self, image: &Image, value: &ValueRef) -> Result<Tensor, RunError> {
        match self.labels_of(value).as_slice() {
            [label] => self.tensor(image, value.stage, &value.output, *label),
            labels => Err(self.broken(
                value.stage,
                format!(
                    "`{}` is a list of {} tensors where one is wanted",
                    value.output,
                    labels.len()
                ),
            )),
        }
    }

    /// Labels of the tensors that a reference takes; of one without labels, the empty one.
    pub(super) fn labels_of(&self, value: &ValueRef) -> Vec<Label> {
        match output_of(self.engine.pipeline, value) {
            Some(output) if !output.labels.is_empty() => select(value, &output.labels),
            _ => vec![Label::default()],
        }
    }

    pub(super) fn tensor(
        &mut self,
        image: &Image,
        stage: usize,
        output: &str,
        label: Label,
    ) -> Result<Tensor, RunError> {
        let key = item_key(&self.call_key(image, stage, label)?, output, label);
        if let Some(tensor) = self.memo.get(&key).or_else(|| self.kept.get(&key)) {
            return Ok(tensor.clone());
        }
        if let Some(tensor) = self.engine.stored(stage, &key)? {
            self.memo.insert(key, tensor.clone());
            return Ok(tensor);
        }
        self.make(image, stage, output, label)?;
        let name = &self.engine.pipeline.stages[stage].name;
        self.memo.get(&key).cloned().ok_or_else(|| {
            self.broken(stage, format!("`{name}` did not make its output `{output}`"))
        })
    }

    pub(super) fn call(&self, stage: usize, label: Label) -> Result<&'e Call, RunError> {
        self.engine.wiring[stage].run_of(label).ok_or_else(|| {
            self.broken(
                stage,
                format!("no call makes the label `{}`", super::keys::label_text(label)),
            )
        })
    }

    pub(super) fn broken(&self, stage: usize, message: String) -> RunError {
        let stage = self.engine.pipeline.stages.get(stage).map_or("?", |stage| &stage.name);
        RunError::Wiring { stage: stage.to_owned(), message }
    }

    /// Key of the call that makes `label` of a stage for this image.
    pub(super) fn call_key(
        &mut self,
        image: &Image,
        stage: usize,
        label: Label,
    ) -> Result<Key, RunError> {
        let call = self.call(stage, label)?;
        let memo = (stage, call.label, image.digest);
        if let Some(key) = self.call_keys.get(&memo) {
            return Ok(*key);
        }
        let engine = self.engine;
        let key = if let Component::Prepare(_) = engine.pipeline.stages[stage].component {
            KeyBuilder::new("prepare")
                .key("stage", &engine.keys[stage])
                .bytes("image", &image.digest)
                .u64("size", u64::from(call.label.size.unwrap_or(0)))
                .finish()
        } else {
            let state = match engine.wiring[stage].fit_of(call.label) {
                Some(fit) => Some(self.state_key(stage, fit)?),
                None => None,
            };
            let mut key = self.feeds_key("call", image, stage, state.as_ref(), call)?;
            if let Some((_, digest)) = self.trained_state(stage)? {
                key = KeyBuilder::new("trained").key("call", &key).bytes("state", &digest).finish();
            }
            match &engine.pipeline.stages[stage].taps {
                // A stepped pass reads the encoder's image and the encoder itself, which no feed names.
                Some(taps) => KeyBuilder::new("stepped")
                    .key("call", &key)
                    .key("encoder", &self.call_key(image, taps.encoder, call.label)?)
                    .finish(),
                None => key,
            }
        };
        self.call_keys.insert(memo, key);
        Ok(key)
    }

    fn feeds_key(
        &mut self,
        domain: &str,
        image: &Image,
        stage: usize,
        state: Option<&Key>,
        call: &Call,
    ) -> Result<Key, RunError> {
        let this = std::cell::RefCell::new(&mut *self);
        let engine = this.borrow().engine;
        let of_tensor = |feed: &Feed, label: Label| -> Result<Key, RunError> {
            let key = this.borrow_mut().call_key(image, feed.stage, label)?;
            Ok(item_key(&key, &feed.output, label))
        };
        let of_class = |feed: &Feed| Ok(this.borrow_mut().class_value(feed.stage)?.0);
        call_key(domain, &engine.keys[stage], state, call, of_tensor, of_class)
    }

    /// Key of what a fit learns: the stage and everything pushed to it, in order.
    pub(super) fn state_key(&mut self, stage: usize, fit: &Call) -> Result<Key, RunError> {
        let memo = (stage, fit.label);
        if let Some(key) = self.state_keys.get(&memo) {
            return Ok(*key);
        }
        let mut key = KeyBuilder::new("state").key("stage", &self.engine.keys[stage]);
        if fit.feeds.iter().all(|feed| feed.form == Form::Class) {
            for feed in &fit.feeds {
                key = key.key("class", &self.class_value(feed.stage)?.0);
            }
        } else {
            for image in super::fit::images(self, stage)? {
                key = key.key("push", &self.feeds_key("push", &image, stage, None, fit)?);
            }
        }
        let key = key.finish();
        self.state_keys.insert(memo, key);
        Ok(key)
    }

    /// The text of a prompts stage. Errors: as the stage.
    pub fn text(&mut self, stage: usize) -> Result<Value, RunError> {
        Ok(self.class_value(stage)?.1)
    }

    /// A class-scoped value with the key of its content.
    pub(super) fn class_value(&mut self, stage: usize) -> Result<(Key, Value), RunError> {
        if let Some(known) = self.class_values.get(&stage) {
            return Ok(known.clone());
        }
        let made = text::class_value(self, stage)?;
        self.class_values.insert(stage, made.clone());
        Ok(made)
    }

    /// The values fed to a call, in order.
    pub(super) fn inputs(
        &mut self,
        image: &Image,
        call: &Call,
    ) -> Result<Vec<(u32, Value)>, RunError> {
        let mut inputs = Vec::with_capacity(call.feeds.len());
        for feed in &call.feeds {
            let value = match &feed.form {
                Form::Tensor(label) => {
                    Value::Tensor(self.tensor(image, feed.stage, &feed.output, *label)?)
                }
                Form::Tensors(labels) => {
                    let item = |label: &Label| {
                        Ok((*label, self.tensor(image, feed.stage, &feed.output, *label)?))
                    };
                    Value::Tensors(labels.iter().map(item).collect::<Result<_, RunError>>()?)
                }
                Form::Class => self.class_value(feed.stage)?.1,
            };
            inputs.push((feed.port, value));
        }
        Ok(inputs)
    }

    pub(super) fn decode(&mut self, image: &Image) -> Result<Arc<Rgb>, RunError> {
        if let Some((digest, rgb)) = &self.decoded
            && *digest == image.digest
        {
            return Ok(rgb.clone());
        }
        let rgb = Arc::new(self.engine.decode(image)?);
        self.decoded = Some((image.digest, rgb.clone()));
        Ok(rgb)
    }

    /// `ms`: how much longer it took for the image than its turn says.
    pub(super) fn note_encoding(&mut self, image: &Image, ms: f64) {
        *self.encoded.entry(image.digest).or_default() += ms;
    }

    /// Runs `body` with a memory of its own, so that a fit over many images neither grows it nor loses what is in it.
    pub(super) fn apart<T>(
        &mut self,
        body: impl FnOnce(&mut Self) -> Result<T, RunError>,
    ) -> Result<T, RunError> {
        let memo = std::mem::take(&mut self.memo);
        let result = body(self);
        self.memo = memo;
        result
    }

    /// Ends one image of a fit: keeps what the second pass will ask for again, within a bound, and forgets the rest.
    pub(super) fn next_image(&mut self, image: &Image, fit: &Call) -> Result<(), RunError> {
        for feed in &fit.feeds {
            let Form::Tensor(label) = feed.form else { continue };
            let key = item_key(&self.call_key(image, feed.stage, label)?, &feed.output, label);
            let Some(tensor) = self.memo.get(&key) else { continue };
            let bytes = size_of_val(tensor.data());
            if self.kept_bytes + bytes <= KEPT_BYTES {
                self.kept_bytes += bytes;
                self.kept.insert(key, tensor.clone());
            }
        }
        // No image's time has a part of a fit in it but the one at whose turn it was made.
        if let Some(ms) = self.encoded.get_mut(&image.digest) {
            *ms = 0.0;
        }
        self.memo.clear();
        Ok(())
    }
}
