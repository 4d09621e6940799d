use super::*;

fn found(normal: &[&str], anomalous: &[&str]) -> Vec<String> {
    let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    let rules = Rules { names: &["metal nut", "nut"], ..Rules::default() };
    lint(&owned(normal), &owned(anomalous), &rules).iter().map(Finding::to_string).collect()
}

#[test]
fn good_sentences_have_no_findings() {
    let normal = ["a thread without scratches", "a {} with six even flanks", "no rust on the bore"];
    let anomalous = [
        "a metal nut without its coating",
        "an otherwise perfect flank with a dent",
        "a thread that is no longer intact",
        "loss of the normal sheen on one flank",
        "a flawed thread, bent outwards",
    ];
    assert_eq!(found(&normal, &anomalous), Vec::<String>::new());
}

#[test]
fn praise_among_faults_is_found() {
    let cases = [
        ("a testament to years of hard work", "testament"),
        ("a worn edge that shows its resilience", "resilience"),
        ("a flawless thread", "flawless"),
        ("a flank without scratches", "without scratches"),
        ("a bore free of rust", "of rust"),
        ("a normal metal nut on a table", "normal"),
    ];
    for (text, word) in cases {
        let want = format!("anomalous 1: praise-among-faults: says `{word}` of something faulty");
        assert_eq!(found(&[], &[text]), [want]);
    }
}

#[test]
fn faults_among_normal_sentences_are_found() {
    let want = "normal 1: fault-among-normal: says `rust` of something sound";
    assert_eq!(found(&["a thread with some rust"], &[]), [want]);
}

#[test]
fn a_sentence_that_shows_nothing_is_found() {
    for text in ["a damaged metal nut", "this is a faulty {}", "there is a problem with the nuts"] {
        let want = "anomalous 1: nothing-to-see: names nothing that a camera sees";
        assert_eq!(found(&[], &[text]), [want], "{text}");
    }
}

#[test]
fn duplicates_and_conflicts_ignore_case_blanks_and_full_stops() {
    assert_eq!(
        found(&["A dull flank."], &["a deep dent", "a dull flank", "A deep dent."]),
        [
            "anomalous 2: label-conflict: is normal sentence 1 as well",
            "anomalous 3: duplicate: stands there already, as number 1"
        ]
    );
}

#[test]
fn form_is_checked() {
    let long = "a deep gouge ".repeat(40);
    let got = found(&["a {classname} with flanks"], &["a dent\u{200b} in it", " a  dent", &long]);
    assert_eq!(
        got,
        [
            "normal 1: placeholder: holds `{classname}`; the name is written `{}`",
            "anomalous 1: unseen-character: holds U+200B, which nobody sees",
            "anomalous 2: blanks: has blanks at its ends, or several in a row",
            "anomalous 3: too-long: has about 122 tokens, but 77 are read",
            "anomalous 3: blanks: has blanks at its ends, or several in a row",
        ]
    );
    let rules = Rules { context: 24, wrap: Some("a photo of a {}."), ..Rules::default() };
    let text = "a dent in the flank ".repeat(4).trim().to_owned();
    let got = lint(&[], &[text], &rules);
    assert_eq!(got[0].why, "has about 27 tokens, but 24 are read");
}
