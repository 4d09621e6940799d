//! What the program left behind: values of stages in the cache's HDF5 files, maps, scores and
//! metrics in the run folder.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use hdf5::types::VarLenUnicode;
use serde_json::Value;

use crate::recorded::{Array, arrays, read};

/// Stage, value, image size and image: empty where a value has none.
type Name = (String, String, Option<usize>, String);

/// All that a cache folder holds.
pub struct Stored {
    tensors: BTreeMap<Name, Array>,
    /// States by stage.
    states: Vec<(String, Vec<u8>)>,
}

impl Stored {
    pub fn read(cache: &Path) -> Stored {
        let mut stored = Stored { tensors: BTreeMap::new(), states: Vec::new() };
        let shards = loupe_tests::tree(&cache.join("shards"));
        for path in shards.keys().filter(|path| path.ends_with(".h5")) {
            let file = hdf5::File::open(cache.join("shards").join(path)).unwrap();
            for group in file.groups().unwrap() {
                stored.add(&group).unwrap();
            }
        }
        stored
    }

    fn add(&mut self, group: &hdf5::Group) -> hdf5::Result<()> {
        let text = |name: &str| -> hdf5::Result<String> {
            Ok(group.attr(name)?.read_scalar::<VarLenUnicode>()?.to_string())
        };
        let (stage, value, kind) = (text("stage")?, text("value")?, text("kind")?);
        let data = group.dataset("data")?;
        if kind == "bytes" {
            let bytes = data.read_raw::<u8>()?;
            let mut start = 0;
            for end in group.dataset("ends")?.read_raw::<u64>()? {
                let end = end as usize;
                self.states.push((stage.clone(), bytes[start..end].to_vec()));
                start = end;
            }
            return Ok(());
        }
        let size = usize::try_from(data.attr("size")?.read_scalar::<i64>()?).ok();
        let shape = data.shape()[1..].to_vec();
        let values: Vec<f64> = data.read_raw::<f32>()?.into_iter().map(f64::from).collect();
        let images = group.dataset("image")?.read_raw::<VarLenUnicode>()?;
        let each = shape.iter().product::<usize>().max(1);
        for (image, values) in images.iter().zip(values.chunks(each)) {
            let name = (stage.clone(), value.clone(), size, image.to_string());
            let array = Array { shape: shape.clone(), values: values.to_vec() };
            assert!(
                self.tensors.insert(name, array).is_none(),
                "two of {stage}.{value} of {image}"
            );
        }
        Ok(())
    }

    /// A value of an image; its axis of images, which is 1, is left out.
    pub fn tensor(&self, stage: &str, value: &str, size: Option<usize>, image: &str) -> Array {
        let name = (stage.to_owned(), value.to_owned(), size, image.to_owned());
        let found = self.tensors.get(&name);
        let mut array = found.unwrap_or_else(|| panic!("the cache has no {name:?}")).clone();
        if !image.is_empty() {
            assert_eq!(array.shape.first(), Some(&1), "{name:?}");
            array.shape.remove(0);
        }
        array
    }

    /// The arrays of each state of a stage, and the facts beside them.
    pub fn states(&self, stage: &str) -> Vec<(BTreeMap<String, Array>, Value)> {
        let of_stage = self.states.iter().filter(|(name, _)| name == stage);
        let parsed = of_stage.map(|(_, bytes)| {
            let (_, header) = safetensors::SafeTensors::read_metadata(bytes).unwrap();
            let facts = header.metadata().iter().flatten();
            let facts = facts.map(|(key, text)| (key.clone(), serde_json::from_str(text).unwrap()));
            (arrays(bytes).into_iter().collect(), Value::Object(facts.collect()))
        });
        parsed.collect()
    }
}

/// One run folder.
pub struct RunFolder(pub PathBuf);

impl RunFolder {
    fn class(&self) -> Value {
        let classes = loupe_tests::tree(&self.0.join("classes"));
        let bytes = classes.values().next().expect("a class was run");
        serde_json::from_slice(bytes).unwrap()
    }

    /// Names of the images in the order of the data set, which is by path.
    pub fn images(&self) -> Vec<String> {
        let class = self.class();
        let name = |image: &Value| image["name"].as_str().unwrap().to_owned();
        class["images"].as_array().unwrap().iter().map(name).collect()
    }

    pub fn scores(&self) -> Array {
        let class = self.class();
        let images = class["images"].as_array().unwrap();
        let values: Vec<f64> =
            images.iter().map(|image| image["anomaly_score"].as_f64().unwrap()).collect();
        Array { shape: vec![values.len()], values }
    }

    /// The anomaly maps `[n, h, w]`, all of one size.
    pub fn maps(&self) -> Array {
        let maps = self.each_map();
        let mut shape = vec![maps.len()];
        shape.extend(&maps[0].shape);
        Array { shape, values: maps.into_iter().flat_map(|map| map.values).collect() }
    }

    pub fn each_map(&self) -> Vec<Array> {
        let class = self.class();
        let images = class["images"].as_array().unwrap();
        images.iter().map(|image| npy(&self.0.join(image["map"].as_str().unwrap()))).collect()
    }

    /// Metrics of a protocol, by name.
    pub fn metrics(&self, protocol: &str) -> BTreeMap<String, f64> {
        let class = self.class();
        let rows = class["metrics"].as_array().unwrap();
        let row = rows.iter().find(|row| row["protocol"] == protocol).unwrap();
        metrics(&row["metrics"])
    }
}

pub fn metrics(row: &Value) -> BTreeMap<String, f64> {
    let row = row.as_object().unwrap();
    row.iter().map(|(name, value)| (name.clone(), value.as_f64().unwrap())).collect()
}

/// A NumPy file of f32.
fn npy(path: &Path) -> Array {
    let bytes = read(path);
    assert_eq!(&bytes[..8], b"\x93NUMPY\x01\x00", "{}", path.display());
    let end = 10 + usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    let header = std::str::from_utf8(&bytes[10..end]).unwrap();
    assert!(header.contains("'<f4'") && header.contains("'fortran_order': False"), "{header}");
    let shape = header.split_once('(').unwrap().1.split_once(')').unwrap().0;
    let shape = shape.split(',').filter_map(|size| size.trim().parse().ok()).collect();
    let (floats, _) = bytes[end..].as_chunks::<4>();
    let values = floats.iter().map(|float| f64::from(f32::from_le_bytes(*float))).collect();
    Array { shape, values }
}

/// The same, written.
pub fn write_npy(path: &Path, [height, width]: [usize; 2], values: &[f64]) {
    let mut header =
        format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({height}, {width}), }}");
    while (10 + header.len() + 1) % 64 != 0 {
        header.push(' ');
    }
    header.push('\n');
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend(u16::try_from(header.len()).unwrap().to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.extend(values.iter().flat_map(|value| (*value as f32).to_le_bytes()));
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, bytes).unwrap();
}
