//! kill -9: at random moments of the clock, and in the middle of chosen writes.

use std::time::{Duration, Instant};

use loupe_tests::{Running, tree};

use super::bench::{Bench, FEW};
use super::shim::Shim;

const SEED: u64 = 20_240_831;

/// Numbers in 0..1, the same in every run of the tests.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }
}

#[test]
fn a_run_killed_at_any_of_twenty_random_moments_leaves_nothing_half_written() {
    let bench = Bench::new(&FEW);
    let want = bench.undisturbed();
    assert_eq!((want.values.len(), want.files.len()), (168, 24));
    let start = Instant::now();
    bench.completes("measured");
    let whole = start.elapsed();
    let mut random = Random(SEED);
    for nth in 0..20 {
        let moment = whole.mul_f64((f64::from(nth) + random.next()) / 20.0);
        let name = format!("killed-{nth}");
        let moment = kill(&bench, &name, moment);
        println!("seed {SEED}, kill {nth} of 20: at {moment:?} of {whole:?}");
        bench.recovers(&name, &want);
    }
}

/// Kills a first run at this moment. One that was quicker is tried again, earlier. Gives the
/// moment.
fn kill(bench: &Bench, name: &str, mut moment: Duration) -> Duration {
    loop {
        let start = Instant::now();
        let mut running = Running::start(&mut bench.run(name));
        while start.elapsed() < moment && !running.is_over() {
            std::thread::sleep(Duration::from_millis(1));
        }
        running.kill();
        if running.end().status.code().is_none() {
            return moment;
        }
        for folder in [bench.cache(name), bench.out(name)] {
            std::fs::remove_dir_all(folder).unwrap();
        }
        moment = moment.mul_f64(0.7);
    }
}

#[test]
fn a_run_killed_in_the_middle_of_a_write_leaves_nothing_half_written() {
    let bench = Bench::new(&FEW);
    let want = bench.undisturbed();
    let shim = Shim::build(&bench);
    let mut random = Random(SEED);
    for (place, n_kills) in [("cache-", 10_u32), ("out-", 6)] {
        let folder = |name: &str| bench.world.path(format!("{place}{name}"));
        let counted = format!("{place}counted");
        let [_, n_calls] = shim.count(&bench, &counted, &folder(&counted));
        for nth in 0..n_kills {
            let call = (f64::from(nth) + random.next()) / f64::from(n_kills) * n_calls as f64;
            let name = format!("{place}{nth}");
            let mut command = shim.run(&bench, &name, &folder(&name), "kill", call as u64);
            let ended = bench.ended(&mut command);
            println!("seed {SEED}, {place}: killed at call {} of {n_calls}", call as u64);
            assert_eq!(ended.code, None, "{name}: {}", ended.stderr);
            bench.recovers(&name, &want);
        }
    }
}

#[test]
fn a_cache_that_survived_many_kills_is_whole() {
    let bench = Bench::new(&FEW);
    let want = bench.undisturbed();
    let shim = Shim::build(&bench);
    let folder = bench.cache("worn");
    // Each run gets a few calls further than the one before it, on what that one left.
    for call in [1, 4, 9, 14, 20, 27, 35] {
        let ended = bench.ended(&mut shim.run(&bench, "worn", &folder, "kill", call));
        println!("killed at call {call}: {:?}", ended.code);
        assert!(ended.code.is_none_or(|code| code == 0), "{}", ended.stderr);
    }
    bench.recovers("worn", &want);
}

/// What no kill above could bring about: a file that has its name and is not whole.
#[test]
fn half_a_file_is_set_aside_and_made_anew() {
    let bench = Bench::new(&FEW);
    let want = bench.undisturbed();
    bench.completes("damaged");
    let cache = bench.cache("damaged");
    let shards: Vec<(String, Vec<u8>)> =
        tree(&cache).into_iter().filter(|(file, _)| file.ends_with(".h5")).collect();
    assert_eq!(shards.len(), FEW.len());
    let damage = || {
        for ((file, bytes), n_left) in shards.iter().zip([50_000, 300, 0]) {
            std::fs::write(cache.join(file), &bytes[..n_left]).unwrap();
        }
    };
    damage();
    let ended = bench.ended(&mut bench.run("damaged"));
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    for (file, _) in &shards {
        let head = format!("warning: the cache ignores `WORLD/cache-damaged/{file}`: it ");
        assert!(ended.stderr.contains(&head), "{}", ended.stderr);
    }
    want.check(&bench.outcome("damaged"), "damaged");
    damage();
    let verified = bench.cache_command("damaged", &["verify"]);
    assert_eq!(verified.code, Some(5), "{}", verified.stdout);
    let last =
        "read 0 values in 3 files (0 B): 3 files bad; a run that wants a bad value makes it anew\n";
    assert!(verified.stdout.ends_with(last), "{}", verified.stdout);
    bench.recovers("damaged", &want);
}
