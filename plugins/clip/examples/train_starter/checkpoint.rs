//! Where training stands, so that it can go on to the same end.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io::Write;
use std::path::Path;

use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};

use crate::error::{Result, TrainError};
use crate::model::Model;
use crate::rng::Rng;
use crate::tensors::{in_place, with_values};

/// What belongs to the run besides the model.
#[derive(Clone, Debug, PartialEq)]
pub struct Progress {
    /// Steps done.
    pub step: usize,
    pub rng: Rng,
    /// What must be the same when training goes on, in words.
    pub settings: String,
}

/// Names and values of everything that is kept of the model.
fn parts(model: &Model) -> Result<BTreeMap<String, Vec<u8>>> {
    let mut parts = BTreeMap::new();
    for trained in model.buffers() {
        let moments = &trained.moments;
        let weights = with_values(&trained.var, bytes)?;
        for (what, bytes) in [
            ("weights", weights),
            ("average", bytes(&moments.average)),
            ("first", bytes(&moments.first)),
            ("second", bytes(&moments.second)),
        ] {
            parts.insert(format!("{}.{what}", trained.name), bytes);
        }
    }
    Ok(parts)
}

fn bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

/// Writes a checkpoint. A crash leaves the one before.
pub fn save(path: &Path, model: &Model, progress: &Progress) -> Result<()> {
    let parts = parts(model)?;
    let view = |bytes| TensorView::new(Dtype::F32, vec![<[u8]>::len(bytes) / 4], bytes);
    let views = parts.iter().map(|(name, bytes)| view(bytes).map(|view| (name, view)));
    let views: Vec<_> = views.collect::<Result<_, _>>().map_err(|error| unwritable(path, error))?;
    let state = progress.rng.state.map(|word| word.to_string()).join(" ");
    let metadata = HashMap::from([(
        "progress".to_owned(),
        format!("{}\n{state}\n{}", progress.step, progress.settings),
    )]);
    let file = safetensors::serialize(views, Some(metadata));
    write_whole(path, &file.map_err(|error| unwritable(path, error))?)
}

fn unwritable(path: &Path, error: safetensors::SafeTensorError) -> TrainError {
    TrainError::bad(path, format!("cannot be written: {error}"))
}

/// Writes to a temporary name, then renames: nobody ever sees half a file.
pub fn write_whole(path: &Path, bytes: &[u8]) -> Result<()> {
    let temporary = path.with_extension("tmp");
    let write = || {
        let mut file = fs::File::create(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, path)
    };
    write().map_err(TrainError::file(path))
}

/// Reads a checkpoint into `model`. Errors: `Bad` if it is none, or one of other `settings`.
pub fn load(path: &Path, model: &mut Model, settings: &str) -> Result<Progress> {
    let file = fs::read(path).map_err(TrainError::file(path))?;
    let bad = |message: &str| TrainError::bad(path, message);
    let other = "is no checkpoint of this trainer: train again without `--resume`";
    let (_, metadata) = SafeTensors::read_metadata(&file).map_err(|_| bad(other))?;
    let tensors = SafeTensors::deserialize(&file).map_err(|_| bad(other))?;
    let text = metadata.metadata().as_ref().and_then(|all| all.get("progress"));
    let progress = text.and_then(|text| parsed(text)).ok_or_else(|| bad(other))?;
    if progress.settings != settings {
        let (had, have) = (&progress.settings, settings);
        let message = format!(
            "was made with `{had}`, but this is `{have}`: give the same options \
             and data, or train again without `--resume`"
        );
        return Err(TrainError::bad(path, message));
    }
    for trained in model.buffers_mut() {
        let n = trained.layout.len();
        let read = |what: &str| {
            let view = tensors.tensor(&format!("{}.{what}", trained.name)).ok();
            let view = view.filter(|view| view.dtype() == Dtype::F32 && view.shape() == [n]);
            let (values, _) = view.ok_or_else(|| bad(other))?.data().as_chunks::<4>();
            Ok::<Vec<f32>, TrainError>(values.iter().map(|v| f32::from_le_bytes(*v)).collect())
        };
        let weights = read("weights")?;
        let (average, first, second) = (read("average")?, read("first")?, read("second")?);
        in_place(&trained.var, |values| values.copy_from_slice(&weights))?;
        trained.moments = crate::optimizer::Moments { first, second, average };
    }
    Ok(progress)
}

fn parsed(text: &str) -> Option<Progress> {
    let mut lines = text.splitn(3, '\n');
    let step = lines.next()?.parse().ok()?;
    let words = lines.next()?.split(' ').map(|word| word.parse().ok());
    let state = <[u64; 4]>::try_from(words.collect::<Option<Vec<u64>>>()?).ok()?;
    Some(Progress { step, rng: Rng { state }, settings: lines.next()?.to_owned() })
}
