//! What several commands need: the loader, a checked pipeline, the cache folder, the interrupt
//! flag.

use std::cell::RefCell;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::anyhow;

use super::{Common, Exit};
use crate::hooks::{Hooks, Limits};
use crate::metrics::Protocol;
use crate::pipeline::diagnostics::{Diagnostic, Severity};
use crate::pipeline::model::Pipeline;
use crate::pipeline::{self, Change, CheckOptions, Checked, NamedFile};
use crate::plugin::info::Catalog;
use crate::plugin::{Loader, Options};
use crate::weights::Registry;

/// Called first. A write beyond a file-size limit shall be an error, not the end; a closed pipe
/// likewise.
pub(crate) fn prepare_process() {
    // SAFETY: setting two signals to be ignored, before any thread is started.
    unsafe {
        libc::signal(libc::SIGXFSZ, libc::SIG_IGN);
        libc::signal(libc::SIGPIPE, libc::SIG_IGN);
    }
}

/// The components that can be found. Files that were refused are named only where it matters.
pub(crate) fn loader(common: &Common) -> Loader {
    Loader::new(&Options { paths: common.plugin_path.clone(), ..Options::default() })
}

/// `loupe` in the user's cache folder.
pub(crate) fn user_cache() -> Option<PathBuf> {
    let base = set("XDG_CACHE_HOME").or_else(|| set("HOME").map(|home| home.join(".cache")))?;
    Some(base.join("loupe"))
}

fn set(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}

/// Where features are cached. Errors: no folder is known.
pub(crate) fn cache_dir(common: &Common) -> Result<PathBuf, Exit> {
    let named = common.cache_dir.clone().or_else(|| set("LOUPE_CACHE"));
    let dir = named.or_else(|| user_cache().map(|dir| dir.join("cache")));
    dir.ok_or_else(|| {
        Exit::Failed(anyhow!(
            "no folder for the cache: set HOME or LOUPE_CACHE, or give --cache-dir"
        ))
    })
}

/// Checks a pipeline, prints what is wrong with it, and gives it back if nothing is.
/// Errors: `Check`, or `Plugin` if the only thing wrong is a component that a refused file might
/// hold; `Failed` if it names weights that are not on this machine.
pub(crate) fn checked(path: &Path, sets: &[Change], loader: &Loader) -> Result<Pipeline, Exit> {
    ready(&Checker::new(), path, sets, loader)
}

/// The same, with what there is to say of weights that are not on this machine.
pub(crate) fn checked_but_for_weights(
    path: &Path,
    sets: &[Change],
    loader: &Loader,
) -> Result<(Pipeline, Vec<String>), Exit> {
    let checker = Checker { weights_are_optional: true, ..Checker::new() };
    let pipeline = ready(&checker, path, sets, loader)?;
    Ok((pipeline, checker.absent.into_inner()))
}

/// The same for a command that needs no data set: `${LOUPE_DATA}` and its like may be unset.
pub(crate) fn checked_without_data(
    path: &Path,
    sets: &[Change],
    loader: &Loader,
) -> Result<Pipeline, Exit> {
    ready(&Checker::without_data(), path, sets, loader)
}

/// The same for a command that works on sentences alone: weights need not be here. `fills`: nor
/// prompt caches.
pub(crate) fn checked_for_prompts(
    path: &Path,
    sets: &[Change],
    loader: &Loader,
    fills: bool,
) -> Result<Pipeline, Exit> {
    let checker = Checker { weights_are_optional: true, fills, ..Checker::without_data() };
    ready(&checker, path, sets, loader)
}

fn ready(
    checker: &Checker,
    path: &Path,
    sets: &[Change],
    loader: &Loader,
) -> Result<Pipeline, Exit> {
    let checked = checker.check(path, sets, loader);
    let verdict = verdict(&checked, loader);
    let absent = checker.absent.borrow();
    match checked.pipeline {
        Some(_) if !absent.is_empty() && !checker.weights_are_optional => {
            Err(Exit::Failed(anyhow!("{}", absent.join("\nerror: "))))
        }
        Some(pipeline) => configured(checker, path, pipeline, loader),
        None => Err(verdict),
    }
}

/// What the hook `on_config` makes of a pipeline, checked like any other. It sees and returns the whole configuration.
fn configured(
    checker: &Checker,
    path: &Path,
    pipeline: Pipeline,
    loader: &Loader,
) -> Result<Pipeline, Exit> {
    let Some(script) = &pipeline.hooks else { return Ok(pipeline) };
    let stages: Vec<&str> = pipeline.stages.iter().map(|stage| stage.name.as_str()).collect();
    let log = std::sync::Arc::new(|text: &str| eprintln!("hook: {text}"));
    let hooks = Hooks::load(script, &stages, Limits::default(), log)?;
    let changed = match hooks.on_config(&pipeline.resolved)? {
        Some(changed) if changed != pipeline.resolved => changed,
        _ => return Ok(pipeline),
    };
    let mut changed = changed;
    if let Some(table) = changed.as_object_mut() {
        // What it extends is in it already.
        table.remove("extends");
    }
    let text = crate::report::as_toml(&changed);
    let name = path.with_extension("after-on_config.toml");
    let checked = checker.check_text(&name, &text, loader);
    let verdict = verdict(&checked, loader);
    let changed = checked.pipeline.ok_or(verdict)?;
    Ok(Pipeline { fill: pipeline.fill, ..changed })
}

/// What a check that found errors ends with.
pub(crate) fn verdict(checked: &Checked, loader: &Loader) -> Exit {
    // A file whose components are all there from elsewhere holds nothing that is missed.
    let is_refusal = |(_, why): &(PathBuf, String)| !why.ends_with("already, which is used");
    let n_refused = loader.rejected().iter().filter(|file| is_refusal(file)).count();
    let mut errors =
        checked.report.list.iter().filter(|found| found.severity == Severity::Error).peekable();
    match n_refused > 0 && errors.peek().is_some() && errors.all(is_missing) {
        true => Exit::Plugin(anyhow!(
            "a component is missing, and {n_refused} plugin file{} could not be loaded; \
             `loupe inspect --why-not` says why",
            if n_refused == 1 { "" } else { "s" }
        )),
        false => Exit::Check { mistakes: checked.report.in_short() },
    }
}

/// A component that is not there, and is no slip of the hand.
fn is_missing(found: &Diagnostic) -> bool {
    found.hint.is_none() && found.notes.iter().any(|note| note.contains("could not be loaded"))
}

/// Checks pipelines against what this program knows, and remembers which weights are not here.
pub(crate) struct Checker {
    weights: Option<Registry>,
    data_is_optional: bool,
    weights_are_optional: bool,
    /// Prompt caches may be absent.
    fills: bool,
    /// Names stages that are not run.
    names_unused: bool,
    absent: RefCell<Vec<String>>,
}

impl Checker {
    pub(crate) fn new() -> Checker {
        let weights = Registry::of_user().ok();
        Checker {
            weights,
            data_is_optional: false,
            weights_are_optional: false,
            fills: false,
            names_unused: false,
            absent: RefCell::default(),
        }
    }

    /// Says also what is no mistake of a run, such as a stage that nothing needs.
    pub(crate) fn thorough() -> Checker {
        Checker { names_unused: true, ..Checker::new() }
    }

    /// `${LOUPE_DATA}` and its like may be unset: they stay as they are, which is no folder.
    pub(crate) fn without_data() -> Checker {
        Checker { data_is_optional: true, ..Checker::new() }
    }

    /// Prints what was found, in colour on a terminal.
    pub(crate) fn check(&self, path: &Path, sets: &[Change], loader: &Loader) -> Checked {
        self.check_with(sets, &|options| pipeline::check(path, options, loader))
    }

    /// Checks a text as if it stood in the file `name`.
    fn check_text(&self, name: &Path, text: &str, loader: &Loader) -> Checked {
        let name = name.display().to_string();
        self.check_with(&[], &|options| pipeline::check_text(&name, text, options, loader))
    }

    fn check_with(&self, sets: &[Change], check: &dyn Fn(&CheckOptions<'_>) -> Checked) -> Checked {
        let protocols: Vec<&str> = Protocol::names().collect();
        let options = CheckOptions {
            sets: sets.to_vec(),
            env: &|name| self.variable(name),
            protocols: &protocols,
            layouts: &loupe_datasets::Layout::names(),
            files: &|name| self.file(name),
            fills: self.fills,
            names_unused: self.names_unused,
        };
        let checked = check(&options);
        eprint!("{}", checked.report.render(std::io::stderr().is_terminal()));
        checked
    }

    fn variable(&self, name: &str) -> Option<String> {
        let of_data = name.starts_with("LOUPE_") && name.ends_with("DATA");
        let optional = || (self.data_is_optional && of_data).then(|| format!("${{{name}}}"));
        std::env::var(name).ok().or_else(optional)
    }

    fn file(&self, name: &str) -> Option<NamedFile> {
        let found = self.weights.as_ref()?.named(name);
        if let Some(NamedFile::Absent(hint)) = &found {
            let line = format!("the weights `{name}` are not on this machine: {hint}");
            let mut absent = self.absent.borrow_mut();
            if !absent.contains(&line) {
                absent.push(line);
            }
        }
        found
    }
}

/// A flag that Ctrl-C raises; a second Ctrl-C ends the program at once.
pub(crate) fn interrupt_flag() -> Result<Arc<AtomicBool>, Exit> {
    use signal_hook::consts::{SIGINT, SIGTERM};
    let flag = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register_conditional_shutdown(signal, 130, flag.clone())?;
        signal_hook::flag::register(signal, flag.clone())?;
    }
    Ok(flag)
}

/// Free bytes on the disk of a folder, or of the nearest folder above it that is there.
pub(crate) fn free_bytes(folder: &Path) -> Option<u64> {
    use std::os::unix::ffi::OsStrExt;
    let there = folder.ancestors().find(|folder| folder.exists())?;
    let path = std::ffi::CString::new(there.as_os_str().as_bytes()).ok()?;
    let mut facts = std::mem::MaybeUninit::<libc::statvfs>::uninit();
    // SAFETY: the path ends with a zero byte and the result has room; it is read only if the call
    // filled it.
    let facts = unsafe {
        match libc::statvfs(path.as_ptr(), facts.as_mut_ptr()) {
            0 => facts.assume_init(),
            _ => return None,
        }
    };
    Some(facts.f_bavail * facts.f_frsize)
}
