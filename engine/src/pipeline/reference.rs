//! References to values, as written: `stage.value@label`.

use super::tree::At;

/// `stage.output@label` as written.
#[derive(Clone, Debug)]
pub struct RefText {
    pub at: At,
    pub text: String,
    pub stage: String,
    pub output: Option<String>,
    pub select: Option<SelectText>,
}

/// One part of a selector: a number, a list, or `*` (which is `None`).
pub type Part = Option<Vec<u32>>;

/// A selector as written, before it is known whether a number is a size or a tap.
#[derive(Clone, Debug, PartialEq)]
pub enum SelectText {
    One(Vec<u32>, bool),
    Two { sizes: Part, taps: Part, single: bool },
}

/// Parses `stage`, `stage.value`, `stage.value@240`, `@[240,448]`, `@*.6`, `@240.6`.
pub fn parse_ref(text: &str, at: At) -> Result<RefText, String> {
    let (value, selector) = match text.split_once('@') {
        Some((value, selector)) => (value, Some(selector)),
        None => (text, None),
    };
    let (stage, output) = match value.split_once('.') {
        Some((stage, output)) => (stage, Some(output)),
        None => (value, None),
    };
    let is_name = |name: &str| {
        !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || c == '_' || c == '-')
    };
    if !is_name(stage) || !output.is_none_or(is_name) {
        return Err(format!("`{text}` names no value"));
    }
    let select = selector.map(parse_selector).transpose()?;
    let (stage, output) = (stage.to_string(), output.map(str::to_string));
    Ok(RefText { at, text: text.to_string(), stage, output, select })
}

fn parse_selector(text: &str) -> Result<SelectText, String> {
    let wrong =
        || format!("`@{text}` selects nothing: write `@240`, `@[240,448]`, `@*.6` or `@240.6`");
    let part = |part: &str| -> Option<(Part, bool)> {
        if part == "*" {
            return Some((None, false));
        }
        let Some(inner) = part.strip_prefix('[') else {
            return part.parse().ok().map(|number| (Some(vec![number]), true));
        };
        let numbers = inner.strip_suffix(']')?.split(',');
        let numbers: Option<Vec<u32>> = numbers.map(|number| number.trim().parse().ok()).collect();
        numbers.map(|numbers| (Some(numbers), false))
    };
    match text.split_once('.') {
        None => match part(text) {
            Some((Some(numbers), single)) => Ok(SelectText::One(numbers, single)),
            _ => Err(wrong()),
        },
        Some((sizes, taps)) => {
            let (sizes, one_size) = part(sizes).ok_or_else(wrong)?;
            let (taps, one_tap) = part(taps).ok_or_else(wrong)?;
            Ok(SelectText::Two { sizes, taps, single: one_size && one_tap })
        }
    }
}
