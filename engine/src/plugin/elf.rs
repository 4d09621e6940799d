//! Looks at a shared object before `dlopen` does: the dynamic linker maps a truncated file without
//! complaint and the process then dies of SIGBUS.

use thiserror::Error;

#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ElfError {
    #[error("is not a shared library: it does not start with the ELF mark")]
    Magic,
    #[error("is truncated: {part} would end at byte {end}, but the file has {len}")]
    Truncated { part: &'static str, end: u64, len: u64 },
    #[error("was built for another machine: {want} is wanted, but the file is {got}")]
    Machine { want: &'static str, got: String },
    #[error("is not a shared library: its ELF type is {got}, {want} is wanted")]
    Type { want: u16, got: u16 },
    #[error("is damaged: {what}")]
    Damaged { what: &'static str },
}

const HEADER: u64 = 64;
const ENTRY: u64 = 56;
const ET_DYN: u16 = 3;
const PT_LOAD: u32 = 1;

#[cfg(target_arch = "x86_64")]
const MACHINE: (u16, &str) = (62, "x86-64");
#[cfg(target_arch = "aarch64")]
const MACHINE: (u16, &str) = (183, "aarch64");

/// Errors: the first reason for which the file cannot be a whole shared library of this machine.
pub fn check(bytes: &[u8]) -> Result<(), ElfError> {
    if bytes.get(..4) != Some(b"\x7fELF") {
        return Err(ElfError::Magic);
    }
    inside("the ELF header", 0, HEADER, bytes)?;
    if bytes.get(4..6) != Some(&[2, 1]) {
        let got = "not 64-bit little-endian".to_owned();
        return Err(ElfError::Machine { want: MACHINE.1, got });
    }
    let machine = u16_at(bytes, 18);
    if machine != MACHINE.0 {
        let got = format!("for ELF machine {machine}");
        return Err(ElfError::Machine { want: MACHINE.1, got });
    }
    let kind = u16_at(bytes, 16);
    if kind != ET_DYN {
        return Err(ElfError::Type { want: ET_DYN, got: kind });
    }
    segments(bytes)?;
    sections(bytes)
}

fn segments(bytes: &[u8]) -> Result<(), ElfError> {
    let (offset, size, n) = (u64_at(bytes, 32), u16_at(bytes, 54), u16_at(bytes, 56));
    if u64::from(size) != ENTRY {
        return Err(ElfError::Damaged { what: "its program headers have an unknown size" });
    }
    inside("the program headers", offset, ENTRY * u64::from(n), bytes)?;
    let mut loads = 0;
    for idx in 0..u64::from(n) {
        let at = (offset + idx * ENTRY) as usize;
        if u32_at(bytes, at) == PT_LOAD {
            loads += 1;
            inside("a segment", u64_at(bytes, at + 8), u64_at(bytes, at + 32), bytes)?;
        }
    }
    match loads {
        0 => Err(ElfError::Damaged { what: "it has nothing to load" }),
        _ => Ok(()),
    }
}

/// Linking needs no section headers, but they stand last, so that they tell a file cut near its
/// end.
fn sections(bytes: &[u8]) -> Result<(), ElfError> {
    let (offset, size, n) = (u64_at(bytes, 40), u16_at(bytes, 58), u16_at(bytes, 60));
    inside("the section headers", offset, u64::from(size) * u64::from(n), bytes)
}

fn inside(part: &'static str, offset: u64, n_bytes: u64, bytes: &[u8]) -> Result<(), ElfError> {
    let (end, len) = (offset.saturating_add(n_bytes), bytes.len() as u64);
    if end > len { Err(ElfError::Truncated { part, end, len }) } else { Ok(()) }
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut out = [0; N];
    if let Some(found) = at.checked_add(N).and_then(|end| bytes.get(at..end)) {
        out.copy_from_slice(found);
    }
    out
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(array(bytes, at))
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(array(bytes, at))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(array(bytes, at))
}
