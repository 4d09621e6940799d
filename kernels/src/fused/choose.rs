//! From a set of instructions and a precision to the type that computes with them.

#[cfg(target_arch = "x86_64")]
use super::amx::Amx;
#[cfg(target_arch = "x86_64")]
use super::avx::{Avx2, Avx512};
use super::isa::Isa;
use super::portable::Portable;
use super::tile::Tile;

/// What products are rounded to; sums, norms, softmax and the residual stream are f32 in all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    F32,
    Bf16,
    /// Whole numbers up to 127 in the layers behind a normalisation, bf16 in all else. An experiment.
    Int8,
}

impl Precision {
    pub fn name(self) -> &'static str {
        match self {
            Precision::F32 => "f32",
            Precision::Bf16 => "bf16",
            Precision::Int8 => "int8",
        }
    }
}

/// What can be made for any `Tile`.
pub(super) trait ForTile {
    type Made;

    fn make<T: Tile>(self) -> Self::Made;
}

/// For these instructions or the most that this machine has of them.
pub(super) fn for_tile<F: ForTile>(isa: Isa, precision: Precision, make: F) -> F::Made {
    match (isa.min(Isa::of_this_machine()), precision) {
        #[cfg(target_arch = "x86_64")]
        (Isa::Amx, Precision::Bf16 | Precision::Int8) => make.make::<Amx>(),
        #[cfg(target_arch = "x86_64")]
        (Isa::Amx | Isa::Avx512, Precision::F32) => make.make::<Avx512<false>>(),
        #[cfg(target_arch = "x86_64")]
        (Isa::Avx512, Precision::Bf16 | Precision::Int8) => make.make::<Avx512<true>>(),
        #[cfg(target_arch = "x86_64")]
        (Isa::Avx2, Precision::F32) => make.make::<Avx2<false>>(),
        #[cfg(target_arch = "x86_64")]
        (Isa::Avx2, Precision::Bf16 | Precision::Int8) => make.make::<Avx2<true>>(),
        (_, Precision::F32) => make.make::<Portable<false>>(),
        (_, Precision::Bf16 | Precision::Int8) => make.make::<Portable<true>>(),
    }
}
