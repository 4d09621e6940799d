//! Seconds and memory of one image through CLIP and GEM, with random weights:
//! `cargo run --release -p loupe-clip --example encode_time -- ViT-B-16-plus-240 240 448`.

use std::time::Instant;

use candle_core::{Device, Tensor};
use loupe_clip::model::Request;
use loupe_clip::weights::Random;
use loupe_clip::{Clip, Gem, ModelConfig, Result, Wanted};

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let name = arguments.next().unwrap_or_else(|| "ViT-B-16-plus-240".to_string());
    let config = ModelConfig::preset(&name)?;
    let start = Instant::now();
    let clip = Clip::new(config.clone(), &Random::new(0, &config))?;
    println!("{name}: made in {:.1} s, {} MB", start.elapsed().as_secs_f64(), peak_mb());
    for size in arguments.filter_map(|size| size.parse::<usize>().ok()) {
        let image = Tensor::zeros((1, 3, size, size), candle_core::DType::F32, &Device::Cpu)?;
        for with_gem in [false, true] {
            let wanted = Wanted {
                image_embedding: true,
                patch_embeddings: true,
                gem_patch_embeddings: with_gem,
                ..Wanted::default()
            };
            let request = Request { taps: Vec::new(), wanted, gem: Gem::default() };
            let start = Instant::now();
            clip.encode(&image, request)?;
            let seconds = start.elapsed().as_secs_f64();
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

/// Largest resident memory so far, in MB; 0 where the system does not tell.
fn peak_mb() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kb = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<usize>().ok());
    kb.unwrap_or_default() / 1024
}
