//! Command lines of the original systems, as pipelines.

pub mod fade;
pub mod mvfa;
mod options;
#[cfg(test)]
mod tests;

use thiserror::Error;

/// What a command line becomes.
#[derive(Clone, Debug, PartialEq)]
pub struct Imported {
    /// The pipeline, a TOML text.
    pub pipeline: String,
    /// A script that the pipeline names as its `hooks`, with its file's name.
    pub hooks: Option<(&'static str, String)>,
    /// Whether the original trains before it tests, so that `loupe train` comes first.
    pub trains: bool,
    /// The command that runs it as the original would, from `loupe run` on.
    pub run: Vec<String>,
    /// What is said beside it.
    pub notes: Vec<String>,
}

#[derive(Debug, Error, PartialEq)]
pub enum ImportError {
    #[error("`{system}` has no option `{option}`{hint}; it knows: {known}")]
    UnknownOption { system: &'static str, option: String, hint: String, known: String },
    #[error("`{option}` wants a value")]
    NoValue { option: String },
    #[error("`{option}` is a flag and takes no value, got `{value}`")]
    FlagValue { option: String, value: String },
    #[error("`{option}` wants {wanted}, got `{got}`")]
    Value { option: String, wanted: String, got: String },
    #[error("`{word}` is no option: options begin with `--`")]
    NoOption { word: String },
    #[error("the original refuses this: {message}")]
    Refused { message: &'static str },
    #[error("{message}")]
    Unsupported { message: String },
}
