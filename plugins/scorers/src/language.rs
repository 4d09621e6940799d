//! Language guidance: P(anomalous) of image tokens against the embedded sentences of a class.
//! Source: FADE, arXiv:2409.00556, after WinCLIP, arXiv:2303.14814.

use loupe_kernels::{TextModel, TextRule, unit_rows};
use loupe_plugin::prelude::*;
use serde::Deserialize;
use serde_json::json;

use crate::on_host;
use crate::text_models::{
    self, BoostingKeys, Classifier, Examples, ForestKeys, Kind, LogisticKeys, MixtureKeys, MlpKeys,
    NeighbourKeys, Scale,
};

/// How sentences become a score. The first three compare a token with the sentences by their
/// cosines; the others, which FADE calls `lr`, `mlp`, `knn`, `rf`, `xgboost` and `gmm`, learn to
/// tell the sentences' embeddings apart and are then asked about the token's.
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
    /// FADE's `lr`.
    LogisticRegression,
    /// FADE's `mlp`.
    Mlp,
    /// FADE's `knn`.
    KNearest,
    /// FADE's `rf`.
    RandomForest,
    /// FADE's `xgboost`.
    GradientBoosting,
    /// FADE's `gmm`.
    GaussianMixture,
}

/// What the scores are.
#[derive(Clone, Copy, Default, PartialEq, Deserialize, Schema)]
#[serde(rename_all = "kebab-case")]
enum Emit {
    /// P(anomalous), 0..=1.
    #[default]
    Probability,
    /// The anomalous logit less the normal one: P before its sigmoid. A share of votes (models
    /// `k-nearest`, `random-forest`) is held 1e-6 away from 0 and 1 for it.
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
    /// Multiplies the cosines before the softmax (models `average`, `softmax`, `max`).
    #[serde(default = "hundred")]
    #[schema(above = 0.0)]
    scale: f32,
    #[serde(default)]
    emit: Emit,
    /// Of models `mlp`, `random-forest` and `gaussian-mixture`.
    #[serde(default = "forty_two")]
    seed: u64,
    /// Keys of model `logistic-regression`: `{ c = 1.0 }`.
    logistic_regression: Option<LogisticKeys>,
    /// Keys of model `mlp`: `{ hidden = 640, learning_rate = 0.001, alpha = 0.0001,
    /// batch = 200, epochs = 200, validation = 0.1, patience = 10 }`.
    mlp: Option<MlpKeys>,
    /// Keys of model `k-nearest`: `{ k = 5 }`.
    k_nearest: Option<NeighbourKeys>,
    /// Keys of model `random-forest`: `{ trees = 100 }`.
    random_forest: Option<ForestKeys>,
    /// Keys of model `gradient-boosting`: `{ rounds = 100, learning_rate = 0.3,
    /// depth = 6, lambda = 1.0, min_child_weight = 1.0, bins = 256 }`.
    gradient_boosting: Option<BoostingKeys>,
    /// Keys of model `gaussian-mixture`: `{ components = 10, variance = 0.9 }`.
    gaussian_mixture: Option<MixtureKeys>,
}

fn hundred() -> f32 {
    100.0
}

fn forty_two() -> u64 {
    42
}

/// Who scores: a rule over the sentences, or a classifier that learned from them.
enum Way {
    Rule(TextRule),
    Learned(Kind),
}

impl LanguageConfig {
    fn way(&self) -> Way {
        Way::Learned(match self.model {
            Model::Average => {
                return Way::Rule(TextRule::Average { renormalize: self.renormalize });
            }
            Model::Softmax => return Way::Rule(TextRule::Softmax),
            Model::Max => return Way::Rule(TextRule::Max),
            Model::LogisticRegression => Kind::Logistic(own(&self.logistic_regression)),
            Model::Mlp => Kind::Mlp(own(&self.mlp)),
            Model::KNearest => Kind::Neighbours(own(&self.k_nearest)),
            Model::RandomForest => Kind::Forest(own(&self.random_forest)),
            Model::GradientBoosting => Kind::Boosting(own(&self.gradient_boosting)),
            Model::GaussianMixture => Kind::Mixture(own(&self.gaussian_mixture)),
        })
    }
}

fn own<T: Clone + Default>(keys: &Option<T>) -> T {
    keys.clone().unwrap_or_default()
}

/// What `load` made.
enum Fitted {
    Rule(TextModel),
    Learned(Box<dyn Classifier>),
}

const SCHEMA: &str = "loupe.text-model";

pub struct Language {
    config: LanguageConfig,
    host: Host,
    /// Set by `load`; scoring without it is an error.
    model: Option<Fitted>,
}

impl Scorer for Language {
    type Config = LanguageConfig;
    const REVISION: u32 = 2;
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
        let wanted = match model {
            Fitted::Rule(model) => model.width,
            Fitted::Learned(model) => model.width(),
        };
        if width != wanted {
            return Err(Error::shape("query", format!("[..., {wanted}]"), query.shape()));
        }
        let tokens = query.f32s()?;
        let (scale, emit) = (self.config.scale, self.config.emit);
        let scores = match model {
            Fitted::Rule(model) => on_host(&self.host, |par| match emit {
                Emit::Probability => model.probabilities(tokens, scale, par),
                Emit::Margin => model.margins(tokens, scale, par),
            })?
            .map_err(Error::input)?,
            Fitted::Learned(model) => {
                let wanted = match emit {
                    Emit::Probability => Scale::Probability,
                    Emit::Margin => Scale::Margin,
                };
                let tokens = unit_rows(tokens, width).map_err(Error::input)?;
                text_models::scores(model.as_ref(), &tokens, wanted, &self.host)?
            }
        };
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

    /// A rule keeps the unit embeddings themselves: it is small work, and f64 means would not
    /// survive as f32. A classifier learns here and keeps what it learned.
    fn fit_close(&self, session: Sentences) -> Result<State> {
        let Sentences { embeddings, width, anomalous, weights } = session;
        if let Way::Learned(kind) = self.config.way() {
            let examples = Examples::new(&embeddings, width, &anomalous, &weights)?;
            return kind.fit(&examples, self.config.seed, &self.host)?.state();
        }
        StateWriter::new(SCHEMA, 1)
            .meta("anomalous", json!(anomalous))
            .f32s("embeddings", [anomalous.len(), width], &embeddings)?
            .f32s("weights", [weights.len()], &weights)?
            .finish()
    }

    fn load(&self, state: &State) -> Result<Language> {
        let (config, host) = (self.config.clone(), self.host);
        let rule = match config.way() {
            Way::Rule(rule) => rule,
            Way::Learned(kind) => {
                let model = Some(Fitted::Learned(kind.load(state)?));
                return Ok(Language { config, host, model });
            }
        };
        let stored = StateReader::new(state, SCHEMA, 1)?;
        let embeddings = stored.tensor("embeddings")?;
        let [_, width] = embeddings.dims_n::<2>("embeddings")?;
        let anomalous: Vec<bool> = stored.meta("anomalous")?;
        let weights = stored.tensor("weights")?;
        let weights: Vec<f64> = weights.f32s()?.iter().map(|weight| f64::from(*weight)).collect();
        let model = TextModel::fit(rule, embeddings.f32s()?, &anomalous, &weights, width)
            .map_err(Error::input)?;
        Ok(Language { config, host, model: Some(Fitted::Rule(model)) })
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

    /// Models that learn, with few enough neighbours and Gaussians for the sentences below.
    const LEARNED: [&str; 6] = [
        "model = \"logistic-regression\"\nlogistic_regression = { c = 10.0 }",
        "model = \"mlp\"\nmlp = { hidden = 8, learning_rate = 0.05, validation = 0.0 }",
        "model = \"k-nearest\"\nk_nearest = { k = 3 }",
        "model = \"random-forest\"\nseed = 7",
        "model = \"gradient-boosting\"\ngradient_boosting = { min_child_weight = 0.1 }",
        "model = \"gaussian-mixture\"\ngaussian_mixture = { components = 2 }",
    ];

    /// Twelve sentences: six about the first axis, six about the second.
    fn learned(config: &str) -> testing::Subject {
        let sentence = |i: usize| Sentence::new("a tile", i % 2 == 1, "test");
        let row = |i: usize| {
            let (near, far) = (1.0, 0.05 * i as f32);
            if i % 2 == 1 { [far, near] } else { [near, far] }
        };
        let rows = Tensor::new([12, 2], (0..12).flat_map(row)).unwrap();
        let tokens = Tensor::new([1, 3, 2], [3.0, 0.6, 1.0, 0.3, 0.2, 1.0]).unwrap();
        testing::scorer::<Language>(config)
            .fit_embedded_text("text", (0..12).map(sentence).collect(), rows)
            .input("query", tokens)
    }

    #[test]
    fn models_that_learn_conform_and_tell_the_labels_apart() {
        for config in LEARNED {
            learned(config).check();
            let told = |config: &str| {
                let ran = learned(config).run().unwrap();
                ran.tensor("patch_scores").f32s().unwrap().to_vec()
            };
            let shares = told(config);
            assert!(shares[0] < 0.5 && shares[1] < 0.5 && shares[2] > 0.5, "{config}: {shares:?}");
            let margins = told(&format!("{config}\nemit = \"margin\""));
            for (share, margin) in shares.iter().zip(margins) {
                let near = (1.0 / (1.0 + (-margin).exp()) - share).abs() < 1e-5;
                assert!(near && margin.is_finite(), "{config}: {margin} is not {share}");
            }
        }
    }

    /// `inspect` shows the keys of a model in one line, which must not lie about the defaults.
    #[test]
    fn the_keys_of_each_model_are_told_with_their_defaults() {
        let schema = LanguageConfig::schema();
        let own = schema["properties"].as_object().unwrap().values();
        let told = own.filter(|key| key["type"] == "object").map(|key| {
            let keys = key["properties"].as_object().unwrap();
            for (name, value) in keys {
                let pair = format!("{name} = {}", value["default"]);
                let about = key["description"].as_str().unwrap();
                assert!(about.contains(&pair), "`{about}` does not tell `{pair}`");
            }
            keys.len()
        });
        assert_eq!(told.sum::<usize>(), 18);
    }

    #[test]
    fn a_model_that_lacks_sentences_names_the_key_to_lower() {
        let (sentences, embeddings) = text();
        let subject = testing::scorer::<Language>("model = \"k-nearest\"")
            .fit_embedded_text("text", sentences, embeddings)
            .input("query", Tensor::new([1, 2], [1.0, 0.0]).unwrap());
        let message = subject.run().err().unwrap();
        assert!(message.contains("`k_nearest.k` = 5 sentences, but got 3"), "{message}");
    }
}
