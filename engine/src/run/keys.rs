//! Keys of stages and of the tensors they make, computed without computing a tensor: content of images and files,
//! configs, component revisions and upstream keys, and nothing that differs between two machines or two days.

use std::collections::BTreeMap;
use std::fs::{File, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use loupe_kernels::Isa;
use serde_json::Value;

use super::RunError;
use super::wiring::{Call, Feed, Form};
use crate::cache::{Dtype, Key, KeyBuilder};
use crate::pipeline::model::{Component, Label, Prepare, Stage, pointer};
use crate::plugin::info::{Catalog, ComponentInfo};

/// Named by what rounds differently: the instructions that the products use.
pub fn numerics() -> &'static str {
    match Isa::best().unwrap_or_else(|_| Isa::of_this_machine()) {
        Isa::Amx => "f32-avx512, bf16-amx",
        Isa::Avx512 => "f32-avx512",
        Isa::Avx2 => "f32-avx2",
        Isa::Portable => "f32-portable",
    }
}

/// Key of what a stage is, whatever it is given. `stored` is the type its outputs pass through; `seed` counts only where
/// a component declares that it draws random numbers, by not being deterministic.
/// Errors: `ReadFile` if a file that its config names cannot be read.
pub(super) fn stage_key(
    stage: &Stage,
    catalog: &dyn Catalog,
    hook: Option<[u8; 32]>,
    stored: Option<Dtype>,
    seed: u64,
) -> Result<Key, RunError> {
    let mut key = KeyBuilder::new("stage").str("stored", stored.map_or("f32", Dtype::name));
    key = match &stage.component {
        Component::Plugin { kind, name } => {
            key = key.str("kind", kind.id()).str("name", name).str("numerics", numerics());
            match catalog.component(*kind, name) {
                Some(info) if info.deterministic => revision(key, info),
                Some(info) => revision(key, info).u64("seed", seed).str("stage", &stage.name),
                None => key,
            }
        }
        Component::Prepare(prepare) => {
            // Each size has its own calls and keys: a size more or less leaves the others as they are.
            let sizes = Vec::new();
            let one = Prepare { sizes, ..prepare.clone() };
            key.str("engine", "prepare/1").json("config", &json(&one))
        }
        Component::Map(map) => key.str("engine", "map/1").json("config", &json(map)),
        Component::Pool(pool) => key.str("engine", "pool/1").json("config", &json(pool)),
    };
    // Keys hold contents: the digest of a file stands in the place of its path.
    let mut config = Value::Object(stage.config.clone());
    for place in &stage.files {
        if let Some(Value::String(path)) = config.pointer_mut(&pointer(place)) {
            *path = hex(&file_digest(Path::new(path.as_str()))?);
        }
    }
    // `auto` is what the component made of it: equal values have equal keys.
    if let (Some(asked), Some(precision)) = (config.get_mut("precision"), stage.precision()) {
        *asked = precision.into();
    }
    // What is built into a component has a name and no path: the digests that it tells stand for it.
    if let Some(embedded) = stage.facts.all.get("embedded") {
        key = key.json("embedded", embedded);
    }
    if let Some(taps) = &stage.taps {
        key = key.json("taps", &json(&taps.at));
    }
    if let Component::Plugin { .. } = stage.component {
        key = key.json("config", &config);
    }
    Ok(match hook {
        Some(digest) => key.bytes("hooks", &digest).finish(),
        None => key.finish(),
    })
}

/// Revision 0 is a component under development: every build of it is another one.
fn revision(key: KeyBuilder, info: &ComponentInfo) -> KeyBuilder {
    let key = key.u64("revision", u64::from(info.revision));
    if info.revision == 0 { key.bytes("binary", &info.binary) } else { key }
}

fn json<T: serde::Serialize>(value: &T) -> Value {
    serde_json::to_value(value).unwrap_or(Value::Null)
}

/// BLAKE3 of a file's bytes. Weights are large and named by several stages, so a file that has not changed since is
/// not read again in this process: the same file, of the same length, that nobody wrote to.
pub fn file_digest(path: &Path) -> Result<[u8; 32], RunError> {
    let fail = |source: std::io::Error| RunError::ReadFile {
        path: path.to_owned(),
        message: source.to_string(),
    };
    type State = ([u64; 3], [(i64, i64); 2]);
    type Read = BTreeMap<PathBuf, (State, [u8; 32])>;
    static READ: Mutex<Read> = Mutex::new(BTreeMap::new());
    let read = || READ.lock().unwrap_or_else(PoisonError::into_inner);
    let file = File::open(path).map_err(fail)?;
    let state = |file: Metadata| -> State {
        let changed = [(file.mtime(), file.mtime_nsec()), (file.ctime(), file.ctime_nsec())];
        ([file.dev(), file.ino(), file.len()], changed)
    };
    let state = file.metadata().map(state).map_err(fail)?;
    if let Some((_, digest)) = read().get(path).filter(|known| known.0 == state) {
        return Ok(*digest);
    }
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(file).map_err(fail)?;
    let digest = *hasher.finalize().as_bytes();
    read().insert(path.to_owned(), (state, digest));
    Ok(digest)
}

/// Lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Key of one call: the stage, its state and everything that is fed to it, in order.
/// `key_of` gives the key of a fed tensor; `class_key` that of a class's value.
pub(super) fn call_key(
    domain: &str,
    stage: &Key,
    state: Option<&Key>,
    call: &Call,
    mut key_of: impl FnMut(&Feed, Label) -> Result<Key, RunError>,
    mut class_key: impl FnMut(&Feed) -> Result<Key, RunError>,
) -> Result<Key, RunError> {
    let mut key = KeyBuilder::new(domain).key("stage", stage);
    if let Some(state) = state {
        key = key.key("state", state);
    }
    for feed in &call.feeds {
        key = key.u64("port", u64::from(feed.port));
        match &feed.form {
            Form::Tensor(label) => key = key.key("tensor", &key_of(feed, *label)?),
            Form::Class => key = key.key("class", &class_key(feed)?),
            Form::Tensors(labels) => {
                for label in labels {
                    key = key.str("label", &label_text(*label)).key("item", &key_of(feed, *label)?);
                }
            }
        }
    }
    Ok(key.finish())
}

/// Key of one tensor that a call made.
pub(super) fn item_key(call: &Key, output: &str, label: Label) -> Key {
    KeyBuilder::new("item")
        .key("call", call)
        .str("output", output)
        .str("label", &label_text(label))
        .finish()
}

/// `240`, `240.6`, `.6` or nothing.
pub(super) fn label_text(label: Label) -> String {
    match (label.size, label.tap) {
        (None, None) => String::new(),
        (Some(size), None) => size.to_string(),
        (None, Some(tap)) => format!(".{tap}"),
        (Some(size), Some(tap)) => format!("{size}.{tap}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_the_same_length_and_time_that_took_anothers_place_is_read_again() {
        let dir = tempfile::TempDir::new().unwrap();
        let path = dir.path().join("weights");
        let write = |path: &Path, text: &str| {
            std::fs::write(path, text).unwrap();
            let file = File::options().append(true).open(path).unwrap();
            file.set_modified(std::time::UNIX_EPOCH).unwrap();
        };
        write(&path, "one");
        let first = file_digest(&path).unwrap();
        assert_eq!(file_digest(&path).unwrap(), first);
        write(&dir.path().join("new"), "two");
        std::fs::rename(dir.path().join("new"), &path).unwrap();
        assert_eq!(file_digest(&path).unwrap(), *blake3::hash(b"two").as_bytes());
    }
}
