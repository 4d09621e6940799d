//! Seconds that the metrics of one class take, over maps in raw f32 and masks in bytes:
//!
//! ```sh
//! cargo run --release -p loupe-engine --example metrics_time -- MAPS MASKS N_IMAGES SIDE
//! ```
//!
//! For each line of the input all images are counted anew, and seconds, peak memory in MB and the values are
//! printed: so that a script can let a peer take turns. Reading the two files is in the time.

use std::error::Error;
use std::fs::File;
use std::io::{BufRead, Write};
use std::os::unix::fs::FileExt;
use std::time::Instant;

use loupe_engine::metrics::{ImageScores, PixelAccumulator, PixelOptions};
use rayon::prelude::*;

type Outcome<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

struct Maps {
    maps: File,
    masks: File,
    n_images: usize,
    side: usize,
}

struct Image {
    map: Vec<f32>,
    mask: Vec<bool>,
    score: f64,
}

fn main() -> Outcome<()> {
    let given: Vec<String> = std::env::args().skip(1).collect();
    let [maps, masks, n_images, side] = given.as_slice() else {
        return Err("wanted: MAPS MASKS N_IMAGES SIDE".into());
    };
    let maps = Maps {
        maps: File::open(maps)?,
        masks: File::open(masks)?,
        n_images: n_images.parse()?,
        side: side.parse()?,
    };
    for line in std::io::stdin().lock().lines() {
        line?;
        let start = Instant::now();
        let values = maps.evaluate()?;
        let seconds = start.elapsed().as_secs_f64();
        println!("{seconds} {} {values}", peak_mb());
        std::io::stdout().flush()?;
    }
    Ok(())
}

impl Maps {
    fn read(&self, image: usize) -> Outcome<Image> {
        let n = self.side * self.side;
        let mut bytes = vec![0; 4 * n];
        self.maps.read_exact_at(&mut bytes, (4 * n * image) as u64)?;
        let map: Vec<f32> =
            bytes.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
        bytes.truncate(n);
        self.masks.read_exact_at(&mut bytes, (n * image) as u64)?;
        let score = map.iter().copied().fold(f32::NEG_INFINITY, f32::max).into();
        Ok(Image { map, mask: bytes.iter().map(|byte| *byte > 0).collect(), score })
    }

    fn evaluate(&self) -> Outcome<String> {
        let limits = vec![0.3];
        let options = PixelOptions { limits, ..PixelOptions::default() };
        let mut pixels = PixelAccumulator::new(options)?;
        let mut images = ImageScores::new();
        let order: Vec<usize> = (0..self.n_images).collect();
        for chunk in order.chunks(rayon::current_num_threads().max(1)) {
            let digest = |image: &usize| {
                let Image { map, mask, score } = self.read(*image)?;
                let hw = [self.side, self.side];
                let digest = pixels.digest(&image.to_string(), &map, Some(&mask), hw)?;
                Ok((score, mask.contains(&true), digest))
            };
            let digests: Vec<Outcome<_>> = chunk.par_iter().map(digest).collect();
            for (image, digest) in chunk.iter().zip(digests) {
                let (score, anomalous, digest) = digest?;
                images.push(&image.to_string(), score, anomalous)?;
                pixels.push(digest)?;
            }
        }
        let (images, pixels) = (images.metrics(), pixels.finish()?);
        let values = [&images.auroc, &images.ap, &images.f1max, &pixels.auroc, &pixels.ap];
        let values = values.into_iter().chain([&pixels.f1max]).chain(&pixels.aupro);
        let told = values.map(|value| value.get().map_or("-".to_string(), |v| v.to_string()));
        Ok(told.collect::<Vec<_>>().join(" "))
    }
}

/// Largest resident memory so far, in MB; 0 where the system does not tell.
fn peak_mb() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kb = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<usize>().ok());
    kb.unwrap_or_default() / 1024
}
