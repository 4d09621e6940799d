//! Files that were cut, flipped, forged or never finished: always a miss, never a crash.

use super::*;
use crate::cache::seal::Refusal;

fn misses_all(dir: &TempDir, why: &str) {
    let cache = open(dir);
    for n in 0..4 {
        assert_eq!(cache.get(&key(n)).unwrap(), None, "{why}");
    }
    assert!(!cache.take_warnings().is_empty(), "{why}");
}

#[test]
fn a_shard_cut_anywhere_is_never_read() {
    let (dir, path) = one_shard();
    let bytes = fs::read(&path).unwrap();
    let cuts = (0..bytes.len()).filter(|cut| cut % 97 == 0 || cut + 3 > bytes.len());
    for cut in cuts {
        fs::write(&path, &bytes[..cut]).unwrap();
        misses_all(&dir, &format!("cut at {cut}"));
        assert!(!path.exists(), "set aside");
    }
    fs::write(&path, [&bytes[..], b"x"].concat()).unwrap();
    misses_all(&dir, "longer");
    fs::write(&path, &bytes).unwrap();
    assert!(open(&dir).get(&key(3)).unwrap().is_some());
}

#[test]
fn a_flipped_byte_anywhere_is_found() {
    let (dir, path) = one_shard();
    let bytes = fs::read(&path).unwrap();
    let whole: Vec<_> = (0..4).map(|n| Some(arrays(n as f32))).collect();
    for at in (0..bytes.len()).step_by(61) {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x10;
        fs::write(&path, &damaged).unwrap();
        let cache = open(&dir);
        assert_eq!(cache.verify(1.0).bad.len(), 1, "flipped {at}");
        let got: Vec<_> = (0..4).map(|n| cache.get(&key(n)).unwrap()).collect();
        assert!(got.iter().zip(&whole).all(|(got, want)| got.is_none() || got == want));
        assert!(got.iter().any(Option::is_none), "flipped {at}");
        assert_eq!(cache.take_warnings().len(), 1);
        let _ = fs::remove_file(&path);
    }
}

#[test]
fn verify_names_the_bad_shard_and_leaves_it() {
    let (dir, path) = one_shard();
    let cache = open(&dir);
    let report = cache.verify(1.0);
    assert_eq!((report.n_shards, report.n_values, report.bad.len()), (1, 4, 0));
    assert_eq!(cache.verify(0.0).n_values, 0);
    let mut bytes = fs::read(&path).unwrap();
    let at = bytes.windows(4).position(|w| w == (0.0_f32 - 1.0 / 3.0).to_le_bytes()).unwrap();
    bytes[at] ^= 1;
    fs::write(&path, bytes).unwrap();
    let bad = cache.verify(1.0).bad;
    assert_eq!(bad[0].path, path);
    assert!(bad[0].why.ends_with("does not match its checksum"), "{}", bad[0].why);
    assert!(path.exists());
    // A sealed row that lies is a miss with a warning, and what was read before stays usable.
    let lost = (0..4).filter(|n| cache.get(&key(*n)).unwrap().is_none()).count();
    assert!(lost >= 1);
    assert!(cache.take_warnings()[0].contains("does not match its checksum"));
}

/// Changes a shard through HDF5 and seals it anew, so that what stands behind the seal is tested
/// alone.
fn edit(path: &Path, change: impl FnOnce(&hdf5::File)) {
    let extents = seal::check(&File::open(path).unwrap()).unwrap();
    let file = hdf5::File::open_rw(path).unwrap();
    change(&file);
    file.close().unwrap();
    let file = OpenOptions::new().read(true).write(true).open(path).unwrap();
    seal::write(&file, extents).unwrap();
}

#[test]
fn without_the_complete_mark_a_file_is_no_shard() {
    let (dir, path) = one_shard();
    edit(&path, |_| ());
    assert!(open(&dir).get(&key(0)).unwrap().is_some());
    edit(&path, |file| file.attr("complete").unwrap().write_scalar(&0_i64).unwrap());
    let refusal = read::Shard::open(&path).unwrap_err();
    assert!(
        matches!(&refusal, Refusal::Broken(why) if why.starts_with("it has no `complete` mark"))
    );
    misses_all(&dir, "mark 0");

    let (dir, path) = one_shard();
    edit(&path, |file| file.delete_attr("complete").unwrap());
    misses_all(&dir, "no mark");
}

#[test]
fn a_structure_that_lies_is_refused() {
    for name in ["keys", "sums", "data"] {
        let (dir, path) = one_shard();
        edit(&path, |file| {
            let group = file.group("0000.clip.patch_tokens").unwrap();
            group.unlink(name).unwrap();
            group.new_dataset::<u8>().shape([9, 9]).create(name).unwrap();
        });
        misses_all(&dir, name);
    }
}

#[test]
fn a_foreign_hdf5_file_is_set_aside() {
    let dir = TempDir::new().unwrap();
    drop(open(&dir));
    let folder = dir.path().join("shards/ab");
    fs::create_dir_all(&folder).unwrap();
    hdf5::File::create(folder.join("foreign.h5")).unwrap().close().unwrap();
    fs::write(folder.join("empty.h5"), b"").unwrap();
    fs::create_dir(folder.join("folder.h5")).unwrap();
    misses_all(&dir, "foreign");
    let names: Vec<_> = files(&dir).iter().map(|f| f.file_name().unwrap().to_owned()).collect();
    assert!(names.iter().any(|name| name == "foreign.h5.rejected"), "{names:?}");
}

#[test]
fn another_schema_is_ignored_and_kept() {
    let (dir, path) = one_shard();
    let mut bytes = fs::read(&path).unwrap();
    bytes[8] = 2;
    fs::write(&path, &bytes).unwrap();
    misses_all(&dir, "schema 2");
    assert!(path.exists());

    fs::write(dir.path().join("CACHE.toml"), "schema = 2\n").unwrap();
    let error = Cache::open(dir.path(), Mode::ReadWrite).unwrap_err().to_string();
    assert!(error.contains("is a cache of schema 2, this program reads schema 1"), "{error}");
}

#[test]
fn a_folder_that_cannot_be_written_is_an_error_with_its_name() {
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, b"").unwrap();
    let error = Cache::open(&file.join("cache"), Mode::ReadWrite).unwrap_err().to_string();
    assert!(error.starts_with("cannot open the cache `") && error.contains("directory"), "{error}");

    let cache = open(&dir);
    fs::remove_dir(dir.path().join("shards")).unwrap();
    fs::write(dir.path().join("shards"), b"").unwrap();
    cache.put(&meta("v"), key(0), arrays(0.0), Dtype::F32).unwrap();
    let error = cache.flush().unwrap_err().to_string();
    assert!(error.starts_with("cannot write `") && error.contains("directory"), "{error}");
    // The caller may go on.
    cache.put(&meta("v"), key(1), arrays(0.0), Dtype::F32).unwrap();
    assert!(cache.get(&key(1)).unwrap().is_some());
    assert!(cache.flush().is_err());
}
