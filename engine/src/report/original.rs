//! What `run_fade.py` of FADE and of CLIP-LMFA leaves behind, under the same names and in the same
//! columns, for programs that read it: `result/evaluation_results.csv`, `result/plot_results.csv`,
//! `segmentations/` and `images/`. Its `config.yaml` is our `pipeline.toml`.

use std::path::Path;

use loupe_kernels::{Filter, serial};
use serde_json::Value as Json;

use super::names::Names;
use super::panels::{black_and_white, side_by_side};
use super::tables::number;
use crate::eval::AnomalyMap;
use crate::experiment::ClassRecord;
use crate::files::csv_field;
use crate::image::{Colours, Mask, Overlay, Rgb, colourise, encode_png};
use crate::metrics::{ClassMetrics, Columns, Protocol, Value, mean_over_classes};

/// Its columns, and ours.
const COLUMNS: [(&str, &str); 8] = [
    ("full_image_auroc", "image.auroc"),
    ("full_image_aupr", "image.aupr_trapz"),
    ("full_image_f1_max", "image.f1max"),
    ("full_pixel_auroc", "pixel.auroc"),
    ("full_pixel_f1_max", "pixel.f1max"),
    ("full_pixel_au_pro", "pixel.aupro@0.3"),
    ("anomaly_pixel_auroc", "pixel.auroc_anomalous_only"),
    ("anomaly_pixel_f1_max", "pixel.f1max_anomalous_only"),
];

/// Side of each of the four panels of a picture, in pixels.
const PANEL: usize = 300;

/// What of it a run writes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Originals {
    /// Both tables.
    pub tables: bool,
    /// Maps on their grid as grey PNG, 8 bits by truncation.
    pub maps: bool,
    /// Image, mask, map, and the map over the image, side by side.
    pub panels: bool,
}

/// What the pipeline computes: a mode that is `none` leaves its columns empty.
#[derive(Clone, Copy, Debug)]
pub struct Modes {
    pub scores: bool,
    pub maps: bool,
}

impl Modes {
    /// From the pipeline with its defaults.
    pub fn of(resolved: &Json) -> Modes {
        let has = |key: &str| resolved.pointer(key).is_some_and(Json::is_string);
        Modes { scores: has("/output/anomaly_score"), maps: has("/output/anomaly_map") }
    }
}

/// One line a class and their unweighted mean, by the first protocol with FADE's columns; a mode
/// that is off, and what is undefined, is an empty field and makes the mean empty.
pub fn evaluation_csv(records: &[ClassRecord], modes: Modes) -> String {
    let is_fade = |row: &&ClassMetrics| {
        Protocol::find(&row.protocol).is_some_and(|protocol| protocol.columns == Columns::Fade)
    };
    let rows: Vec<ClassMetrics> = records
        .iter()
        .filter_map(|record| {
            let row = record.metrics.iter().find(is_fade)?.clone();
            Some(ClassMetrics { class: record.class.clone(), ..row })
        })
        .collect();
    let mut text = String::from("object_name");
    COLUMNS.iter().for_each(|(theirs, _)| text.push_str(&format!(",{theirs}")));
    text.push('\n');
    for row in rows.iter().chain(&mean_over_classes(&rows)) {
        text.push_str(&csv_field(&row.class));
        for (_, ours) in COLUMNS {
            let on = if ours.starts_with("image") { modes.scores } else { modes.maps };
            let value = row.get(ours).filter(|_| on).and_then(Value::get);
            text.push_str(&format!(",{}", number(value)));
        }
        text.push('\n');
    }
    text
}

/// One line a test image. The original cuts a name at its first dot; this cuts the extension.
pub fn plot_csv(records: &[ClassRecord], modes: Modes, panels: bool) -> String {
    let score = if modes.scores { ",image_anomaly_score" } else { "" };
    let mut text =
        format!("classname,anomaly,is_anomaly,image_name,image_path,mask_path{score},vis_path\n");
    let mut names = Names::default();
    for record in records {
        for image in &record.images {
            let mask = image.mask.as_ref();
            let mask = mask.map_or_else(|| "None".to_owned(), |path| path.display().to_string());
            let is_anomaly = if image.anomalous { "True" } else { "False" };
            let name = Path::new(&image.name).with_extension("").display().to_string();
            let mut fields = vec![
                csv_field(&record.class),
                csv_field(&image.kind),
                is_anomaly.to_owned(),
                csv_field(&name),
                csv_field(&image.path.display().to_string()),
                csv_field(&mask),
            ];
            if modes.scores {
                fields.push(number(image.anomaly_score.map(|score| score.clamp(0.0, 1.0))));
            }
            let file = Path::new("images").join(names.path(&image.name, "png"));
            let file =
                if panels && modes.maps { file.display().to_string() } else { String::new() };
            fields.push(csv_field(&file));
            text.push_str(&(fields.join(",") + "\n"));
        }
    }
    text
}

/// The map on its grid, grey. Errors: words.
pub fn map_png(map: &AnomalyMap) -> Result<Vec<u8>, String> {
    encode_png(&grey(map)).map_err(|error| error.to_string())
}

/// The four panels, without the original's titles. Errors: words.
pub fn panels_png(rgb: &Rgb, mask: Option<&Mask>, map: &AnomalyMap) -> Result<Vec<u8>, String> {
    let text = |error: crate::image::ImageError| error.to_string();
    let hw = [PANEL, PANEL];
    let image = rgb.resize(hw, Filter::Bicubic, &serial).map_err(text)?;
    let truth = match mask {
        Some(mask) => mask.resize(hw, &serial).map_err(text)?.pixels,
        None => vec![false; PANEL * PANEL],
    };
    let grey = grey(map).resize(hw, Filter::Bilinear, &serial).map_err(text)?;
    let style = Overlay { colours: Colours::Jet, range: [0.0, 1.0], alpha: 0.5 };
    let clipped: Vec<f32> = map.pixels.iter().map(|score| score.clamp(0.0, 1.0)).collect();
    let hot = colourise(&clipped, [map.height, map.width], hw, &style, &serial).map_err(text)?;
    let mixed = |(hot, image): (&u8, &u8)| ((u16::from(*hot) + u16::from(*image)) / 2) as u8;
    let over: Vec<u8> = hot.pixels.iter().zip(&image.pixels).map(mixed).collect();
    let over = Rgb { pixels: over, ..hot };
    let panels = [image, black_and_white(truth, hw), grey, over];
    encode_png(&side_by_side(&panels, hw)).map_err(text)
}

fn grey(map: &AnomalyMap) -> Rgb {
    let pixels = map.pixels.iter().flat_map(|score| [map.level(*score); 3]).collect();
    Rgb { width: map.width, height: map.height, pixels, exif_rotated: false }
}
