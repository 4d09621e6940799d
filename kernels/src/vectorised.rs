//! Plain loops, compiled for more than what every CPU has.

/// A function that is compiled twice, and runs as compiled for AVX2 where the machine has it: the x86-64
/// base set has vectors of half the length, and no 32-bit multiplication of them. Each lane computes
/// what it would alone, and no product and sum become one, so the bytes are the same.
///
/// What the body calls must be inlined, or it is compiled for every CPU: loops over slices are, `collect`,
/// `array::from_fn` and large closures are not.
#[macro_export]
macro_rules! vectorised {
    (
        $(#[$about:meta])*
        $visibility:vis fn $name:ident($($given:ident: $type:ty),* $(,)?) $(-> $made:ty)? $body:block
    ) => {
        $(#[$about])*
        $visibility fn $name($($given: $type),*) $(-> $made)? {
            #[inline(always)]
            fn plain($($given: $type),*) $(-> $made)? $body

            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx2")]
                fn with_avx2($($given: $type),*) $(-> $made)? {
                    plain($($given),*)
                }
                if ::std::arch::is_x86_feature_detected!("avx2") {
                    // SAFETY: the one thing `with_avx2` asks for, AVX2, was just found on this machine.
                    return unsafe { with_avx2($($given),*) };
                }
            }
            plain($($given),*)
        }
    };
}
