//! Scorers: `language` compares image tokens with embedded sentences, `nearest` with the patches of normal references.
//! Both learn something first, a text model or a memory bank, and both normalise what they are given: encoders emit raw
//! vectors.

mod language;
mod nearest;
mod text_models;

use loupe_plugin::prelude::*;

use language::Language;
use nearest::Nearest;

export!(scorer "language" = Language, scorer "nearest" = Nearest);

/// Runs a kernel's parallel work on the host's threads.
fn on_host<T>(host: &Host, work: impl FnOnce(loupe_kernels::ParallelFor<'_>) -> T) -> Result<T> {
    let failed = std::sync::Mutex::new(None);
    let result = work(&|n, body| {
        if let Err(error) = host.parallel_for(n, body) {
            failed.lock().unwrap_or_else(std::sync::PoisonError::into_inner).get_or_insert(error);
        }
    });
    match failed.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner) {
        Some(error) => Err(error),
        None => Ok(result),
    }
}
