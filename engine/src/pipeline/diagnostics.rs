//! What is wrong with a file: collected all at once, then shown with line, column, caret and hint.

use std::collections::HashSet;

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};

use super::tree::At;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    Error,
    Warning,
}

/// One mistake.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Diagnostic {
    pub severity: Severity,
    pub message: String,
    /// `None` where the mistake has no place, as a file that cannot be read.
    pub at: Option<At>,
    /// Stands at the carets.
    pub label: String,
    /// Other places that explain it.
    pub related: Vec<(At, String)>,
    pub hint: Option<String>,
    pub notes: Vec<String>,
}

impl Diagnostic {
    pub fn error(at: At, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            message: message.into(),
            at: Some(at),
            label: String::new(),
            related: Vec::new(),
            hint: None,
            notes: Vec::new(),
        }
    }

    pub fn warning(at: At, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(at, message) }
    }

    /// An error without a place.
    pub fn placeless(message: impl Into<String>) -> Self {
        let nowhere = At { source: 0, start: 0, end: 0 };
        Self { at: None, ..Self::error(nowhere, message) }
    }

    pub fn label(self, label: impl Into<String>) -> Self {
        Self { label: label.into(), ..self }
    }

    pub fn related(mut self, at: At, label: impl Into<String>) -> Self {
        self.related.push((at, label.into()));
        self
    }

    pub fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    /// "did you mean", if some candidate is near.
    pub fn near<'a>(self, word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Self {
        match nearest(word, candidates) {
            Some(found) => self.hint(format!("did you mean `{found}`?")),
            None => self,
        }
    }

    pub fn note(mut self, note: impl Into<String>) -> Self {
        self.notes.push(note.into());
        self
    }
}

/// A text that places point into: a file, or one changed key with its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    pub name: String,
    pub text: String,
    /// It is one line, which has no number.
    pub is_change: bool,
}

/// All that was found, with the texts it points into.
#[derive(Clone, Debug, Default)]
pub struct Report {
    pub sources: Vec<Source>,
    pub list: Vec<Diagnostic>,
    /// Texts that lack a variable: that they name no file as they are is no second mistake.
    pub unset: Vec<At>,
}

impl Report {
    pub fn push(&mut self, diagnostic: Diagnostic) {
        self.list.push(diagnostic);
    }

    pub fn has_errors(&self) -> bool {
        self.count(Severity::Error) > 0
    }

    pub fn count(&self, severity: Severity) -> usize {
        self.list.iter().filter(|found| found.severity == severity).count()
    }

    /// Leaves out what follows, from the `n_before`-th diagnostic on, from a variable that is not set.
    pub fn drop_echoes(&mut self, n_before: usize) {
        let Report { list, unset, .. } = self;
        let mut nth = 0;
        list.retain(|found| {
            nth += 1;
            nth <= n_before || !found.at.is_some_and(|at| unset.contains(&at))
        });
    }

    /// By place, each once. The first source is the file that was asked for.
    pub fn settle(&mut self) {
        let mut seen = HashSet::new();
        self.list.retain(|found| seen.insert(found.clone()));
        self.list.sort_by_key(|found| found.at);
    }

    /// `fade.toml:12:8`, or the source's name alone.
    pub fn place(&self, at: At) -> String {
        match self.sources.get(at.source) {
            None => String::new(),
            Some(source) if source.is_change => source.name.clone(),
            Some(source) => format!("{}:{}", source.name, line_of(&source.text, at.start)),
        }
    }

    /// rustc-style text, one block a mistake and a closing count; colour only if asked.
    pub fn render(&self, colour: bool) -> String {
        let renderer = if colour { Renderer::styled() } else { Renderer::plain() };
        let mut text = String::new();
        for found in &self.list {
            text.push_str(&renderer.render(&[self.group(found)]));
            text.push_str("\n\n");
        }
        text.push_str(&self.summary());
        text
    }

    /// The first error on one line, with its place, and how many more there are; empty if there is
    /// none.
    pub fn in_short(&self) -> String {
        let mut errors = self.list.iter().filter(|found| found.severity == Severity::Error);
        let Some(first) = errors.next() else { return String::new() };
        let mut text = match first.at.map(|at| self.place(at)) {
            Some(place) if !place.is_empty() => format!("{place}: {}", first.message),
            _ => first.message.clone(),
        };
        if !first.label.is_empty() {
            text.push_str(&format!(" ({})", first.label));
        }
        match errors.count() {
            0 => {}
            1 => text.push_str("; and 1 more mistake"),
            n => text.push_str(&format!("; and {n} more mistakes")),
        }
        text
    }

    /// `2 errors, 1 warning`; empty if there is nothing.
    pub fn summary(&self) -> String {
        let words = [(Severity::Error, "error"), (Severity::Warning, "warning")];
        let counts: Vec<String> = words
            .iter()
            .map(|&(severity, word)| (self.count(severity), word))
            .filter(|&(count, _)| count > 0)
            .map(|(count, word)| format!("{count} {word}{}", if count == 1 { "" } else { "s" }))
            .collect();
        if counts.is_empty() { String::new() } else { format!("{}\n", counts.join(", ")) }
    }

    fn group<'a>(&'a self, found: &'a Diagnostic) -> Group<'a> {
        let level = match found.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let mut group = Group::with_title(level.primary_title(found.message.as_str()));
        for snippet in self.snippets(found) {
            group = group.element(snippet);
        }
        if let Some(hint) = &found.hint {
            group = group.element(Level::HELP.message(hint.as_str()));
        }
        for note in &found.notes {
            group = group.element(Level::NOTE.message(note.as_str()));
        }
        group
    }

    /// One snippet per source, the source of the mistake first.
    fn snippets<'a>(
        &'a self,
        found: &'a Diagnostic,
    ) -> Vec<Snippet<'a, annotate_snippets::Annotation<'a>>> {
        let Some(at) = found.at else { return Vec::new() };
        let mut order = vec![at.source];
        for (other, _) in &found.related {
            if !order.contains(&other.source) {
                order.push(other.source);
            }
        }
        let mut snippets = Vec::new();
        for idx in order {
            let Some(source) = self.sources.get(idx) else { continue };
            let mut snippet = Snippet::source(source.text.as_str()).path(source.name.as_str());
            if idx == at.source {
                let span = span_within(at, &source.text);
                snippet = snippet.annotation(mark(AnnotationKind::Primary, span, &found.label));
            }
            for (other, label) in found.related.iter().filter(|(other, _)| other.source == idx) {
                let span = span_within(*other, &source.text);
                snippet = snippet.annotation(mark(AnnotationKind::Context, span, label));
            }
            snippets.push(snippet);
        }
        snippets
    }
}

/// A kind of stage in a sentence: `an encoder`, `a scorer`.
pub fn with_article(kind: &str) -> String {
    if kind == "encoder" { format!("an {kind}") } else { format!("a {kind}") }
}

/// The candidate nearest to `word`, if near enough to be a slip of the hand.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_lowercase();
    let n_chars = word.chars().count();
    let limit = (n_chars / 3).max(1);
    candidates
        .into_iter()
        .map(|name| (strsim::damerau_levenshtein(&word, &name.to_lowercase()), name))
        // A beginning counts as near: `mvtec` for `mvtec-ad`.
        .filter(|(distance, name)| {
            *distance <= limit || (n_chars >= 3 && name.to_lowercase().starts_with(&word))
        })
        .min_by_key(|&(distance, _)| distance)
        .map(|(_, name)| name)
}

/// `` `a`, `b`, `c` ``
pub fn listed<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let quoted: Vec<String> = names.into_iter().map(|name| format!("`{name}`")).collect();
    quoted.join(", ")
}

/// Line number, from 1.
pub fn line_of(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|&byte| byte == b'\n').count() + 1
}

fn mark<'a>(
    kind: AnnotationKind,
    span: std::ops::Range<usize>,
    label: &'a str,
) -> annotate_snippets::Annotation<'a> {
    let annotation = kind.span(span);
    if label.is_empty() { annotation } else { annotation.label(label) }
}

/// A span that lies in the text, on character borders.
fn span_within(at: At, text: &str) -> std::ops::Range<usize> {
    let floor = |mut offset: usize| {
        offset = offset.min(text.len());
        while !text.is_char_boundary(offset) {
            offset -= 1;
        }
        offset
    };
    let start = floor(at.start);
    start..floor(at.end).max(start)
}
