//! Random numbers by counter: any draw depends on a key and its number alone, on every machine.

/// A stream of numbers. `fork` makes independent streams by name, so that a new draw in one place
/// changes nothing in another.
#[derive(Clone, Debug)]
pub struct Rng {
    key: u64,
    counter: u64,
}

impl Rng {
    pub fn new(seed: u64) -> Self {
        Self { key: mix(seed ^ 0x6c6f_7570_6500_0001), counter: 0 }
    }

    /// An independent stream for `label`, the same however much was drawn here.
    pub fn fork(&self, label: &str) -> Self {
        let fold = |key: u64, byte: u8| mix(key ^ u64::from(byte)).wrapping_add(0x2545_f491);
        Self { key: label.bytes().fold(mix(self.key), fold), counter: 0 }
    }

    pub fn next_u64(&mut self) -> u64 {
        self.counter = self.counter.wrapping_add(1);
        mix(self.key ^ mix(self.counter))
    }

    /// Uniform in `0.0..1.0`, in steps of 2^-24: exact in f32.
    pub fn unit(&mut self) -> f32 {
        unit(self.next_u64())
    }

    pub fn range(&mut self, low: f32, high: f32) -> f32 {
        low + (high - low) * self.unit()
    }

    /// Uniform in `0..n`; 0 if `n` is 0.
    pub fn below(&mut self, n: usize) -> usize {
        ((self.next_u64() >> 32) as usize * n) >> 32
    }

    pub fn chance(&mut self, probability: f32) -> bool {
        self.unit() < probability
    }

    pub fn sign(&mut self) -> f32 {
        if self.chance(0.5) { -1.0 } else { 1.0 }
    }
}

/// The finaliser of splitmix64 (Steele, Lea and Flood 2014): a bijection with good avalanche.
pub(crate) fn mix(mut x: u64) -> u64 {
    x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// The upper 24 bits as a number in `0.0..1.0`.
pub(crate) fn unit(bits: u64) -> f32 {
    (bits >> 40) as f32 / 16_777_216.0
}
