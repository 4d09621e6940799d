//! What a run will hold in memory, as far as the pipeline tells before anything is loaded.

use serde::Serialize;

use super::ahead::SHARE;
use super::class::KEPT_BYTES;
use super::engine::Engine;
use super::wiring::{Call, Form};
use crate::cache;
use crate::pipeline::model::{Augment, Component, FitOn, Label};
use crate::plugin::info::Kind;

/// Share of `run.memory` that maps which wait to be judged may take.
const WAITING_SHARE: u64 = 64;

/// One thing that is held.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Holding {
    pub what: String,
    /// `None`: nobody tells.
    pub bytes: Option<u64>,
    pub why: String,
}

impl Engine<'_> {
    /// What a class with so many references and images of this height and width makes the run hold; `metrics` is the
    /// metrics' own bound.
    pub fn holdings(&self, n_references: usize, hw: [usize; 2], metrics: u64) -> Vec<Holding> {
        let mut holdings = Vec::new();
        let mut hold = |what: String, bytes: Option<u64>, why: &str| {
            holdings.push(Holding { what, bytes, why: why.to_owned() });
        };
        for stage in &self.pipeline.stages {
            let (files, packed) = (stage.opened_files(), stage.facts.all.get("packed_bytes"));
            let on_disk = |path| std::fs::metadata(path).map_or(0, |found| found.len());
            let mapped: u64 = files.iter().map(on_disk).sum();
            let packed = packed.and_then(serde_json::Value::as_u64);
            if matches!(stage.component, Component::Plugin { kind: Kind::Encoder, .. }) {
                let bytes = packed.map(|packed| packed.saturating_add(mapped));
                hold(format!("{}: weights", stage.name), bytes, "packed, and their file");
            } else if mapped > 0 {
                hold(format!("{}: files", stage.name), Some(mapped), "as its config names them");
            }
        }
        for (at, stage) in self.pipeline.stages.iter().enumerate() {
            let (fits, n_images) =
                (&self.wiring[at].fits, n_references.saturating_mul(forms(&stage.augment)));
            if stage.fit_on == Some(FitOn::References) && !fits.is_empty() {
                let one = total(fits.iter().map(|fit| self.fed(fit)));
                let bytes = one.map(|one| one.saturating_mul(n_images as u64));
                hold(format!("{}: learned", stage.name), bytes, "all that its fit is given");
            }
            if stage.fit_on == Some(FitOn::TestSet) {
                let bytes = Some(KEPT_BYTES as u64);
                hold(format!("{}: kept", stage.name), bytes, "at most, for the second pass");
            }
        }
        let of = match self.most_in_a_call() {
            1 => "of one image, from the encoders".to_owned(),
            n => format!("of up to {n} images, to and from the encoders"),
        };
        hold("features".to_owned(), self.features(), &of);
        let n_ahead = self.most_ahead() as u64;
        let decoded = hw[0].saturating_mul(hw[1]).saturating_mul(3) as u64;
        let one = decoded.saturating_add(self.prepared());
        // One is always read, however large it is.
        let ahead = n_ahead.saturating_mul(one).min((self.pipeline.run.memory / SHARE).max(one));
        hold("images".to_owned(), Some(ahead), "decoded and prepared, read ahead");
        let maps = (self.most_waiting() as u64).saturating_mul(self.map_bytes());
        hold("maps".to_owned(), Some(maps), "at most, scored and not yet judged");
        if self.caches() {
            let queues = cache::MEMORY_BYTES as u64;
            hold("cache".to_owned(), Some(queues), "at most, on the way to the disk");
        }
        hold("metrics".to_owned(), Some(metrics), "at most, then temporary files");
        holdings
    }

    /// Scores that may wait to be judged: while a class is closed, the next one's are made.
    pub fn most_waiting(&self) -> usize {
        let fit = (self.pipeline.run.memory / WAITING_SHARE).checked_div(self.map_bytes());
        usize::try_from(fit.unwrap_or(u64::MAX)).unwrap_or(usize::MAX).clamp(4, 128)
    }

    /// Bytes of an image's map, which is as large as the largest of the sizes, at most.
    fn map_bytes(&self) -> u64 {
        let stages = self.pipeline.stages.iter().map(|stage| match &stage.component {
            Component::Prepare(prepare) => prepare.sizes.iter().copied().max().unwrap_or(0),
            Component::Map(map) => map.size,
            _ => 0,
        });
        u64::from(stages.max().unwrap_or(0)).pow(2).saturating_mul(4)
    }

    /// Bytes of all that one image feeds to a call.
    fn fed(&self, call: &Call) -> Option<u64> {
        let of =
            |stage: usize, output: &str, label: &Label| self.tensor_bytes(stage, output, *label);
        let feeds = call.feeds.iter().map(|feed| match &feed.form {
            Form::Tensor(label) => of(feed.stage, &feed.output, label),
            Form::Tensors(labels) => {
                total(labels.iter().map(|label| of(feed.stage, &feed.output, label)))
            }
            Form::Class => Some(0),
        });
        total(feeds)
    }

    fn features(&self) -> Option<u64> {
        let stages = self.pipeline.stages.iter().enumerate();
        let encoders = stages.filter(|(_, stage)| {
            matches!(stage.component, Component::Plugin { kind: Kind::Encoder, .. })
        });
        let calls =
            encoders.flat_map(|(at, _)| self.wiring[at].runs.iter().map(move |call| (at, call)));
        total(calls.map(|(at, call)| {
            let outputs = self.reads.at(at, call.label).into_iter();
            let made = total(outputs.map(|output| self.tensor_bytes(at, &output, call.label)))?;
            match self.most_together(at, call) {
                1 => Some(made),
                // Those who share a call are given to it as one tensor.
                n => Some(made.saturating_add(self.fed(call)?).saturating_mul(n as u64)),
            }
        }))
    }

    fn prepared(&self) -> u64 {
        let sizes = self.pipeline.stages.iter().flat_map(|stage| match &stage.component {
            Component::Prepare(prepare) => prepare.sizes.clone(),
            _ => Vec::new(),
        });
        sizes.map(pixels).fold(0, u64::saturating_add)
    }

    /// Bytes of one output for one image. `None` if its shape cannot be told from what the component says.
    fn tensor_bytes(&self, stage: usize, output: &str, label: Label) -> Option<u64> {
        let described = self.pipeline.stages.get(stage)?;
        if let Component::Prepare(_) = described.component {
            return Some(pixels(label.size?));
        }
        let size = u64::from(label.size?);
        let ports = &self.info(stage).ok()?.ports;
        let port = ports.iter().find(|port| port.output && port.name == output)?;
        let patch = described.facts.all.get("patch_size").and_then(serde_json::Value::as_u64);
        let dim = |name: &str| match (name, described.facts.dims.get(name)) {
            (_, Some(known)) => Some(*known as u64),
            ("b", _) => Some(1),
            ("gh" | "gw", _) => size.checked_div(patch?),
            ("h" | "w", _) => Some(size),
            _ => None,
        };
        let mut dims = port.shape.as_deref()?.split_whitespace();
        dims.try_fold(4_u64, |n_bytes, name| n_bytes.checked_mul(dim(name)?))
    }
}

/// `None` if one is not known.
fn total(mut bytes: impl Iterator<Item = Option<u64>>) -> Option<u64> {
    bytes.try_fold(0_u64, |sum, bytes| Some(sum.saturating_add(bytes?)))
}

/// Bytes of an image that is prepared.
fn pixels(size: u32) -> u64 {
    u64::from(size).saturating_mul(u64::from(size)).saturating_mul(12)
}

/// What a fit sees of each reference.
fn forms(augment: &Option<Augment>) -> usize {
    match augment {
        None => 1,
        Some(Augment::Painted { defects, .. }) => *defects,
        Some(Augment::Mvfa11) => crate::image::N_WARPS,
    }
}
