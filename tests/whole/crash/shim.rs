//! Builds `shim.c` and starts runs under it.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::bench::Bench;

/// A library that stands between a run and the files below one folder.
pub struct Shim {
    library: PathBuf,
}

impl Shim {
    pub fn build(bench: &Bench) -> Shim {
        let library = bench.world.path("shim.so");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("whole/crash/shim.c");
        let mut cc = Command::new("cc");
        cc.args(["-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o"]).arg(&library).arg(&source);
        let built = cc.arg("-ldl").output().unwrap();
        assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
        Shim { library }
    }

    /// The run of `name`, in the way that `mode` says, `after` so many bytes or calls below
    /// `folder`.
    pub fn run(&self, bench: &Bench, name: &str, folder: &Path, mode: &str, after: u64) -> Command {
        let mut command = bench.run(name);
        command
            .env("LD_PRELOAD", &self.library)
            .env("SHIM_DIR", folder)
            .env("SHIM_MODE", mode)
            .env("SHIM_AFTER", after.to_string());
        command
    }

    /// Bytes and calls of an undisturbed run below a folder.
    pub fn count(&self, bench: &Bench, name: &str, folder: &Path) -> [u64; 2] {
        let report = bench.world.path("shim-report");
        let mut command = self.run(bench, name, folder, "count", 0);
        let ended = bench.ended(command.env("SHIM_REPORT", &report));
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        let text = std::fs::read_to_string(report).unwrap();
        let numbers: Vec<u64> = text.split_whitespace().map(|word| word.parse().unwrap()).collect();
        [numbers[0], numbers[1]]
    }
}
