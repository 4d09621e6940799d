//! Token ids against open_clip's tokenizer.

mod common;

use loupe_clip::tokenizer::Tokenizer;

#[test]
fn ids_equal_open_clip() {
    let tokenizer = Tokenizer::default();
    let recorded = common::bytes("tokens.json");
    let cases: serde_json::Value = serde_json::from_slice(&recorded).unwrap();
    let mut wrong = Vec::new();
    for case in cases.as_array().unwrap() {
        let text = case["text"].as_str().unwrap();
        let want: Vec<u32> = serde_json::from_value(case["ids"].clone()).unwrap();
        let got = tokenizer.encode(text, 77);
        if got != want {
            wrong.push(format!("{text:?}\n  got  {got:?}\n  want {want:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Recorded from ClipMPCAD's own copy of the tokenizer.
#[test]
fn ids_equal_clipmpcads() {
    let recorded = common::bytes("../../../tests/golden/clipmpcad/ops.json");
    let recorded: serde_json::Value = serde_json::from_slice(&recorded).unwrap();
    let cases = recorded["tokens"].as_object().unwrap();
    assert_eq!(cases.len(), 9);
    for (text, ids) in cases {
        let want: Vec<u32> = serde_json::from_value(ids.clone()).unwrap();
        assert_eq!(Tokenizer::default().encode(text, 77), want, "{text:?}");
    }
}

#[test]
fn a_long_sentence_ends_with_the_end_marker() {
    let tokenizer = Tokenizer::default();
    assert_eq!(tokenizer.encode("a a a a a", 4), [49_406, 320, 320, 49_407]);
    assert_eq!(tokenizer.encode("", 77), [49_406, 49_407]);
}
