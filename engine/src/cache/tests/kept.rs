//! Bytes that components keep: whole or not at all.

use std::time::Duration;

use super::*;
use loupe_kernels::serial;

const PARTS: [&[u8]; 4] = [b"packed", b"", b" weights", &[7; 300_000]];

/// A cache with kept bytes, and their file.
fn one_file() -> (TempDir, Shelf, PathBuf) {
    let dir = TempDir::new().unwrap();
    let shelf = open(&dir).shelf().unwrap();
    shelf.keep(&key(1), "loupe-clip: packed blocks", &PARTS, &serial).unwrap();
    let path = dir.path().join("kept").join(format!("{}.kept", key(1)));
    (dir, shelf, path)
}

fn refused(shelf: &Shelf) -> String {
    shelf.find(&key(1), &serial).unwrap_err()
}

#[test]
fn parts_are_found_as_one_and_read_from_any_place() {
    let (dir, shelf, _) = one_file();
    let found = shelf.find(&key(1), &serial).unwrap().unwrap();
    let mut all = vec![0; found.len as usize];
    found.read(0, &mut all).unwrap();
    assert_eq!(all, PARTS.concat());
    let mut middle = [0; 7];
    found.read(7, &mut middle).unwrap();
    assert_eq!(&middle, b"weights");
    assert!(found.read(found.len - 3, &mut middle).is_err());
    assert!(shelf.find(&key(2), &serial).unwrap().is_none());
    let backwards = |n: usize, f: &(dyn Fn(usize) + Sync)| (0..n).rev().for_each(f);
    assert!(shelf.find(&key(1), &backwards).unwrap().is_some(), "no order in its checksum");
    let lazy = |_: usize, _: &(dyn Fn(usize) + Sync)| {};
    assert!(shelf.find(&key(1), &lazy).is_err(), "nobody read it");
    assert_eq!(shelf.files().len(), 1, "{:?}", dir.path());
}

#[test]
fn a_file_cut_anywhere_is_not_taken() {
    let (_dir, shelf, path) = one_file();
    let bytes = fs::read(&path).unwrap();
    for cut in [0, 1, 127, 128, 129, 1_000, bytes.len() - 1] {
        fs::write(&path, &bytes[..cut]).unwrap();
        assert!(refused(&shelf).contains(if cut < 128 { "too short" } else { "written were" }));
    }
    fs::write(&path, [&bytes[..], b"x"].concat()).unwrap();
    assert!(refused(&shelf).contains("written were"));
    shelf.keep(&key(1), "", &PARTS, &serial).unwrap();
    assert!(shelf.find(&key(1), &serial).unwrap().is_some(), "written anew");
}

#[test]
fn a_flipped_bit_anywhere_is_found() {
    let (_dir, shelf, path) = one_file();
    let bytes = fs::read(&path).unwrap();
    for at in (0..200).chain((200..bytes.len()).step_by(9_973)).chain([bytes.len() - 1]) {
        for bit in [0x01, 0x80] {
            let mut damaged = bytes.clone();
            damaged[at] ^= bit;
            fs::write(&path, &damaged).unwrap();
            assert!(shelf.find(&key(1), &serial).is_err(), "bit {bit:#x} of byte {at}");
        }
    }
}

#[test]
fn a_file_under_the_name_of_another_is_not_taken() {
    let (dir, shelf, path) = one_file();
    fs::copy(&path, dir.path().join("kept").join(format!("{}.kept", key(2)))).unwrap();
    let why = shelf.find(&key(2), &serial).unwrap_err();
    assert!(why.ends_with("it is of another key"), "{why}");
}

#[test]
fn the_cache_counts_and_removes_what_is_kept() {
    let (dir, _, path) = one_file();
    let cache = open(&dir);
    let (n_bytes, stat) = (PARTS.concat().len() as u64, cache.stat());
    assert_eq!((stat.n_kept, stat.kept_bytes, stat.n_values), (1, n_bytes + 128, 0));
    assert!(stat.disk_bytes > stat.kept_bytes);
    let [stage, component, value] = ["-", "loupe-clip", "packed blocks"].map(str::to_owned);
    assert_eq!(cache.ls(), [Row { stage, component, value, n_values: 1, n_bytes }]);
    let verified = cache.verify(1.0);
    assert_eq!((verified.n_shards, verified.n_values, verified.n_bytes), (1, 1, n_bytes));
    fs::write(dir.path().join("kept/x.kept.tmp-4294967295-0"), "half").unwrap();
    assert_eq!(cache.gc(None, false).unwrap().freed_bytes, 4);
    fs::write(&path, "damaged").unwrap();
    assert_eq!(cache.verify(1.0).bad[0].why, "it is too short");
}

#[test]
fn gc_removes_a_damaged_file_and_says_why() {
    let (dir, shelf, path) = one_file();
    shelf.keep(&key(2), "loupe-clip: packed blocks", &PARTS, &serial).unwrap();
    let mut bytes = fs::read(&path).unwrap();
    bytes[1_000] ^= 1;
    fs::write(&path, &bytes).unwrap();
    let cache = open(&dir);
    let planned = cache.gc(None, true).unwrap();
    assert_eq!(cache.stat().n_kept, 2);
    let done = cache.gc(None, false).unwrap();
    assert_eq!(done, planned);
    assert_eq!((done.removed, done.freed_bytes), (vec![path.clone()], bytes.len() as u64));
    assert_eq!(done.bad, [BadShard { path, why: "its checksum is wrong".to_owned() }]);
    assert!(shelf.find(&key(2), &serial).unwrap().is_some());
    assert_eq!(cache.gc(Some(0), false).unwrap().removed.len(), 1);
    assert_eq!(cache.stat().n_kept, 0);
}

#[test]
fn gc_removes_first_what_was_of_no_use_for_longest() {
    let (dir, shelf, path) = one_file();
    shelf.keep(&key(2), "", &PARTS, &serial).unwrap();
    for file in shelf.files() {
        let old = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000);
        File::options().append(true).open(file).unwrap().set_modified(old).unwrap();
    }
    shelf.find(&key(1), &serial).unwrap().unwrap();
    let cache = open(&dir);
    cache.gc(Some(fs::metadata(&path).unwrap().len()), false).unwrap();
    assert_eq!(shelf.files(), [path]);
}

#[test]
fn a_cache_that_is_off_or_cannot_be_written_keeps_nothing() {
    assert!(Cache::open(Path::new(""), Mode::Off).unwrap().shelf().is_none());
    let dir = TempDir::new().unwrap();
    let shelf = open(&dir).shelf().unwrap();
    fs::write(dir.path().join("kept"), "no folder").unwrap();
    let why = shelf.keep(&key(1), "", &PARTS, &serial).unwrap_err();
    assert!(why.contains("cannot be written"), "{why}");
}
