//! Text for people: aligned columns and sizes in bytes.

/// Aligned columns, two spaces apart, with a head. Columns of numbers, named by index, stand right.
pub(crate) fn columns(head: &[&str], rows: &[Vec<String>], right: &[usize]) -> String {
    let head: Vec<String> = head.iter().map(|name| (*name).to_owned()).collect();
    let lines = || std::iter::once(&head).chain(rows);
    let cell = |line: &Vec<String>, idx: usize| line.get(idx).cloned().unwrap_or_default();
    let width = |idx: usize| lines().map(|line| cell(line, idx).chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let mut text = String::new();
    for line in lines() {
        let mut row = String::new();
        for (idx, width) in widths.iter().enumerate() {
            let cell = cell(line, idx);
            let padded = match right.contains(&idx) {
                true => format!("{cell:>width$}  "),
                false => format!("{cell:<width$}  "),
            };
            row.push_str(&padded);
        }
        text.push_str(row.trim_end());
        text.push('\n');
    }
    text
}

/// `1.2 GB`, in powers of 1000.
pub(crate) fn size(bytes: u64) -> String {
    let units = ["kB", "MB", "GB", "TB", "PB"];
    if bytes < 1000 {
        return format!("{bytes} B");
    }
    let mut amount = bytes as f64 / 1e3;
    let mut unit = "kB";
    for next in &units[1..] {
        if amount < 999.95 {
            break;
        }
        amount /= 1e3;
        unit = next;
    }
    format!("{amount:.1} {unit}")
}

/// Reads `20GB`, `512 MiB` or a plain number of bytes.
pub(crate) fn parse_size(text: &str) -> Result<u64, String> {
    let wrong = || format!("wants a size such as 20GB or 512MiB, got `{text}`");
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let number: f64 = number.parse().map_err(|_| wrong())?;
    let factor = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1.0,
        "k" | "kb" => 1e3,
        "m" | "mb" => 1e6,
        "g" | "gb" => 1e9,
        "t" | "tb" => 1e12,
        "kib" => 1024.0,
        "mib" => 1024.0 * 1024.0,
        "gib" => 1024.0 * 1024.0 * 1024.0,
        "tib" => 1024.0 * 1024.0 * 1024.0 * 1024.0,
        _ => return Err(wrong()),
    };
    Ok((number * factor) as u64)
}

/// Words in lines of at most `width` characters after an indent, each with a line end.
pub(crate) fn wrapped(text: &str, width: usize, indent: &str) -> String {
    let mut lines = String::new();
    let mut line = String::new();
    for word in text.split_whitespace() {
        if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > width {
            lines.push_str(&format!("{indent}{line}\n"));
            line.clear();
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    if !line.is_empty() {
        lines.push_str(&format!("{indent}{line}\n"));
    }
    lines
}

/// A text without characters that would change the terminal.
pub(crate) fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

/// `1 image`, `2 images`.
pub(crate) fn count(n: usize, word: &str) -> String {
    format!("{n} {word}{}", if n == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows =
            [vec!["nearest".to_owned(), "9".to_owned()], vec!["é".to_owned(), "120".to_owned()]];
        assert_eq!(
            columns(&["name", "n"], &rows, &[1]),
            "name       n\nnearest    9\né        120\n"
        );
    }

    #[test]
    fn words_are_wrapped_and_none_is_lost() {
        assert_eq!(wrapped("one two three", 7, "  "), "  one two\n  three\n");
        assert_eq!(wrapped("unbreakable", 3, ""), "unbreakable\n");
        assert_eq!(wrapped("", 3, ""), "");
    }

    #[test]
    fn sizes_are_written_and_read() {
        let written =
            [(999, "999 B"), (1_000, "1.0 kB"), (999_999, "1.0 MB"), (1_234_567_890, "1.2 GB")];
        for (bytes, want) in written {
            assert_eq!(size(bytes), want);
        }
        let read = [("20GB", 20_000_000_000), ("1.5 kB", 1500), ("2MiB", 2 << 20), ("7", 7)];
        for (text, want) in read {
            assert_eq!(parse_size(text), Ok(want));
        }
        for text in ["", "GB", "1 XB", "-1", "1.2.3"] {
            assert!(parse_size(text).unwrap_err().contains("20GB"), "{text}");
        }
    }
}
