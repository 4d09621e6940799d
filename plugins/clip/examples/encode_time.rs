//! Seconds and memory of images through CLIP and GEM, with random weights:
//!
//! ```sh
//! cargo run --release -p loupe-clip --example encode_time -- ViT-B-16-plus-240 fused-bf16 240 448
//! ```
//!
//! Forms are `fused-f32`, `fused-bf16` and `candle`. Beside peers, in turn with them: `tests/peers`.

use std::error::Error;
use std::sync::Arc;
use std::time::Instant;

use candle_core::{DType, Device, Tensor};
use loupe_clip::model::Request;
use loupe_clip::weights::{Random, Weights};
use loupe_clip::{Clip, Gem, ModelConfig, Packing, Threads, Wanted};
use loupe_kernels::{Isa, Precision};

type Outcome<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Outcome<()> {
    let mut arguments = std::env::args().skip(1);
    let name = arguments.next().unwrap_or_else(|| "ViT-B-16-plus-240".to_string());
    let form = arguments.next().unwrap_or_else(|| "fused-f32".to_string());
    let sizes: Vec<usize> = arguments.filter_map(|size| size.parse().ok()).collect();
    let start = Instant::now();
    let clip = make(&name, &form)?;
    let seconds = start.elapsed().as_secs_f64();
    eprintln!("{name}, {form}, {}: made in {seconds:.1} s, {} MB", Isa::best()?.name(), peak_mb());
    for size in sizes {
        for with_gem in [false, true] {
            let seconds = encode(&clip, size, with_gem)?;
            println!("{size} px, gem {with_gem}: {seconds:.2} s, peak {} MB", peak_mb());
        }
    }
    let sentences: Vec<String> =
        (0..64).map(|i| format!("a photo of a damaged bottle {i}.")).collect();
    let sentences: Vec<&str> = sentences.iter().map(String::as_str).collect();
    let start = Instant::now();
    clip.encode_text(&sentences)?;
    println!("64 sentences: {:.2} s, peak {} MB", start.elapsed().as_secs_f64(), peak_mb());
    Ok(())
}

fn make(name: &str, form: &str) -> Outcome<Clip> {
    loupe_clip::init_threads(std::thread::available_parallelism()?.get());
    let config = ModelConfig::preset(name)?;
    let random = Random::new(0, &config);
    let precision = match form {
        "candle" => return Ok(Clip::new(config, &random)?),
        "fused-f32" => Precision::F32,
        "fused-bf16" => Precision::Bf16,
        _ => return Err(format!("no form is called `{form}`").into()),
    };
    let weights: Arc<dyn Weights + Send + Sync> = Arc::new(random);
    let packing = Packing { isa: Isa::best()?, precision, threads: Threads::Library, keeper: None };
    Ok(Clip::packed(config, &weights, &packing)?)
}

fn encode(clip: &Clip, size: usize, with_gem: bool) -> Outcome<f64> {
    let image = Tensor::zeros((1, 3, size, size), DType::F32, &Device::Cpu)?;
    let wanted = Wanted {
        image_embedding: true,
        patch_embeddings: true,
        gem_patch_embeddings: with_gem,
        ..Wanted::default()
    };
    let request = Request { taps: Vec::new(), wanted, gem: Gem::default() };
    let start = Instant::now();
    clip.encode(&image, request)?;
    Ok(start.elapsed().as_secs_f64())
}

/// Largest resident memory so far, in MB; 0 where the system does not tell.
fn peak_mb() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kb = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<usize>().ok());
    kb.unwrap_or_default() / 1024
}
