//! From files to one tree: `extends`, then `--set`, then `${VAR}`.

use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};

use super::diagnostics::{Diagnostic, Report, Source, listed};
use super::stages::KIND_KEYS;
use super::tree::{self, At, Entry, Node, Table, Value, join};

/// The number that `loupe = ` must hold.
pub const LANGUAGE: i64 = 1;

/// A file is allowed so many ancestors.
const MAX_DEPTH: usize = 16;

/// The merged tree, and where relative paths of each source start.
#[derive(Debug)]
pub struct Loaded {
    pub root: Table,
    /// The file asked for, then those it extends, nearest first.
    pub files: Vec<PathBuf>,
    /// Per source.
    pub folders: Vec<PathBuf>,
}

/// A key that gets another value than its file gives it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    pub key: String,
    /// TOML, or else a string.
    pub value: String,
    /// Who says so, for messages: `--set`, or the file that does.
    pub by: String,
}

/// Looks up an environment variable.
pub type Env<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Reads `path` (or takes `text` for it) and everything it extends. `None` if nothing sensible can
/// be said about the content: the report says why.
pub fn load(
    path: &Path,
    text: Option<&str>,
    sets: &[Change],
    env: Env<'_>,
    report: &mut Report,
) -> Option<Loaded> {
    let mut loader =
        Loader { env, report, files: Vec::new(), folders: Vec::new(), chain: Vec::new() };
    let root = loader.file(path, text, None);
    let Loader { files, folders, .. } = loader;
    let mut loaded = Loaded { root: root?, files, folders };
    for change in sets {
        set(&mut loaded, change, report);
    }
    let mut root =
        Node { at: At { source: 0, start: 0, end: 0 }, value: Value::Table(loaded.root) };
    interpolate(&mut root, env, report);
    let Value::Table(root) = root.value else { return None };
    Some(Loaded { root, ..loaded })
}

/// Shots and seed as a pipeline says them, whatever else is wrong with it; 0 for what it does not
/// say.
pub fn shots_and_seed(path: &Path, sets: &[Change]) -> (usize, u64) {
    let env = |_: &str| Some(String::new());
    let loaded = load(path, None, sets, &env, &mut Report::default());
    let below = |node: Option<&Node>, key: &str| -> Option<Node> {
        Some(node?.as_table()?.get(key)?.node.clone())
    };
    let data = loaded.and_then(|loaded| Some(loaded.root.get("data")?.node.clone()));
    let references = below(data.as_ref(), "references");
    let number = |key: &str| match below(references.as_ref(), key).map(|node| node.value) {
        Some(Value::Integer(number)) => u64::try_from(number).unwrap_or(0),
        _ => 0,
    };
    (number("shots") as usize, number("seed"))
}

struct Loader<'a> {
    env: Env<'a>,
    report: &'a mut Report,
    files: Vec<PathBuf>,
    folders: Vec<PathBuf>,
    /// Canonical paths of the files being read, to see a cycle.
    chain: Vec<PathBuf>,
}

impl Loader<'_> {
    fn file(&mut self, path: &Path, text: Option<&str>, from: Option<At>) -> Option<Table> {
        let canonical = path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
        if self.chain.contains(&canonical) || self.chain.len() >= MAX_DEPTH {
            self.report.push(self.cycle(path, from));
            return None;
        }
        let text = match text.map(str::to_string).map_or_else(|| read(path), Ok) {
            Ok(text) => text,
            Err(why) => {
                let message = format!("cannot read `{}`: {why}", path.display());
                self.report.push(match from {
                    Some(at) => Diagnostic::error(at, message),
                    None => Diagnostic::placeless(message),
                });
                return None;
            }
        };
        let source = self.report.sources.len();
        self.report.sources.push(Source {
            name: path.display().to_string(),
            text: text.clone(),
            is_change: false,
        });
        self.folders.push(path.parent().unwrap_or(Path::new("")).to_path_buf());
        self.files.push(path.to_path_buf());
        let mut table = parse(&text, source, self.report)?;
        version(&table, source, self.report)?;
        let Some(place) = table.entries.iter().position(|entry| entry.key == "extends") else {
            return Some(table);
        };
        let mut extends = table.entries.remove(place).node;
        let n_before = self.report.list.len();
        interpolate(&mut extends, self.env, self.report);
        if self.report.list.len() > n_before {
            return None;
        }
        let Some(base) = extends.as_str() else {
            let message = "`extends` wants the path of one pipeline file";
            self.report.push(Diagnostic::error(extends.at, message).label(extends.describe()));
            return None;
        };
        let base = path.parent().unwrap_or(Path::new("")).join(base);
        self.chain.push(canonical);
        let below = self.file(&base, None, Some(extends.at));
        self.chain.pop();
        let mut merged = below?;
        merged.merge(table, "", &changes_kind);
        Some(merged)
    }

    fn cycle(&self, path: &Path, from: Option<At>) -> Diagnostic {
        let mut names: Vec<String> = self.files.iter().map(|p| p.display().to_string()).collect();
        names.push(path.display().to_string());
        let message = format!("`extends` runs in a circle: {}", listed_path(&names));
        match from {
            Some(at) => Diagnostic::error(at, message).label("extended again"),
            None => Diagnostic::placeless(message),
        }
    }
}

/// `` `a` -> `b` ``
pub fn listed_path(names: &[String]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    quoted.join(" -> ")
}

fn read(path: &Path) -> Result<String, String> {
    let bytes = crate::files::read_text(path).map_err(|error| error.to_string())?;
    String::from_utf8(bytes).map_err(|_| "it is not UTF-8 text".to_string())
}

/// A stage that becomes one of another kind keeps none of its old keys.
fn changes_kind(path: &str, below: &Table, above: &Table) -> bool {
    path.split_once('.').is_some_and(|(first, rest)| first == "stages" && !rest.contains('.'))
        && above
            .entries
            .iter()
            .any(|entry| KIND_KEYS.contains(&entry.key.as_str()) && below.get(&entry.key).is_none())
}

fn parse(text: &str, source: usize, report: &mut Report) -> Option<Table> {
    let (table, errors) = DeTable::parse_recoverable(text);
    // What follows a first mistake of syntax is mostly its echo.
    if let Some(error) = errors.first() {
        let span = error.span().unwrap_or(0..0);
        let at = At { source, start: span.start, end: span.end };
        let found = Diagnostic::error(at, format!("not TOML: {}", error.message()));
        report.push(match error.message().contains("inline table") {
            true => found.hint("the table in braces before it may lack its `}`"),
            false => found,
        });
    }
    errors.is_empty().then(|| tree::from_table(table.get_ref(), source, 0))
}

/// `loupe = 1` comes first, so that a reader of another version can stop there.
fn version(table: &Table, source: usize, report: &mut Report) -> Option<()> {
    let start = At { source, start: 0, end: 0 };
    let Some(entry) = table.get("loupe") else {
        let found =
            Diagnostic::error(start, "the file does not say which language it is written in")
                .hint(format!("begin it with `loupe = {LANGUAGE}`"));
        report.push(found);
        return None;
    };
    match entry.node.value {
        Value::Integer(LANGUAGE) => {}
        _ => {
            let message = format!("this is language {}", entry.node.describe());
            let found = Diagnostic::error(entry.node.at, message)
                .label(format!("this version of loupe understands `loupe = {LANGUAGE}`"));
            report.push(found);
            return None;
        }
    }
    if table.entries.first().is_some_and(|first| first.key != "loupe") {
        let message = format!("`loupe = {LANGUAGE}` must be the first key of the file");
        report.push(Diagnostic::error(entry.key_at, message));
    }
    Some(())
}

/// Puts one `a.b.c=value` into the tree.
fn set(loaded: &mut Loaded, change: &Change, report: &mut Report) {
    let Change { key, value, by } = change;
    let source = report.sources.len();
    let text = format!("{key}={value}");
    report.sources.push(Source { name: by.clone(), text, is_change: true });
    loaded.folders.push(PathBuf::new());
    let offset = key.len() + 1;
    let whole = At { source, start: offset, end: offset + value.len() };
    let mut node = match DeValue::parse(value) {
        Ok(parsed) => tree::from_value(&parsed, source, offset),
        Err(_) => Node { at: whole, value: Value::String(value.clone()) },
    };
    node.at = whole;
    let parts: Vec<&str> = key.split('.').collect();
    if parts.iter().any(|part| part.is_empty()) {
        let at = At { source, start: 0, end: key.len() };
        report.push(Diagnostic::error(at, format!("`{key}` is no path of keys")));
        return;
    }
    if let Err(found) = put(&mut loaded.root, "", &parts, node, (source, 0)) {
        report.push(found);
    }
}

fn put(
    table: &mut Table,
    path: &str,
    parts: &[&str],
    node: Node,
    (source, start): (usize, usize),
) -> Result<(), Diagnostic> {
    let Some((first, rest)) = parts.split_first() else { return Ok(()) };
    let key_at = At { source, start, end: start + first.len() };
    if path == "stages" && table.get(first).is_none() && !rest.is_empty() {
        let names: Vec<&str> = table.entries.iter().map(|entry| entry.key.as_str()).collect();
        let found = Diagnostic::error(key_at, format!("there is no stage `{first}`"));
        return Err(found
            .near(first, names.iter().copied())
            .note(format!("the stages are {}", listed(names.iter().copied()))));
    }
    if table.get(first).is_none() {
        let value = Value::Table(Table::default());
        let node = Node { at: key_at, value };
        table.entries.push(Entry { key: (*first).to_string(), key_at, node });
    }
    let Some(entry) = table.get_mut(first) else { return Ok(()) };
    if rest.is_empty() {
        entry.node = node;
        entry.key_at = key_at;
        return Ok(());
    }
    match &mut entry.node.value {
        Value::Table(below) => {
            put(below, &join(path, first), rest, node, (source, start + first.len() + 1))
        }
        _ => Err(Diagnostic::error(key_at, format!("`{}` holds no keys", join(path, first)))
            .label(entry.node.describe())),
    }
}

/// Replaces each `${NAME}`; `$${` stays a plain `${`.
fn interpolate(node: &mut Node, env: Env<'_>, report: &mut Report) {
    let Report { sources, list, unset: texts } = report;
    node.strings_mut(&mut |at, text| {
        if text.contains("${") {
            let (replaced, missing) = expand(text, env);
            texts.extend((!missing.is_empty()).then_some(at));
            list.extend(missing.iter().map(|name| unset(name, at, sources)));
            *text = replaced;
        }
    });
}

fn expand(text: &str, env: Env<'_>) -> (String, Vec<String>) {
    let mut done = String::new();
    let mut missing = Vec::new();
    let mut rest = text;
    while let Some(start) = rest.find("${") {
        let (before, after) = rest.split_at(start);
        if let Some(plain) = before.strip_suffix('$') {
            done.push_str(plain);
            done.push_str("${");
            rest = &after[2..];
            continue;
        }
        done.push_str(before);
        let Some(end) = after.find('}') else {
            missing.push(after[2..].to_string());
            return (done, missing);
        };
        let name = &after[2..end];
        match env(name) {
            Some(value) => done.push_str(&value),
            None => missing.push(name.to_string()),
        }
        rest = &after[end + 1..];
    }
    done.push_str(rest);
    (done, missing)
}

fn unset(name: &str, at: At, sources: &[Source]) -> Diagnostic {
    let named = format!("${{{name}}}");
    let inside = sources
        .get(at.source)
        .and_then(|source| source.text.get(at.start..at.end))
        .and_then(|text| text.find(&named));
    let at = match inside {
        Some(start) => At { start: at.start + start, end: at.start + start + named.len(), ..at },
        None => at,
    };
    let valid = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if name.is_empty() || !name.chars().all(valid) {
        return Diagnostic::error(at, "`${` wants the name of a variable and a `}`")
            .hint("write `$${` for the two characters themselves");
    }
    Diagnostic::error(at, format!("the environment variable `{name}` is not set"))
        .hint(format!("set it, as in `export {name}=/path/to/it`, or give the key by `--set`"))
}
