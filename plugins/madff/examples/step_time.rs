//! Times one tap's step at full size, 290 tokens of 1,024 channels and two heads of 768, forth and back:
//! `cargo run --release --example step_time -- [N_THREADS]`. `step_time.py` beside it times the same in
//! PyTorch. With one thread the time is the thread's own on the processor, which other programs hardly touch.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use loupe_madff::{Adapter, FrequencyGate, Share, Spectrum, Tile};
use loupe_madff::{Ask, Bank, Drawn, MadffAdapter, MadffKeys, MvfaAdapter, Weights, summed};

const N_TOKENS: usize = 290;
const WIDTH: usize = 1024;
const BOTTLENECK: usize = 768;
/// Rows of a tile, as the components cut 290 tokens.
const TILE: usize = 73;
const N_RUNS: usize = 15;

fn main() {
    let n_threads = std::env::args().nth(1).and_then(|n| n.parse().ok()).unwrap_or(2);
    println!(
        "{N_TOKENS} x {WIDTH} -> {BOTTLENECK}, 2 heads, {n_threads} threads, f32, median of {N_RUNS}"
    );
    let keys = MadffKeys {
        channel_gate: true,
        spatial_gate: true,
        frequency_gate: true,
        token_weights: [0.4, 0.2, 0.2, 0.2],
        stream_weights: [0.3, 0.2, 0.2, 0.3],
        reduction: 16,
    };
    let (bottleneck, hidden) = (BOTTLENECK as f64, (WIDTH / 16) as f64);
    time::<MadffAdapter>("madff", &keys, 4.0 * (bottleneck + hidden), n_threads);
    time::<MvfaAdapter>("mvfa", &(), 2.0 * bottleneck, n_threads);
    time_one(&keys, n_threads);
}

/// One adapter alone, and its frequency gate with the transform.
fn time_one(keys: &MadffKeys, n_threads: usize) {
    let (weights, sizes) = (Weights::Seed(1), Drawn { width: WIDTH, bottleneck: BOTTLENECK });
    let read = "a seed draws any adapters";
    let adapter = MadffAdapter::read(&weights, "seg_adapters.0", sizes, keys).expect(read);
    let gate = FrequencyGate::read(&weights, "seg_adapters.0", [WIDTH, WIDTH / 16]).expect(read);
    let (rows, spectrum) = (noise(N_TOKENS * WIDTH, 1), Spectrum::new(WIDTH));
    let tiles: Vec<&[f32]> = rows.chunks(TILE * WIDTH).collect();
    let (all, hidden) = ((N_TOKENS * WIDTH) as f64, (WIDTH / 16) as f64);
    let flop = 2.0 * all * 4.0 * (BOTTLENECK as f64 + hidden);
    report("one madff adapter forward", flop, n_threads, || {
        map(n_threads, tiles.len(), |i| {
            adapter.forward(&Tile::new(tiles[i], WIDTH, Some(&spectrum)), true).map(drop)
        })
    });
    report("its frequency gate forward", 2.0 * all * 2.0 * hidden, n_threads, || {
        map(n_threads, tiles.len(), |i| {
            let tile = Tile::new(tiles[i], WIDTH, Some(&spectrum));
            gate.forward(tile.rows, &tile.magnitudes).map(drop)
        })
    });
}

/// `per_value`: multiply-adds of a forward step for each number of the stream and head.
fn time<A: Adapter>(name: &str, keys: &A::Keys, per_value: f64, n_threads: usize) {
    let drawn = Drawn { width: WIDTH, bottleneck: BOTTLENECK };
    let bank = Bank::<A>::read(&Weights::Seed(1), &["seg", "det"], &[6], drawn, keys)
        .expect("a seed draws any adapters");
    let rows = noise(N_TOKENS * WIDTH, 1);
    let (of_tokens, of_next) = (noise(N_TOKENS * BOTTLENECK, 2), noise(N_TOKENS * WIDTH, 3));
    let shares = [0.1, 0.1];
    let ask = Ask { tokens: &[true, true], mix: Some((0.8, &shares)) };
    let tiles: Vec<&[f32]> = rows.chunks(TILE * WIDTH).collect();
    let forth = || map(n_threads, tiles.len(), |i| bank.step(0, tiles[i], &ask).map(drop));
    let flop = 2.0 * 2.0 * (N_TOKENS * WIDTH) as f64 * per_value;
    report(&format!("{name} forward"), flop, n_threads, forth);
    let both = || {
        let kept = map(n_threads, tiles.len(), |i| {
            bank.step_kept(0, tiles[i], &ask).map(|(_, kept)| kept)
        });
        let seen: Vec<_> = kept.iter().map(|kept| kept.tile(WIDTH)).collect();
        let back = map(n_threads, tiles.len(), |i| {
            let tokens = of_tokens.chunks(TILE * BOTTLENECK).nth(i);
            let next = of_next.chunks(TILE * WIDTH).nth(i);
            bank.pull_back(0, &seen[i], &kept[i].heads, (&[tokens, tokens], next), &ask)
        });
        let by_name: Vec<Vec<&Share<'_>>> = (0..2)
            .flat_map(|head| (0..back[0].1[head].len()).map(move |share| (head, share)))
            .map(|(head, share)| back.iter().map(|tile| &tile.1[head][share]).collect())
            .collect();
        map(n_threads, by_name.len(), |i| summed(&by_name[i]));
    };
    report(&format!("{name} forward and backward"), 3.0 * flop, n_threads, both);
}

fn report<T>(what: &str, flop: f64, n_threads: usize, run: impl Fn() -> T) {
    let mut seconds: Vec<f64> = (0..=N_RUNS)
        .map(|_| {
            let (start, own) = (Instant::now(), thread_seconds());
            run();
            match own.zip(thread_seconds()).filter(|_| n_threads == 1) {
                Some((before, after)) => after - before,
                None => start.elapsed().as_secs_f64(),
            }
        })
        .skip(1)
        .collect();
    seconds.sort_by(f64::total_cmp);
    let (best, median) = (seconds[0], seconds[seconds.len() / 2]);
    println!(
        "{what}: {:.1} ms ({:.1} at best), {:.2} GFLOP, {:.0} GFLOP/s",
        1e3 * median,
        1e3 * best,
        flop / 1e9,
        flop / median / 1e9
    );
}

/// What this thread has had of a processor, on Linux.
fn thread_seconds() -> Option<f64> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    Some(text.split(' ').next()?.parse::<f64>().ok()? / 1e9)
}

/// `f` of each number below n, in order, on threads that take the next one when they are done.
fn map<T: Send, E: std::fmt::Debug + Send>(
    n_threads: usize,
    n: usize,
    f: impl Fn(usize) -> Result<T, E> + Sync,
) -> Vec<T> {
    if n_threads == 1 {
        return (0..n).map(|i| f(i).expect("the sizes fit")).collect();
    }
    let next = AtomicUsize::new(0);
    let work = || {
        let mut made = Vec::new();
        loop {
            match next.fetch_add(1, Ordering::Relaxed) {
                i if i < n => made.push((i, f(i).expect("the sizes fit"))),
                _ => return made,
            }
        }
    };
    let mut all: Vec<(usize, T)> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..n_threads).map(|_| scope.spawn(work)).collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("no panic")).collect()
    });
    all.sort_by_key(|(i, _)| *i);
    all.into_iter().map(|(_, made)| made).collect()
}

fn noise(n: usize, seed: usize) -> Vec<f32> {
    (0..n).map(|i| 1.7 * ((i * (2 * seed + 1) + i / 7) as f32).sin()).collect()
}
