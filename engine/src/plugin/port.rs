//! One port of a descriptor, from numbers to words.

use loupe_plugin::abi::{
    LOUPE_BF16, LOUPE_EMBEDDED_TEXT, LOUPE_F16, LOUPE_F32, LOUPE_F64, LOUPE_I64, LOUPE_IN,
    LOUPE_OUT, LOUPE_PORT_MANY, LOUPE_PORT_OPTIONAL, LOUPE_SCOPE_CLASS, LOUPE_SCOPE_IMAGE,
    LOUPE_SCOPE_RUN, LOUPE_STATE, LOUPE_TENSOR, LOUPE_TENSORS, LOUPE_TEXT, LOUPE_U8,
    LOUPE_VERB_ENCODE_TEXT, LOUPE_VERB_FIT, LOUPE_VERB_RUN, LOUPE_VERB_TAP, LoupePort,
};

use super::info::{Port, Scope, ValueKind, Verb};
use super::shape;

const KINDS: [(u32, ValueKind); 5] = [
    (LOUPE_TENSOR, ValueKind::Tensor),
    (LOUPE_TENSORS, ValueKind::Tensors),
    (LOUPE_TEXT, ValueKind::Text),
    (LOUPE_EMBEDDED_TEXT, ValueKind::EmbeddedText),
    (LOUPE_STATE, ValueKind::State),
];
const DTYPES: [(u32, &str); 6] = [
    (LOUPE_F32, "f32"),
    (LOUPE_F16, "f16"),
    (LOUPE_BF16, "bf16"),
    (LOUPE_F64, "f64"),
    (LOUPE_U8, "u8"),
    (LOUPE_I64, "i64"),
];
const VERBS: [(u32, Verb); 4] = [
    (LOUPE_VERB_RUN, Verb::Run),
    (LOUPE_VERB_FIT, Verb::Fit),
    (LOUPE_VERB_ENCODE_TEXT, Verb::EncodeText),
    (LOUPE_VERB_TAP, Verb::Tap),
];
const SCOPES: [(u32, Scope); 3] = [
    (LOUPE_SCOPE_IMAGE, Scope::Image),
    (LOUPE_SCOPE_CLASS, Scope::Class),
    (LOUPE_SCOPE_RUN, Scope::Run),
];
const DIRECTIONS: [(u32, bool); 2] = [(LOUPE_IN, false), (LOUPE_OUT, true)];

/// Errors: which field has a number this engine does not know, or a shape that is missing or
/// malformed.
pub(super) fn read(
    index: u32,
    name: String,
    shape: Option<String>,
    about: String,
    table: &LoupePort,
) -> Result<Port, String> {
    let wrong = |why: String| format!("port {index}, `{name}`, {why}");
    if !shape::is_name(&name) {
        return Err(wrong("has a name with other than letters, digits, `_` and `-`".to_owned()));
    }
    let kinds = set(&KINDS, table.kind, "kind").map_err(wrong)?;
    let has_tensor = kinds.iter().any(|kind| !matches!(kind, ValueKind::Text | ValueKind::State));
    let dtypes = match has_tensor {
        true => set(&DTYPES, table.dtype, "dtype").map_err(wrong)?,
        false => Vec::new(),
    };
    match &shape {
        Some(shape) => {
            shape::validate(shape).map_err(|why| wrong(format!("has a bad shape: it {why}")))?;
        }
        None if has_tensor => return Err(wrong("takes tensors but has no shape".to_owned())),
        None => {}
    }
    let known = LOUPE_PORT_OPTIONAL | LOUPE_PORT_MANY;
    if table.flags & !known != 0 {
        return Err(wrong(format!("has unknown flags {:#x}", table.flags & !known)));
    }
    Ok(Port {
        verb: one(&VERBS, table.verb, "verb").map_err(wrong)?,
        output: one(&DIRECTIONS, table.direction, "direction").map_err(wrong)?,
        scope: one(&SCOPES, table.scope, "scope").map_err(wrong)?,
        optional: table.flags & LOUPE_PORT_OPTIONAL != 0,
        many: table.flags & LOUPE_PORT_MANY != 0,
        index,
        name,
        about,
        kinds,
        dtypes,
        shape: shape.filter(|_| has_tensor),
    })
}

fn one<T: Copy>(table: &[(u32, T)], number: u32, what: &str) -> Result<T, String> {
    let found = table.iter().find(|known| known.0 == number);
    found.map(|known| known.1).ok_or_else(|| format!("has unknown {what} {number}"))
}

fn set<T: Copy>(table: &[(u32, T)], bits: u32, what: &str) -> Result<Vec<T>, String> {
    let known = table.iter().fold(0, |known, entry| known | entry.0);
    if bits == 0 || bits & !known != 0 {
        return Err(format!("has unknown {what} {bits:#x}"));
    }
    Ok(table.iter().filter(|entry| bits & entry.0 != 0).map(|entry| entry.1).collect())
}
