//! Sentences about surfaces and their state, for models that learn from pictures and words.
//!
//! A caption is a template around a state around a surface: `a close-up photo of` `a scratched`
//! `leather hide`. [`captions`] draws some for a picture; [`Sentences`] holds the lists themselves,
//! so that a training program can make prompt ensembles for any word without parsing English.

mod words;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::rng::Rng;
use super::{Defect, Family, Product};

/// How many captions a picture gets.
pub const N_CAPTIONS: usize = 4;

/// The lists that captions are made of. In each sentence `{}` is the place of the next inner part:
/// `templates` take a state, states take the name of a surface.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sentences {
    /// Names of each family's surface.
    pub surfaces: BTreeMap<String, Vec<String>>,
    /// Names that suit every surface.
    pub generic: Vec<String>,
    pub templates: Vec<String>,
    pub normal: Vec<String>,
    /// States of damage of no particular kind.
    pub anomalous: Vec<String>,
    /// States of damage of each defect.
    pub defects: BTreeMap<String, Vec<String>>,
    /// Whole sentences that name no surface.
    pub normal_sentences: Vec<String>,
    pub anomalous_sentences: Vec<String>,
    /// Every word that captions are made of, in alphabetical order.
    pub words: Vec<String>,
}

impl Sentences {
    /// The lists for some families and defects.
    pub fn of<'a>(
        families: impl Iterator<Item = &'a Family>,
        defects: impl Iterator<Item = &'a Defect>,
    ) -> Self {
        let surfaces: BTreeMap<_, _> =
            families.map(|family| (family.name.to_owned(), owned(family.names))).collect();
        let defects: BTreeMap<_, _> =
            defects.map(|defect| (defect.name.to_owned(), states(defect))).collect();
        let mut sentences = Self {
            surfaces,
            generic: owned(words::GENERIC),
            templates: owned(words::TEMPLATES),
            normal: owned(words::NORMAL),
            anomalous: owned(words::ANOMALOUS),
            defects,
            normal_sentences: owned(words::NORMAL_SENTENCES),
            anomalous_sentences: owned(words::ANOMALOUS_SENTENCES),
            words: Vec::new(),
        };
        sentences.words = sentences.all_words().into_iter().collect();
        sentences
    }

    fn all_words(&self) -> BTreeSet<String> {
        let colours = [0.0, 0.06, 0.15, 0.35, 0.5, 0.65, 0.78, 0.9]
            .into_iter()
            .flat_map(|hue| {
                [(0.9, 0.2), (0.5, 0.4), (0.5, 0.9), (0.0, 0.2), (0.0, 0.9)].map(|c| (hue, c))
            })
            .flat_map(|(hue, (saturation, value))| colours(hue, saturation, value));
        let places = words::PLACES.iter().flatten().copied();
        let lists = [
            &self.generic,
            &self.templates,
            &self.normal,
            &self.anomalous,
            &self.normal_sentences,
            &self.anomalous_sentences,
        ];
        let lists = lists.into_iter().chain(self.surfaces.values()).chain(self.defects.values());
        lists
            .flatten()
            .map(String::as_str)
            .chain(colours)
            .chain(places)
            .chain(["a an small large"])
            .flat_map(words_of)
            .collect()
    }
}

/// The words of a sentence, without its places and its full stop; a hyphen parts words.
pub fn words_of(sentence: &str) -> impl Iterator<Item = String> + '_ {
    let word = |word: &str| (!word.is_empty()).then(|| word.to_lowercase());
    sentence.split(|c: char| !c.is_alphanumeric()).filter_map(word)
}

/// Captions of one picture. `damage` is the defect and the mask of it, `size` pixels a side; the
/// seed draws the words. The first half names the state in general words, the second half of those
/// with damage names its kind.
pub fn captions(
    product: &Product,
    image_seed: u64,
    damage: Option<(&Defect, &[u8])>,
    size: u32,
) -> Vec<String> {
    let rng = product.rng.fork(&format!("captions {image_seed}"));
    let seen = damage.map(|(defect, mask)| (defect, Extent::of(mask, size as usize)));
    let caption = |number: usize| {
        let mut rng = rng.fork(&number.to_string());
        let special = number >= N_CAPTIONS / 2;
        match &seen {
            None if number == 0 && rng.chance(0.15) => pick(&mut rng, words::NORMAL_SENTENCES),
            None => {
                let state = pick(&mut rng, words::NORMAL);
                spoken(&mut rng, product, &state)
            }
            Some((defect, extent)) if special => {
                let state = special_state(&mut rng, defect, extent);
                spoken(&mut rng, product, &state)
            }
            Some(_) if number == 0 && rng.chance(0.15) => {
                pick(&mut rng, words::ANOMALOUS_SENTENCES)
            }
            Some(_) => {
                let state = pick(&mut rng, words::ANOMALOUS);
                spoken(&mut rng, product, &state)
            }
        }
    };
    let mut made: Vec<String> = (0..N_CAPTIONS).map(caption).collect();
    made.dedup();
    made
}

/// Words for a colour: its hue or grey, and whether it is dark or light.
pub(super) fn colours(hue: f32, saturation: f32, value: f32) -> Vec<&'static str> {
    let mut found = Vec::new();
    if value < 0.3 {
        found.push("dark");
    } else if value > 0.62 && saturation < 0.35 {
        found.push("light");
    }
    found.push(match hue {
        _ if saturation < 0.1 && value < 0.18 => "black",
        _ if saturation < 0.1 && value > 0.68 => "white",
        _ if saturation < 0.12 => "grey",
        hue if !(0.03..0.95).contains(&hue) => "red",
        hue if hue < 0.12 && value < 0.6 => "brown",
        hue if hue < 0.11 => "orange",
        hue if hue < 0.19 && saturation < 0.35 => "beige",
        hue if hue < 0.19 => "yellow",
        hue if hue < 0.45 => "green",
        hue if hue < 0.53 => "turquoise",
        hue if hue < 0.7 => "blue",
        hue if hue < 0.83 => "purple",
        _ => "pink",
    });
    found
}

/// Where the damage is and how much of the picture it covers.
struct Extent {
    share: f32,
    place: &'static str,
}

impl Extent {
    fn of(mask: &[u8], size: usize) -> Self {
        let (mut n, mut x, mut y) = (0_usize, 0, 0);
        for (i, _) in mask.iter().enumerate().filter(|(_, level)| **level > 0) {
            (n, x, y) = (n + 1, x + i % size.max(1), y + i / size.max(1));
        }
        let third = |sum: usize| (sum * 3 / (n * size).max(1)).min(2);
        let place = words::PLACES[third(y)][third(x)];
        Self { share: n as f32 / mask.len().max(1) as f32, place }
    }
}

/// A state that names the defect, with its size or its place now and then.
fn special_state(rng: &mut Rng, defect: &Defect, extent: &Extent) -> String {
    if rng.chance(0.4) {
        return format!("{} {{}}", pick(rng, defect.adjectives));
    }
    let mut noun = pick(rng, defect.nouns);
    if rng.chance(0.25) && (extent.share < 0.01 || extent.share > 0.08) {
        let size = if extent.share < 0.01 { "small" } else { "large" };
        if let Some(rest) = noun.strip_prefix("a ").or_else(|| noun.strip_prefix("an ")) {
            noun = format!("a {size} {rest}");
        }
    }
    if rng.chance(0.25) {
        noun = format!("{noun} {}", extent.place);
    }
    format!("{{}} with {noun}")
}

/// All states that name a defect: `scratched {}`, `{} with a scratch`.
fn states(defect: &Defect) -> Vec<String> {
    let adjectives = defect.adjectives.iter().map(|word| format!("{word} {{}}"));
    adjectives.chain(defect.nouns.iter().map(|noun| format!("{{}} with {noun}"))).collect()
}

/// A state as a sentence about a product.
fn spoken(rng: &mut Rng, product: &Product, state: &str) -> String {
    let family = product.family();
    let mut name =
        if rng.chance(0.3) { pick(rng, words::GENERIC) } else { pick(rng, family.names) };
    if rng.chance(0.3) {
        let colours = product.colours();
        let colour = colours.get(rng.below(colours.len())).copied().unwrap_or("grey");
        name = format!("{colour} {name}");
    }
    let template =
        if rng.chance(0.25) { "a photo of a {}".to_owned() } else { pick(rng, words::TEMPLATES) };
    with_articles(&template.replace("{}", &state.replace("{}", &name)))
}

/// `a` before a vowel becomes `an`, and the other way round.
fn with_articles(sentence: &str) -> String {
    let mut parts: Vec<&str> = sentence.split(' ').collect();
    for i in 1..parts.len() {
        if matches!(parts[i - 1], "a" | "an") {
            let vowel = parts[i].starts_with(['a', 'e', 'i', 'o', 'u']);
            let hard = parts[i].starts_with("uni") || parts[i].starts_with("one");
            parts[i - 1] = if vowel && !hard { "an" } else { "a" };
        }
    }
    parts.join(" ")
}

fn pick(rng: &mut Rng, list: &[&str]) -> String {
    list.get(rng.below(list.len())).copied().unwrap_or_default().to_owned()
}

fn owned(list: &[&str]) -> Vec<String> {
    list.iter().map(|text| (*text).to_owned()).collect()
}
