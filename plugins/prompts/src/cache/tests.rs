use super::*;
use std::time::{Duration, Instant};

const GOOD: &str = r#"# Two classes.
# For tests.
loupe_prompts = 1

[[entry]]
class = "bottle"
aliases = ["glass bottle"]
model = "hand-written"
template = "faults@1"
note = "the photographs look into the neck"
normal = [
    "a round \"mouth\" with an even rim",
]
anomalous = [
    "a chip in the rim",
    "a chip in the rim",
]

[[entry]]
class = "cable"
model = "m-1"
template = "faults@1"
request = "blake3:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
asked = { count = 12, temperature = 0.7, seed = 3 }
usage = { requests = 1, prompt_tokens = 80, completion_tokens = 300 }
normal = [
    "three wires in a round sheath",
]
anomalous = [
    "a wire that lacks its strands",
]
"#;

fn message(text: impl AsRef<[u8]>) -> String {
    read("p.toml", text.as_ref()).unwrap_err().to_string()
}

/// An entry with one line changed.
fn with(key: &str, line: &str) -> String {
    let lines = GOOD.lines().map(|old| if old.starts_with(key) { line } else { old });
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn what_is_read_is_written_byte_for_byte() {
    let cache = read("p.toml", GOOD.as_bytes()).unwrap();
    assert_eq!(write(&cache), GOOD);
    assert_eq!(cache.entries[0].anomalous.len(), 2, "duplicates weigh double, so they stay");
    assert_eq!(cache.entries[1].asked.unwrap().temperature, Some(0.7));
}

#[test]
fn order_and_spelling_of_the_file_do_not_matter() {
    let (top, entries) = GOOD.split_once("\n[[entry]]").unwrap();
    let (bottle, cable) = entries.split_once("\n[[entry]]").unwrap();
    let turned = format!("{top}\n[[entry]]{cable}\n[[entry]]{bottle}").replace("\n", "\r\n");
    assert_eq!(write(&read("p.toml", turned.as_bytes()).unwrap()), GOOD);
}

#[test]
fn an_entry_is_found_by_class_alias_and_synonym() {
    let cache = read("p.toml", GOOD.as_bytes()).unwrap();
    let found = |names: &[&str]| cache.about(names, HAND_WRITTEN, "faults@1").len();
    assert_eq!(found(&["Glass_Bottle"]), 1);
    assert_eq!(found(&["flask", "bottle"]), 1);
    assert_eq!(found(&["cable"]), 0, "that one is by m-1");
}

#[test]
fn an_entry_is_replaced_in_place() {
    let mut cache = read("p.toml", GOOD.as_bytes()).unwrap();
    let mut new = cache.entries[0].clone();
    (new.aliases, new.note) = (vec!["jar".into()], None);
    new.normal = vec!["a clear body".into()];
    cache.put(new);
    assert_eq!(cache.entries.len(), 2);
    assert_eq!(cache.entries[0].aliases, ["jar", "glass bottle"]);
    assert!(cache.entries[0].note.is_some());
    assert_eq!(cache.classes(), ["bottle", "cable"]);
}

#[test]
fn mistakes_name_file_line_entry_and_what_to_do() {
    let cases = [
        (with("loupe_prompts", "loupe_prompts = 2"), "`p.toml` is a prompt cache of format 2"),
        (with("loupe_prompts", ""), "line 5: a prompt cache begins with `loupe_prompts = 1`"),
        ("# nothing".to_owned(), "but this is `the end`"),
    ];
    for (text, want) in &cases {
        let got = message(text);
        assert!(got.contains(want), "{got}");
    }
    let got = message(with("model = \"m-1", "model = 3"));
    assert!(got.starts_with("`p.toml` line 21: "), "{got}");
    assert!(got.contains("expected a string"), "{got}");
    let got = message(with("class = \"cable", "clas = \"cable\""));
    assert!(got.starts_with("`p.toml` line 20: unknown field `clas`"), "{got}");
    let got = message(with("request", "request = \"blake3:12\""));
    assert!(got.starts_with("`p.toml` line 23, entry `cable`: `request` wants `blake3:`"), "{got}");
    let got = message(with("    \"a wire", "    \"a {object} with a cut\","));
    assert!(
        got.contains("line 30, entry `cable`: a sentence of `anomalous` holds `{object}`"),
        "{got}"
    );
    let got = message(with("    \"a wire", "    \" \","));
    assert!(got.contains("is empty; take it out"), "{got}");
    let got = message("loupe_prompts = 1\n[[entry]]\nclass=\"a\"\nmodel=\"m\"\ntemplate=\"t\"\n");
    assert!(got.starts_with("`p.toml` line 2, entry `a`: has no sentences"), "{got}");
}

#[test]
fn an_entry_stands_once_under_each_of_its_names() {
    let again = GOOD.replace(
        "class = \"cable\"\nmodel = \"m-1\"",
        "class = \"Glass_bottle\"\nmodel = \"hand-written\"",
    );
    let again = again.replace("request = ", "note = ");
    let got = message(&again);
    assert!(got.contains("entry `Glass_bottle`: `Glass_bottle` by model `hand-written`"), "{got}");
    assert!(got.contains("line 5 has it already; keep one of the two"), "{got}");
}

#[test]
fn characters_that_nobody_sees_are_refused() {
    for hidden in ["\\u0007", "\\u202E", "\\u200B", "\\n", "\\uFEFF"] {
        let got = message(with("    \"a wire", &format!("    \"a cut {hidden} wire\",")));
        assert!(got.contains("which nobody sees; take it out"), "{hidden}: {got}");
    }
    let got = message(with("class = \"cable", "class = \"ca\\u001Bble\""));
    assert!(got.contains("entry `ca\\u{1b}ble`: `class` holds the character U+001B"), "{got}");
}

#[test]
fn hostile_files_are_answered_in_bounded_time() {
    let start = Instant::now();
    let huge = vec![b'#'; crate::limits::MAX_CACHE_BYTES + 1];
    assert!(message(huge).contains("but a prompt cache is read up to 4194304"));
    let entry = |list: &str| {
        format!("loupe_prompts = 1\n[[entry]]\nclass=\"a\"\nmodel=\"m\"\ntemplate=\"t\"\n{list}")
    };
    let many = entry(&format!("normal = [\n{}]", "\"a dent\",\n".repeat(100_000)));
    let got = message(many);
    assert!(
        got.contains("line 20007, entry `a`: `normal` has 100000 sentences, but 20000"),
        "{got}"
    );
    let long = message(entry(&format!("normal = [\"{}\"]", "x".repeat(1 << 20))));
    assert!(long.contains("has 1048576 bytes, but 2000 are read"), "{long}");
    assert!(long.len() < 400, "a message quotes no novel");
    let deep = message(entry(&format!("normal = {}", "[".repeat(1 << 18))));
    assert!(deep.starts_with("`p.toml` line 6: "), "{deep}");
    let dotted = message(entry(&format!("{}z = 1", "a.".repeat(1 << 17))));
    assert!(dotted.starts_with("`p.toml` line"), "{dotted}");
    let entries = format!("loupe_prompts = 1\n{}", "[[entry]]\n".repeat(50_000));
    assert!(message(entries).contains("missing field"));
    let named =
        |i| format!("[[entry]]\nclass=\"c{i}\"\nmodel=\"m\"\ntemplate=\"t\"\nnormal=[\"x\"]\n");
    let entries: String = (0..2_000).map(named).collect();
    let got = message(format!("loupe_prompts = 1\n{entries}"));
    assert!(got.contains("2000 entries, but 1000 are read; split the file"), "{got}");
    assert!(message(b"loupe_prompts = 1\n\xff\xfe".as_slice()).contains("is not UTF-8: line 2"));
    // Far above the second that it takes: what this catches grows without bound.
    assert!(start.elapsed() < Duration::from_secs(60), "{:?}", start.elapsed());
}
