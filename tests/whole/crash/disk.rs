//! A full disk, a failing one and a limit on the size of files: results do not need the cache, and
//! a run folder that cannot be written is said by name.

use std::fs::File;
use std::process::Command;

use loupe_tests::{Ended, loupe};

use super::bench::{Bench, FEW, Outcome, files, same_files};
use super::shim::Shim;

const FULL: &str = "No space left on device";
const BROKEN: &str = "Input/output error";

#[test]
fn a_full_disk_under_the_cache_costs_the_cache_alone() {
    let bench = Bench::new(&FEW);
    let want = bench.undisturbed();
    let shim = Shim::build(&bench);
    let [n_bytes, _] = shim.count(&bench, "counted", &bench.cache("counted"));
    for percent in [1, 5, 25, 34, 55, 80, 99] {
        let name = format!("full-{percent}");
        let after = n_bytes * percent / 100;
        let ended = bench.ended(&mut shim.run(&bench, &name, &bench.cache(&name), "full", after));
        println!("{after} of {n_bytes} bytes: {}", ended.stderr);
        goes_on_without_the_cache(&bench, &name, &ended, &want);
        bench.recovers(&name, &want);
    }
}

#[test]
fn a_failing_disk_under_the_cache_costs_the_cache_alone() {
    let bench = Bench::new(&FEW);
    let want = bench.undisturbed();
    let shim = Shim::build(&bench);
    for (mode, after) in
        [("write", 5), ("write", 40), ("sync", 3), ("sync", 12), ("rename", 2), ("rename", 8)]
    {
        let name = format!("{mode}-{after}");
        let ended = bench.ended(&mut shim.run(&bench, &name, &bench.cache(&name), mode, after));
        println!("{name}: {}", ended.stderr);
        goes_on_without_the_cache(&bench, &name, &ended, &want);
        bench.recovers(&name, &want);
    }
}

/// Done, with the right results, and a warning that names a file of the cache and says why.
fn goes_on_without_the_cache(bench: &Bench, name: &str, ended: &Ended, want: &Outcome) {
    assert_eq!(ended.code, Some(0), "{name}: {}", ended.stderr);
    same_files(&want.files, &files(&bench.out(name)), name);
    let warned = ended.stderr.lines().any(|line| {
        line.starts_with(&format!("warning: cannot write `WORLD/cache-{name}/"))
            && line.contains("turn the cache off")
    });
    assert!(warned, "{name}: {}", ended.stderr);
}

#[test]
fn a_cache_that_cannot_even_be_opened_is_said_and_leaves_nothing_behind() {
    let bench = Bench::new(&FEW[..1]);
    let want = bench.undisturbed();
    let shim = Shim::build(&bench);
    for (mode, after, cause) in [("full", 0, FULL), ("full", 30, FULL), ("sync", 0, BROKEN)] {
        let name = format!("{mode}-{after}");
        let ended = bench.ended(&mut shim.run(&bench, &name, &bench.cache(&name), mode, after));
        assert_eq!(ended.code, Some(1), "{}", ended.stderr);
        let head = format!("error: cannot open the cache `WORLD/cache-{name}/CACHE.toml`: {cause}");
        assert!(ended.stderr.starts_with(&head), "{}", ended.stderr);
        bench.recovers(&name, &want);
    }
}

#[test]
fn a_full_or_failing_disk_under_the_run_folder_is_said_by_file_and_cause() {
    let bench = Bench::new(&FEW);
    let want = bench.undisturbed();
    let shim = Shim::build(&bench);
    let [n_bytes, n_calls] = shim.count(&bench, "counted", &bench.out("counted"));
    let mut cases = vec![("sync", 0, BROKEN), ("rename", n_calls / 8, BROKEN)];
    cases.extend([0, 1, 3, 8, 30, 97].map(|percent| ("full", n_bytes * percent / 100, FULL)));
    for (mode, after, cause) in cases {
        let name = format!("{mode}-{after}");
        let ended = bench.ended(&mut shim.run(&bench, &name, &bench.out(&name), mode, after));
        println!("{name} of {n_bytes} bytes, {n_calls} calls: {}", ended.stderr);
        assert_eq!(ended.code, Some(1), "{}", ended.stderr);
        let last = ended.stderr.lines().last().unwrap_or_default();
        let head = format!("error: cannot write `WORLD/out-{name}/");
        assert!(last.starts_with(&head) && last.contains(cause), "{}", ended.stderr);
        // What is there is whole: of the run that was or of the one that is.
        for (file, bytes) in files(&bench.out(&name)) {
            assert!(!file.contains(".tmp-"), "{file}");
            if file.ends_with(".json") {
                serde_json::from_slice::<serde_json::Value>(&bytes).unwrap();
            }
        }
        bench.recovers(&name, &want);
    }
}

/// The run of `name` with files of at most so many bytes.
fn limited(bench: &Bench, name: &str, max_bytes: u64) -> Command {
    let run = bench.run(name);
    let mut command = Command::new("sh");
    // `ulimit -f` counts blocks of 512 bytes.
    command.args(["-c", "ulimit -f \"$0\" && exec \"$@\"", &(max_bytes / 512).to_string()]);
    command.arg(loupe()).args(run.get_args()).env_clear();
    command.current_dir(loupe_tests::root());
    command.envs(run.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command
}

#[test]
fn a_limit_on_the_size_of_files_is_an_error_and_not_the_end() {
    let bench = Bench::new(&FEW[..1]);
    // Wide embeddings on a fine grid: one file of the cache is larger than any plugin, which the
    // loader copies.
    bench.pipeline("f32", 1024);
    bench.finer_grid();
    let want = bench.undisturbed();
    let max_bytes = 18 << 20;
    let largest = want.values.values().map(|(_, bytes)| bytes.len()).sum::<usize>();
    assert!(largest > 2 * max_bytes, "{largest}");
    let ended = bench.ended(&mut limited(&bench, "limited", max_bytes as u64));
    assert!(ended.stderr.contains("File too large"), "{}", ended.stderr);
    goes_on_without_the_cache(&bench, "limited", &ended, &want);
    bench.recovers("limited", &want);
}

#[test]
fn a_limit_that_no_plugin_fits_in_is_said_in_words() {
    let bench = Bench::new(&FEW[..1]);
    let want = bench.undisturbed();
    // Under the last one the talk itself cannot be written either: it goes to a file here.
    for max_bytes in [4 << 20, 65_536, 0] {
        let name = format!("limited-{max_bytes}");
        let ended = bench.ended(&mut limited(&bench, &name, max_bytes));
        println!("{max_bytes}: {}", ended.stderr);
        assert_eq!(ended.code, Some(6), "{}", ended.stderr);
        let words =
            "libloupe_clip.so` could not be loaded: cannot be copied into memory: File too large";
        assert!(ended.stderr.contains(words) || max_bytes == 0, "{}", ended.stderr);
        assert!(!bench.out(&name).exists() && !bench.cache(&name).exists());
        bench.recovers(&name, &want);
    }
}

#[test]
fn talk_that_nobody_takes_costs_nothing_and_data_that_cannot_be_written_is_an_error() {
    let bench = Bench::new(&FEW[..1]);
    let want = bench.undisturbed();
    let full = || File::options().write(true).open("/dev/full").unwrap();
    let closed = || std::io::pipe().unwrap().1;
    let mut commands = ["stderr", "stdout", "closed"].map(|name| bench.run(name));
    commands[0].stderr(full());
    commands[1].stdout(full());
    commands[2].stderr(closed()).stdout(closed());
    let ended = commands.map(|mut command| bench.world.ended(&command.output().unwrap()));
    assert_eq!(ended.each_ref().map(|ended| ended.code), [Some(0), Some(1), Some(0)], "{ended:#?}");
    assert!(ended[0].stdout.starts_with("setting: inductive\nprotocol: native\n"), "{ended:#?}");
    let words = format!("error: cannot write to standard output: {FULL} (os error 28)\n");
    assert!(ended[1].stderr.ends_with(&words), "{ended:#?}");
    for name in ["stderr", "stdout", "closed"] {
        want.check(&bench.outcome(name), name);
    }
}
