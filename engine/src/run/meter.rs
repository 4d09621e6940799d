//! What a run spends its time on: each call of a component and each step of the engine's own, with the bytes that went
//! in and came out. It costs nothing where nobody asked for it.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// What was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Work {
    /// Making a stage's component: weights opened and packed, its fingerprint compared.
    Load(usize),
    /// A file into pixels.
    Decode,
    /// Calls of a stage, without what they wait for.
    Stage(usize),
    /// Sentences through the text tower of the encoder at this stage.
    Text(usize),
    /// Learning what a stage runs with.
    Fit(usize),
    /// A value out of the cache.
    ReadCache,
    /// A value into the queue of the cache.
    KeepInCache,
    /// A queue of the cache into a file, on a thread of its own.
    WriteCache,
    /// Maps into the spaces of the metrics, and the metrics themselves.
    Metrics,
    /// Maps, tables and the report.
    Report,
}

/// One kind of work, call by call.
#[derive(Clone, Debug, Default)]
pub struct Calls {
    /// A call for several images counts as one for each, in equal parts.
    pub seconds: Vec<f32>,
    /// Of all calls.
    pub cost: Cost,
}

/// What work reads, makes and computes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cost {
    pub bytes_in: u64,
    pub bytes_out: u64,
    /// 0 where nobody tells.
    pub flop: f64,
}

/// Adds up what is done, on whatever thread.
#[derive(Default)]
pub(super) struct Meter {
    calls: Option<Mutex<BTreeMap<Work, Calls>>>,
}

impl Meter {
    pub(super) fn new(measures: bool) -> Meter {
        Meter { calls: measures.then(Mutex::default) }
    }

    pub(super) fn time<T>(&self, work: Work, body: impl FnOnce() -> T) -> T {
        self.time_of(work, || (body(), Cost::default()))
    }

    /// `body` tells what its work costs.
    pub(super) fn time_of<T>(&self, work: Work, body: impl FnOnce() -> (T, Cost)) -> T {
        self.time_each(work, 1, body)
    }

    /// As `time_of`, for a call that does the work of `n` calls.
    pub(super) fn time_each<T>(&self, work: Work, n: usize, body: impl FnOnce() -> (T, Cost)) -> T {
        let Some(calls) = &self.calls else { return body().0 };
        let start = Instant::now();
        let (made, cost) = body();
        let seconds = start.elapsed().as_secs_f32();
        let mut calls = calls.lock().unwrap_or_else(PoisonError::into_inner);
        calls.entry(work).or_default().add(seconds, n, cost);
        made
    }

    /// What was added up since the last time.
    pub(super) fn take(&self) -> BTreeMap<Work, Calls> {
        let Some(calls) = &self.calls else { return BTreeMap::new() };
        std::mem::take(&mut *calls.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Calls {
    pub(super) fn add(&mut self, seconds: f32, n: usize, cost: Cost) {
        self.seconds.extend(std::iter::repeat_n(seconds / n as f32, n));
        self.cost.bytes_in += cost.bytes_in;
        self.cost.bytes_out += cost.bytes_out;
        self.cost.flop += cost.flop;
    }
}
