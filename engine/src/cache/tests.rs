//! Each test reads as: what was stored, what happened to the file, what a reader gets.

mod damage;
mod kept;
mod sharing;

use super::*;
use half::f16;
use serde_json::json;
use tempfile::TempDir;

fn key(n: u64) -> Key {
    KeyBuilder::new("test").u64("n", n).finish()
}

fn meta(value: &str) -> Meta {
    Meta {
        stage: "clip".into(),
        component: "clip/1".into(),
        value: value.into(),
        class: "bottle".into(),
        image: "test/good/000.png".into(),
    }
}

fn array(shape: &[usize], first: f32) -> Array {
    let n: usize = shape.iter().product();
    Array {
        name: "patch_tokens".into(),
        size: Some(240),
        tap: None,
        shape: shape.to_vec(),
        data: (0..n).map(|i| first + i as f32 * 0.37 - 1.0 / 3.0).collect(),
    }
}

fn arrays(first: f32) -> Stored {
    Stored::Arrays(vec![array(&[3, 5, 7], first)])
}

fn open(dir: &TempDir) -> Cache {
    Cache::open(dir.path(), Mode::ReadWrite).unwrap()
}

/// A folder with one flushed shard of four arrays, and its path.
fn one_shard() -> (TempDir, PathBuf) {
    let dir = TempDir::new().unwrap();
    let cache = open(&dir);
    for n in 0..4 {
        cache.put(&meta("patch_tokens"), key(n), arrays(n as f32), Dtype::F32).unwrap();
    }
    cache.flush().unwrap();
    let path = shards(&dir).remove(0);
    (dir, path)
}

fn files(dir: &TempDir) -> Vec<PathBuf> {
    let shards = index::list(&dir.path().join("shards"));
    let (folders, beside): (Vec<_>, Vec<_>) = shards.into_iter().partition(|path| path.is_dir());
    folders.iter().flat_map(|folder| index::list(folder)).chain(beside).collect()
}

fn shards(dir: &TempDir) -> Vec<PathBuf> {
    files(dir).into_iter().filter(|path| path.extension().unwrap() == "h5").collect()
}

#[test]
fn every_kind_of_value_comes_back_from_memory_and_from_disk() {
    let values = [
        arrays(0.5),
        Stored::Arrays(vec![]),
        Stored::Arrays(vec![array(&[], 1.0)]),
        Stored::Arrays(vec![array(&[0, 4], 1.0)]),
        Stored::Arrays(vec![
            Array { tap: Some(6), ..array(&[2, 3], 2.0) },
            Array { size: Some(448), name: "näme".into(), ..array(&[4], 9.0) },
        ]),
        Stored::Bytes { schema: "bank".into(), revision: 3, bytes: vec![0, 255, 7] },
        Stored::Bytes { schema: "bank".into(), revision: 3, bytes: vec![] },
        Stored::Bytes { schema: "bank".into(), revision: 4, bytes: vec![1; 5000] },
        Stored::Text(vec![Sentence {
            text: "a photo of a \"bottle\"\n".into(),
            anomalous: true,
            weight: 0.1,
            source: "ensemble".into(),
        }]),
        Stored::Text(vec![]),
    ];
    for dtype in [Dtype::F32, Dtype::F16] {
        let dir = TempDir::new().unwrap();
        let cache = open(&dir);
        for (n, value) in values.iter().enumerate() {
            cache.put(&meta("v"), key(n as u64), value.clone(), dtype).unwrap();
        }
        let check = |cache: &Cache| {
            for (n, value) in values.iter().enumerate() {
                let mut want = value.clone();
                quantise(&mut want, dtype);
                assert_eq!(cache.get(&key(n as u64)).unwrap(), Some(want), "{n} {dtype:?}");
                assert!(cache.contains(&key(n as u64)));
            }
            assert_eq!(cache.get(&key(99)).unwrap(), None);
        };
        check(&cache);
        cache.flush().unwrap();
        check(&cache);
        check(&open(&dir));
        assert_eq!(cache.take_warnings(), Vec::<String>::new());
    }
}

#[test]
fn special_floats_keep_their_bits() {
    let dir = TempDir::new().unwrap();
    let bits = [0x7fc0_1234_u32, 0xff80_0000, 0x8000_0000, 1];
    let data: Vec<f32> = bits.iter().map(|bits| f32::from_bits(*bits)).collect();
    let stored = Stored::Arrays(vec![Array { data, ..array(&[4], 0.0) }]);
    let cache = open(&dir);
    cache.put(&meta("v"), key(0), stored, Dtype::F32).unwrap();
    cache.flush().unwrap();
    let Some(Stored::Arrays(back)) = open(&dir).get(&key(0)).unwrap() else { panic!() };
    assert_eq!(back[0].data.iter().map(|x| x.to_bits()).collect::<Vec<_>>(), bits);
}

#[test]
fn a_quantised_miss_equals_a_hit() {
    let mut cold = arrays(1234.567);
    quantise(&mut cold, Dtype::F16);
    let Stored::Arrays(rounded) = &cold else { panic!() };
    assert_eq!(rounded[0].data[0], f16::from_f32(1234.567 - 1.0 / 3.0).to_f32());
    assert_eq!(rounded[0].data[0], 1234.0);

    let dir = TempDir::new().unwrap();
    open(&dir).put(&meta("v"), key(0), arrays(1234.567), Dtype::F16).unwrap();
    assert_eq!(open(&dir).get(&key(0)).unwrap(), Some(cold.clone()));
    // A value that went through once does not change again.
    let before = cold.clone();
    quantise(&mut cold, Dtype::F16);
    assert_eq!(cold, before);
}

#[test]
fn equal_entries_give_equal_files_in_any_order() {
    let write = |order: [u64; 3]| {
        let dir = TempDir::new().unwrap();
        let cache = open(&dir);
        for n in order {
            cache.put(&meta("v"), key(n), arrays(n as f32), Dtype::F32).unwrap();
        }
        cache.flush().unwrap();
        let path = shards(&dir).remove(0);
        (path.file_name().unwrap().to_owned(), fs::read(&path).unwrap())
    };
    let (name, bytes) = write([0, 1, 2]);
    let (other_name, other_bytes) = write([2, 0, 1]);
    assert_eq!(name, other_name);
    assert!(bytes == other_bytes, "the files differ");
}

#[test]
fn what_does_not_fit_is_refused_by_name() {
    let dir = TempDir::new().unwrap();
    let cache = open(&dir);
    let lying = Stored::Arrays(vec![Array { shape: vec![2, 2], ..array(&[3], 0.0) }]);
    let error = cache.put(&meta("v"), key(0), lying, Dtype::F32).unwrap_err();
    assert_eq!(
        error.to_string(),
        "`patch_tokens` cannot be stored: wants data for the shape [2, 2] of at most 31 axes, \
         got 3 elements"
    );
    let sentence =
        Sentence { text: "x".into(), anomalous: false, weight: f32::NAN, source: "s".into() };
    let error = cache.put(&meta("v"), key(0), Stored::Text(vec![sentence]), Dtype::F32);
    assert!(error.unwrap_err().to_string().contains("finite weights"));
    assert!(!cache.contains(&key(0)));
}

#[test]
fn off_finds_nothing_and_touches_nothing() {
    let dir = TempDir::new().unwrap();
    let cache = Cache::open(&dir.path().join("cache"), Mode::Off).unwrap();
    cache.put(&meta("v"), key(0), arrays(0.0), Dtype::F32).unwrap();
    cache.flush().unwrap();
    assert_eq!(cache.get(&key(0)).unwrap(), None);
    assert!(!dir.path().join("cache").exists());
}

#[test]
fn ls_and_stat_count_by_stage_component_and_value() {
    let (dir, path) = one_shard();
    let cache = open(&dir);
    let text = Stored::Bytes { schema: "s".into(), revision: 1, bytes: vec![1, 2, 3] };
    cache.put(&meta("state"), key(9), text, Dtype::F32).unwrap();
    cache.flush().unwrap();
    let rows: Vec<_> =
        cache.ls().into_iter().map(|row| (row.value, row.n_values, row.n_bytes)).collect();
    assert_eq!(rows, [("patch_tokens".to_owned(), 4, 4 * 105 * 4), ("state".to_owned(), 1, 3)]);
    let stat = cache.stat();
    assert_eq!((stat.n_shards, stat.n_values, stat.value_bytes), (2, 5, 1683));
    assert!(stat.disk_bytes > fs::metadata(path).unwrap().len());
}

#[test]
fn a_fingerprint_is_replaced_whole_and_a_damaged_one_is_none() {
    let dir = TempDir::new().unwrap();
    let cache = open(&dir);
    assert_eq!(cache.fingerprint_get(&key(1)), None);
    let mut want = Fingerprint { outputs: [7; 32], binaries: vec![[1; 32]] };
    cache.fingerprint_put(&key(1), &want).unwrap();
    want.binaries.push([0xab; 32]);
    cache.fingerprint_put(&key(1), &want).unwrap();
    assert_eq!(open(&dir).fingerprint_get(&key(1)), Some(want));
    let path = dir.path().join(format!("fingerprints/{}.json", key(1)));
    let text = fs::read(&path).unwrap();
    for cut in 0..text.len() - 2 {
        fs::write(&path, &text[..cut]).unwrap();
        assert_eq!(cache.fingerprint_get(&key(1)), None);
    }
}

#[test]
fn keys_depend_on_names_types_lengths_and_nothing_else() {
    let build = || KeyBuilder::new("d");
    let one = build().json("c", &json!({"b": [1, {"y": 1, "x": "2"}], "a": null})).finish();
    let two = build().json("c", &json!({"a": null, "b": [1, {"x": "2", "y": 1}]})).finish();
    assert_eq!(one, two);
    let different = [
        build().str("ab", "c").finish(),
        build().str("a", "bc").finish(),
        build().bytes("a", b"bc").finish(),
        build().str("a", "b").str("c", "").finish(),
        build().u64("a", 1).finish(),
        build().bytes("a", &1_u64.to_le_bytes()).finish(),
        build().key("a", &one).finish(),
        build().bytes("a", &one.0).finish(),
        KeyBuilder::new("e").str("ab", "c").finish(),
        build().json("a", &json!("bc")).finish(),
        one,
    ];
    for (i, a) in different.iter().enumerate() {
        assert!(different[..i].iter().all(|b| a != b), "{i}");
    }
    // Recorded: a change of this digest makes every existing cache useless.
    assert_eq!(
        build().str("ab", "c").finish().to_string(),
        "05ebd2c3217419dcbdf1091567f65bf33af202a7796a07db156bbcc9c628749e"
    );
}

#[test]
fn a_full_queue_is_written_behind_and_read_meanwhile() {
    let dir = TempDir::new().unwrap();
    let cache = open(&dir);
    let four_mib = |n: u64| Stored::Arrays(vec![array(&[1 << 20], n as f32)]);
    for n in 0..20 {
        cache.put(&meta("v"), key(n), four_mib(n), Dtype::F32).unwrap();
        assert_eq!(cache.get(&key(n / 2)).unwrap(), Some(four_mib(n / 2)));
    }
    cache.flush().unwrap();
    // Nine values exceed 32 MiB.
    let n_bytes: Vec<u64> = cache.take_written().iter().map(|written| written.1 >> 20).collect();
    assert_eq!((shards(&dir).len(), n_bytes), (3, vec![36, 36, 8]));
    let again = open(&dir);
    assert!((0..20).all(|n| again.get(&key(n)).unwrap() == Some(four_mib(n))));
}
