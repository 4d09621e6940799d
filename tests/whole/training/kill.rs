//! kill -9 while adapters learn.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use loupe_tests::{Running, World};

use super::{pipeline, train, world};
use crate::crash::kill::Random;

const SEED: u64 = 20_261_122;
const N_KILLS: u32 = 10;
const N_EPOCHS: u32 = 8;
/// The epoch is chosen by what is held out, so that a choice must survive as well.
const MORE: &str = "keep = \"best-held-out\"\nheld_out = 0.5";
const LONG: [&str; 4] = ["--set", "train.epochs=8", "--set", "train.augment=\"none\""];

/// What a training leaves: the state and its losses.
fn left(world: &World) -> [Vec<u8>; 2] {
    ["safetensors", "losses.csv"]
        .map(|ending| fs::read(world.path(format!("states/carpet.{ending}"))).unwrap())
}

/// Epochs that the checkpoint holds; none without one.
fn n_done(side: &Path) -> u32 {
    let bytes = fs::read(side).unwrap_or_default();
    bytes.windows(10).filter(|window| window == b"[[epochs]]").count() as u32
}

/// A training is killed, taken up, killed again, and so on; near its end it may end, and the next one begins.
#[test]
fn a_training_killed_at_ten_random_moments_ends_with_the_same_bytes() {
    let world = world();
    let pipeline = pipeline(&world, MORE);
    let (states, side) = (world.path("states"), world.path("states/carpet.training"));
    let undisturbed = || {
        let ended = train(&world, &pipeline, &LONG);
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        let left = left(&world);
        fs::remove_dir_all(&states).unwrap();
        left
    };
    let want = undisturbed();
    let started = Instant::now();
    assert!(undisturbed() == want);
    let whole = started.elapsed();

    let mut random = Random(SEED);
    let (mut n_kills, mut n_taken_up, mut n_half_done) = (0, 0, 0);
    // On a busy machine more kills than ten may be needed for enough of them to hit in the middle.
    for attempt in 0..60 {
        if n_kills >= N_KILLS && n_taken_up >= 3 && n_half_done >= 3 {
            break;
        }
        let n_before = n_done(&side);
        if n_before + 2 >= N_EPOCHS {
            assert!(undisturbed() == want, "after {n_kills} kills");
            continue;
        }
        let left_to_do = f64::from(N_EPOCHS - n_before) / f64::from(N_EPOCHS);
        let moment = whole.mul_f64(left_to_do * random.next());
        let arguments = ["train", &pipeline].into_iter().chain(LONG);
        let mut running = Running::start(&mut world.command(arguments));
        let started = Instant::now();
        while started.elapsed() < moment && !running.is_over() {
            std::thread::sleep(Duration::from_millis(1));
        }
        running.kill();
        let ended = world.ended(&running.end());
        println!("seed {SEED}, {attempt}: {n_before} epochs, then {moment:?}, {:?}", ended.code);
        match ended.code {
            None => {
                n_kills += 1;
                n_taken_up += u32::from(n_before > 0);
                n_half_done += u32::from(n_done(&side) > n_before);
            }
            // It was quicker.
            code => {
                assert_eq!(code, Some(0), "{}", ended.stderr);
                assert!(left(&world) == want, "after {n_kills} kills");
                fs::remove_dir_all(&states).unwrap();
            }
        }
    }
    assert!(undisturbed() == want, "after the last kill");
    assert!(n_kills >= N_KILLS, "{n_kills} kills");
    assert!(n_taken_up >= 3, "{n_taken_up} kills hit a training that was taken up");
    assert!(n_half_done >= 3, "{n_half_done} kills hit a training after an epoch of its own");
}
