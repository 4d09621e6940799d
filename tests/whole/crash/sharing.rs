//! Two runs on one cache, and a cache that is cold, warm or off: the same results.

use std::time::Duration;

use loupe_tests::{Running, tree};

use super::bench::{Bench, FEW, files, same_files};

#[test]
fn two_runs_at_once_share_one_cache() {
    let bench = Bench::new(&FEW);
    let want = bench.undisturbed();
    for round in 0..5 {
        let shared = format!("shared-{round}");
        let other = format!("other-{round}");
        let mut runs = [&shared, &other].map(|name| {
            let mut command = bench.run(name);
            let running = Running::start(command.env("LOUPE_CACHE", bench.cache(&shared)));
            // Every round begins a little more apart.
            std::thread::sleep(Duration::from_millis(15 * round));
            Some(running)
        });
        for (name, run) in [&shared, &other].into_iter().zip(&mut runs) {
            let ended = bench.world.ended(&run.take().unwrap().end());
            assert_eq!(ended.code, Some(0), "{name}: {}", ended.stderr);
            assert_eq!(ended.stderr.lines().count(), 2, "{name}: {}", ended.stderr);
            same_files(&want.files, &files(&bench.out(name)), name);
        }
        bench.recovers(&shared, &want);
    }
}

#[test]
fn gc_is_refused_while_a_run_is_active() {
    let bench = Bench::new(&FEW);
    let want = bench.undisturbed();
    for attempt in 0.. {
        let name = format!("active-{attempt}");
        let mut running = Running::start(&mut bench.run(&name));
        // The first fingerprint comes after the cache was opened and long before the end.
        while tree(&bench.cache(&name).join("fingerprints")).is_empty() && !running.is_over() {
            std::thread::sleep(Duration::from_millis(1));
        }
        running.signal("STOP");
        if running.is_over() {
            assert!(attempt < 20, "no run could be stopped in time");
            continue;
        }
        let refused = bench.cache_command(&name, &["gc", "--keep", "0"]);
        assert_eq!(refused.code, Some(1));
        assert_eq!(
            refused.stderr,
            format!(
                "error: the cache `WORLD/cache-{name}` is in use by another run; wait until it has ended\n"
            )
        );
        running.signal("CONT");
        let ended = bench.world.ended(&running.end());
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        bench.recovers(&name, &want);
        let emptied = bench.cache_command(&name, &["gc", "--keep", "0"]);
        assert_eq!(emptied.code, Some(0), "{}", emptied.stderr);
        bench.recovers(&name, &want);
        return;
    }
}

#[test]
fn off_cold_and_warm_give_the_same_bytes() {
    let bench = Bench::new(&FEW);
    let mut maps = Vec::new();
    for features in ["f32", "f16"] {
        bench.pipeline(features, 16);
        let off = format!("{features}-off");
        let ended = bench.ended(bench.run(&off).arg("--no-cache"));
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        assert!(!bench.cache(&off).exists());
        let off = files(&bench.out(&off));
        let name = format!("{features}-cold");
        assert_eq!(bench.completes(&name), 0);
        let values = bench.outcome(&name).values;
        same_files(&off, &files(&bench.out(&name)), "cold");
        assert_eq!(bench.completes(&name), bench.n_images);
        same_files(&off, &files(&bench.out(&name)), "warm");
        assert!(values == bench.outcome(&name).values, "a warm run changed the cache");
        bench.verifies(&name);
        maps.push(off.into_iter().find(|(file, _)| file.starts_with("maps/")));
    }
    assert_ne!(maps[0], maps[1], "16 bits are as good as 32: the key does nothing");
}
