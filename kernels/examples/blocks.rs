//! Time of transformer blocks on every set of instructions: `cargo run --release -p loupe-kernels
//! --example blocks -- [WIDTH HEADS MLP TOKENS BATCH BLOCKS THREADS ROUNDS]`; ViT-L/14 at 336 px by itself.
//!
//! Sets take turns, so that a machine whose speed varies treats them alike.

use std::time::Instant;

use loupe_kernels::{Activation, BlockShape, BlockWeights, Blocks, Isa, Precision, Team, blocks};
use rayon::prelude::*;

fn main() {
    let given: Vec<usize> = std::env::args().skip(1).filter_map(|text| text.parse().ok()).collect();
    let size = |i: usize, default| given.get(i).copied().unwrap_or(default);
    let [width, n_heads, mlp_width] = [size(0, 1024), size(1, 16), size(2, 4096)];
    let [n, batch, n_blocks] = [size(3, 577), size(4, 1), size(5, 24)];
    let [n_threads, n_rounds] = [size(6, 2), size(7, 5)];
    rayon::ThreadPoolBuilder::new().num_threads(n_threads).build_global().unwrap();
    let par = |n: usize, f: &(dyn Fn(usize) + Sync)| {
        (0..n).into_par_iter().with_max_len(1).for_each(f);
    };
    let team = Team { par: &par, n_threads };
    let activation = Activation::Gelu;
    let shape = BlockShape { width, n_heads, mlp_width, activation, causal: false };
    let linear = 24.0 * (n * width * width) as f64 * (mlp_width as f64 / width as f64 + 2.0) / 6.0;
    let flop = n_blocks as f64 * batch as f64 * (linear + 4.0 * (n * n * width) as f64);
    let towers = towers(shape, n_blocks, team);
    let tokens: Vec<f32> = (0..batch * n * width).map(|i| (i as f32 * 0.37).sin()).collect();
    let mut times = vec![Vec::new(); towers.len()];
    for _ in 0..n_rounds {
        for ((_, _, tower), times) in towers.iter().zip(&mut times) {
            let mut x = tokens.clone();
            let (start, cpu) = (Instant::now(), cpu_seconds());
            tower.run(0..n_blocks, &mut x, batch, None, team).unwrap();
            let seconds = (start.elapsed().as_secs_f64(), cpu_seconds() - cpu);
            times.push((seconds.0, tower.ceiling(team), seconds.1));
        }
    }
    println!(
        "{width} wide, {n_heads} heads, {n} tokens x {batch}, {n_blocks} blocks, {n_threads} threads: {:.1} GFLOP",
        flop / 1e9
    );
    for ((isa, precision, _), times) in towers.iter().zip(&mut times) {
        times.sort_by(|a, b| a.0.total_cmp(&b.0));
        let ([best, median], ceilings) = ([times[0].0, times[times.len() / 2].0], times.iter());
        let mut ceilings: Vec<f64> = ceilings.map(|(_, ceiling, _)| *ceiling).collect();
        let mut cpu: Vec<f64> = times.iter().map(|(.., cpu)| *cpu).collect();
        cpu.sort_by(f64::total_cmp);
        ceilings.sort_by(f64::total_cmp);
        let ceiling = ceilings[ceilings.len() / 2];
        let rate = |seconds: f64| flop / seconds / 1e9;
        println!(
            "{:8} {:4}  best {:8.1} ms {:6.0} GFLOP/s   median {:8.1} ms {:6.0} GFLOP/s   ceiling {:6.0}   CPU {:8.1} ms",
            isa.name(),
            format!("{precision:?}").to_lowercase(),
            best * 1e3,
            rate(best),
            median * 1e3,
            rate(median),
            ceiling / 1e9,
            cpu[cpu.len() / 4] * 1e3
        );
    }
}

/// Seconds that all threads computed, to a hundredth; 0 where the system does not tell. What other programs
/// take of a shared machine is not in it, but for the caches.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let behind_name = stat.rsplit(')').next().unwrap_or_default();
    let ticks = behind_name.split_whitespace().skip(11).take(2);
    ticks.filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / 100.0
}

type Tower = (Isa, Precision, Box<dyn Blocks>);

fn towers(shape: BlockShape, n_blocks: usize, team: Team) -> Vec<Tower> {
    let BlockShape { width: c, mlp_width: h, .. } = shape;
    let wave = |n: usize, by: f32| (0..n).map(|i| (i as f32 * 0.61).sin() * by).collect::<Vec<_>>();
    let small = (1.0 / c as f32).sqrt();
    let [qkv, out, fc, proj] = [3 * c * c, c * c, c * h, c * h].map(|n| wave(n, small));
    let (ones, zeros) = (vec![1.0; c], vec![0.0; 3 * c.max(h)]);
    let weights = BlockWeights {
        ln_1: [&ones, &zeros[..c]],
        qkv: [&qkv, &zeros[..3 * c]],
        out: [&out, &zeros[..c]],
        ln_2: [&ones, &zeros[..c]],
        fc: [&fc, &zeros[..h]],
        proj: [&proj, &zeros[..c]],
    };
    let kinds = [
        (Isa::Amx, Precision::Bf16),
        (Isa::Amx, Precision::Int8),
        (Isa::Avx512, Precision::F32),
        (Isa::Avx2, Precision::F32),
        (Isa::Portable, Precision::F32),
    ];
    let only = std::env::var("ONLY").unwrap_or_default();
    let kinds = kinds.into_iter().filter(|(isa, _)| *isa <= Isa::of_this_machine());
    kinds
        .filter(|(isa, _)| only.is_empty() || only == isa.name())
        .map(|(isa, precision)| {
            let mut tower = blocks(shape, isa, precision);
            for _ in 0..n_blocks {
                tower.push(&weights, team).unwrap();
            }
            (isa, precision, tower)
        })
        .collect()
}
