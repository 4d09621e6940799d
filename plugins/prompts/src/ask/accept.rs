//! From replies to an entry: what is of use is kept, and why something was dropped is said.

use std::collections::BTreeSet;

use thiserror::Error;

use super::{Answer, Brief, BriefError, Reply, ReplyError, digest, parse, requests};
use crate::cache::Entry;
use crate::lint::{self, Rules};
use crate::words::{key, shown, stray_brace, tidy, tokens, unseen};

/// Estimated tokens from which a sentence is dropped: with a wrapping around it CLIP would cut it.
const MAX_TOKENS: usize = 60;

/// A sentence that was not kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dropped {
    pub text: String,
    pub anomalous: bool,
    pub why: &'static str,
}

/// What replies came to.
#[derive(Clone, Debug, PartialEq)]
pub struct Accepted {
    pub entry: Entry,
    pub dropped: Vec<Dropped>,
}

#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum AcceptError {
    #[error(transparent)]
    Brief(#[from] BriefError),
    #[error("{n_replies} replies to {n_requests} requests")]
    Count { n_replies: usize, n_requests: usize },
    #[error("reply {}: {source}", reply_idx + 1)]
    Reply { reply_idx: usize, source: ReplyError },
    #[error("the replies leave no {label} sentence about `{class}`: {why}")]
    Nothing { class: String, label: &'static str, why: String },
}

/// The entry that replies to `requests(brief, class, synonyms)` make, one reply for each, in order.
/// Kept is, in order of arrival, at most `count` of each label: sentences that are clean, short,
/// show something, and stand nowhere else in the entry.
/// Errors: `AcceptError`.
pub fn accept(
    brief: &Brief,
    class: &str,
    synonyms: &[&str],
    replies: &[Reply],
) -> Result<Accepted, AcceptError> {
    let requests = requests(brief, class, synonyms)?;
    if replies.len() != requests.len() {
        let (n_replies, n_requests) = (replies.len(), requests.len());
        return Err(AcceptError::Count { n_replies, n_requests });
    }
    let mut all = Answer::default();
    for (reply_idx, reply) in replies.iter().enumerate() {
        let answer = parse(reply).map_err(|source| AcceptError::Reply { reply_idx, source })?;
        all.normal.extend(answer.normal);
        all.anomalous.extend(answer.anomalous);
        all.usage.n_requests += answer.usage.n_requests;
        all.usage.prompt_tokens =
            all.usage.prompt_tokens.saturating_add(answer.usage.prompt_tokens);
        let completed = answer.usage.completion_tokens;
        all.usage.completion_tokens = all.usage.completion_tokens.saturating_add(completed);
    }
    let (lists, dropped) = sift(brief, class, synonyms, &all);
    for (label_idx, label) in ["normal", "anomalous"].into_iter().enumerate() {
        if lists[label_idx].is_empty() {
            let own: Vec<&Dropped> =
                dropped.iter().filter(|drop| drop.anomalous == (label_idx == 1)).collect();
            let why = match own.first() {
                None => "none was given".to_owned(),
                Some(drop) => {
                    format!("{} were dropped, the first because it {}", own.len(), drop.why)
                }
            };
            return Err(AcceptError::Nothing { class: shown(class), label, why });
        }
    }
    let [normal, anomalous] = lists;
    let entry = Entry {
        class: class.to_owned(),
        model: brief.model.clone(),
        template: brief.template.clone(),
        request: Some(digest(&requests)),
        asked: Some(brief.asked()),
        usage: Some(all.usage),
        normal,
        anomalous,
        ..Entry::default()
    };
    Ok(Accepted { entry, dropped })
}

/// Sentences of both labels that stay, and those that do not.
fn sift(
    brief: &Brief,
    class: &str,
    synonyms: &[&str],
    all: &Answer,
) -> ([Vec<String>; 2], Vec<Dropped>) {
    let names: Vec<&str> = std::iter::once(class).chain(synonyms.iter().copied()).collect();
    let rules = Rules { names: &names, ..Rules::default() };
    let cleaned = [&all.normal, &all.anomalous]
        .map(|texts| texts.iter().map(|text| cleaned(text)).collect::<Vec<String>>());
    let keys = |texts: &[String]| texts.iter().map(|text| key(text)).collect::<BTreeSet<String>>();
    let (normal, anomalous) = (keys(&cleaned[0]), keys(&cleaned[1]));
    let mut seen = BTreeSet::new();
    let (mut kept, mut dropped) = ([Vec::new(), Vec::new()], Vec::new());
    for (label_idx, texts) in cleaned.into_iter().enumerate() {
        let is_anomalous = label_idx == 1;
        for text in texts {
            let key = key(&text);
            let why = unfit(&text).or_else(|| {
                if normal.contains(&key) && anomalous.contains(&key) {
                    Some("stands under both labels")
                } else if seen.contains(&key) {
                    Some("stands there already")
                } else if kept[label_idx].len() >= brief.count as usize {
                    Some("is more than was asked for")
                } else {
                    lint::sentence(&text, is_anomalous, &rules)
                }
            });
            match why {
                None => {
                    seen.insert(key);
                    kept[label_idx].push(text);
                }
                Some(why) => {
                    dropped.push(Dropped { text: shown(&text), anomalous: is_anomalous, why });
                }
            }
        }
    }
    (kept, dropped)
}

/// A sentence without the marks of a list around it.
fn cleaned(text: &str) -> String {
    if text.len() > crate::limits::MAX_SENTENCE_BYTES {
        return text.to_owned();
    }
    let mut text = tidy(text);
    let digits = text.chars().take_while(char::is_ascii_digit).count();
    if digits > 0 && digits < 4 {
        let rest = text.get(digits..).unwrap_or_default();
        if let Some(rest) = rest.strip_prefix(". ").or_else(|| rest.strip_prefix(") ")) {
            text = rest.to_owned();
        }
    }
    let text = text.trim_start_matches(['-', '*', '•', ' ']);
    let quotes = ['"', '“', '”', '\''];
    text.trim_matches(quotes).trim().to_owned()
}

/// What makes a sentence unfit for any cache.
fn unfit(text: &str) -> Option<&'static str> {
    if text.is_empty() {
        Some("is empty")
    } else if text.len() > crate::limits::MAX_SENTENCE_BYTES || tokens(text) > MAX_TOKENS {
        Some("is too long for CLIP")
    } else if unseen(text).is_some() {
        Some("holds a character that nobody sees")
    } else if stray_brace(text).is_some() || text.contains("{}") {
        Some("holds a brace")
    } else {
        None
    }
}
