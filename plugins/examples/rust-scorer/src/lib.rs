//! Scores a vector by how many standard deviations it lies from the normal ones, dimension by
//! dimension: the Mahalanobis distance with a diagonal covariance. `fit` learns the mean and
//! variance of each dimension.

use loupe_plugin::prelude::*;
use serde::Deserialize;

/// Distance from the mean of normal vectors, in standard deviations.
#[derive(Clone, Deserialize, Schema)]
#[serde(deny_unknown_fields)]
struct Config {
    /// Added to every variance, so that a dimension that never varied does not decide alone.
    #[serde(default = "floor")]
    #[schema(above = 0.0)]
    floor: f32,
}

fn floor() -> f32 {
    1e-6
}

/// `None` until a state is loaded.
struct Deviation {
    config: Config,
    normal: Option<Normal>,
}

/// What the fit learned, one number a dimension.
struct Normal {
    mean: Vec<f32>,
    variance: Vec<f32>,
}

impl Scorer for Deviation {
    type Config = Config;
    const REVISION: u32 = 1;

    fn new(config: Config, _host: &Host) -> Result<Self> {
        Ok(Deviation { config, normal: None })
    }

    fn ports() -> Vec<Port> {
        let rows = Port::input("rows").tensor("... d").verb(Verb::Fit).about("normal vectors");
        [Port::scorer(), vec![rows]].concat()
    }

    /// `query [..., d]` -> `patch_scores [...]`, 0 at the mean. Errors: not fitted, `Shape` for
    /// another width.
    fn score(&self, inputs: &Inputs, _wanted: &Wanted) -> Result<Outputs> {
        let Some(Normal { mean, variance }) = &self.normal else {
            return Err(Error::input("this scorer has to be fitted first: name `fit_on`"));
        };
        let query = inputs.tensor("query")?;
        let (_, width) = query.rows("query")?;
        if width != mean.len() || width == 0 {
            return Err(Error::shape("query", format!("{} numbers a row", mean.len()), width));
        }
        let distance = |row: &[f32]| {
            let parts = row.iter().zip(mean).zip(variance);
            let sum: f32 =
                parts.map(|((x, m), v)| (x - m) * (x - m) / (v + self.config.floor)).sum();
            (sum / width as f32).sqrt()
        };
        let scores = query.f32s()?.chunks_exact(width).map(distance);
        let shape = &query.dims()[..query.dims().len() - 1];
        Ok(Outputs::one("patch_scores", Tensor::new(shape, scores)?))
    }
}

/// Running sums of what was pushed, in f64.
#[derive(Default)]
struct Sums {
    n: f64,
    sum: Vec<f64>,
    squares: Vec<f64>,
}

impl Fit for Deviation {
    type Session = Sums;

    fn fit_open(&self) -> Result<Sums> {
        Ok(Sums::default())
    }

    fn fit_push(&self, sums: &mut Sums, inputs: &Inputs) -> Result<()> {
        let rows = inputs.tensor("rows")?;
        let (n, width) = rows.rows("rows")?;
        if sums.n == 0.0 {
            (sums.sum, sums.squares) = (vec![0.0; width], vec![0.0; width]);
        }
        if width != sums.sum.len() || width == 0 {
            let want = format!("{} numbers a row, as before", sums.sum.len());
            return Err(Error::shape("rows", want, width));
        }
        for row in rows.f32s()?.chunks_exact(width) {
            for ((x, sum), squares) in row.iter().zip(&mut sums.sum).zip(&mut sums.squares) {
                *sum += f64::from(*x);
                *squares += f64::from(*x) * f64::from(*x);
            }
        }
        sums.n += n as f64;
        Ok(())
    }

    fn fit_close(&self, sums: Sums) -> Result<State> {
        if sums.n == 0.0 {
            return Err(Error::empty("rows"));
        }
        let width = sums.sum.len();
        let mean: Vec<f32> = sums.sum.iter().map(|sum| (sum / sums.n) as f32).collect();
        let moments = sums.sum.iter().zip(&sums.squares);
        let variance = moments.map(|(sum, squares)| squares / sums.n - (sum / sums.n).powi(2));
        let variance: Vec<f32> = variance.map(|variance| variance.max(0.0) as f32).collect();
        StateWriter::new("deviation", 1)
            .f32s("mean", [width], &mean)?
            .f32s("variance", [width], &variance)?
            .finish()
    }

    fn load(&self, state: &State) -> Result<Self> {
        let state = StateReader::new(state, "deviation", 1)?;
        let (mean, variance) = (state.tensor("mean")?, state.tensor("variance")?);
        same_shape(&[mean.clone(), variance.clone()])?;
        let normal = Normal { mean: mean.into_f32s()?, variance: variance.into_f32s()? };
        Ok(Deviation { config: self.config.clone(), normal: Some(normal) })
    }
}

export!(scorer "deviation" = Deviation);

#[cfg(test)]
mod tests {
    use super::*;
    use loupe_plugin::testing;

    #[test]
    fn conforms() {
        testing::scorer::<Deviation>("").check();
    }

    #[test]
    fn a_standard_deviation_scores_one() {
        let rows = Tensor::new([2, 2], [1.0, 10.0, 3.0, 30.0]).unwrap();
        let query = Tensor::new([1, 3, 2], [2.0, 20.0, 3.0, 30.0, 2.0, 40.0]).unwrap();
        let subject = testing::scorer::<Deviation>("floor = 1e-12").fit("rows", rows);
        let ran = subject.input("query", query).run().unwrap();
        let scores = ran.tensor("patch_scores");
        assert_eq!(scores.dims(), [1, 3]);
        assert_eq!(scores.f32s().unwrap(), [0.0, 1.0, 2.0_f32.sqrt()]);
    }
}
