//! What the report shows of a class: its worst and its best images, with their masks and maps on
//! one scale of colours.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use image::codecs::jpeg::JpegEncoder;
use loupe_kernels::{Filter, serial};
use rayon::prelude::*;

use super::ReportError;
use super::contour;
use super::html::{ClassPage, Group, Shown, Tile};
use super::names::{Names, below_class};
use super::panels::{Shades, panels_png};
use crate::experiment::{ClassRecord, ImageRecord};
use crate::files::write_whole;
use crate::image::{
    Colours, Mask, Overlay, Rgb, colourise, decode_mask, decode_rgb, encode_png, overlay,
};

/// Images in each group.
const N_SHOWN: usize = 4;
/// Longer side of a picture in the report, in pixels.
const SIDE: usize = 256;
/// Quality of JPEG. The report embeds hundreds of photographs; as PNG they would make it ten times
/// as large.
const QUALITY: u8 = 86;
/// Values of each map that take part in the class's range.
const N_SAMPLED: usize = 4096;
/// Quantiles of the class's map values that get the darkest and the lightest colour.
pub const RANGE: [f64; 2] = [0.02, 0.995];

/// What is kept of a class's maps: where they are, and enough values for a common scale.
#[derive(Default)]
pub struct ClassMaps {
    pub names: Names,
    maps: BTreeMap<String, SavedMap>,
    sampled: Vec<f32>,
}

struct SavedMap {
    file: PathBuf,
    hw: [usize; 2],
    lowest: f32,
    peak: f32,
}

impl ClassMaps {
    pub fn add(&mut self, image: &str, file: PathBuf, hw: [usize; 2], map: &[f32]) {
        let finite = map.iter().copied().filter(|value| value.is_finite());
        self.sampled.extend(finite.step_by(map.len().div_ceil(N_SAMPLED).max(1)));
        let lowest = map.iter().copied().fold(f32::INFINITY, f32::min);
        let peak = map.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        self.maps.insert(image.to_owned(), SavedMap { file, hw, lowest, peak });
    }

    pub fn peak(&self, image: &str) -> Option<f64> {
        self.maps.get(image).map(|map| f64::from(map.peak)).filter(|peak| peak.is_finite())
    }

    /// Scores that get the darkest and the lightest colour, for every picture of the class.
    fn range(&self) -> Option<[f32; 2]> {
        let mut values = self.sampled.clone();
        values.sort_unstable_by(f32::total_cmp);
        let last = values.len().checked_sub(1)?;
        let at = |level: f64| values.get((level * last as f64).round() as usize).copied();
        let [low, high] = [at(RANGE[0])?, at(RANGE[1])?];
        // Constant maps still need a scale; they are shown dark.
        let least = (low.abs() * 1e-3).max(1e-6);
        Some([low, high.max(low + least)])
    }

    /// Half-way between the lowest and the highest score of all maps.
    fn middle(&self) -> f32 {
        let low = self.maps.values().fold(f32::INFINITY, |low, map| low.min(map.lowest));
        let high = self.maps.values().fold(f32::NEG_INFINITY, |high, map| high.max(map.peak));
        low * 0.5 + high * 0.5
    }

    /// Reads a map back. `None`: the image has none, or its file is gone.
    fn read(&self, folder: &Path, image: &str) -> Option<(Vec<f32>, [usize; 2])> {
        let saved = self.maps.get(image)?;
        let bytes = std::fs::read(folder.join(&saved.file)).ok()?;
        let n_bytes = saved.hw[0].checked_mul(saved.hw[1])?.checked_mul(4)?;
        let data = bytes.get(bytes.len().checked_sub(n_bytes)?..)?;
        let value = |four: &[u8]| four.try_into().map_or(f32::NAN, f32::from_le_bytes);
        Some((data.chunks_exact(4).map(value).collect(), saved.hw))
    }
}

/// Chooses and draws what the report shows. Never fails: what cannot be shown says why.
pub fn class_page(
    folder: &Path,
    record: &ClassRecord,
    maps: &ClassMaps,
    mask_above: u8,
) -> ClassPage {
    let range = maps.range();
    let show = |image: &&ImageRecord| {
        let map = maps.read(folder, &image.name).zip(range);
        let (tiles, note) = match draw(image, map, mask_above) {
            Ok(tiles) => (tiles, None),
            Err(why) => (Vec::new(), Some(why)),
        };
        Shown { name: image.name.clone(), score: image.anomaly_score, tiles, note }
    };
    let groups = choose(record).into_iter().filter(|group| !group.1.is_empty());
    let groups =
        groups.map(|(title, images)| Group { title, shown: images.par_iter().map(show).collect() });
    ClassPage { range, groups: groups.collect() }
}

/// Every image with its map over it, at the image's size. Images without a map are left out.
/// Errors: `Write`; an image that cannot be read any more is left out.
pub fn save_overlays(
    folder: &Path,
    run: &Path,
    record: &ClassRecord,
    maps: &ClassMaps,
) -> Result<(), ReportError> {
    let Some(range) = maps.range() else { return Ok(()) };
    save_each(folder, run, record, maps, &|image, map, hw| {
        let picture = overlay(&read_rgb(image)?, map, hw, &style(range), &serial);
        encode_png(&picture.map_err(text)?).map_err(text)
    })
}

/// Every image with its panels. The threshold is the record's; without masks, half-way between the lowest and
/// the highest score of the class. A normal image has an empty mask where others have one.
/// Errors: as `save_overlays`.
pub fn save_panels(
    folder: &Path,
    run: &Path,
    record: &ClassRecord,
    maps: &ClassMaps,
    mask_above: u8,
) -> Result<(), ReportError> {
    let Some(range) = maps.range() else { return Ok(()) };
    let shades = Shades { range, threshold: record.threshold.unwrap_or_else(|| maps.middle()) };
    let has_masks = record.images.iter().any(|image| image.mask.is_some());
    save_each(folder, run, record, maps, &|image, map, hw| {
        let mask = match &image.mask {
            Some(path) => Some(read_mask(path, mask_above)?),
            None if has_masks && !image.anomalous => {
                Some(Mask { width: 1, height: 1, pixels: vec![false] })
            }
            None => None,
        };
        panels_png(&read_rgb(image)?, mask.as_ref(), map, hw, shades).map_err(text)
    })
}

/// From an image with its map `[h,w]` to a file.
type Draw<'a> = dyn Fn(&ImageRecord, &[f32], [usize; 2]) -> Result<Vec<u8>, String> + Sync + 'a;

fn save_each(
    folder: &Path,
    run: &Path,
    record: &ClassRecord,
    maps: &ClassMaps,
    draw: &Draw<'_>,
) -> Result<(), ReportError> {
    let mut names = Names::default();
    let mut file = |image: &ImageRecord| names.path(below_class(&record.class, &image.name), "png");
    let files: Vec<_> = record.images.iter().map(|image| (image, file(image))).collect();
    files.par_iter().try_for_each(|(image, file)| {
        let Some((map, hw)) = maps.read(run, &image.name) else { return Ok(()) };
        match draw(image, &map, hw) {
            Ok(png) => Ok(write_whole(&folder.join(file), &png)?),
            Err(_) => Ok(()),
        }
    })
}

type Chosen<'a> = (&'static str, Vec<&'a ImageRecord>);

/// Normal images that look most anomalous, anomalous ones that look least so, and then the clearest
/// of the rest.
fn choose(record: &ClassRecord) -> [Chosen<'_>; 3] {
    let of = |anomalous: bool| {
        let scored = record.images.iter().filter(|image| image.anomaly_score.is_some());
        let mut images: Vec<&ImageRecord> =
            scored.filter(|image| image.anomalous == anomalous).collect();
        // Equal scores keep the order of the data set.
        images.sort_by(|one, other| {
            let [one, other] = [one, other].map(|image| image.anomaly_score.unwrap_or(f64::NAN));
            other.total_cmp(&one)
        });
        images
    };
    let (mut normal, mut found) = (of(false), of(true));
    let mut missed = found.split_off(found.len().saturating_sub(N_SHOWN));
    missed.reverse();
    normal.truncate(N_SHOWN);
    found.truncate(N_SHOWN);
    [
        ("Normal images with the highest scores", normal),
        ("Anomalous images with the lowest scores", missed),
        ("Anomalous images with the highest scores", found),
    ]
}

type MapOnScale = ((Vec<f32>, [usize; 2]), [f32; 2]);

/// The image with its defect outlined, the map over it, and the map alone.
fn draw(image: &ImageRecord, map: Option<MapOnScale>, mask_above: u8) -> Result<Vec<Tile>, String> {
    let rgb = read_rgb(image)?;
    let [height, width] = fitted(rgb.height, rgb.width);
    let small = rgb.resize([height, width], Filter::Bicubic, &serial).map_err(text)?;
    let mut outlined = small.clone();
    let alt = match &image.mask {
        Some(path) => {
            contour::draw(&mut outlined, &read_mask(path, mask_above)?);
            "image with its defect outlined"
        }
        None => "image",
    };
    let mut tiles = vec![Tile { alt, jpeg: jpeg(&outlined)? }];
    if let Some(((map, hw), range)) = map {
        let style = style(range);
        let heat = overlay(&small, &map, hw, &style, &serial).map_err(text)?;
        tiles.push(Tile { alt: "anomaly map over the image", jpeg: jpeg(&heat)? });
        let alone = colourise(&map, hw, [height, width], &style, &serial).map_err(text)?;
        tiles.push(Tile { alt: "anomaly map", jpeg: jpeg(&alone)? });
    }
    Ok(tiles)
}

fn style(range: [f32; 2]) -> Overlay {
    Overlay { colours: Colours::Ember, range, alpha: 0.5 }
}

fn read_rgb(image: &ImageRecord) -> Result<Rgb, String> {
    let name = image.path.display().to_string();
    let bytes = std::fs::read(&image.path).map_err(|error| format!("image `{name}`: {error}"))?;
    decode_rgb(&bytes, &name).map_err(text)
}

fn read_mask(path: &Path, mask_above: u8) -> Result<Mask, String> {
    let name = path.display().to_string();
    let bytes = std::fs::read(path).map_err(|error| format!("mask `{name}`: {error}"))?;
    decode_mask(&bytes, &name, mask_above).map_err(text)
}

/// Sides of the picture in the report: the longer at most `SIDE`, none zero.
pub fn fitted(height: usize, width: usize) -> [usize; 2] {
    let longer = height.max(width).max(SIDE);
    [height, width].map(|side| ((side * SIDE + longer / 2) / longer).max(1))
}

fn jpeg(rgb: &Rgb) -> Result<Vec<u8>, String> {
    let sides = |side: usize| u32::try_from(side).map_err(text);
    let (width, height) = (sides(rgb.width)?, sides(rgb.height)?);
    let mut bytes = Vec::new();
    let mut encoder = JpegEncoder::new_with_quality(&mut bytes, QUALITY);
    encoder.encode(&rgb.pixels, width, height, image::ExtendedColorType::Rgb8).map_err(text)?;
    Ok(bytes)
}

fn text(error: impl ToString) -> String {
    error.to_string()
}
