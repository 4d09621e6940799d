//! Prompt ensembles: states x templates x names, wrapped once more if asked, as FADE's text encoder
//! does.

use loupe_plugin::prelude::*;
use serde::Deserialize;

use crate::file::from_file;
use crate::naming::{Subject, judge_wrap, wrapped};
use crate::sets::{PromptSet, built_in};
use crate::words::NAME;

/// Sentences of named sets and of the user's files, about the class or about an object.
#[derive(Deserialize, Schema)]
#[serde(deny_unknown_fields)]
pub struct EnsembleConfig {
    /// Sets that loupe ships: `winclip`, `winclip-sizes`, `winclip-positions`,
    /// `winclip-sizes-positions`, `clip-35`, `manual`, `manual-damage`, `chest-findings`,
    /// `llm-object`.
    #[serde(default)]
    sets: Vec<String>,
    /// Prompt files in the JSON schema of FADE, CLIP-LMFA and ClipMPCAD, in addition.
    #[serde(default)]
    #[schema(file)]
    files: Vec<String>,
    #[serde(default)]
    subject: Subject,
    /// A sentence with a `{}` into which every sentence is put once more: `a photo of a {}.` in
    /// FADE.
    #[serde(default)]
    wrap: Option<String>,
    /// Repeats every sentence for each synonym of the class.
    #[serde(default)]
    synonyms: bool,
}

pub struct Ensemble {
    config: EnsembleConfig,
    sets: Vec<PromptSet>,
}

impl PromptGenerator for Ensemble {
    type Config = EnsembleConfig;
    const REVISION: u32 = 1;
    const ABOUT: &'static str = "states x templates x names, and sentences from the user's files";

    fn new(config: EnsembleConfig, host: &Host) -> Result<Self> {
        let sets = judge(&config, host)?;
        Ok(Self { config, sets })
    }

    fn check(config: &EnsembleConfig, host: &Host) -> Result<Facts> {
        judge(config, host)?;
        Ok(Facts::default())
    }

    /// All normal sentences of a set, then its anomalous ones, set by set. Duplicates stay: they
    /// weigh double.
    fn generate(&self, class_name: &str, synonyms: &[&str]) -> Result<Vec<Sentence>> {
        let mut names = match self.config.subject {
            Subject::Class => vec![class_name],
            Subject::Object => vec!["object"],
        };
        if self.config.synonyms && self.config.subject == Subject::Class {
            names.extend(synonyms);
        }
        let mut sentences = Vec::new();
        for set in &self.sets {
            for (templates, anomalous) in [(&set.normal, false), (&set.anomalous, true)] {
                for name in &names {
                    let texts = templates.iter().map(|template| {
                        wrapped(self.config.wrap.as_deref(), &template.replace(NAME, name))
                    });
                    sentences.extend(texts.map(|text| Sentence::new(text, anomalous, &set.source)));
                }
            }
        }
        Ok(sentences)
    }
}

/// The sets and files, and what the schema cannot say.
fn judge(config: &EnsembleConfig, host: &Host) -> Result<Vec<PromptSet>> {
    if config.sets.is_empty() && config.files.is_empty() {
        return Err(Error::config("wants at least one of `sets` and `files`"));
    }
    judge_wrap(config.wrap.as_deref())?;
    let mut sets = config.sets.iter().map(|name| built_in(name)).collect::<Result<Vec<_>>>()?;
    for path in &config.files {
        sets.push(from_file(path, host.open(path)?)?);
    }
    Ok(sets)
}

#[cfg(test)]
mod tests {
    use super::*;
    use loupe_plugin::testing;

    fn sentences(config: &str) -> Vec<Sentence> {
        let names = ["metal nut", "nut"].map(|name| Sentence::new(name, false, "test")).to_vec();
        let subject = testing::prompts::<Ensemble>(config).text("class", names);
        subject.run().unwrap().sentences("text").into_iter().cloned().collect()
    }

    #[test]
    fn conforms() {
        testing::prompts::<Ensemble>("sets = [\"winclip\"]").check();
    }

    #[test]
    fn fades_classification_prompts() {
        let made = sentences("sets = [\"winclip\"]\nwrap = \"a photo of a {}.\"");
        let normal = made.iter().filter(|sentence| !sentence.anomalous).count();
        assert_eq!((made.len(), normal), (242, 154));
        assert_eq!(made[154].text, "a photo of a a cropped photo of the damaged metal nut.");
    }

    #[test]
    fn an_object_has_no_name_and_synonyms_repeat() {
        let object = sentences("sets = [\"winclip\"]\nsubject = \"object\"");
        assert_eq!(object[0].text, "a cropped photo of the object");
        assert_eq!(sentences("sets = [\"winclip\"]\nsynonyms = true").len(), 2 * 242);
    }

    #[test]
    fn mistakes_in_the_config_are_said() {
        let message = |config: &str| testing::prompts::<Ensemble>(config).run().err().unwrap();
        assert!(message("").contains("at least one of `sets` and `files`"));
        let wrap = message("sets = [\"winclip\"]\nwrap = \"a photo\"");
        assert!(wrap.contains("`wrap` wants a `{}` for the sentence, got `a photo`"), "{wrap}");
    }
}
