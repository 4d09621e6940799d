//! Services that the engine gives to components, and the C functions through which they reach them.

use std::ffi::{CStr, c_char, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use loupe_plugin::abi::{
    LOUPE_ABI, LOUPE_ERROR, LOUPE_EXT_KEEP, LOUPE_LOG_DEBUG, LOUPE_LOG_ERROR, LOUPE_LOG_WARN,
    LOUPE_OK, LoupeBytes, LoupeError, LoupeHost, LoupeStr,
};
use memmap2::Mmap;

use super::keep::{self, Keeper};
use super::raw::{str_of, write_error};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    Error,
    Warn,
    Info,
    Debug,
}

/// What a component may ask of the engine while it works. Called from any thread.
pub trait HostServices: Send + Sync {
    fn log(&self, level: Level, text: &str);
    /// `total` is `None` where it is unknown.
    fn progress(&self, done: u64, total: Option<u64>);
    fn cancelled(&self) -> bool;
    /// Threads one component may use in all.
    fn n_threads(&self) -> u32;
    /// Calls `body` for each index below `n` and returns when all are done.
    fn parallel_for(&self, n: usize, body: &(dyn Fn(usize) + Sync));
    /// Continues the stage's stream of random numbers.
    fn random(&self, out: &mut [u64]);
    /// Errors: the file is not among those the stage's config names, or cannot be read.
    fn open(&self, path: &str) -> Result<Arc<Mmap>, String>;
    /// What keeps bytes for the component from run to run, where anything does.
    fn keeper(&self) -> Option<&dyn Keeper> {
        None
    }
}

/// Called with the stage's name, the level and the text.
pub type Log = Box<dyn Fn(&str, Level, &str) + Send + Sync>;
/// Called with the stage's name, what is done and the total, if it is known.
pub type Progress = Box<dyn Fn(&str, u64, Option<u64>) + Send + Sync>;

/// The services of one stage.
pub struct StageHost {
    pub stage: String,
    /// Absolute paths that the stage's config names.
    pub files: Vec<PathBuf>,
    /// The pool components compute on. What calls components must not stand on it: a thread of a
    /// pool that waits takes up other work, and would call a component that it is already inside
    /// of.
    pub pool: Arc<rayon::ThreadPool>,
    pub cancel: Arc<AtomicBool>,
    pub log: Log,
    pub progress: Progress,
    pub keeper: Option<Box<dyn Keeper>>,
    random: Mutex<blake3::OutputReader>,
}

impl StageHost {
    /// A host that opens `files`, says nothing and keeps nothing; `log`, `progress` and `keeper` may be
    /// set. The same seed and stage give the same random numbers.
    pub fn new(
        stage: &str,
        seed: u64,
        files: Vec<PathBuf>,
        pool: Arc<rayon::ThreadPool>,
        cancel: Arc<AtomicBool>,
    ) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key("loupe stage random numbers 1");
        hasher.update(&seed.to_le_bytes()).update(stage.as_bytes());
        Self {
            stage: stage.to_owned(),
            files,
            pool,
            cancel,
            log: Box::new(|_, _, _| {}),
            progress: Box::new(|_, _, _| {}),
            keeper: None,
            random: Mutex::new(hasher.finalize_xof()),
        }
    }
}

impl HostServices for StageHost {
    fn log(&self, level: Level, text: &str) {
        (self.log)(&self.stage, level, text);
    }

    fn progress(&self, done: u64, total: Option<u64>) {
        (self.progress)(&self.stage, done, total);
    }

    fn cancelled(&self) -> bool {
        self.cancel.load(Ordering::Relaxed)
    }

    fn n_threads(&self) -> u32 {
        u32::try_from(self.pool.current_num_threads()).unwrap_or(u32::MAX)
    }

    fn parallel_for(&self, n: usize, body: &(dyn Fn(usize) + Sync)) {
        use rayon::prelude::*;
        // One index at a time: a component's tasks are few and large.
        self.pool.install(|| (0..n).into_par_iter().with_max_len(1).for_each(body));
    }

    fn random(&self, out: &mut [u64]) {
        let mut reader = self.random.lock().unwrap_or_else(PoisonError::into_inner);
        for number in out {
            let mut bytes = [0; 8];
            reader.fill(&mut bytes);
            *number = u64::from_le_bytes(bytes);
        }
    }

    fn keeper(&self) -> Option<&dyn Keeper> {
        self.keeper.as_deref()
    }

    fn open(&self, path: &str) -> Result<Arc<Mmap>, String> {
        if !self.files.iter().any(|file| file == Path::new(path)) {
            let stage = &self.stage;
            return Err(format!("`{path}` is not a file that the config of `{stage}` names"));
        }
        let file = std::fs::File::open(path).map_err(|error| format!("`{path}`: {error}"))?;
        // SAFETY: the map is read-only; files named by a config are inputs that nothing changes
        // during a run.
        let map = unsafe { Mmap::map(&file) };
        map.map(Arc::new).map_err(|error| format!("`{path}` cannot be mapped: {error}"))
    }
}

/// The table a component holds for its life, and what its pointers lead to.
pub(super) struct HostTable {
    pub table: LoupeHost,
    pub(super) services: Arc<dyn HostServices>,
    pub(super) kept: Mutex<keep::Found>,
    /// Files handed out: they live as long as the host.
    opened: Mutex<Vec<Arc<Mmap>>>,
}

// SAFETY: the table's pointers lead to functions and to this struct itself, whose parts are `Send`
// and `Sync`.
unsafe impl Send for HostTable {}
// SAFETY: as above.
unsafe impl Sync for HostTable {}

impl HostTable {
    pub fn new(services: Arc<dyn HostServices>) -> Arc<Self> {
        let table = |ctx| LoupeHost {
            abi: LOUPE_ABI,
            size: size_of::<LoupeHost>() as u32,
            ctx,
            log: Some(log),
            progress: Some(progress),
            cancelled: Some(cancelled),
            n_threads: Some(n_threads),
            parallel_for: Some(parallel_for),
            random: Some(random),
            open: Some(open),
            get_extension: Some(get_extension),
        };
        // The context is the address at which the struct will stay.
        Arc::new_cyclic(|weak: &Weak<Self>| Self {
            table: table(weak.as_ptr().cast_mut().cast()),
            services,
            kept: Mutex::default(),
            opened: Mutex::default(),
        })
    }
}

/// Runs a callback for a plugin; a panic in the engine stops here instead of unwinding through
/// foreign frames.
///
/// # Safety
/// `ctx` is the `ctx` of a live `HostTable`.
pub(super) unsafe fn with<T>(
    ctx: *mut c_void,
    otherwise: T,
    work: impl FnOnce(&HostTable) -> T,
) -> T {
    if ctx.is_null() {
        return otherwise;
    }
    // SAFETY: the caller's promise.
    let host = unsafe { &*ctx.cast::<HostTable>() };
    catch_unwind(AssertUnwindSafe(|| work(host))).unwrap_or(otherwise)
}

unsafe extern "C" fn log(ctx: *mut c_void, level: u32, text: LoupeStr) {
    let level = match level {
        LOUPE_LOG_ERROR => Level::Error,
        LOUPE_LOG_WARN => Level::Warn,
        LOUPE_LOG_DEBUG => Level::Debug,
        _ => Level::Info,
    };
    // SAFETY: the plugin passes its host's context and a text that lives through the call.
    unsafe { with(ctx, (), |host| host.services.log(level, &str_of(text).unwrap_or_default())) }
}

unsafe extern "C" fn progress(ctx: *mut c_void, done: u64, total: u64) {
    let total = Some(total).filter(|total| *total > 0);
    // SAFETY: the plugin passes its host's context.
    unsafe { with(ctx, (), |host| host.services.progress(done, total)) }
}

unsafe extern "C" fn cancelled(ctx: *mut c_void) -> i32 {
    // SAFETY: the plugin passes its host's context.
    unsafe { with(ctx, 0, |host| i32::from(host.services.cancelled())) }
}

unsafe extern "C" fn n_threads(ctx: *mut c_void) -> u32 {
    // SAFETY: the plugin passes its host's context.
    unsafe { with(ctx, 1, |host| host.services.n_threads().max(1)) }
}

/// A plugin's argument, shared between the threads that run its body.
struct Argument(*mut c_void);

// SAFETY: a body is called on several threads by the definition of `parallel_for`, so its argument
// is made for that.
unsafe impl Sync for Argument {}

impl Argument {
    fn get(&self) -> *mut c_void {
        self.0
    }
}

unsafe extern "C" fn parallel_for(
    ctx: *mut c_void,
    n: usize,
    body: Option<unsafe extern "C" fn(arg: *mut c_void, i: usize)>,
    arg: *mut c_void,
) {
    let Some(body) = body else { return };
    let arg = Argument(arg);
    // SAFETY: the body takes its argument and an index below `n`, on any thread.
    let each = |i: usize| unsafe { body(arg.get(), i) };
    // SAFETY: the plugin passes its host's context.
    unsafe { with(ctx, (), |host| host.services.parallel_for(n, &each)) }
}

unsafe extern "C" fn random(ctx: *mut c_void, out: *mut u64, n: usize) {
    if out.is_null() || !out.is_aligned() {
        return;
    }
    // SAFETY: the plugin passes its host's context and room for `n` numbers.
    unsafe {
        out.write_bytes(0, n);
        with(ctx, (), |host| host.services.random(std::slice::from_raw_parts_mut(out, n)));
    }
}

unsafe extern "C" fn open(
    ctx: *mut c_void,
    path: LoupeStr,
    out: *mut LoupeBytes,
    error: *mut LoupeError,
) -> i32 {
    if out.is_null() {
        return LOUPE_ERROR;
    }
    let work = |host: &HostTable| {
        // SAFETY: the text lives through the call.
        let path = unsafe { str_of(path) }?;
        let map = host.services.open(&path)?;
        let bytes = LoupeBytes { data: map.as_ptr(), len: map.len() };
        host.opened.lock().unwrap_or_else(PoisonError::into_inner).push(map);
        Ok(bytes)
    };
    // SAFETY: the plugin passes its host's context, and room for the bytes and the message.
    unsafe {
        match with(ctx, Err("the engine failed while it opened a file".to_owned()), work) {
            Ok(bytes) => {
                out.write_unaligned(bytes);
                LOUPE_OK
            }
            Err(message) => {
                write_error(error, &message);
                LOUPE_ERROR
            }
        }
    }
}

/// A plugin takes null for an answer: what it asks for is not there, or not in this run.
unsafe extern "C" fn get_extension(ctx: *mut c_void, id: *const c_char) -> *const c_void {
    if id.is_null() {
        return std::ptr::null();
    }
    // SAFETY: an id ends in NUL and lives through the call.
    let id = unsafe { CStr::from_ptr(id) };
    let keeps = |host: &HostTable| {
        id.to_bytes() == LOUPE_EXT_KEEP.as_bytes() && host.services.keeper().is_some()
    };
    // SAFETY: the plugin passes its host's context.
    match unsafe { with(ctx, false, keeps) } {
        true => (&raw const keep::TABLE).cast(),
        false => std::ptr::null(),
    }
}
