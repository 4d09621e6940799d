//! Files that are either whole or not there: written beside their name, synced, then renamed.

use std::fs::{self, File, TryLockError};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use thiserror::Error;

#[derive(Debug, Error)]
#[error("cannot write `{}`: {source}; free space, or choose another folder", path.display())]
pub struct WriteError {
    pub path: PathBuf,
    pub source: io::Error,
}

/// Writes `bytes` so that a reader finds the old file or the new one, and never a part, and so that the new one survives
/// a crash of the machine. Makes the folder if needed.
/// Errors: the path and what the system said; the temporary file is gone again.
pub fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), WriteError> {
    write(path, bytes, true)
}

/// The same for one of many files: a crash of the program leaves it whole, one of the machine may lose it until `sync`.
pub fn write_soon(path: &Path, bytes: &[u8]) -> Result<(), WriteError> {
    write(path, bytes, false)
}

/// Makes files of `write_soon` survive a crash of the machine. Together they cost little more than one: the first waits
/// for the journal, the others find it written.
pub fn sync<'a>(paths: impl IntoIterator<Item = &'a PathBuf>) -> Result<(), WriteError> {
    for path in paths {
        let synced = File::open(path).and_then(|file| file.sync_all());
        synced.map_err(|source| WriteError { path: path.clone(), source })?;
    }
    Ok(())
}

/// Bytes of a file that people write, at most: a larger one is something else.
const MOST_TEXT: u64 = 64 << 20;

/// The bytes of a file that people write. Errors: the system's; more than 64 MiB, as of a device that
/// never ends.
pub fn read_text(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MOST_TEXT + 1).read_to_end(&mut bytes)?;
    match bytes.len() as u64 > MOST_TEXT {
        true => Err(io::Error::other("it has more than 64 MiB")),
        false => Ok(bytes),
    }
}

fn write(path: &Path, bytes: &[u8], synced: bool) -> Result<(), WriteError> {
    let fail = |source| WriteError { path: path.to_owned(), source };
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(fail)?;
    }
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".tmp-{}", std::process::id()));
    let temporary = path.with_file_name(name);
    let written = File::create(&temporary).and_then(|mut file| {
        file.write_all(bytes)?;
        if synced {
            file.sync_data()?;
        }
        fs::rename(&temporary, path)
    });
    written.map_err(|source| {
        // Nothing better can be done with a temporary file that cannot be removed.
        let _ = fs::remove_file(&temporary);
        fail(source)
    })
}

/// Locks a file or folder for this process alone; false if somebody else holds it. A child that another thread just forked
/// shares our locks until it becomes its program, so a lock that was given up may look held for a moment: it is asked for
/// ten times in a quarter of a second.
/// Errors: what the system said.
pub fn lock_alone(file: &File) -> io::Result<bool> {
    for _ in 0..10 {
        match file.try_lock() {
            Ok(()) => return Ok(true),
            Err(TryLockError::WouldBlock) => std::thread::sleep(Duration::from_millis(25)),
            Err(TryLockError::Error(source)) => return Err(source),
        }
    }
    Ok(false)
}

/// Bytes of a NumPy file of format 1.0: f32, C order. Shapes: `shape` holds `data`.
pub fn npy_f32(shape: &[usize], data: &[f32]) -> Vec<u8> {
    let dims: String = shape.iter().map(|dim| format!("{dim}, ")).collect();
    let mut header =
        format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({}), }}", dims.trim_end());
    // The format aligns the data to 64 bytes: magic 6, version 2, length 2, header with its newline.
    while (10 + header.len() + 1) % 64 != 0 {
        header.push(' ');
    }
    header.push('\n');
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.extend(data.iter().flat_map(|number| number.to_le_bytes()));
    bytes
}

/// One CSV field, quoted where it must be. A field that a spreadsheet would take for a formula gets a quote before it.
pub fn csv_field(text: &str) -> String {
    let formula = text.starts_with(['=', '+', '@'])
        || (text.starts_with('-') && text.parse::<f64>().is_err());
    let text = if formula { format!("'{text}") } else { text.to_owned() };
    if text.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_as_a_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b.txt");
        write_whole(&path, b"old and long").unwrap();
        write_whole(&path, b"new").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn a_failed_write_names_the_file_and_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("taken");
        fs::create_dir(&path).unwrap();
        let message = write_whole(&path, b"x").unwrap_err().to_string();
        assert!(message.contains("taken"), "{message}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_never_ends_is_not_read_for_ever() {
        let message = read_text(Path::new("/dev/zero")).unwrap_err().to_string();
        assert_eq!(message, "it has more than 64 MiB");
    }

    #[test]
    fn npy_has_the_published_layout() {
        let bytes = npy_f32(&[1, 2], &[1.0, -2.0]);
        assert_eq!(&bytes[..8], b"\x93NUMPY\x01\x00");
        assert_eq!((bytes.len() - 8) % 64, 0);
        assert!(String::from_utf8_lossy(&bytes).contains("'shape': (1, 2,), }"));
        assert_eq!(&bytes[bytes.len() - 4..], &(-2.0_f32).to_le_bytes());
    }

    #[test]
    fn csv_fields_are_quoted_where_they_must() {
        assert_eq!(csv_field("plain"), "plain");
        assert_eq!(csv_field("a,\"b\""), "\"a,\"\"b\"\"\"");
        assert_eq!(csv_field("=1+1"), "'=1+1");
        assert_eq!(csv_field("-0.5"), "-0.5");
    }
}
