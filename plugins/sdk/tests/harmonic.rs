//! Harmonic-mean fusion: low evidence in one part pulls the result down. Source: WinCLIP,
//! arXiv:2303.14814.
use loupe_plugin::prelude::*;
use serde::Deserialize;

#[derive(Deserialize, Schema)]
#[serde(deny_unknown_fields)]
struct Harmonic {
    /// Added to every score, so that 0 has a reciprocal.
    floor: f32,
}

impl Fusion for Harmonic {
    type Config = Self;
    fn new(config: Self, _host: &Host) -> Result<Self> {
        Ok(config)
    }

    /// `parts`: n >= 1 tensors of one shape, scores in 0..=1 -> that shape. Errors: `Empty`,
    /// `Shape`.
    fn fuse(&self, parts: &[Tensor]) -> Result<Tensor> {
        let shape = same_shape(parts)?;
        let mut reciprocals = vec![0.0_f32; shape.len()];
        for part in parts {
            for (sum, score) in reciprocals.iter_mut().zip(part.f32s()?) {
                *sum += 1.0 / (score + self.floor);
            }
        }
        let n_parts = parts.len() as f32;
        Tensor::new(shape, reciprocals.iter().map(|sum| n_parts / sum - self.floor))
    }
}

export!(fusion "harmonic" = Harmonic);

#[test]
fn conforms() {
    loupe_plugin::testing::fusion::<Harmonic>("floor = 1e-6").check()
}

#[test]
fn low_evidence_pulls_down() {
    let part = |value| Tensor::new([1, 2], [value, 0.5]).unwrap();
    let subject = loupe_plugin::testing::fusion::<Harmonic>("floor = 0.0");
    let subject = subject.input("parts", part(0.25)).input("parts", part(1.0));
    let ran = subject.run().unwrap();
    assert_eq!(ran.tensor("fused").f32s().unwrap(), [0.4, 0.5]);
}
