//! States: what a component learns before it runs, from the class's text, its references or the whole test set.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::RunError;
use super::class::ClassRun;
use super::keys::file_digest;
use super::meter::Work;
use super::source::Image;
use super::wiring::{Call, Form};
use crate::cache::{Key, KeyBuilder, Stored};
use crate::files::write_whole;
use crate::pipeline::model::{FitOn, Label};
use crate::plugin::{Instance, State, Value};
use crate::report::names::Names;

/// The images that a stage's fit sees, in order.
/// Errors: `FitOn` for a source that this version does not have.
pub(super) fn images(run: &ClassRun<'_>, stage: usize) -> Result<Vec<Image>, RunError> {
    let described = &run.engine.pipeline.stages[stage];
    match described.fit_on {
        Some(FitOn::References) => Ok(match &described.augment {
            Some(augment) => {
                run.class.references.iter().flat_map(|image| image.augmented(augment)).collect()
            }
            None => run.class.references.clone(),
        }),
        Some(FitOn::TestSet) => Ok(run.class.tests.clone()),
        Some(FitOn::Inputs) | None => Ok(Vec::new()),
        Some(other) => {
            let word = serde_json::to_value(other).unwrap_or_default();
            let fit_on = word.as_str().unwrap_or("something").to_owned();
            Err(RunError::FitOn { stage: described.name.clone(), fit_on })
        }
    }
}

impl ClassRun<'_> {
    /// The instance that runs a call: the stage's own, or one with the state of its fit in it.
    pub(super) fn instance(
        &mut self,
        stage: usize,
        label: Label,
    ) -> Result<Arc<Instance>, RunError> {
        let engine = self.engine;
        if engine.pipeline.stages[stage].trained {
            return self.trained(stage);
        }
        let Some(fit) = engine.wiring[stage].fit_of(label) else {
            return engine.instance(stage);
        };
        let key = self.state_key(stage, fit)?;
        if let Some(loaded) = self.loaded.get(&key) {
            return Ok(loaded.clone());
        }
        let state = match stored_state(self, stage, &key)? {
            Some(state) => state,
            None => self.learn(stage, fit, key)?,
        };
        self.write_state(stage, label, &state)?;
        let loaded = Arc::new(engine.instance(stage)?.load(&state)?);
        self.loaded.insert(key, loaded.clone());
        Ok(loaded)
    }

    /// The instance with what `loupe train` left for this class. Errors: `Untrained`, the component's own.
    fn trained(&mut self, stage: usize) -> Result<Arc<Instance>, RunError> {
        let Some((path, digest)) = self.trained_state(stage)? else {
            return self.engine.instance(stage);
        };
        let key =
            KeyBuilder::new("trained").u64("stage", stage as u64).bytes("state", &digest).finish();
        if let Some(loaded) = self.loaded.get(&key) {
            return Ok(loaded.clone());
        }
        // What a seed draws is held against the cache's fingerprint: a file has none.
        self.engine.instance(stage)?;
        let mut config = self.engine.pipeline.stages[stage].config.clone();
        config.remove("seed");
        config.insert("state".to_owned(), path.display().to_string().into());
        let made = Arc::new(self.engine.create(stage, &config.into(), vec![path])?);
        self.loaded.insert(key, made.clone());
        Ok(made)
    }

    /// File and digest of what was trained for this class; `None` for a stage that is not trained.
    /// Errors: `Untrained`, `ReadFile`.
    pub(super) fn trained_state(
        &mut self,
        stage: usize,
    ) -> Result<Option<(PathBuf, [u8; 32])>, RunError> {
        let described = &self.engine.pipeline.stages[stage];
        let Some(folder) = described.state.as_deref().filter(|_| described.trained) else {
            return Ok(None);
        };
        if let Some(known) = self.trained_states.get(&stage) {
            return Ok(Some(known.clone()));
        }
        let path = std::path::absolute(state_file(folder, &self.class.name))
            .map_err(|error| format!("`{}`: {error}", folder.display()))?;
        if !path.is_file() {
            let (stage, class) = (described.name.clone(), self.class.name.clone());
            return Err(RunError::Untrained { stage, class, path });
        }
        self.read_state(stage, &path)?;
        Ok(self.trained_states.get(&stage).cloned())
    }

    /// From now on, what a trained stage learned is in this file. Errors: it cannot be read.
    pub fn read_state(&mut self, stage: usize, file: &Path) -> Result<(), RunError> {
        let file =
            std::path::absolute(file).map_err(|error| format!("`{}`: {error}", file.display()))?;
        let digest = file_digest(&file)?;
        self.trained_states.insert(stage, (file, digest));
        Ok(())
    }

    /// Writes what was learned to the folder that the stage's `state` names.
    /// Errors: `Write`.
    fn write_state(&self, stage: usize, label: Label, state: &State) -> Result<(), RunError> {
        let Some(folder) = &self.engine.pipeline.stages[stage].state else { return Ok(()) };
        let size = label.size.map_or(String::new(), |size| format!("@{size}"));
        let file = state_file(folder, &format!("{}{size}", self.class.name));
        Ok(write_whole(&file, &state.bytes)?)
    }

    fn learn(&mut self, stage: usize, fit: &Call, key: Key) -> Result<State, RunError> {
        let instance = self.engine.instance(stage)?;
        let (meter, work) = (&self.engine.meter, Work::Fit(stage));
        let mut session = instance.fit()?;
        if fit.feeds.iter().all(|feed| feed.form == Form::Class) {
            let mut inputs: Vec<(u32, Value)> = Vec::new();
            for feed in &fit.feeds {
                inputs.push((feed.port, self.class_value(feed.stage)?.1));
            }
            meter.time(work, || session.push(&inputs))?;
        } else {
            let images = images(self, stage)?;
            self.apart(|run| {
                run.walk(&images, Some((stage, fit.label)), |run, image| {
                    run.engine.stop_if_cancelled()?;
                    let inputs = run.inputs(image, fit)?;
                    meter.time(work, || session.push(&inputs))?;
                    run.next_image(image, fit)
                })
            })?;
        }
        let state = meter.time(work, || session.close())?;
        let stored = Stored::Bytes {
            schema: state.schema.clone(),
            revision: state.revision,
            bytes: state.bytes.to_vec(),
        };
        if let Some(dtype) = self.engine.dtype(stage) {
            self.engine.put(&self.meta(stage, "state", ""), key, stored, dtype);
        }
        Ok(state)
    }
}

/// The file of a class in a folder of states.
pub fn state_file(folder: &Path, class: &str) -> PathBuf {
    folder.join(Names::default().path(class, "safetensors"))
}

fn stored_state(run: &ClassRun<'_>, stage: usize, key: &Key) -> Result<Option<State>, RunError> {
    if run.engine.dtype(stage).is_none() {
        return Ok(None);
    }
    Ok(match run.engine.cache.get(key)? {
        Some(Stored::Bytes { schema, revision, bytes }) => {
            Some(State { schema, revision, bytes: Arc::new(bytes) })
        }
        _ => None,
    })
}
