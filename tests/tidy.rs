//! Holds the design against the code: who imports whom, who owns what, and how long a file may be.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Direct normal dependencies of each workspace member.
fn dependencies() -> BTreeMap<String, Vec<String>> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let name = |value: &Value| value["name"].as_str().unwrap().to_owned();
    let of_package = |package: &Value| {
        let dependencies = package["dependencies"].as_array().unwrap();
        let normal = dependencies.iter().filter(|dependency| dependency["kind"].is_null());
        (name(package), normal.map(name).collect())
    };
    metadata["packages"].as_array().unwrap().iter().map(of_package).collect()
}

#[test]
fn arrows_run_one_way() {
    let allowed = |from: &str| -> &[&str] {
        match from {
            "loupe-engine" => &["loupe-plugin", "loupe-kernels", "loupe-datasets"],
            "loupe-plugin" => &["loupe-plugin-derive"],
            "loupe-kernels" | "loupe-datasets" | "loupe-checkpoints" => &[],
            "loupe-plugin-derive" | "loupe-tests" => &[],
            _ => &["loupe-plugin", "loupe-kernels", "loupe-checkpoints"],
        }
    };
    for (from, all) in dependencies() {
        let ours = all.iter().filter(|to| to.starts_with("loupe-"));
        let wrong: Vec<&String> =
            ours.filter(|to| !allowed(&from).contains(&to.as_str())).collect();
        assert!(wrong.is_empty(), "{from} may not import {wrong:?}");
    }
}

#[test]
fn the_engine_knows_no_tensor_framework_and_no_plugin() {
    let engine = &dependencies()["loupe-engine"];
    let frameworks = ["candle-core", "candle-nn", "tch", "ort", "openvino"];
    assert!(!engine.iter().any(|name| frameworks.contains(&name.as_str())), "{engine:?}");
    assert!(!engine.iter().any(|name| {
        ["loupe-clip", "loupe-fusion", "loupe-madff", "loupe-scorers"].contains(&name.as_str())
    }));
}

/// Rust files of the project, with their paths below the root.
fn sources() -> Vec<(String, String)> {
    fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() && name != "target" && !name.starts_with('.') {
                walk(&path, found);
            } else if name.ends_with(".rs") {
                found.push(path);
            }
        }
    }
    let mut files = Vec::new();
    walk(&root(), &mut files);
    files.sort();
    let named = |path: &PathBuf| {
        let name = path.strip_prefix(root()).unwrap().to_string_lossy().replace('\\', "/");
        (name, fs::read_to_string(path).unwrap())
    };
    files.iter().map(named).collect()
}

fn is_test(path: &str) -> bool {
    path.starts_with("tests/") || path.contains("/tests") || path.ends_with("tests.rs")
}

#[test]
fn files_stay_short() {
    let long: Vec<String> = sources()
        .into_iter()
        .filter(|(path, _)| !is_test(path) && path != "plugins/sdk/src/abi.rs")
        .map(|(path, text)| (path, text.lines().count()))
        .filter(|(_, n_lines)| *n_lines > 400)
        .map(|(path, n_lines)| format!("{path}: {n_lines}"))
        .collect();
    assert!(long.is_empty(), "files of more than 400 lines: {long:#?}");
}

/// Each of these words may stand in code of these places only.
const OWNERS: [(&str, &[&str]); 5] = [
    ("hdf5::", &["engine/src/cache/", "engine/src/cli/doctor.rs"]),
    ("rhai::", &["engine/src/hooks/"]),
    ("libloading::", &["engine/src/plugin/", "plugins/sdk/"]),
    ("ureq::", &["engine/src/weights", "engine/src/prompts/"]),
    ("candle_core::", &["plugins/clip/"]),
];

#[test]
fn each_library_has_one_owner() {
    for (path, text) in sources().into_iter().filter(|(path, _)| !is_test(path)) {
        for (word, owners) in OWNERS {
            let owned = owners.iter().any(|owner| path.starts_with(owner));
            assert!(owned || !text.contains(word), "`{word}` in {path}; it belongs to {owners:?}");
        }
    }
}

#[test]
fn unsafe_code_stays_where_it_belongs() {
    // `setup.rs` asks the system for two things that the standard library does not offer.
    let places =
        ["plugins/sdk/src/", "engine/src/plugin/", "kernels/src/", "engine/src/cli/setup.rs"];
    for (path, text) in sources().into_iter().filter(|(path, _)| !is_test(path)) {
        let word = text.lines().any(|line| {
            let code = line.split("//").next().unwrap_or("");
            code.contains("unsafe {") || code.contains("unsafe impl") || code.contains("unsafe fn")
        });
        let allowed = places.iter().any(|place| path.starts_with(place));
        assert!(allowed || !word, "`unsafe` in {path}; it belongs to {places:?}");
    }
}

#[test]
fn the_boundary_is_one_number() {
    let abi = fs::read_to_string(root().join("plugins/sdk/src/abi.rs")).unwrap();
    assert!(abi.contains("pub const LOUPE_ABI: u32 = 1;"), "a new number means a new boundary");
}
