//! State files and keys that lie, and what is said of them.

use loupe_madff::{Bank, Drawn, MadffError};

use super::*;

/// The recorded state, changed by `edit`: name -> shape and numbers.
fn edited(
    taps: Option<&str>,
    edit: impl FnOnce(&mut HashMap<String, (Vec<usize>, Vec<f32>)>),
) -> &'static [u8] {
    let plain = |(name, tensor): (String, Tensor)| {
        (name, (tensor.dims().to_vec(), tensor.f32s().unwrap().to_vec()))
    };
    let mut tensors: HashMap<_, _> = read(MADFF_FILE).into_iter().map(plain).collect();
    edit(&mut tensors);
    let bytes: HashMap<String, (Vec<usize>, Vec<u8>)> = tensors
        .into_iter()
        .map(|(name, (shape, numbers))| {
            (name, (shape, numbers.iter().flat_map(|x| x.to_le_bytes()).collect()))
        })
        .collect();
    let views = bytes.iter().map(|(name, (shape, bytes))| {
        let dtype = safetensors::Dtype::F32;
        let view = safetensors::tensor::TensorView::new(dtype, shape.clone(), bytes).unwrap();
        (name.as_str(), view)
    });
    let meta = taps.map(|taps| HashMap::from([("taps".to_owned(), taps.to_owned())]));
    safetensors::serialize(views, meta).unwrap().leak()
}

/// What reading a bank from the bytes says.
fn refused(bytes: &'static [u8]) -> String {
    let read = || -> Result<(), MadffError> {
        let weights = Weights::from_bytes("brain.safetensors", bytes)?;
        let drawn = Drawn { width: 0, bottleneck: 768 };
        Bank::<MadffAdapter>::read(&weights, &["seg", "det"], &TAPS, drawn, &keys()).map(|_| ())
    };
    read().expect_err("the state was taken").to_string()
}

fn says(message: &str, words: &[&str]) {
    assert!(words.iter().all(|word| message.contains(word)), "{message}\nlacks one of {words:?}");
}

#[test]
fn a_tensor_of_another_shape_is_refused_by_name() {
    let name = "det_adapters.3.fc2.0.weight";
    let bytes = edited(None, |state| state.get_mut(name).unwrap().0 = vec![24, 32]);
    says(
        &refused(bytes),
        &[
            name,
            "`brain.safetensors`",
            "shape [32, 24]",
            "got F32 of shape [24, 32]",
            "take a state",
        ],
    );
    let bytes =
        edited(None, |state| state.get_mut("seg_adapters.0.fc1.0.weight").unwrap().0 = vec![768]);
    says(&refused(bytes), &["seg_adapters.0.fc1.0.weight", "got shape [768]"]);
}

#[test]
fn a_missing_tensor_is_named() {
    let name = "seg_adapters.2.spatial_attention.conv.bias";
    let bytes = edited(None, |state| drop(state.remove(name)));
    says(&refused(bytes), &[name, "`brain.safetensors`", "63 others", "one adapter for each tap"]);
    let bytes = edited(None, |state| state.retain(|name, _| name.starts_with("det_")));
    says(&refused(bytes), &["seg_adapters.0.fc1.0.weight", "32 others", "`det_adapters.0."]);
}

#[test]
fn numbers_that_are_none_are_refused() {
    for (number, shown) in [(f32::NAN, "NaN"), (f32::INFINITY, "inf")] {
        let name = "seg_adapters.1.frequency_attention.fc.2.weight";
        let bytes = edited(None, |state| state.get_mut(name).unwrap().1[5] = number);
        says(&refused(bytes), &[name, "number 5", shown, "finite", "train it again"]);
    }
}

#[test]
fn taps_that_are_not_those_of_the_training_are_refused() {
    let bytes = edited(Some("6, 12, 18, 24"), |_| {});
    says(&refused(bytes), &["taps `6,12,18,24`", "`at` is [2, 4, 6, 8]"]);
    let bytes = edited(None, |state| state.retain(|name, _| !name.contains("adapters.3.")));
    says(&refused(bytes), &["taps 1 to 3 of a list", "`at` is [2, 4, 6, 8]"]);
}

#[test]
fn a_file_that_is_none_is_refused() {
    for bytes in
        [&b""[..], b"PK\x03\x04", b"\xff\xff\xff\xff\xff\xff\xff\xff{}", &MADFF_FILE[..5000]]
    {
        says(
            &refused(bytes),
            &["`brain.safetensors`", "safetensors", "checkpoint of PyTorch", "name a file"],
        );
    }
}

/// What the original's `torch.save` wrote of the first tap's adapters.
const CHECKPOINT: &[u8] = include_bytes!("../../golden/adapters.pth");

#[test]
fn a_checkpoint_of_the_original_is_read_as_it_is() {
    let path = format!("{}/golden/adapters.pth", env!("CARGO_MANIFEST_DIR"));
    let given = stream(1, 26, 32);
    let run = |state: &str, at: &str| {
        let config = format!("at = {at}\nstate = {state:?}");
        step(testing::fusion::<Madff>(&config), &given, 2, [20, 20])
    };
    let (here, there) =
        (run(&path, "[2]").unwrap(), run(&golden("madff"), "[2, 4, 6, 8]").unwrap());
    for port in ["seg_tokens", "det_prefix", "stream"] {
        assert_eq!(here.tensor(port).f32s().unwrap(), there.tensor(port).f32s().unwrap(), "{port}");
    }
    says(&run(&path, "[2, 4]").err().unwrap(), &["taps 1 to 1 of a list", "`at` is [2, 4]"]);
}

/// Cut or changed anywhere, a checkpoint is refused or read; nothing panics, nothing runs.
#[test]
fn a_damaged_checkpoint_does_no_harm() {
    let read = |bytes: Vec<u8>| {
        let bytes = bytes.leak();
        Weights::from_bytes("adapters.pth", bytes)
            .and_then(|weights| {
                let drawn = Drawn { width: 0, bottleneck: 768 };
                Bank::<MadffAdapter>::read(&weights, &["seg", "det"], &[2], drawn, &keys())
            })
            .map(|_| ())
    };
    assert!(read(CHECKPOINT.to_vec()).is_ok());
    for n_bytes in (4..CHECKPOINT.len()).step_by(997) {
        let said = read(CHECKPOINT[..n_bytes].to_vec()).unwrap_err().to_string();
        says(&said, &["`adapters.pth`", "checkpoint of PyTorch", "name a file"]);
    }
    for at in (0..CHECKPOINT.len()).step_by(61) {
        let mut bytes = CHECKPOINT.to_vec();
        bytes[at] ^= 0xff;
        let _ = read(bytes);
    }
    // A pickle that would call a function is refused for the function's name.
    let mut bytes = CHECKPOINT.to_vec();
    let name = b"torch._utils\n_rebuild_tensor_v2\n";
    let evil = b"posix\nsystem                   \n";
    let at = bytes.windows(name.len()).position(|window| window == name).unwrap();
    bytes[at..at + name.len()].copy_from_slice(evil);
    says(&read(bytes).unwrap_err().to_string(), &["`posix.system`", "`adapters.pth`"]);
}

#[test]
fn keys_that_contradict_each_other_are_refused() {
    let run = |more: &str| step(testing::fusion::<Madff>(more), &stream(1, 26, 32), 2, [20, 20]);
    let refused = |more: &str| run(more).err().unwrap_or_default();
    says(&refused("at = [2]"), &["`state = \"FILE.safetensors\"`", "`seed = 0`"]);
    says(&refused(&config("madff", "seed = 1")), &["`state` and `seed`", "leave one out"]);
    says(&refused("seed = 1"), &["`at` names no tap"]);
    says(&refused("at = [2]\nseed = 1\nheads = [\"seg\", \"seg\"]"), &["`seg` twice"]);
    says(&refused("at = [2]\nseed = 1\nmix = [0.8, 0.2]"), &["`mix` wants 3", "[0.8, 0.2]"]);
    says(&refused(&config("madff", "bottleneck = 768")), &["`bottleneck` is 768", "have 24"]);
    says(&refused("at = [4]\nseed = 1"), &["`stream` is of tap 2", "`at` is [4]"]);
    says(&refused("at = [2]\nseed = 1\nbottleneck = 9000000000"), &["fc1.0.weight", "lower"]);
    assert!(run("at = [2]\nseed = 1\nbottleneck = 8").is_ok());
}

#[test]
fn a_stream_of_another_encoder_is_refused() {
    let run = |stream: &Tensor, image| {
        let component = testing::fusion::<Madff>(&config("madff", ""));
        step(component, stream, 2, image).err().unwrap_or_default()
    };
    says(
        &run(&stream(1, 26, 48), [20, 20]),
        &["`stream` wants 32 channels", "got 48", "take a state"],
    );
    says(
        &run(&stream(1, 25, 32), [20, 20]),
        &["1 tokens (`n_prefix`)", "20 x 20", "got 25 tokens"],
    );
}
