//! Keys that name a file: by a name that somebody knows, or by a path.

use std::path::{Path, PathBuf};

use serde_json::Value as Json;

use super::diagnostics::{Diagnostic, listed, nearest};
use super::schema::Walk;
use super::tree::Node;

/// A file that has a name of its own, such as pinned weights.
#[derive(Clone, Debug, PartialEq)]
pub enum NamedFile {
    Here(PathBuf),
    /// Known, but not on this machine; the sentence says how to get it.
    Absent(String),
}

/// Answers for names of files.
pub type Names<'a> = &'a dyn Fn(&str) -> Option<NamedFile>;

/// A file that is not there, and what to say of it unless somebody makes it.
#[derive(Debug)]
pub struct AbsentFile {
    /// Its absolute path.
    pub file: String,
    pub found: Diagnostic,
}

impl Walk<'_> {
    fn named(&self, text: &str) -> Option<NamedFile> {
        let of_model = self.model.as_ref().map(|model| format!("{model}/{text}"));
        let found = of_model.as_deref().and_then(self.names);
        match found {
            Some(NamedFile::Here(_)) => found,
            _ => match (self.names)(text) {
                Some(NamedFile::Here(file)) => Some(NamedFile::Here(file)),
                plain => found.or(plain),
            },
        }
    }

    /// A name that the component knows stays; a name that the engine knows, or a path, becomes the
    /// absolute path of a file that exists.
    pub(super) fn file(
        &mut self,
        node: &Node,
        text: &str,
        schema: &Json,
        path: &str,
    ) -> Option<Json> {
        let own: Vec<&str> =
            schema["x-names"].as_array().into_iter().flatten().filter_map(Json::as_str).collect();
        if own.contains(&text) {
            return Some(Json::from(text));
        }
        match self.named(text) {
            Some(NamedFile::Here(file)) => {
                self.files.push(path.to_string());
                return Some(Json::from(absolute(&file)));
            }
            Some(NamedFile::Absent(hint)) => {
                let message = format!("`{text}` is not on this machine");
                self.found.push(Diagnostic::warning(node.at, message).hint(hint));
                return Some(Json::from(text));
            }
            None => {}
        }
        let folder = self.folders.get(node.at.source).map_or(Path::new(""), PathBuf::as_path);
        let file = folder.join(text);
        if file.exists() {
            self.files.push(path.to_string());
            return Some(Json::from(absolute(&file)));
        }
        let message = format!("`{path}` of {}: there is no file `{}`", self.owner, file.display());
        let mut found = Diagnostic::error(node.at, message);
        if let Some(name) = nearest(text, own.iter().copied()) {
            found = found.hint(format!("did you mean `{name}`?"));
        }
        if !own.is_empty() {
            let of_weights = self.model.as_ref().filter(|_| path != "model");
            let more = of_weights.map_or("", |_| ", and those of `loupe weights ls`");
            found = found.note(format!("names it knows are {}{more}", listed(own)));
        }
        let file = absolute(&file);
        self.files.push(path.to_string());
        self.absent.push(AbsentFile { file: file.clone(), found });
        Some(Json::from(file))
    }
}

/// The path as text, absolute if the file system lets us say so.
pub fn absolute(path: &Path) -> String {
    let full = path.canonicalize().or_else(|_| std::path::absolute(path));
    full.unwrap_or_else(|_| path.to_path_buf()).to_string_lossy().into_owned()
}
