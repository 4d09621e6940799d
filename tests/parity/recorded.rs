//! What the reference stack gave: the tensors of `tests/golden`, by name.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use safetensors::{Dtype, SafeTensors};

/// Numbers of any stored type; f64 holds each of them exactly.
#[derive(Clone, Debug, PartialEq)]
pub struct Array {
    pub shape: Vec<usize>,
    pub values: Vec<f64>,
}

/// One recorded file, which remembers what was asked of it.
pub struct Recorded {
    arrays: BTreeMap<String, Array>,
    asked: RefCell<BTreeSet<String>>,
}

/// A folder of golden files: `fade` or `clip-lmfa`.
pub fn folder(name: &str) -> PathBuf {
    loupe_tests::root().join("tests/golden").join(name)
}

impl Recorded {
    pub fn read(golden: &str, model: &str) -> Recorded {
        let path = folder(golden).join(format!("{model}.safetensors"));
        let arrays = arrays(&read(&path)).into_iter().collect();
        Recorded { arrays, asked: RefCell::default() }
    }

    pub fn get(&self, name: &str) -> &Array {
        self.asked.borrow_mut().insert(name.to_owned());
        self.arrays.get(name).unwrap_or_else(|| panic!("`{name}` is not recorded"))
    }

    pub fn has(&self, name: &str) -> bool {
        self.arrays.contains_key(name)
    }

    /// Names that start so.
    pub fn names<'a>(&'a self, start: &'a str) -> impl Iterator<Item = &'a str> {
        self.arrays.keys().map(String::as_str).filter(move |name| name.starts_with(start))
    }

    /// What nobody compared with anything.
    pub fn left(&self) -> Vec<&str> {
        let asked = self.asked.borrow();
        self.arrays.keys().map(String::as_str).filter(|name| !asked.contains(*name)).collect()
    }
}

/// All arrays of a safetensors file.
pub fn arrays(bytes: &[u8]) -> Vec<(String, Array)> {
    let file = SafeTensors::deserialize(bytes).unwrap();
    let array = |(name, view): (String, safetensors::tensor::TensorView<'_>)| {
        let (shape, data) = (view.shape().to_vec(), view.data());
        let values = match view.dtype() {
            Dtype::U8 => data.iter().map(|byte| f64::from(*byte)).collect(),
            Dtype::F32 => {
                let (floats, _) = data.as_chunks::<4>();
                floats.iter().map(|float| f64::from(f32::from_le_bytes(*float))).collect()
            }
            Dtype::F64 => {
                let (floats, _) = data.as_chunks::<8>();
                floats.iter().map(|float| f64::from_le_bytes(*float)).collect()
            }
            other => panic!("`{name}` has the type {other:?}"),
        };
        (name, Array { shape, values })
    };
    file.tensors().into_iter().map(array).collect()
}

pub fn read(path: &Path) -> Vec<u8> {
    std::fs::read(path).unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()))
}

/// A digest that takes one line in every language.
pub fn fnv1a64(bytes: &[u8]) -> u64 {
    let step = |digest: u64, byte: &u8| (digest ^ u64::from(*byte)).wrapping_mul(0x100_0000_01B3);
    bytes.iter().fold(0xCBF2_9CE4_8422_2325, step)
}
