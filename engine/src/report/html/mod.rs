//! `report.html`: one file that opens from disk, with no script and nothing to fetch. Whatever
//! comes from a data set or a pipeline passes `escape`.

mod class;
mod page;
mod plots;
mod table;

pub use page::page;

/// What a class shows besides its numbers.
#[derive(Debug, Default)]
pub struct ClassPage {
    /// Scores at the two ends of the scale of colours. `None`: the pipeline makes no maps.
    pub range: Option<[f32; 2]>,
    pub groups: Vec<Group>,
}

/// Images of one kind: the worst of them, or the best.
#[derive(Debug)]
pub struct Group {
    pub title: &'static str,
    pub shown: Vec<Shown>,
}

/// One image in the report.
#[derive(Debug)]
pub struct Shown {
    pub name: String,
    pub score: Option<f64>,
    pub tiles: Vec<Tile>,
    /// Why it cannot be shown.
    pub note: Option<String>,
}

/// One picture of an image.
#[derive(Debug)]
pub struct Tile {
    pub alt: &'static str,
    pub jpeg: Vec<u8>,
}

/// Text that means itself, between tags and in quoted attributes. Control characters, which HTML
/// forbids, and those that turn the direction of what follows become a visible mark.
pub fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            '\n' | '\t' => safe.push(c),
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => safe.push('\u{fffd}'),
            c if c.is_control() => safe.push('\u{fffd}'),
            c => safe.push(c),
        }
    }
    safe
}

/// A score with enough digits to tell images apart.
pub fn score(value: f64) -> String {
    match value.abs() {
        0.0 => "0".to_owned(),
        size if !(1e-3..1e5).contains(&size) => format!("{value:.3e}"),
        _ => format!("{value:.4}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_a_meaning_in_html_loses_it() {
        assert_eq!(escape("<script>\"&'"), "&lt;script&gt;&quot;&amp;&#39;");
        assert_eq!(escape("a\u{0}\u{202e}b\n"), "a\u{fffd}\u{fffd}b\n");
    }

    #[test]
    fn scores_keep_four_figures() {
        assert_eq!(
            [0.0, 0.12345, -12.5, 1e-5, 2e9].map(score),
            ["0", "0.1235", "-12.5000", "1.000e-5", "2.000e9"]
        );
    }
}
