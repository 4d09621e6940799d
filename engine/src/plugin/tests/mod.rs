//! Hostile and polite plugins in C, compiled here with the header alone.

mod calls;
mod loading;
mod polite;
mod small;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::info::Kind;
use super::{Catalog, Instance, Level, Loader, Options, PluginError, Prober, StageHost, Tensor};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// A folder of a test's own, with plugins built into it.
struct Workshop {
    folder: tempfile::TempDir,
}

impl Workshop {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    /// Builds `tests/hostile/{source}.c` with the switches, as `{name}.so`.
    fn build(&self, name: &str, source: &str, switches: &[&str]) -> PathBuf {
        let out = self.folder.path().join(name).with_extension("so");
        let done = Command::new("cc")
            .args(["-std=gnu11", "-shared", "-fPIC", "-w"])
            .args(switches.iter().map(|switch| format!("-D{switch}")))
            .arg("-I")
            .arg(format!("{ROOT}/plugins/sdk/include"))
            .arg(format!("{ROOT}/tests/hostile/{source}.c"))
            .arg("-o")
            .arg(&out)
            .output()
            .expect("`cc` is needed to build the plugins of these tests");
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        out
    }

    /// Reasons for which files were refused, without this folder's own name.
    fn reasons(&self, loader: &Loader) -> String {
        let folder = self.folder.path().display().to_string();
        let reasons = loader.rejected().into_iter().map(|(path, why)| {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            format!("{name}: {}", why.replace(&folder, "FOLDER"))
        });
        reasons.collect::<Vec<_>>().join("\n")
    }
}

/// Loads these files into this process, untried.
fn load(paths: &[&Path]) -> Loader {
    let paths = paths.iter().map(|path| path.to_path_buf()).collect();
    Loader::new(&Options { paths, search: false, prober: None })
}

/// Loads these files after trying them in a child process: this test program itself, at
/// `probe_child`.
fn load_tried(paths: &[&Path], limit: Duration, memory_dir: Option<PathBuf>) -> Loader {
    let prober = Prober {
        program: std::env::current_exe().unwrap(),
        args: ["--exact", "plugin::tests::probe_child", "--nocapture"].map(Into::into).to_vec(),
        limit,
        memory_dir,
    };
    let paths = paths.iter().map(|path| path.to_path_buf()).collect();
    Loader::new(&Options { paths, search: false, prober: Some(prober) })
}

/// No test of its own: what `load_tried` starts.
#[test]
fn probe_child() {
    if let Some(path) = std::env::args().next_back().filter(|path| path.ends_with(".so")) {
        super::probe_main(Path::new(&path));
    }
}

/// A host that keeps what it is told.
fn host() -> (Arc<StageHost>, Arc<Mutex<Vec<String>>>) {
    let said = Arc::new(Mutex::new(Vec::new()));
    let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
    let cancel = Arc::new(AtomicBool::new(false));
    let mut host = StageHost::new("stage", 0, Vec::new(), Arc::new(pool), cancel);
    let log = Arc::clone(&said);
    host.log = Box::new(move |stage, level: Level, text| {
        log.lock().unwrap().push(format!("{stage} {level:?} {text}"));
    });
    let progress = Arc::clone(&said);
    host.progress = Box::new(move |stage, done, total| {
        progress.lock().unwrap().push(format!("{stage} {done} of {total:?}"));
    });
    (Arc::new(host), said)
}

fn create(loader: &Loader, kind: Kind, name: &str) -> Result<Instance, PluginError> {
    loader.create(kind, name, &serde_json::json!({}), host().0)
}

fn tensor(shape: &[usize], data: &[f32]) -> Tensor {
    Tensor::new(shape.to_vec(), data.to_vec()).unwrap()
}
