//! Bytes that the engine keeps for a component from run to run.

use std::ptr;

use crate::abi::{self, LoupeBytes, LoupeError, LoupeKeep};
use crate::error::{Error, Result};
use crate::glue::raw;
use crate::host::Host;

impl Host {
    /// Whether this host keeps anything: a run without a cache does not.
    pub fn keeps(&self) -> bool {
        self.keep_table().is_some()
    }

    /// What was kept under this label and config, if it is there and whole. The config says everything that
    /// the bytes depend on; a string in it that is a file of the component's own config stands for the
    /// file's content.
    pub fn find_kept(&self, label: &str, config: &serde_json::Value) -> Option<Kept> {
        let table = self.keep_table()?;
        let (find, config) = (table.find?, config.to_string());
        let (mut id, mut len) = (0, 0);
        let names = (raw::text(label), raw::text(&config));
        // SAFETY: `ctx` is the host's own; all pointers live through the call.
        unsafe { find(self.table().ctx, names.0, names.1, &mut id, &mut len) };
        (id != 0).then_some(Kept { host: *self, table, id, len })
    }

    /// Keeps parts as one, one behind the other, for `find_kept`. Errors: the host's, which cost nothing but time.
    pub fn keep(&self, label: &str, config: &serde_json::Value, parts: &[&[u8]]) -> Result<()> {
        let keep = self.keep_table().and_then(|table| table.keep);
        let keep = keep.ok_or_else(|| Error::failed("this host keeps nothing"))?;
        let lent = |part: &&[u8]| LoupeBytes { data: part.as_ptr(), len: part.len() };
        let (lent, config): (Vec<_>, _) = (parts.iter().map(lent).collect(), config.to_string());
        let mut error = LoupeError { len: 0, text: [0; 1020] };
        let (label, config) = (raw::text(label), raw::text(&config));
        // SAFETY: `ctx` is the host's own; all pointers live through the call.
        let status =
            unsafe { keep(self.table().ctx, label, config, lent.len(), lent.as_ptr(), &mut error) };
        if status == abi::LOUPE_OK { Ok(()) } else { Err(Error::failed(raw::message(&error))) }
    }

    fn keep_table(&self) -> Option<LoupeKeep> {
        let found = self.get_extension(abi::LOUPE_EXT_KEEP)?.cast::<LoupeKeep>();
        // SAFETY: the id's type, which begins with its size.
        let size = unsafe { ptr::read(found.as_ptr().cast::<u32>()) } as usize;
        // SAFETY: the host's table is as long as it says.
        (size >= size_of::<LoupeKeep>()).then(|| unsafe { ptr::read(found.as_ptr()) })
    }
}

/// Bytes that were kept. They can be read until this is dropped.
#[derive(Debug)]
pub struct Kept {
    host: Host,
    table: LoupeKeep,
    id: u64,
    len: u64,
}

impl Kept {
    pub fn len(&self) -> u64 {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Copies as many bytes as `to` has room for, from `offset` on. Errors: the host's.
    pub fn read(&self, offset: u64, to: &mut [u8]) -> Result<()> {
        let read = self.table.read.ok_or_else(|| Error::failed("this host reads nothing kept"))?;
        let mut error = LoupeError { len: 0, text: [0; 1020] };
        let (ctx, n) = (self.host.table().ctx, to.len());
        // SAFETY: `ctx` is the host's own; `to` has room for `n` bytes.
        let status = unsafe { read(ctx, self.id, offset, to.as_mut_ptr(), n, &mut error) };
        if status == abi::LOUPE_OK { Ok(()) } else { Err(Error::failed(raw::message(&error))) }
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        if let Some(end) = self.table.end {
            // SAFETY: `ctx` is the host's own, and nobody reads after this.
            unsafe { end(self.host.table().ctx, self.id) };
        }
    }
}
