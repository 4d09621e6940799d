//! What becomes of a tensor that was just made: hooks see it, it passes through its stored type, the cache keeps it.

use super::RunError;
use super::class::{ClassRun, hook};
use super::engine::Engine;
use super::meter::{Cost, Work};
use super::source::Image;
use crate::cache::{Array, Dtype, Key, Meta, Stored, quantise};
use crate::hooks;
use crate::pipeline::model::{Component, Label};
use crate::plugin::Tensor;

impl Engine<'_> {
    /// Features and stage outputs are stored; pixels and full-size maps are quicker to make again.
    pub(super) fn cacheable(&self, stage: usize) -> bool {
        matches!(self.pipeline.stages[stage].component, Component::Plugin { .. })
            && self.dtype(stage).is_some()
    }

    /// Whether a script changes the stage's outputs or looks at them.
    pub(super) fn is_hooked(&self, stage: usize) -> bool {
        let name = &self.pipeline.stages[stage].name;
        let has = |hooks: &hooks::Hooks| {
            ["after", "observe"].iter().any(|seam| hooks.has(&hook(seam, name)))
        };
        self.hooks.as_ref().is_some_and(has)
    }

    pub(super) fn stored(&self, stage: usize, key: &Key) -> Result<Option<Tensor>, RunError> {
        if !self.cacheable(stage) {
            return Ok(None);
        }
        let read = self.meter.time_of(Work::ReadCache, || {
            let read = self.cache.get(key);
            let found = read.as_ref().ok().and_then(Option::as_ref);
            let bytes_out = found.map_or(0, Stored::n_bytes);
            (read, Cost { bytes_out, ..Cost::default() })
        });
        match read? {
            Some(Stored::Arrays(arrays)) => match arrays.into_iter().next() {
                Some(array) => Ok(Some(Tensor::new(array.shape, array.data)?)),
                None => Ok(None),
            },
            _ => Ok(None),
        }
    }
}

impl ClassRun<'_> {
    /// Passes a tensor through its stored type, kept or not, so that a miss and a hit give the same bytes.
    pub(super) fn store(
        &mut self,
        image: &Image,
        stage: usize,
        output: &str,
        label: Label,
        key: Key,
        tensor: Tensor,
    ) -> Result<Tensor, RunError> {
        let plugin =
            matches!(self.engine.pipeline.stages[stage].component, Component::Plugin { .. });
        let (true, Some(dtype)) = (plugin, self.engine.dtype(stage)) else { return Ok(tensor) };
        let mut stored = Stored::Arrays(vec![Array {
            name: output.to_owned(),
            size: label.size,
            tap: label.tap,
            shape: tensor.shape().to_vec(),
            data: tensor.data().to_vec(),
        }]);
        quantise(&mut stored, dtype);
        if let Stored::Arrays(arrays) = &stored
            && arrays.iter().flat_map(|array| &array.data).any(|value| !value.is_finite())
        {
            return Err(RunError::Overflow {
                stage: self.engine.pipeline.stages[stage].name.clone(),
                value: output.to_owned(),
                dtype: dtype.name(),
            });
        }
        let tensor = match &stored {
            Stored::Arrays(arrays) if dtype != Dtype::F32 => {
                Tensor::new(arrays[0].shape.clone(), arrays[0].data.clone())?
            }
            _ => tensor,
        };
        let meta = self.meta(stage, output, &image.name);
        self.engine.put(&meta, key, stored, dtype);
        Ok(tensor)
    }

    pub(super) fn meta(&self, stage: usize, value: &str, image: &str) -> Meta {
        let stage = &self.engine.pipeline.stages[stage];
        let component = match &stage.component {
            Component::Plugin { name, .. } => name.clone(),
            _ => "engine".to_owned(),
        };
        Meta {
            stage: stage.name.clone(),
            component,
            value: value.to_owned(),
            class: self.class.name.clone(),
            image: image.to_owned(),
        }
    }

    /// `after_STAGE` may change it, `observe_STAGE` sees what came of it.
    pub(super) fn hooked(&self, stage: usize, tensor: Tensor) -> Result<Tensor, RunError> {
        let Some(hooks) = &self.engine.hooks else { return Ok(tensor) };
        let name = &self.engine.pipeline.stages[stage].name;
        let copy = || hooks::Tensor::new(tensor.shape().to_vec(), tensor.data().to_vec());
        let changed = match hooks.has(&hook("after", name)) {
            true => hooks.after(name, copy()?)?,
            false => None,
        };
        let tensor = match changed {
            Some(changed) => {
                let (shape, data) = changed.into_parts();
                Tensor::new(shape, data)?
            }
            None => tensor.clone(),
        };
        if hooks.has(&hook("observe", name)) {
            let shown = hooks::Tensor::new(tensor.shape().to_vec(), tensor.data().to_vec())?;
            hooks.observe(name, hooks::Shown::Tensor(shown))?;
        }
        Ok(tensor)
    }
}
