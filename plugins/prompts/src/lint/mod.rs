//! What is questionable about sentences: pure functions from texts to findings. CLIP-LMFA's lists
//! were found to hold praise among the faults, one file's nineteenth part; this is the check that
//! would have said so.

mod lexicon;

use std::collections::BTreeMap;
use std::fmt;

use crate::words::{NAME, key, stray_brace, tidy, tokens, unseen};

/// What sentences are held to.
#[derive(Clone, Copy, Debug)]
pub struct Rules<'a> {
    /// Names of the class: alone they show nothing.
    pub names: &'a [&'a str],
    /// Tokens that the text encoder reads, markers included: 77 in CLIP.
    pub context: usize,
    /// What sentences will be put into.
    pub wrap: Option<&'a str>,
}

impl Default for Rules<'_> {
    fn default() -> Self {
        Rules { names: &[], context: 77, wrap: None }
    }
}

/// What is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A character that nobody sees.
    Unseen,
    /// A brace that is no `{}`.
    Placeholder,
    /// Longer than the encoder's context, by estimate.
    TooLong,
    /// The same sentence is normal and anomalous.
    LabelConflict,
    /// An anomalous sentence that praises, or says that nothing is wrong.
    Praise,
    /// A normal sentence that names a fault and does not deny it.
    Fault,
    /// The same sentence again under its label; it weighs double.
    Duplicate,
    /// Nothing that a camera could see.
    NothingToSee,
    /// Blanks at the ends, or several in a row.
    Blanks,
}

impl Kind {
    /// Whether the sentence does harm; the other findings are a matter of taste.
    pub fn is_error(self) -> bool {
        matches!(
            self,
            Kind::Unseen
                | Kind::Placeholder
                | Kind::TooLong
                | Kind::LabelConflict
                | Kind::Praise
                | Kind::Fault
        )
    }

    /// The kind's name in output that programs read.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Unseen => "unseen-character",
            Kind::Placeholder => "placeholder",
            Kind::TooLong => "too-long",
            Kind::LabelConflict => "label-conflict",
            Kind::Praise => "praise-among-faults",
            Kind::Fault => "fault-among-normal",
            Kind::Duplicate => "duplicate",
            Kind::NothingToSee => "nothing-to-see",
            Kind::Blanks => "blanks",
        }
    }
}

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    pub kind: Kind,
    pub anomalous: bool,
    /// Index of the sentence among those of its label.
    pub sentence_idx: usize,
    /// What was found, to be read after the sentence.
    pub why: String,
}

/// `anomalous 3: praise-among-faults: ..`, counted from 1.
impl fmt::Display for Finding {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let label = if self.anomalous { "anomalous" } else { "normal" };
        write!(out, "{label} {}: {}: {}", self.sentence_idx + 1, self.kind.name(), self.why)
    }
}

/// Findings about the sentences of one entry or file, normal ones first, in order.
pub fn lint(normal: &[String], anomalous: &[String], rules: &Rules) -> Vec<Finding> {
    let mut findings = Vec::new();
    let firsts = |texts: &[String]| {
        let mut firsts = BTreeMap::new();
        for (sentence_idx, text) in texts.iter().enumerate() {
            firsts.entry(key(text)).or_insert(sentence_idx);
        }
        firsts
    };
    let firsts = [firsts(normal), firsts(anomalous)];
    for (label_idx, texts) in [normal, anomalous].into_iter().enumerate() {
        let is_anomalous = label_idx == 1;
        for (sentence_idx, text) in texts.iter().enumerate() {
            let mut add = |kind, why: String| {
                findings.push(Finding { kind, anomalous: is_anomalous, sentence_idx, why });
            };
            one(text, is_anomalous, rules, &mut add);
            let key = key(text);
            match firsts[label_idx].get(&key) {
                Some(first) if *first < sentence_idx => {
                    add(Kind::Duplicate, format!("stands there already, as number {}", first + 1));
                }
                _ => {}
            }
            if let Some(other) = firsts[1 - label_idx].get(&key).filter(|_| is_anomalous) {
                add(Kind::LabelConflict, format!("is normal sentence {} as well", other + 1));
            }
        }
    }
    findings
}

/// Findings about one sentence by itself.
fn one(text: &str, anomalous: bool, rules: &Rules, add: &mut impl FnMut(Kind, String)) {
    if let Some(c) = unseen(text) {
        add(Kind::Unseen, format!("holds U+{:04X}, which nobody sees", c as u32));
    }
    if let Some(brace) = stray_brace(text) {
        add(Kind::Placeholder, format!("holds `{brace}`; the name is written `{{}}`"));
    }
    let name = rules.names.iter().max_by_key(|name| tokens(name)).copied().unwrap_or("object");
    let written = text.replace(NAME, name);
    let written = rules.wrap.map_or(written.clone(), |wrap| wrap.replace(NAME, &written));
    let n_tokens = tokens(&written);
    if n_tokens > rules.context {
        let context = rules.context;
        add(Kind::TooLong, format!("has about {n_tokens} tokens, but {context} are read"));
    }
    if tidy(text) != text {
        add(Kind::Blanks, "has blanks at its ends, or several in a row".to_owned());
    }
    if let Some(word) = if anomalous { lexicon::praise(text) } else { None } {
        add(Kind::Praise, format!("says `{word}` of something faulty"));
    }
    if let Some(word) = if anomalous { None } else { lexicon::fault(text) } {
        add(Kind::Fault, format!("says `{word}` of something sound"));
    }
    if !lexicon::shows_something(text, rules.names) {
        add(Kind::NothingToSee, "names nothing that a camera sees".to_owned());
    }
}

/// Why a sentence by itself is not worth keeping, for those that a model wrote.
pub fn sentence(text: &str, anomalous: bool, rules: &Rules) -> Option<&'static str> {
    let mut found = None;
    one(text, anomalous, rules, &mut |kind, _| {
        found.get_or_insert(match kind {
            Kind::Unseen => "holds a character that nobody sees",
            Kind::Placeholder => "holds a brace",
            Kind::TooLong => "is too long for CLIP",
            Kind::Praise => "praises what it calls faulty",
            Kind::Fault => "names a fault of something sound",
            Kind::NothingToSee => "names nothing that a camera sees",
            Kind::Blanks | Kind::Duplicate | Kind::LabelConflict => "is not tidy",
        });
    });
    found
}

#[cfg(test)]
mod tests;
