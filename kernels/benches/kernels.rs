//! Time of each kernel at sizes that runs have: `cargo bench -p loupe-kernels -- [PART OF A NAME]`.
//!
//! Each is called for about a second, after one call that is not counted; the least and the middle time are
//! printed. With `serve`, each line of the input names a kernel, which is called once and its seconds are
//! printed: so that a script can let a peer take turns.

use std::io::{BufRead, Write};
use std::time::{Duration, Instant};

use loupe_kernels::{
    Bank, Filter, Isa, ParallelFor, Precision, Team, TextModel, TextRule, antialias_bilinear,
    bilinear, gaussian_blur, nearest_cosine, opencv_bilinear, opencv_bilinear_u8, resize_u8,
    unit_rows,
};
use rayon::prelude::*;

type Case = (&'static str, Box<dyn FnMut()>);

fn main() {
    let words: Vec<String> =
        std::env::args().skip(1).filter(|word| !word.starts_with("--")).collect();
    let mut cases = cases();
    if words.first().is_some_and(|word| word == "serve") {
        for line in std::io::stdin().lock().lines() {
            let name = line.unwrap();
            let seconds = cases.iter_mut().find(|case| case.0 == name).map(timed);
            println!("{}", seconds.map_or(f64::NAN, |seconds| seconds.as_secs_f64()));
            std::io::stdout().flush().unwrap();
        }
        return;
    }
    for case in &mut cases {
        if words.first().is_none_or(|word| case.0.contains(word.as_str())) {
            timed(case);
            let (start, mut times) = (Instant::now(), Vec::new());
            while times.len() < 5 || start.elapsed() < Duration::from_secs(1) {
                times.push(timed(case).as_secs_f64() * 1e3);
            }
            times.sort_by(f64::total_cmp);
            let middle = times[times.len() / 2];
            println!("{:24} least {:9.3} ms   middle {middle:9.3} ms", case.0, times[0]);
        }
    }
}

fn timed(case: &mut Case) -> Duration {
    let start = Instant::now();
    case.1();
    start.elapsed()
}

const PAR: ParallelFor = &|n, f| (0..n).into_par_iter().with_max_len(1).for_each(f);

fn team() -> Team<'static> {
    Team { par: PAR, n_threads: rayon::current_num_threads() }
}

fn cases() -> Vec<Case> {
    let (grid, map) = (noise(64 * 64), noise(448 * 448));
    let large = noise(1024 * 1024);
    let bytes: Vec<u8> = (0..3 * 1024 * 1024).map(|i| (i * 37 % 251) as u8).collect();
    let (small_bytes, picture) = (bytes[..64 * 64].to_vec(), bytes);
    let map_of_448 = map.clone();
    let mut cases: Vec<Case> = vec![
        ("bilinear-64-448", Box::new(move || drop(bilinear(&grid, [1, 64, 64], [448; 2], PAR)))),
        ("bilinear-448-1024", {
            let map = map.clone();
            Box::new(move || drop(bilinear(&map, [1, 448, 448], [1024; 2], PAR)))
        }),
        ("opencv-448-896", {
            Box::new(move || drop(opencv_bilinear(&map_of_448, [1, 448, 448], [896; 2], PAR)))
        }),
        (
            "antialias-1024-448",
            Box::new(move || drop(antialias_bilinear(&large, [1, 1024, 1024], [448; 2], PAR))),
        ),
        (
            "opencv-u8-64-448",
            Box::new(move || drop(opencv_bilinear_u8(&small_bytes, [1, 64, 64], [448; 2], PAR))),
        ),
        (
            "bicubic-u8-1024-448",
            Box::new(move || {
                drop(resize_u8(&picture, [1024; 2], 3, [448; 2], Filter::Bicubic, PAR));
            }),
        ),
        ("gaussian-448", Box::new(move || drop(gaussian_blur(&map, [1, 448, 448], 4.0, PAR)))),
        ("unit-rows", {
            let tokens = noise(3136 * 640);
            Box::new(move || drop(unit_rows(&tokens, 640)))
        }),
    ];
    for (name, rule) in [
        ("text-average", TextRule::Average { renormalize: false }),
        ("text-softmax", TextRule::Softmax),
        ("text-max", TextRule::Max),
    ] {
        cases.push((name, text(rule)));
    }
    for (name, precision) in [("nearest-f32", Precision::F32), ("nearest-bf16", Precision::Bf16)] {
        cases.push((name, nearest(precision)));
    }
    cases
}

/// 3,136 tokens, as of 896 px, against 1,000 sentences, of width 640.
fn text(rule: TextRule) -> Box<dyn FnMut()> {
    let (tokens, sentences) = (noise(3136 * 640), noise(1000 * 640));
    let [tokens, sentences] = [tokens, sentences].map(|rows| unit_rows(&rows, 640).unwrap());
    let labels: Vec<bool> = (0..1000).map(|i| i % 2 == 0).collect();
    let model = TextModel::fit(rule, &sentences, &labels, &[], 640).unwrap();
    Box::new(move || drop(model.probabilities(&tokens, 100.0, PAR)))
}

/// 784 patches, as of 448 px, against those of four shots, of width 896.
fn nearest(precision: Precision) -> Box<dyn FnMut()> {
    let [query, rows] = [784, 4 * 784].map(|n| unit_rows(&noise(n * 896), 896).unwrap());
    let bank = Bank::new(&rows, 896, Isa::best().unwrap(), precision, team()).unwrap();
    Box::new(move || drop(nearest_cosine(&query, &[&bank], 896, 1, team())))
}

fn noise(n: usize) -> Vec<f32> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1_u64 << 24) as f32
    };
    (0..n).map(|_| next()).collect()
}
