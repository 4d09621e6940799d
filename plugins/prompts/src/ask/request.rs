//! The requests of one class: chat completions in OpenAI's form, with a JSON schema for the answer.

use serde_json::{Value, json};
use thiserror::Error;

use super::Template;
use crate::cache::Asked;
use crate::limits::{MAX_COUNT, MAX_NAME_BYTES};
use crate::words::{shown, tidy, unseen};

/// Sentences of each label that one request asks for: few enough that an answer is not cut off.
const PER_REQUEST: u32 = 32;

/// What a pipeline wants asked; with a class it decides every byte of the requests.
#[derive(Clone, Debug, PartialEq)]
pub struct Brief {
    /// The model's name at its endpoint.
    pub model: String,
    pub template: String,
    pub temperature: Option<f64>,
    pub seed: Option<u64>,
    /// Sentences of each label.
    pub count: u32,
}

/// One HTTP request: a POST of `body`, as JSON, to `path` below the endpoint's base address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    pub path: &'static str,
    pub body: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum BriefError {
    #[error("there is no template `{got}`; templates: {known}")]
    Template { got: String, known: String },
    #[error("`{key}` wants {want}, got {got}")]
    Setting { key: &'static str, want: String, got: String },
}

impl Brief {
    /// The settings as an entry keeps them.
    pub fn asked(&self) -> Asked {
        Asked { count: self.count, temperature: self.temperature, seed: self.seed }
    }

    /// Errors: `Setting`.
    pub fn judge(&self) -> Result<(), BriefError> {
        let wrong = |key, want: &str, got: String| {
            Err(BriefError::Setting { key, want: want.to_owned(), got })
        };
        if !(1..=MAX_COUNT).contains(&self.count) {
            return wrong("count", &format!("1 to {MAX_COUNT}"), self.count.to_string());
        }
        if let Some(got) = self.temperature.filter(|t| !(0.0..=2.0).contains(t)) {
            return wrong("temperature", "0 to 2", got.to_string());
        }
        if let Some(got) = self.seed.filter(|seed| *seed > i64::MAX as u64) {
            return wrong("seed", "a number below 2^63", got.to_string());
        }
        name("model", &self.model)
    }
}

fn name(key: &'static str, name: &str) -> Result<(), BriefError> {
    if name.trim().is_empty() || name.len() > MAX_NAME_BYTES || unseen(name).is_some() {
        let want = format!("a name of at most {MAX_NAME_BYTES} visible characters");
        return Err(BriefError::Setting { key, want, got: format!("`{}`", shown(name)) });
    }
    Ok(())
}

/// The requests about a class, in order: one for every 32 sentences of each label.
/// Bodies are in one form, keys sorted, so that the same wishes make the same bytes everywhere.
/// Errors: `BriefError`.
pub fn requests(brief: &Brief, class: &str, synonyms: &[&str]) -> Result<Vec<Request>, BriefError> {
    brief.judge()?;
    let template = Template::named(&brief.template)?;
    for one in std::iter::once(&class).chain(synonyms) {
        name("class", one)?;
    }
    let n_requests = brief.count.div_ceil(PER_REQUEST);
    let names = names(class, synonyms);
    let one = |i: u32| {
        // Parts differ by at most one sentence.
        let count = (brief.count + i) / n_requests;
        let part = match n_requests {
            1 => String::new(),
            _ => format!(
                " This is part {} of {n_requests}: show other things than the other parts would.",
                i + 1
            ),
        };
        let task = template.fill(&names, count, &part);
        let mut body = json!({
            "model": brief.model,
            "messages": [
                {"role": "system", "content": template.role},
                {"role": "user", "content": task},
            ],
            "response_format": {"type": "json_schema", "json_schema": {
                "name": "sentences", "strict": true, "schema": schema(),
            }},
        });
        if let Some(temperature) = brief.temperature {
            body["temperature"] = temperature.into();
        }
        if let Some(seed) = brief.seed {
            body["seed"] = seed.saturating_add(i.into()).min(i64::MAX as u64).into();
        }
        Request { path: "chat/completions", body: canonical(&body) }
    };
    Ok((0..n_requests).map(one).collect())
}

/// Digest of requests: what an entry's `request` holds.
pub fn digest(requests: &[Request]) -> String {
    let mut hasher = blake3::Hasher::new();
    for request in requests {
        // The length keeps two requests apart from one that is their sum.
        hasher.update(&(request.body.len() as u64).to_le_bytes());
        hasher.update(request.body.as_bytes());
    }
    format!("blake3:{}", hasher.finalize().to_hex())
}

fn names(class: &str, synonyms: &[&str]) -> String {
    let class = tidy(&class.replace('_', " "));
    match synonyms {
        [] => class,
        _ => {
            let others: Vec<String> =
                synonyms.iter().map(|name| tidy(&name.replace('_', " "))).collect();
            format!("{class} (also called {})", others.join(", "))
        }
    }
}

fn schema() -> Value {
    let list = json!({"type": "array", "items": {"type": "string"}});
    json!({
        "type": "object",
        "properties": {"normal": list, "anomalous": list},
        "required": ["normal", "anomalous"],
        "additionalProperties": false,
    })
}

/// JSON with sorted keys and no blanks, whatever features `serde_json` was built with.
fn canonical(value: &Value) -> String {
    match value {
        Value::Object(object) => {
            let mut pairs: Vec<(&String, &Value)> = object.iter().collect();
            pairs.sort_by_key(|(key, _)| *key);
            let pair = |(key, value): (&String, &Value)| {
                format!("{}:{}", Value::from(key.as_str()), canonical(value))
            };
            format!("{{{}}}", pairs.into_iter().map(pair).collect::<Vec<_>>().join(","))
        }
        Value::Array(items) => {
            format!("[{}]", items.iter().map(canonical).collect::<Vec<_>>().join(","))
        }
        other => other.to_string(),
    }
}
