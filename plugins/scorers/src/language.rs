//! Language guidance: P(anomalous) of image tokens against the embedded sentences of a class.
//! Source: FADE, arXiv:2409.00556, after WinCLIP, arXiv:2303.14814.

use loupe_kernels::{TextModel, TextRule, unit_rows};
use loupe_plugin::prelude::*;
use serde::Deserialize;
use serde_json::json;

use crate::on_host;

/// How the sentences of a label become one logit.
#[derive(Clone, Copy, Default, Deserialize, Schema)]
#[serde(rename_all = "kebab-case")]
enum Model {
    /// The mean of the label's unit embeddings.
    #[default]
    Average,
    /// A softmax over all sentences, summed per label.
    Softmax,
    /// The nearest sentence of the label.
    Max,
}

/// What the scores are.
#[derive(Clone, Copy, Default, PartialEq, Deserialize, Schema)]
#[serde(rename_all = "kebab-case")]
enum Emit {
    /// P(anomalous), 0..=1.
    #[default]
    Probability,
    /// The anomalous logit less the normal one: P before its sigmoid.
    Margin,
}

/// Scores tokens by the sentences they are closest to.
#[derive(Clone, Deserialize, Schema)]
#[serde(deny_unknown_fields)]
pub struct LanguageConfig {
    #[serde(default)]
    model: Model,
    /// Scales mean embeddings to length 1 (model `average`). FADE does not.
    #[serde(default)]
    renormalize: bool,
    /// Multiplies the cosines before the softmax.
    #[serde(default = "hundred")]
    #[schema(above = 0.0)]
    scale: f32,
    #[serde(default)]
    emit: Emit,
}

fn hundred() -> f32 {
    100.0
}

const SCHEMA: &str = "loupe.text-model";

pub struct Language {
    config: LanguageConfig,
    host: Host,
    /// Set by `load`; scoring without it is an error.
    model: Option<TextModel>,
}

impl Scorer for Language {
    type Config = LanguageConfig;
    const REVISION: u32 = 1;
    const ABOUT: &'static str = "P(anomalous) of tokens against the embedded sentences of a class";

    fn ports() -> Vec<Port> {
        vec![
            Port::input("text")
                .embedded_text("n d")
                .scope(Scope::Class)
                .verb(Verb::Fit)
                .about("sentences with their embeddings, normal and anomalous"),
            Port::input("query").tensor("... d").about("image or patch embeddings, raw"),
            Port::output("patch_scores").tensor("...").about("one score per token"),
        ]
    }

    fn new(config: LanguageConfig, host: &Host) -> Result<Language> {
        Ok(Language { config, host: *host, model: None })
    }

    /// Shapes: `query [..., d]` -> `patch_scores [...]`. Tokens are scaled to unit length first.
    fn score(&self, inputs: &Inputs, _wanted: &Wanted) -> Result<Outputs> {
        let model = self.model.as_ref().ok_or_else(|| Error::failed("no text model is loaded"))?;
        let query = inputs.tensor("query")?;
        let (_, width) = query.rows("query")?;
        if width != model.width {
            return Err(Error::shape("query", format!("[..., {}]", model.width), query.shape()));
        }
        let tokens = unit_rows(query.f32s()?, width).map_err(Error::input)?;
        let scores = on_host(&self.host, |par| match self.config.emit {
            Emit::Probability => model.probabilities(&tokens, self.config.scale, par),
            Emit::Margin => model.margins(&tokens, self.config.scale, par),
        })?
        .map_err(Error::input)?;
        let dims = query.dims();
        let leading = dims.get(..dims.len().saturating_sub(1)).unwrap_or_default();
        let scores: Vec<f32> = scores.into_iter().map(|score| score as f32).collect();
        Ok(Outputs::one("patch_scores", Tensor::new(leading.to_vec(), scores)?))
    }
}

/// What was pushed: embeddings, labels and weights of all sentences so far.
#[derive(Default)]
pub struct Sentences {
    embeddings: Vec<f32>,
    width: usize,
    anomalous: Vec<bool>,
    weights: Vec<f32>,
}

impl Fit for Language {
    type Session = Sentences;

    fn fit_open(&self) -> Result<Sentences> {
        Ok(Sentences::default())
    }

    fn fit_push(&self, session: &mut Sentences, inputs: &Inputs) -> Result<()> {
        let text = inputs.embedded_text("text")?;
        let [_, width] = text.embeddings.dims_n::<2>("text")?;
        if session.width != 0 && session.width != width {
            return Err(Error::shape(
                "text",
                format!("[n, {}]", session.width),
                format!("[n, {width}]"),
            ));
        }
        session.width = width;
        session.embeddings.extend(unit_rows(text.embeddings.f32s()?, width).map_err(Error::input)?);
        session.anomalous.extend(text.sentences.iter().map(|sentence| sentence.anomalous));
        session.weights.extend(text.sentences.iter().map(|sentence| sentence.weight));
        Ok(())
    }

    /// Keeps the unit embeddings themselves: the model is small work, and f64 means would not survive as f32.
    fn fit_close(&self, session: Sentences) -> Result<State> {
        let Sentences { embeddings, width, anomalous, weights } = session;
        StateWriter::new(SCHEMA, 1)
            .meta("anomalous", json!(anomalous))
            .f32s("embeddings", [anomalous.len(), width], &embeddings)?
            .f32s("weights", [weights.len()], &weights)?
            .finish()
    }

    fn load(&self, state: &State) -> Result<Language> {
        let stored = StateReader::new(state, SCHEMA, 1)?;
        let embeddings = stored.tensor("embeddings")?;
        let [_, width] = embeddings.dims_n::<2>("embeddings")?;
        let anomalous: Vec<bool> = stored.meta("anomalous")?;
        let weights = stored.tensor("weights")?;
        let weights: Vec<f64> = weights.f32s()?.iter().map(|weight| f64::from(*weight)).collect();
        let rule = match self.config.model {
            Model::Average => TextRule::Average { renormalize: self.config.renormalize },
            Model::Softmax => TextRule::Softmax,
            Model::Max => TextRule::Max,
        };
        let model = TextModel::fit(rule, embeddings.f32s()?, &anomalous, &weights, width)
            .map_err(Error::input)?;
        Ok(Language { config: self.config.clone(), host: self.host, model: Some(model) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use loupe_plugin::testing;

    fn text() -> (Vec<Sentence>, Tensor) {
        let sentence = |anomalous| Sentence::new("a tile", anomalous, "test");
        let embeddings = Tensor::new([3, 2], [2.0, 0.0, 0.0, 5.0, 0.0, 1.0]).unwrap();
        (vec![sentence(false), sentence(true), sentence(true)], embeddings)
    }

    /// Scores of the tokens (1,0), (1,1) and (0,3): towards normal, undecided, towards anomalous.
    fn scores(config: &str) -> Vec<f32> {
        let (sentences, embeddings) = text();
        let tokens = Tensor::new([1, 3, 2], [1.0, 0.0, 1.0, 1.0, 0.0, 3.0]).unwrap();
        let subject = testing::scorer::<Language>(config)
            .fit_embedded_text("text", sentences, embeddings)
            .input("query", tokens);
        subject.run().unwrap().tensor("patch_scores").f32s().unwrap().to_vec()
    }

    #[test]
    fn conforms() {
        let (sentences, embeddings) = text();
        let tokens = Tensor::new([1, 2, 1, 2], [1.0, 0.5, 0.2, 1.0]).unwrap();
        testing::scorer::<Language>("model = \"softmax\"\nscale = 10.0")
            .fit_embedded_text("text", sentences, embeddings)
            .input("query", tokens)
            .check();
    }

    #[test]
    fn the_average_is_a_sigmoid_of_scaled_cosine_differences() {
        let want = |cosines: f32| 1.0 / (1.0 + (-2.0 * cosines).exp());
        let got = scores("scale = 2.0");
        for (got, want) in got.iter().zip([want(-1.0), 0.5, want(1.0)]) {
            assert!((got - want).abs() < 1e-6, "{got} is not {want}");
        }
    }

    #[test]
    fn softmax_counts_sentences_and_max_does_not() {
        let undecided = |config: &str| scores(config)[1];
        assert!((undecided("model = \"softmax\"\nscale = 2.0") - 2.0 / 3.0).abs() < 1e-6);
        assert!((undecided("model = \"max\"\nscale = 2.0") - 0.5).abs() < 1e-6);
    }

    #[test]
    fn a_margin_is_the_logit_of_the_probability() {
        assert!((scores("scale = 2.0\nemit = \"margin\"")[2] - 2.0).abs() < 1e-6);
    }
}
