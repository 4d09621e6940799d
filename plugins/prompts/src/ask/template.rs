//! The wordings of requests. A wording never changes under its number: a cache's digests stand on
//! it, and so do the names of the files that people wrote in its manner.

use super::BriefError;

/// A way of asking. `{names}`, `{count}` and `{part}` in `task` are filled in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Template {
    /// `NAME@VERSION`.
    pub name: &'static str,
    pub about: &'static str,
    pub(super) role: &'static str,
    pub(super) task: &'static str,
}

pub const TEMPLATES: [Template; 2] = [
    Template {
        name: "faults@1",
        about: "the look of sound and of faulty products, in plain words",
        role: "You write short English captions for photographs taken in industrial inspection. A \
               caption says what the camera sees: shape, surface, colour, texture, edges, and \
               where. You answer with JSON alone.",
        task: "The product: {names}.\n\
               Write {count} captions of sound pieces into `normal` and {count} captions of faulty \
               pieces into `anomalous`.{part}\n\
               Each caption is one phrase of at most 14 words, names the product or a part of it, \
               and differs from all others in what it shows, not only in its wording. An \
               anomalous caption shows one fault that really occurs on this product, how it looks \
               and where it is. A normal caption shows a part as it should be, and does not name \
               a fault to deny it. No praise, no causes, no consequences, no numbering, no \
               quotation marks, no braces.",
    },
    Template {
        name: "findings@1",
        about: "the look of healthy and of diseased tissue, as a specialist words it",
        role: "You are a physician who dictates short English findings for images of your field: \
               radiology, ophthalmology or pathology. A finding says what the image shows: \
               structure, density, signal, colour, outline, and where. You answer with JSON alone.",
        task: "The images: {names}.\n\
               Write {count} findings of healthy images into `normal` and {count} findings of \
               diseased ones into `anomalous`.{part}\n\
               Each finding is one phrase of at most 14 words in the wording of a report, names \
               the organ or the kind of image, and differs from all others in what it shows, not \
               only in its wording. An anomalous finding shows one change that can be seen in \
               this kind of image, and where. A normal finding describes healthy structure, and \
               does not name a disease to deny it. No diagnosis without its look, no advice, no \
               patients, no numbering, no quotation marks, no braces.",
    },
];

impl Template {
    /// Errors: `Template`, listing those there are.
    pub fn named(name: &str) -> Result<&'static Template, BriefError> {
        TEMPLATES.iter().find(|template| template.name == name).ok_or_else(|| {
            let known: Vec<&str> = TEMPLATES.iter().map(|template| template.name).collect();
            BriefError::Template { got: crate::words::shown(name), known: known.join(", ") }
        })
    }

    pub(super) fn fill(&self, names: &str, count: u32, part: &str) -> String {
        // One walk from the left, so that a name with braces in it is not filled in again.
        let mut filled = String::new();
        let mut rest = self.task;
        while let Some((before, after)) = rest.split_once('{') {
            filled.push_str(before);
            let Some((slot, after)) = after.split_once('}') else { break };
            match slot {
                "names" => filled.push_str(names),
                "count" => filled.push_str(&count.to_string()),
                _ => filled.push_str(part),
            }
            rest = after;
        }
        filled.push_str(rest);
        filled
    }
}
