//! Files that cannot be loaded, each with its own words.

use std::fs;
use std::time::Duration;

use expect_test::{Expect, expect};

use super::super::info::Kind;
use super::super::{Catalog, ElfError, elf};
use super::{Workshop, create, load, load_tried};

const PATIENCE: Duration = Duration::from_secs(30);

/// Builds `hostile.c` with the switches and expects the reason for which it is refused.
fn check(switches: &[&str], expected: Expect) {
    let workshop = Workshop::new();
    let loader = load(&[&workshop.build("bad", "hostile", switches)]);
    assert_eq!(loader.components().count(), 0);
    expected.assert_eq(&workshop.reasons(&loader));
}

/// The same, tried in a child process.
fn check_tried(switches: &[&str], limit: Duration, expected: Expect) {
    let workshop = Workshop::new();
    let loader = load_tried(&[&workshop.build("bad", "hostile", switches)], limit, None);
    assert_eq!(loader.components().count(), 0);
    expected.assert_eq(&workshop.reasons(&loader));
}

#[test]
fn without_a_switch_it_loads() {
    let workshop = Workshop::new();
    let path = workshop.build("good", "hostile", &[]);
    for loader in [load(&[&path]), load_tried(&[&path], PATIENCE, None)] {
        assert_eq!(workshop.reasons(&loader), "");
        assert_eq!(loader.names(Kind::Fusion), ["sum-in-c"]);
        let info = loader.component(Kind::Fusion, "sum-in-c").unwrap();
        assert_eq!((info.plugin.as_str(), info.revision, info.fits), ("hostile", 1, false));
        assert_eq!(info.binary, *blake3::hash(&fs::read(&path).unwrap()).as_bytes());
    }
}

#[test]
fn a_text_file_is_no_library() {
    let workshop = Workshop::new();
    let path = workshop.folder.path().join("notes.so");
    fs::write(&path, "a shopping list").unwrap();
    let missing = workshop.folder.path().join("missing.so");
    expect![[r#"
        missing.so: there is no such file or folder
        notes.so: is not a shared library: it does not start with the ELF mark"#]]
    .assert_eq(&workshop.reasons(&load(&[&path, &missing])));
}

#[test]
fn truncated_at_any_length_it_is_refused() {
    let workshop = Workshop::new();
    let whole = fs::read(workshop.build("whole", "hostile", &[])).unwrap();
    assert_eq!(elf::check(&whole), Ok(()));
    for len in (0..whole.len()).step_by(97).chain([whole.len() - 1]) {
        let error = elf::check(&whole[..len]).unwrap_err();
        match len {
            0..4 => assert_eq!(error, ElfError::Magic),
            _ => assert!(matches!(error, ElfError::Truncated { .. }), "{len}: {error}"),
        }
    }
    for (name, len) in [("a.so", 3), ("b.so", 40), ("c.so", 200), ("d.so", 5000)] {
        fs::write(workshop.folder.path().join(name), &whole[..len]).unwrap();
    }
    fs::remove_file(workshop.folder.path().join("whole.so")).unwrap();
    let loader = load(&[workshop.folder.path()]);
    expect![[r#"
        a.so: is not a shared library: it does not start with the ELF mark
        b.so: is truncated: the ELF header would end at byte 64, but the file has 40
        c.so: is truncated: the program headers would end at byte 568, but the file has 200
        d.so: is truncated: a segment would end at byte 5665, but the file has 5000"#]]
    .assert_eq(&workshop.reasons(&loader));
}

#[test]
fn another_machine_or_a_program_is_refused() {
    let workshop = Workshop::new();
    let whole = fs::read(workshop.build("whole", "hostile", &[])).unwrap();
    let edited = |at: usize, byte: u8| {
        let mut bytes = whole.clone();
        bytes[at] = byte;
        elf::check(&bytes).unwrap_err().to_string()
    };
    expect![[r#"
        was built for another machine: x86-64 is wanted, but the file is for ELF machine 40"#]]
    .assert_eq(&edited(18, 40));
    expect![[r#"
        was built for another machine: x86-64 is wanted, but the file is not 64-bit little-endian"#]].assert_eq(&edited(4, 1));
    expect!["is not a shared library: its ELF type is 2, 3 is wanted"].assert_eq(&edited(16, 2));
    expect!["is damaged: its program headers have an unknown size"].assert_eq(&edited(54, 9));
}

#[test]
fn linking() {
    check(
        &["NO_SYMBOL"],
        expect![[r#"
        bad.so: is not a loupe plugin: the symbol `loupe_plugin` is missing"#]],
    );
    check(
        &["UNDEFINED"],
        expect![[r#"
        bad.so: cannot be linked: bad.so: undefined symbol: there_is_no_such_function"#]],
    );
}

#[test]
fn the_descriptor() {
    check(&["NO_DESCRIPTOR"], expect!["bad.so: its entry gave no descriptor"]);
    check(
        &["ABI=2"],
        expect![[r#"
        bad.so: speaks plugin boundary 2, but this engine speaks 1; rebuild the plugin"#]],
    );
    check(
        &["ABORTS"],
        expect![[
            r#"bad.so: was built with `panic = "abort"`, so that a panic in it would end the engine; build it with `panic = "unwind"`"#
        ]],
    );
    check(
        &["TOO_MANY"],
        expect![[r#"
        bad.so: its list of components has 4000000000 entries, at most 256 are allowed"#]],
    );
    check(&["NULL_COMPONENT"], expect!["bad.so: component 0 is null"]);
    check(&["DUPLICATE"], expect!["bad.so: it has two components fusion `sum-in-c`"]);
}

#[test]
fn components() {
    check(&["NO_SIZE"], expect!["bad.so: component 0 says that it has 0 bytes"]);
    check(
        &["UNKNOWN_KIND"],
        expect![[r#"
        bad.so: `sum-in-c` is of unknown kind `loupe.wizard/1`; this engine knows `loupe.encoder/1`, `loupe.prompts/1`, `loupe.scorer/1`, `loupe.fusion/1`"#]],
    );
    check(&["NULL_NAME"], expect!["bad.so: the name of component 0 is null"]);
    check(&["BAD_NAME"], expect!["bad.so: the name of component 0 is not UTF-8"]);
    check(
        &["PATH_NAME"],
        expect![[r#"
        bad.so: component 0 is named `../sum`; letters, digits, `-` and `_` are allowed"#]],
    );
    check(&["NULL_CREATE"], expect!["bad.so: fusion `sum-in-c`: its function `create` is null"]);
    check(&["NULL_RUN"], expect!["bad.so: fusion `sum-in-c`: its function `run` is null"]);
    check(
        &["NULL_FIT_PUSH"],
        expect![[r#"
        bad.so: fusion `sum-in-c`: its function `fit_push` is null"#]],
    );
    check(
        &["BAD_SCHEMA"],
        expect![[r#"
        bad.so: fusion `sum-in-c`: its schema is not JSON: EOF while parsing a value at line 1 column 18"#]],
    );
    check(
        &["SCHEMA_OF_A_LIST"],
        expect![[
            r#"bad.so: fusion `sum-in-c`: its schema is not that of an object (`"type": "object"`)"#
        ]],
    );
}

#[test]
fn ports() {
    check(
        &["BAD_PORT_KIND"],
        expect![[r#"
        bad.so: fusion `sum-in-c`: port 1, `map`, has unknown kind 0x400"#]],
    );
    check(
        &["BAD_PORT_SHAPE"],
        expect![[r#"
        bad.so: fusion `sum-in-c`: port 1, `map`, has a bad shape: it has `?`; a dimension is a name, a number or a leading `...`"#]],
    );
    check(
        &["NO_PORT_SHAPE"],
        expect![[r#"
        bad.so: fusion `sum-in-c`: port 1, `map`, takes tensors but has no shape"#]],
    );
    check(
        &["TWO_PORTS_OF_ONE_NAME"],
        expect![[r#"
        bad.so: fusion `sum-in-c`: it has two ports `map` of one verb and direction"#]],
    );
}

#[test]
fn a_crash_a_loop_and_an_exit_end_the_child_only() {
    check_tried(&["CRASH"], PATIENCE, expect!["bad.so: crashed while loading (signal 11)"]);
    check_tried(
        &["LOOP"],
        Duration::from_millis(500),
        expect![[r#"
        bad.so: did not load within 0.5 s and was stopped"#]],
    );
    check_tried(
        &["EXIT"],
        PATIENCE,
        expect![[r#"
        bad.so: ended the process that loaded it (exit status: 0)"#]],
    );
    check_tried(
        &["ABI=2"],
        PATIENCE,
        expect![[r#"
        bad.so: speaks plugin boundary 2, but this engine speaks 1; rebuild the plugin"#]],
    );
}

#[test]
fn a_component_from_an_older_header_loads() {
    let workshop = Workshop::new();
    let loader = load(&[&workshop.build("old", "hostile", &["OLDER"])]);
    assert_eq!(workshop.reasons(&loader), "");
    assert!(create(&loader, Kind::Fusion, "sum-in-c").is_ok());
    let facts = loader.facts(Kind::Fusion, "sum-in-c", &serde_json::json!({}));
    assert_eq!(facts, Ok(Default::default()));
}

#[test]
fn the_first_of_two_files_keeps_a_component() {
    let workshop = Workshop::new();
    let first = workshop.build("first", "hostile", &[]);
    let second = workshop.build("second", "hostile", &["GIVES_F64"]);
    let copy = workshop.folder.path().join("copy.so");
    fs::copy(&first, &copy).unwrap();
    let loader = load(&[&first, &copy, &second]);
    assert_eq!(loader.component(Kind::Fusion, "sum-in-c").unwrap().path, first);
    expect![[r#"
        second.so: fusion `sum-in-c` is in `FOLDER/first.so` already, which is used"#]]
    .assert_eq(&workshop.reasons(&loader));
}

#[test]
fn a_file_may_change_under_a_loaded_plugin() {
    let workshop = Workshop::new();
    let path = workshop.build("plugin", "hostile", &[]);
    let old = load(&[&path]);
    fs::write(&path, "overwritten").unwrap();
    assert!(create(&old, Kind::Fusion, "sum-in-c").is_ok());
    workshop.build("plugin", "hostile", &["BAD_CONFIG"]);
    let new = load(&[&path]);
    assert!(create(&new, Kind::Fusion, "sum-in-c").is_err());
    assert!(create(&old, Kind::Fusion, "sum-in-c").is_ok());
}

#[test]
fn a_try_is_remembered_by_the_bytes() {
    let workshop = Workshop::new();
    let (good, bad) =
        (workshop.build("good", "hostile", &[]), workshop.build("bad", "hostile", &["CRASH"]));
    let memory = workshop.folder.path().join("memory");
    let notes = || {
        let entries = fs::read_dir(&memory).into_iter().flatten().flatten();
        let mut notes: Vec<_> = entries.map(|entry| entry.path()).collect();
        notes.sort();
        notes
    };
    let first = load_tried(&[&good, &bad], PATIENCE, Some(memory.clone()));
    assert_eq!(notes().len(), 2);
    // No time at all: only what is remembered can pass.
    let again = load_tried(&[&good, &bad], Duration::ZERO, Some(memory.clone()));
    for loader in [&first, &again] {
        assert_eq!(loader.components().count(), 1);
        expect![[r#"
        bad.so: crashed while loading (signal 11)"#]]
        .assert_eq(&workshop.reasons(loader));
    }
    for note in notes() {
        fs::write(note, "{").unwrap();
    }
    let unread = load_tried(&[&good], PATIENCE, Some(memory.clone()));
    assert_eq!(unread.components().count(), 1);
    let digest = blake3::hash(&fs::read(&good).unwrap()).to_hex();
    let note = fs::read_to_string(memory.join(format!("abi1-{digest}.json"))).unwrap();
    assert_eq!(note, r#"{"signal":0}"#);
}
