//! Why a file is no prompt cache.

use thiserror::Error;

/// Every variant names the file; where one line is to blame, the line; where one entry is, the
/// entry.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CacheError {
    #[error(
        "`{file}` has {got} bytes, but a prompt cache is read up to {limit}; split it by classes, \
         or name a file of sentences under `files` of `ensemble`"
    )]
    TooBig { file: String, got: usize, limit: usize },
    #[error("`{file}` {why}")]
    Text { file: String, why: String },
    #[error(
        "`{file}` line {line}: a prompt cache begins with `loupe_prompts = 1`, but this is `{got}`"
    )]
    NoFormat { file: String, line: usize, got: String },
    #[error(
        "`{file}` is a prompt cache of format {got}, but this loupe reads format {want}; use the \
         loupe that wrote it, or write it anew"
    )]
    Format { file: String, got: String, want: i64 },
    #[error("`{file}` line {line}: {why}")]
    Toml { file: String, line: usize, why: String },
    #[error("`{file}` line {line}, entry `{entry}`: {why}")]
    Entry { file: String, line: usize, entry: String, why: String },
}
