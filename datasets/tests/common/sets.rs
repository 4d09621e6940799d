//! Miniature trees of public data sets, with real pictures of a few pixels.

use std::fs;
use std::path::PathBuf;

use super::pictures;

pub const MPDD: &[&str] = &[
    "bracket_black/train/good/000.png",
    "bracket_black/train/good/001.png",
    "bracket_black/test/good/000.png",
    "bracket_black/test/hole/000.png",
    "bracket_black/test/scratches/000.png",
    "bracket_black/ground_truth/hole/000_mask.png",
    "bracket_black/ground_truth/scratches/000_mask.png",
    "bracket_black/license.txt",
    "tubes/train/good/000.png",
    "tubes/test/good/000.png",
    "tubes/test/anomalous/000.png",
    "tubes/ground_truth/anomalous/000_mask.png",
    "readme.txt",
];

pub const BTAD: &[&str] = &[
    "01/train/ok/0000.bmp",
    "01/test/ok/0001.bmp",
    "01/test/ko/0002.bmp",
    "01/ground_truth/ko/0002.png",
    "02/train/ok/0000.png",
    "02/test/ok/0001.png",
    "02/test/ko/0002.png",
    "02/ground_truth/ko/0002.png",
    "03/train/good/0000.bmp",
    "03/test/good/0001.bmp",
    "03/test/ko/0002.bmp",
    "03/ground_truth/ko/0002.bmp",
];

pub const MVTEC_3D: &[&str] = &[
    "bagel/calibration/camera_parameters.json",
    "bagel/train/good/rgb/000.png",
    "bagel/train/good/xyz/000.tiff",
    "bagel/validation/good/rgb/000.png",
    "bagel/validation/good/xyz/000.tiff",
    "bagel/test/good/rgb/000.png",
    "bagel/test/good/xyz/000.tiff",
    "bagel/test/good/gt/000.png",
    "bagel/test/crack/rgb/000.png",
    "bagel/test/crack/xyz/000.tiff",
    "bagel/test/crack/gt/000.png",
    "cable_gland/train/good/rgb/000.png",
    "cable_gland/test/bent/rgb/000.png",
    "cable_gland/test/bent/gt/000.png",
    "cable_gland/test/good/rgb/000.png",
    "cable_gland/test/good/gt/000.png",
];

const VISA: &[&str] = &[
    "candle/Data/Images/Normal/0836.JPG",
    "candle/Data/Images/Normal/0451.JPG",
    "candle/Data/Images/Normal/0001.JPG",
    "candle/Data/Images/Anomaly/000.JPG",
    "candle/Data/Masks/Anomaly/000.png",
    "candle/image_anno.csv",
    "pcb1/Data/Images/Normal/0000.JPG",
    "pcb1/Data/Images/Normal/0001.JPG",
    "pcb1/Data/Images/Anomaly/007.JPG",
    "pcb1/Data/Masks/Anomaly/007.png",
];

/// The rows of the training split are in no order, and that order is kept.
const VISA_SPLIT: &str = "object,split,label,image,mask
candle,train,normal,candle/Data/Images/Normal/0836.JPG,
candle,train,normal,candle/Data/Images/Normal/0451.JPG,
candle,test,normal,candle/Data/Images/Normal/0001.JPG,
candle,test,anomaly,candle/Data/Images/Anomaly/000.JPG,candle/Data/Masks/Anomaly/000.png
pcb1,train,normal,pcb1/Data/Images/Normal/0001.JPG,
pcb1,test,normal,pcb1/Data/Images/Normal/0000.JPG,
pcb1,test,anomaly,pcb1/Data/Images/Anomaly/007.JPG,pcb1/Data/Masks/Anomaly/007.png
";

const MEDICAL: &[&str] = &[
    "OBJ_AD/train/good/img/0.png",
    "OBJ_AD/valid/good/img/1.png",
    "OBJ_AD/valid/good/img/2.png",
    "OBJ_AD/valid/Ungood/img/3.png",
    "OBJ_AD/valid/Ungood/MASK/3.png",
    "OBJ_AD/test/good/img/4.png",
    "OBJ_AD/test/Ungood/img/5.png",
    "OBJ_AD/test/Ungood/MASK/5.png",
];

/// VisA with its table.
pub fn visa() -> (tempfile::TempDir, PathBuf) {
    let (dir, root) = pictures(VISA);
    fs::create_dir(root.join("split_csv")).expect("folder");
    fs::write(root.join("split_csv/1cls.csv"), VISA_SPLIT).expect("table");
    (dir, root)
}

/// A medical tree of one class with its masks in a folder of that name, or without masks.
pub fn medical(object: &str, mask: Option<&str>) -> (tempfile::TempDir, PathBuf) {
    let files: Vec<String> = MEDICAL
        .iter()
        .filter(|file| mask.is_some() || !file.contains("MASK"))
        .map(|file| file.replace("OBJ", object).replace("MASK", mask.unwrap_or_default()))
        .collect();
    pictures(&files.iter().map(String::as_str).collect::<Vec<_>>())
}
