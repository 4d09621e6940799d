//! What became of each cell: one line of JSON a cell, appended and synced when it ends.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::SweepError;
use crate::files::{WriteError, lock_alone};
use crate::metrics::{ClassMetrics, Value};

const FILE: &str = "cells.jsonl";
/// Number of the layout of a line.
const SCHEMA: u32 = 1;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    Done,
    Failed { error: String },
}

/// A cell that ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CellRecord {
    pub schema: u32,
    pub cell: String,
    /// Digest of all that its numbers depend on: a cell whose identity is another is run again.
    pub identity: String,
    pub outcome: Outcome,
    pub rows: Vec<RowRecord>,
    /// What its numbers were made in: `inductive`, `oracle`, ..; empty for a cell that failed.
    #[serde(default)]
    pub setting: String,
}

impl CellRecord {
    pub fn is_done(&self) -> bool {
        self.outcome == Outcome::Done
    }
}

/// Metrics of a class under a protocol. A number is kept as its shortest decimal text, which reads
/// back to the same f64; what is undefined, with its reason.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RowRecord {
    pub protocol: String,
    pub class: String,
    pub n_images: usize,
    pub n_anomalous: usize,
    pub values: Vec<(String, Option<String>, Option<String>)>,
}

impl From<&ClassMetrics> for RowRecord {
    fn from(row: &ClassMetrics) -> RowRecord {
        let text = |value: &Value| match value {
            Value::Number(number) => (Some(format!("{number:?}")), None),
            Value::Undefined(reason) => (None, Some(reason.clone())),
        };
        let value = |(name, value): &(String, Value)| {
            let (number, reason) = text(value);
            (name.clone(), number, reason)
        };
        RowRecord {
            protocol: row.protocol.clone(),
            class: row.class.clone(),
            n_images: row.n_images,
            n_anomalous: row.n_anomalous,
            values: row.values.iter().map(value).collect(),
        }
    }
}

impl From<&RowRecord> for ClassMetrics {
    fn from(row: &RowRecord) -> ClassMetrics {
        let value = |(name, number, reason): &(String, Option<String>, Option<String>)| {
            let number = number.as_ref().and_then(|text| text.parse().ok()).map(Value::Number);
            let reason = || Value::Undefined(reason.clone().unwrap_or_default());
            (name.clone(), number.unwrap_or_else(reason))
        };
        ClassMetrics {
            class: row.class.clone(),
            protocol: row.protocol.clone(),
            n_images: row.n_images,
            n_anomalous: row.n_anomalous,
            values: row.values.iter().map(value).collect(),
        }
    }
}

/// The records of a sweep's folder, held by one sweep at a time.
pub struct Store {
    path: PathBuf,
    file: File,
    records: BTreeMap<String, CellRecord>,
}

impl Store {
    /// Opens the records in `folder`, or begins them; `fresh` forgets what there is. A last line
    /// that a crash cut off is dropped. Errors: `Write`, `Busy`, `Store`.
    pub fn open(folder: &Path, fresh: bool) -> Result<Store, SweepError> {
        let path = folder.join(FILE);
        let fail = |source| SweepError::Write(WriteError { path: path.clone(), source });
        std::fs::create_dir_all(folder).map_err(fail)?;
        let mut options = OpenOptions::new();
        let mut file = options
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(fail)?;
        if !lock_alone(&file).map_err(fail)? {
            return Err(SweepError::Busy { path: folder.to_owned() });
        }
        let mut text = Vec::new();
        match fresh {
            true => file.set_len(0).map_err(fail)?,
            false => drop(file.read_to_end(&mut text).map_err(fail)?),
        }
        let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let records = parse(&path, text.get(..whole).unwrap_or_default())?;
        let ready = file.set_len(whole as u64).and_then(|()| file.seek(SeekFrom::End(0)));
        ready.map_err(fail)?;
        Ok(Store { path, file, records })
    }

    /// What is known of a cell, if it is the same cell still.
    pub fn get(&self, cell: &str, identity: &str) -> Option<&CellRecord> {
        self.records.get(cell).filter(|record| record.identity == identity)
    }

    /// Writes down how a cell ended. When this returns it survives a crash of the machine.
    pub fn add(
        &mut self,
        cell: &str,
        identity: &str,
        outcome: Outcome,
        rows: Vec<RowRecord>,
        setting: String,
    ) -> Result<CellRecord, SweepError> {
        let (cell, identity) = (cell.to_owned(), identity.to_owned());
        let record =
            CellRecord { schema: SCHEMA, cell: cell.clone(), identity, outcome, rows, setting };
        let written = line(&record)
            .and_then(|line| self.file.write_all(&line))
            .and_then(|()| self.file.sync_data());
        written.map_err(|source| WriteError { path: self.path.clone(), source })?;
        self.records.insert(cell, record.clone());
        Ok(record)
    }
}

fn line(record: &CellRecord) -> io::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(record)?;
    line.push(b'\n');
    Ok(line)
}

/// The last record of each cell.
fn parse(path: &Path, text: &[u8]) -> Result<BTreeMap<String, CellRecord>, SweepError> {
    let mut records = BTreeMap::new();
    for (i, line) in text.split(|byte| *byte == b'\n').enumerate() {
        if line.is_empty() {
            continue;
        }
        let wrong =
            |message: String| SweepError::Store { path: path.to_owned(), line: i + 1, message };
        let record: CellRecord =
            serde_json::from_slice(line).map_err(|error| wrong(error.to_string()))?;
        if record.schema != SCHEMA {
            let message =
                format!("it has layout {}, and this program reads {SCHEMA}", record.schema);
            return Err(wrong(message));
        }
        records.insert(record.cell.clone(), record);
    }
    Ok(records)
}
