//! Plain loops, compiled for more than what every CPU has.

/// Runs `kernel`, which must be inlined, compiled for AVX2 where the machine has it: the x86-64
/// base set has vectors of half the length, and no 32-bit multiplication of them. Each lane computes
/// what it would alone, and no product and sum become one, so the bytes are the same.
#[inline(always)]
pub fn run_vectorised<T>(kernel: impl FnOnce() -> T) -> T {
    #[cfg(target_arch = "x86_64")]
    {
        #[target_feature(enable = "avx2")]
        fn with_avx2<T>(kernel: impl FnOnce() -> T) -> T {
            kernel()
        }
        if std::arch::is_x86_feature_detected!("avx2") {
            // SAFETY: the one thing `with_avx2` asks for, AVX2, was just found on this machine.
            return unsafe { with_avx2(kernel) };
        }
    }
    kernel()
}
