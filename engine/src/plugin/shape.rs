//! Symbolic shapes of ports: `b gh gw d`, a number where fixed, `...` for any leading dimensions.

use std::collections::BTreeMap;

/// Axes a tensor at the boundary may have.
pub(super) const MAX_RANK: usize = 8;

/// Sizes that the names of dimensions have in one call. A name is `None` once values disagree where
/// they may.
#[derive(Clone, Debug, Default)]
pub(super) struct Bindings(BTreeMap<String, Option<usize>>);

/// What a tensor's dimensions do to the names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bind {
    /// Bind them; they must agree with what is bound.
    Strict,
    /// Bind them; a name with two sizes is bound to none: tensors of a list may differ in their
    /// grids.
    Loose,
    /// Agree with what is bound, bind nothing.
    Check,
}

impl Bindings {
    /// Errors: rank or a size differs from what the port says, in words.
    pub fn fit(&mut self, shape: &str, dims: &[usize], how: Bind) -> Result<(), String> {
        let wrong = |why: &str| {
            let names: Vec<&str> = shape.split_whitespace().collect();
            Err(format!("wants shape `[{}]`, but got {dims:?}{why}", names.join(", ")))
        };
        let names = shape.split_whitespace().filter(|name| *name != "...");
        let n_named = names.clone().count();
        let open = shape.split_whitespace().next() == Some("...");
        let Some(n_leading) = dims.len().checked_sub(n_named).filter(|n| open || *n == 0) else {
            return wrong("");
        };
        let mut local: Vec<(&str, usize)> = Vec::with_capacity(n_named);
        for (name, dim) in names.zip(dims.iter().skip(n_leading).copied()) {
            if let Ok(fixed) = name.parse::<usize>() {
                if fixed != dim {
                    return wrong("");
                }
                continue;
            }
            let here = local.iter().find(|known| known.0 == name).map(|known| known.1);
            let bound = match how {
                Bind::Loose => here,
                Bind::Strict | Bind::Check => here.or(self.0.get(name).copied().flatten()),
            };
            if let Some(bound) = bound.filter(|bound| *bound != dim) {
                return wrong(&format!(", where `{name}` is {bound}"));
            }
            local.push((name, dim));
        }
        if how != Bind::Check {
            self.bind(&local);
        }
        Ok(())
    }

    fn bind(&mut self, sizes: &[(&str, usize)]) {
        for (name, dim) in sizes {
            let known = self.0.entry((*name).to_owned()).or_insert(Some(*dim));
            if *known != Some(*dim) {
                *known = None;
            }
        }
    }
}

/// Errors: what is wrong with a shape as a port declares it.
pub(super) fn validate(shape: &str) -> Result<(), String> {
    let names: Vec<&str> = shape.split_whitespace().collect();
    if names.len() > MAX_RANK {
        return Err(format!("has {} dimensions, at most {MAX_RANK} are allowed", names.len()));
    }
    for (idx, name) in names.iter().enumerate() {
        let leading = *name == "..." && idx == 0;
        let fixed = name.parse::<u32>().is_ok();
        if !leading && !fixed && !is_name(name) {
            return Err(format!(
                "has `{name}`; a dimension is a name, a number or a leading `...`"
            ));
        }
    }
    Ok(())
}

/// Letters, digits, `_` and `-`, starting with a letter.
pub(super) fn is_name(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    text.as_bytes().first().is_some_and(u8::is_ascii_alphabetic) && text.bytes().all(inner)
}
