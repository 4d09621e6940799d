//! Sentence files of FADE, CLIP-LMFA and ClipMPCAD: one JSON schema, read unchanged from the user's
//! folder. None is shipped.

use loupe_plugin::prelude::*;
use serde::Deserialize;
use serde_json::Value;

use crate::limits::{MAX_FILE_BYTES, MAX_SENTENCE_BYTES, MAX_SENTENCES};
use crate::sets::PromptSet;
use crate::words::{Lines, NAME, decode, shown, stray_brace};

/// `{"normal": {"instruction": "..", "prompts": [..]}, "abnormal": {..}}` with `{classname}` in the
/// sentences. `instruction` is what an LLM was asked; nothing reads it.
#[derive(Deserialize)]
#[serde(expecting = "a table")]
struct RawFile {
    normal: RawPrompts,
    abnormal: RawPrompts,
}

#[derive(Deserialize)]
#[serde(expecting = "{\"prompts\": [..]}")]
struct RawPrompts {
    prompts: Vec<String>,
}

const WANTS: &str = "wants {\"normal\": {\"prompts\": [..]}, \"abnormal\": {\"prompts\": [..]}}";

/// A set from the bytes of such a file. Duplicates stay: they weigh double. `{}` means the name, as
/// `{classname}` does: one of ClipMPCAD's files writes it so, though its own loader leaves it.
/// Errors: `config` naming the file, the place, and what to do.
pub(crate) fn from_file(path: &str, bytes: &[u8]) -> Result<PromptSet> {
    let refuse = |why: String| Err(Error::config(format!("`{path}` {why}")));
    if bytes.len() > MAX_FILE_BYTES {
        let n_bytes = bytes.len();
        return refuse(format!(
            "has {n_bytes} bytes, but a prompt file is read up to {MAX_FILE_BYTES}; split it"
        ));
    }
    let text = match decode(bytes) {
        Ok(text) => text,
        Err(why) => return refuse(format!("{why}; it is to be a prompt file, which {WANTS}")),
    };
    let raw: RawFile = match serde_json::from_str(text) {
        Ok(raw) => raw,
        Err(error) => return refuse(instead(text, &error)),
    };
    let placed = |key: &str, raw: RawPrompts| -> Result<Vec<String>> {
        if raw.prompts.len() > MAX_SENTENCES {
            return Err(Error::config(format!(
                "`{path}` has {} sentences under `{key}`, but {MAX_SENTENCES} are read; more do \
                 not make a better text model",
                raw.prompts.len()
            )));
        }
        let one = |(at, text): (usize, &String)| {
            sentence(text).map_err(|why| {
                Error::config(format!("`{path}`: sentence {} of `{key}` {why}", at + 1))
            })
        };
        raw.prompts.iter().enumerate().map(one).collect()
    };
    let source = file_name(path);
    let (normal, anomalous) = (placed("normal", raw.normal)?, placed("abnormal", raw.abnormal)?);
    if normal.is_empty() && anomalous.is_empty() {
        return refuse("has no sentences under `normal` or `abnormal`".to_owned());
    }
    Ok(PromptSet { source, normal, anomalous })
}

/// The name and the sentences of a plain list: one a line, empty lines and those that begin with
/// `#` left out. Errors: `config` naming the file and the line.
pub(crate) fn from_list(path: &str, text: &str) -> Result<(String, Vec<String>)> {
    if text.len() > MAX_FILE_BYTES {
        let n_bytes = text.len();
        return Err(Error::config(format!(
            "`{path}` has {n_bytes} bytes, but a list is read up to {MAX_FILE_BYTES}; split it"
        )));
    }
    let text = decode(text.as_bytes()).map_err(|why| Error::config(format!("`{path}` {why}")))?;
    let mut texts = Vec::new();
    for (line_idx, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        texts.push(sentence(line).map_err(|why| {
            Error::config(format!("`{path}` line {}: the sentence {why}", line_idx + 1))
        })?);
        if texts.len() > MAX_SENTENCES {
            return Err(Error::config(format!(
                "`{path}` has more than {MAX_SENTENCES} sentences, which are read; more do not \
                 make a better text model"
            )));
        }
    }
    match texts.is_empty() {
        true => Err(Error::config(format!("`{path}` has no sentences, one a line"))),
        false => Ok((file_name(path), texts)),
    }
}

/// Lines of the normal and of the anomalous sentences of a text that `from_file` accepts.
pub(crate) fn sentence_lines(text: &str) -> [Vec<usize>; 2] {
    let index = Lines::of(text);
    let bytes = text.as_bytes();
    let mut lines = [Vec::new(), Vec::new()];
    // Containers around the place, each with its last key; a list has none.
    let mut around: Vec<Option<&str>> = Vec::new();
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'{' => around.push(Some("")),
            b'[' => around.push(None),
            b'}' | b']' => {
                around.pop();
            }
            b'"' => {
                let end = string_end(bytes, at);
                match (around.last_mut(), followed_by_colon(bytes, end)) {
                    (Some(Some(key)), true) => *key = text.get(at + 1..end).unwrap_or_default(),
                    _ => match around.as_slice() {
                        [Some("normal"), Some("prompts"), None] => lines[0].push(index.at(at)),
                        [Some("abnormal"), Some("prompts"), None] => lines[1].push(index.at(at)),
                        _ => {}
                    },
                }
                at = end;
            }
            _ => {}
        }
        at += 1;
    }
    lines
}

/// The quotation mark that ends the string which begins at `at`.
fn string_end(bytes: &[u8], at: usize) -> usize {
    let mut end = at + 1;
    while let Some(byte) = bytes.get(end).filter(|byte| **byte != b'"') {
        end += if *byte == b'\\' { 2 } else { 1 };
    }
    end
}

fn followed_by_colon(bytes: &[u8], end: usize) -> bool {
    let rest = bytes.get(end + 1..).unwrap_or_default();
    rest.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b':')
}

fn file_name(path: &str) -> String {
    path.rsplit(['/', '\\']).next().unwrap_or(path).to_owned()
}

fn sentence(text: &str) -> Result<String, String> {
    if text.len() > MAX_SENTENCE_BYTES {
        let n_bytes = text.len();
        return Err(format!(
            "has {n_bytes} bytes, but {MAX_SENTENCE_BYTES} are read; CLIP sees 77 tokens of it: \
             shorten it"
        ));
    }
    if let Some(c) = text.chars().find(|c| c.is_control() && !c.is_whitespace()) {
        return Err(format!("holds the control character U+{:04X}; take it out", c as u32));
    }
    if text.trim().is_empty() {
        return Err("is empty; take it out".to_owned());
    }
    let text = text.replace("{classname}", NAME);
    match stray_brace(&text) {
        None => Ok(text),
        Some(brace) => Err(format!("holds `{brace}`; the class's name is written `{{classname}}`")),
    }
}

/// What a file is that is no prompt file.
fn instead(text: &str, error: &serde_json::Error) -> String {
    let value = match serde_json::from_str::<Value>(text) {
        Err(_) => return format!("is no JSON ({}); {WANTS}", shown(&error.to_string())),
        Ok(value) => value,
    };
    let Some(object) = value.as_object() else {
        return format!("is no prompt file; {WANTS}");
    };
    let has = |key: &str| object.contains_key(key);
    let npm = ["name", "version", "main", "scripts", "dependencies", "devDependencies", "license"];
    let n_npm = npm.iter().filter(|key| has(key)).count();
    if !has("normal") && !has("abnormal") && n_npm > 1 {
        return "is an npm package's manifest that lies among the prompt files; leave it out of \
                `files`"
            .to_owned();
    }
    let keys: Vec<String> = object.keys().take(5).map(|key| format!("`{}`", shown(key))).collect();
    let keys = if keys.is_empty() { "none".to_owned() } else { keys.join(", ") };
    format!("is no prompt file ({}; its keys: {keys}); {WANTS}", shown(&error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(bytes: impl AsRef<[u8]>) -> String {
        from_file("prompts/own.json", bytes.as_ref()).unwrap_err().to_string()
    }

    fn file(normal: &str, anomalous: &str) -> String {
        format!(
            r#"{{"abnormal": {{"instruction": "", "prompts": [{anomalous}]}},
                "normal": {{"instruction": "", "prompts": [{normal}]}}}}"#
        )
    }

    #[test]
    fn a_file_is_read_in_its_order_with_its_duplicates() {
        let text = file(r#""a {classname}""#, r#""bad {classname}", "bad {classname}", "x {}""#);
        let set = from_file("prompts/own.json", text.as_bytes()).unwrap();
        assert_eq!((set.source.as_str(), set.normal[0].as_str()), ("own.json", "a {}"));
        assert_eq!(set.anomalous, ["bad {}", "bad {}", "x {}"]);
        let marked = [b"\xef\xbb\xbf", text.as_bytes()].concat();
        assert_eq!(from_file("own.json", &marked).unwrap().anomalous.len(), 3);
    }

    #[test]
    fn sentences_know_their_lines() {
        let text = "{\n\"normal\": {\"x\": [\"no\"], \"prompts\": \
                    [\"a \\\"]\\\"\",\n\n\"b: c\"]},\n\
                    \"abnormal\" : {\"prompts\":\n[\"d\", \"e\"]}}";
        let set = from_file("own.json", text.as_bytes()).unwrap();
        assert_eq!((set.normal.len(), set.anomalous.len()), (2, 2));
        assert_eq!(sentence_lines(text), [vec![2, 4], vec![6, 6]]);
    }

    #[test]
    fn a_plain_list_has_one_sentence_a_line() {
        let text = "\u{feff}# by hand\n a {classname} with rust \r\n\n  bent pins\n";
        let (name, texts) = from_list("x/rust.txt", text).unwrap();
        assert_eq!(
            (name.as_str(), texts.as_slice()),
            ("rust.txt", ["a {} with rust", "bent pins"].map(String::from).as_slice())
        );
        let message = |text: &str| from_list("rust.txt", text).unwrap_err().to_string();
        assert_eq!(
            message("a dent\na {b}"),
            "`rust.txt` line 2: the sentence holds `{b}`; the class's name is written `{classname}`"
        );
        assert!(
            message("a\u{1b}[2J")
                .contains("line 1: the sentence holds the control character U+001B")
        );
        assert!(message(&"a dent\n".repeat(100_000)).contains("more than 20000 sentences"));
        assert!(message("# nothing\n").contains("has no sentences"));
    }

    #[test]
    fn what_a_file_is_instead_is_said() {
        let manifest = r#"{"name": "x", "version": "1.0.0", "scripts": {}, "license": "ISC"}"#;
        let cases: [(&[u8], &str); 9] = [
            (b"{\"normal\": 3}", "invalid type: integer `3`, expected {\"prompts\": [..]}"),
            (b"[]", "`prompts/own.json` is no prompt file; wants {"),
            (b" ", "is empty; it is to be a prompt file, which wants {\"normal\""),
            (b"{\"normal\": 3", "is no JSON"),
            (b"{\"prompts\": []}", "its keys: `prompts`); wants"),
            (manifest.as_bytes(), "is an npm package's manifest that lies among the prompt files"),
            (b"\xff\xfe{\0}\0", "is UTF-16; save it as UTF-8"),
            (b"{\"normal\": \"\xe9\"}", "holds the byte 0xe9"),
            (b"{\"normal\": {\"prompts\": [3]}}", "expected a string"),
        ];
        for (bytes, want) in cases {
            let got = message(bytes);
            assert!(got.contains(want), "{got}");
        }
    }

    #[test]
    fn hostile_sentences_are_named() {
        let got = message(file(r#""a", "the {object}""#, ""));
        assert!(got.contains("sentence 2 of `normal` holds `{object}`"), "{got}");
        let got = message(file("", "\"a\\u0000b\""));
        assert!(
            got.contains("sentence 1 of `abnormal` holds the control character U+0000"),
            "{got}"
        );
        let many = message(file("", &vec!["\"a dent\""; 100_000].join(",")));
        assert!(many.contains("has 100000 sentences under `abnormal`, but 20000"), "{many}");
        let long = message(file(&format!("\"{}\"", "x".repeat(1 << 20)), ""));
        assert!(
            long.contains("has 1048576 bytes, but 2000 are read") && long.len() < 300,
            "{long}"
        );
        let huge = message(vec![b' '; MAX_FILE_BYTES + 1]);
        assert!(huge.contains("is read up to 8388608; split it"), "{huge}");
        let deep = message("[".repeat(1 << 20));
        assert!(deep.contains("is no JSON"), "{deep}");
        assert!(message(file("", "")).contains("has no sentences"));
    }
}
