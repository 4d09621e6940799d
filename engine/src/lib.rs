//! The engine of loupe: it owns every file, cache, device, thread, random number and decision; plugins are pure functions
//! on named tensors. The modules stand in the order of the data.

/// In the place of std's, which ends the program when stderr cannot be written: a full disk or a
/// reader that went away costs the talk, not the run.
macro_rules! eprint {
    ($($text:tt)*) => {{
        use std::io::Write as _;
        let _ = write!(std::io::stderr(), $($text)*);
    }};
}

macro_rules! eprintln {
    ($($text:tt)*) => {{
        use std::io::Write as _;
        let _ = writeln!(std::io::stderr(), $($text)*);
    }};
}

pub mod bench;
pub mod cache;
pub mod cli;
pub mod data;
pub mod eval;
pub mod experiment;
pub mod files;
pub mod hooks;
pub mod image;
pub mod import;
pub mod map;
pub mod metrics;
pub mod pipeline;
pub mod plugin;
pub mod predict;
pub mod prompts;
pub mod report;
pub mod run;
pub mod sweep;
pub mod train;
pub mod weights;
