//! Text as CLIP's tokenizer wants it: entities resolved, quotes straight, white space single.
//!
//! The original first runs the package ftfy. Of it this module does what changes well-formed text:
//! straight quotes, ligatures, full-width forms and control characters. It does not repair text
//! that was decoded with the wrong encoding ("Ã©" stays), and it does not compose accents (NFC).

/// Resolves, straightens, collapses and lower-cases.
pub fn clean(text: &str) -> String {
    let text = if text.contains('<') { text.to_string() } else { unescape(text) };
    let text: String = text.chars().filter_map(plain).collect::<Vec<_>>().concat();
    let text = unescape(&unescape(&text));
    text.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase()
}

/// HTML's character references, as Python's `html.unescape`: numeric ones, those of Latin-1 (also
/// without their semicolon) and common further names. Others stay as they are.
fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('&') {
        let (before, reference) = rest.split_at(at);
        out.push_str(before);
        let body = reference.strip_prefix('&').unwrap_or_default();
        rest = match resolve(body) {
            Some((found, after)) => {
                out.extend(found);
                after
            }
            None => {
                out.push('&');
                body
            }
        };
    }
    out.push_str(rest);
    out
}

/// The character (if it stands for one at all) and the text behind the reference.
fn resolve(body: &str) -> Option<(Option<char>, &str)> {
    if let Some(number) = body.strip_prefix('#') {
        let hex = number.strip_prefix(['x', 'X']);
        let (digits, radix) = hex.map_or((number, 10), |hex| (hex, 16));
        let end = digits.find(|c: char| !c.is_digit(radix)).unwrap_or(digits.len());
        let (digits, after) = digits.split_at(end);
        if digits.is_empty() {
            return None;
        }
        let code = u32::from_str_radix(digits, radix).unwrap_or(u32::MAX);
        return Some((numbered(code), after.strip_prefix(';').unwrap_or(after)));
    }
    let end = body.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(body.len());
    let (name, after) = body.split_at(end);
    if let (Some(found), Some(after)) = (named(name), after.strip_prefix(';')) {
        return Some((Some(found), after));
    }
    // Without a semicolon the longest Latin-1 name counts.
    let longest = (2..=name.len().min(6)).rev().find_map(|n| Some((n, latin_1(name.get(..n)?)?)));
    longest.map(|(n, found)| (Some(found), body.get(n..).unwrap_or_default()))
}

fn numbered(code: u32) -> Option<char> {
    match code {
        0 | 0xD800..=0xDFFF | 0x11_0000.. => Some('\u{FFFD}'),
        0x80..=0x9F => WINDOWS_1252.chars().nth(code as usize - 0x80),
        0x01..=0x08 | 0x0B | 0x0E..=0x1F | 0x7F | 0xFDD0..=0xFDEF => None,
        _ if code & 0xFFFE == 0xFFFE => None,
        _ => char::from_u32(code),
    }
}

fn named(name: &str) -> Option<char> {
    let further = NAMED.iter().find(|(known, _)| *known == name).map(|(_, found)| *found);
    further.or_else(|| latin_1(name))
}

/// The names that HTML accepts without a semicolon.
fn latin_1(name: &str) -> Option<char> {
    match name {
        "amp" | "AMP" => Some('&'),
        "lt" | "LT" => Some('<'),
        "gt" | "GT" => Some('>'),
        "quot" | "QUOT" => Some('"'),
        _ => {
            let index = LATIN_1.split_whitespace().position(|known| known == name)?;
            char::from_u32(160 + index as u32)
        }
    }
}

/// What ftfy makes of one character; `None` for a control character.
fn plain(c: char) -> Option<String> {
    let ligature = match c {
        '\u{2018}'..='\u{201B}' | '\u{02BC}' => "'",
        '\u{201C}'..='\u{201F}' => "\"",
        'ﬀ' => "ff",
        'ﬁ' => "fi",
        'ﬂ' => "fl",
        'ﬃ' => "ffi",
        'ﬄ' => "ffl",
        'ﬅ' => "ſt",
        'ﬆ' => "st",
        'Ĳ' => "IJ",
        'ĳ' => "ij",
        '\u{3000}' => " ",
        '\u{2028}' | '\u{2029}' => "\n",
        '\u{80}'..='\u{9F}' => return numbered(c as u32).map(String::from),
        '\0'..='\u{08}' | '\u{0B}' | '\u{0E}'..='\u{1F}' | '\u{7F}' | '\u{FEFF}' => return None,
        '\u{FF01}'..='\u{FF5E}' => {
            return char::from_u32(c as u32 - 0xFF01 + 0x21).map(String::from);
        }
        _ => return Some(String::from(c)),
    };
    Some(ligature.to_string())
}

/// Names of U+00A0 to U+00FF in order.
const LATIN_1: &str = "nbsp iexcl cent pound curren yen brvbar sect uml copy ordf laquo not \
    shy reg macr deg plusmn sup2 sup3 acute micro para middot cedil sup1 ordm raquo frac14 \
    frac12 frac34 iquest Agrave Aacute Acirc Atilde Auml Aring AElig Ccedil Egrave Eacute \
    Ecirc Euml Igrave Iacute Icirc Iuml ETH Ntilde Ograve Oacute Ocirc Otilde Ouml times \
    Oslash Ugrave Uacute Ucirc Uuml Yacute THORN szlig agrave aacute acirc atilde auml aring \
    aelig ccedil egrave eacute ecirc euml igrave iacute icirc iuml eth ntilde ograve oacute \
    ocirc otilde ouml divide oslash ugrave uacute ucirc uuml yacute thorn yuml";

/// Further names that occur in prompts and captions.
const NAMED: [(&str, char); 36] = [
    ("apos", '\''),
    ("ndash", '–'),
    ("mdash", '—'),
    ("lsquo", '‘'),
    ("rsquo", '’'),
    ("sbquo", '‚'),
    ("ldquo", '“'),
    ("rdquo", '”'),
    ("bdquo", '„'),
    ("hellip", '…'),
    ("bull", '•'),
    ("trade", '™'),
    ("euro", '€'),
    ("prime", '′'),
    ("Prime", '″'),
    ("lsaquo", '‹'),
    ("rsaquo", '›'),
    ("larr", '←'),
    ("uarr", '↑'),
    ("rarr", '→'),
    ("darr", '↓'),
    ("minus", '−'),
    ("infin", '∞'),
    ("asymp", '≈'),
    ("ne", '≠'),
    ("le", '≤'),
    ("ge", '≥'),
    ("ensp", '\u{2002}'),
    ("emsp", '\u{2003}'),
    ("thinsp", '\u{2009}'),
    ("alpha", 'α'),
    ("beta", 'β'),
    ("mu", 'μ'),
    ("pi", 'π'),
    ("sigma", 'σ'),
    ("OElig", 'Œ'),
];

/// What the numbers 0x80 to 0x9F mean in a reference: Windows-1252, not the control characters.
const WINDOWS_1252: &str = "€\u{81}‚ƒ„…†‡ˆ‰Š‹Œ\u{8d}Ž\u{8f}\u{90}‘’“”•–—˜™š›œ\u{9d}žŸ";
