//! Walking over a tree's keys in order: [`Walk`].

use super::node::{Inner, Leaf, Node};

/// An iterator over keys with their values.
#[derive(Debug)]
pub(crate) struct Walk<'a, V> {
    /// The way down to the leaf, and which child comes next at each step.
    above: Vec<(&'a Inner<V>, usize)>,
    leaf: &'a Leaf<V>,
    /// The next entry of the leaf.
    at: usize,
}

impl<'a, V> Walk<'a, V> {
    /// From `start` on, or from what comes after it.
    pub(super) fn begin(root: &'a Node<V>, start: &[u8], after: bool) -> Walk<'a, V> {
        let mut above = Vec::new();
        let mut node = root;
        loop {
            match node {
                Node::Inner(inner) => {
                    let place = inner.place(start);
                    above.push((inner, place + 1));
                    node = inner.get(place).expect("a place of a child");
                }
                Node::Leaf(leaf) => {
                    let at = leaf.search(start).map_or_else(|at| at, |at| at + usize::from(after));
                    return Walk { above, leaf, at };
                }
            }
        }
    }

    /// To the first entry of the next leaf; `false` if there is none.
    fn next_leaf(&mut self) -> bool {
        let mut node = loop {
            let Some((inner, place)) = self.above.last_mut() else { return false };
            if let Some(node) = inner.get(*place) {
                *place += 1;
                break node;
            }
            self.above.pop();
        };
        loop {
            match node {
                Node::Inner(inner) => {
                    self.above.push((inner, 1));
                    node = inner.get(0).expect("a node has children");
                }
                Node::Leaf(leaf) => {
                    (self.leaf, self.at) = (leaf, 0);
                    return true;
                }
            }
        }
    }
}

impl<'a, V> Iterator for Walk<'a, V> {
    type Item = (&'a [u8], &'a V);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(entry) = self.leaf.entry(self.at) {
                self.at += 1;
                return Some(entry);
            }
            if !self.next_leaf() {
                return None;
            }
        }
    }
}
