//! CLIP's byte-pair encoding with its vocabulary built in.

use crate::clean::clean;

/// The marker before every sentence.
pub const START_OF_TEXT: u32 = 49_406;
/// The marker behind every sentence; the largest id there is.
pub const END_OF_TEXT: u32 = 49_407;

/// Sentences -> token ids of CLIP's 49,408-entry vocabulary.
pub struct Tokenizer {
    pairs: instant_clip_tokenizer::Tokenizer,
}

impl Default for Tokenizer {
    fn default() -> Self {
        Self { pairs: instant_clip_tokenizer::Tokenizer::new() }
    }
}

impl Tokenizer {
    /// Start marker, tokens, end marker; no padding. A sentence of more than `context_length`
    /// tokens is cut there and its last token becomes the end marker, as in open_clip.
    pub fn encode(&self, text: &str, context_length: usize) -> Vec<u32> {
        let mut tokens = vec![self.pairs.start_of_text()];
        self.pairs.encode(&clean(text), &mut tokens);
        let mut ids: Vec<u32> = tokens.into_iter().map(|token| u32::from(token.to_u16())).collect();
        ids.push(END_OF_TEXT);
        if ids.len() > context_length {
            ids.truncate(context_length);
            if let Some(last) = ids.last_mut() {
                *last = END_OF_TEXT;
            }
        }
        ids
    }
}
