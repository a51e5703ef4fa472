//! The ordered map that everything is kept in: [`Tree`], a B-tree whose copies share what they have in common.
//!
//! A copy takes no longer than counting one reference up, and shows for ever what the tree was then: that is how a
//! checkpoint is cut beside running writes, by another thread. A change copies the nodes on its way down, once for each
//! copy that still shows them; without copies it changes them in place.
//!
//! It refuses to know what its values mean. Its shape depends on the way to it; what is in it, and in which order, does
//! not.

mod builder;
mod node;
mod walk;

use std::sync::Arc;

pub(crate) use self::builder::Builder;
use self::node::{Node, Removed};
pub(crate) use self::walk::Walk;

/// Byte strings in order, each with a value.
#[derive(Clone, Debug)]
pub(crate) struct Tree<V> {
    root: Arc<Node<V>>,
    len: usize,
}

impl<V> Default for Tree<V> {
    fn default() -> Tree<V> {
        Tree { root: Arc::new(Node::empty()), len: 0 }
    }
}

impl<V> Tree<V> {
    /// How many keys there are.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// The value of a key.
    pub(crate) fn get(&self, key: &[u8]) -> Option<&V> {
        let mut node = &*self.root;
        loop {
            match node {
                Node::Inner(inner) => node = inner.child(key),
                Node::Leaf(leaf) => return leaf.get(key),
            }
        }
    }

    /// Keys from `start` on, or only after it, in order.
    pub(crate) fn walk(&self, start: &[u8], after: bool) -> Walk<'_, V> {
        Walk::begin(&self.root, start, after)
    }

    /// All keys, in order.
    #[cfg(test)]
    pub(crate) fn iter(&self) -> Walk<'_, V> {
        self.walk(b"", false)
    }

    /// The last key.
    pub(crate) fn last(&self) -> Option<&[u8]> {
        let mut node = &*self.root;
        loop {
            match node {
                Node::Inner(inner) => node = inner.last_child(),
                Node::Leaf(leaf) => return leaf.last(),
            }
        }
    }
}

impl<V: Clone> Tree<V> {
    /// The value of a key, to be changed.
    pub(crate) fn get_mut(&mut self, key: &[u8]) -> Option<&mut V> {
        let mut node = Arc::make_mut(&mut self.root);
        loop {
            match node {
                Node::Inner(inner) => node = Arc::make_mut(inner.child_mut(key)),
                Node::Leaf(leaf) => return leaf.get_mut(key),
            }
        }
    }

    /// Give a key the value that `make` makes from the one before; that one.
    pub(crate) fn update(&mut self, key: &[u8], make: impl FnOnce(Option<&V>) -> V) -> Option<V> {
        let (before, split) = Arc::make_mut(&mut self.root).update(key, make);
        self.len += usize::from(before.is_none());
        if let Some(split) = split {
            let left = std::mem::replace(&mut self.root, Arc::new(Node::empty()));
            self.root = Arc::new(Node::above(left, split));
        }
        before
    }

    /// Give a key a value; the one before.
    pub(crate) fn insert(&mut self, key: &[u8], value: V) -> Option<V> {
        self.update(key, |_| value)
    }

    /// Take a key out; its value.
    pub(crate) fn remove(&mut self, key: &[u8]) -> Option<V> {
        // Not found copies nothing.
        self.get(key)?;
        let Removed { value, .. } = Arc::make_mut(&mut self.root).remove(key);
        self.len -= 1;
        while let Some(only) = self.root.only_child() {
            self.root = only;
        }
        Some(value)
    }
}

#[cfg(test)]
impl<V: PartialEq> PartialEq for Tree<V> {
    fn eq(&self, other: &Tree<V>) -> bool {
        self.iter().eq(other.iter())
    }
}

#[cfg(test)]
impl<V: Eq> Eq for Tree<V> {}

#[cfg(test)]
mod tests;
