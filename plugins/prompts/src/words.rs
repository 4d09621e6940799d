//! Text as this crate compares, measures and shows it.

/// Where a sentence takes the name.
pub const NAME: &str = "{}";

/// Letters of a text that a message quotes.
const SHOWN: usize = 60;

/// A text as a message quotes it: cut, and without characters that would change the terminal.
pub fn shown(text: &str) -> String {
    let mut letters = text.chars();
    let mut start: String = letters.by_ref().take(SHOWN).collect::<String>();
    if letters.next().is_some() {
        start.push('…');
    }
    start
        .chars()
        .map(|c| if is_unseen(c) { format!("\\u{{{:x}}}", c as u32) } else { c.into() })
        .collect()
}

/// Control characters, and those that are invisible or turn the direction of writing.
pub fn is_unseen(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}')
        || matches!(c, '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{e0000}'..='\u{e007f}')
}

/// The first character that nobody sees, if there is one.
pub fn unseen(text: &str) -> Option<char> {
    text.chars().find(|c| is_unseen(*c))
}

/// One blank between words, none around them.
pub fn tidy(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// What two sentences share that differ in case, blanks and closing punctuation only.
pub fn key(text: &str) -> String {
    tidy(text).trim_end_matches(['.', '!', ';', ',']).trim_end().to_lowercase()
}

/// What two spellings of a class share: `metal_nut`, `Metal nut`, `metal-nut`.
pub fn name_key(name: &str) -> String {
    tidy(&name.replace(['_', '-'], " ")).to_lowercase()
}

/// Runs of letters, in lower case; an apostrophe belongs to its word.
pub fn words(text: &str) -> Vec<String> {
    let parts = text.split(|c: char| !(c.is_alphabetic() || c == '\'' || c == '’'));
    parts.filter(|word| !word.is_empty()).map(str::to_lowercase).collect()
}

/// About how many tokens CLIP's tokenizer makes of a text, its two markers included, and rather one
/// or two too many: words count once and once more for every three letters after the third, digits
/// and punctuation singly. Of the 1828 sentences of loupe's own caches this is below the truth for
/// 40, by at most 2, and above it by 1.5 in the mean.
pub fn tokens(text: &str) -> usize {
    let (mut n_tokens, mut n_letters) = (2, 0_usize);
    let word = |n_letters: usize| match n_letters {
        0 => 0,
        n => 1 + n.saturating_sub(3) / 3,
    };
    for c in text.chars() {
        if c.is_ascii_alphabetic() {
            n_letters += 1;
            continue;
        }
        n_tokens += word(n_letters);
        n_letters = 0;
        // Bytes outside ASCII may stay tokens of their own.
        n_tokens += if c.is_whitespace() { 0 } else { c.len_utf8() };
    }
    n_tokens + word(n_letters)
}

/// A brace that is no `{}`: the text from it on, as far as it seems to belong to it.
pub fn stray_brace(text: &str) -> Option<String> {
    let mut rest = text;
    while let Some(at) = rest.find(['{', '}']) {
        rest = rest.get(at..).unwrap_or_default();
        if let Some(after) = rest.strip_prefix(NAME) {
            rest = after;
            continue;
        }
        let end = rest.find('}').map_or(rest.len(), |end| end + 1);
        return Some(shown(rest.get(..end).unwrap_or(rest)));
    }
    None
}

/// Line of a byte of a text, from 1.
pub fn line_at(text: &str, byte: usize) -> usize {
    let before = text.as_bytes().get(..byte).unwrap_or(text.as_bytes());
    1 + before.iter().filter(|byte| **byte == b'\n').count()
}

/// Lines of a text, for many bytes of it.
pub struct Lines {
    starts: Vec<usize>,
}

impl Lines {
    pub fn of(text: &str) -> Lines {
        let ends = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        Lines { starts: std::iter::once(0).chain(ends.map(|(at, _)| at + 1)).collect() }
    }

    /// Line of a byte, from 1.
    pub fn at(&self, byte: usize) -> usize {
        self.starts.partition_point(|start| *start <= byte)
    }
}

/// A file's bytes as text; a UTF-8 byte order mark is passed over.
/// Errors: what the file is instead, and what to do.
pub fn decode(bytes: &[u8]) -> Result<&str, String> {
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        return Err("is UTF-16; save it as UTF-8".to_owned());
    }
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let good = bytes.get(..error.valid_up_to()).unwrap_or_default();
        let line = 1 + good.iter().filter(|byte| **byte == b'\n').count();
        let byte = bytes.get(error.valid_up_to()).copied().unwrap_or_default();
        format!(
            "is not UTF-8: line {line} holds the byte 0x{byte:02x}, as Latin-1 and Windows-1252 \
             write accents and quotes; save it as UTF-8"
        )
    })?;
    if text.trim().is_empty() {
        return Err("is empty".to_owned());
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_meet_in_a_key() {
        assert_eq!(name_key("Metal_nut"), name_key(" metal  NUT"));
        assert_eq!(key("A dent.  "), key("a  dent"));
        assert_ne!(key("a dent"), key("a dented rim"));
    }

    #[test]
    fn a_message_shows_no_control_characters_and_no_novel() {
        assert_eq!(shown("a\u{1b}[31m"), "a\\u{1b}[31m");
        assert_eq!(shown(&"x".repeat(99)).chars().count(), 61);
    }

    #[test]
    fn braces_other_than_the_name_are_found() {
        assert_eq!(stray_brace("a {} of {}"), None);
        assert_eq!(stray_brace("a {} of {object} or {0}").as_deref(), Some("{object}"));
        assert_eq!(stray_brace("a } b").as_deref(), Some("}"));
        assert_eq!(stray_brace("a { b").as_deref(), Some("{ b"));
    }

    #[test]
    fn lines_are_counted_from_one() {
        let text = "a\nbc\n\nd";
        let lines = Lines::of(text);
        for byte in 0..=text.len() {
            assert_eq!(lines.at(byte), line_at(text, byte), "{byte}");
        }
    }

    #[test]
    fn encodings_are_told_apart() {
        assert_eq!(decode(b"\xef\xbb\xbf{}"), Ok("{}"));
        assert!(decode(b"\xff\xfe{\0}\0").unwrap_err().contains("UTF-16"));
        let latin = decode(b"{\n\"caf\xe9\"}").unwrap_err();
        assert!(latin.contains("line 2 holds the byte 0xe9"), "{latin}");
        assert_eq!(decode(b" \n"), Err("is empty".to_owned()));
    }

    #[test]
    fn tokens_are_about_clips() {
        // open_clip 2.24.0's tokenizer gives 14 and 7.
        assert_eq!(tokens("a photo of a a cropped photo of the damaged object."), 17);
        assert_eq!(tokens("a scratch across the thread"), 10);
    }
}
