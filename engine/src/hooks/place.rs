//! Places in a script: line, column, and the line itself with a caret.

use std::fmt;
use std::path::{Path, PathBuf};

use rhai::{EvalAltResult, Position};

/// Where in a script something is wrong. `line` and `column` count from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    pub path: PathBuf,
    pub line: usize,
    pub column: usize,
    /// The text of the line.
    pub source: String,
}

impl Place {
    pub(super) fn new(path: &Path, script: &str, position: Position) -> Self {
        let line = position.line().unwrap_or(1);
        let source = script.lines().nth(line - 1).unwrap_or_default().to_owned();
        Self {
            path: path.to_owned(),
            line,
            column: position.position().unwrap_or(1).max(1),
            source,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.path.display(), self.line, self.column)
    }
}

/// The line with a caret below the column; tabs are kept, so that the caret stays in place.
pub(super) struct Excerpt<'a>(pub &'a Place);

impl fmt::Display for Excerpt<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Place { line, column, source, .. } = self.0;
        let margin = " ".repeat(line.to_string().len());
        let before = source.chars().take(column - 1);
        let indent: String = before.map(|c| if c == '\t' { c } else { ' ' }).collect();
        write!(f, "{line} | {source}\n{margin} | {indent}^")
    }
}

/// The innermost function, position and message: the outer position is only where that function was
/// called. For a limit of operations, time, depth or size there is no position: rhai overwrites it
/// at each call that it leaves.
pub(super) fn innermost(error: EvalAltResult, called: &str) -> (String, Position, String) {
    let (mut function, mut error) = (called.to_owned(), error);
    let mut last = Position::NONE;
    loop {
        match error {
            EvalAltResult::ErrorInFunctionCall(name, _, inner, position) => {
                (function, last, error) = (name, position, *inner);
            }
            EvalAltResult::ErrorInModule(_, inner, position) => (last, error) = (position, *inner),
            _ => break,
        }
    }
    let own = error.take_position();
    let position = if own.is_none() { last } else { own };
    let message = match error {
        EvalAltResult::ErrorRuntime(payload, _) | EvalAltResult::ErrorTerminated(payload, _) => {
            payload.to_string()
        }
        EvalAltResult::ErrorTooManyOperations(_) => {
            "the script exceeds its limit of operations".to_owned()
        }
        EvalAltResult::ErrorStackOverflow(_) => {
            "the script exceeds its limit of nested calls".to_owned()
        }
        EvalAltResult::ErrorDataTooLarge(what, _) => {
            format!("the script exceeds its limit of memory: {what}")
        }
        other => other.to_string(),
    };
    (function, position, message)
}

/// Where `fn NAME` stands; the start of the script if it is written in a way this does not find.
pub(super) fn definition(script: &str, name: &str) -> Position {
    for (i, line) in script.lines().enumerate() {
        let mut rest = line;
        while let Some((_, after)) = rest.split_once("fn ") {
            let column = line.len() - after.len() + (after.len() - after.trim_start().len());
            let found = after.trim_start().strip_prefix(name);
            if found.is_some_and(|rest| rest.trim_start().starts_with('(')) {
                let column = line.get(..column).map_or(0, |before| before.chars().count());
                return Position::new(count_from_1(i), count_from_1(column));
            }
            rest = after;
        }
    }
    Position::new(1, 1)
}

/// rhai counts in 16 bits; what lies beyond is shown at the last line or column that it knows.
fn count_from_1(i: usize) -> u16 {
    u16::try_from(i).unwrap_or(u16::MAX).saturating_add(1)
}
