//! The examples in C: compiled with the header alone, loaded, and held to the checks of any other.

use std::path::Path;
use std::process::Command;

use loupe_plugin::abi::{LOUPE_ABI, LoupeComponent, LoupePlugin};
use loupe_plugin::prelude::*;
use loupe_plugin::testing::{Subject, foreign};

/// The first component of an example; `None` on a machine without a C compiler.
fn example(name: &str) -> Option<Subject> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = tempfile::tempdir().unwrap();
    let library = folder.path().join("example.so");
    let mut cc = Command::new("cc");
    cc.args(["-std=c99", "-Wall", "-Wextra", "-Werror", "-O2", "-shared", "-fPIC", "-I"]);
    cc.arg(root.join("include")).arg(root.join("../examples").join(name)).arg("-o").arg(&library);
    let Ok(out) = cc.output() else {
        eprintln!("`cc` is not there, so nothing is compiled");
        return None;
    };
    assert!(out.status.success(), "{cc:?}\n{}", String::from_utf8_lossy(&out.stderr));
    // SAFETY: a plugin of our own, whose one symbol is of this type. It is never unloaded.
    unsafe {
        let library = Box::leak(Box::new(libloading::Library::new(&library).unwrap()));
        let entry: libloading::Symbol<unsafe extern "C" fn() -> *const LoupePlugin> =
            library.get(b"loupe_plugin").unwrap();
        let plugin = &*entry();
        assert_eq!((plugin.abi, plugin.n_components), (LOUPE_ABI, 1));
        let component: *const LoupeComponent = *plugin.components;
        Some(foreign(component, "").unwrap())
    }
}

#[test]
fn the_median_conforms_and_is_the_median() {
    let Some(subject) = example("c-fusion/median.c") else { return };
    subject.check();
    let Some(mut subject) = example("c-fusion/median.c") else { return };
    for part in [[1.0, 9.0], [5.0, 2.0], [3.0, 4.0]] {
        subject = subject.input("parts", Tensor::new([1, 2], part).unwrap());
    }
    assert_eq!(subject.run().unwrap().tensor("fused").f32s().unwrap(), [3.0, 4.0]);
    let differs = subject.input("parts", Tensor::new([2], [0.0, 0.0]).unwrap());
    let want = "`parts` wants one shape, but the parts differ";
    assert_eq!(differs.run().err().unwrap(), want);
}

#[test]
fn the_encoder_conforms_at_both_of_its_grids() {
    for (width, grid) in [(64, [3, 5]), (32, [2, 2])] {
        let image = |_| {
            let values = (0..2 * 3 * width * width).map(|i| (i % 251) as f32 / 251.0);
            Tensor::new([2, 3, width, width], values).unwrap()
        };
        let Some(subject) = example("c-encoder/encoder.c") else { return };
        let subject = subject.input("image", image(()));
        let ran = subject.run().unwrap();
        assert_eq!(ran.tensor("patch_tokens").dims(), [2, grid[0], grid[1], 7]);
        assert_eq!(ran.tensor("patch_embeddings").dims(), [2, grid[0], grid[1], 4]);
        subject.check();
    }
}

#[test]
fn the_encoder_gives_the_numbers_of_its_comments() {
    let Some(subject) = example("c-encoder/encoder.c") else { return };
    // One value a channel everywhere: means 0, 1 and 2, mean squares 0, 1 and 4, and the one.
    let image = (0..3 * 4 * 4).map(|i| (i / 16) as f32);
    let ran = subject.input("image", Tensor::new([1, 3, 4, 4], image).unwrap()).run().unwrap();
    let before = [0.0_f32, 1.0, 2.0, 0.0, 1.0, 4.0, 1.0];
    let mixed = |i: usize| {
        let mixed = 0.5 * before[i] - before[(i + 1) % 7] + 0.25 * before[(i + 3) % 7];
        before[i] + mixed / (1.0 + mixed.abs())
    };
    let want: Vec<f32> = (0..7).map(mixed).collect();
    let tokens = ran.tensor("patch_tokens").f32s().unwrap();
    for patch in tokens.chunks(7) {
        assert_eq!(patch, want);
    }
}

/// The example in Rust that is trained, with its own tests.
#[path = "../../examples/rust-gate/src/lib.rs"]
mod gate;
