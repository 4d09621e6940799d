//! Reading ahead: while a component works on one image, the run's threads open the next ones, decode and prepare them,
//! and read from the cache what is there of them. A file is opened only if something will be computed from it.

use std::collections::{HashMap, HashSet};
use std::mem;
use std::sync::mpsc::{Receiver, sync_channel};

use loupe_kernels::serial;

use super::RunError;
use super::class::ClassRun;
use super::compute::prepare;
use super::engine::Engine;
use super::keys::item_key;
use super::meter::Work;
use super::source::Image;
use super::wiring::{Call, Form};
use crate::cache::Key;
use crate::pipeline::model::{Component, Label, PAINTED_MASK, Prepare};
use crate::plugin::Tensor;

/// Share of `run.memory` that images which nobody works on yet may take.
pub(super) const SHARE: u64 = 8;

/// Something an image is computed from, that no component makes.
#[derive(Clone, Copy)]
struct Leaf<'e> {
    key: Key,
    stage: usize,
    label: Label,
    /// How the file's pixels become it; `None` for a value of the cache.
    prepare: Option<&'e Prepare>,
}

/// What became of the leaves of one image. What could not be had is missing: who needs it asks for it again, and
/// gets the error.
#[derive(Default)]
pub(super) struct Read {
    pub tensors: HashMap<Key, Tensor>,
    /// Taken at most, the decoded file too.
    n_bytes: u64,
}

/// An image whose turn is still to come.
pub(super) struct Coming {
    pub image: Image,
    /// Calls that it will want and that several images may share.
    pub calls: HashSet<(usize, Label)>,
    receiver: Receiver<Read>,
    read: Option<Read>,
}

impl Coming {
    /// What was read of it, once it is.
    pub(super) fn wait(&mut self) -> &mut Read {
        self.read.get_or_insert_with(|| self.receiver.recv().unwrap_or_default())
    }
}

/// What an image will be computed from and by.
#[derive(Default)]
struct Needs<'e> {
    leaves: Vec<Leaf<'e>>,
    calls: HashSet<(usize, Label)>,
    seen: HashSet<Key>,
}

impl<'e> ClassRun<'e> {
    /// Gives each image to `body`, in order; for each, `of` or, without one, the pipeline's output will be asked for.
    /// Errors: those of `body`.
    pub fn walk<E>(
        &mut self,
        images: &[Image],
        of: Option<(usize, Label)>,
        mut body: impl FnMut(&mut Self, &Image) -> Result<(), E>,
    ) -> Result<(), E> {
        let engine = self.engine;
        // A fit may walk over its images while an image of another walk is at work.
        let outer = mem::take(&mut self.coming);
        let walked = engine.pool.in_place_scope(|scope| {
            let (mut later, mut most_bytes) = (images.iter(), 0);
            for image in images {
                let mut start = |run: &mut Self, depth: usize| {
                    while run.coming.len() < depth
                        && let Some(image) = later.next()
                    {
                        let Needs { leaves, calls, .. } = run.needs_of(image, of);
                        let (sender, receiver) = sync_channel(1);
                        let coming = Coming { image: image.clone(), calls, receiver, read: None };
                        scope.spawn(move |_| {
                            // After an error nobody waits for it any more.
                            let _ = sender.send(read(engine, image, &leaves));
                        });
                        run.coming.push_back(coming);
                    }
                };
                start(self, 1);
                let mut next = self.coming.pop_front();
                let read = next.as_mut().map(|next| mem::take(next.wait())).unwrap_or_default();
                most_bytes = read.n_bytes.max(most_bytes);
                start(self, engine.n_ahead(most_bytes));
                self.memo.extend(read.tensors);
                body(self, image)?;
            }
            Ok(())
        });
        self.coming = outer;
        walked
    }

    /// An image whose needs cannot be told has none: the error comes when its turn does.
    fn needs_of(&mut self, image: &Image, of: Option<(usize, Label)>) -> Needs<'e> {
        let mut needs = Needs::default();
        let engine = self.engine;
        let found = match of {
            Some((stage, label)) => {
                let fit = engine.wiring[stage].fit_of(label);
                fit.map_or(Ok(()), |fit| self.feeds(image, fit, &mut needs))
            }
            None => {
                let output = &engine.pipeline.output;
                let mut values = [&output.anomaly_map, &output.anomaly_score].into_iter().flatten();
                values.try_for_each(|value| {
                    let mut labels = self.labels_of(value).into_iter();
                    labels.try_for_each(|label| {
                        let value = (value.stage, value.output.as_str(), label);
                        self.need(image, value, &mut needs)
                    })
                })
            }
        };
        if found.is_ok() { needs } else { Needs::default() }
    }

    fn feeds(&mut self, image: &Image, call: &Call, needs: &mut Needs<'e>) -> Result<(), RunError> {
        for feed in &call.feeds {
            let labels = match &feed.form {
                Form::Tensor(label) => std::slice::from_ref(label),
                Form::Tensors(labels) => labels,
                Form::Class => &[],
            };
            for label in labels {
                self.need(image, (feed.stage, &feed.output, *label), needs)?;
            }
        }
        Ok(())
    }

    fn need(
        &mut self,
        image: &Image,
        (stage, output, label): (usize, &str, Label),
        needs: &mut Needs<'e>,
    ) -> Result<(), RunError> {
        let engine = self.engine;
        let key = item_key(&self.call_key(image, stage, label)?, output, label);
        if !needs.seen.insert(key) || self.memo.contains_key(&key) || self.kept.contains_key(&key) {
            return Ok(());
        }
        if engine.cacheable(stage) && engine.cache.contains(&key) {
            needs.leaves.push(Leaf { key, stage, label, prepare: None });
            return Ok(());
        }
        let described = &engine.pipeline.stages[stage];
        if let Component::Prepare(prepare) = &described.component {
            // A script sees an image when its turn comes.
            if !engine.is_hooked(stage) && prepare.geometry != PAINTED_MASK {
                needs.leaves.push(Leaf { key, stage, label, prepare: Some(prepare) });
            }
            return Ok(());
        }
        let call = self.call(stage, label)?;
        if engine.most_together(stage, call) > 1 {
            needs.calls.insert((stage, label));
        }
        self.feeds(image, call, needs)?;
        match &described.taps {
            Some(taps) => {
                let encoder = self.call(taps.encoder, call.label)?;
                self.feeds(image, encoder, needs)
            }
            None => Ok(()),
        }
    }
}

impl Engine<'_> {
    /// How many images are read ahead of the one at work, at most: those that share its call, and what the threads
    /// may do meanwhile.
    pub(super) fn most_ahead(&self) -> usize {
        self.most_in_a_call() + self.n_threads()
    }

    /// Images that may wait, if one takes so many bytes.
    fn n_ahead(&self, n_bytes: u64) -> usize {
        let most = self.most_ahead();
        let fit = (self.pipeline.run.memory / SHARE).checked_div(n_bytes);
        fit.map_or(most, |fit| usize::try_from(fit).unwrap_or(most)).clamp(1, most)
    }
}

fn read(engine: &Engine<'_>, image: &Image, leaves: &[Leaf<'_>]) -> Read {
    let mut found = Read::default();
    if engine.stop_if_cancelled().is_err() {
        return found;
    }
    let stored = leaves.iter().filter(|leaf| leaf.prepare.is_none());
    for leaf in stored {
        if let Ok(Some(tensor)) = engine.stored(leaf.stage, &leaf.key) {
            found.tensors.insert(leaf.key, tensor);
        }
    }
    if leaves.iter().any(|leaf| leaf.prepare.is_some())
        && let Ok(rgb) = engine.meter.time(Work::Decode, || engine.decode(image))
    {
        found.n_bytes += rgb.pixels.len() as u64;
        for leaf in leaves {
            let Some(config) = leaf.prepare else { continue };
            let made = engine.meter.time(Work::Stage(leaf.stage), || {
                prepare(image, config, leaf.label, &rgb, &serial)
            });
            found.tensors.extend(made.ok().map(|tensor| (leaf.key, tensor)));
        }
    }
    let n_bytes = found.tensors.values().map(|tensor| size_of_val(tensor.data()) as u64);
    found.n_bytes += n_bytes.sum::<u64>();
    found
}
