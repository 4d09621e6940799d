//! The C header is the boundary, word for word and byte for byte.

mod generate;

use std::path::{Path, PathBuf};
use std::process::Command;

use loupe_plugin::abi::*;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

#[test]
fn the_header_is_up_to_date() {
    let written = std::fs::read_to_string(include_dir().join("loupe_plugin.h")).unwrap();
    let fix = "run `cargo run -p loupe-plugin --example header`";
    assert!(written == generate::header(), "the header differs from abi.rs: {fix}");
}

#[test]
fn c_and_cpp_lay_out_every_struct_as_rust_does() {
    let checks = layout_checks();
    for (compiler, extension, standard) in [("cc", "c", "-std=c99"), ("c++", "cpp", "-std=c++11")] {
        if !there(compiler) {
            eprintln!("`{compiler}` is not there, so it checks nothing");
            continue;
        }
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(format!("layout.{extension}"));
        std::fs::write(&file, &checks).unwrap();
        compile(compiler, &[standard, "-pedantic", "-fsyntax-only"], &file);
    }
}

/// A source that fails to compile where a size or an offset differs.
fn layout_checks() -> String {
    let mut source = String::from("#include \"loupe_plugin.h\"\n");
    macro_rules! layouts {
        ($($name:ident { $($field:ident)* })*) => {$(
            let (name, size) = (stringify!($name), size_of::<$name>());
            source += &format!("typedef char size_of_{name}[sizeof({name}) == {size} ? 1 : -1];\n");
            $(
                let offset = std::mem::offset_of!($name, $field);
                let field = stringify!($field);
                source += &format!(
                    "typedef char offset_of_{name}_{field}\
                     [offsetof({name}, {field}) == {offset} ? 1 : -1];\n",
                );
            )*
        )*};
    }
    layouts! {
        DLDevice { device_id } DLDataType { bits lanes } DLPackVersion { minor }
        DLTensor { device ndim dtype shape strides byte_offset }
        DLManagedTensorVersioned { manager_ctx deleter flags dl_tensor }
        LoupeStr { len } LoupeBytes { len } LoupeLabel { tap } LoupeTensor { dl }
        LoupeSentence { anomalous weight source } LoupeState { revision bytes }
        LoupeValue { n_tensors tensors n_sentences sentences state } LoupeInput { value }
        LoupeError { text } LoupeSink { ctx put_tensor put_text put_state put_json }
        LoupeCall { n_inputs inputs wanted sink stream }
        LoupeHost {
            size ctx log progress cancelled n_threads parallel_for random open get_extension
        }
        LoupePort { verb direction kind dtype scope flags name shape about }
        LoupeVerbs { run encode_text }
        LoupeComponent {
            revision flags devices kind name about config_schema n_ports ports verbs create destroy
            check get_extension
        }
        LoupePlugin { size flags n_components name version components get_extension }
        LoupeFit { fit_open fit_push fit_close fit_drop load }
        LoupeTaps { open open_at resume finish drop }
        LoupeTool { answer } LoupeKeep { find read end keep }
    }
    source + "int main(void) { return LOUPE_ABI == 1u && LOUPE_TENSORS == 2u ? 0 : 1; }\n"
}

fn compile(compiler: &str, flags: &[&str], source: &Path) {
    let mut command = Command::new(compiler);
    command.args(flags).args(["-Wall", "-Wextra", "-Werror", "-I"]).arg(include_dir()).arg(source);
    let out = command.output().unwrap();
    let errors = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "{command:?}\n{errors}");
}

fn include_dir() -> PathBuf {
    Path::new(ROOT).join("include")
}

fn there(program: &str) -> bool {
    Command::new(program).arg("--version").output().is_ok()
}
