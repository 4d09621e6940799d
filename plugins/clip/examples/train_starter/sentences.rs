//! Sentences drawn from the words, and the short vocabulary they need.
//!
//! A prompt is a template around a state around a name. The name is often exchanged for a word
//! that means nothing here, so that the name of an unseen class does no harm.

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::path::PathBuf;
use std::sync::Mutex;

use loupe_clip::tokenizer::{END_OF_TEXT, START_OF_TEXT, Tokenizer};

use serde::Deserialize;

use crate::error::{Result, TrainError};
use crate::rng::Rng;
use crate::words;

/// Stands for a word outside the vocabulary.
const UNKNOWN: char = '\0';
/// States that say nothing of the kind of damage; they are drawn most.
const N_BROAD_NORMAL: usize = 7;
const N_BROAD_ANOMALOUS: usize = 15;
/// How often a token is read as one outside the vocabulary.
const DROPPED: f32 = 0.03;

/// The words as lists. A folder's own `sentences.json` adds to them.
#[derive(Debug, Deserialize)]
#[serde(default)]
pub struct Lists {
    /// Names of each family, besides the family's own.
    surfaces: HashMap<String, Vec<String>>,
    templates: Vec<String>,
    normal: Vec<String>,
    anomalous: Vec<String>,
    normal_sentences: Vec<String>,
    anomalous_sentences: Vec<String>,
    #[serde(skip)]
    neutral: Vec<String>,
    #[serde(skip)]
    neutral_templates: Vec<String>,
}

impl Default for Lists {
    fn default() -> Self {
        let split = |list: &str| list.split('|').map(str::to_owned).collect();
        Self {
            surfaces: HashMap::new(),
            templates: split(words::TEMPLATES),
            normal: split(words::NORMAL),
            anomalous: split(words::ANOMALOUS),
            normal_sentences: split(words::NORMAL_SENTENCES),
            anomalous_sentences: split(words::ANOMALOUS_SENTENCES),
            neutral: split(words::NEUTRAL),
            neutral_templates: split(words::NEUTRAL_TEMPLATES),
        }
    }
}

fn pick<'a, S: AsRef<str>>(list: &'a [S], rng: &mut Rng) -> &'a str {
    rng.choice(list).map(AsRef::as_ref).unwrap_or_default()
}

impl Lists {
    /// The words, with what stands in `sentences.json` of the folders. Errors: `Bad`, `File`.
    pub fn read(folders: &[PathBuf]) -> Result<Self> {
        let mut lists = Self::default();
        for path in folders.iter().map(|folder| folder.join("sentences.json")) {
            if path.is_file() {
                let text = fs::read_to_string(&path).map_err(TrainError::file(&path))?;
                let more = serde_json::from_str(&text);
                lists.extend(more.map_err(|error| TrainError::bad(&path, error.to_string()))?);
            }
        }
        Ok(lists)
    }

    /// What is new in `more` goes behind what is here.
    fn extend(&mut self, more: Self) {
        let add = |list: &mut Vec<String>, more: Vec<String>| {
            for entry in more {
                if !list.contains(&entry) {
                    list.push(entry);
                }
            }
        };
        add(&mut self.templates, more.templates);
        add(&mut self.normal, more.normal);
        add(&mut self.anomalous, more.anomalous);
        add(&mut self.normal_sentences, more.normal_sentences);
        add(&mut self.anomalous_sentences, more.anomalous_sentences);
        for (family, names) in more.surfaces {
            add(self.surfaces.entry(family).or_default(), names);
        }
    }

    /// One of the names of a family.
    pub fn name_of(&self, family: &str, rng: &mut Rng) -> String {
        let names = self.surfaces.get(family).map(Vec::as_slice).unwrap_or_default();
        match names.get(rng.below(names.len() + 1)) {
            Some(name) => name.clone(),
            None => spoken(family),
        }
    }

    /// `n` prompts of one label about the surface `own`; `extra` are a picture's own sentences.
    pub fn ensemble(
        &self,
        (own, anomalous): (&str, bool),
        n: usize,
        extra: &[String],
        rng: &mut Rng,
    ) -> Vec<String> {
        let (states, sentences, n_broad) = match anomalous {
            true => (&self.anomalous, &self.anomalous_sentences, N_BROAD_ANOMALOUS),
            false => (&self.normal, &self.normal_sentences, N_BROAD_NORMAL),
        };
        let broad = states.get(..n_broad).unwrap_or(states);
        let name = self.name(own, rng);
        let mut prompt = || match (rng.unit(), rng.choice(extra)) {
            (kind, _) if kind < 0.15 => pick(sentences, rng).to_owned(),
            (kind, Some(sentence)) if kind < 0.25 => sentence.clone(),
            _ => {
                let state = if rng.chance(0.6) { pick(broad, rng) } else { pick(states, rng) };
                pick(&self.templates, rng).replace("{}", state).replace("{}", &name)
            }
        };
        (0..n).map(|_| prompt()).collect()
    }

    /// The product's own name, a word that means nothing here, an unknown word or `object`.
    fn name(&self, own: &str, rng: &mut Rng) -> String {
        if rng.chance(0.65) {
            return own.to_owned();
        }
        match rng.unit() {
            kind if kind < 0.4 => UNKNOWN.to_string(),
            kind if kind < 0.85 => pick(&self.neutral, rng).to_owned(),
            _ => pick(&["object", "surface"], rng).to_owned(),
        }
    }

    /// A sentence that says nothing of the state of a surface.
    pub fn neutral(&self, rng: &mut Rng) -> String {
        let mut sentence = pick(&self.neutral_templates, rng).to_owned();
        while sentence.contains("{}") {
            sentence = sentence.replacen("{}", pick(&self.neutral, rng), 1);
        }
        sentence
    }

    /// What a picture shows in words: one of its own sentences, or one of family and defect.
    pub fn caption(&self, family: &str, defect: &str, own: &[String], rng: &mut Rng) -> String {
        if let Some(sentence) = rng.choice(own)
            && rng.chance(0.7)
        {
            return sentence.clone();
        }
        let templates = match defect {
            "good" => &["a photo of {}", "{} without defect", "intact {}", "the {} is undamaged"],
            _ => &["a photo of {} with {d}", "{d} on {}", "{} that has {d}", "{d}"],
        };
        pick(templates, rng).replace("{d}", &spoken(defect)).replace("{}", family)
    }

    fn all(&self) -> impl Iterator<Item = &str> {
        let lists = [
            &self.templates,
            &self.normal,
            &self.anomalous,
            &self.normal_sentences,
            &self.anomalous_sentences,
            &self.neutral,
            &self.neutral_templates,
        ];
        let fixed = ["without on that has with is the", "undamaged photo"];
        let names = self.surfaces.values().flatten();
        lists.into_iter().flatten().chain(names).map(String::as_str).chain(fixed)
    }
}

/// `wire mesh` of `wire_mesh`.
pub fn spoken(name: &str) -> String {
    name.replace('_', " ")
}

/// CLIP's token ids in use -> rows of the short token table. The last row is every other id's.
pub struct Vocabulary {
    /// Ascending.
    pub ids: Vec<u32>,
    tokenizer: Tokenizer,
    context_length: usize,
    /// Sentences that were read before.
    seen: Mutex<HashMap<String, Vec<u32>>>,
}

impl Vocabulary {
    /// All tokens of the words and of `extra` sentences.
    pub fn new(lists: &Lists, extra: &BTreeSet<String>, context_length: usize) -> Self {
        let tokenizer = Tokenizer::default();
        let mut ids = BTreeSet::from([START_OF_TEXT, END_OF_TEXT]);
        let own = extra.iter().map(String::as_str);
        for sentence in lists.all().chain(own) {
            // A longer context than any sentence's, so that none is cut.
            ids.extend(tokenizer.encode(&sentence.replace("{}", " "), usize::MAX));
        }
        let ids = ids.into_iter().collect();
        Self { ids, tokenizer, context_length, seen: Mutex::default() }
    }

    /// Rows of the token table, that of unlisted tokens included.
    pub fn n_rows(&self) -> usize {
        self.ids.len() + 1
    }

    /// Rows of a sentence with its markers, some read as unlisted by chance.
    pub fn rows(&self, sentence: &str, rng: &mut Rng) -> Vec<u32> {
        let mut seen = self.seen.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if !seen.contains_key(sentence) {
            seen.insert(sentence.to_owned(), self.read(sentence));
        }
        let mut rows = seen.get(sentence).cloned().unwrap_or_default();
        let last = rows.len().saturating_sub(1);
        for row in rows.iter_mut().take(last).skip(1) {
            if rng.chance(DROPPED) {
                *row = self.ids.len() as u32;
            }
        }
        rows
    }

    fn read(&self, sentence: &str) -> Vec<u32> {
        let row = |id: u32| self.ids.binary_search(&id).unwrap_or(self.ids.len()) as u32;
        let mut body = Vec::new();
        for (index, part) in sentence.split(UNKNOWN).enumerate() {
            body.extend((index > 0).then_some(self.ids.len() as u32));
            let tokens = self.tokenizer.encode(part, usize::MAX);
            let inner = tokens.get(1..tokens.len().saturating_sub(1)).unwrap_or_default();
            body.extend(inner.iter().map(|id| row(*id)));
        }
        body.truncate(self.context_length.saturating_sub(2));
        std::iter::once(row(START_OF_TEXT)).chain(body).chain([row(END_OF_TEXT)]).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sentence_becomes_rows_and_unknown_words_the_last() {
        let lists = Lists::default();
        let vocabulary = Vocabulary::new(&lists, &BTreeSet::from(["a torn weave".into()]), 8);
        let last = vocabulary.ids.len() as u32;
        let rows = vocabulary.read("a torn \u{0}");
        assert_eq!(rows[0], last - 2, "the markers have the highest ids");
        assert_eq!(rows[3..], [last, last - 1]);
        assert!(vocabulary.read("a torn xylophone").contains(&last));
        assert!(rows[1] < last && rows[2] < last);
        assert_eq!(vocabulary.read("a \0 weave")[2], last);
        assert_eq!(vocabulary.read("a a a a a a a a a a").len(), 8);
    }

    #[test]
    fn a_folder_adds_to_the_words() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("sentences.json");
        fs::write(
            &path,
            r#"{"surfaces": {"woven": ["linen"]}, "normal": ["flawless {}", "neat {}"]}"#,
        )
        .unwrap();
        let lists = Lists::read(&[dir.path().to_owned()]).unwrap();
        let plain = Lists::default();
        assert_eq!(lists.normal.len(), plain.normal.len() + 1);
        assert_eq!(lists.templates, plain.templates, "a list that is left out adds nothing");
        let mut rng = Rng::new(0);
        let mut names: Vec<String> = (0..40).map(|_| lists.name_of("woven", &mut rng)).collect();
        names.sort();
        names.dedup();
        assert_eq!(names, ["linen", "woven"]);
        fs::write(&path, "{").unwrap();
        let message = Lists::read(&[dir.path().to_owned()]).unwrap_err().to_string();
        assert!(message.contains("sentences.json"), "{message}");
    }

    #[test]
    fn sentences_have_their_gaps_filled() {
        let (lists, mut rng) = (Lists::default(), Rng::new(1));
        for i in 0..300 {
            let about = ("wire mesh", i % 2 == 0);
            let mut all = lists.ensemble(about, 3, &["own".into()], &mut rng);
            all.push(lists.neutral(&mut rng));
            all.push(lists.caption("wire mesh", ["good", "deep_hole"][i % 2], &[], &mut rng));
            for sentence in all {
                assert!(!sentence.contains('{') && !sentence.contains('_'), "{sentence}");
            }
        }
    }
}
