//! What fusions of any number of parts share: a number per part, and the walk over all elements.

use loupe_plugin::prelude::*;

/// One number per part: those given under `key`, or `default` for each where none are.
/// Errors: a count that differs from that of the parts.
pub fn per_part(
    key: &str,
    given: Option<&Vec<f64>>,
    default: f64,
    n_parts: usize,
) -> Result<Vec<f64>> {
    match given {
        None => Ok(vec![default; n_parts]),
        Some(numbers) if numbers.len() == n_parts => Ok(numbers.clone()),
        Some(numbers) => Err(Error::input(format!(
            "`{key}` has {} numbers, but there are {n_parts} parts; give one number per part",
            numbers.len()
        ))),
    }
}

/// Goes through the parts in order and folds each element of theirs into that of `start`.
/// Shapes: n >= 1 parts of one shape -> that shape; f64. Errors: `Empty`, `Shape`.
pub fn fold(
    parts: &[Tensor],
    numbers: &[f64],
    start: f64,
    step: impl Fn(f64, f64, f64) -> f64,
) -> Result<Vec<f64>> {
    let mut folded = vec![start; same_shape(parts)?.len()];
    for (part, number) in parts.iter().zip(numbers) {
        for (so_far, score) in folded.iter_mut().zip(part.f32s()?) {
            *so_far = step(*so_far, *number, f64::from(*score));
        }
    }
    Ok(folded)
}
