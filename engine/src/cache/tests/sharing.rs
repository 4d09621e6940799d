//! Several users of one folder, writers that die, disks that are full, and the garbage they leave.

use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use super::*;

#[test]
fn two_caches_on_one_folder_see_each_others_values() {
    let dir = TempDir::new().unwrap();
    let (one, two) = (open(&dir), open(&dir));
    for n in 0..3 {
        one.put(&meta("v"), key(n), arrays(n as f32), Dtype::F32).unwrap();
        one.flush().unwrap();
        assert_eq!(two.get(&key(n)).unwrap(), Some(arrays(n as f32)));
    }
    // The same value written twice is no harm.
    one.put(&meta("v"), key(8), arrays(8.0), Dtype::F32).unwrap();
    two.put(&meta("v"), key(8), arrays(8.0), Dtype::F32).unwrap();
    one.flush().unwrap();
    two.flush().unwrap();
    assert_eq!(two.get(&key(8)).unwrap(), Some(arrays(8.0)));
    assert_eq!(open(&dir).verify(1.0).bad, []);
}

#[test]
fn threads_put_flush_and_get_at_once() {
    let dir = TempDir::new().unwrap();
    let cache = open(&dir);
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let cache = &cache;
            scope.spawn(move || {
                for n in (0..30).map(|n| n * 4 + thread) {
                    cache.put(&meta("v"), key(n), arrays(n as f32), Dtype::F32).unwrap();
                    if n % 7 == 0 {
                        cache.flush().unwrap();
                    }
                    assert_eq!(cache.get(&key(n)).unwrap(), Some(arrays(n as f32)));
                }
            });
        }
    });
    cache.flush().unwrap();
    let again = open(&dir);
    assert!((0..120).all(|n| again.get(&key(n)).unwrap() == Some(arrays(n as f32))));
}

/// A child that is just starting holds a copy of every open file, and with it a lock of the parent.
#[test]
fn processes_that_start_meanwhile_hide_no_shard() {
    let dir = TempDir::new().unwrap();
    let cache = open(&dir);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                Command::new("true").status().unwrap();
            }
        });
        for n in 0..60 {
            cache.put(&meta("v"), key(n), arrays(n as f32), Dtype::F32).unwrap();
            cache.flush().unwrap();
        }
        done.store(true, Ordering::Relaxed);
    });
    assert_eq!(cache.take_warnings(), Vec::<String>::new());
}

#[test]
fn dropping_an_unflushed_cache_loses_nothing() {
    let dir = TempDir::new().unwrap();
    open(&dir).put(&meta("v"), key(0), arrays(0.0), Dtype::F32).unwrap();
    assert!(open(&dir).contains(&key(0)));
}

#[test]
fn gc_is_refused_while_another_run_uses_the_cache() {
    let (dir, _) = one_shard();
    let (one, two) = (open(&dir), open(&dir));
    let error = one.gc(None, false).unwrap_err().to_string();
    assert!(error.contains("is in use by another run"), "{error}");
    drop(two);
    assert_eq!(one.gc(None, false).unwrap().removed, Vec::<PathBuf>::new());
    assert!(one.contains(&key(0)));
}

#[test]
fn gc_removes_what_dead_writers_and_damage_left() {
    let (dir, path) = one_shard();
    let bytes = fs::read(&path).unwrap();
    let mut dead = Command::new("true").spawn().unwrap();
    dead.wait().unwrap();
    let beside = |suffix: String| PathBuf::from(format!("{}{suffix}", path.display()));
    let stale = beside(format!(".tmp-{}-0", dead.id()));
    // Process 1 lives as long as the machine.
    let alive = beside(".tmp-1-0".to_owned());
    let rejected = beside(".rejected".to_owned());
    fs::write(&stale, &bytes[..bytes.len() / 2]).unwrap();
    fs::write(&alive, &bytes).unwrap();
    fs::write(&rejected, b"x").unwrap();

    let cache = open(&dir);
    assert_eq!(cache.get(&key(0)).unwrap(), Some(arrays(0.0)));
    let planned = cache.gc(None, true).unwrap();
    assert!(stale.exists() && rejected.exists());
    let done = cache.gc(None, false).unwrap();
    assert_eq!(done, planned);
    assert!(!stale.exists() && !rejected.exists() && alive.exists());
    assert_eq!(done.freed_bytes, (bytes.len() / 2) as u64 + 1);
    assert_eq!(done.kept_bytes, bytes.len() as u64);
    assert!(cache.contains(&key(0)));
}

#[test]
fn gc_removes_first_the_shards_that_were_of_no_use_for_longest() {
    let dir = TempDir::new().unwrap();
    let cache = open(&dir);
    for n in 0..3 {
        let before = shards(&dir);
        cache.put(&meta("v"), key(n), arrays(n as f32), Dtype::F32).unwrap();
        cache.flush().unwrap();
        let new = shards(&dir).into_iter().find(|path| !before.contains(path)).unwrap();
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000 - n * 1000);
        File::options().append(true).open(new).unwrap().set_modified(time).unwrap();
    }
    assert_eq!(cache.get(&key(2)).unwrap(), Some(arrays(2.0)), "the oldest is used again");
    let size = fs::metadata(&shards(&dir)[0]).unwrap().len();
    let report = cache.gc(Some(size * 2), false).unwrap();
    assert_eq!((report.removed.len(), report.kept_bytes), (1, size * 2));
    let left: Vec<_> = (0..3).map(|n| cache.contains(&key(n))).collect();
    assert_eq!(left, [true, false, true]);
}

/// The child of the test below: writes one small shard, then one beyond the file-size limit.
#[test]
fn child_with_a_file_size_limit() {
    let Ok(dir) = std::env::var("LOUPE_TEST_CACHE_DIR") else {
        return;
    };
    let cache = Cache::open(Path::new(&dir), Mode::ReadWrite).unwrap();
    cache.put(&meta("v"), key(0), arrays(0.0), Dtype::F32).unwrap();
    cache.flush().unwrap();
    for (n, n_elements) in [(1, 1_000_000), (2, 40_000)] {
        let big = Stored::Arrays(vec![array(&[n_elements], 0.0)]);
        cache.put(&meta("v"), key(n), big, Dtype::F32).unwrap();
        let error = cache.flush().unwrap_err();
        assert!(matches!(&error, CacheError::Write { cause, .. } if cause.contains("too large")));
        assert_eq!(cache.get(&key(n)).unwrap(), None);
    }
    assert!(cache.get(&key(0)).unwrap().is_some());
    println!("child done");
}

#[test]
fn a_write_error_leaves_earlier_shards_and_no_rubbish() {
    let dir = TempDir::new().unwrap();
    let output = Command::new("sh")
        .args(["-c", "trap '' XFSZ; ulimit -f 200; exec \"$0\" --exact --nocapture \"$1\""])
        .arg(std::env::current_exe().unwrap())
        .arg(concat!(module_path!(), "::child_with_a_file_size_limit").split_once("::").unwrap().1)
        .env("LOUPE_TEST_CACHE_DIR", dir.path())
        .output()
        .unwrap();
    let (out, err) = (output.stdout.escape_ascii(), output.stderr.escape_ascii());
    assert!(output.status.success() && out.to_string().contains("child done"), "{out}\n{err}");
    assert!(!err.to_string().contains("HDF5-DIAG"), "{err}");
    assert_eq!(files(&dir).len(), 1);
    assert_eq!(open(&dir).get(&key(0)).unwrap(), Some(arrays(0.0)));
}

/// The child of the test below: writes shards until it is killed.
#[test]
fn child_that_writes_until_it_is_killed() {
    let Ok(dir) = std::env::var("LOUPE_TEST_KILLED_CACHE_DIR") else {
        return;
    };
    let cache = Cache::open(Path::new(&dir), Mode::ReadWrite).unwrap();
    for n in (0..100_000).filter(|n| !cache.contains(&key(*n))) {
        cache.put(&meta("v"), key(n), arrays(n as f32), Dtype::F32).unwrap();
        if n % 3 == 0 {
            cache.flush().unwrap();
        }
    }
}

#[test]
fn a_killed_writer_leaves_whole_shards_only() {
    let dir = TempDir::new().unwrap();
    let name = concat!(module_path!(), "::child_that_writes_until_it_is_killed");
    for moment in 0..6 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", name.split_once("::").unwrap().1])
            .env("LOUPE_TEST_KILLED_CACHE_DIR", dir.path())
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(40 + moment * 17));
        child.kill().unwrap();
        child.wait().unwrap();

        let cache = open(&dir);
        let report = cache.verify(1.0);
        assert_eq!(report.bad, []);
        assert_eq!(cache.take_warnings(), Vec::<String>::new());
        let found = (0..report.n_values).filter(|n| {
            let value = cache.get(&key(*n)).unwrap();
            assert!(value.is_none() || value == Some(arrays(*n as f32)));
            value.is_some()
        });
        assert_eq!(found.count() as u64, report.n_values);
        cache.gc(None, false).unwrap();
        assert_eq!(files(&dir), shards(&dir));
    }
}
