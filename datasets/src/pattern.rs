//! Path patterns of a layout: `{class}/test/{kind}/*`. Segments are matched one by one, so that a
//! tree can be walked with them and a folder no pattern asks for is never entered.

/// What a pattern caught from a path; a name the pattern does not mention stays empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Captures {
    pub(crate) class: Option<String>,
    pub(crate) kind: Option<String>,
    pub(crate) stem: Option<String>,
}

#[derive(Clone, Debug)]
pub(crate) struct Pattern {
    pub(crate) text: String,
    segments: Vec<Vec<Token>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Literal(String),
    Any,
    Capture(Name),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Name {
    Class,
    Kind,
    Stem,
}

impl Pattern {
    /// Parses a pattern. Errors: a sentence saying what is wrong with the text.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let segments = text.split('/').map(|s| parse_segment(text, s)).collect::<Result<_, _>>()?;
        Ok(Self { text: text.to_owned(), segments })
    }

    pub(crate) fn names_class(&self) -> bool {
        self.segments.iter().flatten().any(|token| *token == Token::Capture(Name::Class))
    }

    pub(crate) fn names_stem(&self) -> bool {
        self.segments.iter().flatten().any(|token| *token == Token::Capture(Name::Stem))
    }

    /// The literal folder right below `{class}`, which a class's own folder would hold at its top.
    pub(crate) fn below_class(&self) -> Option<&str> {
        match (self.segments.first()?.as_slice(), self.segments.get(1)?.as_slice()) {
            (class, [Token::Literal(folder)]) if class.contains(&Token::Capture(Name::Class)) => {
                Some(folder)
            }
            _ => None,
        }
    }

    /// The captures if `path` (segments below the root) matches as a whole.
    pub(crate) fn matches(&self, path: &[String]) -> Option<Captures> {
        if path.len() != self.segments.len() {
            return None;
        }
        self.match_prefix(path)
    }

    /// Whether a file below the folder `path` could match.
    pub(crate) fn enters(&self, path: &[String]) -> bool {
        path.len() < self.segments.len() && self.match_prefix(path).is_some()
    }

    fn match_prefix(&self, path: &[String]) -> Option<Captures> {
        let mut captures = Captures::default();
        for (tokens, segment) in self.segments.iter().zip(path) {
            if !match_segment(tokens, segment, &mut captures) {
                return None;
            }
        }
        Some(captures)
    }
}

fn parse_segment(pattern: &str, segment: &str) -> Result<Vec<Token>, String> {
    if segment.is_empty() || segment == "." || segment == ".." {
        return Err(format!(
            "pattern `{pattern}` has the segment `{segment}`; name a folder or `*`"
        ));
    }
    let mut tokens = Vec::new();
    let mut rest = segment;
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix('*') {
            tokens.push(Token::Any);
            rest = after;
        } else if let Some(after) = rest.strip_prefix('{') {
            let (name, after) = after
                .split_once('}')
                .ok_or_else(|| format!("pattern `{pattern}` opens `{{` without closing it"))?;
            tokens.push(Token::Capture(match name {
                "class" => Name::Class,
                "kind" => Name::Kind,
                "stem" => Name::Stem,
                _ => {
                    let known = "{class}, {kind}, {stem}";
                    return Err(format!("pattern `{pattern}` names `{{{name}}}`; known: {known}"));
                }
            }));
            rest = after;
        } else {
            let end = rest.find(['*', '{']).unwrap_or(rest.len());
            let (literal, after) = rest.split_at(end);
            tokens.push(Token::Literal(literal.to_owned()));
            rest = after;
        }
    }
    Ok(tokens)
}

/// Longest first, so that the stem of `a.b.png` under `{stem}.*` is `a.b`. Captures are never
/// empty.
fn match_segment(tokens: &[Token], text: &str, captures: &mut Captures) -> bool {
    let Some((token, rest)) = tokens.split_first() else {
        return text.is_empty();
    };
    let name = match token {
        Token::Literal(literal) => {
            return text
                .strip_prefix(literal.as_str())
                .is_some_and(|t| match_segment(rest, t, captures));
        }
        Token::Any => None,
        Token::Capture(name) => Some(*name),
    };
    let ends = text.char_indices().map(|(start, c)| start + c.len_utf8()).rev();
    let empty_end = name.is_none().then_some(0);
    for end in ends.chain(empty_end) {
        let (caught, after) = text.split_at(end);
        let before = captures.clone();
        if captures.accept(name, caught) && match_segment(rest, after, captures) {
            return true;
        }
        *captures = before;
    }
    false
}

impl Captures {
    /// Takes a capture; a name caught twice must have caught the same text.
    fn accept(&mut self, name: Option<Name>, caught: &str) -> bool {
        let slot = match name {
            None => return true,
            Some(Name::Class) => &mut self.class,
            Some(Name::Kind) => &mut self.kind,
            Some(Name::Stem) => &mut self.stem,
        };
        match slot {
            Some(earlier) => earlier == caught,
            None => {
                *slot = Some(caught.to_owned());
                true
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caught(pattern: &str, path: &str) -> Option<String> {
        let path: Vec<String> = path.split('/').map(str::to_owned).collect();
        let captures = Pattern::parse(pattern).expect("pattern").matches(&path)?;
        let show = |part: Option<String>| part.unwrap_or_else(|| "-".to_owned());
        Some(format!("{} {} {}", show(captures.class), show(captures.kind), show(captures.stem)))
    }

    #[test]
    fn paths() {
        let mask = "{class}/ground_truth/{kind}/{stem}_mask.*";
        for (pattern, path, want) in [
            ("{class}/train/{kind}/*", "bottle/train/good/000.png", Some("bottle good -")),
            ("{class}/train/{kind}/*", "bottle/test/good/000.png", None),
            ("{class}/train/{kind}/*", "bottle/train/good", None),
            ("{class}/train/{kind}/*", "bottle/train/good/a/000.png", None),
            (mask, "bottle/ground_truth/crack/000_mask.png", Some("bottle crack 000")),
            (mask, "bottle/ground_truth/crack/a_mask.b_mask.png", Some("bottle crack a_mask.b")),
            (mask, "bottle/ground_truth/crack/_mask.png", None),
            ("{stem}.*", "a.b.png", Some("- - a.b")),
            ("{kind}/{kind}.*", "x/x.png", Some("- x -")),
            ("{kind}/{kind}.*", "x/y.png", None),
            ("*é*", "caféteria", Some("- - -")),
        ] {
            assert_eq!(caught(pattern, path).as_deref(), want, "{pattern} {path}");
        }
    }

    #[test]
    fn bad_patterns_say_why() {
        for (text, want) in [
            ("a//b", "pattern `a//b` has the segment ``; name a folder or `*`"),
            ("../x", "pattern `../x` has the segment `..`; name a folder or `*`"),
            ("{class", "pattern `{class` opens `{` without closing it"),
            ("{x}", "pattern `{x}` names `{x}`; known: {class}, {kind}, {stem}"),
        ] {
            assert_eq!(Pattern::parse(text).expect_err("error"), want);
        }
    }

    #[test]
    fn only_folders_on_the_way_are_entered() {
        let pattern = Pattern::parse("{class}/test/{kind}/*").expect("pattern");
        for (path, want) in
            [("a", true), ("a/test", true), ("a/train", false), ("a/test/k/x", false)]
        {
            let path: Vec<String> = path.split('/').map(str::to_owned).collect();
            assert_eq!(pattern.enters(&path), want);
        }
    }
}
