//! NPY arrays of one map: versions 1 to 3, C order, little endian; f2, f4, f8, u1, u2.

use half::f16;

use super::AnomalyMap;

const MAGIC: &[u8] = b"\x93NUMPY";

/// Axes of length 1 before the last two are dropped. Errors: what the file holds instead.
pub(crate) fn read(bytes: &[u8]) -> Result<AnomalyMap, String> {
    let (header, data) = split(bytes).ok_or("not an NPY file, or cut off in its header")?;
    let descr = field(header, "descr").ok_or("an NPY file without `descr`")?;
    let order = field(header, "fortran_order").ok_or("an NPY file without `fortran_order`")?;
    let shape = field(header, "shape").ok_or("an NPY file without `shape`")?;
    if order.starts_with("True") {
        return Err("in Fortran order".to_string());
    }
    let shape = parse_shape(shape).ok_or("an NPY file with an unreadable `shape`")?;
    let [leading @ .., height, width] = shape.as_slice() else {
        return Err(format!("of shape {shape:?}"));
    };
    if leading.iter().any(|&axis| axis != 1) {
        return Err(format!("of shape {shape:?}"));
    }
    let kind = descr.trim_start_matches(['\'', '"']);
    let kind = kind.split(['\'', '"']).next().unwrap_or_default();
    let values = match kind {
        "<f2" => values(data, |bytes| f16::from_le_bytes(bytes).to_f32()),
        "<f4" => values(data, f32::from_le_bytes),
        "<f8" => values(data, |bytes| f64::from_le_bytes(bytes) as f32),
        "|u1" | "<u1" => values(data, |[byte]| f32::from(byte)),
        "<u2" => values(data, |bytes| f32::from(u16::from_le_bytes(bytes))),
        other => return Err(format!("of type `{other}`")),
    };
    let n = values.len();
    AnomalyMap::new(values, *height, *width)
        .ok_or_else(|| format!("of shape {shape:?}, but has {n} values (cut off?)"))
}

fn values<const N: usize>(data: &[u8], decode: impl Fn([u8; N]) -> f32) -> Vec<f32> {
    data.as_chunks::<N>().0.iter().map(|bytes| decode(*bytes)).collect()
}

fn split(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let rest = bytes.strip_prefix(MAGIC)?;
    let (version, rest) = rest.split_first_chunk::<2>()?;
    let (len, rest) = match version[0] {
        1 => {
            let (len, rest) = rest.split_first_chunk::<2>()?;
            (usize::from(u16::from_le_bytes(*len)), rest)
        }
        2 | 3 => {
            let (len, rest) = rest.split_first_chunk::<4>()?;
            (u32::from_le_bytes(*len) as usize, rest)
        }
        _ => return None,
    };
    let (header, data) = rest.split_at_checked(len)?;
    Some((std::str::from_utf8(header).ok()?, data))
}

/// The text after `'key':`.
fn field<'a>(header: &'a str, key: &str) -> Option<&'a str> {
    let (_, rest) = header.split_once(&format!("'{key}'"))?;
    Some(rest.trim_start().strip_prefix(':')?.trim_start())
}

fn parse_shape(text: &str) -> Option<Vec<usize>> {
    let (inside, _) = text.strip_prefix('(')?.split_once(')')?;
    let axes = inside.split(',').map(str::trim).filter(|axis| !axis.is_empty());
    axes.map(|axis| axis.parse().ok()).collect()
}
