//! What tests of the whole program share: the built program and plugins, a small data set, commands and their outcome.
//!
//! The program and its plugins are built before the tests, in the same profile (`make test` does both): cargo does not
//! build one package's libraries for another package's tests.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read, Seek};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// The project's folder. Asked when a test runs: one target folder serves several clones, and what
/// was compiled in another of them is not always compiled again.
pub fn root() -> PathBuf {
    let own = std::env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
    let own = own.unwrap_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")));
    own.parent().unwrap_or(Path::new(".")).to_owned()
}

/// Where cargo put the program and the plugins: two levels above the running test.
pub fn built() -> PathBuf {
    let test = std::env::current_exe().unwrap_or_default();
    test.ancestors().nth(2).unwrap_or(Path::new(".")).to_owned()
}

/// The program. Panics with what to do if it was not built.
pub fn loupe() -> PathBuf {
    let path = built().join("loupe");
    assert!(
        path.is_file(),
        "`{}` is missing: run `make test`, which builds it first",
        path.display()
    );
    path
}

/// A world of its own for one test: a folder with a home, a cache and whatever the test writes.
pub struct World {
    folder: tempfile::TempDir,
}

/// How a command ended.
#[derive(Debug, PartialEq, Eq)]
pub struct Ended {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl World {
    pub fn new() -> World {
        let folder =
            tempfile::tempdir().unwrap_or_else(|error| panic!("no temporary folder: {error}"));
        World { folder }
    }

    pub fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file below the world's folder.
    pub fn write(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        let folder = path.parent().unwrap_or(Path::new("."));
        let written = std::fs::create_dir_all(folder).and_then(|()| std::fs::write(&path, text));
        written.unwrap_or_else(|error| panic!("cannot write {}: {error}", path.display()));
        path
    }

    /// The program with these arguments, in the project's folder, knowing nothing of the user's own settings.
    pub fn command<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Command {
        let mut command = Command::new(loupe());
        command
            .args(arguments)
            .current_dir(root())
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.path("home"))
            .env("LOUPE_CACHE", self.path("cache"))
            .env("LOUPE_DEMO_DATA", self.path("data"));
        command
    }

    /// Runs the program; paths of this world are printed as `WORLD`.
    pub fn run<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Ended {
        let output = self.command(arguments).output();
        self.ended(&output.unwrap_or_else(|error| panic!("cannot run loupe: {error}")))
    }

    pub fn ended(&self, output: &Output) -> Ended {
        let text = |bytes: &[u8]| {
            let text = String::from_utf8_lossy(bytes);
            text.replace(&self.folder.path().display().to_string(), "WORLD")
        };
        Ended {
            code: output.status.code(),
            stdout: text(&output.stdout),
            stderr: text(&output.stderr),
        }
    }

    /// A small data set of procedural surfaces in `data`, made by the program.
    pub fn with_data(self) -> World {
        let data = self.path("data").display().to_string();
        let small =
            ["--size", "64", "--train", "2", "--good", "2", "--per-defect", "1", "--seed", "3"];
        let ended = self.run(["dataset", "make", &data].into_iter().chain(small));
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        self
    }
}

impl Default for World {
    fn default() -> World {
        World::new()
    }
}

/// A command that runs beside the test. It is killed and reaped when the test is done with it.
#[derive(Debug)]
pub struct Running {
    child: Child,
    stdout: File,
    stderr: File,
}

impl Running {
    /// Longest that a command may take on a slow and busy machine.
    const LIMIT: Duration = Duration::from_secs(300);

    pub fn start(command: &mut Command) -> Running {
        let mut start = || -> std::io::Result<Running> {
            let (stdout, stderr) = (tempfile::tempfile()?, tempfile::tempfile()?);
            let command = command.stdin(Stdio::null());
            let child = command.stdout(stdout.try_clone()?).stderr(stderr.try_clone()?).spawn()?;
            Ok(Running { child, stdout, stderr })
        };
        start().unwrap_or_else(|error| panic!("cannot run loupe: {error}"))
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn is_over(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    /// Sends SIGKILL; one that has ended already is left alone.
    pub fn kill(&mut self) {
        // The only refusal is that it has ended.
        let _ = self.child.kill();
    }

    /// Sends a signal by its name, such as `INT`.
    pub fn signal(&mut self, name: &str) {
        if !self.is_over() {
            let kill = format!("kill -{name} {}", self.id());
            let sent = Command::new("sh").args(["-c", &kill]).output();
            sent.unwrap_or_else(|error| panic!("cannot run `{kill}`: {error}"));
        }
    }

    /// Waits for it. Panics if it hangs.
    pub fn end(mut self) -> Output {
        let start = Instant::now();
        loop {
            match self.child.try_wait() {
                Ok(Some(status)) => {
                    let (stdout, stderr) = (bytes(&mut self.stdout), bytes(&mut self.stderr));
                    return Output { status, stdout, stderr };
                }
                Ok(None) if start.elapsed() < Self::LIMIT => {
                    std::thread::sleep(Duration::from_millis(2));
                }
                other => {
                    let said = String::from_utf8_lossy(&bytes(&mut self.stderr)).into_owned();
                    panic!("it did not end: {other:?}; it said: {said}");
                }
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
        // Nothing is left to do for one that cannot be reaped.
        let _ = self.child.wait();
    }
}

fn bytes(file: &mut File) -> Vec<u8> {
    let mut bytes = Vec::new();
    let read = file.rewind().and_then(|()| file.read_to_end(&mut bytes));
    read.unwrap_or_else(|error| panic!("cannot read what loupe said: {error}"));
    bytes
}

/// Every file below a folder with its bytes, by relative path.
pub fn tree(folder: &Path) -> std::collections::BTreeMap<String, Vec<u8>> {
    let mut found = std::collections::BTreeMap::new();
    let mut waiting = vec![folder.to_owned()];
    while let Some(next) = waiting.pop() {
        for entry in std::fs::read_dir(&next).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                waiting.push(path);
            } else if let (Ok(name), Ok(bytes)) = (path.strip_prefix(folder), std::fs::read(&path))
            {
                found.insert(name.to_string_lossy().into_owned(), bytes);
            }
        }
    }
    found
}

/// Shape and values of a NumPy file of little-endian f32. Panics if it is another one.
pub fn read_npy(path: &Path) -> (Vec<usize>, Vec<f32>) {
    let bytes = std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    assert!(bytes.starts_with(b"\x93NUMPY\x01\x00"), "{} is no .npy", path.display());
    let end = 10 + usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    let header = String::from_utf8_lossy(&bytes[10..end]);
    assert!(header.contains("'<f4'") && header.contains("'fortran_order': False"), "{header}");
    let shape = header.split(['(', ')']).nth(1).unwrap_or_default();
    let shape: Vec<usize> = shape.split(',').filter_map(|dim| dim.trim().parse().ok()).collect();
    let values = bytes[end..]
        .chunks_exact(4)
        .map(|four| f32::from_le_bytes([four[0], four[1], four[2], four[3]]));
    let values: Vec<f32> = values.collect();
    assert_eq!(shape.iter().product::<usize>(), values.len(), "{}", path.display());
    (shape, values)
}
