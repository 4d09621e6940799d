//! `loupe.keep/1`: bytes that a stage's component finds again in the next run.

use std::collections::BTreeMap;
use std::ffi::c_void;
use std::slice;
use std::sync::{Arc, PoisonError};

use loupe_kernels::ParallelFor;
use loupe_plugin::abi::{LOUPE_ERROR, LOUPE_OK, LoupeBytes, LoupeError, LoupeKeep, LoupeStr};
use serde_json::Value as Json;

use super::host::{HostTable, Level, with};
use super::raw::{str_of, write_error};
use crate::cache::KeptFile;

/// Keeps bytes under a label and a config, for one stage.
pub trait Keeper: Send + Sync {
    /// Errors: why something that is there is not taken.
    fn find(
        &self,
        label: &str,
        config: &Json,
        par: ParallelFor,
    ) -> Result<Option<KeptFile>, String>;

    /// Errors: why nothing was kept.
    fn keep(
        &self,
        label: &str,
        config: &Json,
        parts: &[&[u8]],
        par: ParallelFor,
    ) -> Result<(), String>;
}

/// What was found and not given back, by number.
#[derive(Default)]
pub(super) struct Found {
    last: u64,
    files: BTreeMap<u64, Arc<KeptFile>>,
}

pub(super) static TABLE: LoupeKeep = LoupeKeep {
    size: size_of::<LoupeKeep>() as u32,
    reserved: 0,
    find: Some(find),
    read: Some(read),
    end: Some(end),
    keep: Some(keep),
};

/// # Safety
/// The texts have the bytes they say.
unsafe fn names(label: LoupeStr, config: LoupeStr) -> Result<(String, Json), String> {
    // SAFETY: the caller's promise.
    let (label, config) = unsafe { (str_of(label)?, str_of(config)?) };
    let config = serde_json::from_str(&config).map_err(|error| format!("its config: {error}"))?;
    Ok((label, config))
}

unsafe extern "C" fn find(
    ctx: *mut c_void,
    label: LoupeStr,
    config: LoupeStr,
    kept: *mut u64,
    len: *mut u64,
) {
    if kept.is_null() || len.is_null() {
        return;
    }
    let work = |host: &HostTable| {
        let Some(keeper) = host.services.keeper() else { return Ok(None) };
        // SAFETY: the texts live through the call.
        let (label, config) = unsafe { names(label, config) }?;
        let par = |n: usize, f: &(dyn Fn(usize) + Sync)| host.services.parallel_for(n, f);
        let Some(file) = keeper.find(&label, &config, &par)? else { return Ok(None) };
        let mut found = host.kept.lock().unwrap_or_else(PoisonError::into_inner);
        found.last += 1;
        let (id, len) = (found.last, file.len);
        found.files.insert(id, Arc::new(file));
        Ok(Some((id, len)))
    };
    let said = |host: &HostTable| {
        work(host).unwrap_or_else(|why: String| {
            host.services.log(Level::Warn, &why);
            None
        })
    };
    // SAFETY: the plugin passes its host's context, and room for two numbers.
    unsafe {
        let (id, n) = with(ctx, None, said).unwrap_or((0, 0));
        kept.write_unaligned(id);
        len.write_unaligned(n);
    }
}

unsafe extern "C" fn read(
    ctx: *mut c_void,
    kept: u64,
    offset: u64,
    to: *mut u8,
    n: usize,
    error: *mut LoupeError,
) -> i32 {
    let work = |host: &HostTable| {
        let found =
            host.kept.lock().unwrap_or_else(PoisonError::into_inner).files.get(&kept).cloned();
        let file = found.ok_or_else(|| format!("nothing kept has the number {kept}"))?;
        if n == 0 {
            return Ok(());
        }
        if to.is_null() {
            return Err("there is no room for what was kept".to_owned());
        }
        // SAFETY: the plugin's promise: room for `n` bytes that nobody else uses now.
        let to = unsafe { slice::from_raw_parts_mut(to, n) };
        file.read(offset, to).map_err(|error| error.to_string())
    };
    // SAFETY: the plugin passes its host's context.
    let done = unsafe { with(ctx, Err("the engine failed while it read".to_owned()), work) };
    // SAFETY: `error` is null or has room for a message.
    unsafe { status(done, error) }
}

unsafe extern "C" fn end(ctx: *mut c_void, kept: u64) {
    let work = |host: &HostTable| {
        host.kept.lock().unwrap_or_else(PoisonError::into_inner).files.remove(&kept);
    };
    // SAFETY: the plugin passes its host's context.
    unsafe { with(ctx, (), work) }
}

unsafe extern "C" fn keep(
    ctx: *mut c_void,
    label: LoupeStr,
    config: LoupeStr,
    n_parts: usize,
    parts: *const LoupeBytes,
    error: *mut LoupeError,
) -> i32 {
    let work = |host: &HostTable| {
        let keeper = host.services.keeper().ok_or("nothing is kept in this run")?;
        // SAFETY: texts and parts live through the call.
        let ((label, config), parts) = unsafe { (names(label, config)?, lent(n_parts, parts)?) };
        let par = |n: usize, f: &(dyn Fn(usize) + Sync)| host.services.parallel_for(n, f);
        keeper.keep(&label, &config, &parts, &par)
    };
    // SAFETY: the plugin passes its host's context.
    let done = unsafe { with(ctx, Err("the engine failed while it kept".to_owned()), work) };
    // SAFETY: `error` is null or has room for a message.
    unsafe { status(done, error) }
}

/// # Safety
/// `parts` are as many, each with the bytes it says.
unsafe fn lent<'a>(n_parts: usize, parts: *const LoupeBytes) -> Result<Vec<&'a [u8]>, String> {
    if n_parts == 0 {
        return Ok(Vec::new());
    }
    if parts.is_null() || !parts.is_aligned() {
        return Err(format!("{n_parts} parts at {parts:?} cannot be read"));
    }
    // SAFETY: the caller's promise.
    let parts = unsafe { slice::from_raw_parts(parts, n_parts) };
    let part = |part: &LoupeBytes| match part {
        LoupeBytes { len: 0, .. } => Ok(&[][..]),
        LoupeBytes { data, len } if data.is_null() || isize::try_from(*len).is_err() => {
            Err(format!("{len} bytes at {data:?} cannot be read"))
        }
        // SAFETY: the caller's promise.
        LoupeBytes { data, len } => Ok(unsafe { slice::from_raw_parts(*data, *len) }),
    };
    parts.iter().map(part).collect()
}

/// # Safety
/// `error` is null or has room for a message.
unsafe fn status(done: Result<(), String>, error: *mut LoupeError) -> i32 {
    match done {
        Ok(()) => LOUPE_OK,
        Err(message) => {
            // SAFETY: the caller's promise.
            unsafe { write_error(error, &message) };
            LOUPE_ERROR
        }
    }
}
