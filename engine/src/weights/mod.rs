//! Weight files pinned by digest in a folder of the user, so that a pipeline can name them and
//! nobody has to know a path.
//!
//! ```text
//! DIR/ViT-L-14-336/openai.pt    DIR/ViT-L-14-336/openai.json
//! ```
//! The JSON beside a file holds its size and digests. A file is complete before its record is
//! written, and a file without a record is not there. `fetch` is the one way by which the network
//! is used, and only when it is called.

mod fetch;
mod known;
#[cfg(test)]
mod tests;

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use ring::digest::{Context, SHA256};
use serde::{Deserialize, Serialize};
use thiserror::Error;

pub use known::{KNOWN, Known, find};

use crate::files::{WriteError, write_whole};
use crate::pipeline::NamedFile;
use crate::run::hex;

/// Variable that names the folder.
pub const VARIABLE: &str = "LOUPE_WEIGHTS";

#[derive(Debug, Error)]
pub enum WeightsError {
    #[error("no folder for weights is known: set HOME, XDG_DATA_HOME or {VARIABLE}")]
    NoFolder,
    #[error(
        "`{name}` cannot name weights: wants letters, digits, `.`, `_` and `-` in one to three \
         parts, such as `ViT-L-14-336/openai`"
    )]
    Name { name: String },
    #[error("cannot read `{}`: {source}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("cannot place `{}`: {source}", path.display())]
    Place { path: PathBuf, source: io::Error },
    #[error(transparent)]
    Write(#[from] WriteError),
    #[error("the record `{}` is damaged: {message}; add the file again", path.display())]
    Record { path: PathBuf, message: String },
    #[error(
        "`{file}` is not `{name}`: wants SHA-256 {want}, got {got}; the file is damaged or another \
         one (use a name of your own to pin it all the same)"
    )]
    NotIt { file: String, name: String, want: String, got: String },
    #[error(
        "`{name}` is pinned to another file (BLAKE3 {have}, this one has {got}); \
         `--replace` pins this one instead"
    )]
    Taken { name: String, have: String, got: String },
    #[error("no public weights are called `{name}`{hint}; `loupe weights ls` lists them")]
    Unknown { name: String, hint: String },
    #[error(
        "cannot fetch `{url}`: {message}; \
         download it elsewhere and run `loupe weights add FILE --as {name}`"
    )]
    Fetch { name: String, url: String, message: String },
}

/// A pinned file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pinned {
    pub name: String,
    /// Name of the file beside the record.
    pub file: String,
    pub bytes: u64,
    pub blake3: String,
    pub sha256: String,
    /// Path or address it came from.
    pub from: String,
}

/// What `verify` finds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    Good,
    Missing,
    /// Its BLAKE3 is another one now.
    Changed {
        got: String,
    },
}

/// The folder of pinned files.
#[derive(Clone, Debug)]
pub struct Registry {
    dir: PathBuf,
}

impl Registry {
    pub fn open(dir: impl Into<PathBuf>) -> Registry {
        Registry { dir: dir.into() }
    }

    /// `LOUPE_WEIGHTS`, or `loupe/weights` in the user's data folder. Errors: `NoFolder`.
    pub fn of_user() -> Result<Registry, WeightsError> {
        let set = |name: &str| {
            std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
        };
        let data = || {
            let home = || Some(set("HOME")?.join(".local/share"));
            Some(set("XDG_DATA_HOME").or_else(home)?.join("loupe/weights"))
        };
        set(VARIABLE).or_else(data).map(Registry::open).ok_or(WeightsError::NoFolder)
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Pins a copy of a file under a name: what becomes of the original does not touch the pin. True
    /// if the very same file was pinned before.
    /// Errors: `Name`, `Read`, `Place`, `Write`; `NotIt` if the name is public and the digest is
    /// not its file's; `Taken` if the name has another file and `replace` is false.
    pub fn add(
        &self,
        file: &Path,
        name: &str,
        replace: bool,
    ) -> Result<(Pinned, bool), WeightsError> {
        let name = checked_name(name)?;
        let digests = Digests::of(file)?;
        let from = fs::canonicalize(file).unwrap_or_else(|_| file.to_owned());
        let pinned = self.record(&name, &digests, &from.display().to_string(), file)?;
        if self.is_there(&pinned, replace)? {
            return Ok((pinned, true));
        }
        let temporary = self.temporary(&pinned)?;
        copy(file, &temporary)
            .map_err(|source| WeightsError::Place { path: temporary.clone(), source })?;
        self.adopt(&temporary, &pinned)?;
        Ok((pinned, false))
    }

    /// The pin of a name, if there is one. Errors: `Record`.
    pub fn get(&self, name: &str) -> Result<Option<Pinned>, WeightsError> {
        let Ok(name) = checked_name(name) else { return Ok(None) };
        let path = self.record_path(&name);
        match fs::read(&path) {
            Ok(bytes) => read_record(&path, &bytes).map(Some),
            Err(_) => Ok(None),
        }
    }

    /// All pins, sorted by name. Errors: `Record`, naming the damaged one.
    pub fn list(&self) -> Result<Vec<Pinned>, WeightsError> {
        let mut pins = Vec::new();
        collect(&self.dir, 3, &mut pins)?;
        pins.sort_by(|a: &Pinned, b: &Pinned| a.name.cmp(&b.name));
        Ok(pins)
    }

    /// Path of a pinned file.
    pub fn path(&self, pinned: &Pinned) -> PathBuf {
        let record = self.record_path(&pinned.name);
        record.with_file_name(&pinned.file)
    }

    /// Reads the whole file and compares. Errors: `Read`.
    pub fn verify(&self, pinned: &Pinned) -> Result<Verdict, WeightsError> {
        let path = self.path(pinned);
        if !path.exists() {
            return Ok(Verdict::Missing);
        }
        let got = Digests::of(&path)?.blake3;
        Ok(if got == pinned.blake3 { Verdict::Good } else { Verdict::Changed { got } })
    }

    /// What a name in a pipeline stands for: a pinned file, public weights that are not here, or
    /// nothing known.
    pub fn named(&self, name: &str) -> Option<NamedFile> {
        if let Ok(Some(pinned)) = self.get(name) {
            let path = self.path(&pinned);
            return Some(match path.is_file() {
                true => NamedFile::Here(path),
                false => NamedFile::Absent(format!(
                    "its file `{}` is gone: run `loupe weights add FILE --as {}`",
                    path.display(),
                    pinned.name
                )),
            });
        }
        let name = find(name)?.name();
        Some(NamedFile::Absent(format!(
            "run `loupe weights fetch {name}`, or `loupe weights add FILE --as {name}` with a copy"
        )))
    }

    /// A record for a file that is not placed yet. Errors: `NotIt`.
    fn record(
        &self,
        name: &str,
        digests: &Digests,
        from: &str,
        file: &Path,
    ) -> Result<Pinned, WeightsError> {
        if let Some(known) = find(name).filter(|known| !known.accepts(&digests.sha256)) {
            let rest = if known.is_certain() { "" } else { "…" };
            return Err(WeightsError::NotIt {
                file: from.to_owned(),
                name: name.to_owned(),
                want: format!("{}{rest}", known.sha256),
                got: digests.sha256.clone(),
            });
        }
        let last = name.rsplit('/').next().unwrap_or(name);
        Ok(Pinned {
            name: name.to_owned(),
            file: format!("{last}.{}", ending(file)),
            bytes: digests.bytes,
            blake3: digests.blake3.clone(),
            sha256: digests.sha256.clone(),
            from: from.to_owned(),
        })
    }

    /// Errors: `Taken`, `Record`.
    fn is_there(&self, pinned: &Pinned, replace: bool) -> Result<bool, WeightsError> {
        let before = match self.get(&pinned.name) {
            Err(_) if replace => None,
            found => found?,
        };
        match before {
            Some(before) if before.blake3 == pinned.blake3 && self.path(&before).is_file() => {
                Ok(true)
            }
            Some(before) if before.blake3 != pinned.blake3 && !replace => {
                Err(WeightsError::Taken {
                    name: pinned.name.clone(),
                    have: before.blake3,
                    got: pinned.blake3.clone(),
                })
            }
            _ => Ok(false),
        }
    }

    /// A free name in the folder of a pin, which is made.
    fn temporary(&self, pinned: &Pinned) -> Result<PathBuf, WeightsError> {
        let path = self.path(pinned);
        let folder = path.parent().unwrap_or(&self.dir);
        fs::create_dir_all(folder)
            .map_err(|source| WeightsError::Place { path: folder.to_owned(), source })?;
        let temporary = path.with_file_name(format!(".{}.tmp-{}", pinned.file, std::process::id()));
        match fs::remove_file(&temporary) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                Err(WeightsError::Place { path: temporary, source })
            }
            _ => Ok(temporary),
        }
    }

    /// Puts a complete file in its place, then writes its record.
    fn adopt(&self, temporary: &Path, pinned: &Pinned) -> Result<(), WeightsError> {
        let path = self.path(pinned);
        fs::rename(temporary, &path).map_err(|source| {
            // The first error is the one to tell.
            let _ = fs::remove_file(temporary);
            WeightsError::Place { path: path.clone(), source }
        })?;
        // A record of strings and a number always has a JSON form.
        let mut text = serde_json::to_vec_pretty(pinned).unwrap_or_default();
        text.push(b'\n');
        Ok(write_whole(&self.record_path(&pinned.name), &text)?)
    }

    fn record_path(&self, name: &str) -> PathBuf {
        self.dir.join(format!("{name}.json"))
    }
}

/// Size and digests of a file, from one reading.
struct Digests {
    bytes: u64,
    blake3: String,
    sha256: String,
}

/// Digests of what is fed to it.
struct Digester {
    bytes: u64,
    blake3: blake3::Hasher,
    sha256: Context,
}

impl Digester {
    fn new() -> Digester {
        Digester { bytes: 0, blake3: blake3::Hasher::new(), sha256: Context::new(&SHA256) }
    }

    fn update(&mut self, bytes: &[u8]) {
        self.bytes += bytes.len() as u64;
        self.blake3.update(bytes);
        self.sha256.update(bytes);
    }

    fn finish(self) -> Digests {
        Digests {
            bytes: self.bytes,
            blake3: self.blake3.finalize().to_hex().to_string(),
            sha256: hex(self.sha256.finish().as_ref()),
        }
    }
}

impl Digests {
    fn of(path: &Path) -> Result<Digests, WeightsError> {
        let fail = |source| WeightsError::Read { path: path.to_owned(), source };
        let mut file = File::open(path).map_err(fail)?;
        let mut digester = Digester::new();
        let mut buffer = vec![0; 1 << 20];
        loop {
            match file.read(&mut buffer).map_err(fail)? {
                0 => return Ok(digester.finish()),
                n => digester.update(buffer.get(..n).unwrap_or_default()),
            }
        }
    }
}

/// The one spelling of a name: publishers write `laion400m_e31` and `laion400m-e31`.
pub fn canonical(name: &str) -> String {
    name.replace('_', "-")
}

fn checked_name(name: &str) -> Result<String, WeightsError> {
    let is_part = |part: &str| {
        let allowed = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        !part.is_empty() && !part.starts_with('.') && part.chars().all(allowed)
    };
    let parts: Vec<&str> = name.split('/').collect();
    match parts.len() <= 3 && name.len() <= 200 && parts.into_iter().all(is_part) {
        true => Ok(canonical(name)),
        false => Err(WeightsError::Name { name: name.to_owned() }),
    }
}

/// A file's own ending, unless it would look like a record.
fn ending(file: &Path) -> String {
    let ending = file.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
    let plain = !ending.is_empty() && ending.chars().all(|c| c.is_ascii_alphanumeric());
    if plain && ending != "json" { ending.to_owned() } else { "weights".to_owned() }
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    let copied = fs::copy(from, to).and_then(|_| File::open(to)?.sync_all());
    if copied.is_err() {
        // The first error is the one to tell.
        let _ = fs::remove_file(to);
    }
    copied
}

fn read_record(path: &Path, bytes: &[u8]) -> Result<Pinned, WeightsError> {
    let bad = |message: String| WeightsError::Record { path: path.to_owned(), message };
    let pinned: Pinned = serde_json::from_slice(bytes).map_err(|error| bad(error.to_string()))?;
    match pinned.file.contains('/') || checked_name(&pinned.name).is_err() {
        true => Err(bad("it names a file outside of its folder".to_owned())),
        false => Ok(pinned),
    }
}

fn collect(folder: &Path, depth: usize, pins: &mut Vec<Pinned>) -> Result<(), WeightsError> {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() && depth > 1 {
            collect(&path, depth - 1, pins)?;
        } else if path.extension().is_some_and(|ending| ending == "json") {
            let bytes = fs::read(&path)
                .map_err(|source| WeightsError::Read { path: path.clone(), source })?;
            pins.push(read_record(&path, &bytes)?);
        }
    }
    Ok(())
}
