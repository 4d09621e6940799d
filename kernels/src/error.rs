/// What a kernel refuses. `op` is the function's name, so that a caller can add its own stage.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum KernelError {
    #[error("`{op}` wants `{input}` of {want}, got {got}")]
    Shape { op: &'static str, input: &'static str, want: String, got: String },
    #[error("`{op}` wants at least one value in `{input}`, got none")]
    Empty { op: &'static str, input: &'static str },
    #[error("`{op}` wants `{key}` {want}, got `{got}`")]
    Range { op: &'static str, key: &'static str, want: &'static str, got: f64 },
    #[error("`{op}` wants finite values, but `{input}` holds `{got}` at index {index}")]
    NotFinite { op: &'static str, input: &'static str, index: usize, got: f64 },
    #[error("`{op}` would make `{input}` of {got} values, more than memory can address")]
    TooLarge { op: &'static str, input: &'static str, got: String },
    #[error("packed weights cannot be read: {message}")]
    Read { message: String },
    #[error("`LOUPE_CPU` wants `portable`, `avx2`, `avx512` or `amx`, got `{got}`")]
    Cpu { got: String },
}

/// Refuses NaN and infinities, naming the first one.
pub(crate) fn check_finite(
    op: &'static str,
    input: &'static str,
    values: &[f32],
) -> Result<(), KernelError> {
    // Whole blocks are asked at once: most values are finite.
    const BLOCK: usize = 256;
    let passed = |block: &&[f32]| block.iter().fold(true, |all, value| all & value.is_finite());
    let start = values.chunks(BLOCK).take_while(passed).count() * BLOCK;
    let rest = values.get(start..).unwrap_or_default();
    match rest.iter().zip(start..).find(|(value, _)| !value.is_finite()) {
        None => Ok(()),
        Some((value, index)) => {
            Err(KernelError::NotFinite { op, input, index, got: f64::from(*value) })
        }
    }
}

/// Product of the sides, or `TooLarge`; sizes come from files and configs, so they may lie.
pub(crate) fn volume(
    op: &'static str,
    input: &'static str,
    sides: &[usize],
) -> Result<usize, KernelError> {
    let volume = sides.iter().try_fold(1_usize, |product, side| product.checked_mul(*side));
    match volume {
        Some(volume) if volume <= isize::MAX as usize / 8 => Ok(volume),
        _ => Err(KernelError::TooLarge { op, input, got: format!("{sides:?}") }),
    }
}

/// Checks that `len` values fill the shape `sides`, and that no side is zero.
pub(crate) fn check_shape(
    op: &'static str,
    input: &'static str,
    len: usize,
    sides: &[usize],
) -> Result<(), KernelError> {
    let want = volume(op, input, sides)?;
    if want == 0 {
        return Err(KernelError::Empty { op, input });
    }
    if want != len {
        let (want, got) = (format!("{want} values for {sides:?}"), format!("{len}"));
        return Err(KernelError::Shape { op, input, want, got });
    }
    Ok(())
}
