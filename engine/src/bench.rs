//! What a measured run comes to: for each kind of work its calls, their times, and how near they come to what this
//! machine can do.

use std::collections::BTreeMap;

use loupe_kernels::{Activation, BlockShape, Isa, ParallelFor, Precision, Team, blocks};
use serde::Serialize;

use crate::pipeline::model::{Component, Pipeline, Stage};
use crate::run::{Calls, Work};

/// One pass over the images.
#[derive(Clone, Debug, Serialize)]
pub struct Pass {
    /// `cold` or `warm`.
    pub cache: &'static str,
    pub seconds: f64,
    pub images_per_second: f64,
    /// Largest resident memory, where the system tells.
    pub peak_bytes: Option<u64>,
    pub work: Vec<Row>,
}

/// One kind of work. Kinds overlap: the seconds of all may add up to more than those of the pass.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// A stage's name, or what the engine does itself.
    pub work: String,
    /// What does it: a component, or a part of the engine.
    pub by: String,
    /// A call for several images counts as one for each.
    pub calls: usize,
    pub p50_ms: f64,
    pub p95_ms: f64,
    pub seconds: f64,
    pub bytes_in: u64,
    pub bytes_out: u64,
    /// Where the component tells what it computes.
    pub gflops: Option<f64>,
    /// Of the products' ceiling in the component's precision, 0 to 1.
    pub of_ceiling: Option<f64>,
}

/// GFLOP a second that products reach on this machine with nothing to fetch, for each precision that a pipeline's
/// encoders use.
pub type Ceilings = BTreeMap<&'static str, f64>;

/// Measures them: as fast as the machine is at this moment. Errors: `LOUPE_CPU` names nothing known.
pub fn ceilings(
    pipeline: &Pipeline,
    par: ParallelFor,
    n_threads: usize,
) -> Result<Ceilings, loupe_kernels::KernelError> {
    let isa = Isa::best()?;
    let shape = BlockShape {
        width: 64,
        n_heads: 1,
        mlp_width: 64,
        activation: Activation::Gelu,
        causal: false,
    };
    let tells = pipeline
        .stages
        .iter()
        .enumerate()
        .filter(|(_, stage)| stage.facts.all.get("flop").is_some());
    let mut ceilings = Ceilings::new();
    for (stage, _) in tells {
        let (name, precision) = precision(pipeline, stage);
        let rate = || blocks(shape, isa, precision).ceiling(Team { par, n_threads }) / 1e9;
        // The best of a few: what disturbs a measurement only lowers it.
        ceilings.entry(name).or_insert_with(|| (0..5).map(|_| rate()).fold(0.0, f64::max));
    }
    Ok(ceilings)
}

/// What most of a stage's products are rounded to.
fn precision(pipeline: &Pipeline, stage: usize) -> (&'static str, Precision) {
    match pipeline.stages.get(stage).and_then(Stage::precision) {
        Some("bf16" | "int8") => ("bf16", Precision::Bf16),
        _ => ("f32", Precision::F32),
    }
}

/// The rows of a pass, in the order of the data.
pub fn rows(
    pipeline: &Pipeline,
    measured: &BTreeMap<Work, Calls>,
    ceilings: &Ceilings,
) -> Vec<Row> {
    measured.iter().map(|(work, calls)| row(pipeline, *work, calls, ceilings)).collect()
}

fn row(pipeline: &Pipeline, work: Work, calls: &Calls, ceilings: &Ceilings) -> Row {
    let stage = |at: usize, what: &str| {
        let stage = pipeline.stages.get(at);
        let by = stage.map_or("", |stage| match &stage.component {
            Component::Plugin { name, .. } => name,
            Component::Prepare(_) => "prepare",
            Component::Map(_) => "map",
            Component::Pool(_) => "pool",
        });
        let name = stage.map_or("", |stage| stage.name.as_str());
        (format!("{name}{what}"), by.to_owned())
    };
    let own = |work: &str, by: &str| (work.to_owned(), by.to_owned());
    let (name, by) = match work {
        Work::Load(at) => stage(at, ", made"),
        Work::Decode => own("files", "decode"),
        Work::Stage(at) => stage(at, ""),
        Work::Text(at) => stage(at, ", text"),
        Work::Fit(at) => stage(at, ", fit"),
        Work::ReadCache => own("cache", "read"),
        Work::KeepInCache => own("cache", "keep"),
        Work::WriteCache => own("cache", "write"),
        Work::Metrics => own("metrics", "engine"),
        Work::Report => own("report", "engine"),
    };
    let mut sorted = calls.seconds.clone();
    sorted.sort_unstable_by(f32::total_cmp);
    let quantile = |share: f64| {
        let at = (share * sorted.len().saturating_sub(1) as f64).round() as usize;
        f64::from(sorted.get(at).copied().unwrap_or_default()) * 1e3
    };
    let seconds: f64 = calls.seconds.iter().map(|seconds| f64::from(*seconds)).sum();
    let gflops = (calls.cost.flop > 0.0 && seconds > 0.0).then(|| calls.cost.flop / seconds / 1e9);
    let ceiling = match work {
        Work::Stage(at) => ceilings.get(precision(pipeline, at).0),
        _ => None,
    };
    Row {
        work: name,
        by,
        calls: sorted.len(),
        p50_ms: quantile(0.5),
        p95_ms: quantile(0.95),
        seconds,
        bytes_in: calls.cost.bytes_in,
        bytes_out: calls.cost.bytes_out,
        gflops,
        of_ceiling: gflops.zip(ceiling).map(|(gflops, ceiling)| gflops / ceiling),
    }
}

/// Largest resident memory of this process since it began, or since `forget_peak`. `None` where the system does not
/// tell.
pub fn peak_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}

/// From now on, `peak_bytes` counts anew; where the system does not let it, it goes on.
pub fn forget_peak() {
    let _ = std::fs::write("/proc/self/clear_refs", "5");
}
