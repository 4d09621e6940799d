//! Filling caches, job by job: what was paid for is on the disk before the next request is sent.

use std::fs::File;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value as Json, json};

use super::endpoint::Endpoint;
use super::job::{Job, Request, is_found};
use super::retry::{LONGEST, Patience};
use super::{PromptsError, Tool, read_cache};
use crate::files::{lock_alone, write_whole};
use crate::plugin::Loader;

/// Requests sent and what they took.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Counts {
    pub n_requests: u64,
    pub prompt_tokens: u64,
    pub completion_tokens: u64,
    /// In whatever the prices, or the endpoint, count in. `None`: neither says.
    pub cost: Option<f64>,
}

/// What became of a job.
#[derive(Debug)]
pub enum Outcome {
    /// The cache had it.
    There,
    /// Sentences that were kept, and those that were not: `text`, `label`, `why`.
    Filled { n_normal: u64, n_anomalous: u64, dropped: Vec<Json> },
    /// Why; `is_final` if the other jobs would fail in the same way.
    Failed { why: String, is_final: bool },
}

#[derive(Debug)]
pub struct Done {
    pub outcome: Outcome,
    pub counts: Counts,
}

/// Is told what happens while a job is worked on.
pub trait Watch {
    /// A request failed and is sent again after the pause.
    fn again(&self, job: &Job, why: &str, pause: Duration);
}

pub struct Filler<'a> {
    pub loader: &'a Loader,
    pub endpoint: &'a Endpoint,
    pub patience: Patience,
    /// Of a million prompt tokens and of a million completion tokens.
    pub prices: Option<[f64; 2]>,
    pub watch: &'a dyn Watch,
}

/// Why a job failed, and whether the others would too.
struct Failure {
    why: String,
    is_final: bool,
}

/// What goes wrong with files stays wrong.
impl From<PromptsError> for Failure {
    fn from(error: PromptsError) -> Failure {
        let is_final = !matches!(error, PromptsError::Refused { .. });
        Failure { why: error.to_string(), is_final }
    }
}

impl Filler<'_> {
    /// Asks for a job's sentences, unless they are there, and writes them into its cache.
    pub fn fill(&self, job: &Job) -> Done {
        let mut counts = Counts::default();
        let outcome = self.try_fill(job, &mut counts).unwrap_or_else(|failure| Outcome::Failed {
            why: failure.why,
            is_final: failure.is_final,
        });
        Done { outcome, counts }
    }

    fn try_fill(&self, job: &Job, counts: &mut Counts) -> Result<Outcome, Failure> {
        let tool = Tool::of(self.loader, &job.component).ok_or(PromptsError::NoTool)?;
        if is_found(&tool, job, &read_cache(&job.cache)?)? {
            return Ok(Outcome::There);
        }
        let mut replies = Vec::new();
        for request in &job.requests {
            replies.push(self.exchange(&tool, job, request, counts)?);
        }
        let file = job.cache.display().to_string();
        let accepted = update(&job.cache, |text| {
            tool.ask(&json!({
                "do": "accept", "file": file, "text": text, "job": job.wish, "replies": replies,
            }))
        })?;
        let kept = |label: &str| accepted["kept"][label].as_u64().unwrap_or(0);
        Ok(Outcome::Filled {
            n_normal: kept("normal"),
            n_anomalous: kept("anomalous"),
            dropped: accepted["dropped"].as_array().cloned().unwrap_or_default(),
        })
    }

    /// Sends one request until a reply is good, as long as patience lasts.
    fn exchange(
        &self,
        tool: &Tool<'_>,
        job: &Job,
        request: &Request,
        counts: &mut Counts,
    ) -> Result<Json, Failure> {
        let mut attempt = 0;
        loop {
            let failed = match self.try_once(tool, request, counts)? {
                Tried::Good(reply) => return Ok(reply),
                Tried::Failed(failed) => failed,
            };
            let is_last = attempt >= self.patience.retries;
            if is_last || !failed.is_passing {
                let tries = match attempt {
                    0 => String::new(),
                    more => format!(" ({} tries)", more + 1),
                };
                let why = format!("{}{tries}", failed.why);
                return Err(Failure { why, is_final: failed.is_final });
            }
            let pause = failed.pause.unwrap_or_else(|| self.patience.pause(attempt));
            if pause > LONGEST {
                let (seconds, most) = (pause.as_secs(), LONGEST.as_secs());
                let why = format!(
                    "{}; the endpoint asks to wait {seconds} s, and {most} s is the most; run \
                     again later",
                    failed.why
                );
                return Err(Failure { why, is_final: true });
            }
            self.watch.again(job, &failed.why, pause);
            std::thread::sleep(pause);
            attempt += 1;
        }
    }

    fn try_once(
        &self,
        tool: &Tool<'_>,
        request: &Request,
        counts: &mut Counts,
    ) -> Result<Tried, PromptsError> {
        counts.n_requests += 1;
        let received = match self.endpoint.send(request) {
            Ok(received) => received,
            Err(error) => {
                return Ok(Tried::Failed(Try {
                    why: error.message,
                    is_passing: error.is_passing,
                    is_final: error.is_unreachable,
                    pause: None,
                }));
            }
        };
        let reply = json!({"status": received.status, "body": received.body});
        let judged = tool.ask(&json!({"do": "judge", "reply": reply}))?;
        self.count(&judged["usage"], received.cost, counts);
        if judged["good"] == true {
            return Ok(Tried::Good(reply));
        }
        Ok(Tried::Failed(Try {
            why: judged["why"].as_str().unwrap_or("the reply is of no use").to_owned(),
            is_passing: judged["again"] == true,
            // A key that is refused is refused for every class.
            is_final: received.status == 401,
            pause: received.retry_after,
        }))
    }

    fn count(&self, usage: &Json, cost: Option<f64>, counts: &mut Counts) {
        let tokens = |key: &str| usage[key].as_u64().unwrap_or(0);
        let (prompt, completion) = (tokens("prompt_tokens"), tokens("completion_tokens"));
        counts.prompt_tokens = counts.prompt_tokens.saturating_add(prompt);
        counts.completion_tokens = counts.completion_tokens.saturating_add(completion);
        let by_price = self.prices.map(|[of_prompt, of_completion]| {
            (prompt as f64 * of_prompt + completion as f64 * of_completion) / 1e6
        });
        if let Some(cost) = by_price.or(cost) {
            *counts.cost.get_or_insert(0.0) += cost;
        }
    }
}

impl Counts {
    pub fn add(&mut self, other: &Counts) {
        self.n_requests += other.n_requests;
        self.prompt_tokens = self.prompt_tokens.saturating_add(other.prompt_tokens);
        self.completion_tokens = self.completion_tokens.saturating_add(other.completion_tokens);
        if let Some(cost) = other.cost {
            *self.cost.get_or_insert(0.0) += cost;
        }
    }
}

enum Tried {
    Good(Json),
    Failed(Try),
}

struct Try {
    why: String,
    is_passing: bool,
    is_final: bool,
    /// As the endpoint wants it.
    pause: Option<Duration>,
}

/// Replaces a cache by the `text` of an answer about what stands in it now. Nobody else writes
/// caches in its folder meanwhile, so that nothing is lost between reading and writing.
/// Errors: `Locked`, `Read`, `Write`, those of `change`.
pub fn update(
    cache: &Path,
    change: impl FnOnce(&str) -> Result<Json, PromptsError>,
) -> Result<Json, PromptsError> {
    // Through a link, the file itself is replaced.
    let cache = cache.canonicalize().unwrap_or_else(|_| cache.to_owned());
    let folder = cache.parent().unwrap_or(Path::new("."));
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let fail = |source| PromptsError::Read { path: folder.to_owned(), source };
    std::fs::create_dir_all(folder).map_err(fail)?;
    let lock = File::open(folder).map_err(fail)?;
    if !lock_alone(&lock).map_err(fail)? {
        return Err(PromptsError::Locked { folder: folder.to_owned() });
    }
    let answer = change(&read_cache(&cache)?)?;
    let text = answer["text"].as_str().unwrap_or_default();
    if text.is_empty() {
        let message = format!("nothing would be left in `{}`", cache.display());
        return Err(PromptsError::Refused { message });
    }
    write_whole(&cache, text.as_bytes())?;
    Ok(answer)
}
