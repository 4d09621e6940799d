//! Decision trees as a flat list of nodes, how forests and boosting keep what they learned.

use loupe_plugin::prelude::*;

use super::state::{Arrays, finite};

/// A node. A leaf has `left` and `right` 0; a fork's children stand after it, so every walk ends.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Node {
    pub(crate) feature: u32,
    /// Values up to and with this go left.
    pub(crate) threshold: f32,
    pub(crate) left: u32,
    pub(crate) right: u32,
    /// What a leaf says.
    pub(crate) value: f32,
}

impl Node {
    pub(crate) fn leaf(value: f32) -> Self {
        Node { value, ..Node::default() }
    }
}

/// Trees over rows of `width` values. Children are counted from the start of their own tree.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Trees {
    pub(crate) width: usize,
    pub(crate) trees: Vec<Vec<Node>>,
}

/// f32 holds whole numbers up to here.
const MAX_INDEX: usize = 1 << 24;

impl Trees {
    /// The sum of the leaves that a row falls into, in f64.
    pub(crate) fn sum(&self, row: &[f32]) -> f64 {
        self.trees.iter().map(|nodes| f64::from(leaf(nodes, row))).sum()
    }

    /// Arrays `nodes [n,5]` (feature, threshold, left, right, value) and `tree_sizes [t]`.
    pub(crate) fn write(&self, to: StateWriter) -> Result<StateWriter> {
        let sizes: Vec<f32> = self.trees.iter().map(|nodes| nodes.len() as f32).collect();
        if self.trees.iter().any(|nodes| nodes.len() > MAX_INDEX) || self.width > MAX_INDEX {
            return Err(Error::failed(format!(
                "a tree of more than {MAX_INDEX} nodes or features"
            )));
        }
        let nodes: Vec<f32> = self.trees.iter().flatten().flat_map(fields).collect();
        to.meta("width", self.width).f32s("nodes", [nodes.len() / 5, 5], &nodes)?.f32s(
            "tree_sizes",
            [sizes.len()],
            &sizes,
        )
    }

    /// Errors: nodes that no `write` made, above all ones whose walk would not end.
    pub(crate) fn read(from: &Arrays) -> Result<Self> {
        let width: usize = from.meta("width")?;
        let sizes = from.tensor("tree_sizes")?;
        let nodes = from.tensor("nodes")?;
        let [_, five] = nodes.dims_n::<2>("nodes")?;
        let (fields, _) = nodes.f32s()?.as_chunks::<5>();
        let mut rest = fields;
        let mut trees = Vec::with_capacity(sizes.f32s()?.len());
        for size in sizes.f32s()? {
            let size = whole(*size).ok_or_else(|| from.damaged("tree_sizes"))?;
            let split = rest.split_at_checked(size as usize).filter(|(tree, _)| !tree.is_empty());
            let (tree, after) = split.ok_or_else(|| from.damaged("tree_sizes"))?;
            let checked =
                tree.iter().enumerate().map(|(at, node)| read_node(at, node, size, width));
            let checked: Option<Vec<Node>> = checked.collect();
            trees.push(checked.ok_or_else(|| from.damaged("nodes"))?);
            rest = after;
        }
        if five != 5 || !rest.is_empty() || width == 0 {
            return Err(from.damaged("nodes"));
        }
        Ok(Trees { width, trees })
    }
}

/// What the leaf says that a row falls into.
pub(crate) fn leaf(nodes: &[Node], row: &[f32]) -> f32 {
    let mut node = &nodes[0];
    while node.left != 0 {
        let goes_left = row[node.feature as usize] <= node.threshold;
        node = &nodes[if goes_left { node.left } else { node.right } as usize];
    }
    node.value
}

fn fields(node: &Node) -> [f32; 5] {
    let Node { feature, threshold, left, right, value } = *node;
    [feature as f32, threshold, left as f32, right as f32, value]
}

fn read_node(at: usize, fields: &[f32; 5], size: u32, width: usize) -> Option<Node> {
    let [feature, threshold, left, right, value] = *fields;
    let (feature, left, right) = (whole(feature)?, whole(left)?, whole(right)?);
    let below = |child: u32| child as usize > at && child < size;
    let is_leaf = left == 0 && right == 0;
    let sound = (feature as usize) < width && (is_leaf || (below(left) && below(right)));
    (sound && finite(&[threshold, value])).then_some(Node {
        feature,
        threshold,
        left,
        right,
        value,
    })
}

fn whole(value: f32) -> Option<u32> {
    let fits = value >= 0.0 && value <= MAX_INDEX as f32 && value.fract() == 0.0;
    fits.then_some(value as u32)
}
