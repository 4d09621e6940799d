//! The content of a cache as a reader of HDF5 sees it, with no help from the program.

use std::collections::BTreeMap;
use std::path::Path;

use hdf5::types::VarLenUnicode;
use hdf5::{Dataset, File, Group};
use loupe_tests::tree;

/// Every value of every shard by its key, with stage, component, output and type. A key that stands
/// in two shards must have one value.
pub fn values(cache: &Path) -> BTreeMap<String, (String, Vec<u8>)> {
    let mut values = BTreeMap::new();
    for file in tree(cache).into_keys().filter(|file| file.ends_with(".h5")) {
        let shard = File::open(cache.join(&file)).unwrap();
        assert_eq!(shard.attr("complete").unwrap().read_scalar::<i64>().unwrap(), 1, "{file}");
        for name in shard.member_names().unwrap() {
            for (key, value) in rows(&shard.group(&name).unwrap()) {
                let before = values.insert(key.clone(), value.clone());
                assert!(before.is_none_or(|before| before == value), "{file}: two values of {key}");
            }
        }
    }
    values
}

fn rows(group: &Group) -> Vec<(String, (String, Vec<u8>))> {
    let text = |name: &str| {
        let text = group.attr(name).unwrap().read_scalar::<VarLenUnicode>();
        text.unwrap().as_str().to_owned()
    };
    let about = ["stage", "component", "value", "kind", "dtype"].map(text).join(" ");
    let keys = group.dataset("keys").unwrap().read_raw::<u8>().unwrap();
    let keys = keys.chunks(32).map(|key| key.iter().map(|byte| format!("{byte:02x}")).collect());
    let keys: Vec<String> = keys.collect();
    let mut bytes = vec![Vec::new(); keys.len()];
    for name in group.member_names().unwrap().iter().filter(|name| name.starts_with("data")) {
        let data = group.dataset(name).unwrap();
        let rows = match text("kind").as_str() {
            "arrays" => equal_rows(&data, keys.len()),
            _ => varying_rows(&data, &group.dataset("ends").unwrap().read_raw::<u64>().unwrap()),
        };
        bytes.iter_mut().zip(rows).for_each(|(all, row)| all.extend(row));
    }
    keys.into_iter().zip(bytes).map(|(key, bytes)| (key, (about.clone(), bytes))).collect()
}

fn equal_rows(data: &Dataset, n_rows: usize) -> Vec<Vec<u8>> {
    let numbers = data.read_raw::<f32>().unwrap();
    let rows = numbers.chunks(numbers.len() / n_rows);
    rows.map(|row| row.iter().flat_map(|number| number.to_le_bytes()).collect()).collect()
}

fn varying_rows(data: &Dataset, ends: &[u64]) -> Vec<Vec<u8>> {
    let bytes = data.read_raw::<u8>().unwrap();
    let starts = std::iter::once(0).chain(ends.iter().copied());
    starts.zip(ends).map(|(start, end)| bytes[start as usize..*end as usize].to_vec()).collect()
}
