//! The nodes of a tree, and what one change does to those on its way: [`Node`].

use std::sync::Arc;

use crate::packed::Packed;

/// Most entries of a leaf, and most children of an inner node. Larger nodes make a shallower tree; smaller ones cost
/// less to copy for the first change after a checkpoint began, a few microseconds with this.
pub(super) const ENTRIES_MAX: usize = 64;

/// Bytes of keys above which a node is divided although it has fewer entries, so that a change never moves much memory.
const KEY_BYTES_MAX: usize = 8 * 1024;

/// Fewest entries of a node that is divided for its bytes.
const ENTRIES_DIVIDED_MIN: usize = 4;

/// A node with no more entries than this is joined with a neighbour, if both fit well into one.
const ENTRIES_FEW: usize = ENTRIES_MAX / 4;

/// Most entries of two nodes that are joined: the next insertion does not divide them again.
const ENTRIES_JOINED_MAX: usize = ENTRIES_MAX * 3 / 4;

/// One node.
#[derive(Clone, Debug)]
pub(super) enum Node<V> {
    Inner(Inner<V>),
    Leaf(Leaf<V>),
}

/// Invariants: one separator fewer than children; a separator is greater than every key of the children before it, and
/// not greater than any key of those after it.
#[derive(Clone, Debug)]
pub(super) struct Inner<V> {
    separators: Packed,
    children: Vec<Arc<Node<V>>>,
}

/// Invariant: as many keys as values.
#[derive(Clone, Debug)]
pub(super) struct Leaf<V> {
    keys: Packed,
    values: Vec<V>,
}

/// What had no room in a node any more, and the separator before it.
pub(super) struct Split<V> {
    separator: Vec<u8>,
    right: Node<V>,
}

/// What was taken out of a node, and whether few entries are left in it.
pub(super) struct Removed<V> {
    pub(super) value: V,
    few: bool,
}

/// The shortest string that is greater than `left` and not greater than `right`.
pub(super) fn separator<'a>(left: &[u8], right: &'a [u8]) -> &'a [u8] {
    let common = left.iter().zip(right).take_while(|(left, right)| left == right).count();
    &right[..right.len().min(common + 1)]
}

fn is_full(keys: &Packed, entries: usize) -> bool {
    entries > ENTRIES_MAX || (keys.bytes() > KEY_BYTES_MAX && entries >= ENTRIES_DIVIDED_MIN)
}

/// Where to divide so many entries of which the one at `inserted` is new. Keys that come in order leave full nodes.
fn division(entries: usize, inserted: usize) -> usize {
    if inserted + 1 == entries { entries - 1 } else { entries / 2 }
}

fn fit_together(entries: usize, one: &Packed, other: &Packed) -> bool {
    entries <= ENTRIES_JOINED_MAX && one.bytes() + other.bytes() <= KEY_BYTES_MAX / 2
}

impl<V> Leaf<V> {
    pub(super) fn new(keys: Packed, values: Vec<V>) -> Leaf<V> {
        assert!(keys.len() == values.len(), "a value for every key");
        Leaf { keys, values }
    }

    pub(super) fn len(&self) -> usize {
        self.values.len()
    }

    pub(super) fn entry(&self, at: usize) -> Option<(&[u8], &V)> {
        self.values.get(at).map(|value| (self.keys.get(at), value))
    }

    pub(super) fn search(&self, key: &[u8]) -> Result<usize, usize> {
        self.keys.search(key)
    }

    pub(super) fn get(&self, key: &[u8]) -> Option<&V> {
        self.keys.search(key).ok().map(|at| &self.values[at])
    }

    pub(super) fn get_mut(&mut self, key: &[u8]) -> Option<&mut V> {
        self.keys.search(key).ok().map(|at| &mut self.values[at])
    }

    pub(super) fn last(&self) -> Option<&[u8]> {
        self.keys.last()
    }

    fn update(&mut self, key: &[u8], make: impl FnOnce(Option<&V>) -> V) -> (Option<V>, Option<Split<V>>) {
        match self.keys.search(key) {
            Ok(at) => {
                let value = make(Some(&self.values[at]));
                (Some(std::mem::replace(&mut self.values[at], value)), None)
            }
            Err(at) => {
                self.keys.insert(at, key);
                self.values.insert(at, make(None));
                (None, is_full(&self.keys, self.len()).then(|| self.divide(at)))
            }
        }
    }

    fn divide(&mut self, inserted: usize) -> Split<V> {
        let at = division(self.len(), inserted);
        let right = Leaf { keys: self.keys.split_off(at), values: self.values.split_off(at) };
        self.keys.shrink_to_fit();
        self.values.shrink_to_fit();
        let separator = separator(self.keys.get(at - 1), right.keys.get(0)).to_vec();
        Split { separator, right: Node::Leaf(right) }
    }

    fn remove(&mut self, key: &[u8]) -> Removed<V> {
        let at = self.keys.search(key).expect("callers have looked");
        self.keys.remove(at);
        Removed { value: self.values.remove(at), few: self.len() <= ENTRIES_FEW }
    }
}

impl<V> Inner<V> {
    pub(super) fn new(separators: Packed, children: Vec<Arc<Node<V>>>) -> Inner<V> {
        assert!(separators.len() + 1 == children.len(), "a separator between any two children");
        Inner { separators, children }
    }

    /// Which child has `key`, if any has.
    pub(super) fn place(&self, key: &[u8]) -> usize {
        self.separators.search(key).map_or_else(|place| place, |separator| separator + 1)
    }

    pub(super) fn get(&self, place: usize) -> Option<&Node<V>> {
        self.children.get(place).map(|child| &**child)
    }

    pub(super) fn child(&self, key: &[u8]) -> &Node<V> {
        &self.children[self.place(key)]
    }

    pub(super) fn child_mut(&mut self, key: &[u8]) -> &mut Arc<Node<V>> {
        let place = self.place(key);
        &mut self.children[place]
    }

    pub(super) fn last_child(&self) -> &Node<V> {
        self.children.last().expect("a node has children")
    }

    /// Make room for what had none in the child at `place`.
    fn add(&mut self, place: usize, split: Split<V>) -> Option<Split<V>> {
        self.separators.insert(place, &split.separator);
        self.children.insert(place + 1, Arc::new(split.right));
        is_full(&self.separators, self.children.len()).then(|| self.divide(place + 1))
    }

    fn divide(&mut self, inserted: usize) -> Split<V> {
        let at = division(self.children.len(), inserted);
        let separators = self.separators.split_off(at);
        let separator = self.separators.get(at - 1).to_vec();
        self.separators.remove(at - 1);
        let children = self.children.split_off(at);
        self.separators.shrink_to_fit();
        self.children.shrink_to_fit();
        Split { separator, right: Node::Inner(Inner { separators, children }) }
    }
}

impl<V: Clone> Inner<V> {
    fn remove(&mut self, key: &[u8]) -> Removed<V> {
        let place = self.place(key);
        let Removed { value, few } = Arc::make_mut(&mut self.children[place]).remove(key);
        if few {
            self.tidy(place);
        }
        Removed { value, few: self.children.len() <= ENTRIES_FEW }
    }

    /// The child at `place` has few entries, or none: take it out, or join it with a neighbour, if that is possible.
    fn tidy(&mut self, place: usize) {
        if self.children[place].is_empty() && self.children.len() > 1 {
            self.children.remove(place);
            self.separators.remove(place.saturating_sub(1));
            return;
        }
        for left in [Some(place), place.checked_sub(1)].into_iter().flatten() {
            let Some(right) = self.children.get(left + 1) else { continue };
            if self.children[left].fits(right) {
                let right = Arc::unwrap_or_clone(self.children.remove(left + 1));
                let separator = self.separators.get(left).to_vec();
                self.separators.remove(left);
                Arc::make_mut(&mut self.children[left]).join(&separator, right);
                return;
            }
        }
    }
}

impl<V> Node<V> {
    pub(super) fn empty() -> Node<V> {
        Node::Leaf(Leaf { keys: Packed::default(), values: Vec::new() })
    }

    /// The node above two.
    pub(super) fn above(left: Arc<Node<V>>, split: Split<V>) -> Node<V> {
        let mut separators = Packed::default();
        separators.push(&split.separator);
        Node::Inner(Inner { separators, children: vec![left, Arc::new(split.right)] })
    }

    /// The child of an inner node that has no other.
    pub(super) fn only_child(&self) -> Option<Arc<Node<V>>> {
        match self {
            Node::Inner(Inner { children, .. }) if children.len() == 1 => Some(Arc::clone(&children[0])),
            _ => None,
        }
    }

    fn is_empty(&self) -> bool {
        match self {
            Node::Leaf(leaf) => leaf.len() == 0,
            // An inner node keeps its last child, so that it is as empty as that.
            Node::Inner(inner) => inner.children.len() == 1 && inner.children[0].is_empty(),
        }
    }

    /// Whether this node and the next one fit into one.
    fn fits(&self, next: &Node<V>) -> bool {
        match (self, next) {
            (Node::Leaf(one), Node::Leaf(other)) => {
                fit_together(one.len() + other.len(), &one.keys, &other.keys)
            }
            (Node::Inner(one), Node::Inner(other)) => {
                fit_together(one.children.len() + other.children.len(), &one.separators, &other.separators)
            }
            _ => false,
        }
    }
}

impl<V: Clone> Node<V> {
    pub(super) fn update(
        &mut self,
        key: &[u8],
        make: impl FnOnce(Option<&V>) -> V,
    ) -> (Option<V>, Option<Split<V>>) {
        match self {
            Node::Leaf(leaf) => leaf.update(key, make),
            Node::Inner(inner) => {
                let place = inner.place(key);
                let (before, split) = Arc::make_mut(&mut inner.children[place]).update(key, make);
                (before, split.and_then(|split| inner.add(place, split)))
            }
        }
    }

    /// Take out a key that is there.
    pub(super) fn remove(&mut self, key: &[u8]) -> Removed<V> {
        match self {
            Node::Leaf(leaf) => leaf.remove(key),
            Node::Inner(inner) => inner.remove(key),
        }
    }

    /// Add everything of the next node, of the same height, and the separator before it.
    fn join(&mut self, separator: &[u8], next: Node<V>) {
        match (self, next) {
            (Node::Leaf(one), Node::Leaf(other)) => {
                one.keys.append(&other.keys);
                one.values.extend(other.values);
            }
            (Node::Inner(one), Node::Inner(other)) => {
                one.separators.push(separator);
                one.separators.append(&other.separators);
                one.children.extend(other.children);
            }
            _ => unreachable!("all leaves are equally deep"),
        }
    }
}
