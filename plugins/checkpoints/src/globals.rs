//! Which classes and functions a pickle may name. Nothing that it names is ever called, but a file that names
//! another one was made to run something, or holds more than weights: it is refused, and the name said.

use crate::{CheckpointError, bad_file};

/// A module and what weights, their optimizers' states and their options use of it.
const KNOWN: &[(&str, &str)] = &[
    (
        "torch._utils",
        "_rebuild_tensor _rebuild_tensor_v2 _rebuild_tensor_v3 _rebuild_parameter \
         _rebuild_parameter_with_state _rebuild_qtensor _rebuild_sparse_tensor",
    ),
    ("torch._tensor", "_rebuild_from_type_v2"),
    (
        "torch",
        "Tensor Size device float64 double float32 float float16 half bfloat16 float8_e4m3fn \
         float8_e5m2 complex32 complex64 complex128 int8 int16 short int32 int int64 long uint8 \
         uint16 uint32 uint64 bool qint8 quint8 qint32 per_tensor_affine per_channel_affine",
    ),
    ("torch.storage", "TypedStorage UntypedStorage _TypedStorage _UntypedStorage"),
    ("torch.nn.parameter", "Parameter Buffer"),
    ("torch.serialization", "_get_layout"),
    (
        "torch.jit._pickle",
        "build_intlist build_tensorlist build_doublelist build_boollist build_tensor_from_id \
         restore_type_tag",
    ),
    ("collections", "OrderedDict defaultdict Counter"),
    (
        "builtins",
        "set frozenset bytearray bytes complex slice range int float bool str list dict tuple",
    ),
    ("argparse", "Namespace"),
    ("pathlib", "PosixPath WindowsPath"),
    ("numpy", "dtype ndarray"),
    ("numpy.core.multiarray", "scalar _reconstruct"),
    // What numpy's arrays and sets of bytes are written with.
    ("_codecs", "encode"),
];

/// Errors: a class or function that weights have no need of.
pub fn check(module: &str, name: &str) -> Result<(), CheckpointError> {
    // Python 2's names, and those of numpy 2.
    let known_as = match module {
        "__builtin__" => "builtins",
        "numpy._core.multiarray" => "numpy.core.multiarray",
        other => other,
    };
    let listed = |(module, names): &(&str, &str)| {
        *module == known_as && names.split_whitespace().any(|known| known == name)
    };
    // A path of attributes could lead anywhere, from any module.
    let is_plain = !name.is_empty() && !name.contains('.');
    let is_class = is_plain && name.starts_with(|first: char| first.is_ascii_uppercase());
    let is_known = match module {
        // Classes that a TorchScript archive defines itself: objects with a state.
        "__torch__" => is_plain,
        _ if module.starts_with("__torch__.") => is_plain,
        _ if module.starts_with("torch.nn.modules.") => is_class,
        "torch" | "torch.cuda" if is_class && name.ends_with("Storage") => true,
        _ => KNOWN.iter().any(listed),
    };
    if is_known {
        return Ok(());
    }
    Err(bad_file(&format!(
        "is a PyTorch file that names `{module}.{name}`, which weights have no need of and which loading \
         it elsewhere could call; if you trust it, save its tensors alone: \
         `torch.save(model.state_dict(), path)`"
    )))
}

#[cfg(test)]
mod tests {
    use std::io::{Cursor, Read, Write};

    use zip::write::SimpleFileOptions;
    use zip::{CompressionMethod, ZipArchive, ZipWriter};

    use super::*;

    const ADAPTERS: &[u8] = include_bytes!("../../madff/golden/adapters.pth");
    const TORCHSCRIPT: &[u8] = include_bytes!("../../clip/golden/files-torchscript.pt");

    /// What `{"x": <os.system("touch PWNED")>}` looks like, without its dictionary.
    const CALL: &[u8] = b"cos\nsystem\nX\x0b\x00\x00\x00touch PWNED\x85R";

    /// An archive whose `data.pkl` is changed.
    fn edited(archive: &[u8], edit: impl Fn(&[u8]) -> Vec<u8>) -> Vec<u8> {
        let mut from = ZipArchive::new(Cursor::new(archive)).unwrap();
        let mut to = ZipWriter::new(Cursor::new(Vec::new()));
        let stored = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
        for index in 0..from.len() {
            let entry = from.by_index_raw(index).unwrap();
            let name = entry.name().unwrap().to_string();
            if entry.compression() != CompressionMethod::Stored {
                continue;
            }
            drop(entry);
            let mut bytes = Vec::new();
            from.by_index(index).unwrap().read_to_end(&mut bytes).unwrap();
            if name.ends_with("/data.pkl") {
                bytes = edit(&bytes);
            }
            to.start_file(name, stored).unwrap();
            to.write_all(&bytes).unwrap();
        }
        to.finish().unwrap().into_inner()
    }

    /// The pickle with `more` before its last instruction, which ends it.
    fn ending_in(pickle: &[u8], more: &[&[u8]]) -> Vec<u8> {
        let (end, before) = pickle.split_last().unwrap();
        [before, &more.concat(), &[*end]].concat()
    }

    fn refused(archive: &[u8]) -> String {
        crate::read(archive).err().expect("the file was read").problem
    }

    #[test]
    fn the_files_of_the_tests_are_read() {
        let count = |bytes: &[u8]| crate::read(bytes).unwrap().tensors.len();
        let copy = |bytes: &[u8]| edited(bytes, <[u8]>::to_vec);
        for archive in [ADAPTERS, TORCHSCRIPT] {
            assert!(count(archive) > 10);
            assert_eq!(count(&copy(archive)), count(archive));
        }
        // Entries of other kinds, as training programs leave them, do no harm.
        let options: &[u8] = b"X\x04\x00\x00\x00argscargparse\nNamespace\n)\x81}bs";
        let more = edited(ADAPTERS, |pickle| ending_in(pickle, &[options]));
        assert_eq!(count(&more), count(ADAPTERS));
    }

    #[test]
    fn a_call_beside_the_tensors_refuses_the_file() {
        let spare =
            edited(ADAPTERS, |pickle| ending_in(pickle, &[b"X\x01\x00\x00\x00x", CALL, b"s"]));
        let message = refused(&spare);
        assert!(message.contains("`os.system`"), "{message}");
        assert!(message.contains("`torch.save(model.state_dict(), path)`"), "{message}");
        // Made and thrown away: a call is a call.
        let dropped = edited(ADAPTERS, |pickle| ending_in(pickle, &[CALL, b"0"]));
        assert!(refused(&dropped).contains("`os.system`"));
    }

    #[test]
    fn a_call_in_the_place_of_the_tensors_refuses_the_file() {
        let lone = edited(ADAPTERS, |_| [b"\x80\x02", CALL, b"."].concat());
        assert!(refused(&lone).contains("`os.system`"));
        // By the other instruction for names, of protocol 4.
        let stacked = b"\x80\x04\x8c\x08builtins\x8c\x04eval\x93\x8c\x011\x85R.";
        assert!(refused(&edited(ADAPTERS, |_| stacked.to_vec())).contains("`builtins.eval`"));
    }

    #[test]
    fn a_call_within_a_torchscript_refuses_it() {
        let spare = edited(TORCHSCRIPT, |pickle| ending_in(pickle, &[CALL, b"0"]));
        assert!(refused(&spare).contains("`os.system`"));
    }

    #[test]
    fn names_are_known_by_module_and_name_together() {
        for (module, name) in [
            ("torch", "HalfStorage"),
            ("torch", "bfloat16"),
            ("torch.nn.modules.linear", "Linear"),
            ("__torch__.multimodal.model", "CLIP"),
            ("__builtin__", "set"),
            ("numpy._core.multiarray", "scalar"),
        ] {
            assert_eq!(check(module, name), Ok(()), "{module}.{name}");
        }
        for (module, name) in [
            ("os", "OrderedDict"),
            ("torch", "load"),
            ("torch.hub", "load"),
            ("torch.storage", "_load_from_bytes"),
            ("torch.nn.modules.module", "torch.os.system"),
            ("torch.nn.modules.linear", "init"),
            ("__torch__", "os.system"),
            ("__torchy__", "Node"),
            ("builtins", "getattr"),
            ("subprocess", "Popen"),
        ] {
            let message = check(module, name).unwrap_err().problem;
            assert!(message.contains(&format!("`{module}.{name}`")), "{message}");
        }
    }
}
