//! A plugin's first load happens in a child process, so that a crash in it costs a message and not
//! the run. What depends on the file's bytes alone is remembered under their digest.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{Read, Seek, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use loupe_plugin::abi::LOUPE_ABI;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::error::LoadError;
use super::load::Image;

/// The hidden subcommand that runs `probe_main`.
pub const PROBE_COMMAND: &str = "__probe";

/// What a plugin may print of itself before its report.
const MAX_REPORT: u64 = 16 << 20;
/// A child whose parent was killed ends itself after so many seconds.
const ALARM_SECONDS: u32 = 60;

/// How plugins are tried.
#[derive(Clone, Debug)]
pub struct Prober {
    /// Called with `args` and the plugin's path; it must end in `probe_main`.
    pub program: PathBuf,
    pub args: Vec<OsString>,
    pub limit: Duration,
    /// Where results are remembered; `None`: nowhere.
    pub memory_dir: Option<PathBuf>,
}

/// What loading these bytes did to the process. What the descriptor says is judged anew each time.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Remembered {
    /// 0: it survived.
    signal: i32,
}

/// Loads one plugin and prints one line of JSON: its components, or why it was refused and whether
/// its code ran.
pub fn probe_main(path: &Path) -> ExitCode {
    let no_core = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: plain system calls on this process; the limit lives through the call. Rust's
    // handlers, which tell a stack overflow from other faults, let the first fault that a plugin
    // raises itself pass.
    unsafe {
        libc::setrlimit(libc::RLIMIT_CORE, &no_core);
        libc::signal(libc::SIGSEGV, libc::SIG_DFL);
        libc::signal(libc::SIGBUS, libc::SIG_DFL);
        libc::alarm(ALARM_SECONDS);
    }
    let report = match Image::read(path).and_then(|image| image.link()) {
        Ok(contents) => {
            let infos: Vec<_> = contents.components.iter().map(|found| &found.info).collect();
            json!({ "components": infos, "skipped": contents.skipped })
        }
        Err(error) => json!({ "refused": error.to_string(), "ran": has_run(&error) }),
    };
    let mut out = std::io::stdout().lock();
    match writeln!(out, "\n{report}").and_then(|()| out.flush()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

impl Prober {
    /// Errors: loading it would end or stop this process, as a child process or the memory of one
    /// says. A plugin that is refused in words passes: loading it is safe and gives the words.
    pub(super) fn probe(&self, image: &Image) -> Result<(), LoadError> {
        let memory = self.memory_dir.as_deref().map(|folder| memory_file(folder, &image.digest));
        let signal = match memory.as_deref().and_then(recall) {
            Some(remembered) => remembered.signal,
            None => {
                let outcome = self.try_in_child(&image.path)?;
                if let (Some(memory), Some(signal)) = (memory, outcome) {
                    // A memory that cannot be written is one more try the next time.
                    let _ = remember(&memory, &Remembered { signal });
                }
                outcome.unwrap_or(0)
            }
        };
        if signal == 0 { Ok(()) } else { Err(LoadError::Crashed { signal }) }
    }

    /// The signal that ended it, 0 for none; `None`: it was refused before its code ran, which
    /// tells nothing for later.
    fn try_in_child(&self, path: &Path) -> Result<Option<i32>, LoadError> {
        let cannot = |source| {
            let program = self.program.display().to_string();
            LoadError::Probe { program, source }
        };
        let mut report = tempfile::tempfile().map_err(cannot)?;
        let mut child = Command::new(&self.program)
            .args(&self.args)
            .arg(path)
            .stdin(Stdio::null())
            .stdout(report.try_clone().map_err(cannot)?)
            .stderr(Stdio::null())
            .spawn()
            .map_err(cannot)?;
        let Some(status) = wait(&mut child, self.limit).map_err(cannot)? else {
            return Err(LoadError::TimedOut { seconds: self.limit.as_secs_f32() });
        };
        if let Some(signal) = status.signal() {
            return Ok(Some(signal));
        }
        let report = last_json(&mut report).map_err(cannot)?.filter(|_| status.success());
        let has = |key: &str| report.as_ref().and_then(|report| report.get(key));
        match (has("components"), has("ran").and_then(Value::as_bool)) {
            (Some(_), _) | (None, Some(true)) => Ok(Some(0)),
            (None, Some(false)) => Ok(None),
            (None, None) => Err(LoadError::Exited { status: status.to_string() }),
        }
    }
}

/// Whether a plugin that was refused got as far as running its constructors.
fn has_run(error: &LoadError) -> bool {
    !matches!(
        error,
        LoadError::Read { .. }
            | LoadError::Elf(_)
            | LoadError::Copy { .. }
            | LoadError::Link { .. }
    )
}

/// `None`: it did not end in time and was killed.
fn wait(child: &mut Child, limit: Duration) -> std::io::Result<Option<ExitStatus>> {
    let (start, mut pause) = (Instant::now(), Duration::from_millis(1));
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if start.elapsed() >= limit {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(20));
    }
}

/// The plugin may have printed anything around the report; the last line that is an object counts.
fn last_json(report: &mut File) -> std::io::Result<Option<Value>> {
    report.rewind()?;
    let mut bytes = Vec::new();
    report.take(MAX_REPORT).read_to_end(&mut bytes)?;
    let lines = bytes.rsplit(|byte| *byte == b'\n');
    Ok(lines.filter_map(|line| serde_json::from_slice(line).ok()).find(Value::is_object))
}

fn memory_file(folder: &Path, digest: &[u8; 32]) -> PathBuf {
    folder.join(format!("abi{LOUPE_ABI}-{}.json", blake3::Hash::from_bytes(*digest).to_hex()))
}

/// A memory that is missing or not understood is no memory.
fn recall(memory: &Path) -> Option<Remembered> {
    serde_json::from_slice(&fs::read(memory).ok()?).ok()
}

fn remember(memory: &Path, remembered: &Remembered) -> std::io::Result<()> {
    let Some(folder) = memory.parent() else { return Ok(()) };
    fs::create_dir_all(folder)?;
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    serde_json::to_writer(&mut file, remembered)?;
    file.as_file().sync_all()?;
    file.persist(memory)?;
    Ok(())
}

/// `XDG_CACHE_HOME` or `~/.cache`, then `loupe/plugins`.
pub fn default_memory_dir() -> Option<PathBuf> {
    let absolute =
        |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|p| p.is_absolute());
    let cache = absolute("XDG_CACHE_HOME").or_else(|| Some(absolute("HOME")?.join(".cache")))?;
    Some(cache.join("loupe/plugins"))
}
