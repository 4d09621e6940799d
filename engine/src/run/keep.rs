//! The keys under which a stage's component keeps bytes: content of files and nothing of the run, so that every stage
//! and every run that means the same bytes finds them.

use std::path::{Path, PathBuf};

use loupe_kernels::ParallelFor;
use serde_json::{Value, json};

use super::keys::{file_digest, hex, numerics};
use crate::cache::{KeptFile, Key, KeyBuilder, Shelf};
use crate::plugin::Keeper;

pub(super) struct StageKeeper {
    pub shelf: Shelf,
    pub plugin: String,
    /// Files that the stage's config names: their contents stand for their paths.
    pub files: Vec<PathBuf>,
}

impl StageKeeper {
    /// Errors: a file that cannot be read.
    fn key(&self, label: &str, config: &Value) -> Result<Key, String> {
        let mut config = config.clone();
        self.put_contents(&mut config)?;
        let key = KeyBuilder::new("kept").str("plugin", &self.plugin).str("label", label);
        Ok(key.str("numerics", numerics()).json("config", &config).finish())
    }

    /// For people: the plugin, the label, and the file that it was made of, which stands in no key.
    fn name(&self, label: &str, config: &Value) -> String {
        let of = self.file_in(config).and_then(Path::file_name);
        let of = of.map_or(String::new(), |name| format!(", {}", name.display()));
        format!("{}: {label}{of}", self.plugin)
    }

    fn file_in<'a>(&self, config: &'a Value) -> Option<&'a Path> {
        match config {
            Value::String(text) => Some(Path::new(text)).filter(|path| self.names(path)),
            Value::Array(items) => items.iter().find_map(|item| self.file_in(item)),
            Value::Object(members) => members.values().find_map(|member| self.file_in(member)),
            _ => None,
        }
    }

    fn names(&self, path: &Path) -> bool {
        self.files.iter().any(|file| file == path)
    }

    fn put_contents(&self, config: &mut Value) -> Result<(), String> {
        match config {
            Value::String(text) if self.names(Path::new(text)) => {
                let digest = file_digest(Path::new(text)).map_err(|error| error.to_string())?;
                *config = json!({ "blake3": hex(&digest) });
                Ok(())
            }
            Value::Array(items) => items.iter_mut().try_for_each(|item| self.put_contents(item)),
            Value::Object(members) => {
                members.values_mut().try_for_each(|member| self.put_contents(member))
            }
            _ => Ok(()),
        }
    }
}

impl Keeper for StageKeeper {
    fn find(
        &self,
        label: &str,
        config: &Value,
        par: ParallelFor,
    ) -> Result<Option<KeptFile>, String> {
        self.shelf.find(&self.key(label, config)?, par)
    }

    fn keep(
        &self,
        label: &str,
        config: &Value,
        parts: &[&[u8]],
        par: ParallelFor,
    ) -> Result<(), String> {
        self.shelf.keep(&self.key(label, config)?, &self.name(label, config), parts, par)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_holds_what_a_file_contains_and_not_where_it_lies() {
        let dir = tempfile::TempDir::new().unwrap();
        let file = |name: &str, text: &str| {
            std::fs::write(dir.path().join(name), text).unwrap();
            dir.path().join(name).display().to_string()
        };
        let [a, copy, other] = [file("a", "w"), file("copy", "w"), file("other", "v")];
        let shelf = || crate::cache::Cache::open(dir.path(), crate::cache::Mode::ReadWrite);
        let keeper = |plugin: &str, files: &[&String]| StageKeeper {
            shelf: shelf().unwrap().shelf().unwrap(),
            plugin: plugin.to_owned(),
            files: files.iter().map(PathBuf::from).collect(),
        };
        let key = |path: &str, bits: u32| {
            let config = json!({ "weights": [{ "of": path }], "bits": bits });
            keeper("loupe-clip", &[&a, &copy, &other]).key("blocks", &config).unwrap()
        };
        assert_eq!(key(&a, 16), key(&copy, 16));
        assert_ne!(key(&a, 16), key(&other, 16));
        assert_ne!(key(&a, 16), key(&a, 32));
        let config = json!({ "weights": [{ "of": a }], "bits": 16 });
        let of = |keeper: StageKeeper, label| keeper.key(label, &config).unwrap();
        assert_ne!(of(keeper("loupe-clip", &[&a]), "layers"), key(&a, 16), "another label");
        assert_ne!(of(keeper("another", &[&a]), "blocks"), key(&a, 16), "another plugin");
        assert_ne!(of(keeper("loupe-clip", &[]), "blocks"), key(&a, 16), "not this stage's file");
        assert_eq!(keeper("loupe-clip", &[&a]).name("blocks", &config), "loupe-clip: blocks, a");
        assert_eq!(keeper("loupe-clip", &[&copy]).name("blocks", &config), "loupe-clip: blocks");
    }
}
