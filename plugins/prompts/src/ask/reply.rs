//! Reading an endpoint's answer. Everything in it is foreign: lengths are bounded, types checked,
//! and what is quoted in a message is cut.

use serde::Deserialize;
use serde_json::Value;
use thiserror::Error;

use crate::cache::Usage;
use crate::limits::{MAX_COUNT, MAX_REPLY_BYTES};
use crate::words::shown;

/// A count beyond this is no count; sums of counts below it fit the integers of TOML.
const MOST_TOKENS: u64 = 1 << 40;

/// An HTTP reply as the host got it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reply {
    pub status: u16,
    pub body: String,
}

/// The sentences of one reply, as they were written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    pub normal: Vec<String>,
    pub anomalous: Vec<String>,
    pub usage: Usage,
}

/// Why a reply holds no sentences.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ReplyError {
    #[error("the endpoint answered with status {status}: {message}")]
    Status { status: u16, message: String },
    #[error("the model refused: {message}")]
    Refused { message: String },
    #[error("the answer was cut off at the endpoint's limit of tokens; ask for a smaller `count`")]
    CutOff,
    #[error("the reply has {got} bytes, but {limit} are read; ask for a smaller `count`")]
    TooBig { got: usize, limit: usize },
    #[error("the reply is no chat completion: {why}")]
    NoCompletion { why: String },
    #[error("the answer is not the JSON that was asked for: {why}; it begins `{start}`")]
    NotAsAsked { why: String, start: String },
}

impl ReplyError {
    /// Whether the same request may well succeed when it is sent again.
    pub fn is_passing(&self) -> bool {
        match self {
            ReplyError::Status { status, .. } => matches!(status, 408 | 409 | 425 | 429 | 500..),
            ReplyError::NotAsAsked { .. } | ReplyError::NoCompletion { .. } => true,
            ReplyError::Refused { .. } | ReplyError::CutOff | ReplyError::TooBig { .. } => false,
        }
    }
}

#[derive(Deserialize)]
struct Completion {
    choices: Vec<Choice>,
    usage: Option<RawUsage>,
}

#[derive(Deserialize)]
struct Choice {
    finish_reason: Option<String>,
    message: Message,
}

#[derive(Deserialize)]
struct Message {
    content: Option<String>,
    refusal: Option<String>,
}

#[derive(Default, Deserialize)]
struct RawUsage {
    #[serde(default)]
    prompt_tokens: u64,
    #[serde(default)]
    completion_tokens: u64,
}

#[derive(Deserialize)]
struct Lists {
    normal: Vec<String>,
    anomalous: Vec<String>,
}

/// The sentences and token counts of a reply.
/// Errors: `ReplyError`; `is_passing` tells whether another try is worth it.
pub fn parse(reply: &Reply) -> Result<Answer, ReplyError> {
    let body = reply.body.as_str();
    if body.len() > MAX_REPLY_BYTES {
        return Err(ReplyError::TooBig { got: body.len(), limit: MAX_REPLY_BYTES });
    }
    if !(200..300).contains(&reply.status) {
        return Err(ReplyError::Status { status: reply.status, message: message_of(body) });
    }
    let completion: Completion = serde_json::from_str(body).map_err(|error| {
        // Some proxies send their errors with status 200.
        let why = match error_text(body) {
            Some(text) => text,
            None => shown(&error.to_string()),
        };
        ReplyError::NoCompletion { why }
    })?;
    let Some(choice) = completion.choices.into_iter().next() else {
        return Err(ReplyError::NoCompletion { why: "`choices` is empty".to_owned() });
    };
    if let Some(refusal) = choice.message.refusal.filter(|text| !text.is_empty()) {
        return Err(ReplyError::Refused { message: shown(&refusal) });
    }
    match choice.finish_reason.as_deref() {
        Some("length") => return Err(ReplyError::CutOff),
        Some("content_filter") => {
            let message = "the endpoint's filter stopped the answer".to_owned();
            return Err(ReplyError::Refused { message });
        }
        _ => {}
    }
    let content = choice.message.content.unwrap_or_default();
    let lists = lists(&content)?;
    let usage = counted(completion.usage.unwrap_or_default());
    Ok(Answer { normal: lists.normal, anomalous: lists.anomalous, usage })
}

/// The tokens that a reply was charged for, whatever else is in it.
pub fn usage(reply: &Reply) -> Usage {
    #[derive(Deserialize)]
    struct Counted {
        usage: Option<RawUsage>,
    }
    let read = |body: &str| serde_json::from_str::<Counted>(body).ok()?.usage;
    let body = Some(reply.body.as_str()).filter(|body| body.len() <= MAX_REPLY_BYTES);
    counted(body.and_then(read).unwrap_or_default())
}

fn counted(raw: RawUsage) -> Usage {
    Usage {
        n_requests: 1,
        prompt_tokens: raw.prompt_tokens.min(MOST_TOKENS),
        completion_tokens: raw.completion_tokens.min(MOST_TOKENS),
    }
}

fn lists(content: &str) -> Result<Lists, ReplyError> {
    let refuse = |why: String| {
        Err(ReplyError::NotAsAsked { why: shown(&why), start: shown(content.trim_start()) })
    };
    let lists: Lists = match serde_json::from_str(unfenced(content)) {
        Ok(lists) => lists,
        Err(error) => return refuse(error.to_string()),
    };
    // A model may overshoot, but not by any amount.
    let most = MAX_COUNT as usize * 2;
    if lists.normal.len() > most || lists.anomalous.len() > most {
        return refuse(format!("a list of more than {most} sentences"));
    }
    Ok(lists)
}

/// JSON without what endpoints that know no schema put around it: the model's thoughts before it, a
/// Markdown fence.
fn unfenced(content: &str) -> &str {
    let content = content.trim();
    let thought = content.strip_prefix("<think>").and_then(|rest| rest.split_once("</think>"));
    let content = thought.map_or(content, |(_, answer)| answer.trim());
    let Some(inner) = content.strip_prefix("```").and_then(|rest| rest.strip_suffix("```")) else {
        return content;
    };
    inner.strip_prefix("json").unwrap_or(inner).trim()
}

/// What an error's body says, in whatever form.
fn message_of(body: &str) -> String {
    match error_text(body) {
        Some(text) => text,
        None if body.trim().is_empty() => "no message".to_owned(),
        None => shown(body.trim()),
    }
}

fn error_text(body: &str) -> Option<String> {
    let value: Value = serde_json::from_str(body).ok()?;
    let error = value.get("error").unwrap_or(&value);
    let text = error.get("message").or_else(|| value.get("detail")).unwrap_or(error);
    text.as_str().map(shown)
}
