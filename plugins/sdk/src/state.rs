//! States as named arrays: the bytes are a safetensors file, so that Python reads what a fit
//! learned.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::error::{Error, Result};
use crate::shape::Shape;
use crate::tensor::Tensor;
use crate::values::State;

/// Writes a state: arrays by name, and facts beside them.
#[derive(Debug)]
pub struct StateWriter {
    schema: String,
    revision: u32,
    meta: BTreeMap<String, String>,
    arrays: BTreeMap<String, (Shape, Vec<u8>)>,
}

impl StateWriter {
    /// `schema` names the layout, `revision` counts its changes.
    pub fn new(schema: &str, revision: u32) -> Self {
        StateWriter {
            schema: schema.to_owned(),
            revision,
            meta: BTreeMap::new(),
            arrays: BTreeMap::new(),
        }
    }

    pub fn meta(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.meta.insert(key.to_owned(), value.into().to_string());
        self
    }

    /// Errors: `Shape` if the number of values is not that of the shape.
    pub fn f32s(mut self, name: &str, shape: impl Into<Shape>, values: &[f32]) -> Result<Self> {
        let shape = shape.into();
        if shape.len() != values.len() {
            return Err(Error::shape(name, format!("values for shape {shape}"), values.len()));
        }
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.arrays.insert(name.to_owned(), (shape, bytes));
        Ok(self)
    }

    /// The same arrays and facts give the same bytes, in whatever order they came.
    pub fn finish(self) -> Result<State> {
        let mut header = serde_json::Map::new();
        if !self.meta.is_empty() {
            header.insert("__metadata__".to_owned(), json!(self.meta));
        }
        let mut end = 0;
        for (name, (shape, bytes)) in &self.arrays {
            let begin = end;
            end += bytes.len();
            let entry =
                json!({"dtype": "F32", "shape": shape.dims(), "data_offsets": [begin, end]});
            header.insert(name.clone(), entry);
        }
        let mut header = Value::Object(header).to_string().into_bytes();
        // The arrays start at a multiple of 8, so that a mapped file can be read in place.
        header.resize(header.len().next_multiple_of(8), b' ');
        let mut all = Vec::with_capacity(8 + header.len() + end);
        all.extend((header.len() as u64).to_le_bytes());
        all.extend(header);
        self.arrays.values().for_each(|(_, bytes)| all.extend(bytes));
        Ok(State::new(self.schema, self.revision, all))
    }
}

/// Reads a state that `StateWriter` wrote.
#[derive(Debug)]
pub struct StateReader<'a> {
    schema: &'a str,
    meta: BTreeMap<String, String>,
    arrays: BTreeMap<String, Entry>,
    data: &'a [u8],
}

#[derive(Debug, Deserialize)]
struct Entry {
    dtype: String,
    shape: Vec<usize>,
    data_offsets: [usize; 2],
}

impl<'a> StateReader<'a> {
    /// Errors: another schema or revision than wanted, or bytes that are no such file.
    pub fn new(state: &'a State, schema: &'a str, revision: u32) -> Result<Self> {
        if (state.schema.as_str(), state.revision) != (schema, revision) {
            let want = format!("schema `{schema}` of revision {revision}");
            let got = format!("`{}` of revision {}; fit it again", state.schema, state.revision);
            return Err(Error::shape("state", want, got));
        }
        let bad = || Error::input(format!("the state of `{schema}` is damaged; fit it again"));
        let (len, rest) = state.bytes().split_first_chunk::<8>().ok_or_else(bad)?;
        let len = usize::try_from(u64::from_le_bytes(*len)).map_err(|_| bad())?;
        let (header, data) = rest.split_at_checked(len).ok_or_else(bad)?;
        let mut header: BTreeMap<String, Value> =
            serde_json::from_slice(header).map_err(|_| bad())?;
        let meta = header.remove("__metadata__").unwrap_or_else(|| json!({}));
        let meta = serde_json::from_value(meta).map_err(|_| bad())?;
        let mut arrays = BTreeMap::new();
        for (name, entry) in header {
            arrays.insert(name, serde_json::from_value(entry).map_err(|_| bad())?);
        }
        Ok(StateReader { schema, meta, arrays, data })
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.arrays.keys().map(String::as_str)
    }

    /// Errors: a name that is not there, or an array that lies outside the bytes.
    pub fn tensor(&self, name: &str) -> Result<Tensor> {
        let entry = self.arrays.get(name).ok_or_else(|| self.lacks("array", name))?;
        let [begin, end] = entry.data_offsets;
        let bytes = self.data.get(begin..end).filter(|bytes| bytes.len() % 4 == 0);
        let (Some(bytes), "F32") = (bytes, entry.dtype.as_str()) else {
            return Err(Error::input(format!(
                "array `{name}` of the state of `{}` is damaged; fit it again",
                self.schema
            )));
        };
        let (values, _) = bytes.as_chunks::<4>();
        Tensor::new(entry.shape.clone(), values.iter().map(|value| f32::from_le_bytes(*value)))
    }

    /// Where an array's bytes begin in the state's.
    pub(crate) fn offset(&self, state: &State, name: &str) -> Option<usize> {
        let begin = self.arrays.get(name)?.data_offsets[0];
        (state.bytes().len() - self.data.len()).checked_add(begin)
    }

    /// Errors: a key that is not there, or is of another type.
    pub fn meta<T: DeserializeOwned>(&self, key: &str) -> Result<T> {
        let text = self.meta.get(key).ok_or_else(|| self.lacks("key", key))?;
        serde_json::from_str(text)
            .map_err(|error| Error::input(format!("key `{key}` of the state: {error}")))
    }

    fn lacks(&self, what: &str, name: &str) -> Error {
        Error::input(format!("the state of `{}` has no {what} `{name}`; fit it again", self.schema))
    }
}
