//! serde's `rename_all`.

/// The name of a variant (`upper` camel case) or field (snake case) under a rule; `None` for an
/// unknown rule.
pub(crate) fn rename(name: &str, rule: &str) -> Option<String> {
    let words = words(name);
    let capital = |word: &String| {
        let mut letters = word.chars();
        letters.next().map_or(String::new(), |first| first.to_uppercase().chain(letters).collect())
    };
    Some(match rule {
        "lowercase" => words.concat(),
        "UPPERCASE" => words.concat().to_uppercase(),
        "snake_case" => words.join("_"),
        "SCREAMING_SNAKE_CASE" => words.join("_").to_uppercase(),
        "kebab-case" => words.join("-"),
        "SCREAMING-KEBAB-CASE" => words.join("-").to_uppercase(),
        "PascalCase" => words.iter().map(capital).collect(),
        "camelCase" => {
            let pascal: String = words.iter().skip(1).map(capital).collect();
            words.first().cloned().unwrap_or_default() + &pascal
        }
        _ => return None,
    })
}

/// Lower-case words of `HalfCosine` or `half_cosine`; serde starts a word at every capital.
fn words(name: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    for letter in name.chars() {
        if letter == '_' {
            words.push(String::new());
            continue;
        }
        if letter.is_uppercase() || words.is_empty() {
            words.push(String::new());
        }
        if let Some(word) = words.last_mut() {
            word.extend(letter.to_lowercase());
        }
    }
    words.retain(|word| !word.is_empty());
    words
}
