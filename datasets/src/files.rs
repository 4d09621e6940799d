//! Small text files that users and other projects write: layouts, split tables, lists of images.

use std::fs::File;
use std::io::{Error, ErrorKind, Read};
use std::path::Path;

use crate::error::DatasetError;

/// More than any list of images needs, and little enough to read by mistake.
const MAX_BYTES: u64 = 64 << 20;

/// The text of a file. Errors: `Read`, also for text that is not UTF-8 or has no sensible size.
pub(crate) fn read_text(path: &Path) -> Result<String, DatasetError> {
    let fail = |source| DatasetError::Read { path: path.to_owned(), source };
    let mut text = String::new();
    let file = File::open(path).map_err(fail)?;
    let n_bytes = file.take(MAX_BYTES + 1).read_to_string(&mut text).map_err(fail)?;
    if n_bytes as u64 > MAX_BYTES {
        let message = format!("it is larger than {} MiB", MAX_BYTES >> 20);
        return Err(fail(Error::new(ErrorKind::InvalidData, message)));
    }
    Ok(text)
}
