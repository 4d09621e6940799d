//! Which key lies in which shard. Kept in memory only: the shards themselves are the truth.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::Key;
use super::read::Shard;
use super::seal::Refusal;

/// A folder changed less than this ago may change again within the tick of its file system's clock.
/// Where ticks are longer, a value that another run just wrote may be computed anew.
const SETTLED: Duration = Duration::from_millis(50);

#[derive(Debug, Default)]
pub(super) struct Index {
    rows: HashMap<Key, (Arc<Shard>, u32, u32)>,
    shards: HashMap<PathBuf, Arc<Shard>>,
    /// Seen and not taken, or gone: not looked at again.
    refused: HashSet<PathBuf>,
    /// When each folder had changed last, as far as that is settled.
    folders: HashMap<PathBuf, SystemTime>,
}

impl Index {
    pub fn contains(&self, key: &Key) -> bool {
        self.rows.contains_key(key)
    }

    /// The shard, group and row of a key.
    pub fn find(&self, key: &Key) -> Option<(Arc<Shard>, usize, usize)> {
        self.rows
            .get(key)
            .map(|(shard, group, row)| (shard.clone(), *group as usize, *row as usize))
    }

    pub fn shards(&self) -> Vec<Arc<Shard>> {
        let mut shards: Vec<_> = self.shards.values().cloned().collect();
        shards.sort_by(|a, b| a.path.cmp(&b.path));
        shards
    }

    pub fn add(&mut self, path: &Path, opened: Result<Shard, Refusal>) -> Result<(), Refusal> {
        let shard = match opened {
            Ok(shard) => Arc::new(shard),
            Err(refusal) => {
                self.refused.insert(path.to_owned());
                return Err(refusal);
            }
        };
        self.refused.remove(path);
        for (g, group) in shard.groups.iter().enumerate() {
            for (row, key) in group.keys.iter().enumerate() {
                self.rows.insert(*key, (shard.clone(), g as u32, row as u32));
            }
        }
        self.shards.insert(path.to_owned(), shard);
        Ok(())
    }

    pub fn remove(&mut self, path: &Path) {
        self.rows.retain(|_, (shard, _, _)| shard.path != path);
        self.shards.remove(path);
        self.refused.insert(path.to_owned());
    }

    /// Shards that appeared since the last call. Costs one `stat` when nothing changed: a shard is
    /// moved out of `root` into one of its folders, which changes both.
    pub fn new_shards(&mut self, root: &Path) -> Vec<PathBuf> {
        if !self.changed(root) {
            return Vec::new();
        }
        let mut found = Vec::new();
        for folder in list(root).into_iter().filter(|path| path.is_dir()) {
            if self.changed(&folder) {
                found.extend(list(&folder).into_iter().filter(|path| {
                    path.extension().is_some_and(|extension| extension == "h5")
                        && !self.shards.contains_key(path)
                        && !self.refused.contains(path)
                }));
            }
        }
        found.sort();
        found
    }

    fn changed(&mut self, folder: &Path) -> bool {
        let modified = fs::metadata(folder).and_then(|metadata| metadata.modified()).ok();
        let before = self.folders.get(folder).copied();
        let settled = modified.filter(|time| time.elapsed().is_ok_and(|age| age > SETTLED));
        self.folders.insert(folder.to_owned(), settled.unwrap_or(SystemTime::UNIX_EPOCH));
        settled.is_none() || before != settled
    }
}

/// The entries of a folder; none if it cannot be read.
pub(super) fn list(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten();
    let mut paths: Vec<PathBuf> = entries.filter_map(|e| e.ok().map(|e| e.path())).collect();
    paths.sort();
    paths
}
