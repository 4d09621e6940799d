//! A host for tests: two threads, a seeded stream of random numbers, files from disk, logs kept.

use std::ffi::{c_char, c_void};
use std::sync::Mutex;

use crate::abi::{self, LoupeBytes, LoupeError, LoupeHost, LoupeStr};
use crate::glue::raw;
use crate::testing::samples;

/// Services and what they hold. Boxes, because instances point to both.
pub(crate) struct TestHost {
    table: Box<LoupeHost>,
    // Pointed to by the table.
    _services: Box<Services>,
}

struct Services {
    random: Mutex<u64>,
    /// Files that were opened, kept as long as the host.
    files: Mutex<Vec<Box<[u8]>>>,
}

impl TestHost {
    pub(crate) fn new() -> Self {
        let services = Box::new(Services { random: Mutex::new(0), files: Mutex::new(Vec::new()) });
        let table = Box::new(LoupeHost {
            abi: abi::LOUPE_ABI,
            size: size_of::<LoupeHost>() as u32,
            ctx: (&raw const *services).cast_mut().cast(),
            log: Some(log),
            progress: Some(progress),
            cancelled: Some(cancelled),
            n_threads: Some(n_threads),
            parallel_for: Some(parallel_for),
            random: Some(random),
            open: Some(open),
            get_extension: Some(get_extension),
        });
        TestHost { table, _services: services }
    }

    pub(crate) fn raw(&self) -> *const LoupeHost {
        &raw const *self.table
    }
}

/// A host as `new` takes it, for tests that make a component by hand. It lives as long as the
/// process.
pub fn host() -> crate::host::Host {
    let host = Box::leak(Box::new(TestHost::new()));
    // SAFETY: leaked, so it outlives every copy.
    match unsafe { crate::host::Host::from_raw(host.raw()) } {
        Ok(host) => host,
        Err(error) => panic!("the test host does not fit its own crate: {error}"),
    }
}

unsafe extern "C" fn log(_ctx: *mut c_void, _level: u32, text: LoupeStr) {
    // SAFETY: the boundary's promise to a host.
    if let Ok(text) = unsafe { raw::str(text) } {
        println!("{text}");
    }
}

unsafe extern "C" fn progress(_ctx: *mut c_void, _done: u64, _total: u64) {}

unsafe extern "C" fn cancelled(_ctx: *mut c_void) -> i32 {
    0
}

unsafe extern "C" fn n_threads(_ctx: *mut c_void) -> u32 {
    2
}

unsafe extern "C" fn parallel_for(
    _ctx: *mut c_void,
    n: usize,
    body: Option<unsafe extern "C" fn(arg: *mut c_void, i: usize)>,
    arg: *mut c_void,
) {
    let Some(body) = body else {
        return;
    };
    let arg = arg as usize;
    let half = move |first: usize| {
        // SAFETY: the boundary lets the host call the body from any thread, once for each index.
        (first..n).step_by(2).for_each(|i| unsafe { body(arg as *mut c_void, i) });
    };
    std::thread::scope(|scope| {
        scope.spawn(move || half(1));
        half(0);
    });
}

unsafe extern "C" fn random(ctx: *mut c_void, out: *mut u64, n: usize) {
    // SAFETY: `ctx` is the `Services` beside the table.
    let services = unsafe { &*ctx.cast::<Services>() };
    let Ok(mut state) = services.random.lock() else {
        return;
    };
    for i in 0..n {
        // SAFETY: `out` has room for n numbers.
        unsafe { out.add(i).write(samples::mixed(*state)) };
        *state = state.wrapping_add(1);
    }
}

unsafe extern "C" fn open(
    ctx: *mut c_void,
    path: LoupeStr,
    out: *mut LoupeBytes,
    error: *mut LoupeError,
) -> i32 {
    // SAFETY: the boundary's promise to a host; `ctx` is the `Services` beside the table.
    let (services, path) = unsafe { (&*ctx.cast::<Services>(), raw::str(path)) };
    let read = path.map_err(|error| error.to_string()).and_then(|path| {
        std::fs::read(path).map_err(|error| format!("cannot read `{path}`: {error}"))
    });
    match (read, services.files.lock()) {
        (Ok(bytes), Ok(mut files)) => {
            let bytes = bytes.into_boxed_slice();
            // SAFETY: `out` is writable; the bytes do not move when their box does.
            unsafe { out.write(LoupeBytes { data: bytes.as_ptr(), len: bytes.len() }) };
            files.push(bytes);
            abi::LOUPE_OK
        }
        (read, _) => {
            let message = read.err().unwrap_or_else(|| "the test host is broken".to_owned());
            // SAFETY: `error` is null or writable.
            unsafe { raw::write_error(error, &message) };
            abi::LOUPE_ERROR
        }
    }
}

unsafe extern "C" fn get_extension(_ctx: *mut c_void, _id: *const c_char) -> *const c_void {
    std::ptr::null()
}
