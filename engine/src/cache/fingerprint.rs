//! Fingerprints: what a component's binary answers to a fixed probe. Outputs that change under one
//! revision are caught by comparing the stored fingerprint with the new one; the engine does so.

use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};

use super::{Cache, CacheError, Key, write_file};

/// The outputs' digest, and the digests of all binaries that were seen to give it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fingerprint {
    pub outputs: [u8; 32],
    pub binaries: Vec<[u8; 32]>,
}

impl Cache {
    /// `None` if there is none, or if its file is damaged: it is then made again.
    pub fn fingerprint_get(&self, component: &Key) -> Option<Fingerprint> {
        let text = fs::read_to_string(self.fingerprint_path(component)?).ok()?;
        let value: Value = serde_json::from_str(&text).ok()?;
        let binaries = value.get("binaries")?.as_array()?;
        let binaries: Option<Vec<_>> = binaries.iter().map(digest).collect();
        Some(Fingerprint { outputs: digest(value.get("outputs")?)?, binaries: binaries? })
    }

    /// Errors: `Write`, naming the file.
    pub fn fingerprint_put(
        &self,
        component: &Key,
        fingerprint: &Fingerprint,
    ) -> Result<(), CacheError> {
        let Some(path) = self.fingerprint_path(component) else {
            return Ok(());
        };
        let hex = |digest: &[u8; 32]| Key(*digest).to_string();
        let binaries: Vec<String> = fingerprint.binaries.iter().map(hex).collect();
        let value = json!({ "outputs": hex(&fingerprint.outputs), "binaries": binaries });
        write_file(&path, format!("{value:#}\n").as_bytes())
            .map_err(|error| CacheError::Write { path, cause: error.to_string() })
    }

    fn fingerprint_path(&self, component: &Key) -> Option<PathBuf> {
        let store = self.store.as_ref()?;
        Some(store.dir().join("fingerprints").join(format!("{component}.json")))
    }
}

fn digest(value: &Value) -> Option<[u8; 32]> {
    let text = value.as_str().filter(|text| text.len() == 64 && text.is_ascii())?;
    let mut digest = [0; 32];
    for (i, byte) in digest.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * i..2 * i + 2)?, 16).ok()?;
    }
    Some(digest)
}
