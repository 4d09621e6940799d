//! Which instructions the CPU has and the system grants.

use std::sync::OnceLock;

use super::choose::Precision;
use crate::error::KernelError;

/// A set of instructions that products are written for; each has what those before it have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Isa {
    /// What every CPU of this architecture has.
    Portable,
    Avx2,
    Avx512,
    /// AVX-512, and tiles of bf16.
    Amx,
}

/// Names the most that may be used, so that a machine can stand for a lesser one.
pub const CAP: &str = "LOUPE_CPU";

impl Isa {
    pub const ALL: [Isa; 4] = [Isa::Portable, Isa::Avx2, Isa::Avx512, Isa::Amx];

    pub fn name(self) -> &'static str {
        match self {
            Isa::Portable => "portable",
            Isa::Avx2 => "avx2",
            Isa::Avx512 => "avx512",
            Isa::Amx => "amx",
        }
    }

    /// The quickest that figures can be had with: bf16 where tiles multiply it, else f32.
    pub fn quick_precision(self) -> Precision {
        if self == Isa::Amx { Precision::Bf16 } else { Precision::F32 }
    }

    /// The most that this machine has, or what the environment's `LOUPE_CPU` names where that is less.
    /// Errors: `Cpu` if it names nothing known.
    pub fn best() -> Result<Isa, KernelError> {
        let Some(cap) = std::env::var_os(CAP).filter(|cap| !cap.is_empty()) else {
            return Ok(Isa::of_this_machine());
        };
        let known = Isa::ALL.into_iter().find(|isa| cap == isa.name());
        let cap = known.ok_or_else(|| KernelError::Cpu { got: cap.display().to_string() })?;
        Ok(cap.min(Isa::of_this_machine()))
    }

    /// The most that this machine has, asked once.
    pub fn of_this_machine() -> Isa {
        static FOUND: OnceLock<Isa> = OnceLock::new();
        *FOUND.get_or_init(found)
    }
}

#[cfg(target_arch = "x86_64")]
fn found() -> Isa {
    let avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
    let avx512 = avx2
        && is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512dq")
        && is_x86_feature_detected!("avx512vl");
    match (avx512 && is_x86_feature_detected!("avx512bf16") && has_tiles(), avx512, avx2) {
        (true, _, _) => Isa::Amx,
        (_, true, _) => Isa::Avx512,
        (_, _, true) => Isa::Avx2,
        _ => Isa::Portable,
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn found() -> Isa {
    Isa::Portable
}

/// Whether the CPU multiplies tiles of bf16 and of bytes, and the system lets this process use them: their
/// registers are large, so Linux keeps them for those who ask.
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
fn has_tiles() -> bool {
    use std::arch::x86_64::{__cpuid, __cpuid_count};
    const WANTED: u32 = 1 << 22 | 1 << 24 | 1 << 25;
    const REQUEST_PERMISSION: libc::c_int = 0x1023;
    const TILE_DATA: libc::c_ulong = 18;
    let leaf_7 = || __cpuid_count(7, 0).edx;
    if __cpuid(0).eax < 7 || leaf_7() & WANTED != WANTED {
        return false;
    }
    // SAFETY: the call takes two numbers and changes nothing but this process's permission.
    unsafe { libc::syscall(libc::SYS_arch_prctl, REQUEST_PERMISSION, TILE_DATA) == 0 }
}

#[cfg(all(target_arch = "x86_64", not(target_os = "linux")))]
fn has_tiles() -> bool {
    false
}
