//! Texts, bytes and tensors of the boundary, copied into our own memory.

use std::slice;

use half::{bf16, f16};
use loupe_plugin::abi::{
    DL_BFLOAT, DL_CPU, DL_CUDA, DL_FLOAT, DL_INT, DL_UINT, DLDataType, DLManagedTensorVersioned,
    DLTensor, LoupeBytes, LoupeError, LoupeSentence, LoupeStr,
};

use super::shape::MAX_RANK;
use super::value::{Sentence, Tensor};

/// Far above anything real, far below what overflows.
const MAX_BYTES: usize = 1 << 40;
const DLPACK_MAJOR: u32 = 1;

/// Errors: null with a length, or not UTF-8.
///
/// # Safety
/// `text` has the bytes it says.
pub(super) unsafe fn str_of(text: LoupeStr) -> Result<String, String> {
    // SAFETY: the caller's promise.
    let bytes = unsafe { bytes_of(LoupeBytes { data: text.data.cast(), len: text.len }) }?;
    String::from_utf8(bytes).map_err(|_| "a text is not UTF-8".to_owned())
}

/// Errors: null with a length, or a length that cannot be.
///
/// # Safety
/// `bytes` has the bytes it says.
pub(super) unsafe fn bytes_of(bytes: LoupeBytes) -> Result<Vec<u8>, String> {
    if bytes.len == 0 {
        return Ok(Vec::new());
    }
    if bytes.data.is_null() || bytes.len > MAX_BYTES {
        return Err(format!("{} bytes at {:?} cannot be read", bytes.len, bytes.data));
    }
    let mut copy = room::<u8>(bytes.len)?;
    // SAFETY: the caller's promise.
    copy.extend_from_slice(unsafe { slice::from_raw_parts(bytes.data, bytes.len) });
    Ok(copy)
}

/// Errors: a text is not UTF-8, a weight not finite, a label neither 0 nor 1.
///
/// # Safety
/// `list` has `n` sentences whose texts have the bytes they say.
pub(super) unsafe fn sentences_of(
    list: *const LoupeSentence,
    n: usize,
) -> Result<Vec<Sentence>, String> {
    if n > 0 && (list.is_null() || n > MAX_BYTES / size_of::<LoupeSentence>()) {
        return Err(format!("{n} sentences at {list:?} cannot be read"));
    }
    let mut sentences = Vec::new();
    for idx in 0..n {
        // SAFETY: the caller's promise.
        let raw = unsafe { list.add(idx).read_unaligned() };
        let wrong = |why: String| format!("sentence {idx}: {why}");
        if raw.anomalous != 0 && raw.anomalous != 1 {
            return Err(wrong(format!("`anomalous` is {}, 0 or 1 is wanted", raw.anomalous)));
        }
        if !raw.weight.is_finite() {
            return Err(wrong(format!("its weight is {}", raw.weight)));
        }
        // SAFETY: the caller's promise.
        let (text, source) =
            unsafe { (str_of(raw.text).map_err(wrong)?, str_of(raw.source).map_err(wrong)?) };
        sentences.push(Sentence {
            text,
            anomalous: raw.anomalous == 1,
            weight: raw.weight,
            source,
        });
    }
    Ok(sentences)
}

pub(super) fn lend_str(text: &str) -> LoupeStr {
    LoupeStr { data: text.as_ptr().cast(), len: text.len() }
}

pub(super) fn empty_error() -> LoupeError {
    LoupeError { len: 0, text: [0; 1020] }
}

pub(super) fn message_of(error: &LoupeError) -> String {
    let len = (error.len as usize).min(error.text.len());
    let text = String::from_utf8_lossy(error.text.get(..len).unwrap_or_default());
    match text.trim() {
        "" => "it gave no reason".to_owned(),
        text => text.to_owned(),
    }
}

/// Cuts the message at a character if it is too long.
///
/// # Safety
/// `error` is null or has room for a `LoupeError`.
pub(super) unsafe fn write_error(error: *mut LoupeError, message: &str) {
    if error.is_null() {
        return;
    }
    let mut out = empty_error();
    let len = message.floor_char_boundary(out.text.len());
    for (to, from) in out.text.iter_mut().zip(message.as_bytes().iter().take(len)) {
        *to = *from;
    }
    out.len = len as u32;
    // SAFETY: the caller's promise.
    unsafe { error.write_unaligned(out) }
}

/// A tensor that a plugin gave away: freed through its deleter, once, whatever happens.
pub(super) struct Given(*mut DLManagedTensorVersioned);

impl Given {
    /// Errors: null, no deleter, or a DLPack whose layout is unknown. Then too it is freed if it
    /// can be.
    ///
    /// # Safety
    /// `tensor` is null or a managed tensor that the caller gives up.
    pub unsafe fn take(tensor: *mut DLManagedTensorVersioned) -> Result<Self, String> {
        if tensor.is_null() || !tensor.is_aligned() {
            return Err("its tensor is null or misaligned".to_owned());
        }
        let given = Self(tensor);
        // SAFETY: version and deleter stand where they are in every version of DLPack.
        let (version, deleter) = unsafe { ((*tensor).version, (*tensor).deleter) };
        if deleter.is_none() {
            return Err("its tensor has no deleter".to_owned());
        }
        if version.major != DLPACK_MAJOR {
            let (major, minor) = (version.major, version.minor);
            return Err(format!("its tensor is DLPack {major}.{minor}, 1.x is wanted"));
        }
        Ok(given)
    }

    /// Its dimensions. Errors: on another device, or no plausible shape.
    pub fn dims(&self) -> Result<Vec<usize>, String> {
        // SAFETY: `take` saw the layout; the tensor lives until `self` is dropped.
        let dl = unsafe { &(*self.0).dl_tensor };
        match dl.device.device_type {
            DL_CPU => {}
            DL_CUDA => {
                return Err(format!(
                    "its tensor is on cuda:{}, cpu is wanted",
                    dl.device.device_id
                ));
            }
            other => return Err(format!("its tensor is on device type {other}, cpu is wanted")),
        }
        let rank = usize::try_from(dl.ndim).ok().filter(|rank| *rank <= MAX_RANK);
        let Some(rank) = rank else {
            return Err(format!(
                "its tensor has {} dimensions, 0 to {MAX_RANK} are wanted",
                dl.ndim
            ));
        };
        // SAFETY: a tensor of this rank has so many dimensions.
        let dims = unsafe { integers(dl.shape, rank) }.ok_or("its tensor has no shape")?;
        let size = dl_size(dl.dtype).unwrap_or(1);
        let n_bytes = dims.iter().try_fold(size, |n, dim| {
            usize::try_from(*dim).ok().and_then(|dim| n.checked_mul(dim.max(1)))
        });
        if n_bytes.is_none_or(|n_bytes| n_bytes > MAX_BYTES) {
            return Err(format!("its tensor has the impossible shape {dims:?}"));
        }
        Ok(dims.into_iter().map(|dim| dim as usize).collect())
    }

    /// Copies the numbers as f32, in row-major order.
    /// Errors: an element type that does not become f32, no data, a number that is not finite.
    pub fn read(&self, dims: Vec<usize>) -> Result<Tensor, String> {
        // SAFETY: `take` saw the layout; the tensor lives until `self` is dropped.
        let dl = unsafe { &(*self.0).dl_tensor };
        let n = dims.iter().product::<usize>();
        let data = if n == 0 { Vec::new() } else { convert(dl, &dims, n)? };
        if let Some(idx) = first_not_finite(&data) {
            let number = data.get(idx).copied().unwrap_or(f32::NAN);
            return Err(format!("element {idx} of {dims:?} is {number}"));
        }
        Tensor::new(dims, data)
    }
}

impl Drop for Given {
    fn drop(&mut self) {
        // SAFETY: the tensor was given to us, and this is the only place that frees it.
        unsafe {
            if let Some(deleter) = (*self.0).deleter {
                deleter(self.0);
            }
        }
    }
}

/// Looks at a block of numbers at a time, which a search that ends at the first one cannot.
fn first_not_finite(numbers: &[f32]) -> Option<usize> {
    const BLOCK: usize = 1024;
    let is_bad = |block: &[f32]| block.iter().fold(false, |bad, x| bad | !x.is_finite());
    let first = numbers.chunks(BLOCK).position(is_bad)? * BLOCK;
    numbers[first..].iter().position(|x| !x.is_finite()).map(|idx| first + idx)
}

/// Errors: the element type by name.
fn convert(dl: &DLTensor, dims: &[usize], n: usize) -> Result<Vec<f32>, String> {
    if dl.data.is_null() {
        return Err("its tensor has no data".to_owned());
    }
    // SAFETY: a tensor says where its elements are; each is read unaligned as the bytes of its
    // type.
    unsafe {
        match (dl.dtype.code, dl.dtype.bits, dl.dtype.lanes) {
            (DL_FLOAT, 32, 1) => gather(dl, dims, n, f32::from_le_bytes),
            (DL_FLOAT, 64, 1) => gather(dl, dims, n, |bytes| f64::from_le_bytes(bytes) as f32),
            (DL_FLOAT, 16, 1) => gather(dl, dims, n, |bytes| f16::from_le_bytes(bytes).to_f32()),
            (DL_BFLOAT, 16, 1) => gather(dl, dims, n, |bytes| bf16::from_le_bytes(bytes).to_f32()),
            _ => Err(format!(
                "its tensor is {}; f32, f64, f16 or bf16 is wanted",
                dtype_name(dl.dtype)
            )),
        }
    }
}

/// # Safety
/// `dl` has `n` elements of `N` bytes in the shape `dims`, at its strides.
unsafe fn gather<const N: usize>(
    dl: &DLTensor,
    dims: &[usize],
    n: usize,
    value: impl Fn([u8; N]) -> f32,
) -> Result<Vec<f32>, String> {
    let mut out = room::<f32>(n)?;
    let start = dl.data.cast::<u8>().wrapping_add(dl.byte_offset as usize);
    // SAFETY: a tensor with strides has one a dimension.
    let strides = unsafe { integers(dl.strides, dims.len()) };
    let strides = strides.unwrap_or_else(|| row_major(dims));
    let mut index = vec![0_usize; dims.len()];
    let (inner, step) = match (dims.last(), strides.last()) {
        (Some(dim), Some(stride)) => (*dim, (*stride as isize).wrapping_mul(N as isize)),
        _ => (1, 0),
    };
    while out.len() < n {
        let offset = index.iter().zip(&strides).fold(0_isize, |sum, (idx, stride)| {
            sum.wrapping_add((*idx as isize).wrapping_mul(*stride as isize))
        });
        let row = start.wrapping_offset(offset.wrapping_mul(N as isize));
        if step == N as isize {
            // SAFETY: the caller's promise; bytes are aligned everywhere.
            let row = unsafe { std::slice::from_raw_parts(row.cast::<[u8; N]>(), inner) };
            out.extend(row.iter().map(|bytes| value(*bytes)));
            advance(&mut index, dims);
            continue;
        }
        for idx in 0..inner {
            let at = row.wrapping_offset((idx as isize).wrapping_mul(step));
            // SAFETY: the caller's promise.
            out.push(value(unsafe { at.cast::<[u8; N]>().read_unaligned() }));
        }
        advance(&mut index, dims);
    }
    Ok(out)
}

/// The next row: all indices but the last count up.
fn advance(index: &mut [usize], dims: &[usize]) {
    for (idx, dim) in index.iter_mut().zip(dims).rev().skip(1) {
        *idx += 1;
        if *idx < *dim {
            return;
        }
        *idx = 0;
    }
}

fn row_major(dims: &[usize]) -> Vec<i64> {
    let mut strides = vec![1_i64; dims.len()];
    let mut n = 1_i64;
    for (stride, dim) in strides.iter_mut().zip(dims).rev() {
        *stride = n;
        n = n.wrapping_mul(*dim as i64);
    }
    strides
}

/// # Safety
/// `list` is null or has `n` integers.
unsafe fn integers(list: *const i64, n: usize) -> Option<Vec<i64>> {
    if n == 0 {
        return Some(Vec::new());
    }
    if list.is_null() {
        return None;
    }
    // SAFETY: the caller's promise.
    Some((0..n).map(|idx| unsafe { list.add(idx).read_unaligned() }).collect())
}

/// Errors: so much memory is not to be had.
fn room<T>(n: usize) -> Result<Vec<T>, String> {
    let mut out = Vec::new();
    match out.try_reserve_exact(n) {
        Ok(()) => Ok(out),
        Err(_) => Err(format!("there is no memory for {n} elements")),
    }
}

fn dl_size(dtype: DLDataType) -> Option<usize> {
    usize::from(dtype.bits).checked_mul(usize::from(dtype.lanes)).map(|bits| bits.div_ceil(8))
}

fn dtype_name(dtype: DLDataType) -> String {
    let DLDataType { code, bits, lanes } = dtype;
    let name = match code {
        DL_INT => format!("i{bits}"),
        DL_UINT => format!("u{bits}"),
        DL_FLOAT => format!("f{bits}"),
        DL_BFLOAT => format!("bf{bits}"),
        _ => format!("of type code {code} with {bits} bits"),
    };
    if lanes == 1 { name } else { format!("{name}x{lanes}") }
}
