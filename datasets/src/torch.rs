//! The shot choice of FADE's and CLIP-LMFA's loaders, bit for bit: a seeded PyTorch generator draws
//! the loader's base seed and the sampler's seed, and a second generator shuffles.

const N: usize = 624;
const M: usize = 397;

/// Indices of `0..n` in the order in which a shuffled PyTorch loader with that seed would give
/// them.
///
/// Source: `torch.manual_seed`, `DataLoader(shuffle=True)` and `torch.randperm` of PyTorch 2.2.
pub(crate) fn permutation(n: usize, seed: u64) -> Vec<usize> {
    shuffled(n, &mut Mt19937::new(seed as u32))
}

/// How many epochs CLIP-LMFA's training runs with one to four shots; one that got every label
/// right would end earlier.
pub(crate) const LMFA_EPOCHS: usize = 8;

/// [`permutation`] as CLIP-LMFA draws it: between the seeding and the loader, a network is made of
/// `LMFA_WEIGHTS` numbers of the same generator and trained for some epochs, each of which starts a
/// loader of its own. On a GPU, as recorded, the training itself draws from another generator.
pub(crate) fn permutation_lmfa(n: usize, seed: u64, n_epochs: usize) -> Vec<usize> {
    let mut generator = Mt19937::new(seed as u32);
    for _ in 0..LMFA_WEIGHTS {
        generator.next_u32();
    }
    for _ in 0..n_epochs {
        let (_base_seed, _sampler_seed) = (generator.next_i63(), generator.next_i63());
    }
    shuffled(n, &mut generator)
}

/// The uniformly drawn weights of its `EnhancedSimpleCBAM(3, 640, 226)` and fusion layer.
const LMFA_WEIGHTS: usize = 2_047_649;

/// What a loader that starts at this state of the generator makes of `0..n`.
fn shuffled(n: usize, generator: &mut Mt19937) -> Vec<usize> {
    let _base_seed = generator.next_i63();
    randperm(n, &mut Mt19937::new(generator.next_i63() as u32))
}

/// `torch.randperm(n)` of a generator.
fn randperm(n: usize, generator: &mut Mt19937) -> Vec<usize> {
    let mut order: Vec<usize> = (0..n).collect();
    for i in 0..n.saturating_sub(1) {
        let step = generator.next_u32() as usize % (n - i);
        order.swap(i, i + step);
    }
    order
}

/// The Mersenne Twister with PyTorch's seeding: the low 32 bits of the seed, one multiplier.
struct Mt19937 {
    state: [u32; N],
    used: usize,
}

impl Mt19937 {
    fn new(seed: u32) -> Self {
        let mut state = [0_u32; N];
        let mut last = seed;
        for (i, slot) in state.iter_mut().enumerate() {
            if i > 0 {
                last = (last ^ (last >> 30)).wrapping_mul(1_812_433_253).wrapping_add(i as u32);
            }
            *slot = last;
        }
        Self { state, used: N }
    }

    fn next_u32(&mut self) -> u32 {
        if self.used == N {
            self.refill();
        }
        let mut y = self.state[self.used];
        self.used += 1;
        y ^= y >> 11;
        y ^= (y << 7) & 0x9d2c_5680;
        y ^= (y << 15) & 0xefc6_0000;
        y ^ (y >> 18)
    }

    /// Two outputs, high word first, without the sign bit.
    fn next_i63(&mut self) -> u64 {
        let high = u64::from(self.next_u32());
        let low = u64::from(self.next_u32());
        ((high << 32) | low) & (u64::MAX >> 1)
    }

    fn refill(&mut self) {
        for i in 0..N {
            let mixed = (self.state[i] & 0x8000_0000) | (self.state[(i + 1) % N] & 0x7fff_ffff);
            let twist = if mixed & 1 == 1 { 0x9908_b0df } else { 0 };
            self.state[i] = self.state[(i + M) % N] ^ (mixed >> 1) ^ twist;
        }
        self.used = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loader_seeds() {
        for (seed, base, sampler) in [
            (0, 900_450_186_894_289_455, 3_969_543_146_641_149_120),
            (1, 7_692_698_082_559_361_259, 4_064_269_471_072_392_264),
            (111, 2_069_174_592_142_441_324, 3_118_786_534_736_794_324),
        ] {
            let mut generator = Mt19937::new(seed);
            assert_eq!(
                (generator.next_i63(), generator.next_i63()),
                (base, sampler),
                "seed {seed}"
            );
        }
    }

    /// The first four of each permutation for the training counts of MVTec AD and VisA, recorded
    /// from PyTorch's own loader: `tests/golden/torch_shots.txt`, with the script that wrote it.
    #[test]
    fn recorded_permutations() {
        let mut n_rows = 0;
        for line in include_str!("../tests/golden/torch_shots.txt").lines() {
            let (key, want) = line.split_once(": ").expect("`n seed: indices`");
            let (n, seed) = key.split_once(' ').expect("n and seed");
            let order = permutation(n.parse().expect("n"), seed.parse().expect("seed"));
            let got: Vec<String> = order.iter().take(4).map(usize::to_string).collect();
            assert_eq!(got.join(","), want, "n {n}, seed {seed}");
            n_rows += 1;
        }
        assert_eq!(n_rows, 27 * 6 + 7);
    }

    /// `torch.randperm` by itself, as `tests/golden/clipmpcad/ops.json` of the project has it.
    #[test]
    fn recorded_randperm() {
        let of_ten = randperm(10, &mut Mt19937::new(123));
        assert_eq!(of_ten, [2, 0, 8, 1, 3, 7, 4, 9, 5, 6]);
        let of_44 = randperm(44, &mut Mt19937::new(111));
        assert_eq!(of_44[..12], [12, 41, 32, 27, 26, 21, 9, 20, 4, 33, 36, 18]);
    }

    /// The same after CLIP-LMFA's training: `tests/golden/torch_lmfa.txt`, with its script.
    #[test]
    fn recorded_permutations_of_lmfa() {
        let mut n_rows = 0;
        for line in include_str!("../tests/golden/torch_lmfa.txt").lines() {
            let (key, want) = line.split_once(": ").expect("`n seed epochs: indices`");
            let key: Vec<usize> = key.split(' ').map(|word| word.parse().expect("key")).collect();
            let order = permutation_lmfa(key[0], key[1] as u64, key[2]);
            let got: Vec<String> = order.iter().take(4).map(usize::to_string).collect();
            assert_eq!(got.join(","), want, "{line}");
            n_rows += 1;
        }
        assert_eq!(n_rows, 19 * 2 + 3);
    }

    #[test]
    fn sampler_seeds_of_lmfa() {
        for (seed, want) in [(0, 5_603_016_123_113_478_251), (111, 6_494_386_842_984_952_693)] {
            let mut generator = Mt19937::new(seed);
            for _ in 0..LMFA_WEIGHTS {
                generator.next_u32();
            }
            for _ in 0..2 * LMFA_EPOCHS + 1 {
                generator.next_i63();
            }
            assert_eq!(generator.next_i63(), want, "seed {seed}");
        }
    }

    #[test]
    fn tiny_pools_are_permutations() {
        for n in 0..5 {
            let mut order = permutation(n, 3);
            order.sort();
            assert_eq!(order, (0..n).collect::<Vec<_>>());
        }
    }
}
