//! What a state was learned from, in the header of its file: a run holds its images under test against it.

use std::collections::BTreeSet;

use serde_json::{Map, Value as Json};

use crate::run::{ClassImages, Image, hex};

const LEARNED_FROM: &str = "learned_from";
const SHOTS: &str = "shots";
const CLASS: &str = "class";

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Origin {
    /// Whose references were learned from; `None`: other data sets alone taught it, and it is any class's.
    pub class: Option<String>,
    /// How many of its normal references were.
    pub shots: usize,
    /// All images, those that were held out too, and those of other data sets.
    images: BTreeSet<String>,
}

impl Origin {
    /// Of a class's own images, and those of other data sets.
    pub(super) fn new<'c>(own: &ClassImages, all: impl Iterator<Item = &'c ClassImages>) -> Origin {
        let has_own = !(own.references.is_empty() && own.anomalous_references.is_empty());
        Origin {
            class: has_own.then(|| own.name.clone()),
            shots: own.references.len(),
            images: all.flat_map(ClassImages::all_references).map(short).collect(),
        }
    }

    /// As metadata of a file.
    pub(super) fn facts(&self) -> Vec<(String, String)> {
        let images = serde_json::to_string(&self.images).unwrap_or_default();
        let mut facts = vec![(LEARNED_FROM, images), (SHOTS, self.shots.to_string())];
        facts.extend(self.class.clone().map(|class| (CLASS, class)));
        facts.into_iter().map(|(name, fact)| (name.to_owned(), fact)).collect()
    }

    /// From a file's metadata; `None` where they do not say it, as those of other programs.
    pub fn read(facts: &Map<String, Json>) -> Option<Origin> {
        let fact = |name: &str| facts.get(name).and_then(Json::as_str);
        Some(Origin {
            class: fact(CLASS).map(str::to_owned),
            shots: fact(SHOTS)?.parse().ok()?,
            images: serde_json::from_str(fact(LEARNED_FROM)?).ok()?,
        })
    }

    /// Whether an image of these contents was learned from.
    pub fn knows(&self, image: &Image) -> bool {
        self.images.contains(&short(image))
    }
}

/// 16 hexadecimal digits of an image's contents.
fn short(image: &Image) -> String {
    hex(&image.digest)[..16].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::MaskedImage;

    fn image(content: u8) -> Image {
        let name = format!("{content}.png");
        Image { path: name.clone().into(), name, digest: [content; 32], change: None }
    }

    fn class(name: &str, normal: &[u8], anomalous: &[u8]) -> ClassImages {
        let masked = |content: &u8| MaskedImage { image: image(*content), mask: None };
        ClassImages {
            name: name.to_owned(),
            references: normal.iter().copied().map(image).collect(),
            anomalous_references: anomalous.iter().map(masked).collect(),
            ..ClassImages::default()
        }
    }

    #[test]
    fn an_origin_is_read_as_it_was_written() {
        let (own, other) = (class("a", &[1, 2], &[3]), class("b", &[2], &[0xab]));
        let origin = Origin::new(&own, [&own, &other].into_iter());
        let facts = origin.facts();
        assert_eq!(
            facts[0].1,
            r#"["0101010101010101","0202020202020202","0303030303030303","abababababababab"]"#
        );
        let of = |facts: Vec<(String, String)>| {
            Origin::read(&facts.into_iter().map(|(name, fact)| (name, fact.into())).collect())
        };
        assert_eq!(of(facts.clone()), Some(origin.clone()));
        assert_eq!((origin.class.as_deref(), origin.shots), (Some("a"), 2));
        assert_eq!([1, 3, 0xab, 4].map(|x| origin.knows(&image(x))), [true, true, true, false]);
        // Without references of its own it is no class's; a file of another program says nothing.
        let bare = class("a", &[], &[]);
        assert_eq!(Origin::new(&bare, [&bare, &other].into_iter()).class, None);
        assert_eq!(of(facts[1..].to_vec()), None);
        assert_eq!(of(vec![("format".to_owned(), "pt".to_owned())]), None);
    }
}
