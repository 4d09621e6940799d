//! Choosing references: nesting, independence of names, manifests, and the check report.

mod common;

use std::fs;
use std::path::Path;

use common::wrap;
use expect_test::expect;
use loupe_datasets::{Dataset, Layout, References, Sample, Select, select, write_manifest};

/// A pool of `n` images with contents `content(i)` and names `name(i)`.
fn pool(dir: &Path, n: usize, name: impl Fn(usize) -> String) -> Vec<Sample> {
    let sample = |i| {
        let path = dir.join(name(i));
        fs::write(&path, format!("image {i}")).expect("file");
        let name = format!("a/train/good/{}", name(i));
        Sample { path, name, kind: "good".to_owned(), anomalous: false, mask: None }
    };
    (0..n).map(sample).collect()
}

fn number(i: usize) -> String {
    format!("{i:03}.png")
}

#[test]
fn seeded_is_nested_and_knows_contents_not_names() {
    let (first, second) = (tempfile::tempdir().expect("dir"), tempfile::tempdir().expect("dir"));
    let pool_a = pool(first.path(), 20, number);
    let mut pool_b = pool(second.path(), 20, |i| format!("{}.png", 99 - i));
    pool_b.sort_by(|a, b| a.name.cmp(&b.name));
    let contents = |pool: &[Sample], shots, seed| -> Vec<String> {
        let chosen = select(pool, shots, seed, &Select::Seeded).expect("references");
        chosen.iter().map(|&i| fs::read_to_string(&pool[i].path).expect("file")).collect()
    };
    let four = contents(&pool_a, 4, 7);
    assert_eq!(four, ["image 2", "image 17", "image 8", "image 1"]);
    assert_eq!(contents(&pool_a, 2, 7), four[..2]);
    assert_eq!(contents(&pool_b, 4, 7), four);
    assert_ne!(contents(&pool_a, 4, 8), four);
}

#[test]
fn first_and_torch() {
    let dir = tempfile::tempdir().expect("dir");
    let pool = pool(dir.path(), 5, number);
    let chosen = |shots, how: &Select| select(&pool, shots, 0, how).map_err(|e| e.to_string());
    assert_eq!(chosen(3, &Select::First), Ok(vec![0, 1, 2]));
    assert_eq!(chosen(4, &Select::Torch), Ok(vec![1, 4, 2, 3]));
    assert_eq!(chosen(9, &Select::Torch).map(|all| all.len()), Ok(5));
    assert_eq!(chosen(9, &Select::TorchLmfa).map(|all| all.len()), Ok(5));
    assert_eq!(select(&pool, 4, 7, &Select::TorchLmfa).expect("references"), [1, 2, 0, 4]);
    assert_eq!(chosen(0, &Select::Seeded), Ok(vec![]));
    for how in [Select::Seeded, Select::First] {
        expect!["6 references are wanted, but the class has 5 normal images to take from"]
            .assert_eq(&chosen(6, &how).expect_err("error"));
    }
}

#[test]
fn manifest_round_trip_and_mismatch() {
    let dir = tempfile::tempdir().expect("dir");
    let pool = pool(dir.path(), 6, number);
    let file = dir.path().join("refs-a.json");
    let how = Select::Manifest(dir.path().join("refs-{class}.json")).for_class("a");
    assert_eq!(how, Select::Manifest(file.clone()));
    let normal = [4, 1, 3].map(|i: usize| pool[i].clone()).to_vec();
    write_manifest(&file, "a", &References { normal, anomalous: vec![] }).expect("manifest");
    assert_eq!(select(&pool, 3, 0, &how).expect("references"), [4, 1, 3]);
    assert_eq!(select(&pool, 1, 9, &how).expect("references"), [4]);

    let error = |pool: &[Sample], shots| {
        let text = select(pool, shots, 0, &how).expect_err("error").to_string();
        wrap(&text.replace(&file.display().to_string(), "FILE"))
    };
    expect!["4 references are wanted, but manifest `FILE` lists 3"].assert_eq(&error(&pool, 4));
    expect![[r#"
        manifest `FILE` lists `a/train/good/004.png`, which is not among the 4
              images of the pool"#]]
    .assert_eq(&error(&pool[..4], 1));
    fs::write(&pool[1].path, "another image").expect("file");
    expect![[r#"
        `a/train/good/001.png` is not the image of manifest `FILE`: wants BLAKE3
              90d19806f12bd24d9c0a08c6b8c964e045b3b4de8eaea3d6867095c4c5368cf8, got
              5646c87d619f3cf5eaf90831eede626480ef76b6b759296835b7503d995385f4; the
              file changed, or the manifest belongs to another copy of the data"#]]
    .assert_eq(&error(&pool, 3));
    fs::write(&file, r#"{"schema":2,"class":"a","images":[]}"#).expect("file");
    expect!["manifest `FILE`: schema 2 is not known; wants 1"].assert_eq(&error(&pool, 1));
    fs::write(&file, "{}").expect("file");
    expect!["manifest `FILE`: missing field `schema` at line 1 column 2"]
        .assert_eq(&error(&pool, 1));
    let gone = Sample { path: dir.path().join("gone.png"), ..pool[0].clone() };
    let references = References { normal: vec![gone], anomalous: vec![] };
    assert!(write_manifest(&file, "a", &references).is_err());
}

#[test]
fn plain_lists_of_names() {
    let dir = tempfile::tempdir().expect("dir");
    let mut pool = pool(dir.path(), 6, number);
    let file = dir.path().join("2-shot.txt");
    let how = Select::Manifest(file.clone());
    fs::write(&file, "a-0: 001.png\nn-0: 005.png 002.png").expect("file");
    assert_eq!(select(&pool, 2, 0, &how).expect("references"), [5, 2]);
    pool.iter_mut().for_each(|sample| sample.anomalous = true);
    assert_eq!(select(&pool, 1, 0, &how).expect("references"), [1]);
    let error = |text: &str| {
        fs::write(&file, text).expect("file");
        let text = select(&pool, 2, 0, &how).expect_err("error").to_string();
        wrap(&text.replace(&file.display().to_string(), "FILE"))
    };
    expect!["manifest `FILE` lists `1.png`, which is not among the 6 images of the pool"]
        .assert_eq(&error("a-0: 1.png 2.png"));
    expect!["manifest `FILE`: `001.png` is listed twice"].assert_eq(&error("a-0: 001.png 001.png"));
    expect![[r#"
        manifest `FILE`: neither JSON, nor is line 1 of the form `n-0: name name
              ..` or `a-0: ..`"#]]
    .assert_eq(&error("nothing"));
    expect!["manifest `FILE`: it has no line `a-0: name name ..`"]
        .assert_eq(&error("n-0: 001.png 002.png"));
    expect!["manifest `FILE`: line 2 repeats the list of an earlier line"]
        .assert_eq(&error("a-0: 001.png\na-0: 002.png"));
    expect![[r#"
        manifest `FILE`: neither JSON, nor is line 1 of the form `n-0: name name
              ..` or `a-0: ..`"#]]
    .assert_eq(&error("a-x: 001.png"));
    expect![[r#"
        manifest `FILE`: seed 0 wants a line `a-0: name name ..`; lines: `a-1`,
              `a-2`"#]]
    .assert_eq(&error("a-1: 001.png\na-2: 002.png"));
    expect!["2 references are wanted, but manifest `FILE` lists 1"]
        .assert_eq(&error("a-0: 001.png"));
    expect!["2 references are wanted, but manifest `FILE` lists 0"].assert_eq(&error("a-0:"));
}

/// The few-shot files hold one choice; where one holds several, the seed says which.
#[test]
fn the_seed_names_the_line_of_a_file_with_several() {
    let dir = tempfile::tempdir().expect("dir");
    let pool = pool(dir.path(), 6, number);
    let file = dir.path().join("list.txt");
    let chosen = |seed| {
        let how = Select::Manifest(file.clone());
        select(&pool, 2, seed, &how).map_err(|error| error.to_string())
    };
    fs::write(&file, "\u{feff}n-0: 001.png 002.png\r\na-0: x.png\r\n\r\n").expect("file");
    assert_eq!((chosen(0), chosen(111)), (Ok(vec![1, 2]), Ok(vec![1, 2])));
    fs::write(&file, "n-0: 001.png 002.png\nn-7: 004.png 003.png").expect("file");
    assert_eq!((chosen(0), chosen(7)), (Ok(vec![1, 2]), Ok(vec![4, 3])));
    assert!(chosen(1).is_err());
}

#[test]
#[expect(clippy::too_many_lines, reason = "one table of cases")]
fn check_counts_and_fingerprints() {
    let dir = tempfile::tempdir().expect("dir");
    let make = |root: &str| {
        let root = dir.path().join(root);
        for file in [
            "nut/train/good/0.png",
            "nut/train/good/1.png",
            "nut/test/good/0.png",
            "nut/test/bent/0.png",
            "nut/test/bent/1.png",
            "nut/ground_truth/bent/0_mask.png",
            "nut/extra/0.png",
        ] {
            let path = root.join(file);
            fs::create_dir_all(path.parent().expect("parent")).expect("folders");
            fs::write(path, [b"\x89PNG\r\n\x1a\n".as_slice(), file.as_bytes()].concat())
                .expect("file");
        }
        root
    };
    let (first, second) = (make("first"), make("second"));
    let layout = Layout::find("mvtec-ad").expect("layout");
    let open = |root: &Path, above| Dataset::open(root, &layout, None, above).expect("data set");
    let mut check = open(&first, None).check(3).expect("check");
    assert_eq!(check.root, first);
    assert_eq!(check.fingerprint, open(&second, None).fingerprint().expect("fingerprint"));
    assert_ne!(check.fingerprint, open(&second, Some(9)).fingerprint().expect("fingerprint"));
    fs::write(second.join("nut/test/bent/1.png"), "changed").expect("file");
    assert_ne!(check.fingerprint, open(&second, None).fingerprint().expect("fingerprint"));
    check.root = "ROOT".into();
    let json = serde_json::to_string_pretty(&check).expect("JSON");
    let json: Vec<String> = json.lines().map(wrap).collect();
    expect![[r#"
        {
          "layout": "mvtec-ad",
          "root": "ROOT",
          "mask_above": 0,
          "fingerprint":
              "f5b76c2d0c440fd44ae07ee41f6d81d86e238e5849a798caf6812bf8d5ddf87d",
          "n_images": 5,
          "classes": [
            {
              "name": "nut",
              "display": "nut",
              "train": [
                {
                  "kind": "good",
                  "anomalous": false,
                  "n_images": 2,
                  "n_masks": 0
                }
              ],
              "train_anomalous": [],
              "test": [
                {
                  "kind": "bent",
                  "anomalous": true,
                  "n_images": 2,
                  "n_masks": 1
                },
                {
                  "kind": "good",
                  "anomalous": false,
                  "n_images": 1,
                  "n_masks": 0
                }
              ]
            }
          ],
          "n_unmatched": 1,
          "unmatched": [
            "nut/extra"
          ],
          "warnings": [
            "class `nut`: 1 of 2 anomalous images of kind `bent` have no mask
              (first: `nut/test/bent/1.png`); pixel metrics are undefined for them"
          ]
        }"#]]
    .assert_eq(&json.join("\n"));
}

/// Anomalous references come from what is set apart for them, or from the test images, which are
/// then not tested.
#[test]
fn anomalous_references_of_each_kind() {
    let (_dir, root) = common::pictures(&[
        "nut/train/good/0.png",
        "nut/train/good/1.png",
        "nut/test/good/0.png",
        "nut/test/bent/0.png",
        "nut/test/bent/1.png",
        "nut/test/hole/0.png",
        "nut/test/hole/1.png",
        "nut/ground_truth/bent/0_mask.png",
    ]);
    let dataset = common::open(&root, "mvtec-ad").expect("data set");
    let class = &dataset.classes[0];
    let names = |samples: &[Sample]| -> Vec<String> {
        samples.iter().map(|sample| sample.name.replace("nut/", "")).collect()
    };
    let references = class.references(1, 1, 0, &Select::First).expect("references");
    assert_eq!(names(&references.normal), ["train/good/0.png"]);
    assert_eq!(names(&references.anomalous), ["test/bent/0.png", "test/hole/0.png"]);
    assert!(references.anomalous[0].mask.is_some() && references.anomalous[1].mask.is_none());
    let tests: Vec<Sample> = class.tests(&references).into_iter().cloned().collect();
    assert_eq!(names(&tests), ["test/bent/1.png", "test/good/0.png", "test/hole/1.png"]);

    let none = class.references(2, 0, 0, &Select::Seeded).expect("references");
    assert_eq!((none.normal.len(), none.anomalous.len()), (2, 0));
    assert_eq!(class.tests(&none).len(), 5);
    let all = class.references(9, 9, 3, &Select::TorchLmfa).expect("references");
    assert_eq!((all.normal.len(), all.anomalous.len()), (2, 4));
    let error = class.references(0, 3, 0, &Select::Seeded).expect_err("error").to_string();
    expect![[r#"
        3 anomalous references of kind `bent` are wanted, but the class has 2 such
              images to take from"#]]
    .assert_eq(&wrap(&error));

    let file = root.join("references.json");
    write_manifest(&file, "nut", &references).expect("manifest");
    let again = class.references(1, 2, 0, &Select::Manifest(file)).expect("references");
    assert_eq!(again, references);
}
