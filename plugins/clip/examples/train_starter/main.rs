//! Trains the starter model from the folder that the procedural generator makes:
//! `cargo run --release -p loupe-clip --example train_starter -- DATA OUT`.
//!
//! The towers run forward and backward by hand (`block.rs` and what it calls), each as one
//! operation of candle's autograd; the losses on top of them are candle's. Read `train.rs` first.

mod arguments;
mod attention;
mod batch;
mod block;
mod checkpoint;
mod crops;
mod data;
mod error;
mod export;
#[cfg(test)]
mod golden;
mod image_tower;
mod layout;
mod light;
mod loss;
mod model;
mod optimizer;
mod rng;
mod rows;
mod sentences;
mod tensors;
mod text_tower;
mod tower;
mod train;
mod unit_rows;
mod words;

use std::process::ExitCode;

/// What the C library and candle read once, when a program starts. Memory that is freed is kept:
/// giving it back and asking again for every product takes longer than the product. candle runs
/// on the thread that calls it; the threads here each have their own stack of crops.
const ENVIRONMENT: [(&str, &str); 5] = [
    ("MALLOC_MMAP_THRESHOLD_", "4294967296"),
    ("MALLOC_TRIM_THRESHOLD_", "17179869184"),
    ("MALLOC_TOP_PAD_", "67108864"),
    ("RAYON_NUM_THREADS", "1"),
    ("CANDLE_NUM_THREADS", "1"),
];

fn main() -> ExitCode {
    let arguments = match arguments::Arguments::parse(std::env::args().skip(1)) {
        Ok(arguments) => arguments,
        Err(error) => {
            eprintln!("error: {error}");
            return ExitCode::from(2);
        }
    };
    start_again();
    match train::train(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Becomes this program again with [`ENVIRONMENT`], unless it has it. Where that is not possible,
/// training goes on as it is, only slower.
fn start_again() {
    let has = |(name, value): &(&str, &str)| std::env::var(name).is_ok_and(|v| v == *value);
    let Ok(program) = std::env::current_exe() else { return };
    if !ENVIRONMENT.iter().all(has) {
        let mut command = std::process::Command::new(program);
        command.args(std::env::args_os().skip(1)).envs(ENVIRONMENT);
        turn_into(&mut command);
    }
}

#[cfg(unix)]
fn turn_into(command: &mut std::process::Command) {
    use std::os::unix::process::CommandExt;
    // It comes back only if it failed.
    let _ = command.exec();
}

#[cfg(not(unix))]
fn turn_into(_: &mut std::process::Command) {}
