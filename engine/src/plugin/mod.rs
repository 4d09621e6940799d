//! Plugins: found, tried in a child process, loaded for good, called safely. All that is `unsafe`
//! in the engine is in this folder; outside of it a component is a name, a few facts and functions
//! on values.

mod call;
mod descriptor;
mod elf;
mod error;
mod find;
mod fit;
mod host;
pub mod info;
mod keep;
mod lend;
mod load;
mod port;
mod probe;
mod raw;
mod shape;
mod sink;
mod taps;
#[cfg(test)]
mod tests;
mod tool;
mod train;
mod value;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use serde_json::Value as Json;

pub use call::{Instance, Outputs};
pub use elf::ElfError;
pub use error::{LoadError, Place, PluginError};
pub use find::{Found, PATH_VARIABLE, find, find_named};
pub use fit::Fit;
pub use host::{HostServices, Level, Log, Progress, StageHost};
use info::{Catalog, ComponentInfo, Facts, Kind, NamedCache};
pub use keep::Keeper;
pub use probe::{PROBE_COMMAND, Prober, default_memory_dir, probe_main};
pub use taps::{Session, Steps};
pub use train::Tape;
pub use value::{Device, Sentence, State, Tensor, Value};

use descriptor::{Component, Contents};
use load::Image;

/// Where plugins come from and how they are tried.
#[derive(Clone, Debug)]
pub struct Options {
    /// Folders and files named by the user.
    pub paths: Vec<PathBuf>,
    /// Also look where `find` looks: `LOUPE_PLUGIN_PATH` and beside the program.
    pub search: bool,
    /// `None`: plugins are loaded untried.
    pub prober: Option<Prober>,
}

impl Default for Options {
    /// Tries plugins with this program itself, for ten seconds at most.
    fn default() -> Self {
        let prober = std::env::current_exe().ok().map(|program| Prober {
            program,
            args: vec![PROBE_COMMAND.into()],
            limit: Duration::from_secs(10),
            memory_dir: default_memory_dir(),
        });
        Self { paths: Vec::new(), search: true, prober }
    }
}

/// The components at hand, and the files that gave none.
pub struct Loader {
    components: Vec<Arc<Component>>,
    index: BTreeMap<(Kind, String), usize>,
    rejected: Vec<(PathBuf, String)>,
    /// For `check`, which may compute on the calling thread only.
    pool: OnceLock<Arc<rayon::ThreadPool>>,
}

impl Loader {
    /// Loads what there is. A bad plugin is kept as a reason in `rejected`; it ends nothing.
    pub fn new(options: &Options) -> Self {
        let found = match options.search {
            true => find(&options.paths),
            false => find_named(&options.paths),
        };
        let mut loader = Self {
            components: Vec::new(),
            index: BTreeMap::new(),
            rejected: found.problems,
            pool: OnceLock::new(),
        };
        for path in found.files {
            match load(&path, options.prober.as_ref(), &loader.components) {
                Ok(Some(contents)) => loader.add(&path, contents),
                Ok(None) => {}
                Err(error) => loader.rejected.push((path, error.to_string())),
            }
        }
        loader
    }

    /// All components, in the order in which they were loaded.
    pub fn components(&self) -> impl Iterator<Item = &ComponentInfo> {
        self.components.iter().map(|component| &component.info)
    }

    /// An instance with a config that passed the component's schema.
    /// Errors: `Unknown`, `Config`, `Panic`, `Unsupported`, `Failed`, `Cancelled`.
    pub fn create(
        &self,
        kind: Kind,
        name: &str,
        config: &Json,
        services: Arc<dyn HostServices>,
    ) -> Result<Instance, PluginError> {
        Instance::create(Arc::clone(self.get(kind, name)?), config, services)
    }

    fn get(&self, kind: Kind, name: &str) -> Result<&Arc<Component>, PluginError> {
        let idx = self.index.get(&(kind, name.to_owned()));
        idx.and_then(|idx| self.components.get(*idx))
            .ok_or_else(|| PluginError::Unknown { kind, component: name.to_owned() })
    }

    /// The first file that has a component keeps it.
    fn add(&mut self, path: &Path, contents: Contents) {
        for why in contents.skipped {
            self.rejected.push((path.to_owned(), why));
        }
        for component in contents.components {
            let key = (component.info.kind, component.info.name.clone());
            match self.index.get(&key).and_then(|idx| self.components.get(*idx)) {
                Some(first) => {
                    let (kind, name, first) = (key.0, key.1, first.info.path.display());
                    let why = format!("{kind} `{name}` is in `{first}` already, which is used");
                    self.rejected.push((path.to_owned(), why));
                }
                None => {
                    self.index.insert(key, self.components.len());
                    self.components.push(Arc::new(component));
                }
            }
        }
    }

    /// The one thread of components that are created to be asked, and not to run.
    pub fn quiet_pool(&self) -> Result<Arc<rayon::ThreadPool>, String> {
        if let Some(pool) = self.pool.get() {
            return Ok(Arc::clone(pool));
        }
        let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build();
        let pool = Arc::new(pool.map_err(|error| error.to_string())?);
        Ok(Arc::clone(self.pool.get_or_init(|| pool)))
    }

    /// Services while a config is judged: its own files can be opened, nothing is said.
    fn quiet_host(&self, info: &ComponentInfo, config: &Json) -> Result<StageHost, String> {
        let (pool, files) = (self.quiet_pool()?, files_of(&info.schema, config));
        Ok(StageHost::new(&info.name, 0, files, pool, Arc::new(AtomicBool::new(false))))
    }
}

/// `None`: the same bytes were loaded from elsewhere.
fn load(
    path: &Path,
    prober: Option<&Prober>,
    loaded: &[Arc<Component>],
) -> Result<Option<Contents>, LoadError> {
    let image = Image::read(path)?;
    if loaded.iter().any(|component| component.info.binary == image.digest) {
        return Ok(None);
    }
    if let Some(prober) = prober {
        prober.probe(&image)?;
    }
    image.link().map(Some)
}

/// Paths under the keys of a config that its schema marks with the format `loupe-file`, in lists
/// too.
pub fn files_of(schema: &Json, config: &Json) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let marked = schema.get("format").and_then(Json::as_str) == Some("loupe-file");
    if let Some(path) = config.as_str().filter(|_| marked) {
        files.push(PathBuf::from(path));
    }
    if let Some(items) = schema.get("items") {
        let list = config.as_array().into_iter().flatten();
        files.extend(list.flat_map(|item| files_of(items, item)));
    }
    if let Some(properties) = schema.get("properties").and_then(Json::as_object) {
        for (key, schema) in properties {
            files.extend(config.get(key).into_iter().flat_map(|value| files_of(schema, value)));
        }
    }
    files
}

impl Catalog for Loader {
    fn component(&self, kind: Kind, name: &str) -> Option<&ComponentInfo> {
        self.get(kind, name).ok().map(|component| &component.info)
    }

    fn names(&self, kind: Kind) -> Vec<&str> {
        let of_kind = self.index.keys().filter(|key| key.0 == kind);
        of_kind.map(|key| key.1.as_str()).collect()
    }

    fn facts(&self, kind: Kind, name: &str, config: &Json) -> Result<Facts, String> {
        let component = self.get(kind, name).map_err(|error| error.to_string())?;
        let host = Arc::new(self.quiet_host(&component.info, config)?);
        call::facts(component, config, host).map_err(|error| match error {
            // The caller names the component; the reason alone reads better beside the key.
            PluginError::Config { message, .. } => message,
            other => other.to_string(),
        })
    }

    fn caches(&self, kind: Kind, name: &str, config: &Json) -> Vec<NamedCache> {
        tool::caches(self, kind, name, config)
    }

    fn rejected(&self) -> Vec<(PathBuf, String)> {
        self.rejected.clone()
    }
}
