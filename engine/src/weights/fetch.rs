//! `loupe weights fetch`: downloads a public file, compares its digest, and pins it. The engine's
//! only use of the network beside `loupe prompts generate`.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::Path;
use std::time::Duration;

use super::{Digester, Digests, Known, Pinned, Registry, WeightsError, find};
use crate::pipeline::diagnostics::nearest;

/// Told after each piece: bytes so far, and the whole size if the server said it.
pub type Progress<'a> = &'a mut dyn FnMut(u64, Option<u64>);

impl Registry {
    /// Fetches public weights and pins them. `mirror` is an address under which files have their
    /// own names, in the place of the publisher's. True if they were pinned before, and nothing was
    /// fetched.
    /// Errors: `Unknown`, `Fetch`, `NotIt`, `Taken`, `Place`, `Write`; nothing is kept of a file
    /// that is refused.
    pub fn fetch(
        &self,
        name: &str,
        mirror: Option<&str>,
        progress: Progress<'_>,
    ) -> Result<(Pinned, bool), WeightsError> {
        let known = find(name).ok_or_else(|| unknown(name))?;
        if let Some(pinned) = self.get(&known.name())?.filter(|pin| self.path(pin).is_file()) {
            return Ok((pinned, true));
        }
        let url = address(known, mirror);
        let file_name = url.rsplit('/').next().unwrap_or("weights").to_owned();
        // Digests come with the bytes: the place of the file is made first.
        let place = Pinned {
            name: known.name(),
            file: file_name,
            bytes: 0,
            blake3: String::new(),
            sha256: String::new(),
            from: url.clone(),
        };
        let temporary = self.temporary(&place)?;
        let pinned = download(known, &url, &temporary, progress).and_then(|digests| {
            let pinned = self.record(&known.name(), &digests, &url, Path::new(&place.file))?;
            self.is_there(&pinned, false)?;
            Ok(pinned)
        });
        if pinned.is_err() {
            // The first error is the one to tell.
            let _ = fs::remove_file(&temporary);
        }
        let pinned = pinned?;
        self.adopt(&temporary, &pinned)?;
        Ok((pinned, false))
    }
}

fn unknown(name: &str) -> WeightsError {
    let names: Vec<String> = super::KNOWN.iter().map(Known::name).collect();
    let near = nearest(name, names.iter().map(String::as_str));
    let hint = near.map_or_else(String::new, |near| format!(" (did you mean `{near}`?)"));
    WeightsError::Unknown { name: name.to_owned(), hint }
}

fn address(known: &Known, mirror: Option<&str>) -> String {
    let url = known.url();
    match (mirror, url.rsplit('/').next()) {
        (Some(mirror), Some(file)) => format!("{}/{file}", mirror.trim_end_matches('/')),
        _ => url,
    }
}

fn download(
    known: &Known,
    url: &str,
    to: &Path,
    progress: Progress<'_>,
) -> Result<Digests, WeightsError> {
    let fail =
        |message: String| WeightsError::Fetch { name: known.name(), url: url.to_owned(), message };
    let config = ureq::Agent::config_builder()
        .timeout_resolve(Some(Duration::from_secs(20)))
        .timeout_connect(Some(Duration::from_secs(20)))
        .timeout_recv_response(Some(Duration::from_secs(60)))
        .build();
    let response = ureq::Agent::from(config).get(url).call();
    let body = response.map_err(|error| fail(error.to_string()))?.into_body();
    let whole = body.content_length();
    let mut reader = body.into_reader();
    let placing = |source| WeightsError::Place { path: to.to_owned(), source };
    let mut file = File::create(to).map_err(placing)?;
    let mut digester = Digester::new();
    let mut buffer = vec![0; 1 << 18];
    loop {
        let n_bytes = reader.read(&mut buffer).map_err(|error| fail(error.to_string()))?;
        let piece = buffer.get(..n_bytes).unwrap_or_default();
        if piece.is_empty() {
            break;
        }
        file.write_all(piece).map_err(placing)?;
        digester.update(piece);
        progress(digester.bytes, whole);
    }
    file.sync_all().map_err(placing)?;
    let digests = digester.finish();
    match whole {
        Some(whole) if whole != digests.bytes => {
            Err(fail(format!("it ended after {} of {whole} bytes", digests.bytes)))
        }
        _ => Ok(digests),
    }
}
