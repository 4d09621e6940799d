//! Which stage reads which, in which order they can run, and the circles that forbid one.

use super::diagnostics::{Diagnostic, listed};
use super::source::listed_path;
use super::stages::Draft;
use super::tree::At;

/// Stage index of every name a stage reads, and where it is written.
pub type Edges = Vec<Vec<(usize, At)>>;

/// Resolves the names of stages; unknown ones are reported and their readers marked broken.
pub fn edges(drafts: &mut [Draft], found: &mut Vec<Diagnostic>) -> Edges {
    let names: Vec<String> = drafts.iter().map(|draft| draft.name.clone()).collect();
    let prepares: Vec<usize> = indices(drafts, |draft| draft.kind == "prepare");
    let mut edges = Vec::new();
    for draft in drafts.iter_mut() {
        let mut reads = Vec::new();
        let refs = draft.wires.iter().flat_map(|wire| &wire.refs);
        let wanted = refs.map(|value| (value.stage.as_str(), value.at));
        let named = draft.embed_with.iter().chain(&draft.taps);
        let wanted = wanted.chain(named.map(|(name, at)| (name.as_str(), *at)));
        let mut unknown = false;
        for (name, at) in wanted {
            match names.iter().position(|other| other == name) {
                Some(stage_idx) => reads.push((stage_idx, at)),
                None => {
                    unknown = true;
                    found.push(no_stage(&draft.called(), name, at, &names));
                }
            }
        }
        if draft.kind == "encoder"
            && draft.wires.is_empty()
            && let [one] = prepares.as_slice()
        {
            reads.push((*one, draft.at));
        }
        draft.broken |= unknown;
        edges.push(reads);
    }
    edges
}

/// "reads a stage that is not there".
pub fn no_stage(reader: &str, name: &str, at: At, names: &[String]) -> Diagnostic {
    let message = format!("{reader} reads `{name}`, which is no stage");
    let names = || names.iter().map(String::as_str);
    let found = Diagnostic::error(at, message).near(name, names());
    found.note(format!("the stages are {}", listed(names())))
}

/// An order in which every stage stands after what it reads; stages that could come in any order
/// keep that of the file. Those in a circle, or behind one, are left out and marked broken.
pub fn sort(drafts: &mut [Draft], edges: &Edges, found: &mut Vec<Diagnostic>) -> Vec<usize> {
    let mut order: Vec<usize> = Vec::new();
    let mut placed = vec![false; drafts.len()];
    loop {
        let is_ready =
            |idx: &usize| !placed[*idx] && edges[*idx].iter().all(|(input, _)| placed[*input]);
        let Some(next) = (0..drafts.len()).find(is_ready) else { break };
        placed[next] = true;
        order.push(next);
    }
    let left: Vec<usize> = (0..drafts.len()).filter(|idx| !placed[*idx]).collect();
    for circle in circles(&left, edges) {
        found.push(in_circle(drafts, &circle));
    }
    for idx in left {
        drafts[idx].broken = true;
    }
    order
}

/// One circle per group of stages that read each other, each as `(stage, where it reads the next)`.
fn circles(left: &[usize], edges: &Edges) -> Vec<Vec<(usize, At)>> {
    let mut seen: Vec<usize> = Vec::new();
    let mut circles = Vec::new();
    for &start in left {
        let mut walk: Vec<(usize, At)> = Vec::new();
        let mut here = start;
        while !seen.contains(&here) {
            if let Some(first) = walk.iter().position(|(idx, _)| *idx == here) {
                circles.push(walk.split_off(first));
                break;
            }
            let next = edges[here].iter().find(|(input, _)| left.contains(input));
            let Some(&(input, at)) = next else { break };
            walk.push((here, at));
            here = input;
        }
        let ends = circles.last().into_iter().flatten().map(|(idx, _)| *idx);
        seen.extend(walk.iter().map(|(idx, _)| *idx).chain(ends).collect::<Vec<_>>());
    }
    circles
}

fn in_circle(drafts: &[Draft], circle: &[(usize, At)]) -> Diagnostic {
    let mut names: Vec<String> = circle.iter().map(|(idx, _)| drafts[*idx].name.clone()).collect();
    names.extend(names.first().cloned());
    let message = format!("stages read each other in a circle: {}", listed_path(&names));
    let Some((&(_, at), rest)) = circle.split_first() else {
        return Diagnostic::placeless(message);
    };
    let read = |place: usize| match names.get(place + 1) {
        Some(name) => format!("reads `{name}`"),
        None => String::new(),
    };
    let mut found = Diagnostic::error(at, message).label(read(0));
    for (place, (_, at)) in rest.iter().enumerate() {
        found = found.related(*at, read(place + 1));
    }
    found
}

/// Which stages the outputs need.
pub fn needed(n_stages: usize, edges: &Edges, roots: &[usize]) -> Vec<bool> {
    let mut needed = vec![false; n_stages];
    let mut open = roots.to_vec();
    while let Some(idx) = open.pop() {
        if !std::mem::replace(&mut needed[idx], true) {
            open.extend(edges[idx].iter().map(|(input, _)| *input));
        }
    }
    needed
}

fn indices(drafts: &[Draft], is: impl Fn(&Draft) -> bool) -> Vec<usize> {
    (0..drafts.len()).filter(|idx| is(&drafts[*idx])).collect()
}
