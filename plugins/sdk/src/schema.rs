//! What a component's config may be, as JSON Schema: the engine checks a pipeline against it before
//! anything is loaded.
//!
//! The subset of JSON Schema (draft 2020-12) that is ever made here, and that the engine walks:
//! `type` (one of `object array string number integer boolean`), `description`, `default`,
//! `properties`, `required`, `additionalProperties` (`false`, or the schema of a map's values),
//! `enum`, `items`, `minItems`, `maxItems`, `minimum`, `maximum`, `exclusiveMinimum`, `anyOf`,
//! `format: "loupe-file"` for a string that names a file, and `x-names` beside it: the strings
//! which are names and no files.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Number, Value, json};

/// A type that can stand in a config. Derive it; a struct must deny unknown fields.
///
/// ```
/// use loupe_plugin::prelude::*;
///
/// /// Doc comments become descriptions.
/// #[derive(Deserialize, Schema)]
/// #[serde(deny_unknown_fields)]
/// struct Config {
///     /// Bounds: `min`, `max`, `above` (exclusive); `min_items` and `max_items` for lists.
///     #[schema(min = 0.0, max = 1.0)]
///     #[serde(default)]
///     share: f32,
///     /// A file, or the one word that is none.
///     #[schema(file, names = ["random"])]
///     weights: String,
///     /// `null` or absent.
///     k: Option<usize>,
/// }
/// assert_eq!(Config::schema()["required"], serde_json::json!(["weights"]));
/// ```
pub trait Schema {
    fn schema() -> Value;

    /// The value as it would stand in a config, for `default`.
    fn to_json(&self) -> Value;

    /// Whether the value may be left out.
    const OPTIONAL: bool = false;
}

/// The config of a component that has none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoConfig {}

impl Schema for NoConfig {
    fn schema() -> Value {
        json!({"type": "object", "properties": {}, "required": [], "additionalProperties": false})
    }

    fn to_json(&self) -> Value {
        json!({})
    }
}

macro_rules! integers {
    ($($type:ty: $extra:tt),+) => {$(
        impl Schema for $type {
            fn schema() -> Value {
                let mut schema = json!($extra);
                schema["type"] = "integer".into();
                schema
            }

            fn to_json(&self) -> Value {
                (*self).into()
            }
        }
    )+};
}

integers!(i8: {}, i16: {}, i32: {}, i64: {}, isize: {});
integers!(u8: {"minimum": 0}, u16: {"minimum": 0}, u32: {"minimum": 0}, u64: {"minimum": 0});
integers!(usize: {"minimum": 0});

impl Schema for f64 {
    fn schema() -> Value {
        json!({"type": "number"})
    }

    fn to_json(&self) -> Value {
        Number::from_f64(*self).map_or(Value::Null, Value::Number)
    }
}

impl Schema for f32 {
    fn schema() -> Value {
        f64::schema()
    }

    /// The shortest decimal that is this f32: 0.1, not 0.10000000149011612.
    fn to_json(&self) -> Value {
        self.to_string().parse::<f64>().map_or(Value::Null, |value| value.to_json())
    }
}

impl Schema for bool {
    fn schema() -> Value {
        json!({"type": "boolean"})
    }

    fn to_json(&self) -> Value {
        (*self).into()
    }
}

impl Schema for String {
    fn schema() -> Value {
        json!({"type": "string"})
    }

    fn to_json(&self) -> Value {
        self.as_str().into()
    }
}

impl<T: Schema> Schema for Vec<T> {
    fn schema() -> Value {
        json!({"type": "array", "items": T::schema()})
    }

    fn to_json(&self) -> Value {
        self.iter().map(T::to_json).collect()
    }
}

impl<T: Schema, const N: usize> Schema for [T; N] {
    fn schema() -> Value {
        json!({"type": "array", "items": T::schema(), "minItems": N, "maxItems": N})
    }

    fn to_json(&self) -> Value {
        self.iter().map(T::to_json).collect()
    }
}

impl<T: Schema> Schema for Option<T> {
    const OPTIONAL: bool = true;

    fn schema() -> Value {
        T::schema()
    }

    fn to_json(&self) -> Value {
        self.as_ref().map_or(Value::Null, T::to_json)
    }
}

impl<T: Schema> Schema for BTreeMap<String, T> {
    fn schema() -> Value {
        json!({"type": "object", "additionalProperties": T::schema()})
    }

    fn to_json(&self) -> Value {
        self.iter().map(|(key, value)| (key.clone(), value.to_json())).collect()
    }
}

/// The schema of a derived struct, assembled property by property. Used by the derive macro.
#[doc(hidden)]
#[derive(Default)]
pub struct ObjectSchema {
    properties: Map<String, Value>,
    required: Vec<Value>,
}

impl ObjectSchema {
    /// `extra` overrides what the type says; a file's format is given to the strings inside a list
    /// or a choice.
    pub fn property<T: Schema>(
        &mut self,
        name: &str,
        extra: &[(&str, Value)],
        default: Option<Value>,
    ) {
        let mut schema = T::schema();
        for (key, value) in extra {
            insert(&mut schema, key, value);
        }
        match default {
            Some(Value::Null) => {}
            Some(default) => schema["default"] = default,
            None if T::OPTIONAL => {}
            None => self.required.push(name.into()),
        }
        self.properties.insert(name.to_owned(), schema);
    }

    pub fn finish(self, description: &str) -> Value {
        let mut schema = json!({
            "type": "object",
            "properties": self.properties,
            "required": self.required,
            "additionalProperties": false,
        });
        if !description.is_empty() {
            schema["description"] = description.into();
        }
        schema
    }
}

/// Puts a key where it means something: `format` on strings, bounds on numbers, also inside lists
/// and choices.
fn insert(schema: &mut Value, key: &str, value: &Value) {
    let wants: &[&str] = match key {
        "format" | "x-names" => &["string"],
        "minimum" | "maximum" | "exclusiveMinimum" => &["number", "integer"],
        _ => &[],
    };
    let is = |schema: &Value| schema["type"].as_str().is_some_and(|kind| wants.contains(&kind));
    if wants.is_empty() || is(schema) {
        schema[key] = value.clone();
        return;
    }
    if let Some(choices) = schema.get_mut("anyOf").and_then(Value::as_array_mut) {
        choices.iter_mut().for_each(|choice| insert(choice, key, value));
    }
    if let Some(items) = schema.get_mut("items") {
        insert(items, key, value);
    }
}
