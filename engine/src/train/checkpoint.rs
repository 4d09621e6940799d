//! Checkpoints: where a training stands, written whole. Beside `CLASS.safetensors`, which runs read,
//! stands `CLASS.training` while a training goes on: parameters, the optimiser's memory and the place
//! among epochs and steps.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use safetensors::SafeTensors;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::record::{curve_file, facts_of, read_epochs, write_curve};
use super::{All, Epoch, Kept, Learned, Learning, Origin, Sample, StepLosses, TrainError};
use crate::files::{WriteError, write_whole};
use crate::pipeline::model::{Component, Train};
use crate::run::{Engine, hex};

/// How far a training has come.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Position {
    /// Steps done of the epoch that goes on.
    pub step: usize,
    last: f64,
    /// The epoch whose parameters are in the file.
    pub kept: Kept,
    going_on: Epoch,
    pub epochs: Vec<Epoch>,
}

impl Position {
    pub fn add(&mut self, losses: &StepLosses) {
        self.step += 1;
        self.last = losses.iter().map(|part| part.1).sum();
        self.going_on.loss += self.last;
        self.going_on.n_samples += 1;
        for (name, loss) in losses {
            match self.going_on.parts.iter_mut().find(|known| known.0 == *name) {
                Some(known) => known.1 += loss,
                None => self.going_on.parts.push((name.clone(), *loss)),
            }
        }
    }

    /// Loss of the last step.
    pub fn last(&self) -> f64 {
        self.last
    }

    /// Whether the epoch that just ended is to be kept: it has a higher figure than those before, or
    /// figures choose nothing.
    pub fn is_better(&mut self, figure: Option<f64>) -> bool {
        let better = match (figure, self.kept.figure) {
            (Some(figure), Some(best)) => figure > best || best.is_nan(),
            _ => true,
        };
        if better {
            self.kept = Kept { epoch: self.epochs.len(), figure };
        }
        better
    }

    /// Sums become means.
    pub fn end_epoch(&mut self, held_out: Option<f64>) -> Epoch {
        let mut done = Epoch { held_out, ..std::mem::take(&mut self.going_on) };
        let n = done.n_samples.max(1) as f64;
        done.loss /= n;
        done.parts.iter_mut().for_each(|part| part.1 /= n);
        self.epochs.push(done.clone());
        self.step = 0;
        done
    }
}

/// What must be the same for a training to go on.
pub fn key(engine: &Engine<'_>, train: &Train, samples: &All) -> String {
    let pipeline = engine.pipeline;
    let mut hasher = blake3::Hasher::new();
    let mut add = |text: String| {
        hasher.update(text.as_bytes()).update(b"\0");
    };
    // The number of epochs may grow: a training of 50 goes on to 60.
    add(format!("{:?}", Train { epochs: 0, ..train.clone() }));
    add(pipeline.run.seed.to_string());
    for stage in &pipeline.stages {
        if matches!(stage.component, Component::Plugin { .. } | Component::Prepare(_)) {
            add(format!("{} {:?} {:?}", stage.name, stage.component, stage.config));
        }
    }
    let one = |(sample, text): &(Sample, usize)| format!("{} {text}", hex(&sample.image.digest));
    samples.learned.iter().for_each(|sample| add(one(sample)));
    samples.held_out.iter().for_each(|sample| add(format!("held out {}", one(sample))));
    hasher.finalize().to_hex()[..16].to_owned()
}

/// The files of one class.
pub struct Checkpoint {
    file: PathBuf,
    origin: Origin,
    key: String,
}

impl Checkpoint {
    pub fn new(file: &Path, origin: Origin, key: String) -> Self {
        Checkpoint { file: file.to_owned(), origin, key }
    }

    /// Takes an earlier training up, if one stands there that has done no more than `epochs`.
    /// Errors: `OtherTraining`, `Read`.
    pub fn load(
        &self,
        learned: &mut Learned,
        at: &mut Position,
        epochs: usize,
    ) -> Result<bool, TrainError> {
        let path = self.side();
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(TrainError::Read { path, message: error.to_string() }),
        };
        let other =
            |what: &str| TrainError::OtherTraining { path: path.clone(), what: what.into() };
        let (_, header) =
            SafeTensors::read_metadata(&bytes).map_err(|_| other("it is no checkpoint"))?;
        let facts = header.metadata().clone().unwrap_or_default();
        if facts.get("key") != Some(&self.key) {
            return Err(other("other keys, or other references"));
        }
        let damaged = || other("it is damaged");
        let position = facts.get("position").ok_or_else(damaged)?;
        *at = toml::from_str(position).map_err(|_| damaged())?;
        if at.epochs.len() > epochs {
            return Err(other(&format!("{} epochs are done already", at.epochs.len())));
        }
        let file = SafeTensors::deserialize(&bytes).map_err(|_| damaged())?;
        let steps: BTreeMap<String, u64> = facts
            .get("n_steps")
            .and_then(|steps| serde_json::from_str(steps).ok())
            .ok_or_else(damaged)?;
        for idx in 0..learned.tensors.len() {
            let name = learned.tensors[idx].name.clone();
            let numbers =
                |part: &str| file.tensor(&format!("{part}.{name}")).map_err(|_| damaged());
            learned.replace(&name, numbers("parameters")?.data()).map_err(|_| damaged())?;
            let learning = &mut learned.tensors[idx];
            for (moment, part) in learning.moments.iter_mut().zip(["mean", "square"]) {
                let stored = numbers(part)?;
                let (stored, _) = stored.data().as_chunks::<4>();
                if stored.len() != moment.len() {
                    return Err(damaged());
                }
                *moment = stored.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
            }
            learning.n_steps = steps.get(&name).copied().unwrap_or_default();
        }
        Ok(true)
    }

    /// Writes where the training stands. Errors: `Write`.
    pub fn save(&self, learned: &Learned, at: &Position) -> Result<(), TrainError> {
        let mut arrays = Vec::new();
        for learning in &learned.tensors {
            let shape = learning.shape.as_slice();
            let name = |part: &str| format!("{part}.{}", learning.name);
            arrays.push((name("parameters"), shape, Cow::Borrowed(learned.bytes_of(learning))));
            for (part, moment) in ["mean", "square"].into_iter().zip(&learning.moments) {
                let bytes: Vec<u8> = moment.iter().flat_map(|x| x.to_le_bytes()).collect();
                arrays.push((name(part), shape, Cow::Owned(bytes)));
            }
        }
        let n_steps: BTreeMap<&str, u64> =
            learned.tensors.iter().map(|l| (l.name.as_str(), l.n_steps)).collect();
        let facts = BTreeMap::from([
            ("key".to_owned(), self.key.clone()),
            // TOML: its numbers come back as they were, to the last bit, and may be no numbers.
            ("position".to_owned(), toml::to_string(at).unwrap_or_default()),
            ("n_steps".to_owned(), json(&n_steps)),
        ]);
        Ok(write_whole(&self.side(), &safetensors(facts, &arrays))?)
    }

    /// Writes what has been learned so far, for runs to read, beside its final name. Errors: `Write`.
    pub fn write<'l>(
        &self,
        learned: &'l Learned,
        at: &Position,
        train: &Train,
    ) -> Result<PathBuf, TrainError> {
        let own = SafeTensors::read_metadata(&learned.state.bytes).ok();
        let own = own.and_then(|(_, header)| header.metadata().clone()).unwrap_or_default();
        let mut facts: BTreeMap<String, String> = own.into_iter().collect();
        let loss = at.epochs.last().map_or(f64::NAN, |epoch| epoch.loss);
        facts.extend([
            ("epochs".to_owned(), at.epochs.len().to_string()),
            ("loss".to_owned(), format!("{loss:.6}")),
            ("training".to_owned(), self.key.clone()),
            ("train".to_owned(), json(train)),
        ]);
        facts.extend(self.origin.facts());
        let array = |learning: &'l Learning| {
            let bytes = Cow::Borrowed(learned.bytes_of(learning));
            (learning.name.clone(), learning.shape.as_slice(), bytes)
        };
        let arrays: Vec<Array<'_>> = learned.tensors.iter().map(array).collect();
        let path = self.file.with_extension("candidate");
        write_whole(&path, &safetensors(facts, &arrays))?;
        Ok(path)
    }

    /// Gives a candidate the name that runs read. Errors: `Write`.
    pub fn keep(&self, candidate: &Path) -> Result<(), TrainError> {
        let fail = |source| WriteError { path: self.file.clone(), source };
        Ok(fs::rename(candidate, &self.file).map_err(fail)?)
    }

    /// A training that ended, as its files tell: it had this key, and left a state and its losses.
    pub fn done(&self, n_samples: usize) -> Option<Position> {
        let facts = facts_of(&self.file)?;
        let fact = |name: &str| facts.get(name).and_then(serde_json::Value::as_str);
        let epoch = fact("epochs")?.parse().ok()?;
        let kept = Kept { epoch, figure: None };
        let epochs = read_epochs(&self.file, n_samples);
        (fact("training") == Some(&self.key)).then(|| Position {
            kept,
            epochs,
            ..Position::default()
        })
    }

    /// What stands in the place of a state that is to be learned anew; `None`: nothing does.
    pub fn replaced(&self, train: &Train) -> Option<String> {
        let facts = facts_of(&self.file).filter(|_| self.file.exists())?;
        let fact = |name: &str| facts.get(name).and_then(serde_json::Value::as_str);
        let path = self.file.display();
        if fact("training") == Some(&self.key) {
            let n = fact("epochs").unwrap_or_default();
            return Some(format!("`{path}` has learned to epoch {n} already; trains anew"));
        }
        let old =
            fact("train").and_then(|text| serde_json::from_str::<serde_json::Value>(text).ok());
        let (old, new) = (old.unwrap_or_default(), json!(train));
        let keys = new.as_object().into_iter().flatten();
        let changed = keys.filter(|(key, value)| *key != "epochs" && old.get(key) != Some(value));
        let spelt = |key| if key == "losses" { "loss" } else { key };
        let changed: Vec<&str> = changed.map(|(key, _)| spelt(key.as_str())).collect();
        let what = match (old.is_null(), changed.as_slice()) {
            (false, [_, ..]) => format!("another `{}` of [train]", changed.join("`, `")),
            (false, []) => "other references, another seed or other stages".to_owned(),
            (true, _) => "other keys or references".to_owned(),
        };
        Some(format!("`{path}` was trained with {what}; trains anew"))
    }

    /// Removes what an earlier training left beside the state. Errors: `Read`.
    pub fn forget(&self) -> Result<(), TrainError> {
        [self.side(), curve_file(&self.file)].iter().try_for_each(|path| remove(path))
    }

    /// Writes the losses, and removes what only a training that goes on needs: a training without it that
    /// has its losses is over. Errors: `Write`, `Read`.
    pub fn finish(&self, at: &Position) -> Result<(), TrainError> {
        write_curve(&self.file, &at.epochs)?;
        [self.side(), self.file.with_extension("candidate")]
            .iter()
            .try_for_each(|path| remove(path))
    }

    fn side(&self) -> PathBuf {
        self.file.with_extension("training")
    }
}

fn remove(path: &Path) -> Result<(), TrainError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(TrainError::Read { path: path.to_owned(), message: error.to_string() })
        }
        _ => Ok(()),
    }
}

/// Name, shape and bytes of an array of f32.
type Array<'a> = (String, &'a [usize], Cow<'a, [u8]>);

/// A safetensors file of f32. The same arrays and facts give the same bytes, which the crate does not
/// promise of facts.
fn safetensors(facts: BTreeMap<String, String>, arrays: &[Array<'_>]) -> Vec<u8> {
    let mut header = serde_json::Map::new();
    header.insert("__metadata__".to_owned(), json!(facts));
    let mut end = 0;
    for (name, shape, bytes) in arrays {
        let begin = end;
        end += bytes.len();
        let entry = json!({"dtype": "F32", "shape": shape, "data_offsets": [begin, end]});
        header.insert(name.clone(), entry);
    }
    let mut header = serde_json::Value::Object(header).to_string().into_bytes();
    // Arrays start at a multiple of 8, so that a mapped file can be read in place.
    header.resize(header.len().next_multiple_of(8), b' ');
    let mut file = Vec::with_capacity(8 + header.len() + end);
    file.extend((header.len() as u64).to_le_bytes());
    file.extend(header);
    arrays.iter().for_each(|(_, _, bytes)| file.extend(bytes.iter()));
    file
}

fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}
