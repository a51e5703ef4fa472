//! A queue whose copies share what they have in common: [`Blocks`]. It refuses to know what it holds.

use std::collections::VecDeque;
use std::sync::Arc;

/// Items of one block. Copying the queue takes one count for each block; the first change after that copies one block.
const BLOCK_ITEMS: usize = 256;

/// A queue.
///
/// Invariants: only the last block has fewer than [`BLOCK_ITEMS`]; none is empty; `cleared` is at most `gone`, which is
/// less than the items of the first block, or 0 if there is none.
#[derive(Clone, Debug)]
pub(crate) struct Blocks<T> {
    blocks: VecDeque<Arc<Vec<T>>>,
    /// Items of the first block that are not in the queue any more.
    gone: usize,
    /// Those of them that hold nothing any more. The others were shared with a copy when they went.
    cleared: usize,
    len: usize,
}

impl<T> Default for Blocks<T> {
    fn default() -> Blocks<T> {
        Blocks { blocks: VecDeque::new(), gone: 0, cleared: 0, len: 0 }
    }
}

impl<T: Clone + Default> Blocks<T> {
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Whether there are no items.
    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The item at a place; the first one is at 0.
    pub(crate) fn get(&self, at: usize) -> Option<&T> {
        let at = self.gone.checked_add(at)?;
        self.blocks.get(at / BLOCK_ITEMS)?.get(at % BLOCK_ITEMS)
    }

    /// The item at a place, to be changed.
    pub(crate) fn get_mut(&mut self, at: usize) -> Option<&mut T> {
        let at = self.gone.checked_add(at)?;
        Arc::make_mut(self.blocks.get_mut(at / BLOCK_ITEMS)?).get_mut(at % BLOCK_ITEMS)
    }

    /// Add an item at the end.
    pub(crate) fn push_back(&mut self, item: T) {
        self.len += 1;
        match self.blocks.back_mut() {
            Some(block) if block.len() < BLOCK_ITEMS => {
                let block = Arc::make_mut(block);
                if block.len() == block.capacity() {
                    // A copy has room for what it holds, and would grow to twice that.
                    block.reserve_exact((block.len() * 2).clamp(4, BLOCK_ITEMS) - block.len());
                }
                block.push(item);
            }
            _ => self.blocks.push_back(Arc::new(vec![item])),
        }
    }

    /// Take the last item off.
    pub(crate) fn pop_back(&mut self) -> Option<T> {
        self.len = self.len.checked_sub(1)?;
        let block = Arc::make_mut(self.blocks.back_mut()?);
        let item = block.pop();
        if block.is_empty() || self.len == 0 {
            self.blocks.pop_back();
        }
        if self.len == 0 {
            (self.gone, self.cleared) = (0, 0);
        }
        item
    }

    /// Drop the first item. What it holds is given back at once, or when no copy shows it any more and another one
    /// is dropped.
    pub(crate) fn drop_front(&mut self) {
        let Some(block) = self.blocks.front_mut() else { return };
        self.len -= 1;
        self.gone += 1;
        if self.gone == block.len() {
            self.blocks.pop_front();
            (self.gone, self.cleared) = (0, 0);
        } else if let Some(items) = Arc::get_mut(block) {
            items[self.cleared..self.gone].fill_with(T::default);
            self.cleared = self.gone;
        }
    }
}

#[cfg(test)]
mod tests {
    use holdfast_engine::Random;

    use super::*;

    fn check(blocks: &Blocks<Arc<u64>>, model: &VecDeque<u64>) {
        assert_eq!(blocks.len(), model.len());
        assert!((0..=model.len()).all(|at| blocks.get(at).map(|item| **item) == model.get(at).copied()));
    }

    #[test]
    fn it_is_a_queue_and_a_copy_shows_what_it_was() {
        for seed in 0..20 {
            let mut random = Random::new(seed);
            let (mut blocks, mut model) = (Blocks::default(), VecDeque::new());
            let mut kept = Vec::new();
            for step in 0..6_000u64 {
                let grows = if (step / 1_500).is_multiple_of(2) { 70 } else { 40 };
                match random.below(100) {
                    draw if draw < grows => {
                        blocks.push_back(Arc::new(step));
                        model.push_back(step);
                    }
                    draw if draw < grows + 8 => {
                        assert_eq!(blocks.pop_back().map(|item| *item), model.pop_back());
                    }
                    97 => kept.push((blocks.clone(), model.clone())),
                    98 => {
                        let at = random.below(model.len() as u64 + 1) as usize;
                        let item = blocks.get_mut(at).map(|item| *item = Arc::new(step));
                        assert_eq!(item, model.get_mut(at).map(|item| *item = step));
                    }
                    _ => {
                        blocks.drop_front();
                        model.pop_front();
                    }
                }
                if kept.len() > 3 || random.below(50) == 0 {
                    check(&blocks, &model);
                    kept.drain(..kept.len().min(1)).for_each(|(blocks, model)| check(&blocks, &model));
                }
            }
        }
    }

    #[test]
    fn what_is_dropped_is_given_back_at_once_or_when_no_copy_shows_it() {
        let items: Vec<Arc<u64>> = (0..10).map(Arc::new).collect();
        let mut blocks = Blocks::default();
        items.iter().for_each(|item| blocks.push_back(Arc::clone(item)));
        blocks.drop_front();
        assert_eq!(Arc::strong_count(&items[0]), 1);
        let copy = blocks.clone();
        blocks.drop_front();
        assert_eq!(Arc::strong_count(&items[1]), 2);
        drop(copy);
        blocks.drop_front();
        assert_eq!([1, 2].map(|at: usize| Arc::strong_count(&items[at])), [1, 1]);
    }
}
