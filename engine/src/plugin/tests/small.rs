//! Leaves without a plugin: shapes, search, files, random numbers.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use expect_test::expect;
use serde_json::json;

use super::super::find::beside;
use super::super::shape::{Bind, Bindings, validate};
use super::super::{HostServices, StageHost, Tensor, files_of, find_named};
use super::host;

#[test]
fn names_of_dimensions_agree_within_a_call() {
    let mut bound = Bindings::default();
    assert_eq!(bound.fit("b gh gw d", &[1, 2, 3, 4], Bind::Strict), Ok(()));
    assert_eq!(bound.fit("n d", &[9, 4], Bind::Strict), Ok(()));
    assert_eq!(bound.fit("... d", &[7, 7, 4], Bind::Strict), Ok(()));
    assert_eq!(bound.fit("b 3", &[1, 3], Bind::Check), Ok(()));
    let wrong = |shape: &str, dims: &[usize]| {
        Bindings::fit(&mut bound.clone(), shape, dims, Bind::Strict).unwrap_err()
    };
    expect![[r#"
        wants shape `[b, gh, gw]`, but got [1, 2, 4], where `gw` is 3"#]]
    .assert_eq(&wrong("b gh gw", &[1, 2, 4]));
    expect!["wants shape `[b, gh, gw]`, but got [1, 2]"].assert_eq(&wrong("b gh gw", &[1, 2]));
    expect!["wants shape `[b, 3]`, but got [1, 4]"].assert_eq(&wrong("b 3", &[1, 4]));
    expect![[r#"
        wants shape `[m, m]`, but got [5, 6], where `m` is 5"#]]
    .assert_eq(&wrong("m m", &[5, 6]));
    expect!["wants shape `[..., gh, gw]`, but got [3]"].assert_eq(&wrong("... gh gw", &[3]));
}

#[test]
fn tensors_of_a_list_may_differ() {
    let mut bound = Bindings::default();
    for side in [2, 3] {
        assert_eq!(bound.fit("b s", &[1, side], Bind::Loose), Ok(()));
    }
    assert_eq!(bound.fit("b s", &[1, 9], Bind::Check), Ok(()));
    assert!(bound.fit("b s", &[2, 9], Bind::Check).is_err());
}

#[test]
fn a_declared_shape_is_checked() {
    assert_eq!(validate("... b 3 n_prefix"), Ok(()));
    assert_eq!(validate(""), Ok(()));
    assert!(validate("b ...").is_err() && validate("b -1").is_err());
    assert!(validate("a b c d e f g h i").is_err());
}

#[test]
fn a_folder_gives_its_libraries_by_name_and_once() {
    let folder = tempfile::tempdir().unwrap();
    // A macro is a library for the compiler.
    for name in ["b.so", "a.so", "c.txt", "libloupe_plugin_derive.so"] {
        fs::write(folder.path().join(name), "").unwrap();
    }
    let (a, b) = (folder.path().join("a.so"), folder.path().join("b.so"));
    let again = folder.path().join(".").join("a.so");
    let nothing = folder.path().join("nothing");
    let found = find_named(&[b.clone(), folder.path().to_owned(), again, nothing.clone()]);
    assert_eq!(found.files, [b, a]);
    assert_eq!(found.problems, [(nothing, "there is no such file or folder".to_owned())]);
}

#[test]
fn installed_plugins_come_before_built_ones() {
    let folder = tempfile::tempdir().unwrap();
    let at = |path: &str| folder.path().join(path);
    for (path, name) in [
        ("bin/../lib/loupe", "z.so"),
        ("bin/lib/loupe", "y.so"),
        ("bin", "libloupe_x.so"),
        ("bin", "libother.so"),
        ("bin/deps", "libloupe_derive-1f.so"),
    ] {
        fs::create_dir_all(at("bin")).unwrap();
        fs::create_dir_all(at(path)).unwrap();
        fs::write(at(path).join(name), "").unwrap();
    }
    let names = |folder: &str| -> Vec<String> {
        let files = beside(&at(folder)).into_iter();
        files.map(|file| file.file_name().unwrap().to_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names("bin"), ["z.so", "y.so"]);
    fs::write(at("bin/.cargo-lock"), "").unwrap();
    assert_eq!(names("bin"), ["z.so", "y.so", "libloupe_x.so"]);
    assert_eq!(names("bin/deps"), ["y.so", "libloupe_x.so"]);
}

#[test]
fn only_files_of_the_config_are_opened() {
    let folder = tempfile::tempdir().unwrap();
    let (mine, other) = (folder.path().join("mine"), folder.path().join("other"));
    fs::write(&mine, "weights").unwrap();
    fs::write(&other, "secret").unwrap();
    let schema = json!({ "properties": {
        "weights": { "type": "string", "format": "loupe-file" },
        "more": { "type": "array", "items": { "type": "string", "format": "loupe-file" } },
        "title": { "type": "string" },
    }});
    let config = json!({ "weights": mine, "more": ["/a", "/b"], "title": other });
    let files = files_of(&schema, &config);
    assert_eq!(files.len(), 3);
    let pool = Arc::clone(&host().0.pool);
    let host = StageHost::new("clip", 0, files, pool, Arc::new(AtomicBool::new(false)));
    assert_eq!(host.open(mine.to_str().unwrap()).unwrap()[..], *b"weights");
    let refused = host.open("/etc/passwd").unwrap_err();
    expect!["`/etc/passwd` is not a file that the config of `clip` names"].assert_eq(&refused);
    assert!(host.open(other.to_str().unwrap()).is_err());
    assert!(host.open("/a").is_err());
}

#[test]
fn random_numbers_belong_to_a_seed_and_a_stage() {
    let draw = |stage: &str, seed: u64, n: usize| {
        let pool = Arc::clone(&host().0.pool);
        let host = StageHost::new(stage, seed, Vec::new(), pool, Arc::default());
        let mut numbers = vec![0; n];
        let (head, tail) = numbers.split_at_mut(n / 2);
        host.random(head);
        host.random(tail);
        numbers
    };
    assert_eq!(draw("a", 1, 8)[..6], draw("a", 1, 6)[..]);
    assert_ne!(draw("a", 1, 8), draw("a", 2, 8));
    assert_ne!(draw("a", 1, 8), draw("b", 1, 8));
}

#[test]
fn a_tensor_fills_its_shape() {
    assert_eq!(Tensor::new(vec![], vec![1.0]).unwrap().data(), [1.0]);
    assert_eq!(Tensor::new(vec![0, 3], vec![]).unwrap().shape(), [0, 3]);
    let wrong = Tensor::new(vec![2, 2], vec![0.0; 3]).unwrap_err();
    assert_eq!(wrong, "shape [2, 2] does not hold 3 numbers");
    assert!(Tensor::new(vec![usize::MAX, 2], vec![]).is_err());
}
