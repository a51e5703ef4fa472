//! Building a tree from keys that come in order: [`Builder`]. Nothing is searched for and nothing is moved.

use std::sync::Arc;

use super::Tree;
use super::node::{ENTRIES_MAX, Inner, Leaf, Node, separator};
use crate::packed::Packed;

/// Entries of a leaf, and children of an inner node. A few more fit before it has to be divided.
const ENTRIES: usize = ENTRIES_MAX * 7 / 8;

/// Bytes of keys after which a leaf ends although it has fewer.
const KEY_BYTES: usize = 4 * 1024;

/// A tree in the making.
#[derive(Debug)]
pub(crate) struct Builder<V> {
    /// Finished leaves.
    leaves: Vec<Arc<Node<V>>>,
    /// The separators between them, and behind the last one.
    separators: Vec<Box<[u8]>>,
    keys: Packed,
    values: Vec<V>,
    len: usize,
}

impl<V> Default for Builder<V> {
    fn default() -> Builder<V> {
        let keys = Packed::default();
        Builder { leaves: Vec::new(), separators: Vec::new(), keys, values: Vec::new(), len: 0 }
    }
}

impl<V> Builder<V> {
    /// The key that was added last.
    #[cfg(test)]
    pub(crate) fn last(&self) -> Option<&[u8]> {
        self.keys.last()
    }

    /// Add a key, which comes after all those before.
    pub(crate) fn push(&mut self, key: &[u8], value: V) {
        debug_assert!(self.keys.last().is_none_or(|last| last < key), "keys come in order");
        if self.values.len() == ENTRIES || self.keys.bytes() >= KEY_BYTES {
            let last = self.keys.last().expect("a leaf that is full has keys");
            self.separators.push(separator(last, key).into());
            self.end_leaf();
        }
        self.keys.push(key);
        self.values.push(value);
        self.len += 1;
    }

    fn end_leaf(&mut self) {
        let mut keys = std::mem::replace(&mut self.keys, Packed::with_capacity(ENTRIES));
        keys.shrink_to_fit();
        let mut values = std::mem::replace(&mut self.values, Vec::with_capacity(ENTRIES));
        values.shrink_to_fit();
        self.leaves.push(Arc::new(Node::Leaf(Leaf::new(keys, values))));
    }

    /// The tree.
    pub(crate) fn finish(mut self) -> Tree<V> {
        self.end_leaf();
        let (mut nodes, mut separators) = (self.leaves, self.separators);
        while nodes.len() > 1 {
            let mut above = Vec::with_capacity(nodes.len() / ENTRIES + 1);
            let mut separators_above = Vec::with_capacity(above.capacity());
            let (mut children, mut between) = (nodes.into_iter(), separators.into_iter());
            while let Some(first) = children.next() {
                let mut group = vec![first];
                let mut packed = Packed::default();
                group.extend(children.by_ref().take(ENTRIES - 1));
                between.by_ref().take(group.len() - 1).for_each(|separator| packed.push(&separator));
                separators_above.extend(between.next());
                above.push(Arc::new(Node::Inner(Inner::new(packed, group))));
            }
            (nodes, separators) = (above, separators_above);
        }
        Tree { root: nodes.pop().expect("one leaf at least"), len: self.len }
    }
}
