//! The TOML tree with a place for every key and value, owned, in the order of the file.

use serde_json::Value as Json;
use toml::Spanned;
use toml::de::{DeInteger, DeTable, DeValue};

/// A range of bytes in one of the sources.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct At {
    pub source: usize,
    pub start: usize,
    pub end: usize,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    pub at: At,
    pub value: Value,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Boolean(bool),
    Integer(i64),
    Float(f64),
    String(String),
    Array(Vec<Node>),
    Table(Table),
    /// TOML can say it, JSON and so a component cannot; the sentence says what to do.
    Refused(&'static str),
}

#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    pub key: String,
    pub key_at: At,
    pub node: Node,
}

/// Entries in the order of the file; those of an extended file come first.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Table {
    pub entries: Vec<Entry>,
}

impl Table {
    pub fn get(&self, key: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.key == key)
    }

    pub fn get_mut(&mut self, key: &str) -> Option<&mut Entry> {
        self.entries.iter_mut().find(|entry| entry.key == key)
    }

    /// Lays `over` on top: tables merge key by key, anything else replaces. `replaces` says for
    /// which path a table replaces too.
    pub fn merge(
        &mut self,
        over: Table,
        path: &str,
        replaces: &dyn Fn(&str, &Table, &Table) -> bool,
    ) {
        for entry in over.entries {
            let path = join(path, &entry.key);
            match self.get_mut(&entry.key) {
                None => self.entries.push(entry),
                Some(base) => match (&mut base.node.value, entry.node) {
                    (Value::Table(below), Node { value: Value::Table(above), at })
                        if !replaces(&path, below, &above) =>
                    {
                        below.merge(above, &path, replaces);
                        base.node.at = at;
                        base.key_at = entry.key_at;
                    }
                    (_, node) => {
                        base.node = node;
                        base.key_at = entry.key_at;
                    }
                },
            }
        }
    }
}

impl Node {
    pub fn as_str(&self) -> Option<&str> {
        match &self.value {
            Value::String(text) => Some(text),
            _ => None,
        }
    }

    pub fn as_table(&self) -> Option<&Table> {
        match &self.value {
            Value::Table(table) => Some(table),
            _ => None,
        }
    }

    /// What it is, for a message: `the string "12"`, `a table`.
    pub fn describe(&self) -> String {
        match &self.value {
            Value::Boolean(flag) => format!("`{flag}`"),
            Value::Integer(number) => format!("{number}"),
            Value::Float(number) => format!("{number:?}"),
            Value::String(text) => format!("the string {text:?}"),
            Value::Array(_) => "a list".to_string(),
            Value::Table(_) => "a table".to_string(),
            Value::Refused(why) => (*why).to_string(),
        }
    }

    /// The plain value. What has no JSON form becomes null: it has been refused before.
    pub fn to_json(&self) -> Json {
        match &self.value {
            Value::Boolean(flag) => Json::from(*flag),
            Value::Integer(number) => Json::from(*number),
            Value::Float(number) => Json::from(*number),
            Value::String(text) => Json::from(text.as_str()),
            Value::Array(items) => items.iter().map(Node::to_json).collect(),
            Value::Table(table) => Json::Object(
                table.entries.iter().map(|e| (e.key.clone(), e.node.to_json())).collect(),
            ),
            Value::Refused(_) => Json::Null,
        }
    }

    /// Every string below, with its place.
    pub fn strings_mut(&mut self, visit: &mut dyn FnMut(At, &mut String)) {
        match &mut self.value {
            Value::String(text) => visit(self.at, text),
            Value::Array(items) => items.iter_mut().for_each(|item| item.strings_mut(visit)),
            Value::Table(table) => {
                table.entries.iter_mut().for_each(|entry| entry.node.strings_mut(visit));
            }
            _ => {}
        }
    }
}

/// `a` and `b` as the path `a.b`.
pub fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_string() } else { format!("{path}.{key}") }
}

/// Owns what the parser borrowed. `offset` is where the parsed text starts in its source.
pub fn from_table(table: &DeTable<'_>, source: usize, offset: usize) -> Table {
    let mut entries: Vec<Entry> = table
        .iter()
        .map(|(key, value)| Entry {
            key: key.get_ref().to_string(),
            key_at: place(key.span(), source, offset),
            node: from_value(value, source, offset),
        })
        .collect();
    entries.sort_by_key(|entry| entry.key_at.start);
    Table { entries }
}

pub fn from_value(value: &Spanned<DeValue<'_>>, source: usize, offset: usize) -> Node {
    let at = place(value.span(), source, offset);
    let value = match value.get_ref() {
        DeValue::String(text) => Value::String(text.to_string()),
        DeValue::Integer(number) => integer(number),
        DeValue::Float(number) => match number.as_str().parse::<f64>() {
            Ok(number) if number.is_finite() => Value::Float(number),
            _ => Value::Refused("a number that is not finite"),
        },
        DeValue::Boolean(flag) => Value::Boolean(*flag),
        DeValue::Datetime(_) => {
            Value::Refused("a date, which no key takes (quote it for a string)")
        }
        DeValue::Array(items) => {
            Value::Array(items.iter().map(|item| from_value(item, source, offset)).collect())
        }
        DeValue::Table(table) => Value::Table(from_table(table, source, offset)),
    };
    Node { at, value }
}

fn integer(number: &DeInteger<'_>) -> Value {
    match i64::from_str_radix(number.as_str(), number.radix()) {
        Ok(number) => Value::Integer(number),
        Err(_) => Value::Refused("an integer beyond 64 bits"),
    }
}

fn place(span: std::ops::Range<usize>, source: usize, offset: usize) -> At {
    At { source, start: span.start + offset, end: span.end + offset }
}
