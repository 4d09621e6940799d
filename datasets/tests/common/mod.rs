//! What several tests share: trees on disk, and their samples as text.

#![allow(dead_code, reason = "each test file uses its part")]

pub mod sets;

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use loupe_datasets::{Dataset, DatasetError, Layout};

/// Makes a tree with these files, each holding its own name, and returns its root.
pub fn tree(files: &[&str]) -> (tempfile::TempDir, std::path::PathBuf) {
    let dir = tempfile::tempdir().expect("temporary folder");
    let root = dir.path().join("data");
    fs::create_dir(&root).expect("root");
    for file in files {
        let path = root.join(file);
        fs::create_dir_all(path.parent().expect("parent")).expect("folders");
        fs::write(path, file).expect("file");
    }
    (dir, root)
}

/// Makes a tree like [`tree`], but what is called as an image is one, of 2 x 2 pixels, and no two
/// are alike.
pub fn pictures(files: &[&str]) -> (tempfile::TempDir, std::path::PathBuf) {
    let (dir, root) = tree(files);
    for (number, file) in files.iter().enumerate() {
        if let Ok(format) = image::ImageFormat::from_path(file) {
            let [low, high] = (number as u16).to_le_bytes();
            let picture = image::RgbImage::from_pixel(2, 2, image::Rgb([low, high, 7]));
            picture.save_with_format(root.join(file), format).expect("picture");
        }
    }
    (dir, root)
}

pub fn open(root: &Path, layout: &str) -> Result<Dataset, DatasetError> {
    Dataset::open(root, &Layout::find(layout)?, None, None)
}

/// Every role, stray file and warning as text, with paths below the root.
pub fn show(root: &Path, dataset: &Dataset) -> String {
    let mut out = String::new();
    for class in &dataset.classes {
        writeln!(out, "class {} ({})", class.name, class.display).expect("text");
        let roles = [
            ("train", &class.train),
            ("train_anomalous", &class.train_anomalous),
            ("test", &class.test),
        ];
        for (role, samples) in roles {
            for sample in samples {
                write!(out, "  {role} {} {}", sample.kind, sample.name).expect("text");
                write!(out, "{}", if sample.anomalous { " anomalous" } else { "" }).expect("text");
                if let Some(mask) = &sample.mask {
                    let mask = mask.strip_prefix(root).expect("below the root");
                    write!(out, " mask {}", mask.display()).expect("text");
                }
                out.push('\n');
            }
        }
    }
    for path in &dataset.unmatched {
        let path = path.strip_prefix(root).expect("below the root");
        writeln!(out, "unmatched {}", path.display()).expect("text");
    }
    for warning in &dataset.warnings {
        writeln!(out, "warning: {warning}").expect("text");
    }
    let shown = out.replace(&format!("{}", root.display()), "ROOT");
    shown
        .lines()
        .map(|line| {
            wrap(line)
                + "
"
        })
        .collect()
}

/// Breaks a long line at spaces, so that a snapshot stays narrow.
pub fn wrap(line: &str) -> String {
    let mut out = String::new();
    let mut width = 0;
    for word in line.split_inclusive(' ') {
        if width + word.len() > 76 {
            out.truncate(out.trim_end().len());
            out.push_str("\n      ");
            width = 6;
        }
        out.push_str(word);
        width += word.len();
    }
    out
}
