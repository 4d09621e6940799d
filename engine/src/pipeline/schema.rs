//! Walks a JSON Schema over the spanned tree: checks, fills defaults, resolves files. The subset:
//! `type properties required additionalProperties enum const items minItems maxItems minimum
//! maximum exclusiveMinimum exclusiveMaximum anyOf default`, and `format = "loupe-file"` with
//! `x-names`.

use std::path::PathBuf;

use serde_json::{Map, Value as Json};

use super::diagnostics::{Diagnostic, listed};
use super::files::{AbsentFile, Names};
use super::tree::{At, Entry, Node, Value, join};

/// One walk. `owner` is how messages call the table: `` stage `clip` ``.
pub struct Walk<'a> {
    pub owner: String,
    /// Per source, where relative paths start.
    pub folders: &'a [PathBuf],
    pub names: Names<'a>,
    /// Value of the key `model` beside the walked ones: a file of that name is looked for first as
    /// `model/name`, since `openai` alone names a file of each architecture.
    pub model: Option<String>,
    pub found: Vec<Diagnostic>,
    /// Paths of the keys that name a file to open.
    pub files: Vec<String>,
    /// Files that are not there, which somebody may still make.
    pub absent: Vec<AbsentFile>,
}

impl<'a> Walk<'a> {
    pub fn new(owner: String, folders: &'a [PathBuf], names: Names<'a>) -> Self {
        let (found, files, absent) = (Vec::new(), Vec::new(), Vec::new());
        Self { owner, folders, names, model: None, found, files, absent }
    }

    /// Checks the keys of a table. `at` is where a missing key is complained about. `also` lists
    /// keys that belong to the table but were taken out before, for hints.
    pub fn table(
        &mut self,
        entries: &[&Entry],
        schema: &Json,
        at: At,
        path: &str,
        also: &[&str],
    ) -> Map<String, Json> {
        let empty = Map::new();
        let properties = schema["properties"].as_object().unwrap_or(&empty);
        let mut filled = Map::new();
        for entry in entries {
            let inner = join(path, &entry.key);
            match properties.get(&entry.key) {
                Some(schema) => {
                    if let Some(value) = self.value(&entry.node, schema, &inner) {
                        filled.insert(entry.key.clone(), value);
                    }
                }
                None if schema["additionalProperties"].is_object() => {
                    let schema = &schema["additionalProperties"];
                    if let Some(value) = self.value(&entry.node, schema, &inner) {
                        filled.insert(entry.key.clone(), value);
                    }
                }
                None if schema["additionalProperties"] == Json::Bool(true) => {
                    filled.insert(entry.key.clone(), entry.node.to_json());
                }
                None => self.unknown(entry, properties, path, also),
            }
        }
        let required = schema["required"].as_array().map(Vec::as_slice).unwrap_or_default();
        let given = |key: &str| entries.iter().any(|entry| entry.key == key);
        for key in required.iter().filter_map(Json::as_str).filter(|key| !given(key)) {
            let schema = properties.get(key).unwrap_or(&Json::Null);
            let message = format!("{} lacks the key `{}`", self.owner, join(path, key));
            let found = Diagnostic::error(at, message);
            self.found.push(found.note(format!("`{key}` wants {}", wanted(schema))));
        }
        for (key, schema) in properties.iter().filter(|(key, _)| !given(key)) {
            if let Some(default) = schema.get("default") {
                filled.insert(key.clone(), with_inner_defaults(default, schema));
            }
        }
        filled
    }

    fn unknown(&mut self, entry: &Entry, keys: &Map<String, Json>, path: &str, also: &[&str]) {
        let inside = if path.is_empty() { String::new() } else { format!(" in `{path}`") };
        let message = format!("{} has no key `{}`{inside}", self.owner, entry.key);
        let mut names: Vec<&str> =
            keys.keys().map(String::as_str).chain(also.iter().copied()).collect();
        names.sort_unstable();
        let mut found = Diagnostic::error(entry.key_at, message);
        found = found.near(&entry.key, names.iter().copied());
        let note = match names.is_empty() {
            true => "it takes no keys".to_string(),
            false => format!("its keys are {}", listed(names)),
        };
        self.found.push(found.note(note));
    }

    /// Checks one value. `None` after an error.
    pub fn value(&mut self, node: &Node, schema: &Json, path: &str) -> Option<Json> {
        if let Some(options) = schema["anyOf"].as_array() {
            return self.any_of(node, options, schema, path);
        }
        if let Value::Refused(why) = node.value {
            let message = format!("`{path}` of {} is {why}", self.owner);
            self.found.push(Diagnostic::error(node.at, message).label(wants(schema)));
            return None;
        }
        if !has_type(node, schema) {
            let message = format!(
                "`{path}` of {} wants {}, got {}",
                self.owner,
                wanted(schema),
                node.describe()
            );
            self.found.push(Diagnostic::error(node.at, message));
            return None;
        }
        if !self.is_listed(node, schema, path) {
            return None;
        }
        match &node.value {
            Value::Table(table) => {
                let before = self.found.len();
                let entries: Vec<&Entry> = table.entries.iter().collect();
                let filled = self.table(&entries, schema, node.at, path, &[]);
                (self.found.len() == before).then_some(Json::Object(filled))
            }
            Value::Array(items) => self.array(node, items, schema, path),
            Value::String(text) if schema["format"] == "loupe-file" => {
                self.file(node, text, schema, path)
            }
            Value::Integer(_) | Value::Float(_) => self.number(node, schema, path),
            _ => Some(node.to_json()),
        }
    }

    fn any_of(&mut self, node: &Node, options: &[Json], whole: &Json, path: &str) -> Option<Json> {
        let mut closest: Option<Vec<Diagnostic>> = None;
        for schema in options {
            let mut trial = Walk::new(self.owner.clone(), self.folders, self.names);
            trial.model.clone_from(&self.model);
            let value = trial.value(node, schema, path);
            if value.is_some() {
                self.files.append(&mut trial.files);
                self.absent.append(&mut trial.absent);
                self.found.append(&mut trial.found);
                return value;
            }
            let is_refused = matches!(node.value, Value::Refused(_));
            if closest.is_none() && (is_refused || has_type(node, schema)) {
                closest = Some(trial.found);
            }
        }
        match closest {
            Some(mut found) => self.found.append(&mut found),
            None => {
                let (owner, wanted) = (&self.owner, wanted(whole));
                let message =
                    format!("`{path}` of {owner} wants {wanted}, got {}", node.describe());
                self.found.push(Diagnostic::error(node.at, message));
            }
        }
        None
    }

    fn array(&mut self, node: &Node, items: &[Node], schema: &Json, path: &str) -> Option<Json> {
        let n_items = items.len() as u64;
        let too_few = schema["minItems"].as_u64().is_some_and(|min| n_items < min);
        let too_many = schema["maxItems"].as_u64().is_some_and(|max| n_items > max);
        if too_few || too_many {
            let (owner, wanted) = (&self.owner, wanted(schema));
            let message = format!("`{path}` of {owner} wants {wanted}, got {}", many(n_items));
            self.found.push(Diagnostic::error(node.at, message));
            return None;
        }
        let Some(inner) = schema.get("items") else { return Some(node.to_json()) };
        let mut whole = Some(Vec::new());
        for (item_idx, item) in items.iter().enumerate() {
            let value = self.value(item, inner, &format!("{path}.{item_idx}"));
            whole = whole.zip(value).map(|(mut values, value)| {
                values.push(value);
                values
            });
        }
        whole.map(Json::Array)
    }

    fn number(&mut self, node: &Node, schema: &Json, path: &str) -> Option<Json> {
        let number = node.to_json().as_f64()?;
        let bound = |key: &str| schema[key].as_f64();
        let outside = bound("minimum").is_some_and(|least| number < least)
            || bound("maximum").is_some_and(|most| number > most)
            || bound("exclusiveMinimum").is_some_and(|limit| number <= limit)
            || bound("exclusiveMaximum").is_some_and(|limit| number >= limit);
        if outside {
            let (owner, wanted) = (&self.owner, wanted(schema));
            let message = format!("`{path}` of {owner} wants {wanted}, got {}", node.describe());
            self.found.push(Diagnostic::error(node.at, message).label("out of range"));
            return None;
        }
        Some(node.to_json())
    }

    fn is_listed(&mut self, node: &Node, schema: &Json, path: &str) -> bool {
        let value = node.to_json();
        let allowed: Vec<&Json> = match (schema["enum"].as_array(), schema.get("const")) {
            (Some(values), _) => values.iter().collect(),
            (None, Some(value)) => vec![value],
            (None, None) => return true,
        };
        if allowed.contains(&&value) {
            return true;
        }
        let names: Vec<&str> = allowed.iter().filter_map(|value| value.as_str()).collect();
        let (owner, wanted) = (&self.owner, wanted(schema));
        let message = format!("`{path}` of {owner} wants {wanted}, got {}", node.describe());
        let found = Diagnostic::error(node.at, message);
        self.found.push(found.near(node.as_str().unwrap_or_default(), names));
        false
    }
}

/// What a schema wants, in words: `an integer from 1 to 5`.
pub fn wanted(schema: &Json) -> String {
    if let Some(options) = schema["anyOf"].as_array() {
        let words: Vec<String> = options.iter().map(wanted).collect();
        return words.join(" or ");
    }
    if let Some(values) = schema["enum"].as_array() {
        let words: Vec<String> = values.iter().map(quoted).collect();
        return if words.len() == 1 {
            words.concat()
        } else {
            format!("one of {}", words.join(", "))
        };
    }
    if let Some(value) = schema.get("const") {
        return quoted(value);
    }
    let words: Vec<String> = types(schema).iter().map(|name| of_type(name, schema)).collect();
    if words.is_empty() { "a value".to_string() } else { words.join(" or ") }
}

fn wants(schema: &Json) -> String {
    format!("wants {}", wanted(schema))
}

fn quoted(value: &Json) -> String {
    value.as_str().map_or_else(|| format!("`{value}`"), |text| format!("`{text}`"))
}

fn of_type(name: &str, schema: &Json) -> String {
    match name {
        "string" if schema["format"] == "loupe-file" => "the name or path of a file".to_string(),
        "string" => "a string".to_string(),
        "integer" => format!("an integer{}", range(schema)),
        "number" => format!("a number{}", range(schema)),
        "boolean" => "`true` or `false`".to_string(),
        "array" => list(schema),
        "object" => "a table".to_string(),
        other => other.to_string(),
    }
}

fn many(n: u64) -> String {
    if n == 1 { "1 item".to_string() } else { format!("{n} items") }
}

fn list(schema: &Json) -> String {
    let (least, most) = (schema["minItems"].as_u64(), schema["maxItems"].as_u64());
    let count = match (least, most) {
        (Some(least), Some(most)) if least == most => format!(" of {}", many(least)),
        (Some(least), Some(most)) => format!(" of {least} to {}", many(most)),
        (Some(least), None) => format!(" of at least {}", many(least)),
        (None, Some(most)) => format!(" of at most {}", many(most)),
        (None, None) => String::new(),
    };
    match schema.get("items") {
        Some(items) => format!("a list{count}, each {}", wanted(items)),
        None => format!("a list{count}"),
    }
}

fn range(schema: &Json) -> String {
    let bound = |key: &str| schema.get(key).filter(|value| value.is_number());
    let low = bound("minimum").map(|value| format!("of at least {value}"));
    let low = low.or_else(|| bound("exclusiveMinimum").map(|value| format!("above {value}")));
    let high = bound("maximum").map(|value| format!("of at most {value}"));
    let high = high.or_else(|| bound("exclusiveMaximum").map(|value| format!("below {value}")));
    match (low, high) {
        (Some(low), Some(high)) => format!(" {low} and {}", high.trim_start_matches("of ")),
        (Some(one), None) | (None, Some(one)) => format!(" {one}"),
        (None, None) => String::new(),
    }
}

/// The names of a schema's types; JSON's null is no value of TOML.
fn types(schema: &Json) -> Vec<&str> {
    match &schema["type"] {
        Json::String(name) => vec![name],
        Json::Array(names) => {
            names.iter().filter_map(Json::as_str).filter(|&name| name != "null").collect()
        }
        _ => Vec::new(),
    }
}

fn has_type(node: &Node, schema: &Json) -> bool {
    let types = types(schema);
    types.is_empty()
        || types.iter().any(|&name| match &node.value {
            Value::Boolean(_) => name == "boolean",
            Value::Integer(_) => name == "integer" || name == "number",
            Value::Float(_) => name == "number",
            Value::String(_) => name == "string",
            Value::Array(_) => name == "array",
            Value::Table(_) => name == "object",
            Value::Refused(_) => false,
        })
}

/// A default that is a table gets the defaults of its own keys.
fn with_inner_defaults(default: &Json, schema: &Json) -> Json {
    let (Json::Object(given), Some(inner)) = (default, schema["properties"].as_object()) else {
        return default.clone();
    };
    let mut filled = given.clone();
    for (key, schema) in inner.iter().filter(|(key, _)| !given.contains_key(*key)) {
        if let Some(default) = schema.get("default") {
            filled.insert(key.clone(), with_inner_defaults(default, schema));
        }
    }
    Json::Object(filled)
}
