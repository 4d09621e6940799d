//! Which functions of a script are hooks, and which were probably meant to be.

use std::collections::BTreeMap;
use std::path::Path;

use rhai::{AST, FnAccess};

use super::place::definition;
use super::{HookError, Place};

/// `after` and `both-maps` give `after_both_maps`.
pub(super) fn hook_name(verb: &str, stage: &str) -> String {
    format!("{verb}_{}", stage.replace('-', "_"))
}

/// The hooks that a script defines, checked against those that exist.
pub(super) fn check_names(
    path: &Path,
    script: &str,
    ast: &AST,
    stages: &[&str],
) -> Result<Vec<String>, HookError> {
    let mut known: BTreeMap<String, usize> = BTreeMap::new();
    for stage in stages {
        known.insert(hook_name("after", stage), 1);
        known.insert(hook_name("observe", stage), 1);
    }
    let fixed = [("on_config", 1), ("on_class", 1), ("score_image", 2), ("observe_image", 1)];
    known.extend(fixed.map(|(name, n)| (name.to_owned(), n)));
    let mut names = Vec::new();
    for function in ast.iter_functions() {
        let place = || Box::new(Place::new(path, script, definition(script, function.name)));
        let refuse = |hint: String| {
            Err(HookError::Name { place: place(), function: function.name.to_owned(), hint })
        };
        let got = function.params.len();
        match known.get(function.name) {
            Some(_) if function.access == FnAccess::Private => {
                return refuse("it is private; drop the word `private`".to_owned());
            }
            Some(want) if *want != got => {
                let (place, function, want) = (place(), function.name.to_owned(), *want);
                return Err(HookError::Parameters { place, function, want, got });
            }
            Some(_) => names.push(function.name.to_owned()),
            None => {
                if let Some(hint) = mistaken(function.name, &known) {
                    return refuse(hint);
                }
            }
        }
    }
    names.sort();
    Ok(names)
}

/// A hint, if a function was probably meant to be a hook.
fn mistaken(name: &str, known: &BTreeMap<String, usize>) -> Option<String> {
    let prefixed = ["on_", "after_", "observe_", "score_"].iter().any(|p| name.starts_with(p));
    let distance = |known: &&String| strsim::damerau_levenshtein(name, known);
    let nearest = known.keys().min_by_key(distance)?;
    let near = distance(&nearest);
    if near <= 2 || (prefixed && near <= 4) {
        Some(format!("did you mean `{nearest}`?"))
    } else if prefixed {
        let names: Vec<&str> = known.keys().map(String::as_str).collect();
        Some(format!("the hooks of this pipeline are {}", names.join(", ")))
    } else {
        None
    }
}
