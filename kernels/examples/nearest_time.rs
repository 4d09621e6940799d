//! Seconds that patches take to be searched in memory banks:
//!
//! ```sh
//! cargo run --release -p loupe-kernels --example nearest_time -- bf16 576 9216 1024 4
//! ```
//!
//! Precision, patches, rows of a bank, width and banks, each with patches of its own. For each line of the
//! input all banks are searched once and the seconds are printed, so that a script can let a peer take turns.

use std::io::{BufRead, Write};
use std::time::Instant;

use loupe_kernels::{Bank, Isa, Precision, Team, nearest_cosine, unit_rows};
use rayon::prelude::*;

fn main() {
    let given: Vec<String> = std::env::args().skip(1).collect();
    let is_bf16 = given.first().is_some_and(|precision| precision == "bf16");
    let precision = if is_bf16 { Precision::Bf16 } else { Precision::F32 };
    let size = |i: usize, default| given.get(i).and_then(|n| n.parse().ok()).unwrap_or(default);
    let [m, n, width, n_banks] = [size(1, 576), size(2, 9216), size(3, 1024), size(4, 4)];
    let par = |n: usize, f: &(dyn Fn(usize) + Sync)| {
        (0..n).into_par_iter().with_max_len(1).for_each(f);
    };
    let team = Team { par: &par, n_threads: rayon::current_num_threads() };
    let isa = Isa::best().unwrap();
    let start = Instant::now();
    let banks: Vec<(Vec<f32>, Bank)> = (0..n_banks as u64)
        .map(|seed| {
            let rows = unit(n, width, 2 * seed + 1);
            (unit(m, width, 2 * seed), Bank::new(&rows, width, isa, precision, team).unwrap())
        })
        .collect();
    eprintln!("{}, {n_banks} banks made in {:.2} s", isa.name(), start.elapsed().as_secs_f64());
    for line in std::io::stdin().lock().lines() {
        line.unwrap();
        let start = Instant::now();
        for (query, bank) in &banks {
            nearest_cosine(query, &[bank], width, 1, team).unwrap();
        }
        println!("{}", start.elapsed().as_secs_f64());
        std::io::stdout().flush().unwrap();
    }
}

fn unit(n: usize, width: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1_u64 << 23) as f32 - 1.0
    };
    unit_rows(&(0..n * width).map(|_| next()).collect::<Vec<_>>(), width).unwrap()
}
