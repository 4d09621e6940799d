//! The engine's own last stages: a grid of scores onto pixels, and a map to one score.

use loupe_kernels::{self as kernels, KernelError, ParallelFor};
use thiserror::Error;

use crate::pipeline::model::{MapTo, Pool};
use crate::plugin::Tensor;

#[derive(Debug, Error)]
pub enum MapError {
    #[error("a map wants `[b, h, w]`, got {shape:?}")]
    Shape { shape: Vec<usize> },
    #[error("`{name}` is not a {what}; there are {known}")]
    Name { what: &'static str, name: String, known: String },
    #[error(transparent)]
    Kernel(#[from] KernelError),
    #[error("{message}")]
    Tensor { message: String },
}

/// Names that `map = ".."` takes.
pub const MAP_MODES: [&str; 4] =
    ["bilinear", "bilinear-align-corners", "opencv-bilinear", "nearest"];
/// Names that `pool = ".."` takes.
pub const POOL_RULES: [&str; 4] = ["max", "mean", "top-fraction", "quantile"];

/// Resizes scores to `size` x `size` pixels, then smooths them, then applies what `then` names.
/// Shapes: `[b, h, w]` -> `[b, size, size]`. Errors: `Shape`, `Name`.
pub fn resize(config: &MapTo, scores: &Tensor, par: ParallelFor) -> Result<Tensor, MapError> {
    let size = config.size as usize;
    let data = resize_to(&config.mode, scores, [size, size], par)?;
    let n_maps = scores.shape().first().copied().unwrap_or(0);
    let mut data = match config.sigma_px {
        sigma if sigma > 0.0 => {
            kernels::gaussian_blur(&data, [n_maps, size, size], f64::from(sigma), par)?
        }
        _ => data,
    };
    match config.then.as_deref() {
        None => {}
        Some("sigmoid") => data.iter_mut().for_each(|score| *score = 1.0 / (1.0 + (-*score).exp())),
        Some(other) => return Err(unknown("function after a map", other, &["sigmoid"])),
    }
    tensor(vec![n_maps, size, size], data)
}

/// Resizes scores to any height and width by a named mode. Shapes: `[b, h, w]` -> `b * height * width` numbers.
pub fn resize_to(
    mode: &str,
    scores: &Tensor,
    height_width: [usize; 2],
    par: ParallelFor,
) -> Result<Vec<f32>, MapError> {
    let &[b, h, w] = scores.shape() else {
        return Err(MapError::Shape { shape: scores.shape().to_vec() });
    };
    let from = [b, h, w];
    Ok(match mode {
        "bilinear" => kernels::bilinear(scores.data(), from, height_width, par)?,
        "bilinear-align-corners" => {
            kernels::bilinear_align_corners(scores.data(), from, height_width, par)?
        }
        "opencv-bilinear" => kernels::opencv_bilinear(scores.data(), from, height_width, par)?,
        "nearest" => nearest(scores.data(), from, height_width),
        other => return Err(unknown("mode of `map`", other, &MAP_MODES)),
    })
}

/// Each pixel takes the cell that its centre falls into.
fn nearest(scores: &[f32], [b, h, w]: [usize; 3], [height, width]: [usize; 2]) -> Vec<f32> {
    let mut out = Vec::with_capacity(b * height * width);
    for map in scores.chunks_exact((h * w).max(1)) {
        for y in 0..height {
            let row = (2 * y + 1) * h / (2 * height.max(1));
            out.extend((0..width).map(|x| map[row * w + (2 * x + 1) * w / (2 * width.max(1))]));
        }
    }
    out
}

/// One score per map. Shapes: `[b, ...]` -> `[b]`. Errors: `Shape`, `Name`.
pub fn pool(config: &Pool, map: &Tensor) -> Result<Tensor, MapError> {
    let n_maps = match map.shape() {
        [b, ..] if *b > 0 => *b,
        shape => return Err(MapError::Shape { shape: shape.to_vec() }),
    };
    let fraction = f64::from(config.fraction);
    let score = |map: &[f32]| match config.rule.as_str() {
        "max" => Ok(kernels::max(map)?),
        "mean" => Ok(kernels::mean(map)?),
        "top-fraction" => Ok(kernels::top_fraction_mean(map, fraction)?),
        "quantile" => Ok(kernels::quantile(map, fraction)?),
        other => Err(unknown("rule of `pool`", other, &POOL_RULES)),
    };
    let each = map.data().len() / n_maps;
    let scores: Vec<f32> =
        map.data().chunks_exact(each.max(1)).map(score).collect::<Result<_, MapError>>()?;
    tensor(vec![n_maps], scores)
}

fn tensor(shape: Vec<usize>, data: Vec<f32>) -> Result<Tensor, MapError> {
    Tensor::new(shape, data).map_err(|message| MapError::Tensor { message })
}

fn unknown(what: &'static str, name: &str, known: &[&str]) -> MapError {
    MapError::Name { what, name: name.to_owned(), known: known.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use loupe_kernels::serial;

    fn map(mode: &str, then: Option<&str>) -> Result<Vec<f32>, MapError> {
        let scores = tensor(vec![1, 2, 2], vec![0.0, 1.0, 2.0, 3.0])?;
        let then = then.map(str::to_owned);
        let config = MapTo { mode: mode.to_owned(), size: 4, then, sigma_px: 0.0 };
        Ok(resize(&config, &scores, &serial)?.data().to_vec())
    }

    #[test]
    fn modes_differ_as_their_names_say() {
        let row = |mode| map(mode, None).unwrap()[..4].to_vec();
        assert_eq!(row("nearest"), [0.0, 0.0, 1.0, 1.0]);
        assert_eq!(row("bilinear"), [0.0, 0.25, 0.75, 1.0]);
        assert_eq!(row("bilinear-align-corners")[3], 1.0);
        assert!((row("bilinear-align-corners")[1] - 1.0 / 3.0).abs() < 1e-6);
    }

    #[test]
    fn sigmoid_follows_the_resize() {
        assert_eq!(map("nearest", Some("sigmoid")).unwrap()[0], 0.5);
    }

    #[test]
    fn an_unknown_mode_lists_the_known_ones() {
        let message = map("bicubic", None).unwrap_err().to_string();
        assert!(message.contains("bilinear-align-corners"), "{message}");
    }

    #[test]
    fn each_map_of_a_batch_gets_its_own_score() {
        let maps = tensor(vec![2, 1, 2], vec![0.0, 1.0, 5.0, 3.0]).unwrap();
        let rule = |rule: &str| Pool { rule: rule.to_owned(), fraction: 0.5 };
        assert_eq!(pool(&rule("max"), &maps).unwrap().data(), [1.0, 5.0]);
        assert_eq!(pool(&rule("mean"), &maps).unwrap().data(), [0.5, 4.0]);
        assert_eq!(pool(&rule("top-fraction"), &maps).unwrap().data(), [1.0, 5.0]);
    }
}
