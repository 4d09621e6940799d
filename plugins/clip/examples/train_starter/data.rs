//! The training folder in memory: products with pictures, masks and sentences.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::error::{Result, TrainError};
use crate::tower::on_threads;

/// A picture; `mask` is there where the surface is damaged.
pub struct Picture {
    /// `[side,side,3]`
    pub pixels: Vec<u8>,
    /// 1 where damaged: `[side,side]`.
    pub mask: Option<Vec<u8>>,
    /// Some of the damaged places, so that a crop can be put there without looking for it.
    pub places: Vec<(usize, usize)>,
    /// The folder of `test` it lies in; `good` for undamaged ones.
    pub defect: String,
    pub sentences: Vec<String>,
}

/// One product: all pictures show pieces of one surface.
pub struct Product {
    pub family: String,
    pub good: Vec<Picture>,
    pub bad: Vec<Picture>,
}

pub struct Data {
    pub products: Vec<Product>,
    /// Side of every picture.
    pub side: usize,
}

/// A picture before it is read.
struct Entry {
    image: PathBuf,
    mask: Option<PathBuf>,
    defect: String,
}

impl Data {
    /// Reads folders made by `loupe dataset make --set training --captions`. Products with fewer
    /// than two undamaged pictures or no damaged one teach nothing and are left out.
    pub fn read(folders: &[PathBuf], n_threads: usize) -> Result<Self> {
        let (mut found, mut sentences) = (Vec::new(), HashMap::new());
        for folder in folders {
            let classes: Vec<PathBuf> =
                listed(folder)?.into_iter().filter(|path| path.is_dir()).collect();
            if classes.is_empty() {
                return Err(TrainError::bad(folder, NO_CLASSES));
            }
            read_sentences(folder, &mut sentences)?;
            for class in classes {
                let (good, bad) = entries(&class)?;
                if good.len() > 1 && !bad.is_empty() {
                    found.push((family(&class), good, bad));
                }
            }
        }
        let Some(first) = found.first().and_then(|(_, good, _)| good.first()) else {
            let folder = folders.first().cloned().unwrap_or_default();
            return Err(TrainError::bad(folder, NO_CLASSES));
        };
        let side = first.side()?;
        let products = on_threads(found.len(), n_threads, |i| {
            let Some((family, good, bad)) = found.get(i) else {
                return Err(TrainError::Internal { what: "no such product" });
            };
            let read = |entries: &[Entry]| -> Result<Vec<Picture>> {
                entries.iter().map(|entry| entry.read(side, &sentences)).collect()
            };
            Ok(Product { family: family.clone(), good: read(good)?, bad: read(bad)? })
        })?;
        Ok(Self { products, side })
    }

    pub fn pictures(&self) -> impl Iterator<Item = &Picture> {
        self.products.iter().flat_map(|product| product.good.iter().chain(&product.bad))
    }
}

const NO_CLASSES: &str = "holds no product with `train/good` and `test/DEFECT`: make the folder \
     with `loupe dataset make DATA --set training --products 20 --captions`";

impl Entry {
    fn side(&self) -> Result<usize> {
        let read = image::ImageReader::open(&self.image).map_err(TrainError::file(&self.image))?;
        let size = read.into_dimensions();
        let (w, h) = size.map_err(|error| TrainError::bad(&self.image, error.to_string()))?;
        if w != h || w < 64 {
            let message =
                format!("is {w} x {h} pixels; pictures must be square, 64 or more a side");
            return Err(TrainError::bad(&self.image, message));
        }
        Ok(w as usize)
    }

    fn read(&self, side: usize, sentences: &HashMap<PathBuf, Vec<String>>) -> Result<Picture> {
        let pixels = decoded(&self.image, side)?.to_rgb8().into_raw();
        let mask = match &self.mask {
            Some(path) => {
                let grey = decoded(path, side)?.to_luma8().into_raw();
                Some(grey.into_iter().map(|v| u8::from(v > 127)).collect::<Vec<u8>>())
            }
            None => None,
        };
        let damaged = mask.iter().flatten().enumerate().filter(|(_, value)| **value > 0);
        let damaged: Vec<(usize, usize)> = damaged.map(|(i, _)| (i / side, i % side)).collect();
        let places = damaged.iter().copied().step_by((damaged.len() / 64).max(1)).collect();
        let sentences = sentences.get(&self.image).cloned().unwrap_or_default();
        Ok(Picture { pixels, mask, places, defect: self.defect.clone(), sentences })
    }
}

fn decoded(path: &Path, side: usize) -> Result<image::DynamicImage> {
    let reader = image::ImageReader::open(path).map_err(TrainError::file(path))?;
    let image = reader.decode().map_err(|error| TrainError::bad(path, error.to_string()))?;
    if (image.width() as usize, image.height() as usize) != (side, side) {
        let (w, h) = (image.width(), image.height());
        let message = format!(
            "is {w} x {h} pixels, the first picture {side} x {side}: make all \
             folders with the same `--size`"
        );
        return Err(TrainError::bad(path, message));
    }
    Ok(image)
}

/// Files and folders in `folder`, sorted; none if it is not there.
fn listed(folder: &Path) -> Result<Vec<PathBuf>> {
    let read = fs::read_dir(folder).map_err(TrainError::file(folder))?;
    let paths = read.map(|entry| entry.map(|entry| entry.path()));
    let mut paths = paths.collect::<std::io::Result<Vec<_>>>().map_err(TrainError::file(folder))?;
    paths.sort();
    Ok(paths)
}

fn pictures_in(folder: &Path) -> Result<Vec<PathBuf>> {
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let is_png = |path: &PathBuf| path.extension().is_some_and(|e| e.eq_ignore_ascii_case("png"));
    Ok(listed(folder)?.into_iter().filter(is_png).collect())
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// `woven` of `woven_07`.
fn family(class: &Path) -> String {
    let name = name_of(class);
    name.trim_end_matches(|c: char| c.is_ascii_digit()).trim_end_matches('_').to_owned()
}

/// Undamaged and damaged pictures of a class.
fn entries(class: &Path) -> Result<(Vec<Entry>, Vec<Entry>)> {
    let plain = |image| Entry { image, mask: None, defect: "good".to_owned() };
    let mut good: Vec<Entry> =
        pictures_in(&class.join("train/good"))?.into_iter().map(plain).collect();
    let mut bad = Vec::new();
    let test = class.join("test");
    for folder in if test.is_dir() { listed(&test)? } else { Vec::new() } {
        let defect = name_of(&folder);
        for image in pictures_in(&folder)? {
            if defect == "good" {
                good.push(plain(image));
                continue;
            }
            let stem = image.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            let mask = class.join("ground_truth").join(&defect).join(format!("{stem}_mask.png"));
            if !mask.is_file() {
                let message = format!("has no mask: `{}` is missing", mask.display());
                return Err(TrainError::bad(image, message));
            }
            bad.push(Entry { image, mask: Some(mask), defect: defect.clone() });
        }
    }
    Ok((good, bad))
}

/// `captions.csv` with lines `image,caption`; a folder without one has no sentences of its own.
fn read_sentences(folder: &Path, all: &mut HashMap<PathBuf, Vec<String>>) -> Result<()> {
    let path = folder.join("captions.csv");
    if !path.is_file() {
        return Ok(());
    }
    let text = fs::read_to_string(&path).map_err(TrainError::file(&path))?;
    for (index, line) in text.lines().enumerate() {
        let bad = |message: &str| {
            let (line, message) = (index + 1, message.to_owned());
            TrainError::bad(&path, format!("line {line}: {message}"))
        };
        let (image, rest) = csv_field(line).ok_or_else(|| bad("wants `image,caption`"))?;
        let (caption, _) = csv_field(rest).ok_or_else(|| bad("wants `image,caption`"))?;
        match index {
            0 if (image.as_str(), caption.as_str()) == ("image", "caption") => {}
            0 => return Err(bad("wants the header `image,caption`")),
            _ => all.entry(folder.join(image)).or_default().push(caption),
        }
    }
    Ok(())
}

/// The first field of a line of comma-separated values and what follows it. `None` if there is
/// nothing or a quote stays open.
fn csv_field(line: &str) -> Option<(String, &str)> {
    let Some(quoted) = line.strip_prefix('"') else {
        let (field, rest) = line.split_once(',').unwrap_or((line, ""));
        return (!field.is_empty()).then(|| (field.to_owned(), rest));
    };
    let (mut field, mut rest) = (String::new(), quoted);
    loop {
        let (part, behind) = rest.split_once('"')?;
        field.push_str(part);
        match behind.strip_prefix('"') {
            Some(more) => {
                field.push('"');
                rest = more;
            }
            None => return Some((field, behind.strip_prefix(',').unwrap_or(behind))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_captions_is_read_with_its_quotes() {
        let read = |line: &str| csv_field(line).map(|(field, rest)| (field, rest.to_owned()));
        let pair = |a: &str, b: &str| Some((a.to_owned(), b.to_owned()));
        assert_eq!(read("a/b.png,a torn weave"), pair("a/b.png", "a torn weave"));
        assert_eq!(read("\"torn, and \"\"worn\"\"\",x"), pair("torn, and \"worn\"", "x"));
        assert_eq!(read("\"open"), None);
        assert_eq!(read(""), None);
    }

    #[test]
    fn a_class_belongs_to_its_family() {
        assert_eq!(family(Path::new("x/wire_mesh_07")), "wire_mesh");
        assert_eq!(family(Path::new("x/woven")), "woven");
    }

    fn message(folder: &Path) -> String {
        Data::read(&[folder.to_owned()], 1).err().map(|e| e.to_string()).unwrap_or_default()
    }

    #[test]
    fn mistakes_in_a_folder_are_named() {
        let dir = tempfile::tempdir().unwrap();
        assert!(message(&dir.path().join("nowhere")).contains("nowhere"));
        assert!(message(dir.path()).contains("loupe dataset make"));
        let save = |name: &str, w: u32, h: u32| {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            image::RgbImage::new(w, h).save(path).unwrap();
        };
        save("woven_00/train/good/000.png", 64, 64);
        save("woven_00/test/good/000.png", 64, 64);
        save("woven_00/test/crack/000.png", 64, 64);
        assert!(message(dir.path()).contains("000_mask.png` is missing"));
        save("woven_00/ground_truth/crack/000_mask.png", 64, 32);
        assert!(message(dir.path()).contains("64 x 32 pixels"));
        save("woven_00/ground_truth/crack/000_mask.png", 64, 64);
        fs::write(dir.path().join("captions.csv"), "image;caption\n").unwrap();
        assert!(message(dir.path()).contains("line 1: wants `image,caption`"));
        let line = "image,caption\nwoven_00/test/crack/000.png,a crack\n";
        fs::write(dir.path().join("captions.csv"), line).unwrap();
        let data = Data::read(&[dir.path().to_owned()], 2).unwrap();
        assert_eq!((data.products.len(), data.side), (1, 64));
        assert_eq!(data.products[0].bad[0].sentences, ["a crack"]);
        fs::write(dir.path().join("woven_00/train/good/000.png"), "no picture").unwrap();
        assert!(message(dir.path()).contains("000.png"));
    }
}
