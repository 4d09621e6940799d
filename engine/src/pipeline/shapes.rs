//! Symbolic shapes: a port's pattern such as `b gh gw d` against the dimensions of a value.

use std::collections::BTreeMap;

use super::tree::At;

/// One dimension of a value.
#[derive(Clone, Debug, PartialEq)]
pub enum Dim {
    Known(u64),
    /// Known, but another for each image size.
    BySize(BTreeMap<u32, u64>),
    /// Only its name is known.
    Named(String),
}

impl std::fmt::Display for Dim {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Dim::Known(number) => write!(out, "{number}"),
            Dim::Named(name) => out.write_str(name),
            Dim::BySize(sizes) => {
                let numbers: Vec<String> = sizes.values().map(u64::to_string).collect();
                out.write_str(&numbers.join("|"))
            }
        }
    }
}

impl Dim {
    /// The dimension at some of the sizes only.
    pub fn at_sizes(&self, wanted: &[u32]) -> Dim {
        let Dim::BySize(sizes) = self else { return self.clone() };
        let kept: BTreeMap<u32, u64> = sizes
            .iter()
            .filter(|(size, _)| wanted.is_empty() || wanted.contains(size))
            .map(|(size, number)| (*size, *number))
            .collect();
        by_size(kept)
    }

    fn agrees(&self, other: &Dim) -> bool {
        match (self, other) {
            (Dim::Known(a), Dim::Known(b)) => a == b,
            (Dim::Known(one), Dim::BySize(sizes)) | (Dim::BySize(sizes), Dim::Known(one)) => {
                sizes.values().all(|number| number == one)
            }
            (Dim::BySize(a), Dim::BySize(b)) => {
                a.iter().all(|(size, number)| b.get(size).is_none_or(|other| other == number))
            }
            (Dim::Named(_), _) | (_, Dim::Named(_)) => true,
        }
    }

    fn is_known(&self) -> bool {
        !matches!(self, Dim::Named(_))
    }
}

/// One number if all sizes agree.
pub fn by_size(sizes: BTreeMap<u32, u64>) -> Dim {
    let mut numbers: Vec<u64> = sizes.values().copied().collect();
    numbers.dedup();
    match numbers.as_slice() {
        [one] => Dim::Known(*one),
        _ => Dim::BySize(sizes),
    }
}

/// `[b, 15, 15, 640]`
pub fn shown(dims: &[Dim]) -> String {
    let words: Vec<String> = dims.iter().map(Dim::to_string).collect();
    format!("[{}]", words.join(", "))
}

/// A pattern as a list: `[b, gh, gw, d]`.
pub fn shown_pattern(pattern: &str) -> String {
    format!("[{}]", pattern.split_whitespace().collect::<Vec<_>>().join(", "))
}

/// What a name of a pattern stands for, and who said so.
#[derive(Clone, Debug)]
pub struct Bound {
    pub dim: Dim,
    pub by: String,
    pub at: At,
}

/// Names bound so far, within one stage.
#[derive(Clone, Debug, Default)]
pub struct Bindings {
    names: BTreeMap<String, Bound>,
    /// What `...` stands for.
    leading: Option<Vec<Dim>>,
}

/// Why a value does not fit a pattern.
#[derive(Clone, Debug)]
pub enum Misfit {
    Rank,
    /// A pattern's own number, as the 3 of an image.
    Fixed {
        want: u64,
        got: Dim,
    },
    Name {
        name: String,
        bound: Bound,
        got: Dim,
    },
    /// What `...` stands for is already another.
    Leading {
        bound: Vec<Dim>,
    },
}

/// Dimensions of a batch or a grid: those of a fit's values are their own, since references need
/// not have the size of a query.
const LOCAL: [&str; 6] = ["b", "n", "h", "w", "gh", "gw"];

impl Bindings {
    pub fn bind(&mut self, name: &str, bound: Bound) {
        self.names.insert(name.to_string(), bound);
    }

    /// Takes the names of another on top of its own.
    pub fn over(&mut self, other: Bindings) {
        self.names.extend(other.names);
    }

    pub fn get(&self, name: &str) -> Option<&Dim> {
        self.names.get(name).map(|bound| &bound.dim)
    }

    /// Matches a value, and binds what it says. `space` is prefixed to names of batches and grids.
    pub fn fit(
        &mut self,
        pattern: &str,
        dims: &[Dim],
        by: &str,
        at: At,
        space: &str,
    ) -> Result<(), Misfit> {
        let pattern: Vec<&str> = pattern.split_whitespace().collect();
        let (names, dims) = match pattern.split_first() {
            Some((&"...", rest)) => {
                let n_leading = dims.len().checked_sub(rest.len()).ok_or(Misfit::Rank)?;
                let (leading, last) = dims.split_at(n_leading);
                if space.is_empty() {
                    self.lead(leading)?;
                }
                (rest, last)
            }
            _ if pattern.len() != dims.len() => return Err(Misfit::Rank),
            _ => (pattern.as_slice(), dims),
        };
        for (name, dim) in names.iter().zip(dims) {
            if let Ok(want) = name.parse::<u64>() {
                if !dim.agrees(&Dim::Known(want)) {
                    return Err(Misfit::Fixed { want, got: dim.clone() });
                }
                continue;
            }
            let key =
                if LOCAL.contains(name) { format!("{space}{name}") } else { name.to_string() };
            match self.names.get(&key) {
                Some(bound) if !bound.dim.agrees(dim) => {
                    let (name, bound) = ((*name).to_string(), bound.clone());
                    return Err(Misfit::Name { name, bound, got: dim.clone() });
                }
                Some(bound) if bound.dim.is_known() => {}
                _ => self.bind(&key, Bound { dim: dim.clone(), by: by.to_string(), at }),
            }
        }
        Ok(())
    }

    fn lead(&mut self, dims: &[Dim]) -> Result<(), Misfit> {
        match &mut self.leading {
            None => self.leading = Some(dims.to_vec()),
            Some(bound) => {
                let fits =
                    bound.len() == dims.len() && bound.iter().zip(dims).all(|(a, b)| a.agrees(b));
                if !fits {
                    return Err(Misfit::Leading { bound: bound.clone() });
                }
                for (bound, dim) in bound.iter_mut().zip(dims).filter(|(a, _)| !a.is_known()) {
                    *bound = dim.clone();
                }
            }
        }
        Ok(())
    }

    /// The dimensions of an output; `None` if its `...` is unknown.
    pub fn apply(&self, pattern: &str) -> Option<Vec<Dim>> {
        let mut dims = Vec::new();
        for name in pattern.split_whitespace() {
            if name == "..." {
                dims.extend(self.leading.clone()?);
            } else if let Ok(number) = name.parse() {
                dims.push(Dim::Known(number));
            } else {
                dims.push(self.get(name).cloned().unwrap_or_else(|| Dim::Named(name.to_string())));
            }
        }
        Some(dims)
    }
}
