//! Random numbers of a `seed` key: the same on every machine, whatever the number of threads.

/// SplitMix64, whose whole state is a counter. Source: Steele et al., OOPSLA 2014.
#[derive(Debug, Clone)]
pub(crate) struct Random {
    counter: u64,
}

impl Random {
    /// `stream` keeps parts that draw in parallel apart, for example the trees of a forest.
    pub(crate) fn new(seed: u64, stream: u64) -> Self {
        let apart = Random { counter: stream ^ 0x5851_f42d_4c95_7f2d }.bits();
        Random { counter: Random { counter: seed }.bits() ^ apart }
    }

    pub(crate) fn bits(&mut self) -> u64 {
        self.counter = self.counter.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.counter ^ (self.counter >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Uniform in 0..1.
    pub(crate) fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Uniform in 0..n; 0 if `n` is 0. The bias of the product is below n / 2^64.
    pub(crate) fn below(&mut self, n: usize) -> usize {
        ((u128::from(self.bits()) * n as u128) >> 64) as usize
    }

    /// Fisher and Yates.
    pub(crate) fn shuffle<T>(&mut self, values: &mut [T]) {
        for i in (1..values.len()).rev() {
            values.swap(i, self.below(i + 1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_differ_and_numbers_fill_their_range() {
        let draw = |seed, stream| Random::new(seed, stream).bits();
        assert_eq!(draw(42, 0), draw(42, 0));
        assert!(draw(42, 0) != draw(42, 1) && draw(42, 0) != draw(43, 0));
        let mut random = Random::new(42, 0);
        let mut counts = [0; 5];
        (0..5000).for_each(|_| counts[random.below(5)] += 1);
        assert!(counts.iter().all(|count| (900..1100).contains(count)), "{counts:?}");
        let mean = (0..5000).map(|_| random.unit()).sum::<f64>() / 5000.0;
        assert!((mean - 0.5).abs() < 0.02, "{mean}");
    }

    #[test]
    fn a_shuffle_keeps_every_value() {
        let mut values: Vec<usize> = (0..100).collect();
        Random::new(1, 2).shuffle(&mut values);
        assert_ne!(values, (0..100).collect::<Vec<_>>());
        values.sort_unstable();
        assert_eq!(values, (0..100).collect::<Vec<_>>());
    }
}
