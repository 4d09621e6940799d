//! The command that fills a pipeline's prompt caches, as a shell takes it.

use std::path::PathBuf;

use super::source::Change;

/// `loupe prompts generate FILE`, with what was changed on the command line. `files` are those of
/// the pipeline, its own first.
pub fn command(files: &[PathBuf], sets: &[Change]) -> String {
    let file = files.first().map(|file| file.display().to_string()).unwrap_or_default();
    let mut command = format!("loupe prompts generate {}", word(&file));
    for Change { key, value, .. } in sets {
        command.push_str(&format!(" --set {}", word(&format!("{key}={value}"))));
    }
    command
}

/// A word as a shell takes it.
pub fn word(text: &str) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || "_-./=:,+@%".contains(c);
    match !text.is_empty() && text.chars().all(is_plain) {
        true => text.to_owned(),
        false => format!("'{}'", text.replace('\'', "'\\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_quoted_where_a_shell_would_cut_them() {
        let [key, value, by] = ["stages.words.model", "\"m 1\"", "--set"].map(str::to_owned);
        let sets = [Change { key, value, by }];
        assert_eq!(
            command(&["a b/p.toml".into(), "base.toml".into()], &sets),
            "loupe prompts generate 'a b/p.toml' --set 'stages.words.model=\"m 1\"'"
        );
        assert_eq!(word("it's"), "'it'\\''s'");
        assert_eq!(word("metal_nut"), "metal_nut");
    }
}
