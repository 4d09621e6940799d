//! From a file to components: checked, copied, linked, described. What is loaded stays for the
//! process's life.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Write};
use std::mem::ManuallyDrop;
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use libloading::os::unix::{Library, RTLD_LOCAL, RTLD_NOW};
use loupe_plugin::abi::{LOUPE_ENTRY_SYMBOL, LoupePlugin};

use super::descriptor::{self, Contents};
use super::elf;
use super::error::LoadError;

/// A file read once, so that what was checked and tried is what is linked.
pub(super) struct Image {
    pub path: PathBuf,
    pub bytes: Vec<u8>,
    pub digest: [u8; 32],
}

impl Image {
    /// Errors: `Read`, `Elf`.
    pub fn read(path: &Path) -> Result<Self, LoadError> {
        let bytes = fs::read(path).map_err(|source| LoadError::Read { source })?;
        elf::check(&bytes)?;
        let digest = *blake3::hash(&bytes).as_bytes();
        Ok(Self { path: path.to_owned(), bytes, digest })
    }

    /// Links the plugin into this process and reads its descriptor. Its constructors run here.
    /// Errors: `Copy`, `Link`, `Symbol`, `Abi`, `AbortsOnPanic`, `Descriptor`.
    pub fn link(&self) -> Result<Contents, LoadError> {
        let copy = PrivateCopy::new(&self.bytes).map_err(|source| LoadError::Copy { source })?;
        // SAFETY: running a plugin's constructors is what loading means; the file is whole and of
        // this machine, and was tried in a child process unless the user turned that off.
        let library = unsafe { Library::open(Some(copy.path()), RTLD_NOW | RTLD_LOCAL) };
        // Never unloaded: thread-locals and threads of a plugin may outlive any moment at which it
        // could be.
        let library = ManuallyDrop::new(library.map_err(|error| self.link_error(&error, &copy))?);
        copy.linked();
        // SAFETY: the symbol has this type by the definition of the boundary.
        let entry = unsafe {
            library.get::<Option<unsafe extern "C" fn() -> *const LoupePlugin>>(
                LOUPE_ENTRY_SYMBOL.as_bytes(),
            )
        };
        let entry = entry.ok().and_then(|symbol| *symbol);
        let entry = entry.ok_or(LoadError::Symbol { symbol: LOUPE_ENTRY_SYMBOL })?;
        // SAFETY: the entry takes nothing; what it gives lives as long as the plugin.
        unsafe { descriptor::read(entry(), &self.path, self.digest) }
    }

    /// The linker's words, with the file's own name instead of the copy's.
    fn link_error(&self, error: &libloading::Error, copy: &PrivateCopy) -> LoadError {
        let message = std::error::Error::source(error)
            .map_or_else(|| error.to_string(), |source| source.to_string());
        let name = self.path.file_name().unwrap_or(OsStr::new("plugin")).to_string_lossy();
        LoadError::Link { message: message.replace(&*copy.path().to_string_lossy(), &name) }
    }
}

/// Where the linker reads the plugin from. Overwriting a mapped library crashes the process, and
/// the linker knows libraries by name and inode, so that a rebuilt plugin needs a new one.
enum PrivateCopy {
    Memory {
        file: OwnedFd,
        path: PathBuf,
    },
    /// Where memory files are forbidden. Removed as soon as it is linked.
    Temporary {
        file: tempfile::TempPath,
    },
}

impl PrivateCopy {
    fn new(bytes: &[u8]) -> io::Result<Self> {
        // SAFETY: the name is NUL-terminated; the result is checked.
        let fd = unsafe { libc::memfd_create(c"loupe-plugin".as_ptr(), libc::MFD_CLOEXEC) };
        if fd < 0 {
            return Self::temporary(bytes);
        }
        // SAFETY: the descriptor is new and nobody else's.
        let mut file = unsafe { File::from_raw_fd(fd) };
        file.write_all(bytes)?;
        let path = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
        if !path.exists() {
            return Self::temporary(bytes);
        }
        Ok(Self::Memory { file: file.into(), path })
    }

    fn temporary(bytes: &[u8]) -> io::Result<Self> {
        let mut file = tempfile::Builder::new().prefix("loupe-").suffix(".so").tempfile()?;
        file.write_all(bytes)?;
        file.as_file().set_permissions(fs::Permissions::from_mode(0o700))?;
        Ok(Self::Temporary { file: file.into_temp_path() })
    }

    fn path(&self) -> &Path {
        match self {
            Self::Memory { path, .. } => path,
            Self::Temporary { file } => file,
        }
    }

    /// The descriptor of a memory file stays open: its number is the library's name, and a second
    /// library under the same name would be taken for the first.
    fn linked(self) {
        match self {
            Self::Memory { file, .. } => {
                let _ = file.into_raw_fd();
            }
            Self::Temporary { file } => drop(file),
        }
    }
}
