//! Min-max normalisation by the range of what it was fitted on. On the test set that makes a run transductive.

use loupe_plugin::prelude::*;
use serde_json::json;

/// Scales scores so that the smallest fitted one becomes 0 and the largest 1.
pub struct MinMax {
    range: Option<[f32; 2]>,
}

const SCHEMA: &str = "loupe.min-max";

impl Fusion for MinMax {
    type Config = NoConfig;
    const REVISION: u32 = 1;
    const ABOUT: &'static str = "scores scaled to 0..=1 by the range of a fit";

    fn ports() -> Vec<Port> {
        vec![
            Port::input("parts").tensor("...").verb(Verb::Fit).about("scores that set the range"),
            Port::input("parts").tensor("...").about("scores to scale"),
            Port::output("fused").tensor("..."),
        ]
    }

    fn new(_config: NoConfig, _host: &Host) -> Result<Self> {
        Ok(Self { range: None })
    }

    /// One tensor -> its shape. A fit that saw a single value has no range: everything becomes 0, never NaN.
    fn fuse(&self, parts: &[Tensor]) -> Result<Tensor> {
        let [low, high] = self.range.ok_or_else(|| Error::failed("no range is loaded"))?;
        let [scores] = parts else {
            return Err(Error::input(format!("wants one part, got {}", parts.len())));
        };
        let span = high - low;
        let scale = |score: &f32| if span > 0.0 { (score - low) / span } else { 0.0 };
        Tensor::new(scores.shape(), scores.f32s()?.iter().map(scale))
    }
}

impl Fit for MinMax {
    type Session = Option<[f32; 2]>;

    fn fit_open(&self) -> Result<Self::Session> {
        Ok(None)
    }

    fn fit_push(&self, session: &mut Self::Session, inputs: &Inputs) -> Result<()> {
        for part in inputs.tensors("parts")? {
            for score in part.f32s()? {
                let [low, high] = session.unwrap_or([*score, *score]);
                *session = Some([low.min(*score), high.max(*score)]);
            }
        }
        Ok(())
    }

    fn fit_close(&self, session: Self::Session) -> Result<State> {
        let range = session.ok_or_else(|| Error::empty("parts"))?;
        StateWriter::new(SCHEMA, 1)
            .meta("about", json!("low, high"))
            .f32s("range", [2], &range)?
            .finish()
    }

    fn load(&self, state: &State) -> Result<Self> {
        let range = StateReader::new(state, SCHEMA, 1)?.tensor("range")?;
        match range.f32s()? {
            [low, high] => Ok(Self { range: Some([*low, *high]) }),
            other => Err(Error::shape("range", "[2]", format!("[{}]", other.len()))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use loupe_plugin::testing;

    fn map(scores: [f32; 3]) -> Tensor {
        Tensor::new([1, 1, 3], scores).unwrap()
    }

    fn scaled(fitted: [f32; 3], scores: [f32; 3]) -> Vec<f32> {
        let subject =
            testing::fusion::<MinMax>("").fit("parts", map(fitted)).input("parts", map(scores));
        subject.run().unwrap().tensor("fused").f32s().unwrap().to_vec()
    }

    #[test]
    fn conforms() {
        let parts = map([1.0, 3.0, 2.0]);
        testing::fusion::<MinMax>("").fit("parts", parts.clone()).input("parts", parts).check();
    }

    #[test]
    fn the_fitted_range_becomes_0_to_1() {
        assert_eq!(scaled([1.0, 3.0, 2.0], [1.0, 2.0, 5.0]), [0.0, 0.5, 2.0]);
    }

    #[test]
    fn a_constant_fit_gives_0() {
        assert_eq!(scaled([2.0, 2.0, 2.0], [2.0, 3.0, 1.0]), [0.0, 0.0, 0.0]);
    }
}
