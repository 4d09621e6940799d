//! Vision guidance: distance of each patch to its nearest among the patches of normal references.
//! Source: the memory bank of PatchCore, arXiv:2106.08265, with cosine for L2 as in WinCLIP and FADE.

mod euclidean;

use std::borrow::Cow;

use loupe_kernels::{Bank, Isa, Precision, Team, nearest_cosine, unit_rows};
use loupe_plugin::prelude::*;
use serde::Deserialize;

use crate::on_host;
use euclidean::nearest_euclidean;

/// How far a patch is from another.
#[derive(Clone, Copy, Default, PartialEq, Deserialize, Schema)]
#[serde(rename_all = "kebab-case")]
enum Distance {
    /// (1 - cosine) / 2, 0..=1.
    #[default]
    HalfCosine,
    /// 1 - cosine, 0..=2.
    Cosine,
    /// Length of the difference, raw vectors. For features whose length means something.
    Euclidean,
}

impl Distance {
    /// What is stored and compared: unit rows for the cosine, rows as they are otherwise. Errors:
    /// `Input` if a value is not finite.
    fn rows<'a>(self, rows: &'a [f32], width: usize) -> Result<Cow<'a, [f32]>> {
        match self {
            Distance::HalfCosine | Distance::Cosine => {
                unit_rows(rows, width).map(Cow::Owned).map_err(Error::input)
            }
            Distance::Euclidean if rows.iter().all(|value| value.is_finite()) => {
                Ok(Cow::Borrowed(rows))
            }
            Distance::Euclidean => Err(Error::input("a vector holds a value that is not finite")),
        }
    }

    /// A bank of raw rows is not one of unit rows: a state is read by what wrote it.
    fn schema(self) -> &'static str {
        match self {
            Distance::HalfCosine | Distance::Cosine => "loupe.memory-bank",
            Distance::Euclidean => "loupe.memory-bank.raw",
        }
    }
}

/// What cosines are computed from; their sums are f32 in all.
#[derive(Clone, Copy, Default, PartialEq, Deserialize, Schema)]
#[serde(rename_all = "kebab-case")]
enum Rounding {
    /// The rows as they are.
    #[default]
    F32,
    /// Rows rounded to bf16: half the memory, and several times the speed where the CPU has tiles. A
    /// distance moves by some 1e-4 at most.
    Bf16,
    /// `bf16` for cosines on a CPU that multiplies tiles of it, else `f32`.
    Auto,
}

/// Scores patches by their distance to a memory bank.
#[derive(Clone, Deserialize, Schema)]
#[serde(deny_unknown_fields)]
pub struct NearestConfig {
    #[serde(default)]
    distance: Distance,
    /// Which neighbour: 1 is the nearest.
    #[serde(default = "one")]
    #[schema(min = 1)]
    k: usize,
    /// What cosines are computed from: `f32`, or `bf16`, which is faster and takes half the memory; `auto` is `bf16`
    /// for cosines on a CPU that multiplies tiles of it, else `f32`.
    #[serde(default)]
    precision: Rounding,
    /// Adds the query's own patches to the bank. The patch itself is then the nearest, so `k` must be 2 or more.
    #[serde(default)]
    self_reference: bool,
}

fn one() -> usize {
    1
}

impl NearestConfig {
    /// What a bank is packed for. Errors: `Config` for an unknown `LOUPE_CPU`.
    fn packing(&self) -> Result<(Isa, Precision)> {
        let isa = Isa::best().map_err(Error::config)?;
        let precision = match self.precision {
            Rounding::Auto if self.distance == Distance::Euclidean => Precision::F32,
            Rounding::Auto => isa.quick_precision(),
            Rounding::Bf16 => Precision::Bf16,
            Rounding::F32 => Precision::F32,
        };
        Ok((isa, precision))
    }
}

pub struct Nearest {
    config: NearestConfig,
    host: Host,
    bank: Stored,
}

/// What is searched.
enum Stored {
    /// Before `load`, or when there are no references.
    Nothing,
    /// Unit rows.
    Packed(Bank),
    /// Rows `[m, width]` as they are.
    Raw { rows: Vec<f32>, width: usize },
}

impl Stored {
    fn width(&self) -> Option<usize> {
        match self {
            Stored::Nothing => None,
            Stored::Packed(bank) => Some(bank.width()),
            Stored::Raw { width, .. } => Some(*width),
        }
    }
}

impl Scorer for Nearest {
    type Config = NearestConfig;
    const REVISION: u32 = 2;
    const ABOUT: &'static str =
        "distance of each patch to its k-th nearest in a bank of reference patches";

    fn ports() -> Vec<Port> {
        vec![
            Port::input("rows")
                .tensor("... d")
                .verb(Verb::Fit)
                .many()
                .about("what the bank is made of: patches of the references"),
            Port::input("query").tensor("... d").about("patches under test, raw"),
            Port::output("patch_scores").tensor("...").about("one distance per patch"),
        ]
    }

    fn check(config: &NearestConfig, _host: &Host) -> Result<Facts> {
        if config.self_reference && config.k < 2 {
            return Err(Error::config(
                "`self_reference` wants `k` >= 2: with k = 1 every patch finds itself at distance 0",
            ));
        }
        if config.distance == Distance::Euclidean && config.precision == Rounding::Bf16 {
            return Err(Error::config(
                "`precision = \"bf16\"` is for cosines: take it away, or another `distance` than `euclidean`",
            ));
        }
        let facts = Facts::new().precision(config.packing()?.1.name());
        Ok(match config.self_reference {
            true => facts,
            false => facts.learns(&["rows"], "set `self_reference = true` with `k = 2`"),
        })
    }

    fn new(config: NearestConfig, host: &Host) -> Result<Nearest> {
        Self::check(&config, host)?;
        Ok(Nearest { config, host: *host, bank: Stored::Nothing })
    }

    /// Shapes: `query [b, ..., d]` -> `patch_scores [b, ...]`. With `self_reference` each image of the batch is a bank
    /// to itself alone. Errors: a bank with fewer than `k` rows.
    fn score(&self, inputs: &Inputs, _wanted: &Wanted) -> Result<Outputs> {
        let query = inputs.tensor("query")?;
        let (n_rows, width) = query.rows("query")?;
        if let Some(own) = self.bank.width().filter(|own| *own != width) {
            return Err(Error::shape("query", format!("[..., {own}]"), query.shape()));
        }
        let n_images = query.dims().first().copied().unwrap_or(0).max(1);
        let rows = self.config.distance.rows(query.f32s()?, width)?;
        let per_image = (n_rows / n_images).max(1) * width;
        let mut scores = Vec::with_capacity(n_rows);
        for image in rows.chunks(per_image) {
            scores.extend(self.distances(image, width)?);
        }
        let dims = query.dims();
        let leading = dims.get(..dims.len().saturating_sub(1)).unwrap_or_default();
        Ok(Outputs::one("patch_scores", Tensor::new(leading.to_vec(), scores)?))
    }
}

impl Nearest {
    /// Of each row of an image to its k-th nearest in the bank. Errors: fewer than `k` rows in it.
    fn distances(&self, rows: &[f32], width: usize) -> Result<Vec<f32>> {
        let own = if self.config.self_reference { rows } else { &[] };
        Ok(match self.config.distance {
            Distance::HalfCosine => {
                let cosines = self.cosines(rows, own, width)?;
                cosines.iter().map(|cosine| 0.5 * (1.0 - cosine)).collect()
            }
            Distance::Cosine => {
                self.cosines(rows, own, width)?.iter().map(|cosine| 1.0 - cosine).collect()
            }
            Distance::Euclidean => {
                let stored = match &self.bank {
                    Stored::Raw { rows, .. } => rows.as_slice(),
                    Stored::Packed(_) | Stored::Nothing => &[],
                };
                let k = self.config.k;
                let n_rows = (stored.len() + own.len()) / width.max(1);
                if n_rows < k {
                    let want = format!("a bank of at least `k` = {k} rows, got {n_rows}");
                    return Err(Error::input(want));
                }
                on_host(&self.host, |par| nearest_euclidean(rows, &[stored, own], width, k, par))?
            }
        })
    }

    fn cosines(&self, rows: &[f32], own: &[f32], width: usize) -> Result<Vec<f32>> {
        let own = if own.is_empty() { None } else { Some(self.pack(own, width)?) };
        let stored = match &self.bank {
            Stored::Packed(bank) => Some(bank),
            Stored::Raw { .. } | Stored::Nothing => None,
        };
        let banks: Vec<&Bank> = stored.into_iter().chain(&own).collect();
        let n_threads = self.host.n_threads();
        on_host(&self.host, |par| {
            nearest_cosine(rows, &banks, width, self.config.k, Team { par, n_threads })
        })?
        .map_err(Error::input)
    }

    fn pack(&self, rows: &[f32], width: usize) -> Result<Bank> {
        let (isa, precision) = self.config.packing()?;
        let n_threads = self.host.n_threads();
        on_host(&self.host, |par| Bank::new(rows, width, isa, precision, Team { par, n_threads }))?
            .map_err(Error::input)
    }
}

#[derive(Default)]
pub struct Rows {
    bank: Vec<f32>,
    width: usize,
}

impl Fit for Nearest {
    type Session = Rows;

    fn fit_open(&self) -> Result<Rows> {
        Ok(Rows::default())
    }

    fn fit_push(&self, session: &mut Rows, inputs: &Inputs) -> Result<()> {
        for rows in inputs.tensors("rows")? {
            let (_, width) = rows.rows("rows")?;
            if session.width != 0 && session.width != width {
                return Err(Error::shape(
                    "rows",
                    format!("[..., {}]", session.width),
                    rows.shape(),
                ));
            }
            session.width = width;
            session.bank.extend(self.config.distance.rows(rows.f32s()?, width)?.iter());
        }
        Ok(())
    }

    fn fit_close(&self, session: Rows) -> Result<State> {
        if session.bank.is_empty() && !self.config.self_reference {
            return Err(Error::input(
                "the memory bank is empty: give at least one reference (`shots`), or set `self_reference` with k = 2",
            ));
        }
        let n_rows = session.bank.len() / session.width.max(1);
        StateWriter::new(self.config.distance.schema(), 1)
            .f32s("bank", [n_rows, session.width], &session.bank)?
            .finish()
    }

    fn load(&self, state: &State) -> Result<Nearest> {
        let bank = StateReader::new(state, self.config.distance.schema(), 1)?.tensor("bank")?;
        let [n_rows, width] = bank.dims_n::<2>("bank")?;
        let bank = match self.config.distance {
            _ if n_rows == 0 => Stored::Nothing,
            Distance::HalfCosine | Distance::Cosine => {
                Stored::Packed(self.pack(bank.f32s()?, width)?)
            }
            Distance::Euclidean => Stored::Raw { rows: bank.into_f32s()?, width },
        };
        Ok(Nearest { config: self.config.clone(), host: self.host, bank })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use loupe_plugin::testing;

    fn bank() -> Tensor {
        Tensor::new([1, 1, 2, 2], [3.0, 0.0, 0.0, 0.5]).unwrap()
    }

    fn scores(config: &str, query: Tensor) -> Vec<f32> {
        let subject = testing::scorer::<Nearest>(config).fit("rows", bank()).input("query", query);
        subject.run().unwrap().tensor("patch_scores").f32s().unwrap().to_vec()
    }

    fn close(got: &[f32], want: &[f32]) {
        let near = got.iter().zip(want).all(|(got, want)| (got - want).abs() < 1e-6);
        assert!(near && got.len() == want.len(), "{got:?} is not {want:?}");
    }

    #[test]
    fn conforms() {
        let query = Tensor::new([1, 2, 1, 2], [1.0, 0.5, 0.2, 1.0]).unwrap();
        let euclidean = "distance = \"euclidean\"\nprecision = \"auto\"";
        for config in ["k = 1", "precision = \"bf16\"", "precision = \"auto\"", euclidean] {
            let subject = testing::scorer::<Nearest>(config).fit("rows", bank());
            subject.input("query", query.clone()).check();
        }
    }

    #[test]
    fn distances_are_to_the_nearest_reference_whatever_the_length() {
        let query = || Tensor::new([1, 1, 3, 2], [9.0, 0.0, -1.0, 0.0, 0.6, 0.8]).unwrap();
        close(&scores("", query()), &[0.0, 0.5, 0.1]);
        close(&scores("distance = \"cosine\"", query()), &[0.0, 1.0, 0.2]);
        close(&scores("k = 2", query()), &[0.5, 1.0, 0.2]);
        // 0.6 and 0.8 as bf16 are 0.6015625 and 0.80078125.
        close(&scores("precision = \"bf16\"", query()), &[0.0, 0.5, 0.5 * (1.0 - 0.80078125)]);
        let quick = Isa::best().unwrap().quick_precision();
        let named = format!("precision = \"{}\"", quick.name());
        assert_eq!(scores("precision = \"auto\"", query()), scores(&named, query()));
    }

    #[test]
    fn euclidean_distances_are_of_the_vectors_as_they_are() {
        let query = || Tensor::new([1, 1, 3, 2], [3.0, 0.0, 0.0, -3.5, 3.0, 4.0]).unwrap();
        close(&scores("distance = \"euclidean\"", query()), &[0.0, 4.0, 4.0]);
        let second = scores("distance = \"euclidean\"\nk = 2", query());
        close(&second, &[9.25_f32.sqrt(), 21.25_f32.sqrt(), 21.25_f32.sqrt()]);
    }

    #[test]
    fn self_reference_takes_the_image_alone_not_its_batch() {
        let query = Tensor::new([2, 1, 1, 2], [-1.0, 0.0, -1.0, 0.0]).unwrap();
        close(&scores("k = 2\nself_reference = true", query), &[0.5, 0.5]);
        let query = Tensor::new([2, 1, 1, 2], [3.0, 4.0, 3.0, 4.0]).unwrap();
        let euclidean = "k = 2\nself_reference = true\ndistance = \"euclidean\"";
        close(&scores(euclidean, query), &[4.0, 4.0]);
    }

    #[test]
    fn euclidean_distances_in_bf16_are_refused() {
        let config = "distance = \"euclidean\"\nprecision = \"bf16\"";
        let message = testing::scorer::<Nearest>(config).run().err().unwrap();
        assert!(message.contains("`precision = \"bf16\"` is for cosines"), "{message}");
    }

    #[test]
    fn self_reference_with_k_1_is_refused() {
        let message = testing::scorer::<Nearest>("self_reference = true").run().err().unwrap();
        assert!(message.contains("k = 1 every patch finds itself"), "{message}");
    }
}
