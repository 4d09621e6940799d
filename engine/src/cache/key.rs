//! Keys: what a value was made from, never where it lies. Two machines that compute the same thing
//! get the same key.

use std::fmt;

use serde_json::Value;

/// The address of one stored value: a BLAKE3 digest of everything that decides it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(pub [u8; 32]);

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({self})")
    }
}

/// Builds a [`Key`] field by field. Every field is hashed with its type, its name and its length,
/// so that no two different lists of fields can give the same bytes.
#[derive(Clone)]
pub struct KeyBuilder {
    hasher: blake3::Hasher,
}

impl KeyBuilder {
    /// `domain` separates kinds of keys: the same fields under two domains give two keys.
    pub fn new(domain: &str) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key("loupe cache key, version 1");
        length_prefixed(&mut hasher, domain.as_bytes());
        Self { hasher }
    }

    pub fn str(self, name: &str, value: &str) -> Self {
        self.field(b's', name, value.as_bytes())
    }

    pub fn bytes(self, name: &str, value: &[u8]) -> Self {
        self.field(b'b', name, value)
    }

    pub fn u64(self, name: &str, value: u64) -> Self {
        self.field(b'u', name, &value.to_le_bytes())
    }

    /// Objects are hashed with sorted keys: the order in which a config was written does not
    /// matter.
    pub fn json(self, name: &str, value: &Value) -> Self {
        let mut text = String::new();
        canonical(value, &mut text);
        self.field(b'j', name, text.as_bytes())
    }

    /// The key of a value that this one is computed from.
    pub fn key(self, name: &str, upstream: &Key) -> Self {
        self.field(b'k', name, &upstream.0)
    }

    pub fn finish(self) -> Key {
        Key(*self.hasher.finalize().as_bytes())
    }

    fn field(mut self, kind: u8, name: &str, value: &[u8]) -> Self {
        self.hasher.update(&[kind]);
        length_prefixed(&mut self.hasher, name.as_bytes());
        length_prefixed(&mut self.hasher, value);
        self
    }
}

fn length_prefixed(hasher: &mut blake3::Hasher, bytes: &[u8]) {
    hasher.update(&(bytes.len() as u64).to_le_bytes());
    hasher.update(bytes);
}

fn canonical(value: &Value, out: &mut String) {
    match value {
        Value::Object(map) => {
            let mut fields: Vec<_> = map.iter().collect();
            fields.sort_by_key(|(name, _)| name.as_str());
            out.push('{');
            for (i, (name, field)) in fields.into_iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                out.push_str(&Value::from(name.as_str()).to_string());
                out.push(':');
                canonical(field, out);
            }
            out.push('}');
        }
        Value::Array(items) => {
            out.push('[');
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                canonical(item, out);
            }
            out.push(']');
        }
        leaf => out.push_str(&leaf.to_string()),
    }
}
