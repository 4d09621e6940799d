//! Image scores from a file of `path,score` lines; `path` is the map's below the map folder, with
//! or without its extension. A first line that holds no number is a heading.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::EvalError;
use super::pair::Pair;

pub(crate) struct Scores {
    path: PathBuf,
    by_name: HashMap<String, f64>,
}

impl Scores {
    pub(crate) fn read(path: &Path) -> Result<Self, EvalError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| EvalError::Read { path: path.to_path_buf(), source })?;
        let mut by_name = HashMap::new();
        for (index, line) in text.lines().enumerate().filter(|line| !line.1.trim().is_empty()) {
            let refuse = |got: String| {
                Err(EvalError::Scores { path: path.to_path_buf(), line: index + 1, got })
            };
            let Some((name, score)) = line.rsplit_once(',') else {
                return refuse(format!("`{line}` has no comma"));
            };
            let name = name.trim().trim_matches('"');
            match score.trim().parse::<f64>() {
                Ok(score) => {
                    if by_name.insert(stem(name).to_string(), score).is_some() {
                        return refuse(format!("`{name}` has a score already"));
                    }
                }
                Err(_) if index == 0 => {}
                Err(_) => return refuse(format!("`{}` is no number", score.trim())),
            }
        }
        Ok(Scores { path: path.to_path_buf(), by_name })
    }

    pub(crate) fn get(&self, pair: &Pair) -> Result<f64, EvalError> {
        let missing = || EvalError::NoScore { path: self.path.clone(), map: pair.relative.clone() };
        self.by_name.get(stem(&pair.relative)).copied().ok_or_else(missing)
    }
}

/// Without the extension of a map or an image; other dots belong to the name.
fn stem(name: &str) -> &str {
    match name.rsplit_once('.') {
        Some((stem, extension)) => {
            let known = ["tiff", "tif", "npy", "png", "jpg", "jpeg", "bmp"];
            if known.contains(&extension.to_ascii_lowercase().as_str()) { stem } else { name }
        }
        None => name,
    }
}
