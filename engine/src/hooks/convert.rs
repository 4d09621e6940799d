//! JSON values to script values and back: copies both ways, so that a script never holds what the
//! engine owns.

use rhai::{Array, Dynamic, INT, Map};
use serde_json::{Number, Value};

const MAX_DEPTH: usize = 64;

pub(super) fn to_dynamic(value: &Value) -> Dynamic {
    match value {
        Value::Null => Dynamic::UNIT,
        Value::Bool(flag) => (*flag).into(),
        Value::Number(number) => match number.as_i64() {
            Some(whole) => Dynamic::from(whole as INT),
            None => Dynamic::from(number.as_f64().unwrap_or(f64::NAN)),
        },
        Value::String(text) => text.as_str().into(),
        Value::Array(items) => items.iter().map(to_dynamic).collect::<Array>().into(),
        Value::Object(fields) => {
            let fields =
                fields.iter().map(|(name, field)| (name.as_str().into(), to_dynamic(field)));
            fields.collect::<Map>().into()
        }
    }
}

/// Errors: a sentence that names the path of a value which JSON cannot hold.
pub(super) fn to_json(value: Dynamic) -> Result<Value, String> {
    convert(value, "", 0)
}

fn convert(value: Dynamic, path: &str, depth: usize) -> Result<Value, String> {
    if depth > MAX_DEPTH {
        return Err(format!("the result is nested deeper than {MAX_DEPTH} levels"));
    }
    if value.is_unit() {
        return Ok(Value::Null);
    }
    if let Ok(flag) = value.as_bool() {
        return Ok(flag.into());
    }
    if let Ok(whole) = value.as_int() {
        return Ok(whole.into());
    }
    if let Ok(number) = value.as_float() {
        let number = Number::from_f64(number);
        return number.map(Value::Number).ok_or_else(|| format!("`{path}` is not a finite number"));
    }
    if let Ok(letter) = value.as_char() {
        return Ok(letter.to_string().into());
    }
    let value = match value.try_cast_result::<Map>() {
        Ok(fields) => {
            let fields = fields.into_iter().map(|(name, field)| {
                let path =
                    if path.is_empty() { name.to_string() } else { format!("{path}.{name}") };
                Ok((name.to_string(), convert(field, &path, depth + 1)?))
            });
            return fields.collect::<Result<_, String>>().map(Value::Object);
        }
        Err(value) => value,
    };
    let value = match value.try_cast_result::<Array>() {
        Ok(items) => {
            let items = items.into_iter().enumerate();
            let items = items.map(|(i, item)| convert(item, &format!("{path}[{i}]"), depth + 1));
            return items.collect::<Result<_, String>>().map(Value::Array);
        }
        Err(value) => value,
    };
    let kind = value.type_name();
    value
        .into_string()
        .map(Value::String)
        .map_err(|_| format!("`{path}` is of the type `{kind}`, which a config cannot hold"))
}
