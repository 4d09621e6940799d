//! PyTorch's zip archives: state dictionaries, checkpoints around one, and TorchScript.

use std::collections::BTreeMap;
use std::io::Cursor;

use zip::{CompressionMethod, ZipArchive};

use crate::pickle::{Id, Pickle, Value};
use crate::tensor::{Dtype, RawTensor, count};
use crate::{Result, bad_file};

/// Modules nest this deep at most; a file that nests deeper is no model.
const MAX_DEPTH: usize = 64;
/// Named values that are looked at; sharing could multiply them without end.
const MAX_VISITS: usize = 1 << 20;

type Entries<'a> = BTreeMap<String, &'a [u8]>;

/// Lists the tensors of an archive by their dotted path. Errors: a damaged archive.
pub fn read(bytes: &[u8]) -> Result<BTreeMap<String, RawTensor<'_>>> {
    let entries = stored_entries(bytes)?;
    let (name, pickle) = entries
        .iter()
        .find(|(name, _)| name.ends_with("/data.pkl"))
        .ok_or_else(|| bad_file("is a zip archive without `data.pkl`, so not one of PyTorch"))?;
    let pickle = Pickle::read(pickle)?;
    let folder = name.strip_suffix(".pkl").unwrap_or(name).to_string();
    let mut walk =
        Walk { pickle: &pickle, entries: &entries, folder, n_visits: 0, tensors: BTreeMap::new() };
    walk.visit(pickle.root, "", 0)?;
    Ok(walk.tensors)
}

/// Name and data of every plain entry. PyTorch never compresses tensors, so the data is borrowed.
fn stored_entries(bytes: &[u8]) -> Result<Entries<'_>> {
    let damaged = |error: zip::result::ZipError| {
        bad_file(&format!("is a damaged zip archive (is the download complete?): {error}"))
    };
    let mut archive = ZipArchive::new(Cursor::new(bytes)).map_err(damaged)?;
    let mut entries = Entries::new();
    for index in 0..archive.len() {
        let entry = archive.by_index_raw(index).map_err(damaged)?;
        let name = entry.name().map_err(damaged)?.to_string();
        // Only TorchScript's source code is compressed; it is not read.
        if entry.compression() != CompressionMethod::Stored {
            continue;
        }
        let range = entry.data_start().and_then(|start| {
            let start = usize::try_from(start).ok()?;
            let end = start.checked_add(usize::try_from(entry.size()).ok()?)?;
            bytes.get(start..end)
        });
        let data = range.ok_or_else(|| bad_file(&format!("is cut off within entry `{name}`")))?;
        entries.insert(name, data);
    }
    Ok(entries)
}

struct Walk<'p, 'a> {
    pickle: &'p Pickle,
    entries: &'p Entries<'a>,
    folder: String,
    n_visits: usize,
    tensors: BTreeMap<String, RawTensor<'a>>,
}

impl<'a> Walk<'_, 'a> {
    fn visit(&mut self, id: Id, path: &str, depth: usize) -> Result<()> {
        self.n_visits += 1;
        if depth > MAX_DEPTH || self.n_visits > MAX_VISITS {
            return Err(bad_file("nests too many modules to be a model"));
        }
        match self.pickle.get(id) {
            Value::Dict(pairs) => {
                for (key, value) in pairs {
                    if let Some(key) = self.pickle.text(*key) {
                        self.visit(*value, &extended(path, key), depth + 1)?;
                    }
                }
            }
            Value::Object { callable, args, state } => {
                if let Some(tensor) = self.tensor(*callable, *args, path)? {
                    self.tensors.insert(path.to_string(), tensor);
                } else if let Some(state) = state {
                    self.visit(*state, path, depth + 1)?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// The tensor that a call would rebuild, or `None` if it rebuilds something else.
    fn tensor(&self, callable: Id, args: Id, path: &str) -> Result<Option<RawTensor<'a>>> {
        let Value::Global(module, name) = self.pickle.get(callable) else { return Ok(None) };
        let Some(args) = self.pickle.list(args) else { return Ok(None) };
        match (module.as_str(), name.as_str(), args) {
            ("torch._utils", "_rebuild_tensor_v2", [storage, offset, shape, strides, ..]) => {
                let damaged = || bad_file(&format!("tensor `{path}` has a damaged description"));
                self.rebuilt(*storage, *offset, *shape, *strides).ok_or_else(damaged).map(Some)
            }
            ("torch._utils", "_rebuild_parameter", [inner, ..]) => match self.pickle.get(*inner) {
                // Only one level: a parameter holds a tensor, never another parameter.
                Value::Object { callable, args, .. } if !self.is_parameter(*callable) => {
                    self.tensor(*callable, *args, path)
                }
                _ => Ok(None),
            },
            _ => Ok(None),
        }
    }

    fn is_parameter(&self, callable: Id) -> bool {
        matches!(self.pickle.get(callable), Value::Global(_, name) if name == "_rebuild_parameter")
    }

    fn rebuilt(&self, storage: Id, offset: Id, shape: Id, strides: Id) -> Option<RawTensor<'a>> {
        let Value::Outside(description) = self.pickle.get(storage) else { return None };
        let [_, kind, key, ..] = self.pickle.list(*description)? else { return None };
        let Value::Global(_, kind) = self.pickle.get(*kind) else { return None };
        let dtype = match kind.as_str() {
            "FloatStorage" => Some(Dtype::F32),
            "HalfStorage" => Some(Dtype::F16),
            "BFloat16Storage" => Some(Dtype::Bf16),
            "DoubleStorage" => Some(Dtype::F64),
            "IntStorage" => Some(Dtype::I32),
            _ => None,
        };
        let entry = format!("{}/{}", self.folder, self.pickle.text(*key)?);
        let data: &'a [u8] = self.entries.get(&entry).copied()?;
        let Value::Int(offset) = self.pickle.get(offset) else { return None };
        let size = dtype.map_or(1, Dtype::size);
        let start = usize::try_from(*offset).ok()?.checked_mul(size)?;
        let (shape, strides) = (self.pickle.sizes(shape)?, self.pickle.sizes(strides)?);
        if shape.len() != strides.len() {
            return None;
        }
        count(&shape)?;
        let strides = if is_dense(&shape, &strides) { None } else { Some(strides) };
        Some(RawTensor { shape, strides, dtype, data: data.get(start..)? })
    }
}

/// Whether the strides are those of a row-major tensor.
fn is_dense(shape: &[usize], strides: &[usize]) -> bool {
    let mut expected = 1;
    for (dim, stride) in shape.iter().zip(strides).rev() {
        if *dim > 1 && *stride != expected {
            return false;
        }
        expected = expected.saturating_mul(*dim);
    }
    true
}

/// A pickled module keeps its parts in dictionaries that are not in their names.
fn extended(path: &str, key: &str) -> String {
    match (path, key) {
        (_, "_modules" | "_parameters" | "_buffers") => path.to_string(),
        ("", _) => key.to_string(),
        _ => format!("{path}.{key}"),
    }
}
