//! Plugins that are not ours: compiled here as their authors would, and found by `--plugin-path`.

mod promises;
mod refused;
mod third;

pub use third::build_rust;

use std::path::{Path, PathBuf};
use std::process::Command;

use loupe_tests::{World, read_npy, root};

/// Compiles C with the header alone, as `plugins/NAME.so` of the world.
pub fn compile(world: &World, name: &str, source: &str, switches: &[&str]) -> PathBuf {
    let source = world.write(&format!("src/{name}.c"), source);
    let out = world.write(&format!("plugins/{name}.so"), "");
    let mut cc = Command::new("cc");
    cc.args(["-std=c99", "-O2", "-Wall", "-Wextra", "-shared", "-fPIC"]);
    cc.args(switches.iter().map(|switch| format!("-D{switch}")));
    cc.arg("-I").arg(root().join("plugins/sdk/include")).arg(source).arg("-o").arg(&out);
    let done = cc.output().expect("`cc` is needed to build the plugins of these tests");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    out
}

/// A source of the project.
pub fn source(path: &str) -> String {
    let path = root().join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A square picture of `rows` x `columns` cells of one colour each.
fn cells(path: &Path, side: u32, colours: &[&[[u8; 3]]]) {
    let (rows, columns) = (colours.len() as u32, colours[0].len() as u32);
    let picture = image::RgbImage::from_fn(side, side, |x, y| {
        // The last cell that begins at or before the pixel, as the encoder cuts them.
        let cell = |at: u32, n: u32| (0..n).rev().find(|cell| cell * side / n <= at).unwrap();
        image::Rgb(colours[cell(y, rows) as usize][cell(x, columns) as usize])
    });
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    picture.save(path).unwrap();
}

/// The map that a pipeline gives for `query.png`, with the pictures in `references`.
fn map_of(world: &World, pipeline: &str, sets: &[&str]) -> (Vec<usize>, Vec<f32>) {
    let pipeline = world.write("p.toml", pipeline).display().to_string();
    let path = |name: &str| world.path(name).display().to_string();
    let (query, references, plugins) = (path("query.png"), path("references"), path("plugins"));
    let mut arguments: Vec<String> = vec!["predict".into(), pipeline, query];
    arguments.extend(["--reference".into(), references, "--plugin-path".into(), plugins]);
    arguments.extend(["--threshold".into(), "none".into(), "--save-maps".into(), path("maps")]);
    arguments.extend(sets.iter().flat_map(|set| ["--set".to_owned(), (*set).to_owned()]));
    let ended = world.run(&arguments);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    read_npy(&world.path("maps/query.npy"))
}

/// Equal to the last few bits of f32.
fn close(got: &[f32], want: &[f64]) {
    let far =
        |(got, want): (&f32, &f64)| (f64::from(*got) - want).abs() > 2e-6 * (1.0 + want.abs());
    assert!(got.len() == want.len() && !got.iter().zip(want).any(far), "{got:?} is not {want:?}");
}
