use loupe_kernels::KernelError;

/// What the image module refuses; `name` is the file's path as the caller wrote it.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    #[error("`{name}` is {got}; wanted a PNG, JPEG, TIFF or BMP image")]
    Format { name: String, got: String },
    #[error("`{name}` is cut off: {reason}; fetch or copy the file again")]
    Truncated { name: String, reason: String },
    #[error("`{name}` cannot be decoded: {reason}")]
    Corrupt { name: String, reason: String },
    #[error("`{name}` has {got} pixels; wanted grey, RGB or palette, at most 16 bits; convert it")]
    Colour { name: String, got: String },
    #[error("`{name}` is of a kind that is not read here: {reason}; convert it to 8-bit RGB")]
    Unsupported { name: String, reason: String },
    #[error("`{name}` is {width} x {height}: it has no pixels")]
    Empty { name: String, width: u32, height: u32 },
    #[error("`{name}` is {width} x {height}, more than the limit of {limit} pixels; scale it down")]
    TooLarge { name: String, width: u32, height: u32, limit: u64 },
    #[error("`geometry = \"shorter-side\"` wants a square size, got {height} x {width}")]
    NotSquare { height: usize, width: usize },
    #[error(
        "a picture of {height} x {width} with its shorter side at {size} is too large; crop it"
    )]
    TooNarrow { height: usize, width: usize, size: usize },
    #[error("`{key}` wants {want}, got `{got}`")]
    Name { key: &'static str, want: &'static str, got: String },
    #[error("`{key}` wants {want}, got `{got}`")]
    Range { key: &'static str, want: &'static str, got: f32 },
    #[error("a picture of {width} x {height} could not be written as PNG: {reason}")]
    Encode { width: usize, height: usize, reason: String },
    #[error(transparent)]
    Kernel(#[from] KernelError),
}
