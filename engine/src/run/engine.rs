//! What all classes of a run share: the checked pipeline, its wiring and keys, the components made once, the cache, the
//! threads and the hooks.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use serde_json::Value;

use super::class::hook;
use super::keep::StageKeeper;
use super::meter::{Calls, Cost, Meter, Work};
use super::reads::Reads;
use super::source::Image;
use super::wiring::{Wiring, wire};
use super::{RunError, guard, keys};
use crate::cache::{Cache, Dtype, Key, Meta, Mode, Stored};
use crate::hooks::{Hooks, Limits};
use crate::image::Rgb;
use crate::pipeline::model::{Component, Pipeline, Stage};
use crate::plugin::info::{Catalog, ComponentInfo, Kind};
use crate::plugin::{Instance, Keeper, Level, Loader, StageHost};

/// How a run is set up, apart from its pipeline.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// `None`: no cache.
    pub cache_dir: Option<PathBuf>,
    /// Raised from outside to stop the run at the next image.
    pub cancel: Arc<AtomicBool>,
    /// Shows what plugins log.
    pub verbose: bool,
    /// Measures what is done, call by call.
    pub measures: bool,
}

pub struct Engine<'p> {
    pub pipeline: &'p Pipeline,
    pub(super) loader: &'p Loader,
    pub(super) cache: Cache,
    pub(super) wiring: Vec<Wiring>,
    pub(super) reads: Reads,
    pub(super) keys: Vec<Key>,
    pub(super) hooks: Option<Hooks>,
    pub(super) pool: Arc<rayon::ThreadPool>,
    pub(super) meter: Meter,
    instances: Vec<OnceLock<Arc<Instance>>>,
    options: Options,
    /// The first failed write of the cache; the run goes on without it.
    cache_failure: Mutex<Option<String>>,
    /// Images whose files ask viewers to turn them.
    rotated: Mutex<BTreeSet<String>>,
}

impl<'p> Engine<'p> {
    /// Opens everything that does not depend on a class. No weight is loaded.
    /// Errors: `Cache`, `Hook`, `ReadFile`, `Threads`, `Wiring`.
    pub fn new(
        pipeline: &'p Pipeline,
        loader: &'p Loader,
        options: Options,
    ) -> Result<Engine<'p>, RunError> {
        let hooks = pipeline.hooks.as_deref().map(|path| load_hooks(path, pipeline)).transpose()?;
        let stage_key = |stage: &Stage| {
            let hooked = hooks.as_ref().filter(|hooks| hooks.has(&hook("after", &stage.name)));
            let stored = stored_type(pipeline, stage);
            let digest = hooked.map(Hooks::digest);
            keys::stage_key(stage, loader, digest, stored, pipeline.run.seed)
        };
        let keys = pipeline.stages.iter().map(stage_key).collect::<Result<Vec<_>, _>>()?;
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(pipeline.run.threads)
            .thread_name(|idx| format!("loupe-{idx}"))
            .build()
            .map_err(|source| RunError::Threads { message: source.to_string() })?;
        let cache = match &options.cache_dir {
            Some(dir) => Cache::open(dir, Mode::ReadWrite)?,
            None => Cache::open(Path::new(""), Mode::Off)?,
        };
        let engine = Engine {
            wiring: wire(pipeline, loader)?,
            reads: Reads::of(pipeline),
            instances: pipeline.stages.iter().map(|_| OnceLock::new()).collect(),
            pipeline,
            loader,
            cache,
            keys,
            hooks,
            pool: Arc::new(pool),
            meter: Meter::new(options.measures),
            options,
            cache_failure: Mutex::new(None),
            rotated: Mutex::default(),
        };
        guard::compare_new_binaries(&engine)?;
        Ok(engine)
    }

    /// Whether values are kept from run to run.
    pub(super) fn caches(&self) -> bool {
        self.options.cache_dir.is_some()
    }

    /// The component of a stage as its plugin describes it.
    pub(super) fn info(&self, stage: usize) -> Result<&'p ComponentInfo, RunError> {
        let described = &self.pipeline.stages[stage];
        let found = match &described.component {
            Component::Plugin { kind, name } => self.loader.component(*kind, name),
            _ => None,
        };
        found.ok_or_else(|| RunError::Wiring {
            stage: described.name.clone(),
            message: "its component is not loaded".to_owned(),
        })
    }

    /// The stage's component, made at its first use, after its fingerprint was compared with the cache's.
    pub(super) fn instance(&self, stage: usize) -> Result<Arc<Instance>, RunError> {
        let slot = &self.instances[stage];
        if let Some(instance) = slot.get() {
            return Ok(instance.clone());
        }
        let described = &self.pipeline.stages[stage];
        let config = Value::Object(described.config.clone());
        let made = self.meter.time(Work::Load(stage), || {
            let instance = Arc::new(self.create(stage, &config, described.opened_files())?);
            guard::compare(self, stage, self.info(stage)?, &instance)?;
            Ok::<_, RunError>(instance)
        })?;
        Ok(slot.get_or_init(|| made).clone())
    }

    /// The stage's component with another config, which may open `files`. Errors: the component's own.
    pub(super) fn create(
        &self,
        stage: usize,
        config: &Value,
        files: Vec<PathBuf>,
    ) -> Result<Instance, RunError> {
        let info = self.info(stage)?;
        let keeper = self.cache.shelf().map(|shelf| {
            let (plugin, files) = (info.plugin.clone(), files.clone());
            Box::new(StageKeeper { shelf, plugin, files }) as Box<dyn Keeper>
        });
        let mut host = StageHost::new(
            &self.pipeline.stages[stage].name,
            self.pipeline.run.seed,
            files,
            self.pool.clone(),
            self.options.cancel.clone(),
        );
        host.keeper = keeper;
        let least = if self.options.verbose { Level::Debug } else { Level::Warn };
        host.log = Box::new(move |stage, level, text| {
            if level <= least {
                eprintln!("{stage}: {text}");
            }
        });
        Ok(self.loader.create(info.kind, &info.name, config, Arc::new(host))?)
    }

    /// The stored type of a stage's outputs, `None` where they are not stored.
    pub(super) fn dtype(&self, stage: usize) -> Option<Dtype> {
        stored_type(self.pipeline, &self.pipeline.stages[stage])
    }

    /// The image's pixels. Errors: as `Image::decode`.
    pub(super) fn decode(&self, image: &Image) -> Result<Rgb, RunError> {
        let rgb = image.decode()?;
        if rgb.exif_rotated {
            self.note_rotated(&image.name);
        }
        Ok(rgb)
    }

    /// What was measured since the last time, if the options asked for it.
    pub fn measured(&self) -> BTreeMap<Work, Calls> {
        let mut measured = self.meter.take();
        for (seconds, bytes_out) in self.cache.take_written() {
            let cost = Cost { bytes_out, ..Cost::default() };
            measured.entry(Work::WriteCache).or_default().add(seconds, 1, cost);
        }
        measured
    }

    /// Measures work that is done around the engine.
    pub fn time<T>(&self, work: Work, body: impl FnOnce() -> T) -> T {
        self.meter.time(work, body)
    }

    /// Keeps a value. A cache that cannot be written is said once and does not stop the run.
    pub(super) fn put(&self, meta: &Meta, key: Key, stored: Stored, dtype: Dtype) {
        let put = self.meter.time_of(Work::KeepInCache, || {
            let bytes_in = stored.n_bytes();
            (self.cache.put(meta, key, stored, dtype), Cost { bytes_in, ..Cost::default() })
        });
        if let Err(error) = put {
            self.note_cache_failure(&error.to_string());
        }
    }

    /// Writes what the cache still holds in memory: called at the end of a run.
    pub fn flush(&self) {
        if let Err(error) = self.cache.flush() {
            self.note_cache_failure(&error.to_string());
        }
    }

    /// The same, but for waiting until it is written: called at the end of each class.
    pub fn write_behind(&self) {
        if let Err(error) = self.cache.write_behind() {
            self.note_cache_failure(&error.to_string());
        }
    }

    pub(super) fn note_cache_failure(&self, message: &str) {
        let mut failure = self.cache_failure.lock().unwrap_or_else(PoisonError::into_inner);
        failure.get_or_insert_with(|| message.to_owned());
    }

    /// An image whose file asks viewers to turn it: its pixels are used as they are stored.
    fn note_rotated(&self, image: &str) {
        let mut rotated = self.rotated.lock().unwrap_or_else(PoisonError::into_inner);
        rotated.insert(image.to_owned());
    }

    /// What the user should hear at the end: files set aside, writes that failed, turned images.
    pub fn warnings(&self) -> Vec<String> {
        let failure = self.cache_failure.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let rotated =
            std::mem::take(&mut *self.rotated.lock().unwrap_or_else(PoisonError::into_inner));
        let first = rotated.first().map(|first| {
            let which = match rotated.len() {
                1 => format!("the image `{first}` asks"),
                n => format!("{n} images (first: `{first}`) ask"),
            };
            format!("{which} viewers to turn it (EXIF); pixels are used as they are stored")
        });
        self.cache.take_warnings().into_iter().chain(failure).chain(first).collect()
    }

    pub fn stop_if_cancelled(&self) -> Result<(), RunError> {
        if self.options.cancel.load(Ordering::Relaxed) { Err(RunError::Cancelled) } else { Ok(()) }
    }

    /// Runs `body(i)` for each i below n on the run's threads.
    pub fn parallel(&self, n: usize, body: &(dyn Fn(usize) + Sync)) {
        use rayon::prelude::*;
        self.pool.install(|| (0..n).into_par_iter().for_each(body));
    }

    /// How many threads the run has.
    pub fn n_threads(&self) -> usize {
        self.pool.current_num_threads()
    }

    /// Runs `body` on one of the run's threads, where whatever it does in parallel stays among them. It must not call a
    /// component: a thread of a pool that waits takes up other work.
    pub fn within<T: Send>(&self, body: impl FnOnce() -> T + Send) -> T {
        self.pool.install(body)
    }
}

/// Encoders and fusions on their taps make features; everything else makes stage outputs.
fn stored_type(pipeline: &Pipeline, stage: &Stage) -> Option<Dtype> {
    let encoder = matches!(stage.component, Component::Plugin { kind: Kind::Encoder, .. });
    let run = &pipeline.run;
    let feature = encoder || stage.taps.is_some();
    match if feature { run.cache_features.as_str() } else { run.cache_stages.as_str() } {
        "f32" => Some(Dtype::F32),
        "f16" => Some(Dtype::F16),
        _ => None,
    }
}

/// The script of a pipeline. Errors: `Hook`.
pub fn load_hooks(path: &Path, pipeline: &Pipeline) -> Result<Hooks, RunError> {
    let stages: Vec<&str> = pipeline.stages.iter().map(|stage| stage.name.as_str()).collect();
    let log = Arc::new(|text: &str| eprintln!("hook: {text}"));
    Ok(Hooks::load(path, &stages, Limits::default(), log)?)
}
