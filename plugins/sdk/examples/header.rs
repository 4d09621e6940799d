//! Writes `include/loupe_plugin.h` anew: `cargo run -p loupe-plugin --example header`.

#[path = "../tests/header/generate.rs"]
mod generate;

fn main() -> std::io::Result<()> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/include/loupe_plugin.h");
    std::fs::write(path, generate::header())?;
    eprintln!("wrote {path}");
    Ok(())
}
