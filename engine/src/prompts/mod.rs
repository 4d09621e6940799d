//! `loupe prompts`: what prompt generators ask of language models, sent and kept. The plugin knows
//! requests, replies and caches (`loupe.prompts.tool/1`); here are the files, the endpoint, and the
//! patience.
//!
//! `job` asks the stages what they want, `endpoint` sends one request, `retry` decides when to send
//! it again, `fill` walks through the jobs and writes each entry before it asks for the next.

mod endpoint;
mod fill;
mod job;
mod retry;

pub use endpoint::{Endpoint, EndpointError, Key};
pub use fill::{Counts, Done, Filler, Outcome, Watch, update};
pub use job::{Job, Names, Request, gaps, is_found, jobs};
pub use retry::Patience;

use std::path::{Path, PathBuf};

use serde_json::Value as Json;
use thiserror::Error;

use crate::files::WriteError;
use crate::plugin::info::Kind;
use crate::plugin::{Loader, PluginError};

#[derive(Debug, Error)]
pub enum PromptsError {
    #[error("cannot read `{}`: {source}", path.display())]
    Read { path: PathBuf, source: std::io::Error },
    #[error("`{}` is not UTF-8; save it as UTF-8", path.display())]
    Text { path: PathBuf },
    #[error(
        "`{}` has {got} bytes, but files with sentences are read up to {limit}",
        path.display()
    )]
    TooBig { path: PathBuf, got: u64, limit: u64 },
    #[error(
        "another command is writing prompt caches in `{}`; try again when it has ended",
        folder.display()
    )]
    Locked { folder: PathBuf },
    #[error(transparent)]
    Write(#[from] WriteError),
    /// The tool's own message: it names the file and says what to do.
    #[error("{message}")]
    Refused { message: String },
    #[error(transparent)]
    Plugin(PluginError),
    #[error(
        "no prompt generator here works on prompt caches; `loupe inspect` lists what was found"
    )]
    NoTool,
    #[error("prompts `{component}` gave an answer without `{field}`; rebuild its plugin")]
    Answer { component: String, field: &'static str },
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
}

impl From<PluginError> for PromptsError {
    fn from(error: PluginError) -> PromptsError {
        match error {
            PluginError::Config { message, .. } => PromptsError::Refused { message },
            error => PromptsError::Plugin(error),
        }
    }
}

/// The tool of one prompt generator.
#[derive(Clone, Copy)]
pub struct Tool<'a> {
    loader: &'a Loader,
    component: &'a str,
}

impl<'a> Tool<'a> {
    /// `None`: the component has none.
    pub fn of(loader: &'a Loader, component: &'a str) -> Option<Tool<'a>> {
        loader.has_tool(Kind::Prompts, component).then_some(Tool { loader, component })
    }

    /// The first that was loaded, for files that no pipeline names. Errors: `NoTool`.
    pub fn any(loader: &'a Loader) -> Result<Tool<'a>, PromptsError> {
        let prompts = loader.components().filter(|info| info.kind == Kind::Prompts);
        let tools = prompts.filter_map(|info| Tool::of(loader, &info.name));
        tools.into_iter().next().ok_or(PromptsError::NoTool)
    }

    /// Errors: `Refused` with the tool's message, `Plugin`.
    pub fn ask(&self, question: &Json) -> Result<Json, PromptsError> {
        Ok(self.loader.ask(Kind::Prompts, self.component, question)?)
    }

    fn absent(&self, field: &'static str) -> PromptsError {
        PromptsError::Answer { component: self.component.to_owned(), field }
    }

    fn list<'j>(&self, answer: &'j Json, field: &'static str) -> Result<&'j [Json], PromptsError> {
        let list = answer[field].as_array().ok_or_else(|| self.absent(field))?;
        Ok(list.as_slice())
    }

    fn text<'j>(&self, answer: &'j Json, field: &'static str) -> Result<&'j str, PromptsError> {
        answer[field].as_str().ok_or_else(|| self.absent(field))
    }
}

/// No file with sentences is larger; the plugin's own limits are below.
const MAX_FILE_BYTES: u64 = 16 << 20;

/// A file's text. Errors: `Read`, `Text`, `TooBig`.
pub fn read_text(path: &Path) -> Result<String, PromptsError> {
    let fail = |source| PromptsError::Read { path: path.to_owned(), source };
    let got = std::fs::metadata(path).map_err(fail)?.len();
    if got > MAX_FILE_BYTES {
        return Err(PromptsError::TooBig { path: path.to_owned(), got, limit: MAX_FILE_BYTES });
    }
    let bytes = crate::files::read_text(path).map_err(fail)?;
    String::from_utf8(bytes).map_err(|_| PromptsError::Text { path: path.to_owned() })
}

/// The text of a cache; empty for one that is yet to be made. Errors: as `read_text`.
pub fn read_cache(path: &Path) -> Result<String, PromptsError> {
    match path.exists() {
        true => read_text(path),
        false => Ok(String::new()),
    }
}
